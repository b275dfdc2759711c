"""The fit of `shesd` against its twin (tests/naive/shesd.py), on windows of every kind, and the scores it gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from exporter.models import esd, shesd
from exporter.models.settings import ShesdSettings
from tests.naive import shesd as naive
from tests.naive.shesd_rows import DEFAULT, F32, FLOOR, assert_same, bits, daily, few_values, fit_one, fit_rows
from tests.naive.windows import GAPS, KINDS, make


def test_many_outliers_do_not_hide_each_other() -> None:
    """A tenth of the window far out draws mean and deviation until none stands out; median and MAD are not drawn."""
    x = np.random.default_rng(1).normal(0, 1, 600)
    x[100:160] = 12 + 0.01 * np.arange(60)
    classic = naive.textbook_esd(x.tolist(), 0.05, 12, naive.mean, naive.deviation)
    assert classic.outliers == 0
    assert fit_one(x, period=1000)[2] == 12  # as many as 2 % allow
    _, half_width, outliers, _ = fit_one(x, period=1000, settings=ShesdSettings(max_anoms=0.1))
    assert outliers == 60
    assert 3 < half_width < 5


def test_a_share_of_the_window_is_counted_as_it_is_written() -> None:
    """0.29 of 100 samples are 29, though 0.29 * 100 is a little less in floating point."""
    x = np.random.default_rng(1).normal(0, 1, 100)
    x[:35] = 100 + np.arange(35)
    assert fit_one(x, period=1000, settings=ShesdSettings(max_anoms=0.29))[2] == 29


# The whole fit against its twin


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(GAPS),
    st.sampled_from([1, 2, 3, 7, 8, 9, 10, 24, 48]),
    st.integers(0, 400),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-12, 1e-9, 1e-3, 1.0]),
    st.sampled_from(
        [ShesdSettings(), ShesdSettings(alpha=0.001, max_anoms=0.1), ShesdSettings(alpha=0.3, max_anoms=0.49)]
    ),
)
def test_fit_is_its_twin(
    kind: str, gaps: str, period: int, n: int, seed: int, floor: float, chosen: ShesdSettings
) -> None:
    assume(n > 0)
    rng = np.random.default_rng(seed)
    x = make(kind, gaps, n, period, rng).astype(np.float32)
    x[rng.random(n) < 0.01] = rng.choice([np.inf, -np.inf, 3e38])
    end, horizon = int(rng.integers(0, 10**9)), int(rng.integers(1, 2 * period + 1))
    got = fit_rows(x[None, :], floor, period, horizon, chosen, end)
    want = naive.fit(x, floor, end, period, horizon, alpha=chosen.alpha, max_anoms=chosen.max_anoms, storage=np.float32)
    assert_same(got, 0, want)


anything = st.one_of(st.floats(width=32), few_values)


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(1, 90), elements=anything), st.sampled_from([1, 4, 12, 24]), st.integers(0, 99)
)
@example(np.full(50, 7, np.float32), 4, 0)
@example(np.full(30, np.nan, np.float32), 4, 0)
@example(np.full(30, np.inf, np.float32), 4, 0)
@example(np.full(48, 1e8, np.float32), 12, 0)
@example(np.array([5.0], np.float32), 4, 0)
@example(np.array([3.4e38, -3.4e38] * 20, np.float32), 4, 0)
@example(np.array([1e37, -1e37] * 20, np.float32), 4, 0)
@example(np.array([1e-45, 0] * 20, np.float32), 4, 0)
def test_fit_is_its_twin_on_anything(x: F32, period: int, end: int) -> None:
    assert_same(
        fit_rows(x[None, :], FLOOR, period, 5, end=end), 0, naive.fit(x, FLOOR, end, period, 5, storage=np.float32)
    )


@pytest.mark.parametrize("gaps", ["none", "5%", "30%", "day", "ends"])
@pytest.mark.parametrize(
    ("offset", "scale", "floor"), [(0, 1, 1e-9), (1e8, 1e6, 1e5), (0, 1e-9, 1e-12), (-1e4, 30, 10)]
)
def test_fit_is_its_twin_in_plain_float64(gaps: str, offset: float, scale: float, floor: float) -> None:
    """Nothing but rounding comes from float32: on values without ties the counts are the same and the rest is near."""
    rng = np.random.default_rng(7)
    x = np.array([offset + scale * make("daily", gaps, 14 * 24, 24, rng) for _ in range(20)]).astype(np.float32)
    x[:, 50:55] += 8 * scale
    got = fit_rows(x, floor, end=11)
    for row in range(len(x)):
        assert_same(got, row, naive.fit(x[row], floor, 11, 24, 3), rtol=1e-4 if offset else 1e-5)


def test_fit_is_its_twin_at_full_size() -> None:
    rng = np.random.default_rng(3)
    x = np.array([make(kind, "5%", 2016, 288, rng) for kind in ("daily", "quantised", "walk")]).astype(np.float32)
    got = fit_rows(x, 1e-3, 288, 12, end=5)
    for row in range(len(x)):
        assert_same(got, row, naive.fit(x[row], 1e-3, 5, 288, 12, storage=np.float32))


# The same row, the same bits


@pytest.mark.parametrize("n", [300, 2016])
def test_a_row_does_not_depend_on_its_batch(n: int) -> None:
    rng = np.random.default_rng(n)
    kinds = [(kind, gaps) for kind in KINDS for gaps in GAPS] * 2
    x = np.array([make(kind, gaps, n, 48, rng) for kind, gaps in kinds]).astype(np.float32)
    assert len(x) > shesd._CHUNK_SAMPLES // 2016  # more than one chunk at the larger size
    floor, end = rng.uniform(1e-6, 1, len(x)), rng.integers(0, 10**6, len(x))
    whole = shesd.fit(x, floor, end, 48, 5, DEFAULT)
    order = rng.permutation(len(x))
    shuffled = shesd.fit(x[order], floor[order], end[order], 48, 5, DEFAULT)
    assert bits(whole, order) == bits(shuffled, np.arange(len(x)))
    for row in range(0, len(x), 7):
        alone = shesd.fit(x[row : row + 1], floor[row : row + 1], end[row : row + 1], 48, 5, DEFAULT)
        assert bits(whole, [row]) == bits(alone, [0])


def test_layout_and_byte_order_of_the_batch_do_not_matter() -> None:
    x = np.array([daily(14, 24, seed) for seed in range(5)])
    whole = fit_rows(x)
    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.astype(">f4")):
        assert bits(fit_rows(other), range(5)) == bits(whole, range(5))


def test_the_window_is_left_as_it_was() -> None:
    x = np.array([daily(14, 24, seed) for seed in range(3)])
    x[0, 5], x[1, 7] = np.nan, np.inf
    before = x.copy()
    fit_rows(x)
    fit_rows(x, settings=ShesdSettings(seasonal="stl"))
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("spoiler", [np.nan, np.inf, 3e38, 0.0])
def test_a_hopeless_row_does_not_touch_the_others(spoiler: float) -> None:
    x = np.array([daily(14, 24, seed) for seed in range(4)])
    clean = fit_rows(x)
    x[2] = spoiler
    assert bits(fit_rows(x), [0, 1, 3]) == bits(clean, [0, 1, 3])


# What happens where there is little to go by


def test_under_24_samples_there_is_no_fit() -> None:
    x = np.full(100, np.nan)
    x[-23:] = np.arange(23)
    centre, half_width, outliers, valid = fit_one(x)
    assert np.isnan(centre).all()
    assert math.isnan(half_width)
    assert (outliers, valid) == (0, 23)
    x[0] = 5
    assert np.isfinite(fit_one(x)[0]).all()


@pytest.mark.parametrize("floor", [0.0, -1.0, np.nan, np.inf, 1e38])
def test_without_a_usable_floor_there_is_no_fit(floor: float) -> None:
    _, half_width, outliers, valid = fit_one(daily(14, 24, 0), floor=floor)
    assert math.isnan(half_width)
    assert (outliers, valid) == (0, 336)


def test_an_empty_batch_and_an_empty_window() -> None:
    assert fit_rows(np.empty((0, 336), np.float32)).centre.shape == (0, 3)
    found = fit_rows(np.empty((2, 0), np.float32))
    assert np.isnan(found.half_width).all()
    assert found.valid.tolist() == [0, 0]


def test_rows_and_floors_must_match() -> None:
    with pytest.raises(ValueError, match=r"floor \(2,\) and end_column \(3,\) must have one entry per row \(3\)"):
        shesd.fit(np.zeros((3, 50), np.float32), np.ones(2), np.zeros(3, np.int64), 24, 1, DEFAULT)


def test_with_less_than_a_period_of_samples_the_median_is_expected() -> None:
    x = daily(1, 48, 0)[:47]
    centre, _, _, _ = fit_one(x, period=48)
    assert set(centre) == {np.float32(np.median(x.astype(float)))}
    full, _, _, _ = fit_one(daily(1, 48, 0), period=48)
    assert len(set(full)) == 3


def test_a_phase_never_seen_lies_between_its_neighbours() -> None:
    period = 48
    season = np.abs(np.arange(period) - 24.0)  # straight lines, so that what is between is known
    x = np.tile(season, 14)
    clean, _, _, _ = fit_one(x, period=period, horizon=period)
    x.reshape(14, period)[:, 8:16] = np.nan
    holed, _, _, _ = fit_one(x, period=period, horizon=period)
    np.testing.assert_allclose(holed, clean, atol=1e-5)


def test_the_last_block_sets_the_level() -> None:
    x = np.random.default_rng(2).normal(0, 1, 14 * 24)
    x[-3 * 24 :] += 50
    centre, half_width, _, _ = fit_one(x)
    assert (np.abs(centre - 50) < 2).all()
    assert half_width < 6


def test_a_block_of_few_samples_takes_the_level_before_it() -> None:
    x = np.random.default_rng(2).normal(20, 1, 14 * 24)
    x[-3 * 24 + 20 :] = np.nan
    x[-3 * 24 : -3 * 24 + 20] += 500
    centre, _, _, _ = fit_one(x)
    assert (np.abs(centre - 20) < 2).all()


def test_the_oldest_blocks_may_be_empty() -> None:
    x = np.random.default_rng(2).normal(20, 1, 14 * 24)
    x[: 10 * 24] = np.nan
    centre, _, outliers, valid = fit_one(x)
    assert (np.abs(centre - 20) < 2).all()
    assert valid == 96
    assert outliers <= 1


def test_a_constant_series_stands_on_its_floor() -> None:
    centre, half_width, outliers, _ = fit_one(np.full(336, 7.0), floor=0.5)
    assert set(centre) == {7.0}
    assert outliers == 0
    assert half_width == pytest.approx(0.5 * naive.critical(0.05, 336, 1), rel=1e-6)


def test_a_smallest_floor_still_gives_a_width() -> None:
    _, half_width, _, _ = fit_one(np.zeros(336), floor=5e-324)
    assert half_width > 0


def test_blocks_are_counted_back_from_the_end() -> None:
    assert esd.block_edges(2016, 288).tolist() == [0, 1152, 2016]
    assert esd.block_edges(4032, 288).tolist() == [0, 1440, 2304, 3168, 4032]
    assert esd.block_edges(863, 288).tolist() == [0, 863]
    assert esd.block_edges(0, 288).tolist() == [0, 0]


# The season of STL


@pytest.mark.parametrize("gaps", ["none", "5%", "30%", "day", "ends"])
def test_the_form_with_stl_is_its_twin(gaps: str) -> None:
    rng = np.random.default_rng(11)
    x = np.array([make("daily", gaps, 10 * 24, 24, rng) for _ in range(4)]).astype(np.float32)
    x[:, 100:103] += 30
    got = fit_rows(x, horizon=30, settings=ShesdSettings(seasonal="stl"), end=17)
    for row in range(len(x)):
        want = naive.fit(x[row], FLOOR, 17, 24, 30, seasonal="stl", storage=np.float32)
        assert_same(got, row, want, rtol=1e-5)
        assert want.outliers > 0 or np.isnan(x[row, 100:103]).all()


def test_lines_between_every_tenth_loess_point_stay_near_the_full_stl() -> None:
    x = daily(14, 24, 5, noise=0.5).astype(float).tolist()
    phases = [t % 24 for t in range(len(x))]
    quick, full = naive.stl_season(x, phases, 24), naive.stl_season(x, phases, 24, jumps=False)
    np.testing.assert_allclose(quick, full, atol=0.05)


def test_stl_needs_two_periods() -> None:
    x = daily(14, 24, 3)
    x[: 14 * 24 - 47] = np.nan
    stl, median = (fit_rows(x[None, :], settings=ShesdSettings(seasonal=form)) for form in ("stl", "median"))  # type: ignore[arg-type]
    assert bits(stl, [0]) == bits(median, [0])
    x[0] = 1.0
    stl = fit_rows(x[None, :], settings=ShesdSettings(seasonal="stl"))
    assert bits(stl, [0]) != bits(fit_rows(x[None, :]), [0])


def test_stl_of_one_sample_a_day_is_the_median_form() -> None:
    x = np.random.default_rng(0).normal(size=(1, 60)).astype(np.float32)
    stl = fit_rows(x, period=1, settings=ShesdSettings(seasonal="stl"))
    assert bits(stl, [0]) == bits(fit_rows(x, period=1), [0])


def test_a_constant_series_survives_stl() -> None:
    centre, half_width, outliers, _ = fit_one(np.full(336, 7.0), floor=0.5, settings=ShesdSettings(seasonal="stl"))
    np.testing.assert_allclose(centre, 7.0, rtol=1e-6)
    assert outliers == 0
    assert half_width > 0


# Scores


def test_a_spike_a_dip_and_the_wrong_hour_are_outside_the_band() -> None:
    x = np.array([daily(15, 288, seed) for seed in range(50)])
    window, crest, trough = x[:, : 14 * 288], x[:, 14 * 288 + 72].astype(float), x[:, 14 * 288 + 216].astype(float)
    found = fit_rows(window, period=288, horizon=73)
    centre = found.centre[:, 72]
    assert np.mean(shesd.score(crest, centre, found.half_width, 1.0) < 1) > 0.95
    for wrong in (crest + 8, np.zeros(50), trough):
        assert (shesd.score(wrong, centre, found.half_width, 1.0) > 1).all()


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.floats(1e-30, 1e30), st.floats(0.1, 10))
def test_the_score_is_above_1_exactly_outside_the_band(
    x: float, centre: float, half: float, sensitivity: float
) -> None:
    got = float(shesd.score(np.array([x]), np.array([centre]), np.array([half]), sensitivity)[0])
    assert 0 <= got <= 100
    distance, width = abs(x - centre), half * sensitivity
    assume(not math.isclose(distance, width, rel_tol=1e-12))
    assert (got > 1) == (distance > width)


def test_scores_of_gaps_and_of_rows_without_a_fit_are_nan() -> None:
    value = np.array([np.nan, 1.0, 1.0, np.inf, -np.inf, np.inf])
    centre = np.array([0, np.nan, 0, 0, 0, np.nan], np.float32)
    half = np.array([1, np.nan, 2, 1, 1, np.nan], np.float32)
    got = shesd.score(value, centre, half, 1.0)
    np.testing.assert_array_equal(got, [np.nan, np.nan, 0.5, 100, 100, np.nan])
    assert got.dtype == np.float64


def test_the_score_is_computed_in_float64() -> None:
    got = shesd.score(np.array([1e-3]), np.array([0], np.float32), np.array([1e-2], np.float32), 1.25)
    assert got[0] == 1e-3 / (float(np.float32(1e-2)) * 1.25)
