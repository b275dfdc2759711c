"""The made-up series: pure functions of time with the statistics they claim."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from exporter.demo import signals
from exporter.demo.signals import DAY_S, Recipe

MONDAY_S = 1_794_787_200.0  # 2026-11-16 00:00 UTC, a Monday
FORTNIGHT = MONDAY_S + np.arange(0, 14 * DAY_S, 60.0)

RECIPES = [
    Recipe(800.0, daily=0.5, weekend=0.2, noise=0.04),
    Recipe(0.004, daily=0.12, noise=0.05, burst=1.5),
    Recipe(0.4, daily=0.3, count=True),
    Recipe(16.0),
    Recipe(1.2e9, daily=0.35, noise=0.05),
]


@pytest.mark.parametrize("recipe", RECIPES)
@given(cut=st.integers(0, 500), seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_the_value_at_a_time_does_not_depend_on_what_else_is_asked(recipe: Recipe, cut: int, seed: int) -> None:
    times = FORTNIGHT[:500]
    whole = signals.values(recipe, seed, times)
    parts = np.concatenate([signals.values(recipe, seed, times[:cut]), signals.values(recipe, seed, times[cut:])])
    assert np.array_equal(whole, parts)
    assert np.array_equal(whole[::-1], signals.values(recipe, seed, times[::-1]))


@pytest.mark.parametrize("recipe", RECIPES)
def test_values_are_finite_and_never_negative(recipe: Recipe) -> None:
    found = signals.values(recipe, 3, FORTNIGHT)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_the_level_is_the_mean_outside_weekends() -> None:
    recipe = Recipe(800.0, daily=0.5, noise=0.04)
    assert signals.values(recipe, 5, FORTNIGHT).mean() == pytest.approx(800, rel=0.01)


def test_a_recipe_without_movement_is_constant() -> None:
    assert set(signals.values(Recipe(16.0), 1, FORTNIGHT)) == {16.0}


@pytest.mark.parametrize("offset_s", [0.0, 7.5, 30.0, 59.0])
def test_noise_is_standard_normal_on_the_knots_and_between_them(offset_s: float) -> None:
    pooled = np.concatenate([signals.noise(seed, FORTNIGHT + offset_s) for seed in range(0, 500, 10)])
    assert pooled.mean() == pytest.approx(0, abs=0.02)
    assert pooled.std() == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(pooled) > 2) == pytest.approx(2 * stats.norm.sf(2), abs=0.003)


def test_noise_of_two_series_is_unrelated() -> None:
    first, second = (signals.noise(seed, FORTNIGHT) for seed in (10, 20))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_noise_does_not_jump_within_seconds() -> None:
    close = signals.noise(10, FORTNIGHT + 5) - signals.noise(10, FORTNIGHT)
    far = signals.noise(10, FORTNIGHT + 600) - signals.noise(10, FORTNIGHT)
    assert close.std() < far.std() / 4


def test_the_day_peaks_at_its_hour() -> None:
    recipe = Recipe(1.0, daily=0.5, peak_hour=13)
    hours = MONDAY_S + 3600 * np.arange(24.0)
    assert int(np.argmax(signals.rhythm(recipe, hours))) == 13


@pytest.mark.parametrize(
    ("day", "hour", "share"), [(4, 23.9, 0), (5, 0, 0), (5, 12, 1), (6, 12, 1), (7, 0, 0), (2, 5, 0)]
)
def test_the_weekend_is_saturday_and_sunday(day: int, hour: float, share: float) -> None:
    assert signals.weekend(np.array([MONDAY_S + day * DAY_S + hour * 3600]))[0] == pytest.approx(share)


def test_the_weekend_has_no_step() -> None:
    assert np.abs(np.diff(signals.weekend(FORTNIGHT))).max() < 0.01


def test_bursts_are_rare_and_bounded() -> None:
    heights = np.concatenate([signals.bursts(seed, FORTNIGHT) for seed in range(0, 200, 10)])
    assert 0 < np.mean(heights > 0) < 0.02
    assert heights.max() <= 1
    assert heights.min() == 0


@given(
    chance=st.floats(1e-9, 1 - 1e-9),
    mean=st.floats(0.01, 2000),
)
@settings(deadline=None)
def test_poisson_is_the_quantile_of_scipy_stats(chance: float, mean: float) -> None:
    found = signals.poisson(np.array([chance]), np.array([mean]))[0]
    # at the very edge of a step the two may round to different sides: the definition itself decides
    assert stats.poisson.cdf(found, mean) >= chance - 1e-12
    assert found == 0 or stats.poisson.cdf(found - 1, mean) <= chance + 1e-12


def test_counts_are_whole_and_have_the_mean_and_variance_of_poisson() -> None:
    found = signals.values(Recipe(8.0, count=True), 4, FORTNIGHT)
    assert np.array_equal(found, np.round(found))
    assert found.mean() == pytest.approx(8, rel=0.05)
    assert found.var() == pytest.approx(8, rel=0.1)


@given(seed=st.integers(0, 2**62), knots=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20))
def test_uniform_stays_inside_zero_and_one(seed: int, knots: list[int]) -> None:
    found = signals.uniform(seed, np.array(knots, dtype=np.float64))
    assert ((found > 0) & (found < 1)).all()


def test_uniform_fills_its_range_evenly() -> None:
    counts, _ = np.histogram(signals.uniform(11, np.arange(100_000.0)), bins=20, range=(0, 1))
    assert stats.chisquare(counts).pvalue > 1e-4
