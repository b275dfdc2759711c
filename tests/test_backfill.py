"""Backfills: what a receiver ends up with when the past is written beside live cycles, whatever fails meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import requests
from prometheus_client import CollectorRegistry
from support.receiver import Ledger, Posted, Receiver, Reply, receiver
from support.servers import wait_until
from support.store import Store

from exporter.app import App
from exporter.backfill import Backfills, Task, asks_receiver, by_kind, not_known
from exporter.config import QueueConfig, RemoteWrite, parse
from exporter.config.schema import Query
from exporter.errors import ConfigError, SourceRefused, SourceUnavailable
from exporter.names import DETECTABLE, EXPECTED, FAMILIES, SCORE, STALE, UPPER, VALUE
from exporter.past import Slice
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.remote_write.outlet import Outlet
from exporter.publish.remote_write.unit_writer import UnitWriter
from exporter.publish.unit_page import UnitPage
from exporter.verdict import Bands

DAY = 86_400
STEP = 1800
NOW_S = 19_700 * DAY + 600  # ten minutes into a column
ASKED = Query("m", "m", interval_s=STEP, step_s=STEP, window_s=2 * DAY, signals=("stale",))
SERIES = 3
AWAY = SourceUnavailable("nobody is there", reason="connect")
WRONG = SourceRefused("no such function", reason="bad_query")


@dataclass
class Clock:
    """The time of day, which goes on only when the test says so."""

    now_s: float = NOW_S

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Watched:
    """A unit as far as a backfill asks for it."""

    tenant: str = ""
    query: Query = ASKED
    key: str = "m"
    last: object = "a receipt"


class Reads(Store):
    """A server in memory that calls back before each range read."""

    before: Callable[[], None] = staticmethod(lambda: None)

    def range(self, *span):
        self.before()
        return super().range(*span)


@dataclass
class Stand:
    """One unit with its live page, an outlet to a receiver, and the backfill of a day."""

    back: Receiver
    outlet: Outlet
    store: Reads = field(default_factory=lambda: stored())
    clock: Clock = field(default_factory=Clock)
    unit: Watched = field(default_factory=Watched)
    ratios: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live = self.page()
        self.live.admit((row, {"i": str(row)}) for row in range(SERIES))
        self.backfills = Backfills(DAY, lambda tenant, query, ratio: self.ratios.append(ratio), self.clock)

    def page(self) -> UnitPage:
        models = [model.name for model in ASKED.models]
        writer = UnitWriter(self.outlet, "m", FAMILIES, models)
        return UnitPage(None, "m", {"query": "m"}, models, FAMILIES, writer)

    def plan(self, known=not_known) -> None:
        self.backfills.plan(Task(self.unit, self.live, self.page(), lambda: self.store, known))

    def run(self, known=not_known) -> None:
        self.plan(known)
        self.backfills.start()
        self.backfills.wait()

    def show(self, time_s: float, score: float = 0.5) -> None:
        """A live cycle as of a time that judges a sample of that time."""
        rows = np.arange(SERIES)
        self.live.begin(int(time_s))
        self.live.render(SCORE, "shesd", rows, np.full(SERIES, score), 9, np.full(SERIES, int(time_s * 1000)))
        self.live.show()

    def flush(self) -> None:
        self.outlet.finish(20)
        assert self.outlet.wait() == 0


def stored() -> Reads:
    rng = np.random.default_rng(8)
    t = np.arange(NOW_S // STEP * STEP - 4 * DAY, NOW_S + 2 * DAY, STEP)
    store = Reads(step_s=STEP)
    for i in range(SERIES):
        store.put({"__name__": "m", "i": str(i)}, t, 50 + 10 * np.sin(2 * np.pi * t / DAY) + rng.normal(0, 1, len(t)))
    return store


@contextmanager
def stand(respond=None, **queue: float) -> Iterator[tuple[Stand, Ledger]]:
    ledger = Ledger()
    with receiver(respond or ledger.respond) as back:
        outlet = Outlet(WriteMetrics(CollectorRegistry()))
        config = QueueConfig(**{"batch_send_deadline_s": 0.05, "max_backoff_s": 0.05} | queue)
        outlet.adopt([RemoteWrite("t", back.url, queue=config)], lambda target: requests.Session())
        try:
            yield Stand(back, outlet), ledger
        finally:
            outlet.finish(0)
            outlet.wait()


def times_of(ledger: Ledger, family: str = "anomaly_score", i: int = 0, model: str = "shesd") -> list[int]:
    """Seconds at which a series has samples, in the order in which they came."""
    found = [
        samples
        for labels, samples in ledger.series.items()
        if {"__name__": family, "i": str(i), "model": model}.items() <= dict(labels).items()
    ]
    return [time_ms // 1000 for samples in found for time_ms, _ in samples]


def columns(until_s: float = NOW_S, span_s: int = DAY, first_s: float = NOW_S) -> list[int]:
    """The grid times of a backfill that starts at `first_s`, up to a time."""
    first = -(-int(first_s - span_s) // STEP)
    return [k * STEP for k in range(first, int(until_s) // STEP + 1)]


def refused(back: Receiver) -> int:
    return len(back.posted) - len(back.taken)


def test_the_past_comes_first_and_the_live_results_follow() -> None:
    with stand() as (made, ledger):
        made.plan()
        made.show(NOW_S - 60)
        made.backfills.start()
        made.backfills.wait()
        made.show(NOW_S - 1200, score=9.0)  # judged already: it stands for the column that ended ten minutes ago
        made.show(NOW_S + 60)
        made.flush()
        for i in range(SERIES):
            assert times_of(ledger, i=i) == [*columns(), NOW_S + 60]
            assert times_of(ledger, "anomaly_value", i, "robust_band") == columns()
        stale = [labels for labels in ledger.series if dict(labels)["__name__"] == "anomaly_stale_score"]
        assert len(stale) == SERIES
        assert refused(made.back) == 0
        assert made.ratios[0] == 0
        assert made.ratios[-1] == 1
        assert made.ratios == sorted(made.ratios)


def test_it_catches_up_with_the_time_that_passes_meanwhile() -> None:
    with stand() as (made, ledger):
        passing = iter([3 * STEP, STEP, STEP - 600 - 40])  # the last leaves 40 s of a column

        def later() -> None:
            made.clock.now_s += next(passing, 0)

        made.store.before = later
        made.run()
        made.show(made.clock.now_s + 10)
        made.flush()
        assert times_of(ledger) == [*columns(made.clock.now_s), made.clock.now_s + 10]
        assert len(columns(made.clock.now_s)) > len(columns())
        assert refused(made.back) == 0


def test_at_the_very_end_of_a_column_it_waits_for_its_last_sample() -> None:
    with stand() as (made, ledger):
        made.clock.now_s = end_s = NOW_S - 600 + STEP - 0.5
        made.plan()
        made.backfills.start()
        wait_until(lambda: made.ratios[-1] == 1, "all but the last column")
        time.sleep(0.5)
        assert made.backfills._thread.is_alive()
        made.clock.now_s += 10
        made.backfills.wait()
        made.flush()
        assert times_of(ledger) == columns(made.clock.now_s, first_s=end_s)


def test_it_begins_after_the_first_cycle_of_its_unit() -> None:
    with stand() as (made, _):
        made.unit.last = None
        made.plan()
        made.backfills.start()
        time.sleep(0.5)
        assert made.store.reads == []
        made.unit.last = "a receipt"
        made.backfills.wait()
        assert made.store.reads


def test_a_source_that_goes_away_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with stand() as (made, ledger):
        calls = iter(range(100))

        def sometimes() -> None:
            if next(calls) in (0, 1, 3):
                raise AWAY

        made.store.before = sometimes
        made.run()
        made.flush()
        assert times_of(ledger) == columns()
        assert refused(made.back) == 0
        assert caplog.text.count("backfill waits for the source: nobody is there") == 2  # two outages


def test_a_final_refusal_sets_the_live_results_free(caplog: pytest.LogCaptureFixture) -> None:
    with stand() as (made, ledger):
        made.store.fail = WRONG
        made.run()
        made.show(NOW_S + 60)
        made.flush()
        assert times_of(ledger) == [NOW_S + 60]
        assert "backfill given up, live results are written from now on: no such function" in caplog.text
        assert made.ratios == [0.0]


def test_a_mistake_of_ours_sets_the_live_results_free(caplog: pytest.LogCaptureFixture) -> None:
    with stand() as (made, ledger):
        made.store.before = lambda: 1 / 0
        made.run()
        made.show(NOW_S + 60)
        made.flush()
        assert times_of(ledger) == [NOW_S + 60]
        assert "internal error" in caplog.text


def test_a_receiver_that_is_away_is_waited_for_and_nothing_is_lost() -> None:
    ledger, down = Ledger(), threading.Event()
    down.set()

    def respond(posted: Posted) -> Reply:
        return Reply(503) if down.is_set() else ledger.respond(posted)

    with stand(respond, capacity=400, max_samples_per_send=100) as (made, _):
        made.plan()
        made.backfills.start()
        wait_until(lambda: made.ratios[-1] > 0, "it is judged")
        sender = next(iter(made.outlet._senders.values()))
        wait_until(lambda: sender.queue.samples >= 200, "the queue is half full")
        time.sleep(0.5)
        assert 200 <= sender.queue.samples <= 300
        assert made.ratios[-1] < 1
        down.clear()
        made.backfills.wait()
        made.flush()
        assert times_of(ledger) == columns()
        assert {len(times_of(ledger, "anomaly_upper", i)) for i in range(SERIES)} == {len(columns())}


def newest(ledger: Ledger) -> Callable[[float, float], float]:
    """What a receiver says when it is asked."""
    return lambda start_s, end_s: max(time_ms for time_ms, _ in ledger.newest.values()) / 1000


def test_a_stop_in_the_middle_and_a_restart_write_each_sample_once() -> None:
    ledger, slow = Ledger(), threading.Event()

    def respond(posted: Posted) -> Reply:
        slow.wait(0.02)
        return ledger.respond(posted)

    with stand(respond, capacity=100, max_samples_per_send=50) as (made, _):
        made.plan()
        made.backfills.start()
        wait_until(lambda: len(times_of(ledger)) > 5, "some of it")
        made.backfills.stop()
        made.backfills.wait()
        made.show(NOW_S + 60)  # nothing after a stop
        made.flush()
        assert refused(made.back) == 0
    first = times_of(ledger)
    assert 5 < len(first) < len(columns())
    assert first == columns()[: len(first)]
    with stand(ledger.respond) as (made, _):
        made.clock.now_s = NOW_S + STEP
        made.run(newest(ledger))
        made.show(NOW_S + STEP + 60)
        made.flush()
        assert refused(made.back) == 0
    for family in ("anomaly_score", "anomaly_lower", "anomaly_value"):
        for i in range(SERIES):
            # An interval after the newest result is left out: a stale marker may stand there.
            wanted = [at for at in columns(NOW_S + STEP) if at != first[-1] + STEP]
            live = [NOW_S + STEP + 60] if family == "anomaly_score" else []
            assert times_of(ledger, family, i) == wanted + live


def test_a_restart_with_nothing_missing_writes_nothing_of_the_past() -> None:
    ledger = Ledger()
    with stand(ledger.respond) as (made, _):
        made.run()
        made.flush()
    taken = dict(ledger.series)
    with stand(ledger.respond) as (made, _):
        made.run(newest(ledger))
        assert made.ratios == [0.0, 1.0]
        assert made.store.reads == []
        made.flush()
        assert made.back.posted == []
    assert ledger.series == taken


def test_a_unit_that_a_reload_replaces_goes_on_after_what_was_written() -> None:
    ledger = Ledger()
    with stand(ledger.respond, capacity=100, max_samples_per_send=50) as (made, _):
        made.plan()
        made.backfills.start()
        wait_until(lambda: len(times_of(ledger)) > 5, "some of it")
        made.backfills.keep({"m": Watched()})
        made.live.close()
        made.live = made.page()
        made.live.admit((row, {"i": str(row)}) for row in range(SERIES))
        made.show(NOW_S - 4 * DAY)  # long written
        made.show(NOW_S + 60)
        made.backfills.wait()
        made.flush()
        found = times_of(ledger)
        assert found == [*columns()[: len(found) - 1], NOW_S + 60]
        assert refused(made.back) == 0


def test_nothing_is_planned_without_a_flag_and_after_the_start() -> None:
    assert not Backfills(0, lambda *_: None).planning
    backfills = Backfills(DAY, lambda *_: None)
    assert backfills.planning
    backfills.start()
    assert not backfills.planning
    backfills.stop()
    backfills.wait()


def a_slice() -> Slice:
    score = np.array([[0.5, 1.5, np.nan]])
    return Slice(np.arange(3), np.ones((1, 3)), {"shesd": Bands(score, score, score, score)}, {"stale": score})


def test_what_is_written_follows_publish() -> None:
    assert len(by_kind(a_slice(), ASKED)) == 6
    assert set(by_kind(a_slice(), replace(ASKED, publish="score"))) == {(SCORE, "shesd"), (STALE, "")}
    found = by_kind(a_slice(), replace(ASKED, publish="anomalous"))
    for family in (EXPECTED, UPPER, VALUE):
        assert np.isnan(found[family, "shesd"][0]).tolist() == [True, False, True]
    assert np.isnan(found[SCORE, "shesd"][0]).tolist() == [False, False, True]


def test_the_smallest_change_that_is_noticed_is_written_where_it_is_published() -> None:
    bands = Bands(*(np.array([[level, np.nan]]) for level in (0.5, 10.0, 7.0, 12.0)))
    found = by_kind(Slice(np.arange(2), np.ones((1, 2)), {"shesd": bands}, {}), replace(ASKED, detectability=True))
    np.testing.assert_allclose(found[DETECTABLE, "shesd"], [[0.2, np.nan]])


CONFIG = """
source: {url: "http://h:9090/prometheus"}
queries: [{name: up, expr: up}]
"""


@pytest.mark.parametrize(
    ("url", "asked"),
    [("http://h:9090/api/v1/write", True), ("http://other:9090/api/v1/write", False),
     ("http://h:9091/api/v1/write", False), ("https://h:9090/api/v1/write", False)],
)  # fmt: skip
def test_a_receiver_that_is_the_source_is_asked(url: str, asked: bool) -> None:
    config = parse(f"{CONFIG}remote_write: [{{url: '{url}'}}]\n", "f.yml", {})
    assert asks_receiver(config) is asked
    both = replace(config, remote_write=(RemoteWrite("x", "http://x/w"), *config.remote_write))
    assert asks_receiver(both) is asked


def test_without_remote_write_it_is_a_config_error(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text(CONFIG)
    with pytest.raises(ConfigError, match="remote_write: missing, but --backfill writes by it"):
        App(str(file), backfill_s=DAY)
