"""What `check` and `plan` ask the servers, and how they print it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from exporter.capacity.estimate import Estimate, Output, Seen, estimate, slow_season, stl_series_per_hour
from exporter.capacity.relabelled import after_relabelling
from exporter.config import Config, Query, RemoteWrite
from exporter.config.durations import parse_duration_ms
from exporter.config.per_tenant import queries_of, source_of, targets_of, tenants_of
from exporter.connections import Sessions, make_client, make_reader, open_target
from exporter.discovery import discovered
from exporter.errors import SourceError
from exporter.source.client import Client
from exporter.source.promql import Selector, is_plain_selector, raw_counter_advice, raw_counters, selectors
from exporter.source.reach import Cut, Why, is_short
from exporter.source.reader import Reader

MIB = 1 << 20

_NEAR = 0.8  # of a limit
_STL_BUSY = 0.5  # of a core
_DENSITY_S = 300  # raw samples are counted over so long
_MOST_SELECTORS = 8
_WRITE_PATH = "/api/v1/write"
_RECEIVER_TIMEOUT_S = 10.0
_MOST_RECEIVERS = 10  # are asked; of those of many tenants one says what the others would
_OUT_OF_ORDER = re.compile(r"^\s+out_of_order_time_window:\s*([0-9a-z]+)\s*$", re.MULTILINE)
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one query of one tenant would mean. ``error`` is empty when the source answered; ``over`` is empty unless
    it is over a limit, and then says over which."""

    tenant: str
    query: Query
    cost: Estimate
    warnings: tuple[str, ...] = ()
    error: str = ""
    over: str = ""

    @property
    def key(self) -> str:
        """Tenant and query as one text."""
        return f"{self.tenant}/{self.query.name}" if self.tenant else self.query.name


def output_of(config: Config) -> Output:
    """Where the results of a config go."""
    return Output(config.metrics_page == "results", len(config.remote_write))


def survey(config: Config, say: Say, *, deep: bool) -> list[Finding]:
    """Ask the source about each query of each tenant, discovered ones too; `deep`: about the samples behind, too."""
    findings: list[Finding] = []
    with Sessions(config) as sessions:
        config, wrong = discovered(config, sessions)
        for words in wrong:
            say(f"warning: {words}")
        if config.tenant_discovery:
            say(f"{sum(tenant.discovered for tenant in config.tenants)} tenants discovered")
        for tenant in tenants_of(config):
            name, client = tenant.id, make_client(config, sessions, tenant.id)
            url = source_of(config, tenant).url
            say(f"source {url}{' as tenant ' + name if name else ''}: {_describe(client)}")
            found = [_find(config, client, name, query, deep=deep) for query in queries_of(config, tenant)]
            findings += found
            if name and found and not any(each.error or each.cost.series + each.cost.shed for each in found):
                say(f"warning: tenant {name} answers with no series: ids are not checked by the server, see whether it"
                    " is spelled right")  # fmt: skip
    return findings


def _describe(client: Client) -> str:
    """What is known of the server; not every one has build information."""
    try:
        version = client.build_info().get("version")
        if not version:
            client.probe()
    except SourceError as error:
        return str(error)
    return f"version {version}" if version else "answers (it tells no version)"


def _find(config: Config, client: Client, tenant: str, query: Query, *, deep: bool) -> Finding:
    warnings = tuple(raw_counter_advice(name) for name in raw_counters(query.expr))
    now_s, began_s = int(time.time()), time.monotonic()
    try:
        series = make_reader(config, client, query).count(now_s)
    except SourceError as error:
        return Finding(tenant, query, estimate(query, Seen(0), output_of(config)), warnings, error=str(error))
    took_s = time.monotonic() - began_s
    seen = _look_behind(client, query, series, now_s) if deep else Seen(series, plain=is_plain_selector(query.expr))
    watched, relabelled = after_relabelling(make_reader(config, client, query), query, series, now_s)
    cost = estimate(query, replace(seen, series=watched), output_of(config))
    if not warnings and _declared_type(client, query.expr) == "counter":
        warnings += (f"{query.expr} is a counter by its metadata; use rate({query.expr}[5m]) or increase()",)
    warnings += (*relabelled, *_remarks(config, tenant, query, cost, took_s))
    if series:
        warnings += (*_reach(make_reader(config, client, query), query, now_s),)
    return Finding(tenant, query, cost, warnings, over=_over(query, cost))


def _remarks(config: Config, tenant: str, query: Query, cost: Estimate, took_s: float) -> Iterator[str]:
    """What an operator should know of a query that works."""
    if cost.series + cost.shed == 0:
        known = " (an unknown tenant also answers with nothing: check the spelling)" if tenant else ""
        yield f"no series now{known}"
    if query.most_series is not None and not cost.shed and cost.series > _NEAR * query.most_series:
        yield f"{cost.series:,} series are near the limit: {_limit(query, query.most_series)}"
    timeout_s = query.limits.query_timeout_s or config.source.timeout_s
    if took_s > timeout_s / 2:
        yield f"counting its series took {took_s:.1f} s of the {timeout_s:g} s that a query may take"
    if slow_season(query) and cost.series > _STL_BUSY * stl_series_per_hour(query):
        an_hour = stl_series_per_hour(query)
        yield f"seasonal: stl fits about {an_hour} series an hour on one core; {cost.series} will not keep up"


def _reach(reader: Reader, query: Query, now_s: int) -> Iterator[str]:
    """Whether the server gives the whole window, and what may keep it from that."""
    start_s = now_s - query.window_s
    try:
        since_s = reader.oldest_s(start_s, now_s)
    except SourceError:  # what it refuses over a long span, the first cycle asks for in parts, or reports
        return
    if since_s is None or not is_short(start_s, since_s, now_s, query.step_s):
        return
    why = reader.why_short(start_s, since_s, now_s)
    if why is not Why.YOUNG:
        yield Cut(start_s, since_s, now_s, why).words


def _over(query: Query, cost: Estimate) -> str:
    if not cost.shed or query.most_series is None:
        return ""
    return (
        f"over the limit: {cost.series + cost.shed:,} series, {_limit(query, query.most_series)}; "
        f"{cost.shed:,} would not be watched"
    )


def _limit(query: Query, most: int) -> str:
    limits = query.limits
    if most == limits.max_series:
        return f"max_series is {most:,}"
    return f"max_points {limits.max_points:,} is room for {most:,} series of {query.window_s // query.step_s:,} points"


def _declared_type(client: Client, expr: str) -> str:
    """The type of a bare metric as its target declared it; "" when not known. Not every server has metadata."""
    if not is_plain_selector(expr) or "{" in expr:
        return ""
    try:
        return client.metadata(expr)
    except SourceError:
        return ""


# -- the raw samples behind a query ------------------------------------------------------------------------------------


def _look_behind(client: Client, query: Query, series: int, now_s: int) -> Seen:
    """Count the series and raw samples that the selectors of a query read; what can't be counted stays unknown."""
    plain = is_plain_selector(query.expr)
    found = {selector.text: selector for selector in selectors(query.expr)}
    if not found or len(found) > _MOST_SELECTORS or series == 0:
        return Seen(series, plain=plain)
    try:
        selected = {text: _ask(client, f"count({text}\n)", now_s) for text in found}
        density = {text: _density(client, text, now_s) for text in found}
    except SourceError:
        return Seen(series, plain=plain)
    if plain:
        (per_s,) = density.values()
        return Seen(series, series, round(per_s * query.step_s), series / per_s if per_s else 0.0, plain=True)
    touched = sum(
        density[text] * _range_s(query.expr, selector) if selector.ranged else selected[text]
        for text, selector in found.items()
    )
    return Seen(series, round(sum(selected.values())), round(touched))


def _density(client: Client, selector: str, now_s: int) -> float:
    """Raw samples a second of all series of a selector.

    A millisecond less: up to Prometheus 2 a range includes both of its edges, which may hold a sample each.
    """
    return _ask(client, f"sum(count_over_time({selector}\n[{_DENSITY_S * 1000 - 1}ms]))", now_s) / _DENSITY_S


def _range_s(expr: str, selector: Selector) -> float:
    """The range that stands behind a selector; five minutes where it can't be read."""
    found = re.search(re.escape(selector.text) + r"\s*\[\s*([0-9a-z]+)", expr)
    range_ms = parse_duration_ms(found[1]) if found else None
    return range_ms / 1000 if range_ms else _DENSITY_S


def _ask(client: Client, expr: str, now_s: int) -> float:
    """The single number that an expression gives; 0 where it gives nothing."""
    values = Reader(client, expr, 1).newest(now_s, 0).batch.value
    return float(values[0]) if len(values) else 0.0


# -- receivers and this machine ----------------------------------------------------------------------------------------


def receiver_remarks(config: Config) -> list[str]:
    """What can be seen of the remote write receivers that are Prometheus: whether they take samples out of order."""
    remarks = [remark for target in targets_of(config)[:_MOST_RECEIVERS] if (remark := _receiver_remark(target))]
    return list(dict.fromkeys(remarks))


def _receiver_remark(target: RemoteWrite) -> str:
    parts = urlsplit(target.url)
    if not parts.path.endswith(_WRITE_PATH):
        return ""
    base = urlunsplit(parts._replace(path=parts.path.removesuffix(_WRITE_PATH), query="", fragment=""))
    with open_target(target) as session:
        try:
            text = Client(base, session, timeout_s=_RECEIVER_TIMEOUT_S, retries=0).config_text()
        except SourceError:
            return ""
    found = _OUT_OF_ORDER.search(text)
    if not text or (found and parse_duration_ms(found[1])):
        return ""
    return (
        f"remote_write {target.name}: the receiver takes no samples out of order, and refuses a whole request for one "
        "that it has had before; set storage.tsdb.out_of_order_time_window there, such as 30m"
    )


def memory_remarks(needed_bytes: int) -> list[str]:
    """A warning where this machine, or the limit it runs under, has less memory than is needed."""
    has_bytes = _memory_bytes()
    if not 0 < has_bytes < needed_bytes:
        return []
    return [f"about {mebibytes(needed_bytes)} are needed, this machine has {mebibytes(has_bytes)}"]


def _memory_bytes() -> int:
    """Memory of this machine, or of the control group; 0 where that can't be seen."""
    try:
        known = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (ValueError, OSError):
        known = []
    for path in _CGROUP_LIMITS:
        try:
            known.append(int(Path(path).read_text("ascii")))
        except (ValueError, OSError):  # not there, or the word `max`
            continue
    return min(known, default=0)


# -- printing ----------------------------------------------------------------------------------------------------------


def mebibytes(size_bytes: float) -> str:
    """A size in MiB."""
    return f"{size_bytes / MIB:,.1f} MiB"


def print_table(rows: Sequence[Sequence[str]], say: Say) -> None:
    """Rows of equal length as columns; what looks like a number stands on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (_aligned(cell, width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())


def _aligned(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)


def print_remarks(findings: Sequence[Finding], say: Say) -> None:
    """Warnings and errors of each query, and what is over a limit."""
    for finding in findings:
        wrong = [f"error: {text}" for text in (finding.error, finding.over) if text]
        for text in [*finding.warnings, *wrong]:
            say(f"{finding.key}: {text}")
