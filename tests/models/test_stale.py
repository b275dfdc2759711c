"""`stale` against its twin (tests/naive/signals.py), and what it must and must not tell on synthetic series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stepping import Alone, Stepping, daily, false_signals_per_week, first_above

from exporter.models import stale
from tests.naive import signals as naive
from tests.naive.windows import CASES, make

QUICK = settings(max_examples=80, deadline=None, derandomize=True)
ROWS, DAY, WINDOW = 200, 288, 14 * 288
START = WINDOW + 12  # the first judged column of the synthetic series
FROZEN = 18  # equal values with which a noisy series at 5 minutes is called frozen


def scores(x, **options):
    """Scores from START on."""
    return Stepping("stale", x, 300, WINDOW, **options).run(START)[:, START:]


def events(rows, columns, chance, seed):
    """Zero but for events of random size, each column with this chance."""
    rng = np.random.default_rng(seed)
    return (rng.random((rows, columns)) < chance) * rng.exponential(1, (rows, columns))


# --- against the twin -------------------------------------------------------------------------------------------------


def hostile(kind, gaps, n, period, rng):
    """A float32 series of n columns and a few more, with repeated values and perhaps an infinite sample."""
    x = np.clip(make(kind, gaps, n + 8, period, rng), -1e37, 1e37)
    for _ in range(int(rng.integers(0, 6))):
        start, length = int(rng.integers(n)), int(rng.integers(1, 30))
        x[start : start + length] = x[start]
    if rng.random() < 0.5:
        start = n - int(rng.integers(0, 20))
        x[start:] = np.where(np.isnan(x[start:]), np.nan, x[start - 1])
    if rng.random() < 0.2:
        x[int(rng.integers(n))] = rng.choice([np.inf, -np.inf])
    return x.astype(np.float32)


@QUICK
@given(
    *CASES,
    st.sampled_from([3600, 1800, 300]),
    st.sampled_from([0.0, 0.0, 1e9]),
)
def test_scores_are_those_of_the_twin(seed, kind, gaps, step_s, offset):
    period, rng = 86_400 // step_s, np.random.default_rng(seed)
    n = 3 * period
    x = hostile(kind, gaps, n, period, rng)
    alone = Alone("stale", x[:n], step_s, offset=offset)
    twin = naive.Stale(x, n, step_s, alone.floor)
    for t in range(n, n + 3):
        found, wanted = alone.step(x[t]), twin.score(t)
        assert math.isnan(found) == (wanted is None)
        if wanted is not None:
            assert found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("step_s", "wanted"), [(15, 20), (60, 5), (150, 2), (300, 2), (3600, 2)])
def test_the_least_scale_is_two_samples_or_five_minutes(step_s, wanted):
    assert stale.least_scale(step_s) == wanted


# --- what it must tell ------------------------------------------------------------------------------------------------


def test_a_frozen_series_is_told_after_about_sixteen_samples_and_stays_told():
    x = daily(ROWS, START + DAY, 1)
    x[:, START:] = x[:, START - 1 : START]
    found = scores(x)
    assert (first_above(found) == FROZEN - 2).all()  # the run begins one sample before START
    assert (found[:, FROZEN:] > 1).all()
    assert found.max() == pytest.approx(2.4)


def test_at_a_minute_it_takes_longer():
    x = daily(20, 2 * 1440 + 120, 2, step_s=60)
    x[:, 2 * 1440 :] = 7.0
    found = Stepping("stale", x, 60, 2 * 1440).run(2 * 1440)[:, 2 * 1440 :]
    assert (first_above(found) == 42).all()


def test_a_series_that_moves_again_is_told_to_be_fine_at_once():
    x = daily(20, START + 60, 3)
    x[:, START : START + 40] = 3.0
    found = scores(x)
    assert (found[:, 39] > 1).all()
    assert not found[:, 40:].any()


def test_values_that_hardly_differ_are_equal():
    x = daily(ROWS, START + 40, 4)
    floor = 0.005 * np.ptp(np.quantile(x[:, :WINDOW], [0.01, 0.99], axis=1), axis=0)[:, None]
    jitter = np.random.default_rng(5).choice([-0.2, 0.2], size=(ROWS, 40))
    x[:, START:] = 10 + jitter * 1e-3 * floor
    assert (scores(x)[:, -1] > 1).all()
    x[:, START:] = 10 + jitter * 1e-2 * floor
    assert not (scores(x) > 1).any()


def test_a_second_freeze_is_found_although_the_first_is_in_the_window():
    x = daily(ROWS, START + DAY, 6)
    x[:, START - 2 * DAY : START - 2 * DAY + 40] = 9.0
    x[:, START:] = 4.0
    assert (first_above(scores(x)) <= 60).all()


def test_a_freeze_by_day_is_found_although_nights_are_zero():
    x = daily(ROWS, START + DAY, 7)
    x[:, np.arange(x.shape[1]) % DAY < 60] = 0.0
    day = START - START % DAY + 100
    x[:, day:] = x[:, day - 1 : day]
    found = scores(x)
    assert not (found[:, : day - START] > 1).any()
    assert (first_above(found[:, day - START :]) < 11 * 12).all()


# --- what it must not tell --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make_x", "allowed"), [
    (lambda n: daily(ROWS, n, 8), 0.0),
    (lambda n: np.random.default_rng(9).poisson(5, (ROWS, n)).astype(float), 0.0),
    (lambda n: np.random.default_rng(10).poisson(0.5, (ROWS, n)).astype(float), 0.06),
    (lambda n: np.cumsum(np.random.default_rng(11).normal(size=(ROWS, n)), axis=1), 0.0),
    (lambda n: events(ROWS, n, 1 / 20, 12), 0.06),
    (lambda n: events(ROWS, n, 1 / 100, 13), 0.06),
    (lambda n: events(ROWS, n, 1 / 1500, 14), 0.06),
    (lambda n: np.cumsum(events(ROWS, n, 1 / 300, 15) > 0, axis=1).astype(float), 0.06),
], ids=["noise", "counts", "small-counts", "walk", "often", "now-and-then", "seldom", "steps"])  # fmt: skip
def test_false_signals_a_week(make_x, allowed):
    found = scores(make_x(START + 7 * DAY))
    assert false_signals_per_week(found, 300) <= allowed


def test_a_new_series_of_rare_events_gives_hardly_a_false_signal():
    found = Stepping("stale", events(ROWS, 5 * DAY, 1 / 50, 16), 300, WINDOW).run(100)
    assert np.isnan(found[:, : DAY - 1]).all()  # a day of history first
    assert false_signals_per_week(found, 300) <= 0.06


@pytest.mark.parametrize("blip_at", [None, START + 7, START - 5, START - 10 * DAY, START - 12 * DAY])
def test_a_constant_series_is_never_frozen(blip_at):
    x = np.full((4, START + 2 * DAY), 5.0)
    if blip_at is not None:
        x[:, blip_at] = 9.0
    assert not (scores(x) > 1).any()


def test_a_constant_series_has_no_score():
    assert np.isnan(scores(np.full((2, START + 20), 5.0))).all()


def test_a_level_that_is_kept_for_days_is_normal_where_levels_are_kept():
    x = np.repeat(np.random.default_rng(17).normal(size=(ROWS, 30)), 3 * DAY, axis=1)[:, : START + 5 * DAY]
    assert not (scores(x) > 1).any()


def test_the_same_value_after_an_outage_is_no_run_of_the_outages_length():
    x = daily(ROWS, START + 320, 18)
    x[:, START : START + 300] = np.nan
    x[:, START + 300 : START + 305] = x[:, START - 1 : START]
    assert not (scores(x) > 1).any()


def test_a_gap_neither_ends_nor_lengthens_a_run():
    x = daily(1, WINDOW + 12, 19)[0].astype(np.float32)
    x[WINDOW:] = 5.0
    gappy = np.insert(x, WINDOW + 5, [np.nan] * 3)[: WINDOW + 14]
    plain = [Alone("stale", x[:WINDOW], 300), Alone("stale", gappy[:WINDOW], 300)]
    found = [[one.step(v) for v in series[WINDOW:]] for one, series in zip(plain, (x, gappy), strict=True)]
    assert found[1][:5] == found[0][:5]
    assert np.isnan(found[1][5:8]).all()
    assert found[1][8:] == found[0][5:11]
    assert found[0][-1] > 0


def test_large_offsets_change_nothing():
    x = daily(20, START + 40, 20)
    x[:, START:] = x[:, START - 1 : START]
    assert np.array_equal(scores(1e9 * x), scores(x))
    # At a level of 1e9 that moves by 1 everything is equal to a millionth of it: no run is unusual, and none is told.
    assert not (scores(x + 1e9, offset=1e9) > 1).any()


# --- restarts, fits, gaps ---------------------------------------------------------------------------------------------


def test_where_processes_start_makes_no_difference():
    x = np.round(daily(30, START + DAY, 21))
    x[np.random.default_rng(22).random(x.shape) < 0.1] = np.nan
    x[:15, START + 60 :] = 12.0
    whole = Stepping("stale", x, 300, WINDOW).run(START)
    for later in (START + 1, START + 90):
        part = Stepping("stale", x, 300, WINDOW).run(later)
        assert np.array_equal(part[:, later:], whole[:, later:], equal_nan=True)
    assert (whole[:15] > 1).any(axis=1).all()


def test_a_fit_serves_its_columns_only():
    x = daily(1, WINDOW + 40, 23)[0].astype(np.float32)
    alone = Alone("stale", x[:WINDOW], 300)
    found = [alone.step(sample) for sample in x[WINDOW:]]
    assert np.isfinite(found[:14]).all()
    assert np.isnan(found[14:]).all()


def test_a_cleared_row_has_no_score():
    alone = Alone("stale", daily(1, WINDOW, 24)[0].astype(np.float32), 300)
    assert alone.step(np.float32(10)) == 0
    alone.signal.clear(np.array([0]))
    assert math.isnan(alone.step(np.float32(10)))


def test_sensitivity_divides_the_score():
    x = daily(4, START + 30, 25)
    x[:, START:] = 1.0
    assert scores(x, sensitivity=0.5) == pytest.approx(2 * scores(x), rel=1e-12)
