"""Every public metric and label name, once. Renaming one is a breaking change."""

from __future__ import annotations

from dataclasses import dataclass

LABEL_QUERY = "query"
LABEL_MODEL = "model"
LABEL_TENANT = "tenant"
LABEL_FOR = "for"  # the name of LABEL_QUERY in vmanomaly's scheme

STATES = ("ok", "warming", "constant", "sparse", "absent", "failed")

# Why a series of an answer is not watched, beside the limits on how many may be.
RELABELLED_AWAY = "dropped"
COLLISION = "collision"
LABEL_LIMIT = "label_limit"
LABEL_NAME_LENGTH_LIMIT = "label_name_length_limit"
LABEL_VALUE_LENGTH_LIMIT = "label_value_length_limit"
REFUSALS = (RELABELLED_AWAY, COLLISION, LABEL_LIMIT, LABEL_NAME_LENGTH_LIMIT, LABEL_VALUE_LENGTH_LIMIT)


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
DETECTABLE = "min_detectable_ratio"

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
    DETECTABLE: Family(
        "anomaly_min_detectable_ratio",
        f"Smallest change that would score above 1, as a share of the expected value. {_CACHED}",
    ),
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
    DETECTABLE: FAMILIES[DETECTABLE],
}

SELF_PREFIX = "anomaly_exporter"

# Of the exporter's own metrics, those that rules read. They are registered in publish/selfmetrics.py.
SELF_SERIES = f"{SELF_PREFIX}_series"
SELF_SERIES_SHED = f"{SELF_PREFIX}_series_shed"
SELF_VERDICT_TIME = f"{SELF_PREFIX}_verdict_timestamp_seconds"
SELF_QUERY_INTERVAL = f"{SELF_PREFIX}_query_interval_seconds"
SELF_SOURCE_UP = f"{SELF_PREFIX}_source_up"
SELF_SOURCE_ERRORS = f"{SELF_PREFIX}_source_errors_total"

JOB = "anomaly-exporter"  # of the scrape job, as rules and dashboards expect it

ALERT_DETECTED = "AnomalyDetected"
ALERT_SHIFT = "AnomalyShift"
ALERT_STALE = "AnomalyStale"
ALERT_ABSENT = "AnomalySeriesAbsent"
ALERT_SHARE = "AnomalyShareHigh"
ALERT_DOWN = "AnomalyExporterDown"
ALERT_VERDICTS = "AnomalyVerdictsStale"
ALERT_SOURCE = "AnomalySourceFailing"
ALERT_UNWATCHABLE = "AnomalyUnwatchable"
ALERTS = (
    ALERT_DETECTED, ALERT_SHIFT, ALERT_STALE, ALERT_ABSENT, ALERT_SHARE,
    ALERT_DOWN, ALERT_VERDICTS, ALERT_SOURCE, ALERT_UNWATCHABLE,
)  # fmt: skip

# Recorded series are called level:metric:operations. These are the operations on anomaly_score whose level is tenant,
# query and model, and the labels of a `group_by` behind them; see `recorded`.
WORST = "max"
JUDGED_COUNT = "count15m"
ANOMALOUS_COUNT = "anomalous_count15m"
ANOMALOUS_SHARE = "anomalous_share15m"
ONSET_COUNT = "onset_count5m"
EPISODES_PER_DAY = "episodes_per_day"
CONSENSUS_SHARE = "consensus_share15m"  # of tenant and query: models are what it is taken over
RECORDED_CONSENSUS = "series:anomaly_score:consensus15m"
RECORDED_ABSENT = "tenant_query:anomaly_absent_seconds:count"
RECORDED_STATES = f"tenant_query_state:{SELF_SERIES}:max"
RECORDED_VERDICT_AGE = f"tenant_query:{SELF_PREFIX}_verdict_age_seconds:min"


def recorded(level: tuple[str, ...], operations: str) -> str:
    """The recorded name of what was done to anomaly_score by these labels: ``tenant_query:anomaly_score:max``."""
    return f"{'_'.join(level)}:{FAMILIES[SCORE].name}:{operations}"


def directed(direction: str) -> str:
    """The recorded score that counts on one side of the band only, 0 on the other: ``series:anomaly_score:above``."""
    return recorded(("series",), direction)


# What alerts link to: uids of the dashboards, pages of the exporter.
DASHBOARD_OVERVIEW = "anomaly-overview"
DASHBOARD_SERIES = "anomaly-series"
DASHBOARD_INCIDENT = "anomaly-incident"
DASHBOARD_EXPORTER = "anomaly-exporter"
PAGE_EXPLAIN = "/explain"
PAGE_RUNBOOKS = "/runbooks"
