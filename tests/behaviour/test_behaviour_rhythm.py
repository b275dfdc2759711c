"""Daily and weekly rhythms: the wrong time, the missed job, the job that comes every day. An alert: a score above 1."""

from __future__ import annotations

import numpy as np
import pytest
from judged_rows import F64, Measured, found, judge, per_week, samples_above, share_above
from made_rows import DAY, HISTORY, HOUR, LEVEL, add_bursts, daily, hour_of_day, noise, rhythm

AT = HOUR


def moved(start: int, columns: int, hours: float) -> F64:
    """The base series, its rhythm that much ahead from column `start` on."""
    ahead = np.where(np.arange(columns) >= start, hours, 0.0)
    return LEVEL + rhythm(hour_of_day(columns, moved_h=ahead)) + noise(columns)


def test_the_wrong_time_of_day_is_found(measured: Measured) -> None:
    told = judge(moved(HISTORY + AT, HISTORY + AT + DAY // 2, 6.0), AT + DAY // 2)
    assert measured("score within 1 h", found(told.band, AT, HOUR)) >= 0.7
    assert measured("shift within 1 h", found(told.shift, AT, HOUR)) >= 0.8
    assert measured("shift within 3 h", found(told.shift, AT, 3 * HOUR)) >= 0.97
    assert measured("shift: share of 12 h", share_above(told.shift[:, AT:])) >= 0.7
    assert measured("samples above 1 in 12 h", samples_above(told.band, AT, DAY)) <= 10


def test_a_change_of_the_clock_alerts_on_one_day(measured: Measured) -> None:
    told = judge(moved(HISTORY, HISTORY + 3 * DAY, 1.0), 3 * DAY)
    days = [told.band[:, day * DAY : (day + 1) * DAY] for day in range(3)]
    assert measured("score: alerts on the first day", per_week(days[0]) / 7) <= 2
    assert measured("score: samples above 1 on the first day", samples_above(days[0], 0, DAY)) <= 3
    assert measured("score: alerts on the second day", per_week(days[1]) / 7) <= 0.25
    assert measured("score: alerts on the third day", per_week(days[2]) / 7) <= 0.15
    assert measured("shift: share of the first day", share_above(told.shift[:, :DAY])) >= 0.05
    assert measured("shift: share of the third day", share_above(told.shift[:, 2 * DAY :])) <= 0.02
    measured("shesd: alerts on the first day", per_week(told.shesd[:, :DAY]) / 7)
    measured("shesd: alerts on the third day", per_week(told.shesd[:, 2 * DAY :]) / 7)


@pytest.mark.parametrize(("height", "length"), [(10.0, 6), (20.0, 12), (20.0, 2)])
def test_a_missed_job_alerts_and_one_that_comes_does_not(height: float, length: int, measured: Measured) -> None:
    missed = daily(HISTORY + AT + 2 * HOUR)
    add_bursts(missed, HISTORY + AT, range(1, 14), height, length)
    came = missed.copy()
    add_bursts(came, HISTORY + AT, range(1), height, length)
    without, with_it = judge(np.concatenate([missed, came]), AT + 2 * HOUR).groups(2)
    assert measured("missed: score at the first sample", found(without.band, AT)) >= 0.9
    assert measured("missed: score during the job", found(without.band, AT, length)) >= 0.97
    assert measured("came: score", found(with_it.band, AT, 2 * HOUR)) <= 0.05
    measured("missed: shesd during the job", found(without.shesd, AT, length))
    measured("missed: shift within 2 h", found(without.shift, AT, 2 * HOUR))
    measured("came: shesd", found(with_it.shesd, AT, 2 * HOUR))


@pytest.mark.parametrize(
    ("before", "jitter", "least", "most"),
    [
        (0, False, 0.97, 1.0),
        (3, False, 0.9, 1.0),
        (5, False, 0.05, 0.6),  # weak: should be learned
        (7, False, 0.0, 0.06),
        (0, True, 0.97, 1.0),
        (5, True, 0.3, 0.9),  # weak: should be learned
        (7, True, 0.1, 0.6),  # weak: the median of seven days is a burst at times that have none today
        (13, True, 0.0, 0.15),
    ],
)
def test_a_daily_burst_is_learned_in_a_week(
    before: int, jitter: bool, least: float, most: float, measured: Measured
) -> None:
    """20 minutes at 20 sigma, on so many days before; with `jitter` up to 10 minutes and 10 % off."""
    values = daily(HISTORY + AT + HOUR)
    add_bursts(values, HISTORY + AT, range(before + 1), 20.0, 4, jitter=jitter)
    told = judge(values, AT + HOUR)
    assert least <= measured("score", found(told.band, AT - 2, HOUR)) <= most
    assert measured("shesd", found(told.shesd, AT - 2, HOUR)) >= 0.97  # a burst is an outlier to it, every day


def weekly(day: int, weeks: int, change: int) -> F64:
    """Series whose level and rhythm sink to 40 % for the last two days of a week, within `change` columns of midnight.
    They are to be judged on that `day` (0..6) after so many weeks. Midnight is the same for all rows."""
    columns = np.arange((7 * weeks + day + 1) * DAY)
    busy = np.where(columns // DAY % 7 < 5, 1.0, 0.4)
    total = np.cumsum(np.concatenate([np.ones(change), busy]))
    busy = (total[change:] - total[:-change]) / change
    return np.asarray(20 + busy * (50 + rhythm(hour_of_day(len(columns)))) + noise(len(columns)))


@pytest.mark.parametrize(
    ("day", "change", "least", "most"),
    [
        (5, 6 * HOUR, 0.0, 0.2),
        (0, 6 * HOUR, 0.0, 0.2),
        (5, HOUR, 0.0, 0.3),
        (5, 1, 0.7, 1.3),  # weak: no weekly season, so a jump at midnight is one though it comes every week
    ],
)
def test_a_known_weekend(day: int, change: int, least: float, most: float, measured: Measured) -> None:
    told = judge(weekly(day, 2 + (day < 5), change), DAY)
    assert least <= measured("score: alerts in the day", per_week(told.band) / 7) <= most
    assert measured("shift: alerts in the day", per_week(told.shift) / 7) <= 0.3
    measured("shesd: alerts in the day", per_week(told.shesd) / 7)


def test_the_first_weekend_alerts_as_it_begins(measured: Measured) -> None:
    told = judge(weekly(5, 0, HOUR), DAY)
    assert measured("score within an hour", found(told.band, 0, HOUR)) >= 0.9
    assert measured("samples above 1 in the day", samples_above(told.band, 0, DAY)) <= 25
    measured("score: alerts in the day", per_week(told.band) / 7)
