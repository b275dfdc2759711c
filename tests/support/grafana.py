"""What Grafana does with the variables of a dashboard before it asks Prometheus, as its documentation describes it.

A re-implementation: what it shows is that the queries work when they are filled in like this, not that Grafana does so.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]
Choice = Mapping[str, str | list[str]]
Answer = list[tuple[dict[str, str], float]]

ALL = "$__all"
_USED = re.compile(r"\$\{(?P<braced>\w+)(?::(?P<format>\w+(?::\w+)?))?\}|\$(?P<plain>[A-Za-z_]\w*)")
_SPECIAL = re.compile(r"[\\^$*+?.()|\[\]{}]")
OWN = ("__rate_interval", "__interval", "__range")  # what each panel fills in by itself


def panels(dashboard: Json) -> Iterator[Json]:
    """All panels, those inside rows included."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def targets(dashboard: Json) -> Iterator[tuple[Json, Json]]:
    """(panel, query) of all panels."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield panel, target


def variables(dashboard: Json) -> dict[str, Json]:
    """Variables by name."""
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def chosen(dashboard: Json, choice: Choice) -> dict[str, str | list[str]]:
    """A value for each variable: of the choice, else the one that the dashboard begins with."""
    values = {}
    for name, variable in variables(dashboard).items():
        values[name] = choice.get(name, variable["current"].get("value", ""))
    return values


def filled_in(text: str, dashboard: Json, choice: Choice) -> str:
    """A text of a dashboard with the values of its variables; those of a panel, and unknown ones, stay."""
    known, values = variables(dashboard), chosen(dashboard, choice)

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        if name not in known:
            return match[0]
        return _formatted(values[name], known[name], match["format"] or "regex")

    return _USED.sub(value, text)


def used(text: str) -> set[str]:
    """Names of the variables in a text."""
    return {match["braced"] or match["plain"] for match in _USED.finditer(text)}


def _formatted(value: str | list[str], variable: Json, way: str) -> str:
    if value in (ALL, [ALL]):
        value = str(variable["allValue"])
        return quote(value, safe="") if way == "percentencode" else value
    if way == "raw":
        return value if isinstance(value, str) else ",".join(value)
    if way == "doublequote":
        return ",".join(f'"{one}"' for one in ([value] if isinstance(value, str) else value))
    if way == "percentencode":
        return quote(value if isinstance(value, str) else "{" + ",".join(value) + "}", safe="")
    if variable.get("multi") or variable.get("includeAll"):
        values = [_SPECIAL.sub(r"\\\\\g<0>", one) for one in ([value] if isinstance(value, str) else value)]
        return values[0] if len(values) == 1 else f"({'|'.join(values)})"
    assert isinstance(value, str)
    return value.replace("\\", r"\\").replace("'", r"\'")


def timed(expr: str, *, range_s: int, interval_s: int) -> str:
    """A query with the variables that come from the time range, as with a scrape interval of 15 s."""
    known = {"__rate_interval": max(interval_s + 15, 60), "__interval": interval_s, "__range": range_s}
    return re.sub(r"\$\{?(__\w+)\}?", lambda match: f"{known[match[1]]}s", expr)


def prepared(dashboard: Json, choice: Choice) -> Json:
    """The dashboard as its panels see it: repeated ones repeated, variables filled in everywhere."""
    ready = copy.deepcopy(dashboard)
    ready["panels"] = [one for panel in ready["panels"] for one in _repeated(panel, dashboard, choice)]
    return ready


def _repeated(panel: Json, dashboard: Json, choice: Choice) -> Iterator[Json]:
    name = panel.get("repeat")
    values = chosen(dashboard, choice)[name] if name else [""]
    for place, value in enumerate([values] if isinstance(values, str) else values):
        one = _filled(panel, dashboard, {**choice, name: value} if name else choice)
        if name:
            width = 24 // min(panel["maxPerRow"], len(values))
            one["id"] = panel["id"] * 1000 + place
            one["gridPos"] = {**panel["gridPos"], "w": width, "x": width * place}
        yield one


def _filled(node: Any, dashboard: Json, choice: Choice) -> Any:
    if isinstance(node, str):
        return filled_in(node, dashboard, choice)
    if isinstance(node, list):
        return [_filled(one, dashboard, choice) for one in node]
    return {k: _filled(v, dashboard, choice) for k, v in node.items()} if isinstance(node, dict) else node


def field_labels(labels: Mapping[str, str]) -> str:
    """What `${__field.labels}` becomes in a link: sorted, without braces, values as they are."""
    return ", ".join(f'{name}="{labels[name]}"' for name in sorted(labels) if name != "__name__")


def options(variable: Json, dashboard: Json, choice: Choice, ask: Callable[[str], Answer], range_s: int) -> list[str]:
    """What a query variable offers, asked from Prometheus as it is now."""
    text = timed(filled_in(variable["query"], dashboard, choice), range_s=range_s, interval_s=60)
    if match := re.fullmatch(r"label_values\((.*), (\w+)\)", text):
        found = {labels[match[2]] for labels, _ in ask(f"group by ({match[2]}) ({match[1]})") if labels.get(match[2])}
        return sorted(found)
    match = re.fullmatch(r"query_result\((.*)\)", text)
    assert match, text
    shown = [_result_text(labels, value) for labels, value in ask(match[1])]
    picked = [re.search(variable["regex"].strip("/"), one) for one in shown]
    return [one[1] for one in picked if one]


def _result_text(labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{name}="{text}"' for name, text in labels.items() if name != "__name__")
    return f"{labels.get('__name__', '')}{{{pairs}}} {value} 0"
