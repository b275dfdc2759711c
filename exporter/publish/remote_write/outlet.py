"""Where results leave by remote write: the targets of the config, and what units have to know of each other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from exporter.config.schema import RemoteWrite
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.remote_write.sender import OpenSession, Sender
from exporter.publish.remote_write.wire import Encoded

_ROOM = 0.5  # share of a queue that history may fill; the rest is for the present
_LOOK_AGAIN_S = 0.1
_REMOVAL_PATIENCE_S = 2.0  # for a target that a reload has taken away

log = logging.getLogger(__name__)

Floors = Mapping[bytes, int]


class Outlet:
    """All targets. Units put samples from their threads; a reload changes the targets and keeps the queues of those
    that stay (same name and URL). A target that is per tenant takes the samples of its tenant only."""

    def __init__(self, metrics: WriteMetrics) -> None:
        self._metrics = metrics
        self._senders: dict[str, Sender] = {}
        self._routes: dict[str, tuple[Sender, ...]] = {}  # by tenant, as far as somebody has asked
        self._floors: dict[str, Floors] = {}
        self._changing = threading.Lock()

    def adopt(self, targets: Iterable[RemoteWrite], open_session: OpenSession) -> None:
        """Have exactly these targets from now on. One that is no more gets two seconds to take what waits for it."""
        with self._changing:
            senders = {target.name: self._sender(target, open_session) for target in targets}
            old, self._senders, self._routes = self._senders, senders, {}
            gone = [sender for name, sender in old.items() if senders.get(name) is not sender]
            for sender in gone:
                sender.finish(time.monotonic() + _REMOVAL_PATIENCE_S)
            for sender in gone:
                self._part_with(sender, replaced=sender.name in senders)

    def _sender(self, target: RemoteWrite, open_session: OpenSession) -> Sender:
        known = self._senders.get(target.name)
        if known is not None and known.url == target.url:
            if replace(known.config, queue=target.queue) != target:
                known.use(target, open_session(target))
            elif known.config != target:
                known.resize(target)
            return known
        sender = Sender(target, open_session(target), self._metrics)
        self._metrics.add(target.name, sender.queue)
        sender.start()
        return sender

    def _part_with(self, sender: Sender, *, replaced: bool) -> None:
        left = sender.wait()
        self._metrics.drop(sender.name, "removed", left)
        if left:
            log.warning("a target was removed, and with it the samples that waited for it",
                        extra={"target": sender.name, "samples": left})  # fmt: skip
        if not replaced:
            self._metrics.remove(sender.name)

    # -- samples -------------------------------------------------------------------------------------------------------

    def _of(self, tenant: str) -> tuple[Sender, ...]:
        """The targets that take a tenant's samples."""
        routes = self._routes
        known = routes.get(tenant)
        if known is None:
            senders = self._senders.values()
            known = tuple(one for one in senders if not one.config.per_tenant or one.config.tenant == tenant)
            routes[tenant] = known  # of a generation: `adopt` puts an empty one in its place
        return known

    def takes(self, tenant: str) -> bool:
        """Whether there is a target for the samples of a tenant."""
        return bool(self._of(tenant))

    def put(self, unit: str, cycle_ms: int, encoded: Encoded, tenant: str = "") -> None:
        """Queue samples of one cycle of a unit of a tenant for its targets; never waits for a receiver."""
        for sender in self._of(tenant):
            sender.queue.put(unit, cycle_ms, encoded)

    def drop(self, reason: str, samples: int, tenant: str = "") -> None:
        """Count samples of a tenant that go to no target."""
        if samples:
            for sender in self._of(tenant):
                self._metrics.drop(sender.name, reason, samples)

    def wait_for_room(self, stop: threading.Event, tenant: str = "") -> bool:
        """Wait until all queues for a tenant are half empty; returns False when `stop` was set before."""
        while any(_is_filling(sender) for sender in self._of(tenant)):
            if stop.wait(_LOOK_AGAIN_S):
                return False
        return not stop.is_set()

    # -- from one generation of a unit to the next ---------------------------------------------------------------------

    def leave(self, unit: str, floors: Floors) -> None:
        """Remember up to when (ms) a unit that ends has written each series, by the label fields of the series."""
        self._floors[unit] = floors

    def floors(self, unit: str) -> Floors:
        """What the unit of this key before has left."""
        return self._floors.get(unit, {})

    def forget(self, unit: str) -> None:
        """There will be no more unit of this key."""
        self._floors.pop(unit, None)

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self, patience_s: float) -> None:
        """Let every target deliver what waits for it, for so long; returns at once."""
        for sender in self._senders.values():
            sender.finish(time.monotonic() + patience_s)

    def wait(self) -> int:
        """Wait for the end of that. Returns how many samples are left, which is also told in the log."""
        left = {name: sender.wait() for name, sender in self._senders.items()}
        for name, samples in left.items():
            if samples:
                log.warning("stopped with samples that were not delivered", extra={"target": name, "samples": samples})
        return sum(left.values())


def _is_filling(sender: Sender) -> bool:
    queue = sender.queue
    return queue.samples > _ROOM * queue.capacity or queue.held_bytes > _ROOM * queue.max_bytes
