"""Medians of many windows at once, beside the slow twin that sorts each window."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.models import medians
from tests.naive import order as naive

SAMPLES = st.one_of(
    st.floats(-(2.0**122), 2.0**122, width=32),
    st.integers(-3, 3).map(float),  # many ties
    st.just(math.nan),
    st.just(math.nan),
)
SERIES = st.lists(SAMPLES, max_size=260)
QUICK = settings(max_examples=100, deadline=None, derandomize=True)
LENGTHS = [(3, 2, 1), (48, 3, 1), (6, 3, 0), (12, 3, 1)]
GAPS = [0.0, 0.05, 0.3, 0.9, 1.0]


def f32(values: object) -> np.ndarray:
    return np.array(values, np.float32)


def same(found: object, wanted: object) -> bool:
    return bool(np.array_equal(f32(found), f32(wanted), equal_nan=True))


def laid_out(x: np.ndarray, behind: int) -> medians.Room:
    room = medians.room_for(medians.LEAD + len(x) + behind)
    medians.lay_out(x, -medians.LEAD, room)
    return room


def noise(n: int, share: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(0, 3, n), 1)  # some ties
    x[rng.random(n) < share] = np.nan
    return x.astype(np.float32)


def running(x: np.ndarray, length: int, at_least: int, shift: int) -> np.ndarray:
    out = np.empty(len(x), np.float32)
    medians.running_median(laid_out(x, 0), length, at_least, shift, out)
    return out


def by_day(x: np.ndarray, period: int, reach: int, ahead: int) -> list[float]:
    """The twin of `day_medians`: seven days back from each column and `ahead` columns after the last."""
    out = []
    for t in range(len(x) + ahead):
        places = [t - day * period + j for day in range(1, 8) for j in range(-reach, reach + 1)]
        out.append(naive.median([x[p] for p in places if 0 <= p < len(x)]))
    return out


# --- layout -----------------------------------------------------------------------------------------------------------


@QUICK
@given(SERIES, st.integers(-300, 300))
def test_layout_is_the_series_with_gaps_filled_in_turn(values: list[float], start: int) -> None:
    x = f32(values)
    room = medians.room_for(200)
    medians.lay_out(x, start, room)
    line = room.line[medians.ORIGIN :]
    signs = []
    for k, found in enumerate(line):
        inside = 0 <= start + k < len(x)
        assert room.gaps[k] == len(signs)
        if inside and not np.isnan(x[start + k]):
            assert found == x[start + k]
        else:
            signs.append(found)
    assert room.gaps[len(line)] == len(signs)
    assert signs == [math.inf, -math.inf] * (len(signs) // 2) + [math.inf] * (len(signs) % 2)


def test_the_constant_blocks_before_a_layout_stay() -> None:
    room = medians.room_for(100)
    for _ in range(2):
        medians.lay_out(noise(80, 0.3), -3, room)
        assert (room.line[: medians.BLOCK] == -np.inf).all()
        assert (room.line[medians.BLOCK : medians.ORIGIN] == np.inf).all()


# --- sliding windows --------------------------------------------------------------------------------------------------


@QUICK
@given(SERIES, st.sampled_from(LENGTHS))
def test_running_median_is_the_median_of_each_slice(values: list[float], window: tuple[int, int, int]) -> None:
    length, at_least, shift = window
    # Medians are samples or the mean of two: the kernel's one rounding to float32 is also done to the twin's.
    assert same(running(f32(values), *window), naive.running_median(f32(values), length, at_least, shift))


@pytest.mark.parametrize("share", GAPS)
@pytest.mark.parametrize("window", LENGTHS)
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_running_median_with_gaps_on_long_series(share: float, window: tuple[int, int, int], offset: float) -> None:
    x = noise(701, share, seed=int(share * 100)) + np.float32(offset)
    assert same(running(x, *window), naive.running_median(x, *window))


@pytest.mark.parametrize("window", LENGTHS)
@pytest.mark.parametrize("n", [1, 2, 95, 96, 97, 192])
def test_running_median_at_the_edges_of_blocks(window: tuple[int, int, int], n: int) -> None:
    x = noise(n, 0.1)
    assert same(running(x, *window), naive.running_median(x, *window))


def test_running_median_does_not_see_its_own_sample_with_shift_1() -> None:
    assert same(running(f32([1, 2, 3, 1000]), 3, 2, 1), [math.nan, math.nan, 1.5, 2.0])


def test_a_row_leaves_nothing_behind_for_the_next_one() -> None:
    room = laid_out(f32(np.full(300, 1e30)), 0)
    x = noise(300, 0.3)
    medians.lay_out(x, -medians.LEAD, room)
    out = np.empty(300, np.float32)
    medians.running_median(room, 48, 3, 1, out)
    assert same(out, naive.running_median(x, 48, 3, 1))


# --- windows over the time of day -------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", GAPS)
@pytest.mark.parametrize(
    ("period", "reach", "n"),
    [
        (24, 0, 100),
        (24, 1, 240),
        (96, 2, 300),
        (48, 3, 460),
        (288, 6, 600),
        (60, 7, 500),
        (70, 15, 560),
        (144, 1, 1300),
    ],
)
def test_day_medians(share: float, period: int, reach: int, n: int) -> None:
    x, ahead = noise(n, share, seed=period + reach), min(5, period - reach)
    out = np.empty(n + ahead, np.float32)
    place = medians.ORIGIN + medians.LEAD - period - reach
    medians.day_medians(laid_out(x, ahead + reach), place, period, 2 * reach + 1, out)
    assert same(out, by_day(x, period, reach, ahead))


@QUICK
@given(SERIES, st.sampled_from([(1, 0), (2, 1), (4, 1), (11, 2), (30, 4)]))
def test_day_medians_of_any_series(values: list[float], shape: tuple[int, int]) -> None:
    period, reach = shape
    x = f32(values)
    out = np.empty(len(x) + 1, np.float32)
    place = medians.ORIGIN + medians.LEAD - period - reach
    medians.day_medians(laid_out(x, 1 + reach), place, period, 2 * reach + 1, out)
    assert same(out, by_day(x, period, reach, 1))


@pytest.mark.parametrize("reach", range(16))
def test_missing_days_count_for_nothing_at_any_reach(reach: int) -> None:
    # Whole days without samples: the surplus of +inf reaches its bound of one for each piece.
    for days in range(8):
        x = noise(7 * 64, 0.0, seed=days)
        x[: days * 64] = np.nan
        x[3::7] = np.nan
        out = np.empty(len(x) + 1, np.float32)
        place = medians.ORIGIN + medians.LEAD - 64 - reach
        medians.day_medians(laid_out(x, 1 + reach), place, 64, 2 * reach + 1, out)
        assert same(out, by_day(x, 64, reach, 1))


# --- one median per phase ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", GAPS)
@pytest.mark.parametrize(
    ("period", "n"), [(24, 49), (24, 192), (24, 193), (100, 1600), (10, 161), (10, 320), (10, 321), (10, 700), (1, 90)]
)
def test_phase_medians(share: float, period: int, n: int) -> None:
    x = noise(n, share, seed=n)
    out = np.empty(period)
    medians.phase_medians(x, period, laid_out(x, period), out)
    assert np.array_equal(out, [naive.median(x[k::period]) for k in range(period)], equal_nan=True)


def test_phases_beyond_a_short_series_are_gaps() -> None:
    out = np.empty(4)
    medians.phase_medians(f32([5, math.nan]), 4, laid_out(f32([5, math.nan]), 4), out)
    assert np.array_equal(out, [5, math.nan, math.nan, math.nan], equal_nan=True)
