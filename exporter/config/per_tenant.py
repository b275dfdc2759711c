"""What holds for one tenant: its queries, its source, where its results are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from exporter.config.http import TENANT_HEADER
from exporter.config.schema import Config, Header, HttpConfig, Query, QueueConfig, RemoteWrite, Source, Tenant
from exporter.config.tenants import IN_PATH, host_of, is_account

NAMELESS = Tenant("")


def tenants_of(config: Config) -> tuple[Tenant, ...]:
    """The tenants to read; one nameless tenant where there is nothing about tenants in the config."""
    return config.tenants or (() if config.tenant_discovery else (NAMELESS,))


def tenant_of(config: Config, tenant_id: str) -> Tenant:
    """The tenant of an id; one that is not known has nothing of its own."""
    return next((tenant for tenant in config.tenants if tenant.id == tenant_id), Tenant(tenant_id))


def queries_of(config: Config, tenant: Tenant) -> tuple[Query, ...]:
    """What is watched for a tenant: the shared queries with its limits and interval, then its own."""
    if not tenant.shared_queries:
        return tenant.queries
    if not tenant.limits and not tenant.interval_s:
        return (*config.queries, *tenant.queries)
    limits: dict[str, Any] = dict(tenant.limits)
    shared = (
        replace(query, limits=replace(query.limits, **limits), interval_s=tenant.interval_s or query.interval_s)
        for query in config.queries
    )
    return (*shared, *tenant.queries)


def fits(config: Config, tenant: Tenant) -> bool:
    """Whether the queries of a tenant go together: each name once, each interval divides the step."""
    queries = queries_of(config, tenant)
    unique = len({query.name for query in queries}) == len(queries)
    return unique and all(query.step_s % query.interval_s == 0 for query in queries)


def query_names(config: Config) -> list[str]:
    """The names of all queries of all tenants, each once."""
    names = dict.fromkeys(query.name for query in config.queries)
    for tenant in config.tenants:
        names |= dict.fromkeys(query.name for query in tenant.queries)
    return list(names)


def rule_queries(config: Config, *, longest: bool = False) -> tuple[Query, ...]:
    """The queries of all tenants as rules see them: one of each name, because rules tell them apart by name only.

    Its interval is the shortest that a tenant has for it, or the longest; who has another `alert` is for
    `alert_conflicts` to say.
    """
    choose = max if longest else min
    found: dict[str, Query] = {}
    for tenant in tenants_of(config) or (NAMELESS,):
        for query in queries_of(config, tenant):
            known = found.setdefault(query.name, query)
            interval_s = choose(known.interval_s, query.interval_s)
            if interval_s != known.interval_s:
                found[query.name] = replace(known, interval_s=interval_s)
    return tuple(found.values())


def alert_conflicts(config: Config) -> list[tuple[int, str]]:
    """Own queries (index of the tenant, name) that alert in another way than one of the same name of another tenant."""
    first = {query.name: (query.alert, query.direction) for query in config.queries}
    shared = any(tenant.shared_queries for tenant in tenants_of(config))
    first = first if shared else {}
    found = []
    for index, tenant in enumerate(config.tenants):
        for query in tenant.queries:
            alerts = query.alert, query.direction
            if first.setdefault(query.name, alerts) != alerts:
                found.append((index, query.name))
    return found


def source_of(config: Config, tenant: Tenant) -> Source:
    """The source as a tenant reaches it. The URL has the tenant in its path where it says so."""
    source = config.source
    return replace(
        source,
        url=(tenant.url or source.url).replace(IN_PATH, tenant.id),
        http=tenant.http or source.http,
        max_in_flight=tenant.max_in_flight or source.max_in_flight,
    )


def header_of(config: Config, tenant: Tenant) -> str:
    """What is sent as X-Scope-OrgID for a tenant; nothing where it stands in the path."""
    return "" if IN_PATH in (tenant.url or config.source.url) else tenant.id


def targets_of(config: Config) -> tuple[RemoteWrite, ...]:
    """The remote write targets as they are written to: those that are per tenant once for each, ``name/tenant``.

    Their queues share the room that the config gives: each has an equal part, by the next power of two of their
    number, so that it seldom changes as tenants come and go. A tenant that can't be written to has none.
    """
    targets: list[RemoteWrite] = []
    for target in config.remote_write:
        if target.per_tenant:
            able = [tenant for tenant in config.tenants if can_be_written(tenant.id, target)]
            targets += [_of_tenant(config, target, tenant, len(able)) for tenant in able]
        else:
            targets.append(_addressed(target) if target.tenant else target)
    return tuple(targets)


def can_be_written(tenant_id: str, target: RemoteWrite) -> bool:
    """Whether samples can be written to a tenant: not to several at once, and by the path only to an account."""
    return is_account(tenant_id) if IN_PATH in target.url else "|" not in tenant_id


def _of_tenant(config: Config, target: RemoteWrite, tenant: Tenant, tenants: int) -> RemoteWrite:
    queue = _share(target.queue, tenants)
    name = f"{target.name}/{tenant.id}"
    return _addressed(replace(target, name=name, tenant=tenant.id, queue=queue, http=_http_of(config, target, tenant)))


def _http_of(config: Config, target: RemoteWrite, tenant: Tenant) -> HttpConfig:
    """The tenant's own credentials, where the target has none and is on the host that the tenant is read from."""
    own, http = tenant.http, target.http
    has_auth = http.basic_auth or http.authorization or http.oauth2 or http.http_headers
    if own is None or has_auth or host_of(target.url) != host_of(tenant.url or config.source.url):
        return http
    return replace(http, basic_auth=own.basic_auth, authorization=own.authorization, oauth2=own.oauth2,
                   http_headers=own.http_headers)  # fmt: skip


def _addressed(target: RemoteWrite) -> RemoteWrite:
    """The target with its tenant in the path or in the header."""
    if IN_PATH in target.url:
        return replace(target, url=target.url.replace(IN_PATH, target.tenant))
    return replace(target, headers=(*target.headers, Header(TENANT_HEADER, values=(target.tenant,))))


def _share(queue: QueueConfig, tenants: int) -> QueueConfig:
    parts = 1 << max(0, tenants - 1).bit_length()
    capacity = max(queue.capacity // parts, queue.max_samples_per_send)
    return replace(queue, capacity=capacity, max_bytes=max(queue.max_bytes // parts, 1 << 20))


def of_names(queries: Sequence[Query], names: Sequence[str]) -> tuple[Query, ...]:
    """Those of the queries that have one of the names; all where no name is given."""
    return tuple(query for query in queries if not names or query.name in names)
