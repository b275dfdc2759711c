"""Every public metric and label name, once. Renaming one is a breaking change."""

from __future__ import annotations

from dataclasses import dataclass

LABEL_QUERY = "query"
LABEL_MODEL = "model"
LABEL_TENANT = "tenant"
LABEL_FOR = "for"  # the name of LABEL_QUERY in vmanomaly's scheme

STATES = ("ok", "warming", "constant", "sparse", "absent", "failed")


@dataclass(frozen=True, slots=True)
class Family:
    """A gauge published per series: its name and HELP text."""

    name: str
    help: str


SCORE = "score"
EXPECTED = "expected"
LOWER = "lower"
UPPER = "upper"
VALUE = "value"
SHIFT = "shift_score"
STALE = "stale_score"
ABSENT = "absent_seconds"

SIGNALS = {"shift": SHIFT, "stale": STALE}  # the family of each slow signal; they are about the series, not of a model

_CACHED = "Cached: the value of the last verdict, see anomaly_exporter_verdict_timestamp_seconds for its age."

FAMILIES = {
    SCORE: Family("anomaly_score", f"0 where nothing is unusual, 1 at the band's edge, above 1 outside. {_CACHED}"),
    EXPECTED: Family("anomaly_expected", f"Centre of the band, in the unit of the series. {_CACHED}"),
    LOWER: Family("anomaly_lower", f"Lower edge of the band, in the unit of the series. {_CACHED}"),
    UPPER: Family("anomaly_upper", f"Upper edge of the band, in the unit of the series. {_CACHED}"),
    VALUE: Family("anomaly_value", f"The judged sample itself. {_CACHED}"),
    SHIFT: Family(
        "anomaly_shift_score", f"Above 1: the level of the last hours has left that of the days before. {_CACHED}"
    ),
    STALE: Family("anomaly_stale_score", f"Above 1: the value has been the same for unusually long. {_CACHED}"),
    ABSENT: Family("anomaly_absent_seconds", "Seconds since the last sample of a judged series that has gone missing."),
}

# The scheme of vmanomaly, for dashboards made for it (`metric_names: vmanomaly`); what it does not know keeps its name.
VMANOMALY_FAMILIES = {
    SCORE: Family("anomaly_score", FAMILIES[SCORE].help),
    EXPECTED: Family("yhat", FAMILIES[EXPECTED].help),
    LOWER: Family("yhat_lower", FAMILIES[LOWER].help),
    UPPER: Family("yhat_upper", FAMILIES[UPPER].help),
    VALUE: Family("y", FAMILIES[VALUE].help),
    SHIFT: FAMILIES[SHIFT],
    STALE: FAMILIES[STALE],
    ABSENT: FAMILIES[ABSENT],
}

SELF_PREFIX = "anomaly_exporter"
