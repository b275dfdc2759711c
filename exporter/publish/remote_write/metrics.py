"""Metrics about remote write, by target."""

from __future__ import annotations

import threading
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from exporter.names import SELF_PREFIX
from exporter.publish.remote_write.labels import FAULTS
from exporter.publish.remote_write.queue import Queue

DROPS = ("queue_full", "too_old", "out_of_order", "removed", *FAULTS)
_DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

Metrics: TypeAlias = tuple[MetricWrapperBase, ...]


class WriteMetrics:
    """All metrics of remote write, in one registry; methods may be called from any thread.

    A target (its name in the config, never a URL) has its children from ``add`` on, so that counters start at 0, and
    none after ``remove``; what is counted for a target that is not there is passed over.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._targets: set[str] = set()
        self.sent = self._counter("samples", "Samples delivered, stale markers included.")
        self.failed = self._counter("samples_failed", "Samples that the receiver refused for good.")
        self.retried = self._counter("samples_retried", "Samples of attempts that have to be made again.")
        self.dropped = self._counter("samples_dropped", "Samples that were not sent.", "reason")
        self.bytes = self._counter("bytes", "Bytes of requests delivered, compressed.")
        self.fallbacks = self._counter("fallbacks", "Times that the target went back to protocol 1.0.")
        self.pending = self._gauge("samples_pending", "Samples that wait in the queue.")
        self.pending_bytes = self._gauge("pending_bytes", "Memory of the samples that wait.")
        self.capacity = self._gauge("queue_capacity_samples", "Samples that the queue may hold.")
        self.capacity_bytes = self._gauge("queue_capacity_bytes", "Memory that the queue may take.")
        self.newest = self._gauge("highest_timestamp_seconds", "Time of the newest sample that was queued.")
        self.newest_sent = self._gauge("highest_sent_timestamp_seconds", "Time of the newest sample delivered.")
        self.success = self._gauge("last_success_timestamp_seconds", "When a request was last delivered, 0: never.")
        self.duration = Histogram(
            f"{SELF_PREFIX}_remote_write_request_duration_seconds", "Duration of attempts, failed ones too.",
            ("target",), buckets=_DURATIONS_S, registry=registry,
        )  # fmt: skip

    def add(self, target: str, queue: Queue) -> None:
        """Make the children of a target whose samples wait in a queue; known ones keep their values."""
        with self._lock:
            self._targets.add(target)
            for metric in self._plain():
                metric.labels(target)
            for reason in DROPS:
                self.dropped.labels(target, reason)
            self.pending.labels(target).set_function(lambda: queue.samples)
            self.pending_bytes.labels(target).set_function(lambda: queue.held_bytes)
            self.capacity.labels(target).set_function(lambda: queue.capacity)
            self.capacity_bytes.labels(target).set_function(lambda: queue.max_bytes)
            self.newest.labels(target).set_function(lambda: queue.newest_ms / 1000.0)

    def remove(self, target: str) -> None:
        """Remove the children of a target."""
        with self._lock:
            if target in self._targets:
                self._targets.discard(target)
                for metric in self._plain():
                    metric.remove(target)
                for reason in DROPS:
                    self.dropped.remove(target, reason)

    def delivered(self, target: str, samples: int, body_bytes: int, newest_ms: int, now_s: float) -> None:
        """A request has arrived."""
        with self._lock:
            if target in self._targets:
                self.sent.labels(target).inc(samples)
                self.bytes.labels(target).inc(body_bytes)
                self.newest_sent.labels(target).set(newest_ms / 1000.0)
                self.success.labels(target).set(now_s)

    def drop(self, target: str, reason: str, samples: int) -> None:
        """Samples were not sent, for one of DROPS."""
        self._count(self.dropped, samples, target, reason)

    def fail(self, target: str, samples: int) -> None:
        """Samples were refused for good."""
        self._count(self.failed, samples, target)

    def retry(self, target: str, samples: int) -> None:
        """Samples have to be sent again."""
        self._count(self.retried, samples, target)

    def fall_back(self, target: str) -> None:
        """The target does not know protocol 2.0."""
        self._count(self.fallbacks, 1, target)

    def took(self, target: str, duration_s: float) -> None:
        """An attempt has ended."""
        with self._lock:
            if target in self._targets:
                self.duration.labels(target).observe(duration_s)

    def _count(self, metric: Counter, amount: int, target: str, *more: str) -> None:
        with self._lock:
            if target in self._targets:
                metric.labels(target, *more).inc(amount)

    def _plain(self) -> Metrics:
        return (
            self.sent, self.failed, self.retried, self.bytes, self.fallbacks, self.pending, self.pending_bytes,
            self.capacity, self.capacity_bytes, self.newest, self.newest_sent, self.success, self.duration,
        )  # fmt: skip

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"{SELF_PREFIX}_remote_write_{name}", text, ("target",), registry=self._registry)

    def _counter(self, name: str, text: str, *more: str) -> Counter:
        return Counter(f"{SELF_PREFIX}_remote_write_{name}", text, ("target", *more), registry=self._registry)
