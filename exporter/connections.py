"""Connections of a config: authenticated sessions, clients and readers, made in one place for every command."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace

import requests

from exporter import __version__
from exporter.config import Config, HttpConfig, Query, RemoteWrite, Tenant
from exporter.config.per_tenant import header_of, source_of, tenant_of, tenants_of
from exporter.source.breaker import Breaker, Onlooker
from exporter.source.client import Client, Observer, unobserved
from exporter.source.reader import Reader
from exporter.source.session import open_session

USER_AGENT = f"anomaly-exporter/{__version__}"


_LEAST_POOL, _MOST_POOL = 16, 256  # connections kept open by a session; more may be under way


def tenant_ids(config: Config) -> list[str]:
    """The tenants to read, or one nameless tenant."""
    return [tenant.id for tenant in tenants_of(config)]


class Sessions:
    """The authenticated sessions of a config's source: one for the source's credentials, one for each other set.

    For any thread. As a context: closed at its end.
    """

    def __init__(self, config: Config) -> None:
        self._source = config.source
        self._tenants = len(tenants_of(config)) if config.tenant_discovery is None else _MOST_POOL
        self._lock = threading.Lock()
        self._open: dict[HttpConfig, requests.Session] = {}

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def of(self, http: HttpConfig) -> requests.Session:
        """The session with these credentials; opened where there is none."""
        with self._lock:
            if http not in self._open:
                shared = self._tenants if http == self._source.http else 1
                pool_size = min(_MOST_POOL, max(_LEAST_POOL, shared * self._source.max_in_flight))
                timeout_s = self._source.timeout_s
                self._open[http] = open_session(http, user_agent=USER_AGENT, timeout_s=timeout_s, pool_size=pool_size)
            return self._open[http]

    def keep(self, tenants: Iterable[Tenant]) -> None:
        """Close those that none of these tenants uses."""
        wanted = {tenant.http or self._source.http for tenant in tenants} | {self._source.http}
        with self._lock:
            gone = [self._open.pop(http) for http in list(self._open) if http not in wanted]
        for session in gone:
            session.close()

    def close(self) -> None:
        """Close all."""
        with self._lock:
            for session in self._open.values():
                session.close()


def open_target(target: RemoteWrite) -> requests.Session:
    """The authenticated session of a remote write target."""
    http = replace(target.http, http_headers=(*target.http.http_headers, *target.headers))
    return open_session(http, user_agent=USER_AGENT, timeout_s=target.timeout_s, pool_size=1)


def make_client(
    config: Config,
    sessions: Sessions,
    tenant_id: str,
    *,
    observe: Observer = unobserved,
    stop: threading.Event | None = None,
    breaker: Breaker | Onlooker | None = None,
) -> Client:
    """The client for one tenant of the configured source. Setting `stop` ends its waits and downloads."""
    tenant = tenant_of(config, tenant_id)
    source = source_of(config, tenant)
    return Client(
        source.url,
        sessions.of(source.http),
        tenant=header_of(config, tenant) or None,
        timeout_s=source.timeout_s,
        max_body_bytes=source.max_body_bytes,
        accept_gzip=source.accept_gzip,
        params=source.query_params,
        observe=observe,
        stop=stop or threading.Event(),
        slots=threading.Semaphore(source.max_in_flight),
        breaker=breaker,
    )


def make_reader(config: Config, client: Client, query: Query) -> Reader:
    """The reader of one query through a client."""
    source = config.source
    client = replace(client, asker=query.name, timeout_s=query.limits.query_timeout_s or client.timeout_s)
    return Reader(
        client, query.expr, query.step_s, source.max_points_per_query, source.max_in_flight, source.remote_read
    )
