"""What all baselines have in common, and the ones on the trailing window against their slow twins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bench.quality.baselines import BASELINES
from bench.quality.baselines.spans import HIGHEST_SCORE
from bench.quality.corpus import Grid
from tests.naive.baselines import TWINS, Line
from tests.naive.windows import KINDS, make

F64 = npt.NDArray[np.float64]
ON_WINDOW = ("zscore", "mad", "rolling_quantile", "holt_winters", "shesd_classic")
EVERY = tuple(BASELINES)
GAPS = ("none", "30%", "90%", "day", "short", "ends")


def grid(x: npt.ArrayLike, step_s: int = 3600, first_column: int = 5000) -> Grid:
    value = np.asarray(x, np.float64)
    return Grid(step_s, first_column, value, np.arange(len(value)))


def score(name: str, x: npt.ArrayLike, step_s: int = 3600, first_column: int = 5000) -> F64:
    return BASELINES[name](grid(x, step_s, first_column))


def daily(n: int, day: int, seed: int = 1) -> F64:
    noise = np.random.default_rng(seed).normal(0, 2, n)
    return 100 + 20 * np.sin(2 * np.pi * np.arange(n) / day) + noise


def assert_as_twin(name: str, x: F64, step_s: int, first_column: int, rtol: float = 1e-7) -> None:
    want = np.array(TWINS[name](Line(step_s, first_column, x.tolist())))
    np.testing.assert_allclose(score(name, x, step_s, first_column), want, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ON_WINDOW)
def test_hourly_series_longer_than_the_window_are_scored_as_by_the_slow_twin(name: str, kind: str, gaps: str) -> None:
    rng = np.random.default_rng([ON_WINDOW.index(name), list(KINDS).index(kind), GAPS.index(gaps)])
    assert_as_twin(name, make(kind, gaps, 375, 24, rng), 3600, 5000)


@pytest.mark.parametrize(("step_s", "first_column"), [(900, 0), (900, 3), (1800, -7), (300, 11)])
@pytest.mark.parametrize("name", ON_WINDOW)
def test_fits_are_made_where_hours_begin_on_the_clock(name: str, step_s: int, first_column: int) -> None:
    day = 86_400 // step_s
    x = make("daily", "5%", 3 * day + 17, day, np.random.default_rng(first_column % 100))
    assert_as_twin(name, x, step_s, first_column)


@pytest.mark.parametrize("name", ON_WINDOW)
def test_a_window_that_slides_over_several_columns_an_hour(name: str) -> None:
    x = make("spiky", "5%", 14 * 48 + 30, 48, np.random.default_rng(8))
    assert_as_twin(name, x, 1800, 1)


@pytest.mark.parametrize("name", ON_WINDOW)
def test_a_large_offset_changes_nothing(name: str) -> None:
    x = np.round(daily(420, 24) * 1024) / 1024  # exact beside the offset
    want = score(name, x)
    assert np.isfinite(want).sum() > 300
    np.testing.assert_allclose(score(name, x + 1e9), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ON_WINDOW)
def test_a_monster_leaves_no_trace_after_the_window(name: str) -> None:
    x = daily(900, 24)
    hit = x.copy()
    hit[30] = 1e12
    gone = slice(30 + 337 + 24, None)
    if name == "holt_winters":  # its state forgets slowly; only the deviation has a window
        hit[30:100] = np.nan
        x[30:100] = np.nan
    np.testing.assert_allclose(score(name, hit)[gone], score(name, x)[gone], rtol=1e-7)


@pytest.mark.parametrize("step_s", [300, 3600])
@pytest.mark.parametrize("name", EVERY)
def test_the_future_changes_nothing(name: str, step_s: int) -> None:
    day = 86_400 // step_s
    x = make("daily", "5%", 9 * day, day, np.random.default_rng(2))
    whole = score(name, x, step_s)
    for cut in (1, day // 2, 2 * day + 1, 5 * day + 7, 8 * day + 3):
        other = x.copy()
        other[cut:] = np.random.default_rng(cut).normal(-50, 1e6, len(x) - cut)
        other[cut + 3 :: 5] = np.nan
        np.testing.assert_array_equal(score(name, other, step_s)[:cut], whole[:cut])
        np.testing.assert_array_equal(score(name, x[:cut], step_s), whole[:cut])


@pytest.mark.parametrize("name", EVERY)
def test_no_verdict_without_a_sample(name: str) -> None:
    x = daily(420, 24)
    x[100::7] = np.nan
    x[101] = np.inf
    scores = score(name, x)
    assert scores.dtype == np.float64
    assert np.isnan(scores[~np.isfinite(x)]).all()
    assert not np.isnan(scores[90:100]).any()


@pytest.mark.parametrize("length", [0, 1, 2, 23])
@pytest.mark.parametrize("name", ON_WINDOW)
def test_no_verdict_without_a_day_of_history(name: str, length: int) -> None:
    scores = score(name, daily(length, 24))
    assert scores.shape == (length,)
    assert np.isnan(scores).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_series_of_gaps_gets_no_verdict(name: str) -> None:
    assert np.isnan(score(name, np.full(500, np.nan))).all()


@pytest.mark.parametrize(
    ("name", "first"),
    [("zscore", 24), ("mad", 24), ("rolling_quantile", 24), ("holt_winters", 48), ("shesd_classic", 48)],
)
def test_the_first_verdict(name: str, first: int) -> None:
    scores = score(name, daily(100, 24))
    assert np.isnan(scores[:first]).all()
    assert not np.isnan(scores[first:]).any()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", [*ON_WINDOW, "grafana_adaptive"])
def test_a_spike_is_found(name: str, sign: int) -> None:
    x = daily(8 * 288, 288) + 200
    x[7 * 288 + 20] += sign * 250
    scores = score(name, x, 300)
    assert scores[7 * 288 + 20] > 1
    assert int(np.nanargmax(scores)) == 7 * 288 + 20


@pytest.mark.parametrize("name", ["zscore", "mad", "rolling_quantile"])
def test_on_a_constant_series_any_other_value_is_as_far_as_can_be(name: str) -> None:
    x = np.full(420, 0.1)
    x[200] = 0.2
    scores = score(name, x)
    assert (scores[24:200] == 0).all()
    assert scores[200] == HIGHEST_SCORE
    assert (scores[201:] < 1).all()


def test_holt_winters_is_quiet_on_a_constant_series_that_no_binary_number_equals() -> None:
    assert np.nanmax(score("holt_winters", np.full(420, 0.1))) == 0


def test_more_than_half_of_one_value_makes_mad_flood_and_shesd_silent() -> None:
    x = np.where(np.random.default_rng(4).random(900) < 0.1, 1.0, 0.0)
    flood = score("mad", x)[24:]
    assert (flood[x[24:] == 1] == HIGHEST_SCORE).all()
    assert (flood[x[24:] == 0] == 0).all()
    assert np.isnan(score("shesd_classic", np.where(np.arange(900) == 500, 1.0, 0.0))).all()


def test_a_value_at_the_quantile_scores_one() -> None:
    x = daily(400, 24)
    window = x[399 - 336 : 399]
    for q in (0.005, 0.995):
        x[399] = np.quantile(window, q)
        assert score("rolling_quantile", x)[399] == pytest.approx(1)
    low, high = np.quantile(window, [0.005, 0.995])
    x[399] = high + 3 * (high - low)
    assert score("rolling_quantile", x)[399] == pytest.approx(4)


def test_shesd_knows_the_hour_of_the_day() -> None:
    """A value that is usual at noon stands out at midnight: for S-H-ESD, not for the z-score."""
    x = np.where(np.arange(20 * 24) % 24 == 12, 100.0, 10.0) + np.random.default_rng(5).normal(0, 1, 20 * 24)
    x[19 * 24] = 100.0
    assert score("shesd_classic", x)[19 * 24] > 10
    assert score("shesd_classic", x)[19 * 24 - 12] < 1.5
    assert score("zscore", x)[19 * 24] < 2


def test_random_alerts_at_one_column_in_a_thousand() -> None:
    x = np.ones(1_000_000)
    alerts = int((score("random", x, 60) > 1).sum())
    assert abs(alerts - 1000) < 5 * np.sqrt(1000)


def test_random_is_the_same_for_the_same_series_and_another_for_another() -> None:
    x = daily(200, 24)
    np.testing.assert_array_equal(score("random", x), score("random", x.copy()))
    assert (score("random", x) != score("random", x + 1)).all()
    assert (score("random", x) != score("random", x, first_column=5001)).all()
