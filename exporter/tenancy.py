"""What is known of each tenant while it is read: whether its server answers, and whether it has any series at all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Protocol

from exporter.publish.selfmetrics import SelfMetrics
from exporter.source.breaker import Breaker, Change, Onlooker, longest_pause_s

_EMPTY = "answers with no series: ids are not checked by the server, see whether it is spelled right"

log = logging.getLogger(__name__)


class Cycle(Protocol):
    """A cycle that went well (``unit.Receipt``): series in its newest answer, and known ones by state."""

    series: int
    states: dict[str, int]


class Watched(Protocol):
    """What is asked of a unit (``unit.Unit``)."""

    tenant: str

    @property
    def last(self) -> object:
        """Its last cycle; None before the first."""

    @property
    def last_good(self) -> Cycle | None:
        """Its last cycle that went well."""


class Tenancy:
    """Breakers and remarks by tenant; "" stands for the one where none are configured. For any thread."""

    def __init__(self, metrics: SelfMetrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._breakers: dict[str, Breaker] = {}
        self._units: dict[str, list[Watched]] = {}
        self._empty: dict[str, bool] = {}

    def breaker(self, tenant: str, interval_s: int) -> Breaker:
        """The tenant's breaker, with what it knows; ``interval_s`` is that of its most frequent query."""
        with self._lock:
            known = self._breakers.get(tenant)
            if known is None:
                known = self._breakers[tenant] = Breaker(heard=lambda change: self._changed(tenant, change))
            known.longest_s = longest_pause_s(interval_s)
            return known

    def onlooker(self, tenant: str) -> Onlooker | None:
        """Who keeps to the tenant's breaker without a part in it; None for a tenant that is not watched."""
        with self._lock:
            known = self._breakers.get(tenant)
        return None if known is None else Onlooker(known)

    def watch(self, units: Iterable[Watched]) -> None:
        """These are the units now; what is known of tenants without any is forgotten."""
        by_tenant: dict[str, list[Watched]] = {}
        for unit in units:
            by_tenant.setdefault(unit.tenant, []).append(unit)
        with self._lock:
            self._units = by_tenant
            for known in (self._breakers, self._empty):
                _forget(known, by_tenant)

    def cycle_ended(self, tenant: str) -> None:
        """A cycle of a unit of the tenant has ended: says once when none of its units has ever had a series."""
        if not tenant:
            return
        with self._lock:
            units = self._units.get(tenant, ())
            known = [_has_series(unit.last_good) for unit in units if unit.last_good is not None]
            if not any(known) and (not known or any(unit.last is None for unit in units)):
                return  # what the others have is not known yet
            empty, before = not any(known), self._empty.get(tenant)
            self._empty[tenant] = empty
        if empty != bool(before):
            self._metrics.is_empty(tenant, empty)
            if before is None:
                log.warning(f"tenant {tenant} {_EMPTY}", extra={"tenant": tenant})
            else:
                log.warning(f"tenant {tenant} has {'no series any more' if empty else 'series'}")

    def remarks(self, tenant: str) -> tuple[str, ...]:
        """What there is to say of a tenant on the front page."""
        with self._lock:
            breaker, empty = self._breakers.get(tenant), self._empty.get(tenant, False)
        told = []
        if breaker is not None and breaker.is_open:
            told.append(f"its server is not asked for now, the next try is due in {breaker.wait_s():.0f} s")
        if empty:
            told.append(f"tenant {tenant} {_EMPTY}")
        return tuple(told)

    def _changed(self, tenant: str, change: Change) -> None:
        told = {"tenant": tenant} if tenant else {}
        if change.state == "probing":
            return
        self._metrics.circuit_changed(tenant, is_open=change.state == "open", opened=change.state == "open")
        if change.state == "closed":
            log.info("the server answers again", extra=told | {"outage_seconds": round(change.closed_for_s, 1)})
        else:
            more = {"failures": change.failures, "pause_seconds": round(change.pause_s, 1), "error": change.error}
            log.warning("the server is not asked for a while", extra=told | more)


def _has_series(cycle: Cycle) -> bool:
    """Series that are sampled more seldom than they are asked for are in the window and not in every answer."""
    return bool(cycle.series) or any(cycle.states.values())


def _forget(known: dict[str, Breaker] | dict[str, bool], tenants: Mapping[str, object]) -> None:
    for tenant in known.keys() - tenants.keys():
        del known[tenant]
