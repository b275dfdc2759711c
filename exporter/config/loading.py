"""From a file to a Config, or to a ConfigError with everything that is wrong in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from exporter.config.alerting import AlertBlock, read_alert, read_links
from exporter.config.document import Mark, Problems, read_document
from exporter.config.http import TENANT_HEADER, read_http
from exporter.config.limits import OuterLimits, read_limits
from exporter.config.queries import PUBLISHED, Global, OuterQuery, read_global, read_query, unique
from exporter.config.reading import Block, Reader, Setting, Spot
from exporter.config.relabelling import NO_RULES, read_rules
from exporter.config.remote_write import Writers, read_remote_writes
from exporter.config.schema import (
    MIB,
    Config,
    Limits,
    Links,
    MetricNames,
    MetricsPage,
    Publish,
    Query,
    RemoteWrite,
    Source,
    Tenant,
    TenantDiscovery,
    no_params,
)
from exporter.config.tenants import IN_PATH, TenantContext, read_discovery, read_tenants
from exporter.config.values import boolean, choice, duration_ms, integer, server_url, size_bytes, text_mapping
from exporter.errors import ConfigError, Problem

MAX_FILE_BYTES = 4 * MIB
NO_TENANTS: tuple[Tenant, ...] = ()
NO_QUERIES: tuple[Query, ...] = ()
NO_TARGETS: tuple[RemoteWrite, ...] = ()
USUAL_PAGE: MetricsPage = "results"
ALL: Publish = "all"

_NAMES: tuple[MetricNames, ...] = ("default", "vmanomaly")
_PAGES: tuple[MetricsPage, ...] = ("results", "self")
_BODY_ALLOWED = "a size from 64KiB to 16GiB: a number of bytes, or with KiB, MiB, GiB"


def load(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the config file at ``path``; relative paths in it start at its directory.

    ``environ`` gives the variables for ``${NAME}``. Raises ConfigError with all problems, in file order.
    """
    return parse(read_file(path), path, environ)


def parse(text: str, file: str, environ: Mapping[str, str] = os.environ) -> Config:
    """Check the text of a config; ``file`` names it in messages, and relative paths start at its directory.

    Raises ConfigError with all problems, in file order.
    """
    problems = Problems()
    root = read_document(text, problems)
    if root is None:
        raise ConfigError(file, problems.in_file_order())
    spot = Spot(Setting(problems, environ, Path(file).absolute().parent), root, "")
    config = read_config(spot.block(""))
    if problems:
        raise ConfigError(file, problems.in_file_order())
    return config


def read_config(block: Block) -> Config:
    """The whole file. Relations between its parts are checked here."""
    whole = block.get("global", read_global, Global())
    times = whole.times
    source = block.need("source", read_source, Source(""))
    timeout_s = source.timeout_s if _reads_well(block.spot, "source.timeout") else None
    limits = block.get("limits", read_limits(OuterLimits(Limits(), timeout_s)), Limits())
    publish = block.get("publish", choice(*PUBLISHED), ALL)
    detectability = block.get("detectability", boolean, False)
    alert = block.get("alert", read_alert(AlertBlock()), AlertBlock())
    rules = block.get("relabel_configs", read_rules, NO_RULES)
    outer = OuterQuery(times, OuterLimits(limits, timeout_s), publish, alert, detectability, rules)
    # Without shared queries each tenant needs its own; tenants that are discovered may have no block to hold any.
    alone = bool(block.given("tenants")) and not block.given("queries", "tenant_discovery")
    queries = NO_QUERIES if alone else block.need("queries", read_queries(outer), NO_QUERIES)
    context = TenantContext(source, queries, outer, alone)
    tenants = block.get("tenants", read_tenants(context), NO_TENANTS)
    if alone and not tenants and block.usable("tenants"):
        block.blame("tenants", "nobody to watch, and no `queries`", allowed="a tenant with queries, or `queries`")
    discovery = block.get("tenant_discovery", read_discovery(context), None)
    _check_tenants(block, source, tenants, discovery)
    writers = Writers(tuple(tenant.id for tenant in tenants), block.has("tenants"), block.has("tenant_discovery"))
    targets = block.get("remote_write", read_remote_writes(writers), NO_TARGETS)
    return Config(
        source=source,
        queries=queries,
        interval_s=times.interval_s,
        window_s=times.window_s,
        step_s=times.step_s,
        tenants=tenants,
        tenant_discovery=discovery,
        metric_names=block.get("metric_names", choice(*_NAMES), "default"),
        metrics_page=_read_page(block, targets),
        remote_write=targets,
        external_labels=whole.external_labels,
        limits=limits,
        publish=publish,
        detectability=detectability,
        alert=alert.alert,
        links=block.get("links", read_links, Links()),
    )


def _read_page(block: Block, targets: tuple[RemoteWrite, ...]) -> MetricsPage:
    """What /metrics shows; the results must go somewhere."""
    page = block.get("metrics_page", choice(*_PAGES), USUAL_PAGE)
    if page == "self" and not targets and block.usable("remote_write"):
        block.blame("metrics_page", "the results would go nowhere", allowed="results, or a remote_write target")
    return page


def read_source(spot: Spot) -> Source:
    """The metrics server and how to talk to it."""
    block = spot.block("source")
    return Source(
        url=block.need("url", server_url, ""),
        http=read_http(block),
        timeout_s=block.get("timeout", duration_ms(100, 3_600_000), 30_000) / 1000,
        accept_gzip=block.get("accept_gzip", boolean, False),
        max_in_flight=block.get("max_in_flight", integer(1, 64), 4),
        max_points_per_query=block.get("max_points", integer(1000, 100_000_000), 2_000_000),
        max_body_bytes=block.get("max_body_bytes", size_bytes(1 << 16, 1 << 34, _BODY_ALLOWED), 512 * MIB),
        remote_read=block.get("remote_read", boolean, False),
        query_params=block.get("params", text_mapping, no_params()),
    )


def read_queries(outer: OuterQuery) -> Reader[tuple[Query, ...]]:
    """The queries, each name once, at least one."""

    def read(spot: Spot) -> tuple[Query, ...]:
        if not spot.listing().items:
            raise spot.fault("no queries", value="", allowed="at least one query")
        return unique(spot, read_query(outer), "name")

    return read


def _reads_well(spot: Spot, path: str) -> bool:
    """Whether nothing has been found wrong with a key, so that others may be held against it."""
    return all(problem.path != path for problem in spot.setting.problems.in_file_order())


def _check_tenants(
    block: Block, source: Source, tenants: tuple[Tenant, ...], discovery: TenantDiscovery | None
) -> None:
    """Whether the source takes tenants in one way, and has some where its URL wants one."""
    named = [header.name for header in source.http.http_headers if header.name.lower() == TENANT_HEADER.lower()]
    key = "tenants" if tenants else "tenant_discovery"
    if (tenants or discovery) and named and IN_PATH not in source.url:
        message = f"sets the tenant as http_headers.{named[0]} does"
        block.blame(key, message, allowed="one of the two")
    if IN_PATH in source.url and not block.given("tenants", "tenant_discovery"):
        block.blame("source", f"the url has {IN_PATH}, and there are no tenants", allowed="tenants or tenant_discovery")


def read_file(path: str) -> str:
    """The text of a config file. Raises ConfigError when it can't be read, is too large or is not UTF-8."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise _unreadable(path, 0, f"can't read the config: {reason}", "a YAML file that this user may read") from error
    if len(data) > MAX_FILE_BYTES:
        raise _unreadable(path, 0, "the config is too large", f"at most {MAX_FILE_BYTES // MIB} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, line, f"byte 0x{data[error.start]:02x} is not UTF-8", "text in UTF-8") from error


def _unreadable(path: str, line: int, message: str, allowed: str) -> ConfigError:
    return ConfigError(path, (Problem(Mark(line).line, "", message, allowed=allowed),))
