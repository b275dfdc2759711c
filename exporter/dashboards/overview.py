"""The dashboard to begin with: how much is watched, how much is anomalous, where, and what is worst."""

from __future__ import annotations

from exporter.dashboards import panels, variables
from exporter.dashboards.dashboard import Row, annotation, dashboard, row_to_query, to_series
from exporter.dashboards.panels import BAD_FROM_ONE, Json, override, stat, steps, table, timeseries
from exporter.dashboards.promql import FILTER, LOOKBACK, MODEL, in_range, own, published, recent
from exporter.dashboards.states import by_state
from exporter.names import ABSENT, DASHBOARD_OVERVIEW, EXPECTED, LOWER, SCORE, UPPER, VALUE

_SCORES = published(SCORE, MODEL, FILTER)
_WORST = f"max without (model) ({recent(_SCORES)})"  # of the chosen models: a series is counted once
_IS_ANOMALOUS = f"({_WORST} > bool 1)"
_TEN = f"topk(10, {recent(_SCORES)})"
_VERDICTS = f"max by (tenant, query) ({own('verdict_timestamp_seconds')} > 0)"
_MANY = 0.1
# Tenants and queries that had an anomalous series in the time range: the others would be lines at 0.
_CONCERNED = f"(max by (tenant, query) ({in_range(_SCORES)}) > 1)"


def overview(datasource: str = "") -> Json:
    """The dashboard `anomaly-overview`."""
    return dashboard(
        DASHBOARD_OVERVIEW,
        "Anomaly: overview",
        "How many series are watched, how many are anomalous now, and which are worst.",
        [variables.datasource(datasource), variables.tenant(), variables.query(), variables.model(),
         variables.filter_box()],
        _rows(),
        annotations=[_many_at_once()],
    )  # fmt: skip


def _rows() -> list[Row]:
    numbers = [_watched(), _judged(), _anomalous(), _share(), _absent(), _age()]
    return [
        (4, [(4, number) for number in numbers]),
        (9, [(12, _count_over_time()), (12, _share_over_time())]),
        (14, [(24, _worst())]),
        (11, [(24, _worst_numbers())]),
        (8, [(8, by_state("Series by state")), (8, _shares_now()), (8, _ages())]),
    ]


def _watched() -> Json:
    expr = f"sum(max by (tenant, query, state) ({own('series')}))"
    text = "Series of the chosen tenants and queries, in any state. The filter does not count here."
    return stat("Series watched", text, expr, unit="short", decimals=0)


def _judged() -> Json:
    text = "Series that have a score of the chosen model."
    return stat("Judged", text, f"count({_WORST})", unit="short", decimals=0, noValue="0")


def _anomalous() -> Json:
    text = (
        "Series whose score was above 1 within the last 15 minutes: the score marks the onset of an anomaly, "
        "so a single moment would miss most."
    )
    expr = f"sum({_IS_ANOMALOUS})"
    return stat("Anomalous now", text, expr, unit="short", colors=BAD_FROM_ONE, decimals=0, noValue="0")


def _share() -> Json:
    text = "The same as a share of the judged series. A small share is chance; from a tenth on suspect a shared cause."
    colors = ((None, "green"), (0.02, "orange"), (_MANY, "red"))
    return stat("Share anomalous", text, f"avg({_IS_ANOMALOUS})", unit="percentunit", colors=colors, decimals=1)


def _absent() -> Json:
    expr = f"count({published(ABSENT, FILTER)}) or vector(0)"
    text = "Judged series that have stopped sending samples."
    return stat("Absent", text, expr, unit="short", colors=BAD_FROM_ONE, decimals=0)


def _age() -> Json:
    text = "Age of the newest judged sample, of the query that lags most."
    colors = ((None, "green"), (600, "orange"), (900, "red"))
    return stat("Oldest verdict", text, f"time() - min({_VERDICTS})", unit="s", colors=colors, decimals=0)


def _count_over_time() -> Json:
    return timeseries(
        "Anomalous series by tenant and query",
        "Series with a score above 1 within 15 minutes, stacked.",
        [panels.target(f"sum by (tenant, query) {_IS_ANOMALOUS} > 0", "{{tenant}} {{query}}")],
        unit="short", decimals=0, min=0,
        custom={"fillOpacity": 60, "lineWidth": 1, "lineInterpolation": "stepAfter", "axisSoftMax": 5,
                "stacking": {"mode": "normal", "group": "A"}},
    )  # fmt: skip


def _share_over_time() -> Json:
    return timeseries(
        "Share of series that are anomalous",
        "Series with a score above 1 within 15 minutes, as a share of those judged; tenants and queries with any. "
        "Above the line, a tenth, the alert AnomalyShareHigh takes over from those of single series.",
        [panels.target(f"avg by (tenant, query) {_IS_ANOMALOUS} and on (tenant, query) {_CONCERNED}",
                       "{{tenant}} {{query}}")],
        unit="percentunit", min=0, max=1, custom={"lineInterpolation": "stepAfter", "fillOpacity": 8},
        line_at=(_MANY, "red"),
    )  # fmt: skip


def _worst() -> Json:
    panel = panels.worst(
        "Worst ten",
        "Series with the highest scores of the last 15 minutes. 1 is the edge of the band. "
        "Click on a bar to see the series in its band.",
        f"sort_desc({_TEN})",
    )
    return panels.links(panel, to_series())


def _worst_numbers() -> Json:
    """Absent columns stay empty: bands may be open on a side, and need not be published."""

    def of(kind: str) -> str:
        return f"{published(kind, MODEL, FILTER)} and {_TEN}"

    columns = {
        "worst score": _TEN, "score now": of(SCORE), "value": of(VALUE), "expected": of(EXPECTED),
        "lower": of(LOWER), "upper": of(UPPER),
    }  # fmt: skip
    scored = {
        "custom_cellOptions": {"type": "color-text"}, "color": {"mode": "thresholds"}, "decimals": 2,
        "thresholds": steps(((None, "text"), (1, "orange"), (3, "red"))),
    }  # fmt: skip
    return table(
        "Worst ten in numbers",
        f"The same series: the highest score of the last {LOOKBACK}, and what is now, in the unit of each series. An "
        "empty edge means that the band is open on that side. Click on a query to see its series.",
        columns,
        unit="short",
        sort="worst score",
        first=("query", "tenant", *columns),
        overrides=[
            override("Value #A", custom_width=110, **scored),
            override("Value #B", custom_width=95, **scored),
            *(override(f"Value #{letter}", custom_width=95) for letter in "CDEF"),
            override("query", custom_width=120),
            override("tenant", custom_width=120),
            override("query", links=[row_to_query()]),
        ],
    )


def _shares_now() -> Json:
    return panels.bargauge(
        "Share anomalous now",
        "By tenant and query, the ten highest.",
        f"sort_desc(topk(10, avg by (tenant, query) {_IS_ANOMALOUS}))",
        "{{tenant}} {{query}}",
        unit="percentunit", max=1, decimals=0, color={"mode": "thresholds"},
        thresholds=steps(((None, "green"), (0.02, "orange"), (_MANY, "red"))),
    )  # fmt: skip


def _ages() -> Json:
    return panels.bargauge(
        "Age of verdicts",
        "By tenant and query, the ten oldest: age of the newest judged sample, of the freshest replica. "
        "From 15 minutes on the alert AnomalyVerdictsStale begins.",
        f"sort_desc(topk(10, time() - {_VERDICTS}))",
        "{{tenant}} {{query}}",
        unit="s", decimals=0, color={"mode": "thresholds"},
        thresholds=steps(((None, "green"), (600, "orange"), (900, "red"))),
    )  # fmt: skip


def _many_at_once() -> Json:
    expr = f"avg by (tenant, query) {_IS_ANOMALOUS} > {_MANY}"
    return annotation("Many series at once", expr, "{{tenant}} {{query}}")
