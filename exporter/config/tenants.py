"""Reading tenants: those of the config file, those of a discovery file, and how more are discovered."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from urllib.parse import urlsplit

from exporter.config.document import Listing, Mapping, Problems, Scalar, read_nodes
from exporter.config.durations import format_duration
from exporter.config.http import AUTHS, TENANT_HEADER, read_http
from exporter.config.limits import read_limits
from exporter.config.queries import OuterQuery, expression, read_query, unique
from exporter.config.reading import Block, Reader, Setting, Spot, attempt
from exporter.config.schema import (
    DAY_S,
    DiscoveryQuery,
    HttpConfig,
    Limits,
    Query,
    Source,
    Tenant,
    TenantDiscovery,
)
from exporter.config.values import boolean, duration_s, file_path, integer, list_of, server_url, text
from exporter.errors import ConfigError

IN_PATH = "{tenant}"

_ID = re.compile(r"[0-9A-Za-z!\-_.*'()]{1,150}", re.ASCII)
_ID_ALLOWED = "up to 150 of 0-9 a-z A-Z ! - _ . * ' ( ), not . or ..; a|b for several"
_ACCOUNT = re.compile(r"[0-9]{1,10}(:[0-9]{1,10})?", re.ASCII)
ACCOUNT_ALLOWED = "accountID or accountID:projectID, each from 0 to 4294967295, as the tenant is in the path"
_MOST_ACCOUNT = 2**32 - 1
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_MOST_TENANTS = 100_000
_PROXY = ("proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header")


@dataclass(frozen=True, slots=True)
class TenantContext:
    """What a tenant starts from: the source, the shared queries, and what the file says for queries. `alone`: there are
    no shared queries, and are not meant to be."""

    source: Source
    shared: tuple[Query, ...]
    outer: OuterQuery
    alone: bool = False


def read_tenants(context: TenantContext) -> Reader[tuple[Tenant, ...]]:
    """The tenants of the config file, each id once."""
    return lambda spot: unique(spot, read_tenant(context), "id")


def read_tenant(context: TenantContext) -> Reader[Tenant]:
    """One tenant, as a block."""

    def read(spot: Spot) -> Tenant:
        block = spot.block("tenants")
        url = block.get("url", server_url, "")
        in_path = IN_PATH in (url or context.source.url)
        interval_s = block.get("interval", duration_s(1, DAY_S), 0)
        limits = block.get("limits", read_limits(context.outer.limits), context.outer.limits.limits)
        get_queries = block.need if context.alone else block.get
        tenant = Tenant(
            id=block.need("id", account_id if in_path else tenant_id, ""),
            url=url,
            http=_read_http(block, context.source, url),
            queries=get_queries("queries", _read_own(_inner(context.outer, block, interval_s, limits)), ()),
            shared_queries=block.get("shared_queries", boolean, True),
            limits=_own_limits(block, limits),
            interval_s=interval_s,
            max_in_flight=block.get("max_in_flight", integer(1, 64), 0),
        )
        if not in_path:
            _check_header(block, tenant)
        _check_queries(block, tenant, context)
        return tenant

    return read


def tenant_id(spot: Spot) -> str:
    """A tenant id as Mimir and Cortex accept it, or several with ``|`` between them."""
    value = text(spot)
    if not _is_id(value):
        raise spot.fault("not a tenant id", allowed=_ID_ALLOWED)
    return value


def _is_id(value: str) -> bool:
    return all(_ID.fullmatch(part) and part not in (".", "..") for part in value.split("|"))


def one_tenant_id(spot: Spot) -> str:
    """A tenant id that can be written to."""
    value = tenant_id(spot)
    if "|" in value:
        raise spot.fault("reads several tenants, and nothing can be written to several", allowed="one tenant id")
    return value


def account_id(spot: Spot) -> str:
    """A tenant of a VictoriaMetrics cluster, as it stands in a path."""
    value = _spelled(spot)
    if not is_account(value):
        raise spot.fault("not a tenant id", allowed=ACCOUNT_ALLOWED)
    return value


def is_account(value: str) -> bool:
    """Whether a text is a tenant of a VictoriaMetrics cluster."""
    return bool(_ACCOUNT.fullmatch(value)) and all(int(part) <= _MOST_ACCOUNT for part in value.split(":"))


def _spelled(spot: Spot) -> str:
    """A text. Of accounts a plain number is one, too: nobody means anything else."""
    scalar = spot.scalar()
    return scalar.text if scalar.tag == "int" and scalar.plain else text(spot)


# -- what a tenant has of its own --------------------------------------------------------------------------------------


def _inner(outer: OuterQuery, block: Block, interval_s: int, limits: Limits) -> OuterQuery:
    """What the tenant's own queries start from: its interval and limits in place of the file's."""
    sound = outer.times.sound and block.usable("interval")
    times = replace(outer.times, interval_s=interval_s or outer.times.interval_s, sound=sound)
    return replace(outer, times=times, limits=replace(outer.limits, limits=limits))


def _read_own(outer: OuterQuery) -> Reader[tuple[Query, ...]]:
    """The tenant's own queries, each name once."""
    return lambda spot: unique(spot, read_query(outer), "name")


def _own_limits(block: Block, limits: Limits) -> tuple[tuple[str, float], ...]:
    """The limits that the tenant itself has, by the names of their fields."""
    entry = block.spot.mapping().entries.get("limits")
    given = entry.node.entries if entry is not None and isinstance(entry.node, Mapping) else {}
    names = [field.name for field in fields(Limits) if field.name.removesuffix("_s") in given]
    return tuple((name, getattr(limits, name)) for name in names)


def _read_http(block: Block, source: Source, url: str) -> HttpConfig | None:
    """The tenant's own http_config, key by key in place of the source's; None where it is the source's.

    The source's credentials and headers never go to another host.
    """
    own = read_http(block)
    elsewhere = bool(url) and host_of(url) != host_of(source.url)
    given = block.given(*AUTHS, *_PROXY, "tls_config", "follow_redirects", "enable_http2", "http_headers")
    if not given and not elsewhere:
        return None
    outer = replace(source.http, basic_auth=None, authorization=None, oauth2=None) if elsewhere else source.http
    return HttpConfig(
        basic_auth=own.basic_auth if block.given(*AUTHS) else outer.basic_auth,
        authorization=own.authorization if block.given(*AUTHS) else outer.authorization,
        oauth2=own.oauth2 if block.given(*AUTHS) else outer.oauth2,
        tls=own.tls if block.given("tls_config") else outer.tls,
        proxy=own.proxy if block.given(*_PROXY) else outer.proxy,
        http_headers=own.http_headers if elsewhere or block.given("http_headers") else outer.http_headers,
        follow_redirects=own.follow_redirects if block.given("follow_redirects") else outer.follow_redirects,
        enable_http2=own.enable_http2 if block.given("enable_http2") else outer.enable_http2,
    )


def host_of(url: str) -> tuple[str, str]:
    """Scheme and host with port: who may be told what the host of another URL is told."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


# -- what must go together ---------------------------------------------------------------------------------------------


def _check_header(block: Block, tenant: Tenant) -> None:
    for header in tenant.http.http_headers if tenant.http and block.given("http_headers") else ():
        if header.name.lower() == TENANT_HEADER.lower():
            message = f"{header.name} is what the id is sent as"
            block.blame("http_headers", message, allowed="other headers")


def _check_queries(block: Block, tenant: Tenant, context: TenantContext) -> None:
    """Names are unique within a tenant, it has a query at least, and its interval fits the shared ones."""
    shared = {query.name for query in context.shared}
    if not tenant.queries and block.usable("queries", "shared_queries"):
        if context.alone:
            block.blame("queries", "no queries, nor are there shared ones", allowed="at least one query")
        elif not tenant.shared_queries:
            block.blame("shared_queries", "leaves the tenant without a query", allowed="true, or `queries` of its own")
    for query in tenant.queries if tenant.shared_queries else ():
        if query.name in shared:
            message = f"{query.name} is a shared query, too"
            block.blame("queries", message, allowed="another name, or shared_queries: false")
    concerned = [*(context.shared if tenant.shared_queries else ()),
                 *(query for query in tenant.queries if query.interval_s == tenant.interval_s)]  # fmt: skip
    misfit = next((query for query in concerned if tenant.interval_s and query.step_s % tenant.interval_s), None)
    if misfit is not None and block.usable("interval"):
        step, interval = format_duration(misfit.step_s * 1000), format_duration(tenant.interval_s * 1000)
        message = f"interval {interval} does not divide step {step} of the query {misfit.name}"
        block.blame("interval", message, allowed="step = interval times 1, 2, 3...")


# -- discovery ---------------------------------------------------------------------------------------------------------


def read_discovery(context: TenantContext) -> Reader[TenantDiscovery | None]:
    """How tenants are discovered: from files, from a query, or both."""

    def read(spot: Spot) -> TenantDiscovery:
        block = spot.block("tenant_discovery")
        if not block.given("files", "query"):
            block.note(spot.node.mark, "files", "missing", allowed="files or query")
        setting = spot.setting

        def parse(found: str, file: str) -> tuple[Tenant, ...]:
            return parse_tenants(found, file, context, setting)

        return TenantDiscovery(
            files=block.get("files", _paths, ()),
            query=block.get("query", _read_query(context.source), None),
            refresh_s=block.get("refresh", duration_s(5, DAY_S), 300),
            max_tenants=block.get("max_tenants", integer(1, _MOST_TENANTS), 1000),
            parse=parse,
        )

    return read


def _paths(spot: Spot) -> tuple[str, ...]:
    paths = list_of(file_path)(spot)
    if not spot.listing().items:
        raise spot.fault("no files", value="", allowed="at least one path")
    return paths


def _read_query(source: Source) -> Reader[DiscoveryQuery]:
    """A query whose series name the tenants by a label; without an expr, all values of the label."""
    in_path = IN_PATH in source.url

    def read(spot: Spot) -> DiscoveryQuery:
        block = spot.block("tenant_discovery.query")
        if in_path and not block.given("tenant"):
            allowed = "the tenant that is asked, as source.url has {tenant} in its path"
            block.note(spot.node.mark, "tenant", "missing", allowed=allowed)
        return DiscoveryQuery(
            label=block.need("label", label_name, ""),
            expr=block.get("expr", expression, ""),
            tenant=block.get("tenant", account_id if in_path else tenant_id, ""),
        )

    return read


def label_name(spot: Spot) -> str:
    """The name of a label of Prometheus."""
    value = text(spot)
    if not _LABEL.fullmatch(value):
        raise spot.fault("not a label name", allowed="letters, digits and underscores, no digit first")
    return value


def parse_tenants(found: str, file: str, context: TenantContext, setting: Setting) -> tuple[Tenant, ...]:
    """The tenants of a discovery file: a list of ids and of tenant blocks, or the same under the key ``tenants``.

    YAML, of which JSON is a part. Relative paths start where those of the config do; variables are not replaced, as
    the file may be written by others. Raises ConfigError with all problems, also for an empty text: a list without
    tenants is written ``[]``.
    """
    problems = Problems()
    root = read_nodes(found, problems, "a list of tenants, or `[]`")
    if root is not None and not problems:
        spot = Spot(replace(setting, problems=problems, environ={}), root, "")
        tenants = attempt(spot, _read_listed(context)) or ()
    if problems or root is None:
        raise ConfigError(file, problems.in_file_order())
    return tenants


def _read_listed(context: TenantContext) -> Reader[tuple[Tenant, ...]]:
    def read(spot: Spot) -> tuple[Tenant, ...]:
        if isinstance(spot.node, Mapping) and list(spot.node.entries) == ["tenants"]:
            spot = spot.below("tenants", spot.node.entries["tenants"].node)
        if not isinstance(spot.node, Listing):
            raise spot.fault("must be a list", value="", allowed="`- id` lines, blocks with `id:`, or `[]`")
        return _distinct(spot, context)

    return read


def _distinct(spot: Spot, context: TenantContext) -> tuple[Tenant, ...]:
    """The tenants of a list, each once; a repeated one is noted."""
    tenants: dict[str, Tenant] = {}
    for index, node in enumerate(spot.listing().items):
        below = spot.item(index, node)
        read = _read_bare(context.source) if isinstance(node, Scalar) else read_tenant(context)
        tenant = attempt(below, read)
        if tenant is None:
            continue
        if tenant.id in tenants:
            below.tell(below.fault(f"the tenant {tenant.id} is listed twice", value="", allowed="each id once"))
        tenants[tenant.id] = replace(tenant, discovered=True)
    return tuple(tenants.values())


def _read_bare(source: Source) -> Callable[[Spot], Tenant]:
    """A tenant by its id alone."""
    read_id = account_id if IN_PATH in source.url else tenant_id
    return lambda spot: Tenant(read_id(spot))


def named_tenant(name: str, source: Source) -> Tenant | None:
    """A discovered tenant by its id; None for a name that no tenant can have."""
    sound = is_account(name) if IN_PATH in source.url else _is_id(name)
    return Tenant(name, discovered=True) if sound else None
