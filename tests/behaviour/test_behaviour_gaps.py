"""Missing samples, samples that are no numbers, and the first days of a series."""

from __future__ import annotations

import numpy as np
import pytest
from judged_rows import Measured, found, judge, per_week, samples_above
from made_rows import DAY, HISTORY, HOUR, SEEDS, daily, expected, once

AT = HOUR


def test_30_percent_gaps_are_no_anomalies(measured: Measured) -> None:
    values = daily(HISTORY + DAY + 1)
    values[once(values.shape[1], 0.3) > 0] = np.nan
    values[:, -1] = expected(values.shape[1])[:, -1] + 12
    told = judge(values, DAY + 1)
    assert np.array_equal(np.isnan(told.band), np.isnan(values[:, HISTORY:]))
    assert measured("score: false alerts a week", per_week(told.band[:, :DAY])) <= 1
    assert measured("shift: false alerts a week", per_week(told.shift[:, :DAY])) <= 0.3
    assert measured("stale: false alerts a week", per_week(told.stale[:, :DAY])) <= 0.1
    assert measured("12 sigma: score at that sample", found(told.band, DAY)) >= 0.97


def test_the_return_after_an_outage_of_a_day_is_no_anomaly(measured: Measured) -> None:
    back = AT + DAY
    values = daily(HISTORY + back + 3 * HOUR)
    values[:, HISTORY + AT : HISTORY + back] = np.nan
    told = judge(values, back + 3 * HOUR)
    assert np.isnan(told.band[:, AT:back]).all()
    assert np.isfinite(told.band[:, back:]).all()
    for name, scores in (("score", told.band), ("shesd", told.shesd), ("shift", told.shift), ("stale", told.stale)):
        assert measured(f"{name} in the three hours after", found(scores, back, 3 * HOUR)) <= 0.04


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_a_gap(bad: float, measured: Measured) -> None:
    values = daily(HISTORY + 2 * HOUR)
    where = once(values.shape[1], 0.1) > 0
    gaps = np.where(where, np.nan, values)
    values[where] = bad
    told, as_gaps = judge(values, 2 * HOUR, nan_is_sample=True), judge(gaps, 2 * HOUR)
    assert told.refused == where[:, HISTORY:].sum()
    for one, other in zip(
        (told.band, told.shesd, told.shift, told.stale),
        (as_gaps.band, as_gaps.shesd, as_gaps.shift, as_gaps.stale),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert measured("score, share of the rows in two hours", found(told.band, 0, 2 * HOUR)) <= 0.03


def test_the_first_two_days_are_quiet(measured: Measured) -> None:
    told = judge(daily(2 * DAY), 2 * DAY)
    assert np.isnan(told.band[:, :20]).all()
    assert np.isfinite(told.band[:, 40:]).all()
    assert np.isnan(told.shift[:, : 2 * DAY - 1]).all()
    first, second = told.band[:, :DAY], told.band[:, DAY:]
    assert measured("score: samples above 1 on the first day", samples_above(first, 0, DAY)) <= 0.1
    assert measured("score: alerts on the second day", per_week(second) / 7) <= 0.1
    # weak: until a day has been seen the rhythm itself is an outlier to shesd
    assert 0.3 <= measured("shesd: samples above 1 on the first day", samples_above(told.shesd, 0, DAY)) <= 60
    assert measured("shesd: alerts on the second day", per_week(told.shesd[:, DAY:]) / 7) <= 0.6


@pytest.mark.parametrize(("days", "height", "least"), [(0.5, 12, 0.35), (0.5, 20, 0.9), (1, 12, 0.9), (2, 12, 0.97)])
def test_a_spike_is_found_in_a_young_series(days: float, height: float, least: float, measured: Measured) -> None:
    young = int(days * DAY)
    values = np.full((SEEDS, HISTORY + 1), np.nan)
    values[:, -young - 1 :] = daily(young + 1)
    values[:, -1] = expected(young + 1)[:, -1] + height
    assert measured("score at that sample", found(judge(values, 1).band, 0)) >= least
