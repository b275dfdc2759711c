"""What the judgement makes of well-known kinds of series, at 5 minutes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.naive.windows import Chain, centre

DAY = 288
WEEK = 7 * DAY


def daily(columns: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 3, columns)
    return 100 + 40 * np.sin(2 * np.pi * np.arange(columns) / DAY) + noise


def scores_of(series: np.ndarray, known: int, *, refit_every: int = 12) -> np.ndarray:
    """Scores of everything after the first `known` columns, fitted hourly."""
    values, offset = centre(series)
    chain = Chain(values[None, :known], np.array([offset]), 300, 1_000_000, horizon=refit_every)
    return chain.run(values[None, known:].astype(float), refit_every)[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_drop_to_exactly_zero_and_a_spike_score_at_once(seed: int) -> None:
    series = daily(WEEK + 100, seed)
    series[WEEK + 30] = 0.0
    series[WEEK + 70] += 100
    scores = scores_of(series, WEEK)
    assert scores[30] > 1
    assert scores[70] > 1
    assert (np.delete(scores, [30, 70]) <= 1).all()


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, -3.3, 1e8, 1e-9])
def test_a_constant_series_scores_zero_and_its_blip_does_not(value: float) -> None:
    series = np.full(WEEK + 300, value)
    series[WEEK + 50] += max(1.0, 0.1 * abs(value))
    scores = scores_of(series, WEEK)
    assert (scores[:50] == 0).all()
    assert scores[50] > 1
    assert (scores[51:] <= 1).all()


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e8 + 0.1])
def test_a_constant_series_scores_zero_whatever_its_offset(value: float) -> None:
    values = np.full((1, WEEK), value, np.float32)
    chain = Chain(values, np.zeros(1), 300, 1_000_000, horizon=12)
    assert (chain.run(np.full((1, 60), value), 12) == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_level_shift_is_forgotten(seed: int) -> None:
    at = 24 + 3 * seed  # the place within the hour between two fits matters
    series = daily(WEEK + 2 * DAY, seed)
    series[WEEK + at :] += 120
    above = np.flatnonzero(scores_of(series, WEEK) > 1)
    assert above[0] == at
    assert len(above) >= 6  # onset and escalation, not one sample only
    assert above[-1] < at + 24  # two fits later it is the level


@pytest.mark.parametrize("seed", range(4))
def test_a_return_after_a_day_of_silence_does_not_alert(seed: int) -> None:
    series = daily(WEEK + 60, seed)
    series[WEEK - DAY - 5 : WEEK] = np.nan
    scores = scores_of(series, WEEK)
    assert not np.isnan(scores).any()
    assert (scores <= 1).all()


def test_a_gap_in_the_middle_of_judging_does_not_alert_either() -> None:
    series = daily(WEEK + DAY + 60, 5)
    series[WEEK + 10 : WEEK + DAY + 20] = np.nan
    scores = scores_of(series, WEEK)
    assert np.isnan(scores).tolist() == np.isnan(series[WEEK:]).tolist()
    assert (scores[~np.isnan(scores)] <= 1).all()


def test_poisson_counts_and_random_walks_are_calm() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, WEEK + DAY).astype(float)
    assert (scores_of(counts, WEEK) > 1).sum() == 0
    walk = np.cumsum(rng.normal(0, 1, WEEK + DAY))
    assert (scores_of(walk, WEEK) > 1).sum() <= 1
