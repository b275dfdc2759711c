"""Large levels and tiny ranges: where scores follow the shape of a series only, and where the scale floor cuts in."""

from __future__ import annotations

import numpy as np
import pytest
from judged_rows import F64, Measured, Told, found, judge, per_week, share_above
from made_rows import HISTORY, HOUR, LEVEL, daily, expected

AT = HOUR
ROUNDING = 1e-3  # of a score: float32 has 7 digits, quotients of differences lose some


def spiked(height: float = 12.0) -> F64:
    """The base series with one sample that far from its expectation, at the judged column AT."""
    values = daily(HISTORY + 2 * HOUR)
    values[:, HISTORY + AT] = expected(values.shape[1])[:, HISTORY + AT] + height
    return values


@pytest.fixture(scope="module")
def plain() -> Told:
    """What is told of the series as they are."""
    return judge(spiked(), 2 * HOUR)


@pytest.mark.parametrize("scale", [1e-6, 1e7, 1e20])
def test_scores_do_not_depend_on_the_unit(scale: float, plain: Told, measured: Measured) -> None:
    """1e7 puts the level to 1e9."""
    told = judge(scale * spiked(), 2 * HOUR)
    assert np.array_equal(told.band > 1, plain.band > 1)
    assert measured("largest difference of a score", float(np.abs(told.band - plain.band).max())) < ROUNDING
    assert measured("largest difference of shesd", float(np.abs(told.shesd - plain.shesd).max())) < ROUNDING


def test_scores_do_not_depend_on_a_level_that_is_small_beside_the_range(plain: Told, measured: Measured) -> None:
    told = judge(spiked() - LEVEL, 2 * HOUR)
    assert np.array_equal(told.band > 1, plain.band > 1)
    assert measured("largest difference of a score", float(np.abs(told.band - plain.band).max())) < ROUNDING


@pytest.mark.parametrize(("level", "least", "most"), [(1e4, 0.95, 1.0), (1e6, 0.0, 0.02), (1e9, 0.0, 0.02)])
def test_beside_a_large_level_small_noise_is_nothing(
    level: float, least: float, most: float, measured: Measured
) -> None:
    """Weak: at a million and noise 1 a spike of 12 is not seen, since the floor is a thousandth of the level."""
    told = judge(spiked() + level, 2 * HOUR)
    assert least <= measured("12 sigma: score at that sample", found(told.band, AT)) <= most
    assert measured("score: false alerts a week", per_week(np.delete(told.band, AT, axis=1))) <= 1


@pytest.mark.parametrize("height", [1e6, -1e6, 1e7])
def test_at_a_billion_a_thousandth_of_the_level_is_seen(height: float, measured: Measured) -> None:
    values = spiked(height) + 1e9
    told = judge(values, 2 * HOUR)
    assert measured("score at that sample", found(told.band, AT)) >= 0.97
    shesd = measured("shesd at that sample", found(told.shesd, AT))
    assert shesd >= 0.97 if height == 1e7 else shesd == 0  # its half width is some floors
    assert measured("score: other samples", share_above(np.delete(told.band, AT, axis=1))) <= 0.001
    outside = (values[:, HISTORY:] < told.lower) | (values[:, HISTORY:] > told.upper)
    assert np.array_equal(outside, told.band > 1)


@pytest.mark.parametrize(("noise", "least", "most"), [(1e-9, 0.97, 1.0), (1e-12, 0.0, 0.02)])
def test_tiny_ranges_meet_the_smallest_floor(noise: float, least: float, most: float, measured: Measured) -> None:
    """At a noise of 1e-9 the floor is one sigma, in place of .15: scores are lower. Far below nothing is seen."""
    told = judge(noise * spiked(), 2 * HOUR)
    assert np.isfinite(told.band).all()
    assert least <= measured("12 sigma: score at that sample", found(told.band, AT)) <= most
    assert measured("score: false alerts a week", per_week(np.delete(told.band, AT, axis=1))) <= 1
