"""Connections of a config: authenticated sessions, clients and readers, made in one place for every command."""

from __future__ import annotations

import threading
from dataclasses import replace

import requests

from exporter import __version__
from exporter.config import Config, Query, RemoteWrite
from exporter.source.client import Client, Observer, unobserved
from exporter.source.reader import Reader
from exporter.source.session import open_session

USER_AGENT = f"anomaly-exporter/{__version__}"


def tenant_ids(config: Config) -> list[str]:
    """The tenants to read, or one nameless tenant."""
    return [tenant.id for tenant in config.tenants] or [""]


def make_session(config: Config) -> requests.Session:
    """The authenticated session that all clients of the configured source share."""
    in_flight = config.source.max_in_flight * len(tenant_ids(config))
    return open_session(
        config.source.http, user_agent=USER_AGENT, timeout_s=config.source.timeout_s, pool_size=max(16, in_flight)
    )


def open_target(target: RemoteWrite) -> requests.Session:
    """The authenticated session of a remote write target."""
    http = replace(target.http, http_headers=(*target.http.http_headers, *target.headers))
    return open_session(http, user_agent=USER_AGENT, timeout_s=target.timeout_s, pool_size=1)


def make_client(
    config: Config,
    session: requests.Session,
    tenant: str,
    *,
    observe: Observer = unobserved,
    stop: threading.Event | None = None,
) -> Client:
    """The client for one tenant of the configured source. Setting `stop` ends its waits and downloads."""
    source = config.source
    return Client(
        source.url,
        session,
        tenant=tenant or None,
        timeout_s=source.timeout_s,
        max_body_bytes=source.max_body_bytes,
        accept_gzip=source.accept_gzip,
        params=source.query_params,
        observe=observe,
        stop=stop or threading.Event(),
        slots=threading.Semaphore(source.max_in_flight),
    )


def make_reader(config: Config, client: Client, query: Query) -> Reader:
    """The reader of one query through a client."""
    source = config.source
    if query.limits.query_timeout_s:
        client = replace(client, timeout_s=query.limits.query_timeout_s)
    return Reader(
        client, query.expr, query.step_s, source.max_points_per_query, source.max_in_flight, source.remote_read
    )
