"""What waits for a receiver: requests, packed, in time order, within a bound on samples and on memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import cramjam
import numpy as np

from exporter.config.schema import QueueConfig
from exporter.publish.remote_write.wire import Encoded, series_ends

_OBJECT_BYTES = 300  # of a request beside its body
_FULL_BYTES = 8 << 20  # a request is full at this size before compression, whatever the number of its samples

Clock = Callable[[], float]
Dropped = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Request:
    """A body of protocol 1.0, compressed, with the number of its samples and the time of the newest."""

    body: bytes
    samples: int
    newest_ms: int

    @property
    def held_bytes(self) -> int:
        """Memory it takes."""
        return len(self.body) + _OBJECT_BYTES

    def raw(self) -> bytes:
        """The body, unpacked."""
        return bytes(cramjam.snappy.decompress_raw(self.body))


def packed(raw: bytes | memoryview, samples: int, newest_ms: int) -> Request:
    """A request of these time series."""
    return Request(bytes(cramjam.snappy.compress_raw(raw)), samples, newest_ms)


def halves(request: Request) -> list[Request]:
    """Two requests with half of the time series each, in their order; the request itself when it can't be split."""
    if request.samples < 2:
        return [request]
    raw = request.raw()
    half = request.samples // 2
    cut = int(series_ends(raw, request.samples)[half - 1])
    parts = (raw[:cut], half), (raw[cut:], request.samples - half)
    return [packed(part, samples, request.newest_ms) for part, samples in parts]


class Queue:
    """Requests for one target. Producers are units' threads, the consumer is the target's own.

    A request is sealed when it is full, when its first sample has waited for ``batch_send_deadline_s``, and before it
    would hold two samples of a series: a repeat of the older one would make Prometheus refuse the whole request. A
    cycle of a unit never has two samples of one series, so a new cycle of a unit that is in the open request seals it.

    Bound: ``capacity`` samples and ``max_bytes`` bytes, open request included; beyond it the oldest requests are
    dropped and told to ``dropped(reason, samples)``. What the consumer has taken and not put back is not counted.
    """

    def __init__(self, config: QueueConfig, dropped: Dropped, clock: Clock = time.monotonic) -> None:
        self._config = config
        self._dropped = dropped
        self._clock = clock
        self._feeding = threading.Lock()  # order of requests; held while packing
        self._changed = threading.Condition()  # the sealed requests; held for moments only
        self._sealed: deque[Request] = deque()
        self._sealed_samples = 0
        self._sealed_bytes = 0
        self._open: list[Encoded] = []
        self._open_samples = 0
        self._open_bytes = 0
        self._open_units: dict[str, int] = {}
        self._open_since_s = 0.0
        self.newest_ms = 0

    @property
    def samples(self) -> int:
        """Samples that wait."""
        return self._sealed_samples + self._open_samples

    @property
    def held_bytes(self) -> int:
        """Memory that they take."""
        return self._sealed_bytes + self._open_bytes

    @property
    def capacity(self) -> int:
        """Samples that may wait."""
        return self._config.capacity

    @property
    def max_bytes(self) -> int:
        """Memory that they may take."""
        return self._config.max_bytes

    def use(self, config: QueueConfig) -> None:
        """Go by other limits from now on."""
        with self._feeding:
            self._config = config
            self._make_room()

    # -- the producers' side -------------------------------------------------------------------------------------------

    def put(self, unit: str, cycle_ms: int, encoded: Encoded) -> None:
        """Add samples of one cycle of a unit. Never waits for the receiver."""
        if encoded.samples == 0:
            return
        with self._feeding:
            if self._open_units.get(unit, cycle_ms) != cycle_ms:
                self._seal()
            first = 0
            while first < encoded.samples:
                if not self._open:
                    self._open_since_s = self._clock()
                self._open_units[unit] = cycle_ms
                first = self._append(encoded, first)
            if self._open:  # a slice would keep all samples of the cycle in memory
                self._open[-1] = _copied(self._open[-1])
            self.newest_ms = max(self.newest_ms, int(encoded.times_ms.max()))
            self._make_room()
        with self._changed:
            self._changed.notify_all()

    def _append(self, encoded: Encoded, first: int) -> int:
        """Add samples from the first-th on to the open request and seal it if that fills it; returns the next one."""
        most, full_bytes = self._config.max_samples_per_send, min(_FULL_BYTES, self._config.max_bytes // 4)
        start = int(encoded.ends[first - 1]) if first else 0
        fitting = int(np.searchsorted(encoded.ends, start + full_bytes - self._open_bytes, side="right"))
        end = max(first + 1, min(encoded.samples, first + most - self._open_samples, fitting))
        stop = int(encoded.ends[end - 1])
        ends = encoded.ends[first:end] - start
        self._open.append(Encoded(encoded.data[start:stop], ends, encoded.times_ms[first:end]))
        self._open_samples += end - first
        self._open_bytes += stop - start
        if self._open_samples >= most or end < encoded.samples:
            self._seal()
        return end

    def _seal(self) -> None:
        """Pack the open request. The feeding lock is held."""
        if not self._open:
            return
        raw = np.concatenate([part.data for part in self._open]) if len(self._open) > 1 else self._open[0].data
        newest_ms = max(int(part.times_ms.max()) for part in self._open)
        request = packed(raw.data, self._open_samples, newest_ms)
        self._open, self._open_units = [], {}
        with self._changed:
            self._open_samples = self._open_bytes = 0
            self._count(request, 1)
            self._sealed.append(request)
            self._changed.notify_all()

    def _count(self, request: Request, sign: int) -> None:
        self._sealed_samples += sign * request.samples
        self._sealed_bytes += sign * request.held_bytes

    def _make_room(self) -> None:
        """Drop the oldest requests as long as there is too much."""
        lost = 0
        with self._changed:
            while self._sealed and self._is_over():
                oldest = self._sealed.popleft()
                self._count(oldest, -1)
                lost += oldest.samples
        if lost:
            self._dropped("queue_full", lost)

    def _is_over(self) -> bool:
        return self.samples > self._config.capacity or self.held_bytes > self._config.max_bytes

    # -- the consumer's side -------------------------------------------------------------------------------------------

    def take(self, *, flush: bool = False) -> Request | None:
        """The oldest request; None where there is none yet. ``flush`` does not wait for an open one to fill."""
        with self._changed:
            if self._sealed:
                return self._pop()
        with self._feeding:
            if self._open and (flush or self._open_wait_s() <= 0):
                self._seal()
        with self._changed:
            return self._pop() if self._sealed else None

    def _pop(self) -> Request:
        oldest = self._sealed.popleft()
        self._count(oldest, -1)
        return oldest

    def put_back(self, requests: list[Request]) -> None:
        """Return what was taken and not delivered, in its order; it counts again, and may be dropped as the oldest."""
        with self._changed:
            for request in reversed(requests):
                self._sealed.appendleft(request)
                self._count(request, 1)
        self._make_room()

    def wait(self, longest_s: float) -> None:
        """Until there is something to take, or so long; `wake` ends it."""
        with self._changed:
            if not self._sealed:
                due_s = self._open_wait_s() if self._open else longest_s
                self._changed.wait(max(0.0, min(longest_s, due_s)))

    def wake(self) -> None:
        """End a `wait`."""
        with self._changed:
            self._changed.notify_all()

    def _open_wait_s(self) -> float:
        return self._open_since_s + self._config.batch_send_deadline_s - self._clock()


def _copied(part: Encoded) -> Encoded:
    return Encoded(part.data.copy(), part.ends.copy(), part.times_ms.copy())
