"""What is new, what repeats, what has ended: by row, against a slow twin with a dictionary."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from naive.remote_write import bits_of

from exporter.publish.remote_write.trail import NEVER, Trail
from exporter.publish.remote_write.wire import STALE_BITS

ROWS = 5
CYCLES = st.lists(
    st.dictionaries(
        st.integers(0, ROWS - 1),
        st.tuples(st.sampled_from([1.5, -0.0, math.inf, math.nan]), st.integers(-3, 3)),
        max_size=ROWS,
    ),
    max_size=20,
)


class Twin:
    """One row at a time."""

    def __init__(self) -> None:
        self.newest: dict[int, int] = {}
        self.live: set[int] = set()

    def due(self, cycle: dict[int, tuple[float, int]], cycle_ms: int) -> set[tuple[int, int, int]]:
        found = set()
        for row, (value, time_ms) in cycle.items():
            if not math.isnan(value) and time_ms > self.newest.get(row, NEVER):
                found.add((row, bits_of(value), time_ms))
        for row in self.live - {row for row, (value, _) in cycle.items() if not math.isnan(value)}:
            end_ms = cycle[row][1] if row in cycle else cycle_ms
            found.add((row, STALE_BITS, max(end_ms, self.newest[row] + 1)))
        for row, bits, time_ms in found:
            self.newest[row] = time_ms
            (self.live.discard if bits == STALE_BITS else self.live.add)(row)
        return found


@given(CYCLES)
def test_a_trail_says_what_its_twin_says_and_times_only_grow(cycles):
    trail, twin = Trail(np.full(ROWS, NEVER)), Twin()
    newest: dict[int, int] = {}
    for number, cycle in enumerate(cycles):
        cycle_ms = 10 * number
        cycle = {row: (value, cycle_ms + off) for row, (value, off) in sorted(cycle.items())}
        rows = np.array(list(cycle), np.int64)
        values = np.array([value for value, _ in cycle.values()])
        times = np.array([time for _, time in cycle.values()], np.int64)
        due = trail.due(rows, values, times, cycle_ms)
        found = list(zip(due.rows.tolist(), due.bits.tolist(), due.times_ms.tolist(), strict=True))
        assert len(found) == len({row for row, _, _ in found})
        assert set(found) == twin.due(cycle, cycle_ms)
        for row, _, time_ms in found:
            assert time_ms > newest.get(row, NEVER)
            newest[row] = time_ms


def step(trail: Trail, value: float, time_ms: int, cycle_ms: int) -> list[tuple[int, int]]:
    due = trail.due(np.array([0]), np.array([value]), np.array([time_ms]), cycle_ms)
    return list(zip(due.bits.tolist(), due.times_ms.tolist(), strict=True)), due.late


def test_a_sample_from_before_a_marker_is_counted_once_and_not_sent():
    trail = Trail(np.full(1, NEVER))
    assert step(trail, 1.0, 90, 100) == ([(bits_of(1.0), 90)], 0)
    nothing = np.empty(0, np.int64)
    assert trail.due(nothing, np.empty(0), nothing, 200).times_ms.tolist() == [200]
    assert step(trail, 1.0, 199, 210) == ([], 1)
    assert step(trail, 1.0, 199, 220) == ([], 0)
    assert step(trail, 2.0, 230, 230) == ([(bits_of(2.0), 230)], 0)


def test_what_another_has_written_is_neither_sent_nor_a_loss():
    trail = Trail(np.array([100]))
    assert step(trail, 1.0, 99, 110) == ([], 0)
    assert step(trail, 1.0, 100, 120) == ([], 0)
    assert step(trail, 1.0, 101, 130) == ([(bits_of(1.0), 101)], 0)


def test_a_row_with_a_new_owner_starts_anew():
    trail = Trail(np.full(1, NEVER))
    step(trail, 1.0, 90, 100)
    trail.admit(np.array([0, 1]), np.array([NEVER, 50]))
    assert trail.newest_ms.tolist() == [NEVER, 50]
    assert trail.end_all(200).rows.tolist() == []
    assert step(trail, 1.0, 10, 100) == ([(bits_of(1.0), 10)], 0)


def test_an_end_comes_once():
    trail = Trail(np.full(2, NEVER))
    trail.append(np.array([0, 1]), np.array([1.0, 2.0]), np.array([10, 500]))
    assert trail.end(np.array([0]), 100).times_ms.tolist() == [100]
    assert trail.end_all(100).times_ms.tolist() == [501]
    assert trail.end_all(600).times_ms.tolist() == []
