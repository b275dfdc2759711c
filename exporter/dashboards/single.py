"""The dashboard of one series: its value inside the band, its score, and what else is known about it."""

from __future__ import annotations

from typing import Final

from exporter.dashboards import panels, variables
from exporter.dashboards.dashboard import Row, annotation, dashboard, link, to_series
from exporter.dashboards.panels import BAD_FROM_ONE, Json, fixed, override, stat, target, text, timeseries
from exporter.dashboards.promql import (
    FILTER,
    LOOKBACK,
    MODEL,
    SERIES,
    drawn,
    published,
    recent,
)
from exporter.dashboards.states import by_state
from exporter.names import (
    ABSENT,
    DASHBOARD_SERIES,
    DETECTABLE,
    EXPECTED,
    LOWER,
    PAGE_EXPLAIN,
    SCORE,
    SELF_VERDICT_TIME,
    SHIFT,
    STALE,
    UPPER,
    VALUE,
)

_SCORE = published(SCORE, MODEL, SERIES)
_VALUE = published(VALUE, MODEL, SERIES)
_EXPECTED = published(EXPECTED, MODEL, SERIES)
_IS_ANOMALOUS = f"({recent(_SCORE)} > bool 1)"

_HELP: Final = """\
**Series** lists the series of the query with the highest scores in the time range, worst first. **Filter** takes \
label matchers, for example `service="cart",job=~"web.*"`, and narrows that list.

**Band**: where the value is expected to be. **Score**: 0 in its middle, 1 at its edge, above 1 outside; the same \
scale for every series and model. It marks the *onset* of an anomaly: when a new level stays, the band follows it \
within a few samples.

**Why?** *Explain* (at the top) opens the exporter's own page about the series at the end of the time range.\
"""


def single(datasource: str = "", exporter_url: str = "") -> Json:
    """The dashboard `anomaly-series`; ``exporter_url`` is where people reach the exporter, if that is known."""
    own_address = [] if exporter_url else [variables.exporter_address(f'{SELF_VERDICT_TIME}{{query=~"$query"}}')]
    shown = [
        variables.datasource(datasource), variables.tenant(multi=False), variables.query(multi=False),
        variables.model(every=False), variables.filter_box(), variables.series(), variables.source_labels(),
        variables.owner(), *own_address,
    ]  # fmt: skip
    return dashboard(
        DASHBOARD_SERIES,
        "Anomaly: series",
        "One series inside its band: value, expected, score, episodes, state.",
        shown,
        _rows(),
        annotations=[annotation("Outside its band", f"{_SCORE} > 1", "{{model}}")],
        links=[_explain(exporter_url or "http://${exporter}")],
    )


def _rows() -> list[Row]:
    numbers = [_state(), _worst(), _episodes(), _value(), _deviation(), _detectable()]
    return [
        (4, [(4, number) for number in numbers]),
        (11, [(24, _band())]),
        (7, [(24, _scores())]),
        (5, [(24, _by_model())]),
        (7, [(12, _slow_signals()), (12, _detectability())]),
        (12, [(16, _others()), (8, by_state("All series of the query by state"))]),
        (5, [(24, text("How to read this", _HELP))]),
    ]


def _explain(address: str) -> Json:
    asked = "query=${query:percentencode}&tenant=${owner:percentencode}&model=${model:percentencode}"
    url = f"{address}{PAGE_EXPLAIN}?{asked}&series=%7B${{labels:percentencode}}%7D&at=${{__to:date:seconds}}"
    return link("Explain", url, tooltip="Why the series has its score, at the end of the time range")


def _state() -> Json:
    absent = f"{published(ABSENT)} and ignoring (model) {recent_day(_SCORE)}"
    panel = stat(
        "State",
        "Whether the series is inside its band, was anomalous within the last 15 minutes, or sends no samples any "
        "more. A series without a verdict (too young, too few samples) has none of these.",
        f"max({absent}) * 0 + 3 or max{_IS_ANOMALOUS} + 1",
        unit="none",
        colors=((None, "green"), (2, "orange"), (3, "red")),
        noValue="no verdict",
    )
    texts = {"1": ("inside its band", "green"), "2": ("anomalous", "orange"), "3": ("absent", "red")}
    shown = {key: {"index": i, "text": says, "color": color} for i, (key, (says, color)) in enumerate(texts.items())}
    panel["fieldConfig"]["defaults"]["mappings"] = [{"type": "value", "options": shown}]
    return panel


def recent_day(selector: str) -> str:
    """Whether there was something within a day: a series that has gone has no score any more."""
    return f"last_over_time({selector}[1d])"


def _worst() -> Json:
    expr = f"max(max_over_time({_SCORE}[$__range]))"
    text_ = "Highest score in the time range; 1 is the edge of the band."
    return stat("Worst score", text_, expr, unit="none", colors=BAD_FROM_ONE, decimals=2)


def _episodes() -> Json:
    """Each episode changes the flag twice, but for those cut off by the ends of the time range."""
    before = f"(max_over_time({_SCORE}[{LOOKBACK}] offset $__range) > bool 1)"
    flips = f"changes({_IS_ANOMALOUS}[$__range:1m])"
    expr = f"ceil(max({flips} + {_IS_ANOMALOUS} + ({before} or {_IS_ANOMALOUS} * 0)) / 2)"
    text_ = "Times within the range that the series became or still was anomalous. Less than 15 minutes apart is one."
    return stat("Episodes", text_, expr, unit="none", colors=BAD_FROM_ONE, decimals=0)


def _value() -> Json:
    return stat("Value", "The newest judged sample, in the unit of the series.", f"max({_VALUE})", unit="short")


def _deviation() -> Json:
    expr = f"max(({_VALUE} - {_EXPECTED}) / abs({_EXPECTED}))"
    text_ = "How far the value is from the expected one, as a share of that. Nothing where 0 is expected."
    return stat("From expected", text_, expr, unit="percentunit", decimals=0)


def _detectable() -> Json:
    text_ = (
        "The smallest change, as a share of the expected value, that would score above 1 now. "
        "Only with `detectability: true` in the config of the query."
    )
    expr = f"max({published(DETECTABLE, MODEL, SERIES)})"
    return stat("Would notice", text_, expr, unit="percentunit", decimals=0, noValue="off")


def _band() -> Json:
    outside = f"{_VALUE} and {_SCORE} > 1"
    return timeseries(
        "Value and band",
        "The series inside its band, in its own unit. Red points are samples outside: their score is above 1. A band "
        "without lower or upper edge is open on that side. Two values at once: choose a tenant.",
        [
            target(published(UPPER, MODEL, SERIES), "upper"),
            target(published(LOWER, MODEL, SERIES), "lower"),
            target(_EXPECTED, "expected"),
            target(_VALUE, "value"),
            target(outside, "outside the band"),
        ],
        unit="short", custom={"axisWidth": panels.AXIS_WIDTH},
        overrides=[
            override("upper", custom_fillBelowTo="lower", custom_fillOpacity=25, custom_lineWidth=1,
                     color=fixed("semi-dark-blue")),
            override("lower", custom_lineWidth=1, color=fixed("semi-dark-blue")),
            override("expected", custom_lineStyle={"fill": "dash", "dash": [6, 6]}, color=fixed("light-blue")),
            override("value", custom_lineWidth=2, color=fixed("text")),
            override("outside the band", custom_drawStyle="points", custom_showPoints="always", custom_pointSize=7,
                     color=fixed("red")),
        ],
    )  # fmt: skip


def _scores() -> Json:
    return timeseries(
        "Score",
        "Highest score of each interval; the line at 1 is the edge of the band.",
        [target(drawn(_SCORE), "score by {{model}}")],
        unit="none", decimals=1, min=0, color=fixed("orange"),
        custom={"fillOpacity": 10, "axisSoftMax": 2, "axisWidth": panels.AXIS_WIDTH}, line_at=(1, "red"),
    )  # fmt: skip


def _by_model() -> Json:
    every = published(SCORE, SERIES)
    return timeseries(
        "Episodes",
        "When an alert on a model would be on: a score above 1 within 15 minutes. As high as models agree.",
        [target(f"{recent(every)} > bool 1", "{{model}}")],
        unit="none", decimals=0, min=0,
        custom={"lineInterpolation": "stepAfter", "fillOpacity": 45, "lineWidth": 1, "axisWidth": panels.AXIS_WIDTH,
                "axisSoftMax": 2, "stacking": {"mode": "normal", "group": "A"}},
    )  # fmt: skip


def _slow_signals() -> Json:
    def of(kind: str) -> str:
        selector = published(kind)  # about the series, not of a model: found by the score, which has all labels
        return f"{selector} and ignoring (model) {recent(_SCORE)}"

    return timeseries(
        "Slow signals",
        "Above 1: the level of the last hours has left that of the days before (shift); the value has been the same "
        "for unusually long (stale). Only with `signals` in the config of the query.",
        [target(of(SHIFT), "shift"), target(of(STALE), "stale")],
        unit="none", decimals=1, min=0, custom={"axisSoftMax": 2}, line_at=(1, "red"),
    )  # fmt: skip


def _detectability() -> Json:
    return timeseries(
        "Smallest change that would be noticed",
        "As a share of the expected value: what would score above 1. Only with `detectability: true` in the config of "
        "the query.",
        [target(published(DETECTABLE, SERIES), "{{model}}")],
        unit="percentunit", min=0,
    )  # fmt: skip


def _others() -> Json:
    scores = published(SCORE, MODEL, FILTER)
    panel = panels.worst(
        "Worst series of the query",
        "By their highest scores in the time range. Click on a bar to look at that series.",
        f"sort_desc(topk(8, max_over_time({scores}[$__range])))",
    )
    return panels.links(panel, to_series())
