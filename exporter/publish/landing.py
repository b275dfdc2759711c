"""The page for people: what is watched, what stands out, what is missing. One HTML document without foreign assets.

Its size does not grow with what is watched: some series and some hundred queries at most are listed, by need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from exporter.names import PAGE_RUNBOOKS
from exporter.publish.explain_link import explain_path
from exporter.publish.label_text import label_text
from exporter.publish.style import POLICY, document, number_text, section, shown, shown_labels, shown_lines

__all__ = ["PAGE_POLICY", "Landing", "LandingRow", "LandingUnit", "duration", "page_html"]

PAGE_POLICY = POLICY
MOST_UNITS = 200
_MOST_NOTES = 3  # on the data of a query
_LONGEST_LABELS = 2000  # characters; the whole of them is on the page of the explanation

_CHART_WIDTH, _CHART_HEIGHT = 160, 18
_CHART_MARGIN = 8
_UNITS_S = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_LINKS = (("/metrics", "Metrics"), ("/config", "Config"), ("/-/ready", "Ready"), ("/-/healthy", "Healthy"))
_FOOT = (
    "A score of 1 is the edge of the band, above 1 is outside. Prometheus reads all of this from /metrics. What each"
    f' alert means and what to do first stands in the <a href="{PAGE_RUNBOOKS}">runbooks</a>.'
)
_INPUT = '<input name="{}" placeholder="{}" autocomplete="off" spellcheck="false">'


@dataclass(frozen=True, slots=True)
class LandingUnit:
    """One query of one tenant: series by state and shed ones, age of the newest judged sample (None: never), error;
    how many series are anomalous now, which share of the window has been read, and what to know of the data."""

    tenant: str
    query: str
    expr: str
    states: Mapping[str, int]
    verdict_age_s: float | None
    error: str = ""
    anomalous: int = 0
    loaded: float = 1.0
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LandingRow:
    """One series with its latest verdict by ``model``; ``age_s`` is the time since its last sample."""

    tenant: str
    query: str
    labels: Mapping[str, str]
    score: float
    value: float
    expected: float
    lower: float
    upper: float
    age_s: float
    model: str = ""


@dataclass(frozen=True, slots=True)
class Landing:
    """What the page shows: all units, the series with the highest scores, and those that have gone missing.

    ``links`` are (address, text) of places elsewhere; ``explains``: there are explanations to link to.
    """

    version: str
    units: Sequence[LandingUnit]
    worst: Sequence[LandingRow]
    absent: Sequence[LandingRow]
    links: Sequence[tuple[str, str]] = ()
    explains: bool = False
    config_hash: str = ""


def page_html(landing: Landing) -> str:
    """The whole document; every text from outside is escaped."""
    with_tenant = any(unit.tenant for unit in landing.units)
    links = "".join(f'<a href="{escape(path)}">{escape(text)}</a>' for path, text in (*_LINKS, *landing.links))
    head = f'<h1>anomaly-exporter</h1><span class="soft">{escape(landing.version)}</span><nav>{links}</nav>'
    worst = _worst_table(landing.worst, with_tenant=with_tenant, explains=landing.explains)
    body = _summary(landing) + section("Furthest from expected", worst)
    if landing.explains and landing.units:
        body += section("Explain a verdict", _form(landing.units))
    body += section("Gone missing", _absent_table(landing.absent, with_tenant=with_tenant, explains=landing.explains))
    body += section("Queries", _unit_table(landing.units, with_tenant=with_tenant))
    config = f" Config {escape(landing.config_hash)}." if landing.config_hash else ""
    return document("anomaly-exporter", head, body, f"{_FOOT}{config}")


def _summary(landing: Landing) -> str:
    series = sum(sum(unit.states.values()) for unit in landing.units)
    judged = sum(unit.states.get("ok", 0) + unit.states.get("constant", 0) for unit in landing.units)
    text = f"{_count(len(landing.units), 'query', 'queries')}, {_count(series, 'series', 'series')}, {judged:,} judged"
    anomalous = sum(unit.anomalous for unit in landing.units)
    failing = sum(bool(unit.error) for unit in landing.units)
    loading = sum(unit.loaded < 1 for unit in landing.units)
    chips = f'<span class="chip bad">{anomalous:,} anomalous now</span>' if anomalous else ""
    chips += f'<span class="chip bad">{_count(failing, "query fails", "queries fail")}</span>' if failing else ""
    if loading:
        share = sum(unit.loaded for unit in landing.units) / len(landing.units)
        words = _count(loading, "query reads its window", "queries read their windows")
        chips += f'<span class="chip">{words}: {100 * share:.0f} % of all</span>'
    return f'<p><span class="soft">{text}</span> {chips}</p>'


def _form(units: Sequence[LandingUnit]) -> str:
    """Ask for the explanation of any series."""
    names = sorted({unit.query for unit in units})[:MOST_UNITS]
    options = "".join(f"<option>{shown(name)}</option>" for name in names)
    tenant = any(unit.tenant for unit in units)
    of_tenant = f"<label>tenant{_INPUT.format('tenant', '')}</label>" if tenant else ""
    hint = escape('{job="api",instance="a:80"}')
    return (
        f'<form action="/explain" method="get"><label>query<select name="query">{options}</select></label>{of_tenant}'
        f'<label class="wide">series, by its labels{_INPUT.format("series", hint)}</label>'
        f"<label>time{_INPUT.format('at', 'now, or 2h for 2 h ago')}</label>"
        '<button type="submit">Explain</button></form>'
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col"{_number_class(head)}>{head.rstrip("#")}</th>' for head in heads)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def _number_class(head: str) -> str:
    """A head that ends in # stands over a column of numbers."""
    return ' class="n"' if head.endswith("#") else ""


def _number_cell(name: str, text: str) -> str:
    return f'<td class="n" data-name="{name}">{text}</td>'


def _worst_table(rows: Sequence[LandingRow], *, with_tenant: bool, explains: bool) -> str:
    if not rows:
        return '<p class="soft">No series has a verdict yet.</p>'
    heads = ("Score#", "Series", "Value#", "Expected#", "Band", "")
    return _table(heads, [_worst_row(row, with_tenant=with_tenant, explains=explains) for row in rows])


def _worst_row(row: LandingRow, *, with_tenant: bool, explains: bool) -> str:
    kind = "bad" if row.score > 1 else "ok"
    band = f"{_number(row.lower)} to {_number(row.upper)}"
    return (
        f'<td class="n"><span class="chip {kind}">{_number(row.score)}</span></td>'
        + _series_cell(row, with_tenant, explains)
        + _number_cell("value", _number(row.value))
        + _number_cell("expected", _number(row.expected))
        + f'<td data-name="band">{band}</td><td>{_chart(row)}</td>'
    )


def _absent_table(rows: Sequence[LandingRow], *, with_tenant: bool, explains: bool) -> str:
    if not rows:
        return '<p class="soft">No judged series is missing.</p>'
    cells = [
        _series_cell(row, with_tenant, explains)
        + _number_cell("last value", _number(row.value))
        + _number_cell("last seen", f"{duration(row.age_s)} ago")
        for row in rows
    ]
    return _table(("Series", "Last value#", "Last seen#"), cells)


def _series_cell(row: LandingRow, with_tenant: bool, explains: bool) -> str:
    labels = label_text(sorted(row.labels.items())).decode().strip()
    labels = labels if len(labels) <= _LONGEST_LABELS else labels[:_LONGEST_LABELS] + "…"
    owner = f"{shown(row.tenant)} / " if with_tenant else ""
    link = ""
    if explains:
        path = explain_path(row.query, row.labels, tenant=row.tenant, model=row.model)
        link = f' <a href="{escape(path)}">explain</a>'
    return f'<td>{owner}{shown(row.query)}{link}<br><code class="soft long">{shown_labels(labels)}</code></td>'


def _unit_table(units: Sequence[LandingUnit], *, with_tenant: bool) -> str:
    if not units:
        return '<p class="soft">No query is configured.</p>'
    heads = ("Query", "Series", "Newest verdict#")
    shown = sorted(units, key=_urgency)[:MOST_UNITS]
    more = len(units) - len(shown)
    note = f'<p class="soft">And {more:,} more, which need less attention.</p>' if more else ""
    return _table(heads, [_unit_row(unit, with_tenant=with_tenant) for unit in shown]) + note


def _urgency(unit: LandingUnit) -> tuple[bool, bool, int, str, str]:
    """Failing ones first, then those that still load, then those with the most anomalies."""
    return not unit.error, unit.loaded >= 1, -unit.anomalous, unit.tenant, unit.query


def _unit_row(unit: LandingUnit, *, with_tenant: bool) -> str:
    owner = f"{shown(unit.tenant)} / " if with_tenant else ""
    error = f'<p class="error">{shown_lines(unit.error)}</p>' if unit.error else ""
    notes = "".join(f'<p class="soft">{shown_lines(note)}</p>' for note in unit.notes[:_MOST_NOTES])
    chips = f'<span class="chip bad">{unit.anomalous:,} anomalous</span>' if unit.anomalous else ""
    chips += "".join(_chip(state, count) for state, count in unit.states.items() if count)
    if unit.loaded < 1:
        chips += f'<span class="chip">reading its window: {100 * unit.loaded:.0f} %</span>'
    age = "none yet" if unit.verdict_age_s is None else f"{duration(unit.verdict_age_s)} old"
    return (
        f'<td>{owner}{shown(unit.query)}<br><code class="soft long">{shown_lines(unit.expr)}</code>{error}{notes}</td>'
        f"<td>{chips or '<span class=soft>none</span>'}</td>{_number_cell('newest verdict', age)}"
    )


def _chip(state: str, count: int) -> str:
    kind = {"ok": " ok", "failed": " bad", "absent": " bad"}.get(state, "")
    return f'<span class="chip{kind}">{count:,} {shown(state)}</span>'


def _number(x: float) -> str:
    """As markup; a dash for none."""
    if math.isnan(x):
        return "&ndash;"
    return number_text(x).replace("-", "&minus;").replace("inf", "&infin;")


def duration(seconds: float) -> str:
    """The two largest units of a duration: ``3 h 12 min``."""
    if not math.isfinite(seconds):
        return "unknown time"
    rest, parts = max(0, round(seconds)), list[str]()
    for name, size in _UNITS_S:
        count, rest = divmod(rest, size)
        if count or parts or size == 1:
            parts.append(f"{count} {name}")
        if len(parts) == 2:
            break
    return " ".join(parts)


def _chart(row: LandingRow) -> str:
    """Where the value lies beside its band; nothing when an edge or the value is not finite."""
    points = (row.value, row.expected, row.lower, row.upper)
    low, high = min(points), max(points)
    if not all(map(math.isfinite, points)) or not 0 < high - low < math.inf:
        return ""
    scale = (_CHART_WIDTH - 2 * _CHART_MARGIN) / (high - low)
    value, middle, left, right = (round(_CHART_MARGIN + (x - low) * scale, 1) for x in points)
    half = _CHART_HEIGHT // 2
    kind = "in" if row.lower <= row.value <= row.upper else "out"
    return (
        f'<svg width="{_CHART_WIDTH}" height="{_CHART_HEIGHT}" role="img" aria-label="value beside its band">'
        f'<line class="axis" x1="0" x2="{_CHART_WIDTH}" y1="{half}" y2="{half}"/>'
        f'<rect class="band" x="{left}" y="3" width="{max(1.0, round(right - left, 1))}" height="12" rx="2"/>'
        f'<line class="mid" x1="{middle}" x2="{middle}" y1="3" y2="15"/>'
        f'<circle class="{kind}" cx="{value}" cy="{half}" r="4.5"/></svg>'
    )
