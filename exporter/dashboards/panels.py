"""Panels of the five types that are drawn in tests: dicts as Grafana reads them, without an id and a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

Json = dict[str, Any]
Steps = Sequence[tuple[float | None, str]]

SOURCE: Final[Mapping[str, str]] = {"type": "prometheus", "uid": "${datasource}"}
AXIS_WIDTH: Final = 62  # the same for charts one above the other, so that their times agree
NEUTRAL: Final[Steps] = ((None, "text"),)
BAD_FROM_ONE: Final[Steps] = ((None, "green"), (1, "orange"))
_LETTERS = "ABCDEFGHIJ"
_FINE_POINTS = 1000


def target(expr: str, legend: str = "__auto", *, instant: bool = False, table: bool = False) -> Json:
    """A query of a panel; its letter comes with the panel. A table wants the values of one moment."""
    asked: Json = {"datasource": dict(SOURCE), "expr": expr, "legendFormat": legend}
    asked |= {"instant": instant or table, "range": not (instant or table)}
    return asked | ({"format": "table"} if table else {})


def steps(of: Steps) -> Json:
    """Colours from values on; the first has none."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in of]}


def fixed(color: str) -> Json:
    """One colour."""
    return {"mode": "fixed", "fixedColor": color}


def override(name: str, **properties: Any) -> Json:
    """Other settings for the field of that name; `custom_x` is written as `custom.x`."""
    return _override("byName", name, properties)


def override_pattern(pattern: str, **properties: Any) -> Json:
    """The same for the fields whose name matches a regular expression, written /between slashes/."""
    return _override("byRegexp", pattern, properties)


def _override(matcher: str, options: str, properties: Mapping[str, Any]) -> Json:
    values = [{"id": name.replace("custom_", "custom."), "value": value} for name, value in properties.items()]
    return {"matcher": {"id": matcher, "options": options}, "properties": values}


def timeseries(
    title: str, description: str, targets: Sequence[Json], *, unit: str, overrides: Sequence[Json] = (),
    custom: Mapping[str, Any] | None = None, legend: Mapping[str, Any] | None = None,
    line_at: tuple[float, str] | None = None, **defaults: Any,
) -> Json:  # fmt: skip
    """Lines over time. ``line_at``: a value with a line of its own, and its colour. ``defaults``: of all fields."""
    drawing = {"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 0}
    drawing |= {"showPoints": "never", "spanNulls": False, **(custom or {})}
    if line_at is not None:
        defaults["thresholds"] = steps(((None, "transparent"), line_at))
        drawing["thresholdsStyle"] = {"mode": "dashed"}
    defaults = {"color": {"mode": "palette-classic"}, **defaults}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": [], **(legend or {})},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    fields = {"unit": unit, **defaults, "custom": drawing}
    return _panel("timeseries", title, description, fields, overrides, options, targets)


def stat(
    title: str, description: str, expr: str, *, unit: str, colors: Steps = NEUTRAL, **defaults: Any,
) -> Json:  # fmt: skip
    """One number, large, of the end of the time range."""
    fields = {"unit": unit, "thresholds": steps(colors), "color": {"mode": "thresholds"}, **defaults}
    options = {
        "reduceOptions": _LAST, "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "textMode": "value",
        "orientation": "auto", "wideLayout": True,
    }  # fmt: skip
    return _panel("stat", title, description, fields, (), options, [target(expr, instant=True)])


def bargauge(
    title: str, description: str, expr: str, legend: str, *, unit: str, overrides: Sequence[Json] = (),
    name: Literal["left", "top"] = "left", **defaults: Any,
) -> Json:  # fmt: skip
    """One horizontal bar for each series of the end of the time range."""
    options = {
        "reduceOptions": _LAST, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True,
        "valueMode": "color", "namePlacement": name, "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16,
        "maxVizHeight": 28 if name == "left" else 48,
    }  # fmt: skip
    fields = {"unit": unit, "min": 0, **defaults}
    return _panel("bargauge", title, description, fields, overrides, options, [target(expr, legend, instant=True)])


def worst(title: str, description: str, expr: str) -> Json:
    """Bars of scores; 1 is the edge of the band."""
    return bargauge(
        title, description, expr, "__auto", unit="none", name="top", decimals=2,
        color={"mode": "thresholds"}, thresholds=steps(((None, "green"), (1, "orange"), (3, "red"))),
    )  # fmt: skip


def table(
    title: str, description: str, columns: Mapping[str, str], *, unit: str, sort: str, descending: bool = True,
    first: Sequence[str] = (), overrides: Sequence[Json] = (), **defaults: Any,
) -> Json:  # fmt: skip
    """Rows of labels with a number for each query; ``columns`` maps their names to the queries.

    Rows are sorted by the column ``sort``; ``first`` are the columns that come first.
    """
    targets = [target(expr, table=True) for expr in columns.values()]
    letters = dict(zip(columns, _LETTERS, strict=False))
    named = [override(f"Value #{letter}", displayName=name, unit=unit) for name, letter in letters.items()]
    # A label is a text, even if it looks like a number: 0.5 would be shown as 0.500.
    fields = {"unit": "string", **defaults, "custom": {"align": "auto"}}
    options = {"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": sort, "desc": descending}]}
    panel = _panel("table", title, description, fields, [*named, *overrides], options, targets)
    value = {name: f"Value #{letter}" for name, letter in letters.items()}
    panel["transformations"] = _rows(value[sort], descending, [value.get(name, name) for name in first])
    return panel


def _rows(sort: str, descending: bool, first: Sequence[str]) -> list[Json]:
    order = {name: place for place, name in enumerate(first)}
    return [
        # Rows are merged where all labels agree; the names of the metrics never do.
        {"id": "filterFieldsByName", "options": {"exclude": {"names": ["Time", "__name__"]}}},
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {}, "indexByName": order, "renameByName": {}}},
        {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": sort, "desc": descending}]}},
    ]


def text(title: str, content: str) -> Json:
    """Markdown."""
    return {"type": "text", "title": title, "description": "", "options": {"mode": "markdown", "content": content}}


def links(panel: Json, *of: Json) -> Json:
    """The panel with links on each of its values."""
    panel["fieldConfig"]["defaults"]["links"] = list(of)
    return panel


def fine(panel: Json) -> Json:
    """The panel with steps as short as those of a wide chart, however small it is itself."""
    return panel | {"maxDataPoints": _FINE_POINTS}


def repeated(panel: Json, variable: str, per_row: int) -> Json:
    """The panel once for each chosen value of a variable, side by side."""
    return panel | {"repeat": variable, "repeatDirection": "h", "maxPerRow": per_row}


_LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def _panel(
    kind: str, title: str, description: str, defaults: Json, overrides: Sequence[Json], options: Json,
    targets: Sequence[Json],
) -> Json:  # fmt: skip
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": dict(SOURCE),
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
        "targets": [{"refId": letter, **each} for letter, each in zip(_LETTERS, targets, strict=False)],
    }
