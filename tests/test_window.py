"""The ring: what lands in which cell, what is refused, and that nothing but float32 rounding is lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.samples import SampleBatch
from exporter.window import NEVER, Window, suitable_offset

STEP = 60


def batch(series: list[list[tuple[float, float]]]) -> SampleBatch:
    """Series as lists of (time in s, value)."""
    count = [len(points) for points in series]
    flat = [point for points in series for point in points]
    n = len(series)
    return SampleBatch(
        body=np.zeros(0, np.uint8),
        label_start=np.zeros(n, np.int64),
        label_end=np.zeros(n, np.int64),
        label_hash=np.arange(n, dtype=np.uint64),
        first=np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        time_ms=np.array([round(t * 1000) for t, _ in flat], np.int64),
        value=np.array([v for _, v in flat], np.float64),
    )


def window(rows: int = 1, columns: int = 8, head: int = 10) -> Window:
    made = Window(columns, 2, STEP)
    made.grow(rows)
    made.advance(head)
    return made


def cells(made: Window, row: int = 0) -> dict[int, float]:
    """Column -> true value of a row's filled cells."""
    found = {}
    for column in range(made.head - made.size + 1, made.head + 1):
        value = made.ring[row, column % made.size]
        if not np.isnan(value):
            found[column] = float(value) + made.offset[row]
    return found


ROW0 = np.array([0])


def test_a_sample_lands_in_the_cell_that_ends_at_or_after_it():
    made = window()
    made.write_newest(ROW0, batch([[(9 * STEP - 59, 1.0), (9 * STEP, 2.0), (9 * STEP + 1, 3.0)]]))
    assert cells(made) == {9: 2.0, 10: 3.0}
    assert made.last_value[0] == 3.0
    assert made.newest_columns().tolist()[0] == 10


def test_an_older_sample_fills_a_gap_but_replaces_nothing():
    made = window()
    made.write_newest(ROW0, batch([[(9 * STEP, 2.0), (10 * STEP, 5.0)]]))
    written = made.write_newest(ROW0, batch([[(8 * STEP, 7.0), (9 * STEP - 1, 9.0)]]))
    assert cells(made) == {8: 7.0, 9: 2.0, 10: 5.0}
    assert (written.late, made.last_value[0]) == (1, 5.0)


def test_an_equal_time_is_a_duplicate():
    made = window()
    made.write_newest(ROW0, batch([[(10 * STEP, 5.0)]]))
    written = made.write_newest(ROW0, batch([[(10 * STEP, 6.0)]]))
    assert (written.duplicate, cells(made)) == (1, {10: 5.0})


def test_the_future_and_the_distant_past_are_refused():
    made = window()
    written = made.write_newest(ROW0, batch([[(STEP * 0.5, 1.0), (10 * STEP, 5.0), (12 * STEP, 9.0)]]))
    assert cells(made) == {10: 5.0, 1: 1.0}
    assert written.future == 1
    made.advance(30)
    assert made.write_newest(ROW0, batch([[(11 * STEP, 1.0)]])).too_old == 0  # it is the row's newest all the same
    assert made.write_newest(ROW0, batch([[(10.5 * STEP, 1.0)]])).too_old == 1
    assert cells(made) == {}


def test_advancing_empties_what_it_passes_and_never_goes_back():
    made = window()
    made.write_grid(ROW0, batch([[(c * STEP, float(c)) for c in range(1, 11)]]))
    made.advance(13)
    assert cells(made) == {float(c): float(c) for c in range(4, 11)}
    made.advance(12)
    assert made.head == 13
    made.advance(13 + made.size)
    assert cells(made) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_sample(value):
    made = window()
    made.write_newest(ROW0, batch([[(9 * STEP, 4.0)]]))
    written = made.write_newest(ROW0, batch([[(10 * STEP, value)]]))
    assert (written.not_finite, cells(made), made.last_ms[0]) == (1, {9: 4.0}, 9 * STEP * 1000)
    made.write_grid(ROW0, batch([[(8 * STEP, value)]]))
    assert cells(made) == {9: 4.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_a_cell_ends_with_its_last_sample_as_a_range_read_has_it(value):
    live, read_later = window(), window()
    samples = [(8 * STEP + 10, 1.0), (8 * STEP + 20, value)]
    live.write_newest(ROW0, batch([samples[:1]]))
    live.write_newest(ROW0, batch([samples]))
    assert cells(live) == {}
    live.write_newest(ROW0, batch([[*samples, (9 * STEP + 10, 3.0)]]))
    live.write_newest(ROW0, batch([[*samples, (9 * STEP + 10, 3.0)]]))  # seen again in a look-back
    read_later.write_grid(ROW0, batch([[(9 * STEP, value), (10 * STEP, 3.0)]]))
    assert cells(live) == cells(read_later) == {10: 3.0}
    live.write_newest(ROW0, batch([[(9 * STEP + 20, value), (9 * STEP + 30, 4.0)]]))
    assert cells(live) == {10: 4.0}


def test_huge_values_are_judged_but_are_gaps_in_the_ring():
    made = window()
    made.write_newest(ROW0, batch([[(10 * STEP, 1e300)]]))
    assert (cells(made), made.last_value[0]) == ({}, 1e300)


def test_the_grid_replaces_what_a_provisional_sample_left():
    made = window()
    made.write_newest(ROW0, batch([[(8 * STEP + 30, 1.0)]]))
    made.write_grid(ROW0, batch([[(9 * STEP, 2.0)]]))
    assert cells(made) == {9: 2.0}
    assert made.last_value[0] == 1.0


def test_refused_series_are_left_out():
    made = window(rows=2)
    made.write_newest(np.array([-2, 1]), batch([[(10 * STEP, 1.0)], [(10 * STEP, 2.0)]]))
    assert (cells(made, 0), cells(made, 1)) == ({}, {10: 2.0})


def test_growing_keeps_the_rows_and_reserves_an_eighth():
    made = window(rows=8)
    made.write_newest(ROW0, batch([[(10 * STEP, 1.0)]]))
    made.grow(16)
    assert (made.rows, cells(made, 0), cells(made, 15)) == (18, {10: 1.0}, {})
    made.grow(18)
    assert made.rows == 18


def test_clearing_leaves_nothing_for_the_next_owner():
    made = window(rows=2)
    made.write_newest(np.array([0, 1]), batch([[(10 * STEP, 1.0)], [(10 * STEP, 2.0)]]))
    made.clear(ROW0)
    assert (cells(made, 0), cells(made, 1)) == ({}, {10: 2.0})
    assert (made.last_ms[0], made.offset[0]) == (NEVER, 0.0)


def test_gather_unrolls_the_ring_whatever_its_position():
    for head in range(10, 25):
        made = window(head=head)
        made.write_grid(ROW0, batch([[(c * STEP, float(c)) for c in range(head - 9, head + 1)]]))
        found = made.gather(np.array([0, 0]), np.array([head, head - 2]))
        assert found.tolist() == [
            [float(c) for c in range(head - 7, head + 1)],
            [float(c) for c in range(head - 9, head - 1)],
        ]


def test_noise_on_a_huge_level_keeps_its_digits():
    made = window(columns=400, head=500)
    rng = np.random.default_rng(1)
    truth = 1e9 + rng.normal(size=400)
    answer = batch([[((c + 101) * STEP, v) for c, v in enumerate(truth)]])
    made.place(ROW0, answer, np.array([True]))
    made.write_grid(ROW0, answer)
    stored = made.gather(ROW0, np.array([500]))[0].astype(np.float64) + made.offset[0]
    assert np.abs(stored - truth).max() < 1e-5  # plain float32 would be off by up to 32
    assert np.float32(truth[0]) - truth[0] != 0


def test_ordinary_series_are_not_shifted():
    level = np.array([10.0, 0.0, -3.0, 1e6, 5.0, np.nan])
    spread = np.array([1.0, 1.0, 0.1, 1e5, 0.0, 1.0])
    assert suitable_offset(level, level - spread / 2, level + spread / 2).tolist() == [0.0] * 6


def test_the_offset_does_not_follow_small_changes_of_the_window():
    level = 1e9 + np.linspace(-1, 1, 50)
    assert len(set(suitable_offset(level, level - 2, level + 2).tolist())) <= 2


def test_recentring_keeps_the_true_values():
    made = window()
    made.write_grid(ROW0, batch([[(c * STEP, 70000.0 + c) for c in range(3, 11)]]))
    before = cells(made)
    made.recentre(ROW0, np.array([70000.0]))
    assert made.offset[0] == 70000.0
    assert cells(made) == pytest.approx(before)


samples = st.lists(st.tuples(st.integers(0, 20 * STEP * 10), st.floats(-1e6, 1e6, allow_nan=False)), max_size=40)


@settings(max_examples=150, deadline=None)
@given(samples, st.integers(10, 20))
def test_newest_samples_agree_with_a_dict_of_lists(points, head):
    """Twin: keep all samples by time; a cell holds its last one, if they came in time order."""
    points = sorted(dict(points).items())
    points = [(t / 10, v) for t, v in points if -(-t // (STEP * 10)) <= head]
    made = window(head=head)
    for t, v in points:
        made.write_newest(ROW0, batch([[(t, v)]]))
    truth = {}
    for t, v in points:
        column = -(-round(t * 1000) // (STEP * 1000))
        if column > head - made.size:
            truth[column] = v
    assert cells(made) == pytest.approx(truth, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("times", "spacing"),
    [
        ([100], 0),
        ([100, 160], 60),
        ([100, 400, 405], 5),  # backfilled history, then live samples
        ([100, 160, 220, 280], 60),
        ([100, 160, 400, 460], 60),  # one gap is no habit
        ([100, 160, 165, 225], 60),  # nor is one sample out of turn
        ([100, 160, 220, 250, 280], 30),
    ],
)
def test_the_usual_distance_of_samples(times, spacing):
    made = window()
    made.write_newest(ROW0, batch([[(t, 1.0) for t in times]]))
    assert made.spacing_s()[0] == spacing


anything = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1e8, 1e8 + 1, 1e-9, 7.0, 1e37, 2e37])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 30), anything), max_size=40), st.sampled_from([0.0, 1e8, -1e-9]))
def test_grid_samples_and_gather_agree_with_a_dict(points, offset):
    """Twin: a cell holds what was written to it last, unless that is no number or beyond float32's safe range."""
    made = window()
    made.offset[:] = offset
    made.write_grid(ROW0, batch([[(column * STEP, value) for column, value in points]]))
    truth = {}
    for column, value in points:
        if made.head - made.size < column <= made.head:
            truth[column] = np.float32(value - offset) if abs(value - offset) <= 1e37 else np.float32(np.nan)
    for end in (made.head, made.head - 2):
        wanted = [truth.get(column, np.float32(np.nan)) for column in range(end - made.columns + 1, end + 1)]
        assert np.array_equal(made.gather(ROW0, np.array([end]))[0], np.array(wanted, np.float32), equal_nan=True)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(anything, max_size=12), min_size=1, max_size=6))
def test_offsets_of_new_rows_agree_with_numpy(series):
    made = window(rows=len(series))
    rows = np.arange(len(series))
    made.place(rows, batch([[(t, v) for t, v in enumerate(values)] for values in series]), np.ones(len(series), bool))
    for row, values in enumerate(series):
        finite = np.sort([v for v in values if math.isfinite(v)])
        if len(finite) == 0:
            assert made.offset[row] == 0.0
            continue
        with np.errstate(over="ignore"):
            wanted = suitable_offset(*(np.array([v]) for v in (finite[len(finite) // 2], finite[0], finite[-1])))
        assert made.offset[row] == wanted[0]


@pytest.mark.parametrize("level", [1.7976931348623157e308, -1.7976931348623157e308])
def test_a_level_at_the_end_of_float64_has_a_finite_offset(level):
    one = np.array([level])
    assert np.isfinite(suitable_offset(one, one, one)[0])


@settings(max_examples=300, deadline=None)
@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12))
def test_a_centred_value_keeps_a_four_thousandth_of_its_range(level, spread):
    low, high = level - spread / 2, level + spread / 2
    if not (low < level < high):
        return  # float64 itself can't tell them apart
    offset = suitable_offset(np.array([level]), np.array([low]), np.array([high]))[0]
    for value in (low, level, high):
        assert abs(float(np.float32(value - offset)) + offset - value) <= spread / 4096 + abs(value) * 2.0**-52
