"""`anomaly-exporter check`: is the config right, does the source answer, and what would be watched at which cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from exporter.app import make_client, make_reader, make_session, tenant_ids
from exporter.config import Config, Query, load, unreadable_files
from exporter.errors import SourceError
from exporter.judging import horizon
from exporter.models.settings import ShesdSettings
from exporter.source.client import Client
from exporter.source.promql import is_plain_selector, raw_counter_advice, raw_counters

_ROW_BYTES = 8000  # fits, verdicts, labels and text of a row beside its window, measured at 10,000 series
_PROCESS_BYTES = 250 * 2**20  # interpreter, libraries and compiled kernels
_STL_S = 0.15  # CPU seconds of one robust STL fit of 4032 samples; 0.066 measured for 2016
_STL_BUSY = 0.5

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one query would mean. ``error`` is empty when the source answered."""

    tenant: str
    query: Query
    series: int
    warnings: tuple[str, ...]
    error: str = ""

    @property
    def points(self) -> int:
        """Samples in the window."""
        return self.series * (self.query.window_s // self.query.step_s)

    @property
    def memory_bytes(self) -> int:
        """Memory the window and everything by row will take."""
        columns = self.query.window_s // self.query.step_s + horizon(self.query.step_s)
        return self.series * (4 * columns + _ROW_BYTES)


def check(config_file: str, say: Say) -> int:
    """Check a config against its source and print a table; 0 when every query can be watched, else 1.

    Raises ConfigError for a config that can't be used.
    """
    config = load(config_file)
    say(f"{config_file}: config is valid, {len(config.queries)} queries")
    for problem in unreadable_files(config):
        say(f"  warning: {problem}")
    findings = _ask(config, say)
    _print_table(findings, say)
    return 1 if any(finding.error for finding in findings) else 0


def _ask(config: Config, say: Say) -> list[Finding]:
    findings: list[Finding] = []
    with make_session(config) as session:
        for tenant in tenant_ids(config):
            client = make_client(config, session, tenant)
            build = _describe(client)
            say(f"source {config.source.url}{' as tenant ' + tenant if tenant else ''}: {build}")
            findings += [_find(config, client, tenant, query) for query in config.queries]
    return findings


def _describe(client: Client) -> str:
    """What is known of the server; not every one has build information."""
    try:
        version = client.build_info().get("version")
    except SourceError as error:
        return str(error)
    return f"version {version}" if version else "answers (it tells no version)"


def _find(config: Config, client: Client, tenant: str, query: Query) -> Finding:
    warnings = tuple(raw_counter_advice(name) for name in raw_counters(query.expr))
    try:
        series = make_reader(config, client, query).count(int(time.time()))
    except SourceError as error:
        return Finding(tenant, query, 0, warnings, str(error))
    kind = _declared_type(client, query.expr)
    if kind == "counter" and not warnings:
        warnings += (f"{query.expr} is a counter by its metadata; use rate({query.expr}[5m]) or increase()",)
    if series == 0:
        known = " (an unknown tenant also answers with nothing: check the spelling)" if tenant else ""
        warnings += (f"no series now{known}",)
    return Finding(tenant, query, series, warnings + _stl_warning(query, series))


def _declared_type(client: Client, expr: str) -> str:
    """The type of a bare metric as its target declared it; "" when not known. Not every server has metadata."""
    if not is_plain_selector(expr) or "{" in expr:
        return ""
    try:
        return client.metadata(expr)
    except SourceError:
        return ""


def _stl_warning(query: Query, series: int) -> tuple[str, ...]:
    stl = any(isinstance(model, ShesdSettings) and model.seasonal == "stl" for model in query.models)
    if not stl or series * _STL_S < _STL_BUSY * 3600:
        return ()
    return (f"seasonal: stl fits about {3600 / _STL_S:.0f} series an hour on one core; {series} will not keep up",)


def _print_table(findings: list[Finding], say: Say) -> None:
    rows = [("tenant", "query", "series", "points", "memory", "")]
    rows += [
        (finding.tenant or "-", finding.query.name, str(finding.series), f"{finding.points:,}",
         f"{finding.memory_bytes / 2**20:,.1f} MiB", "" if not finding.error else "FAILED")
        for finding in findings
    ]  # fmt: skip
    total = sum(finding.memory_bytes for finding in findings)
    rows.append(("total", "", str(sum(f.series for f in findings)), f"{sum(f.points for f in findings):,}",
                 f"{total / 2**20:,.1f} MiB", ""))  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    say(f"the process itself takes about {_PROCESS_BYTES / 2**20:.0f} MiB, and as much again while windows are read")
    for finding in findings:
        for text in [*finding.warnings, *([f"error: {finding.error}"] if finding.error else [])]:
            say(f"{finding.tenant + '/' if finding.tenant else ''}{finding.query.name}: {text}")
