"""Made-up samples for remote write, and senders with a clock of the test's own."""

from __future__ import annotations

import numpy as np
import requests
from naive.remote_write import Written, bits_of
from prometheus_client import CollectorRegistry

from exporter.config import QueueConfig, RemoteWrite
from exporter.publish.remote_write.labels import LabelBytes, name_field
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.remote_write.sender import Sender
from exporter.publish.remote_write.wire import Encoded, encode

NOW_MS = 1_700_000_000_000


def samples(count: int, time_ms: int = NOW_MS, first: int = 0, name: str = "m") -> Encoded:
    """One sample each of series ``first`` and on; the value is the number of the series plus the time's seconds."""
    labels = LabelBytes()
    for row in range(count):
        labels.set_row(row, [("i", str(first + row))])
    values = np.arange(first, first + count) + time_ms / 1000.0
    rows = np.arange(count)
    return encode(name_field(name), *labels.arrays(), rows, values.view(np.uint64), np.full(count, time_ms))


def written(count: int, time_ms: int = NOW_MS, first: int = 0, name: str = "m") -> list[Written]:
    """The same as a receiver sees it."""
    return [
        Written((("__name__", name), ("i", str(i))), bits_of(i + time_ms / 1000.0), time_ms)
        for i in range(first, first + count)
    ]


class FakeClock:
    """Seconds that pass when the test says so."""

    def __init__(self, now_s: float = NOW_MS / 1000) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Stand:
    """A sender, not started, with its metrics; the test calls ``step``."""

    def __init__(self, url: str, clock: FakeClock | None = None, **settings) -> None:
        queue = {key: settings.pop(key) for key in list(settings) if key in QueueConfig.__slots__}
        self.config = RemoteWrite("t", url, queue=QueueConfig(**{"batch_send_deadline_s": 0.0} | queue), **settings)
        self.registry = CollectorRegistry()
        self.metrics = WriteMetrics(self.registry)
        session = requests.Session()
        session.trust_env = False
        clocks = {"clock": clock, "monotonic": clock} if clock else {}
        self.sender = Sender(self.config, session, self.metrics, **clocks)
        self.queue = self.sender.queue
        self.metrics.add("t", self.queue)

    def put(self, encoded: Encoded, cycle_ms: int = NOW_MS, unit: str = "u") -> None:
        self.queue.put(unit, cycle_ms, encoded)

    def drain(self, most: int = 1000) -> list[float]:
        """Step until nothing is left to take; returns the pauses asked for."""
        pauses = []
        while (pause := self.sender.step()) is not None:
            pauses.append(pause)
            assert len(pauses) < most, "it does not come to an end"
        return pauses

    def count(self, name: str, **labels: str) -> float:
        """A metric of the target; ``name`` without the prefix."""
        value = self.registry.get_sample_value(f"anomaly_exporter_remote_write_{name}", {"target": "t", **labels})
        assert value is not None, name
        return value
