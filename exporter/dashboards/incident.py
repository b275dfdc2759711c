"""The dashboard for an incident: everything that was anomalous in a time range, aligned, and what it has in common."""

from __future__ import annotations

from typing import Any, Final

from exporter.dashboards import panels, variables
from exporter.dashboards.dashboard import Row, annotation, dashboard, row_to_query, to_series
from exporter.dashboards.panels import BAD_FROM_ONE, Json, override, stat, steps, table, target, timeseries
from exporter.dashboards.promql import FILTER, MODEL, drawn, in_range, published, recent
from exporter.names import DASHBOARD_INCIDENT, EXPECTED, SCORE, VALUE

_SHOWN = 20
_SCORES = published(SCORE, MODEL, FILTER)
_WORST = f"max without (model) (max_over_time({_SCORES}[$__range]))"
_WAS = f"({_WORST} > bool 1)"
_NOW = f"(max without (model) ({recent(_SCORES)}) > bool 1)"
# Which series are drawn does not change along a chart: by their highest scores in the whole time range.
_DRAWN = f"topk({_SHOWN}, {in_range(_SCORES)} > 1)"
# The ends of a time range in steps: a series is anomalous where its highest score of a step is above 1.
_MOMENTS = f"timestamp(max_over_time({_SCORES}[$__rate_interval]) > 1)[$__range:$__interval]"

_LEGEND: Final = {"placement": "right", "width": 260}
_NAME: Final = "legend_text"
_WITHOUT: Final = "(without)"
_LABELS_PER_ROW: Final = 4


def incident(datasource: str = "") -> Json:
    """The dashboard `anomaly-incident`."""
    return dashboard(
        DASHBOARD_INCIDENT,
        "Anomaly: incident",
        "Everything that was anomalous in the time range: when it began, what it has in common.",
        [variables.datasource(datasource), variables.tenant(), variables.query(), variables.model(),
         variables.filter_box(), variables.label()],
        _rows(),
        hours=3,
        annotations=[annotation("Many series at once", f"avg({_NOW}) > 0.1", "a tenth of all series")],
    )  # fmt: skip


def _rows() -> list[Row]:
    numbers = [_count(), _share(), _queries(), _worst(), panels.fine(_first()), panels.fine(_last())]
    by_label = panels.repeated(_by_label(), "label", _LABELS_PER_ROW)
    return [
        (4, [(4, number) for number in numbers]),
        (8, [(24, _timeline())]),
        (9, [(24, _scores())]),
        (9, [(24, _deviations())]),
        (9, [(24, by_label)]),
        (13, [(24, panels.fine(_onsets()))]),
        (14, [(24, _worst_ten())]),
    ]


def _count() -> Json:
    text = "Series whose score was above 1 at any time in the range."
    return stat("Anomalous in this range", text, f"sum({_WAS})", unit="short", colors=BAD_FROM_ONE, decimals=0,
                noValue="0")  # fmt: skip


def _share() -> Json:
    text = "The same as a share of the series that were judged in the range. The longer the range, the more is chance."
    colors = ((None, "green"), (0.02, "orange"), (0.1, "red"))
    return stat("Share of judged", text, f"avg({_WAS})", unit="percentunit", colors=colors, decimals=1)


def _queries() -> Json:
    expr = f"sum(max by (tenant, query) {_WAS})"
    return stat("Queries concerned", "Queries, by tenant, with a series that was anomalous in the range.", expr,
                unit="short", decimals=0, noValue="0")  # fmt: skip


def _worst() -> Json:
    return stat("Worst score", "Highest score in the range; 1 is the edge of the band.", f"max({_WORST})", unit="none",
                colors=BAD_FROM_ONE, decimals=2)  # fmt: skip


def _first() -> Json:
    return stat("First onset", "When the first of them left its band.", f"min(min_over_time({_MOMENTS})) * 1000",
                unit="dateTimeAsIsoNoDateIfToday", noValue="-")  # fmt: skip


def _last() -> Json:
    return stat("Last seen", "When the last of them was outside its band.", f"max(max_over_time({_MOMENTS})) * 1000",
                unit="dateTimeAsIsoNoDateIfToday", noValue="-")  # fmt: skip


def _timeline() -> Json:
    return timeseries(
        "Anomalous series by query",
        "Series with a score above 1 within 15 minutes, stacked.",
        [target(f"sum by (query) {_NOW} > 0", "{{query}}")],
        unit="short", decimals=0, min=0, legend=_LEGEND,
        custom={"fillOpacity": 60, "lineInterpolation": "stepAfter", "axisSoftMax": 5, "axisWidth": panels.AXIS_WIDTH,
                "stacking": {"mode": "normal", "group": "A"}},
    )  # fmt: skip


def _scores() -> Json:
    return _aligned(
        "Scores",
        f"Of the {_SHOWN} series with the highest scores in the range, named by the values of the chosen labels. "
        "The line at 1 is the edge of the band.",
        f"({drawn(_SCORES)}) and {_DRAWN}",
        unit="none", decimals=1, min=0, line_at=(1, "red"),
    )  # fmt: skip


def _deviations() -> Json:
    expected = published(EXPECTED, MODEL, FILTER)
    change = f"({published(VALUE, MODEL, FILTER)} - {expected}) / abs({expected})"
    return _aligned(
        "Distance from expected",
        "Of the same series, as a share of the expected value: what rose, what fell, and what came first. Needs "
        "published bands; nothing where 0 is expected.",
        f"{change} and {_DRAWN}",
        unit="percentunit",
    )


def _aligned(title: str, description: str, expr: str, *, unit: str, **more: Any) -> Json:
    """A chart of one line per series, named by the values of the chosen labels."""
    named = f'label_join({expr}, "{_NAME}", " ", ${{label:doublequote}})'
    wanted = [target(named, f"{{{{{_NAME}}}}}")]
    custom = {"axisWidth": panels.AXIS_WIDTH}
    return timeseries(title, description, wanted, unit=unit, legend=_LEGEND, custom=custom, **more)


def _worst_ten() -> Json:
    panel = panels.worst(
        "Worst ten of the range",
        "Series with the highest scores. 1 is the edge of the band. Click on a bar to see the series in its band.",
        f"sort_desc(topk(10, max_over_time({_SCORES}[$__range])))",
    )
    return panels.links(panel, to_series())


def _by_label() -> Json:
    """One table for each chosen label: how much of what has the same value was anomalous."""
    columns = {"anomalous": f"{_valued('sum')} > 0", "judged": f"{_valued('count')} and {_valued('sum')} > 0",
               "share": f"{_valued('avg')} > 0"}  # fmt: skip
    share = {
        "unit": "percentunit", "custom_width": 70, "custom_cellOptions": {"type": "color-text"},
        "color": {"mode": "thresholds"}, "thresholds": steps(((None, "text"), (0.1, "orange"), (0.5, "red"))),
    }  # fmt: skip
    return table(
        "By $label",
        "Series that were anomalous in the range, by the value of this label, and of how many. A value that "
        "has most of the anomalous series, nearly all of its own among them, is what they share.",
        columns,
        unit="short",
        decimals=0,
        sort="anomalous",
        first=("value", *columns),
        overrides=[
            override("Value #A", custom_width=90),
            override("Value #B", custom_width=70),
            override("Value #C", **share),
            override("value", custom_minWidth=90),
        ],
    )


def _valued(operation: str) -> str:
    """What was anomalous by the chosen label, whose value becomes the label `value`, for a column of that name."""
    grouped = f"{operation} by ($label) {_WAS}"
    without = f'label_replace({grouped}, "value", "{_WITHOUT}", "$label", "")'
    return f'sum by (value) (label_replace({without}, "value", "$1", "$label", "(?s)(.+)"))'


def _onsets() -> Json:
    columns = {
        "onset": f"min_over_time({_MOMENTS}) * 1000",
        "last seen": f"max_over_time({_MOMENTS}) * 1000",
        "worst score": f"max_over_time({_SCORES}[$__range]) > 1",
    }
    clock = {"unit": "dateTimeAsIsoNoDateIfToday", "custom_width": 150}
    scored = {"decimals": 2, "custom_cellOptions": {"type": "color-text"}, "color": {"mode": "thresholds"},
              "thresholds": steps(((None, "orange"), (3, "red"))), "custom_width": 110}  # fmt: skip
    return table(
        "Onset times",
        "When each series left its band for the first time in the range, earliest first, and when it was last outside. "
        "Times are as exact as the steps of the charts. Click on a query to see its series.",
        columns,
        unit="short", sort="onset", descending=False, first=(*columns, "query", "tenant"),
        overrides=[override("Value #A", **clock), override("Value #B", **clock), override("Value #C", **scored),
                   override("query", links=[row_to_query()])],
    )  # fmt: skip
