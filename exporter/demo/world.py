"""The demo's world: which series three tenants have, which queries watch them, and what goes wrong when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from exporter.demo.signals import DAY_S, Floats, Recipe, rhythm, values

TARGET_LABELS = {"job": "demo", "instance": "demo-app"}  # what the scrape adds, so that history and present agree
FOREVER_S = float("inf")
HALF_DAY_S = DAY_S / 2

SPIKE, ZERO, SHIFT, WRONG_TIME, VANISH = "spike", "dip to zero", "level shift", "wrong time of day", "vanished"


@dataclass(frozen=True, slots=True)
class Series:
    """One series of the application: its metric, its own labels, and what it is made of."""

    metric: str
    labels: Mapping[str, str]
    recipe: Recipe
    seed: int

    @property
    def short(self) -> str:
        """The label values, joined: how the table names the series."""
        return "/".join(self.labels.values())

    def text(self, extra: Mapping[str, str] | None = None) -> str:
        """The series as the exposition formats write it. Label values here need no escaping."""
        pairs = ",".join(f'{name}="{value}"' for name, value in {**self.labels, **(extra or {})}.items())
        return f"{self.metric}{{{pairs}}}"

    def values(self, times_s: Floats) -> Floats:
        """The clean values at the given unix times."""
        return values(self.recipe, self.seed, times_s)


@dataclass(frozen=True, slots=True)
class Query:
    """A watched query: ``by`` empty for a plain selector, else the labels its expression groups by."""

    name: str
    expr: str
    metric: str
    by: tuple[str, ...] = ()

    def row_labels(self, series: Series) -> dict[str, str]:
        """The labels under which this query watches a series of its metric."""
        if self.by:
            return {name: series.labels[name] for name in self.by}
        return {**series.labels, **TARGET_LABELS}


@dataclass(frozen=True, slots=True)
class Row:
    """One watched series: a query and the labels of one of its results."""

    query: str
    labels: tuple[tuple[str, str], ...]

    @property
    def short(self) -> str:
        """Query and label values, the tenant first: how the table names the row."""
        own = [pair for pair in self.labels if pair[0] not in TARGET_LABELS]
        return f"{self.query} {'/'.join(value for _, value in sorted(own, key=lambda pair: pair[0] != 'tenant'))}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that goes wrong with one series from ``start_s`` to ``end_s`` (unix seconds).

    ``size`` is relative: of the level for a spike, of the value for a shift.
    """

    kind: str
    series: int
    start_s: float
    end_s: float = FOREVER_S
    size: float = 0.0

    def covers(self, times_s: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Which of the times lie within the event."""
        return np.asarray((times_s >= self.start_s) & (times_s < self.end_s))

    def apply(self, series: Series, times_s: Floats, clean: Floats) -> Floats:
        """The values while the event lasts; NaN where the series is gone."""
        if self.kind == SPIKE:
            return clean + self.size * series.recipe.level
        if self.kind == ZERO:
            return np.zeros_like(clean)
        if self.kind == SHIFT:
            return clean * (1 + self.size)
        if self.kind == WRONG_TIME:
            return series.values(times_s - HALF_DAY_S)
        return np.full_like(clean, np.nan)


@dataclass(slots=True)
class World:
    """All series with the events among them. ``events`` may grow while others read."""

    series: tuple[Series, ...]
    events: list[Event] = field(default_factory=list)

    def values(self, index: int, times_s: Floats) -> Floats:
        """One series at the given unix times with its events applied; NaN where it is gone."""
        series = self.series[index]
        out = series.values(times_s)
        for event in tuple(self.events):
            if event.series == index:
                within = event.covers(times_s)
                out = np.where(within, event.apply(series, times_s, out), out)
        return out

    def find(self, metric: str, **labels: str) -> int:
        """Index of the series of a metric whose labels include the given ones; KeyError unless it is exactly one."""
        found = [i for i, s in enumerate(self.series) if s.metric == metric and labels.items() <= s.labels.items()]
        if len(found) != 1:
            raise KeyError(f"{metric} {labels}: {len(found)} series")
        return found[0]


QUERIES = (
    Query("requests", "demo_requests_per_second", "demo_requests_per_second"),
    Query("latency", "demo_request_duration_seconds", "demo_request_duration_seconds"),
    Query("queue", "demo_queue_length", "demo_queue_length"),
    Query("cpu", "demo_cpu_cores", "demo_cpu_cores"),
    Query("network", "demo_network_bytes_per_second", "demo_network_bytes_per_second"),
    Query("workers", "demo_worker_limit", "demo_worker_limit"),
    Query("tenant_cpu", "sum by (tenant) (demo_cpu_cores)", "demo_cpu_cores", ("tenant",)),
    Query(
        "error_ratio",
        'sum by (tenant, service) (demo_responses_per_second{class="5xx"})'
        " / sum by (tenant, service) (demo_responses_per_second)",
        "demo_responses_per_second",
        ("tenant", "service"),
    ),
)

_TRAFFIC = {"shop": 800.0, "payments": 90.0, "search": 4000.0}  # requests per second of each tenant
_LATENCY_S = {"shop": 0.06, "payments": 0.25, "search": 0.004}
_PEAK_HOURS = {"eu": 13.0, "us": 21.0, "ap": 5.0}  # UTC; eight hours apart
_QUEUES = {"orders": 40.0, "mails": 8.0, "retries": 0.4}


def build(seed: int) -> World:
    """The world of a seed, without events: 72 series of 7 metrics, scales from 1e-3 to 1e9."""
    specs = [*_requests(), *_latencies(), *_queues(), *_responses(), *_machines()]
    series = (Series(metric, labels, recipe, seed * 1000 + 10 * i) for i, (metric, labels, recipe) in enumerate(specs))
    return World(tuple(series))


Spec = tuple[str, dict[str, str], Recipe]


def _requests() -> Iterator[Spec]:
    for (tenant, level), (region, peak), share in product(_TRAFFIC.items(), _PEAK_HOURS.items(), (1.0, 0.3)):
        recipe = Recipe(level * share, daily=0.5, weekend=0.2, peak_hour=peak, noise=0.04)
        labels = {"tenant": tenant, "region": region, "service": "web" if share == 1 else "api"}
        yield "demo_requests_per_second", labels, recipe


def _latencies() -> Iterator[Spec]:
    for (tenant, level), service, quantile in product(_LATENCY_S.items(), ("web", "api"), ("0.5", "0.99")):
        slow = quantile == "0.99"
        burst = 1.5 if slow and service == "api" else 0.0
        recipe = Recipe(level * (4 if slow else 1), daily=0.12, noise=0.12 if slow else 0.05, burst=burst)
        labels = {"tenant": tenant, "service": service, "quantile": quantile}
        yield "demo_request_duration_seconds", labels, recipe


def _queues() -> Iterator[Spec]:
    for tenant, (queue, level) in product(_TRAFFIC, _QUEUES.items()):
        yield "demo_queue_length", {"tenant": tenant, "queue": queue}, Recipe(level, daily=0.3, count=True)


def _responses() -> Iterator[Spec]:
    for (tenant, level), service, status in product(_TRAFFIC.items(), ("web", "api"), ("2xx", "5xx")):
        failed = status == "5xx"
        recipe = Recipe(level * (0.004 if failed else 1), daily=0.4, weekend=0.2, noise=0.2 if failed else 0.03)
        labels = {"tenant": tenant, "service": service, "class": status}
        yield "demo_responses_per_second", labels, recipe


def _machines() -> Iterator[Spec]:
    for tenant, node in product(_TRAFFIC, ("a", "b", "c", "d")):
        yield "demo_cpu_cores", {"tenant": tenant, "node": node}, Recipe(2.5, daily=0.3, weekend=0.1, noise=0.07)
    for tenant, direction in product(_TRAFFIC, ("in", "out")):
        recipe = Recipe(1.2e9, daily=0.35, weekend=0.1, noise=0.05)
        yield "demo_network_bytes_per_second", {"tenant": tenant, "direction": direction}, recipe
    for tenant in _TRAFFIC:
        yield "demo_worker_limit", {"tenant": tenant}, Recipe(16.0)


def past_events(world: World, now_s: float) -> list[Event]:
    """What went wrong in the last two weeks, minutes to hours each: the history is not clean, but mostly is."""

    def ago(days: float, minutes: float, kind: str, size: float, metric: str, **labels: str) -> Event:
        start = now_s - days * DAY_S
        return Event(kind, world.find(metric, **labels), start, start + 60 * minutes, size)

    requests, responses = "demo_requests_per_second", "demo_responses_per_second"
    return [
        ago(3.2, 15, SPIKE, 2.0, requests, tenant="shop", region="us", service="api"),
        ago(7.4, 10, SPIKE, 1.0, requests, tenant="payments", region="us", service="web"),
        ago(8.1, 20, ZERO, 0, requests, tenant="payments", region="eu", service="web"),
        ago(11.3, 10, ZERO, 0, requests, tenant="shop", region="eu", service="web"),
        ago(6.6, 120, WRONG_TIME, 0, requests, tenant="search", region="eu", service="web"),
        ago(10.2, 120, SHIFT, 0.6, "demo_request_duration_seconds", tenant="payments", service="web", quantile="0.5"),
        ago(5.3, 180, SHIFT, -0.45, "demo_network_bytes_per_second", tenant="search", direction="out"),
        ago(9.7, 30, SPIKE, 2.0, responses, tenant="search", service="web", **{"class": "5xx"}),
        ago(4.5, 240, VANISH, 0, "demo_queue_length", tenant="payments", queue="mails"),
    ]


def events_now(world: World, now_s: float, spike_s: float) -> list[Event]:
    """What goes wrong now. Only the spike passes again, after ``spike_s`` seconds."""
    requests, latency = "demo_requests_per_second", "demo_request_duration_seconds"
    failures = world.find("demo_responses_per_second", tenant="shop", service="api", **{"class": "5xx"})
    spike = world.find(requests, tenant="shop", region="eu", service="web")
    zero = world.find(requests, tenant="payments", region="us", service="web")
    slower = world.find(latency, tenant="search", service="web", quantile="0.5")
    quieter = world.find("demo_network_bytes_per_second", tenant="payments", direction="out")
    return [
        Event(SPIKE, spike, now_s, now_s + spike_s, 3.0),
        Event(SPIKE, failures, now_s, size=8.0),
        Event(ZERO, zero, now_s),
        Event(SHIFT, slower, now_s, size=0.6),
        Event(SHIFT, quieter, now_s, size=-0.45),
        Event(WRONG_TIME, farthest_from_half_a_day_ago(world, now_s), now_s),
        Event(VANISH, world.find("demo_queue_length", tenant="shop", queue="orders"), now_s),
    ]


def farthest_from_half_a_day_ago(world: World, now_s: float) -> int:
    """The series of search's API whose rhythm differs most from 12 hours ago.

    Twice a day a rhythm has the same value as half a day before, and a swap of the two changes nothing; with peaks
    eight hours apart one of the three regions is always far from that.
    """
    times = np.array([now_s, now_s - HALF_DAY_S])
    regions = [world.find("demo_requests_per_second", tenant="search", region=r, service="api") for r in _PEAK_HOURS]
    return max(regions, key=lambda i: abs(float(np.diff(rhythm(world.series[i].recipe, times))[0])))


def watched_rows(world: World) -> dict[Row, tuple[int, ...]]:
    """Every row the queries watch, with the indices of the series it is made of."""
    made_of: dict[Row, list[int]] = {}
    for query in QUERIES:
        for index, series in enumerate(world.series):
            if series.metric == query.metric:
                row = Row(query.name, tuple(sorted(query.row_labels(series).items())))
                made_of.setdefault(row, []).append(index)
    return {row: tuple(indices) for row, indices in made_of.items()}


def rows_of_event(world: World, event: Event) -> list[Row]:
    """The watched rows an event shows in."""
    return [row for row, indices in watched_rows(world).items() if event.series in indices]
