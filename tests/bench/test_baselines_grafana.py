"""Grafana's rules on a grid: against rules evaluated on samples with times, and what is known of their behaviour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bench.quality.baselines import BASELINES, promql
from bench.quality.corpus import Grid
from tests.naive.baselines import TWINS, Line
from tests.naive.order import median
from tests.naive.windows import KINDS, make

F64 = npt.NDArray[np.float64]
BOTH = ("grafana_adaptive", "grafana_robust")
GAPS = ("none", "30%", "90%", "day", "short", "ends")
DAY_S = 86_400


def score(name: str, x: npt.ArrayLike, step_s: int, first_column: int = 0) -> F64:
    value = np.asarray(x, np.float64)
    return BASELINES[name](Grid(step_s, first_column, value, np.arange(len(value))))


def assert_as_twin(name: str, x: F64, step_s: int, first_column: int) -> None:
    want = np.array(TWINS[name](Line(step_s, first_column, x.tolist())))
    np.testing.assert_allclose(score(name, x, step_s, first_column), want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BOTH)
def test_as_rules_on_samples_with_times(name: str, kind: str, gaps: str) -> None:
    rng = np.random.default_rng([list(KINDS).index(kind), GAPS.index(gaps)])
    assert_as_twin(name, make(kind, gaps, 8 * 48, 48, rng), 1800, 5)


@pytest.mark.parametrize(("step_s", "days"), [(60, 1.3), (120, 7.4), (300, 8.2), (600, 8.2), (900, 8.5), (3600, 9)])
@pytest.mark.parametrize("name", BOTH)
def test_ranges_and_offsets_at_every_step(name: str, step_s: int, days: float) -> None:
    day = DAY_S // step_s
    rng = np.random.default_rng(step_s)
    x = make("positive", "5%", int(days * day), day, rng)
    x[rng.random(len(x)) < 0.05] = 0.0
    x[day // 4 : day // 3] *= 10  # a day later its band is the widest, up to where the range of an hour is empty
    x[day // 3 : day // 2] = np.nan
    assert_as_twin(name, x, step_s, 1234)


def steady(days: float, level: float = 100.0, step_s: int = 60) -> F64:
    return np.full(int(days * DAY_S / step_s), level)


def test_a_level_within_half_of_the_hours_mean_is_inside_the_margin() -> None:
    x = steady(0.5)
    x[-1] = 149.0
    assert score("grafana_adaptive", x, 60)[-1] < 1
    x[-1] = 155.0
    assert score("grafana_adaptive", x, 60)[-1] > 1


def test_low_variability_never_reaches_the_short_term_band() -> None:
    """A deviation under half of the mean is filtered out: noise of a third of the level leaves the margin alone."""
    x = 100 + np.random.default_rng(0).uniform(-30, 30, 1400)
    x[-1] = 160.0
    mean = x[-60:].mean()
    assert score("grafana_adaptive", x, 60)[-1] == pytest.approx((160 - mean) / (0.5 * mean))


def test_a_drop_to_zero_has_no_sample_and_no_alert() -> None:
    x = steady(1)
    x[1000:1030] = 0.0
    for name in BOTH:
        scores = score(name, x, 60)
        assert not (scores > 1).any()
    adaptive = score("grafana_adaptive", x, 60)
    assert adaptive[1000] < 1e-9  # the sample before, still within 2 minutes, is judged in its place
    assert np.isnan(adaptive[1001:1030]).all()


def test_negative_series_are_never_judged() -> None:
    for name in BOTH:
        assert np.isnan(score(name, -steady(2), 60)).all()


def test_last_weeks_burst_widens_this_weeks_band() -> None:
    x = steady(7.2)
    x[200:260] = 400.0
    x[200 + 7 * 1440 + 20] = 390.0
    assert score("grafana_adaptive", x, 60)[200 + 7 * 1440 + 20] < 1
    x[200:260] = 100.0
    assert score("grafana_adaptive", x, 60)[200 + 7 * 1440 + 20] > 1


def test_robust_judges_the_hours_median_and_overlooks_spikes() -> None:
    x = steady(3) + np.random.default_rng(1).normal(0, 1, 3 * 1440)
    x[4000:4020] = 10_000.0
    assert not (score("grafana_robust", x, 60) > 1).any()
    x[4000:4060] = 10_000.0
    scores = score("grafana_robust", x, 60)
    assert not (scores[:4029] > 1).any()
    assert (scores[4031:4060] > 1).all()


@pytest.mark.parametrize("length", [1, 2, 7, 60])
def test_median_over_time_is_the_median_of_the_last_columns(length: int) -> None:
    rng = np.random.default_rng(length)
    x = np.round(rng.normal(0, 2, 500), 0)  # many equal values
    x[rng.random(500) < 0.3] = np.nan
    x[100:180] = np.nan
    want = [median(x[max(0, t - length + 1) : t + 1]) for t in range(500)]
    np.testing.assert_array_equal(promql.median_over_time(x, length), want)


def test_last_over_time_reaches_as_far_as_its_range() -> None:
    nan = np.nan
    x = np.array([nan, 1.0, nan, nan, 2.0, nan])
    np.testing.assert_array_equal(promql.last_over_time(x, 2), [nan, 1, 1, nan, 2, 2])
    np.testing.assert_array_equal(promql.last_over_time(x, 1), x)
