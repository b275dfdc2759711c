"""`shift` against its twin (tests/naive/signals.py), and what it must and must not tell on synthetic series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stepping import Alone, Stepping, daily, false_signals_per_week, first_above

from exporter.models import shift
from exporter.models.shift import Watch
from tests.naive import signals as naive
from tests.naive.windows import CASES, make

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
ROWS, DAY, WINDOW = 200, 288, 14 * 288
START = WINDOW + 12  # the first judged column of the synthetic series
HOUR = 12


def scores(x, **options):
    """Scores from START on."""
    return Stepping("shift", x, 300, WINDOW, **options).run(START)[:, START:]


def moved(by, columns=3 * DAY, seed=0):
    """Daily series with `by` (columns,) added from START on."""
    x = daily(ROWS, START + columns, seed)
    x[:, START:] += by
    return x


# --- against the twin -------------------------------------------------------------------------------------------------


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 15), st.integers(0, 400))
def test_trailing_means_are_those_of_the_definition(seed, length, at_least, n):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n).astype(np.float32)
    x[rng.random(n) < rng.choice([0, 0.1, 0.7])] = np.nan
    out = np.empty(n, np.float32)
    shift.trailing_means(x, length, at_least, np.empty(n), out)
    wanted = [naive.trailing_mean(x.tolist(), t, length, at_least) for t in range(n)]
    assert out == pytest.approx(np.array(wanted), rel=1e-5, abs=1e-6, nan_ok=True)


def test_a_huge_sample_spoils_no_mean_it_is_not_part_of():
    x = np.ones(50, np.float32)
    x[20] = 1e37
    out = np.empty(50, np.float32)
    shift.trailing_means(x, 6, 3, np.empty(50), out)
    assert (out[2:20] == 1).all()
    assert (out[26:] == 1).all()
    assert (out[20:26] > 1e36).all()


def hostile(kind, gaps, n, period, rng):
    """A float32 series of n columns and a few more, which may have moved and may hold an infinite sample."""
    x = np.clip(make(kind, gaps, n + 4, period, rng), -1e37, 1e37)
    ordinary = x[np.isfinite(x)]
    spread = float(np.subtract(*np.quantile(ordinary, [0.75, 0.25]))) if len(ordinary) else 0.0
    x[n - int(rng.integers(0, period)) :] += float(rng.choice([0, 0, 1, -1, 5])) * spread
    if rng.random() < 0.2:
        x[int(rng.integers(n))] = rng.choice([np.inf, -np.inf])
    return x.astype(np.float32)


@QUICK
@given(
    *CASES,
    st.sampled_from([3600, 1800]),
    st.sampled_from([0.0, 0.0, 1e9]),
)
def test_scores_are_those_of_the_twin(seed, kind, gaps, step_s, offset):
    period, rng = 86_400 // step_s, np.random.default_rng(seed)
    n = 5 * period
    x = hostile(kind, gaps, n, period, rng)
    above, below = [(True, True), (True, True), (True, False), (False, True)][int(rng.integers(4))]
    watch = Watch(above, below, float(rng.choice([0, 0, 1])), float(rng.choice([0, 0, 0.1])))
    alone = Alone("shift", x[:n], step_s, offset=offset, watch=watch)
    twin = naive.Shift(x, n, step_s, alone.floor)
    slack = 16 * 2.0**-24 * float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
    for t in range(n, n + 3):
        found = alone.step(x[t])
        wanted = twin.score(t, slack=slack, offset=offset, above=above, below=below,
                            deviation=watch.deviation, share=watch.share)  # fmt: skip
        assert math.isnan(found) == (wanted is None)
        if wanted is not None:
            assert wanted[0] * (1 - 1e-5) <= found <= wanted[1] * (1 + 1e-5)


def test_scores_of_all_sizes_are_those_of_the_twin():
    x, seen = daily(1, 6 * 48, 0, step_s=1800)[0].astype(np.float32), []
    for by in (3, 4, 5, 8, 40):
        y = x.copy()
        y[5 * 48 - 6 :] += np.float32(by)
        alone = Alone("shift", y[: 5 * 48], 1800)
        low, high = naive.Shift(y, 5 * 48, 1800, alone.floor).score(5 * 48, slack=1e-5)
        seen.append(alone.step(y[5 * 48]))
        assert low * (1 - 1e-5) <= seen[-1] <= high * (1 + 1e-5)
        assert high - low < 0.01
    assert 0 == seen[0] < seen[1] < seen[2] < 1 < seen[3] < seen[4] == pytest.approx(2), seen


# --- what it must tell ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("per_day", "half_h", "all_h"), [(5, 8, 12), (-5, 8, 12), (2, 16, 24)])
def test_a_slow_ramp_is_seen_within_hours(per_day, half_h, all_h):
    # per_day is in sigmas of the noise, which hides the ramp from the score.
    found = first_above(scores(moved(np.arange(2 * DAY) / DAY * per_day, 2 * DAY)))
    assert np.median(found) <= half_h * HOUR
    assert found.max() <= all_h * HOUR


def test_a_ramp_of_one_sigma_a_day_is_seen_within_two_days():
    found = first_above(scores(moved(np.arange(2 * DAY) / DAY, 2 * DAY)))
    assert (found < 2 * DAY).mean() > 0.95
    assert np.median(found) <= 28 * HOUR


def test_a_step_is_seen_within_hours_and_is_the_norm_after_two_days():
    found = scores(moved(3.0))
    assert np.median(first_above(found)) <= HOUR
    assert first_above(found).max() <= 3 * HOUR
    assert (found[:, 2 * HOUR : 24 * HOUR] > 1).mean() > 0.95  # on for the day that the score forgets
    assert (found[:, 2 * DAY :] > 1).mean() < 0.01


def test_hours_at_the_wrong_time_of_day_are_seen():
    x = daily(ROWS, START + DAY, 3)
    wrong = slice(START + DAY // 4, START + DAY // 2)  # six hours that look like those half a day later
    t = np.arange(x.shape[1])[wrong]
    x[:, wrong] -= 10 * np.sin(2 * np.pi * t / DAY)
    found = first_above(scores(x)[:, DAY // 4 :])
    assert found.max() <= 3 * HOUR


def test_a_frozen_daily_series_shifts_in_the_end():
    x = daily(ROWS, START + 2 * DAY, 4)
    x[:, START:] = x[:, START - 1 : START]
    assert (first_above(scores(x)) < DAY).all()


# --- what it must not tell --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_seasonal_noise_gives_hardly_a_false_signal(gaps):
    x = daily(ROWS, START + 5 * DAY, 5)
    x[np.random.default_rng(6).random(x.shape) < gaps] = np.nan
    found = scores(x)
    assert np.isfinite(found).mean() > 0.97 * (1 - gaps)
    assert false_signals_per_week(found, 300) <= 0.05


def test_noise_with_a_memory_of_an_hour_gives_few_false_signals():
    noise = np.random.default_rng(7).normal(size=(ROWS, START + 5 * DAY))
    x = daily(ROWS, START + 5 * DAY, 8)
    for t in range(1, x.shape[1]):
        noise[:, t] += 0.92 * noise[:, t - 1]
    assert false_signals_per_week(scores(x + noise), 300) <= 0.14


def test_the_first_weeks_of_a_series_give_few_false_signals():
    x = daily(ROWS, 5 * DAY, 9)
    found = Stepping("shift", x, 300, WINDOW).run(DAY)
    assert np.isnan(found[:, : 2 * DAY]).all()  # two days of history first
    assert np.isfinite(found[:, 2 * DAY + 41 :]).all()  # and 24 means in them
    assert false_signals_per_week(found, 300) <= 0.14


def test_the_return_from_a_day_long_outage_is_no_shift():
    x = daily(ROWS, START + 3 * DAY, 10)
    x[np.random.default_rng(11).random(x.shape) < 0.3] = np.nan
    x[:, START + 5 : START + 5 + 300] = np.nan
    found = scores(x)
    assert not (found > 1).any()
    assert np.isfinite(found[:, -1]).sum() == np.isfinite(x[:, -1]).sum()


@pytest.mark.parametrize("size", [10, -30, 1e6])
def test_one_sample_is_no_level(size):
    by = np.zeros(DAY)
    by[50] = size
    assert not (scores(moved(by, DAY, seed=12)) > 1).any()


def test_a_blip_of_a_constant_series_is_no_shift():
    x = np.full((4, START + 2 * DAY), 5.0)
    x[:, START + 30] = 50.0
    found = scores(x)
    assert np.isfinite(found).all()
    assert not found.any()


# --- policy, history, restarts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("watch", "up", "down"), [
    (Watch(), True, True), (Watch(below=False), True, False), (Watch(above=False), False, True),
    (Watch(deviation=6.0), False, False), (Watch(deviation=2.0), True, True), (Watch(share=0.9), False, False),
])  # fmt: skip
def test_only_watched_and_large_shifts_count(watch, up, down):
    x = daily(40, START + DAY, 13)
    x[:20, START:] += 3
    x[20:, START:] -= 3
    found = scores(x, watch=watch)
    assert np.isfinite(found).all()  # a side that is not watched scores 0, it is not missing
    assert (found[:20] > 1).any(axis=1).all() == up
    assert (found[20:] > 1).any(axis=1).all() == down
    for rows, seen in ((found[:20], up), (found[20:], down)):
        assert seen or not (rows > 1).any()


def test_sensitivity_divides_the_score():
    x = moved(3.0, 60, seed=14)
    assert scores(x, sensitivity=0.5) == pytest.approx(2 * scores(x), rel=1e-12)


def test_large_offsets_change_nothing():
    x = moved(3.0, DAY, seed=15)
    x = x.astype(np.float32).astype(float)
    plain, far = scores(x - 10), scores(x + 1e9 - 10, offset=1e9)
    # The floor knows the level (0.001 of it), and is far above the noise then: nothing of this size counts at 1e9.
    assert (plain > 1).any()
    assert not (far > 1).any()
    assert scores(1e9 * (x + 10), offset=0.0) == pytest.approx(scores(x + 10), rel=1e-3, abs=1e-3)


def test_a_gap_has_no_score_and_a_huge_sample_neither():
    x = moved(0.0, 3, seed=16)
    x[0, START + 1] = np.nan
    x[1, START + 1] = 1e300
    found = scores(x)
    assert np.isnan(found[:2, 1]).all()
    assert np.isfinite(found[2:]).all()


def test_where_processes_start_makes_no_difference():
    x = moved(np.arange(DAY) / 100, DAY, seed=17)[:30]
    x[np.random.default_rng(18).random(x.shape) < 0.1] = np.nan
    stepping = Stepping("shift", x, 300, WINDOW)
    whole = stepping.run(START)
    for later in (START + 1, START + 100):
        part = Stepping("shift", x, 300, WINDOW).run(later)
        assert np.array_equal(part[:, later:], whole[:, later:], equal_nan=True)
    assert (whole > 1).any()


def test_a_fit_serves_its_columns_only():
    x = daily(1, WINDOW + 40, 19)[0].astype(np.float32)
    alone = Alone("shift", x[:WINDOW], 300)
    found = [alone.step(sample) for sample in x[WINDOW:]]
    assert np.isfinite(found[:14]).all()
    assert np.isnan(found[14:]).all()


def test_a_cleared_row_has_no_score():
    alone = Alone("shift", daily(1, WINDOW, 20)[0].astype(np.float32), 300)
    assert math.isfinite(alone.step(np.float32(10)))
    alone.signal.clear(np.array([0]))
    assert math.isnan(alone.step(np.float32(10)))
