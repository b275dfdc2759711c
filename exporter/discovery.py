"""Finds tenants that the config does not list: in files that are read again when they change, and by a query.

What can't be read leaves what was found before: no tenant ends because of a broken file, a file that is gone, or a
query that fails, answers in part or answers with nothing.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from exporter.config import Config, DiscoveryQuery, Tenant, TenantDiscovery
from exporter.config.loading import read_file
from exporter.config.per_tenant import can_be_written, fits
from exporter.config.tenants import named_tenant
from exporter.connections import Sessions, make_client
from exporter.errors import AnomalyExporterError, SourceGarbled
from exporter.source.answer import Answer
from exporter.source.client import Client
from exporter.source.labels import parse_labels
from exporter.source.scan import scan_answer

LOOK_S = 5.0  # how often the files are looked at
FILE, QUERY = "file", "query"
MECHANISMS = (FILE, QUERY)

_SETTLE_S = 1.0  # a file that has just been written may still be written to
_NAMED, _NAMED_CHARS = 5, 60  # of the tenants that are left out

log = logging.getLogger(__name__)

Stamp = tuple[int, ...]
Failed = Callable[[str], None]


@dataclass(slots=True)
class _Place:
    """One file, or the query: what it has given last, and what is wrong with it now."""

    mechanism: str
    tenants: tuple[Tenant, ...] = ()
    stamp: Stamp | None = None
    asked_s: float | None = None
    wrong: str = ""


class Discovery:
    """The tenants that are found, for as long as the program runs. `look` is for one thread at a time."""

    def __init__(self, failed: Failed = lambda _mechanism: None, clock: Callable[[], float] = time.monotonic) -> None:
        """`failed` hears of each look that failed, by mechanism."""
        self._failed = failed
        self._clock = clock
        self._lock = threading.Lock()
        self._config: Config | None = None
        self._client: Client | None = None
        self._files: dict[str, _Place] = {}
        self._query = _Place(QUERY)
        self._looked = False
        self._left_out: tuple[str, ...] = ()
        self._known: tuple[str, ...] = ()

    @property
    def looked(self) -> bool:
        """Whether every place has been looked at once, or there is none; a reload changes nothing in that, as who has
        been found before stays until the next look."""
        return self._looked or self._config is None or self._config.tenant_discovery is None

    @property
    def wrong(self) -> list[str]:
        """What is wrong now, a sentence for each place."""
        with self._lock:
            return [place.wrong for place in self._places() if place.wrong]

    @property
    def left_out(self) -> int:
        """How many were found and are left out: beyond the limit, or with a name that no tenant can have."""
        return len(self._left_out)

    def use(self, config: Config, sessions: Sessions, stop: threading.Event | None = None) -> None:
        """Look where a config says from now on, all anew; what its places have given before stays until then."""
        discovery = config.tenant_discovery or TenantDiscovery()
        old = self._config.tenant_discovery if self._config else None
        with self._lock:
            self._config = config
            self._client = None
            if discovery.query is not None:
                self._client = make_client(config, sessions, discovery.query.tenant, stop=stop)
            if discovery.query is None or (old is not None and old.query != discovery.query):
                self._query = _Place(QUERY)
            self._query.asked_s = None
            known = self._files
            self._files = {path: known.get(path, _Place(FILE)) for path in discovery.files}
            for place in self._files.values():
                place.stamp = None

    def look(self) -> tuple[Tenant, ...]:
        """Look where something may have changed; all tenants that are known then, without those of the config.

        May wait for the source. Never raises for what files and servers do.
        """
        with self._lock:
            config, client, files = self._config, self._client, dict(self._files)
            query_place = self._query
        if config is None or config.tenant_discovery is None:
            return ()
        for path, place in files.items():
            self._look_at_file(path, place, config.tenant_discovery)
        if client is not None and config.tenant_discovery.query is not None:
            self._ask(query_place, client, config, config.tenant_discovery.query)
        with self._lock:
            self._looked = True
            return self._bounded(config)

    def _places(self) -> Iterable[_Place]:
        return (*self._files.values(), self._query)

    # -- files ---------------------------------------------------------------------------------------------------------

    def _look_at_file(self, path: str, place: _Place, discovery: TenantDiscovery) -> None:
        stamp = _stamp(path)
        if stamp == place.stamp and not place.wrong:
            return
        first = place.stamp is None
        if stamp and not first and 0 <= time.time() - stamp[0] / 1e9 < _SETTLE_S:
            return  # the next look will see all of it
        try:
            tenants = discovery.parse(read_file(path), path)
        except AnomalyExporterError as error:
            self._note_failure(place, f"tenants not read, those found before stay: {error}")
        else:
            self._note_success(place, tenants)
        place.stamp = stamp

    # -- the query -----------------------------------------------------------------------------------------------------

    def _ask(self, place: _Place, client: Client, config: Config, query: DiscoveryQuery) -> None:
        refresh_s = config.tenant_discovery.refresh_s if config.tenant_discovery else 0
        now_s = self._clock()
        if place.asked_s is not None and now_s - place.asked_s < refresh_s:
            return
        place.asked_s = now_s
        try:
            names = _label_values(client, query)
        except AnomalyExporterError as error:
            self._note_failure(place, f"tenants not found, those found before stay: {error}")
            return
        if not names:
            told = "the query for tenants answers with none"
            self._note_failure(place, f"{told}, those found before stay" if place.tenants else told)
            return
        # One with a name that no tenant can have is not `discovered`, and left out below.
        tenants = [named_tenant(name, config.source) or Tenant(name) for name in names]
        self._note_success(place, tuple(tenants))

    # -- what comes of it ----------------------------------------------------------------------------------------------

    def _note_failure(self, place: _Place, words: str) -> None:
        if words != place.wrong:
            log.error(words)
        place.wrong = words
        self._failed(place.mechanism)

    def _note_success(self, place: _Place, tenants: tuple[Tenant, ...]) -> None:
        if place.wrong:
            log.info("tenants are found again", extra={"mechanism": place.mechanism, "tenants": len(tenants)})
        place.tenants, place.wrong = tenants, ""

    def _bounded(self, config: Config) -> tuple[Tenant, ...]:
        """The tenants of all places, each once, as many as there may be: those that are known already first."""
        listed = {tenant.id for tenant in config.tenants}
        found: dict[str, Tenant] = {}
        for place in self._places():
            for tenant in place.tenants:
                found.setdefault(tenant.id, tenant)
        able = {name: tenant for name, tenant in found.items() if name not in listed and _is_able(tenant, config)}
        most = config.tenant_discovery.max_tenants if config.tenant_discovery else 0
        known = dict.fromkeys(self._known)
        order = [name for name in known if name in able] + sorted(able.keys() - known.keys())
        kept = order[:most]
        self._note_left_out((*order[most:], *(name for name in found if name not in listed and name not in able)), most)
        self._known = tuple(kept)
        return tuple(able[name] for name in sorted(kept))

    def _note_left_out(self, names: tuple[str, ...], most: int) -> None:
        if names and set(names) != set(self._left_out):
            some = ", ".join(ascii(name)[:_NAMED_CHARS] for name in names[:_NAMED])
            log.warning(
                f"{len(names)} tenants are left out, among them {some}: at most {most} can be discovered (max_tenants),"
                " and only ids that a tenant can have and, with per_tenant, that can be written to"
            )
        self._left_out = names


def discovered(config: Config, sessions: Sessions) -> tuple[Config, list[str]]:
    """A config with the tenants that are found now, and what went wrong. For commands that look once."""
    discovery = Discovery()
    discovery.use(config, sessions)
    return with_tenants(config, discovery.look()), discovery.wrong


def with_tenants(config: Config, tenants: Iterable[Tenant]) -> Config:
    """The config as it is with discovered tenants, but for those that it lists itself and those that do not fit it.

    What was discovered under another config may not: it is read anew with the next look.
    """
    listed = tuple(tenant for tenant in config.tenants if not tenant.discovered)
    names = {tenant.id for tenant in listed}
    return replace(
        config, tenants=(*listed, *(each for each in tenants if each.id not in names and fits(config, each)))
    )


def _is_able(tenant: Tenant, config: Config) -> bool:
    written = all(can_be_written(tenant.id, target) for target in config.remote_write if target.per_tenant)
    return tenant.discovered and written


def _stamp(path: str) -> Stamp:
    """What changes when a file is written or replaced; empty when it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - one call per look
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _label_values(client: Client, query: DiscoveryQuery) -> list[str]:
    """The tenants that a server names. Raises SourceError, also for an answer that lacks a part."""
    if not query.expr:
        return client.label_values(query.label)
    answer = scan_answer(client.query(query.expr, time.time()), client.origin("query"))
    if answer.partial or answer.warnings:
        words = "; ".join(answer.warnings) or "partial data"
        raise SourceGarbled(f"{client.origin('query')}: the answer lacks a part: {words}", reason="garbled")
    return sorted(_labels_of(answer, query.label))


def _labels_of(answer: Answer, label: str) -> set[str]:
    batch = answer.batch
    labels = (parse_labels(batch.label_bytes(index)) for index in range(batch.series))  # once per refresh
    return {value for each in labels if (value := each.get(label))}
