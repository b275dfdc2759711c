"""The page for people: what is watched, what stands out, what is missing. One HTML document without foreign assets."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from exporter.publish.label_text import label_text

_CHART_WIDTH, _CHART_HEIGHT = 160, 18
_CHART_MARGIN = 8
_PLAIN_FROM, _PLAIN_TO = 1e3, 1e9
_UNITS_S = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_LINKS = (("/metrics", "Metrics"), ("/config", "Config"), ("/-/ready", "Ready"), ("/-/healthy", "Healthy"))


@dataclass(frozen=True, slots=True)
class LandingUnit:
    """One query of one tenant: series by state and shed ones, age of the newest judged sample (None: never), error."""

    tenant: str
    query: str
    expr: str
    states: Mapping[str, int]
    verdict_age_s: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class LandingRow:
    """One series with its latest verdict; ``age_s`` is the time since its last sample."""

    tenant: str
    query: str
    labels: Mapping[str, str]
    score: float
    value: float
    expected: float
    lower: float
    upper: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Landing:
    """What the page shows: all units, the series with the highest scores, and those that have gone missing."""

    version: str
    units: Sequence[LandingUnit]
    worst: Sequence[LandingRow]
    absent: Sequence[LandingRow]


_STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--page:#f5f7f9;--card:#fff;--link:#1f5fbf;--band:#cfe0f7;
--ok:#1b7a43;--okbg:#dff3e6;--bad:#b3261e;--badbg:#fbe3e1;--odd:#8a5a00;--oddbg:#fbeecf;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b5;--line:#2d3641;--page:#12171d;--card:#1a2129;
--link:#8ab8ff;--band:#2c4a73;--ok:#7fd6a0;--okbg:#173524;--bad:#ff9c94;--badbg:#421d1b;--odd:#f0c766;--oddbg:#3d300f}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
header,main{max-width:72rem;margin:0 auto;padding:0 1rem}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.25rem 1rem;padding-top:1.25rem}
h1{font-size:1.35rem;margin:0}
h2{font-size:1.02rem;margin:1.75rem 0 .5rem}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
nav{display:flex;gap:1rem;margin-left:auto}
.soft{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;overflow-x:auto}
.card>p{margin:0;padding:.8rem 1rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.5rem 1rem;border-top:1px solid var(--line);vertical-align:top}
thead th{border-top:0;font-weight:500;color:var(--soft);font-size:.82rem;white-space:nowrap}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:.84rem/1.45 ui-monospace,monospace;overflow-wrap:anywhere}
.chip{display:inline-block;padding:0 .5rem;margin:0 .3rem .2rem 0;border-radius:9px;font-size:.82rem;
white-space:nowrap;background:var(--oddbg);color:var(--odd)}
.chip.ok{background:var(--okbg);color:var(--ok)}
.chip.bad{background:var(--badbg);color:var(--bad)}
.error{color:var(--bad);margin:.3rem 0 0;overflow-wrap:anywhere}
svg{display:block}
.axis{stroke:var(--line)}.band{fill:var(--band)}.mid{stroke:var(--soft)}.in{fill:var(--ok)}.out{fill:var(--bad)}
footer{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 2rem;color:var(--soft);font-size:.85rem}
@media(max-width:44rem){
nav{margin-left:0;width:100%}
thead{display:none}
table,tbody,tr,td{display:block}
td{border:0;padding:.15rem 1rem}
tr{border-top:1px solid var(--line);padding:.6rem 0}
tbody tr:first-child{border-top:0}
td.n{text-align:left}
td[data-name]::before{content:attr(data-name) " ";color:var(--soft);font-size:.82rem}
}
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def page_html(landing: Landing) -> str:
    """The whole document; every text from outside is escaped."""
    with_tenant = any(unit.tenant for unit in landing.units)
    links = "".join(f'<a href="{path}">{text}</a>' for path, text in _LINKS)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>anomaly-exporter</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body>\n<header><h1>anomaly-exporter</h1>"
        f'<span class="soft">{escape(landing.version)}</span><nav>{links}</nav></header>\n<main>'
        + _summary(landing)
        + _section("Furthest from expected", _worst_table(landing.worst, with_tenant=with_tenant))
        + _section("Gone missing", _absent_table(landing.absent, with_tenant=with_tenant))
        + _section("Queries", _unit_table(landing.units, with_tenant=with_tenant))
        + "</main>\n<footer>A score of 1 is the edge of the band, above 1 is outside. "
        "Prometheus reads all of this from /metrics.</footer></body></html>\n"
    )


def _summary(landing: Landing) -> str:
    series = sum(sum(unit.states.values()) for unit in landing.units)
    judged = sum(unit.states.get("ok", 0) + unit.states.get("constant", 0) for unit in landing.units)
    failing = sum(bool(unit.error) for unit in landing.units)
    text = f"{_count(len(landing.units), 'query', 'queries')}, {_count(series, 'series', 'series')}, {judged:,} judged"
    warning = f' <span class="chip bad">{_count(failing, "query fails", "queries fail")}</span>' if failing else ""
    return f'<p class="soft">{text}{warning}</p>'


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _section(title: str, body: str) -> str:
    return f'<section><h2>{title}</h2><div class="card">{body}</div></section>\n'


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col"{_number_class(head)}>{head.rstrip("#")}</th>' for head in heads)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def _number_class(head: str) -> str:
    """A head that ends in # stands over a column of numbers."""
    return ' class="n"' if head.endswith("#") else ""


def _number_cell(name: str, text: str) -> str:
    return f'<td class="n" data-name="{name}">{text}</td>'


def _worst_table(rows: Sequence[LandingRow], *, with_tenant: bool) -> str:
    if not rows:
        return '<p class="soft">No series has a verdict yet.</p>'
    heads = ("Score#", "Series", "Value#", "Expected#", "Band", "")
    return _table(heads, [_worst_row(row, with_tenant=with_tenant) for row in rows])


def _worst_row(row: LandingRow, *, with_tenant: bool) -> str:
    kind = "bad" if row.score > 1 else "ok"
    band = f"{_number(row.lower)} to {_number(row.upper)}"
    return (
        f'<td class="n"><span class="chip {kind}">{_number(row.score)}</span></td>{_series_cell(row, with_tenant)}'
        + _number_cell("value", _number(row.value))
        + _number_cell("expected", _number(row.expected))
        + f'<td data-name="band">{band}</td><td>{_chart(row)}</td>'
    )


def _absent_table(rows: Sequence[LandingRow], *, with_tenant: bool) -> str:
    if not rows:
        return '<p class="soft">No judged series is missing.</p>'
    cells = [
        _series_cell(row, with_tenant)
        + _number_cell("last value", _number(row.value))
        + _number_cell("last seen", f"{duration(row.age_s)} ago")
        for row in rows
    ]
    return _table(("Series", "Last value#", "Last seen#"), cells)


def _series_cell(row: LandingRow, with_tenant: bool) -> str:
    labels = label_text(sorted(row.labels.items())).decode().strip()
    owner = f"{escape(row.tenant)} / " if with_tenant else ""
    return f'<td>{owner}{escape(row.query)}<br><code class="soft">{escape(labels)}</code></td>'


def _unit_table(units: Sequence[LandingUnit], *, with_tenant: bool) -> str:
    if not units:
        return '<p class="soft">No query is configured.</p>'
    heads = ("Query", "Series", "Newest verdict#")
    return _table(heads, [_unit_row(unit, with_tenant=with_tenant) for unit in units])


def _unit_row(unit: LandingUnit, *, with_tenant: bool) -> str:
    owner = f"{escape(unit.tenant)} / " if with_tenant else ""
    error = f'<p class="error">{escape(unit.error)}</p>' if unit.error else ""
    chips = "".join(_chip(state, count) for state, count in unit.states.items() if count)
    age = "none yet" if unit.verdict_age_s is None else f"{duration(unit.verdict_age_s)} old"
    return (
        f'<td>{owner}{escape(unit.query)}<br><code class="soft">{escape(unit.expr)}</code>{error}</td>'
        f"<td>{chips or '<span class=soft>none</span>'}</td>{_number_cell('newest verdict', age)}"
    )


def _chip(state: str, count: int) -> str:
    kind = {"ok": " ok", "failed": " bad", "absent": " bad"}.get(state, "")
    return f'<span class="chip{kind}">{count:,} {escape(state)}</span>'


def _number(x: float) -> str:
    """Four digits, or all before the point: enough to see, few enough to read."""
    if math.isnan(x):
        return "&ndash;"
    text = f"{x:,.0f}" if _PLAIN_FROM <= abs(x) < _PLAIN_TO else f"{x:.4g}"
    return text.replace("-", "&minus;").replace("inf", "&infin;")


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
