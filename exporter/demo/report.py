"""The table at the end of the demo, and where to look further."""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import quote

from exporter.demo.watch import ALERTING_MODEL, EXPECTED, LOWER, UPPER, VALUE, Finding, selector
from exporter.demo.world import VANISH, Row
from exporter.publish.style import number_text

HEADER = ("event", "series", "seen after", "score", "value", "expected", "band", "alert")


def table(findings: Sequence[Finding]) -> str:
    """One line per event, in columns."""
    lines = [HEADER, *(_cells(finding) for finding in findings)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def clean_text(high: Sequence[tuple[Row, str, float]], alerting: Sequence[Row], clean: int) -> str:
    """What the exporter said about the series in which nothing was injected."""
    lines = [f"Of {clean} series without an event, {len(alerting) or 'none'} fired an alert."]
    lines += [f"  scored above 1: {row.short} ({model} {score:.2f})" for row, model, score in high]
    return "\n".join(lines)


def links(row: Row, prometheus_pages: str, alertmanager_url: str, exporter_url: str) -> str:
    """The pages to open; the graph shows the band of one row."""
    any_result = "|".join((VALUE, EXPECTED, LOWER, UPPER))
    labels = selector("", row, ALERTING_MODEL)[1:-1]
    graph = f'{{__name__=~"{any_result}",{labels}}}'
    pages = {
        f"band of {row.short}": f"{prometheus_pages}/graph?g0.expr={quote(graph)}&g0.tab=0&g0.range_input=15m",
        "alerts": f"{prometheus_pages}/alerts",
        "exporter": f"{exporter_url}/",
        "Alertmanager": f"{alertmanager_url}/",
    }
    width = max(map(len, pages))
    return "\n".join(f"  {name.ljust(width)}  {url}" for name, url in pages.items())


def seen_text(finding: Finding) -> str:
    """When an event was seen: seconds after it became visible in Prometheus, and in which cycle."""
    if not finding.seen:
        return "not seen"
    return f"{finding.seen_after_s:.0f} s, cycle {finding.cycles}"


def _cells(finding: Finding) -> tuple[str, ...]:
    gone = finding.event.kind == VANISH
    score = f"absent {finding.absent_s:.0f} s" if gone and finding.seen else number(finding.score)
    band = f"{number(finding.lower)} to {number(finding.upper)}" if finding.seen and not gone else "-"
    alert = f"{finding.alert}, {finding.fired_after_s:.0f} s" if finding.alert else "not fired"
    values = number(finding.value), number(finding.expected)
    return finding.event.kind, finding.row.short, seen_text(finding), score, *values, band, alert


def number(value: float) -> str:
    """A number as the front page writes it; "-" for none."""
    return "-" if math.isnan(value) else number_text(value)
