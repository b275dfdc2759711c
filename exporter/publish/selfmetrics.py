"""Metrics about the exporter itself, by prometheus_client."""

from __future__ import annotations

import collections
import math
import platform
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase

from exporter import __version__
from exporter.names import REFUSALS, SELF_PREFIX, STATES

OUTCOMES = ("ok", "failed", "late", "skipped")
REMARKS = (
    "warning", "info", "partial", "histogram", "duplicate", "collision", "future", "too_old", "not_finite",
    "truncated",
)  # fmt: skip

_UNIT = ("tenant", "query")
_LATE = "late"  # a remark with a counter of its own
_DURATIONS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_NOT_OF_THE_SOURCE = ("memory", "internal")  # reasons of a failed cycle that say nothing about the server

Child: TypeAlias = tuple[MetricWrapperBase, tuple[str, ...]]


class CycleReceipt(Protocol):
    """What one cycle of a unit did, as far as it is counted here (``unit.Receipt``)."""

    time_s: int
    error: str
    reason: str
    series: int
    shed: int
    refused: dict[str, int]
    judged: int
    fitted: int
    failed_rows: int
    anomalous: dict[str, int]
    states: dict[str, int]
    samples: int
    filled_columns: int
    slow_scans: int
    remarks: collections.Counter[str]
    missing_s: int
    newest_s: float
    window_bytes: int
    wall_s: float
    cpu_s: float


class SelfMetrics:
    """All metrics about the exporter itself, in one registry. Methods may be called from any thread.

    Every unit (tenant x query; the tenant is "" where none are configured) has its children from ``register_unit`` on,
    so that counters start at 0, and none after ``forget_unit``. ``reasons`` are the words for failed reads that are
    known beforehand; others appear when they happen. No metric has the labels ``job`` or ``instance``.
    """

    def __init__(self, registry: CollectorRegistry, reasons: Iterable[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series, and Prometheus knows when a counter began
        self._registry = registry
        self._reasons = tuple(reasons)
        self._lock = threading.Lock()
        self._children: dict[tuple[str, str], set[Child]] = {}
        self._models: dict[tuple[str, str], tuple[str, ...]] = {}
        self._readable: dict[str, dict[str, bool]] = {}  # by tenant, by query
        self._tenant_children: dict[str, set[Child]] = {}
        self._make_process_metrics()
        self._make_cycle_metrics()
        self._make_source_metrics()

    def _make_process_metrics(self) -> None:
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        info = self._gauge("build_info", "Always 1; the labels say what runs.", "version", "python_version")
        info.labels(__version__, platform.python_version()).set(1)
        self.reload_ok = self._gauge("config_last_reload_successful", "Whether the last load of the config succeeded.")
        self.config_info = self._gauge(
            "config_info", "Always 1; the label says which config is in force, as /config does.", "hash"
        )
        self.reload_time = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When the config in force was loaded."
        )

    def _make_cycle_metrics(self) -> None:
        self.series = self._gauge("series", "Watched series by state.", *_UNIT, "state")
        self.anomalous = self._gauge("series_anomalous", "Series whose score is above 1 now.", *_UNIT, "model")
        self.shed = self._gauge(
            "series_shed", "Series in the newest answer that are not watched: a limit is reached.", *_UNIT
        )
        self.refused = self._gauge(
            "series_refused", "Series in the newest answer that are not watched, by why.", *_UNIT, "reason"
        )
        self.limit = self._gauge(
            "series_limit", "Series that may be watched, by max_series and max_points; +Inf without a limit.", *_UNIT
        )
        self.interval = self._gauge("query_interval_seconds", "How often the series of the query are judged.", *_UNIT)
        self.verdict_time = self._gauge(
            "verdict_timestamp_seconds", "Time of the newest judged sample, 0 before the first verdict.", *_UNIT
        )
        self.cycles = self._counter(
            "cycles", "Cycles by outcome. One that overran its interval counts as late besides.", *_UNIT, "outcome"
        )
        self.cycle_duration = Histogram(
            f"{SELF_PREFIX}_cycle_duration_seconds", "Wall time of cycles: reading, judging, rendering.", _UNIT,
            buckets=_DURATIONS_S, registry=self._registry,
        )  # fmt: skip
        self.cycle_cpu = self._counter("cycle_cpu_seconds", "CPU time of cycles in their own thread.", *_UNIT)
        self.cycle_lag = self._gauge("cycle_lag_seconds", "From the due time of the last cycle to its end.", *_UNIT)
        self.judged = self._counter("samples_judged", "Samples that got a verdict.", *_UNIT)
        self.fits = self._counter("fits", "Fits of a model to the window of a series.", *_UNIT, "model")
        self.failed_fits = self._counter("models_failed", "Fits that failed; other series are unaffected.", *_UNIT)
        self.window_bytes = self._gauge("window_bytes", "Memory of the window.", *_UNIT)
        self.loaded = self._gauge(
            "window_loaded_ratio", "Share of the window that has been read since the start.", *_UNIT
        )
        self.backfill = self._gauge(
            "backfill_ratio", "Share of the past that --backfill has queued for remote write, 1 at the end.", *_UNIT
        )

    def _make_source_metrics(self) -> None:
        self.source_up = self._gauge(
            "source_up", "Whether the last cycle of at least one query of the tenant could read its series.", "tenant"
        )
        self.circuit = self._gauge(
            "source_circuit_open", "1 while the tenant's server is not asked, but for a try now and then.", "tenant"
        )
        self.circuit_opened = self._counter(
            "source_circuit_opened", "Times that the tenant's server was given up for a while, failed tries too.",
            "tenant",
        )  # fmt: skip
        self.empty = self._gauge(
            "source_empty", "1 while all queries of a tenant answer with no series; an unknown tenant does.", "tenant"
        )
        self.tenants = self._gauge("tenants", "Tenants that are watched, by where they are named.", "origin")
        self.left_out = self._gauge("tenants_left_out", "Tenants that were discovered and are not watched.")
        self.discovery_failures = self._counter(
            "tenant_discovery_failures", "Looks for tenants that failed; those found before stay.", "mechanism"
        )
        self.requests = self._counter(
            "source_requests", "Requests by outcome, retries included: ok or what went wrong.", "tenant", "outcome"
        )
        self.received = self._counter("source_bytes", "Bytes of answers, unpacked.", "tenant")
        self.errors = self._counter("source_errors", "Cycles that failed because of the source.", *_UNIT, "reason")
        self.warnings = self._counter("source_warnings", "Remarks on answers and their samples.", *_UNIT, "kind")
        self.samples = self._counter("source_samples", "Samples in answers.", *_UNIT)
        self.answered = self._gauge("source_series", "Series in the newest answer.", *_UNIT)
        self.missing = self._gauge(
            "window_missing_seconds", "How much of the window the server has not given when it was read.", *_UNIT
        )
        self.slow_scans = self._counter("source_fallback_scans", "Answers that took the JSON parser.", *_UNIT)
        self.gaps_filled = self._counter(
            "gaps_filled", "Window columns read by range: a whole window at the start, then missed steps.", *_UNIT
        )
        self.late_samples = self._counter("late_samples", "Samples that arrived for a past window column.", *_UNIT)

    # -- events --------------------------------------------------------------------------------------------------------

    def reloaded(self, *, ok: bool, config_hash: str = "") -> None:
        """The config was loaded, or could not be and the old one stays in force."""
        self.reload_ok.set(ok)
        if ok:
            self.reload_time.set(time.time())
            self.config_info.clear()
            self.config_info.labels(config_hash).set(1)

    def observer(self, tenant: str) -> Callable[[str, int], None]:
        """What a source client calls after each request: (outcome, body bytes)."""
        with self._lock:
            children = self._tenant_children.setdefault(tenant, set())
            children |= {(self.received, (tenant,)), (self.requests, (tenant, "ok"))}
            children |= {(self.circuit, (tenant,)), (self.circuit_opened, (tenant,))}
            children |= {(self.empty, (tenant,))} if tenant else set()
            self._make(children)

        def observe(outcome: str, body_bytes: int) -> None:
            with self._lock:
                if self._tenant_children.get(tenant) is children:  # otherwise the tenant has been forgotten meanwhile
                    children.add((self.requests, (tenant, outcome)))
                    self.requests.labels(tenant, outcome).inc()
                    self.received.labels(tenant).inc(body_bytes)

        return observe

    def circuit_changed(self, tenant: str, *, is_open: bool, opened: bool) -> None:
        """A tenant's server is not asked any more, or again; `opened`: given up once more. Others are passed over."""
        with self._lock:
            if (self.circuit, (tenant,)) in self._tenant_children.get(tenant, set()):
                self.circuit.labels(tenant).set(is_open)
                self.circuit_opened.labels(tenant).inc(opened)

    def discovery_failed(self, mechanism: str) -> None:
        """A look for tenants failed."""
        self.discovery_failures.labels(mechanism).inc()

    def tenants_watched(self, listed: int, discovered: int) -> None:
        """So many tenants of the config and of the discovery are watched."""
        self.tenants.labels("config").set(listed)
        self.tenants.labels("discovery").set(discovered)

    def is_empty(self, tenant: str, empty: bool) -> None:
        """Whether no query of a tenant has any series; a tenant that is not known is passed over."""
        with self._lock:
            if (self.empty, (tenant,)) in self._tenant_children.get(tenant, set()):
                self.empty.labels(tenant).set(empty)

    def cycle_skipped(self, tenant: str, query: str) -> None:
        """A cycle was left out because the one before was still running."""
        self._add(self.cycles, tenant, query, "skipped")

    def cycle_late(self, tenant: str, query: str) -> None:
        """A cycle took longer than its interval."""
        self._add(self.cycles, tenant, query, "late")

    def backfilled(self, tenant: str, query: str, ratio: float) -> None:
        """So much of a unit's past is queued; units without a backfill have no such gauge."""
        with self._lock:
            if (tenant, query) in self._children:
                self._set(self.backfill, ratio, tenant, query)

    def window_loaded(self, tenant: str, query: str, share: float) -> None:
        """So much of a unit's window has been read for the first time, 0 to 1; a forgotten unit is passed over."""
        with self._lock:
            if (tenant, query) in self._children:
                self._set(self.loaded, share, tenant, query)

    def record(self, tenant: str, query: str, receipt: CycleReceipt) -> None:
        """Count what one cycle did; a unit that has been forgotten meanwhile is passed over."""
        with self._lock:
            if (tenant, query) not in self._children:
                return
            self._record_source(tenant, query, receipt)
            if not receipt.error:
                self._record_verdicts(tenant, query, receipt)
            self._record_cycle(tenant, query, receipt)

    def _record_cycle(self, tenant: str, query: str, receipt: CycleReceipt) -> None:
        self._bump(self.cycle_cpu, receipt.cpu_s, tenant, query)
        self.cycle_duration.labels(tenant, query).observe(receipt.wall_s)
        self.cycle_lag.labels(tenant, query).set(max(0.0, time.time() - receipt.time_s))
        self.window_bytes.labels(tenant, query).set(receipt.window_bytes)
        # Last of all: who sees a cycle counted may go and read what it did.
        self._bump(self.cycles, 1, tenant, query, "failed" if receipt.error else "ok")

    def _record_source(self, tenant: str, query: str, receipt: CycleReceipt) -> None:
        if receipt.error and receipt.reason not in _NOT_OF_THE_SOURCE:
            self._bump(self.errors, 1, tenant, query, receipt.reason)
        readable = not receipt.error or receipt.reason in _NOT_OF_THE_SOURCE
        self._readable.setdefault(tenant, {})[query] = readable
        self._show_source_up(tenant)
        for kind, count in receipt.remarks.items():
            if kind == _LATE:
                self._bump(self.late_samples, count, tenant, query)
            elif count:
                self._bump(self.warnings, count, tenant, query, kind)
        self._bump(self.samples, receipt.samples, tenant, query)
        self._bump(self.slow_scans, receipt.slow_scans, tenant, query)
        self._bump(self.gaps_filled, receipt.filled_columns, tenant, query)

    def _record_verdicts(self, tenant: str, query: str, receipt: CycleReceipt) -> None:
        for state, count in receipt.states.items():
            self._set(self.series, count, tenant, query, state)
        for model, count in receipt.anomalous.items():
            if model in self._models[tenant, query]:
                self._set(self.anomalous, count, tenant, query, model)
        for model in self._models[tenant, query]:
            self._bump(self.fits, receipt.fitted, tenant, query, model)
        self._bump(self.failed_fits, receipt.failed_rows, tenant, query)
        self._bump(self.judged, receipt.judged, tenant, query)
        self.answered.labels(tenant, query).set(receipt.series)
        self.missing.labels(tenant, query).set(receipt.missing_s)
        self.shed.labels(tenant, query).set(receipt.shed)
        for reason in REFUSALS:
            self._set(self.refused, receipt.refused.get(reason, 0), tenant, query, reason)
        if receipt.newest_s > 0:
            self.verdict_time.labels(tenant, query).set(receipt.newest_s)

    # -- units ---------------------------------------------------------------------------------------------------------

    def register_unit(
        self, tenant: str, query: str, models: Iterable[str], interval_s: int, most_series: int | None = None
    ) -> None:
        """Make a unit's children; known ones keep their values, those of models it no longer has go.

        `interval_s` is how often it is judged, `most_series` how many series it may watch.
        """
        unit = tenant, query
        with self._lock:
            self._models[unit] = tuple(models)
            # In a fixed order: the page lists the children of a metric in the order in which they were made.
            wanted: list[Child] = [(metric, unit) for metric in self._unit_metrics()]
            for metric, words in self._worded_metrics(self._models[unit]):
                wanted += [(metric, (*unit, word)) for word in words]
            old = self._children.get(unit, set())
            gone = {child for child in old.difference(wanted) if child[0] in (self.fits, self.anomalous)}
            self._make(wanted)
            self._remove(gone)
            self._children[unit] = {*wanted, *(old - gone)}
            self.loaded.labels(*unit).set(0)
            self.interval.labels(*unit).set(interval_s)
            self.limit.labels(*unit).set(math.inf if most_series is None else most_series)

    def forget_unit(self, tenant: str, query: str) -> None:
        """Remove a unit's children; the last one of a tenant takes the tenant's along. Unknown units are no error."""
        unit = tenant, query
        with self._lock:
            self._remove(self._children.pop(unit, set()))
            self._models.pop(unit, None)
            self._readable.get(tenant, {}).pop(query, None)
            if any(known == tenant for known, _ in self._children):
                self._show_source_up(tenant)
            else:
                self._remove(self._tenant_children.pop(tenant, set()))
                self._readable.pop(tenant, None)

    def _unit_metrics(self) -> list[MetricWrapperBase]:
        return [
            self.shed, self.limit, self.loaded, self.missing, self.interval,
            self.verdict_time, self.cycle_duration, self.cycle_cpu, self.cycle_lag, self.judged, self.failed_fits,
            self.window_bytes, self.samples, self.answered, self.slow_scans, self.gaps_filled, self.late_samples,
        ]  # fmt: skip

    def _worded_metrics(self, models: tuple[str, ...]) -> list[tuple[MetricWrapperBase, tuple[str, ...]]]:
        return [
            (self.series, STATES), (self.cycles, OUTCOMES), (self.warnings, REMARKS), (self.errors, self._reasons),
            (self.fits, models), (self.anomalous, models), (self.refused, REFUSALS),
        ]  # fmt: skip

    def _show_source_up(self, tenant: str) -> None:
        known = self._readable.get(tenant)
        if known:
            self._tenant_children.setdefault(tenant, set()).add((self.source_up, (tenant,)))
            self.source_up.labels(tenant).set(any(known.values()))

    # -- children ------------------------------------------------------------------------------------------------------

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{SELF_PREFIX}_{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{SELF_PREFIX}_{name}", text, labels, registry=self._registry)

    def _child(self, metric: MetricWrapperBase, *values: str) -> None:
        metric.labels(*values)
        self._children[values[0], values[1]].add((metric, values))

    def _set(self, metric: Gauge, value: float, *values: str) -> None:
        self._child(metric, *values)
        metric.labels(*values).set(value)

    def _bump(self, metric: Counter, amount: float, *values: str) -> None:
        self._child(metric, *values)
        metric.labels(*values).inc(amount)

    def _add(self, metric: Counter, *values: str) -> None:
        with self._lock:
            if (values[0], values[1]) in self._children:
                self._bump(metric, 1, *values)

    def _make(self, children: Iterable[Child]) -> None:
        for metric, values in children:
            metric.labels(*values)

    def _remove(self, children: Iterable[Child]) -> None:
        for metric, values in children:
            metric.remove(*values)
