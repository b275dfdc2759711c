"""Threads shared fairly: no lane can take those of another."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from exporter.lanes import Lanes

PATIENCE_S = 30


class Crowd:
    """Pieces of work that wait until they are released, and know how many run at once."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.changed = threading.Condition()
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.done: list[str] = []

    def hang(self, lane: str) -> None:
        with self.changed:
            self.running[lane] += 1
            self.most[lane] = max(self.most[lane], self.running[lane])
            self.changed.notify_all()
        self.release.wait(PATIENCE_S)
        self.finish(lane)
        with self.changed:
            self.running[lane] -= 1

    def finish(self, lane: str) -> None:
        with self.changed:
            self.done.append(lane)
            self.changed.notify_all()

    def wait_for(self, true: object) -> bool:
        with self.changed:
            return self.changed.wait_for(true, PATIENCE_S)  # type: ignore[arg-type]


def test_a_lane_that_hangs_with_much_work_leaves_the_others_their_threads() -> None:
    lanes, crowd = Lanes(4), Crowd()
    for _ in range(100):
        lanes.put("stuck", 1000, lambda: crowd.hang("stuck"))
    assert crowd.wait_for(lambda: crowd.running["stuck"] == 4)
    for lane in "abcdef":
        lanes.put(lane, 2, lambda lane=lane: crowd.finish(lane))
        lanes.put(lane, 2, lambda lane=lane: crowd.finish(lane))
    assert crowd.wait_for(lambda: len(crowd.done) == 12)
    crowd.release.set()
    assert crowd.wait_for(lambda: crowd.done.count("stuck") == 100)
    assert crowd.most["stuck"] == 4


def test_a_lane_runs_no_more_at_once_than_it_may() -> None:
    lanes, crowd = Lanes(8), Crowd()
    for _ in range(10):
        lanes.put("a", 3, lambda: crowd.hang("a"))
    assert crowd.wait_for(lambda: crowd.running["a"] == 3)
    crowd.release.set()
    assert crowd.wait_for(lambda: len(crowd.done) == 10)
    assert crowd.most["a"] == 3


def test_lanes_take_turns_where_all_threads_are_busy() -> None:
    lanes, crowd = Lanes(1), Crowd()
    lanes.put("a", 5, lambda: crowd.hang("a"))
    assert crowd.wait_for(lambda: crowd.running["a"] == 1)
    for _ in range(4):
        lanes.put("a", 5, lambda: crowd.finish("a"))
    gate = threading.Event()
    lanes.put("b", 5, lambda: gate.wait(PATIENCE_S))  # the thread that each lane has beyond the workers
    lanes.put("b", 5, lambda: crowd.finish("b"))
    gate.set()
    crowd.release.set()
    assert crowd.wait_for(lambda: len(crowd.done) == 6)
    assert Counter(crowd.done) == {"a": 5, "b": 1}


def test_work_that_raises_costs_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    lanes, crowd = Lanes(1), Crowd()
    for _ in range(3):
        lanes.put("a", 1, lambda: 1 / 0)
    lanes.put("a", 1, lambda: crowd.finish("a"))
    assert crowd.wait_for(lambda: crowd.done == ["a"])
    assert caplog.text.count("ZeroDivisionError") == 3


def test_work_that_finds_no_thread_waits_and_begins_later() -> None:
    lanes, crowd = Lanes(4), Crowd()
    usual = threading.stack_size(1 << 46)  # more than there are addresses: as where a process may have no more threads
    try:
        lanes.put("a", 2, lambda: crowd.finish("a"))
        lanes.put("b", 2, lambda: crowd.finish("b"))
    finally:
        threading.stack_size(usual)
    assert crowd.done == []
    lanes.go_on()
    assert crowd.wait_for(lambda: sorted(crowd.done) == ["a", "b"])
    for _ in range(3):
        lanes.put("a", 2, lambda: crowd.hang("a"))
    assert crowd.wait_for(lambda: crowd.running["a"] == 2)  # none is counted that has not begun
    crowd.release.set()
    assert crowd.wait_for(lambda: crowd.done.count("a") == 4)


def test_after_the_end_nothing_begins() -> None:
    lanes, crowd = Lanes(1), Crowd()
    lanes.put("a", 1, lambda: crowd.hang("a"))
    assert crowd.wait_for(lambda: crowd.running["a"] == 1)
    lanes.put("a", 1, lambda: crowd.finish("never"))
    lanes.close()
    lanes.put("b", 1, lambda: crowd.finish("never"))
    crowd.release.set()
    assert crowd.wait_for(lambda: crowd.done == ["a"])
    assert crowd.wait_for(lambda: crowd.running["a"] == 0)
    assert crowd.done == ["a"]
