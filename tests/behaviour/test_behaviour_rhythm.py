"""x"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Measured
from judged_rows import F64, first_above, found, judge, per_week, samples_above
from made_rows import DAY, HISTORY, LEVEL, SEEDS, daily, drawn, hour_of_day, noise, rhythm

HOUR = 12
AT = HOUR


def test_wrong_time_of_day(measured: Measured) -> None:
    columns = HISTORY + AT + DAY
    moved = np.where(np.arange(columns) >= HISTORY + AT, 6.0, 0.0)
    told = judge(LEVEL + rhythm(hour_of_day(columns, moved_h=moved)) + noise(columns), AT + DAY)
    for hours in (1, 3, 6, 12, 24):
        measured(f"score within {hours} h", found(told.band, AT, hours * HOUR))
        measured(f"shift within {hours} h", found(told.shift, AT, hours * HOUR))
    measured("either within 6 h", float(((told.shift > 1) | (told.band > 1))[:, AT : AT + 72].any(axis=1).mean()))


def test_dst(measured: Measured) -> None:
    columns = HISTORY + 3 * DAY
    moved = np.where(np.arange(columns) >= HISTORY, 1.0, 0.0)
    told = judge(LEVEL + rhythm(hour_of_day(columns, moved_h=moved)) + noise(columns), 3 * DAY)
    for day in range(3):
        part = slice(day * DAY, (day + 1) * DAY)
        for kind in ("band", "shesd", "shift"):
            measured(f"{kind} day {day + 1}: alerts a day", per_week(getattr(told, kind)[:, part]) / 7)


def bursts(values: F64, days: range, height: float, jitter: bool, length: int = 6, at: int = AT) -> None:
    """Daily burst `day` days before the judged one."""
    for day in days:
        start = np.full(SEEDS, HISTORY + at - day * DAY)
        size = np.full(SEEDS, height)
        if jitter:
            start += drawn(lambda rng: rng.integers(-2, 3, 1), 20 + day)[:, 0]
            size = size * drawn(lambda rng: rng.uniform(0.9, 1.1, 1), 40 + day)[:, 0]
        for k in range(length):
            values[np.arange(SEEDS), start + k] += size


@pytest.mark.parametrize(("height", "length"), [(10.0, 6), (20.0, 6), (20.0, 12), (20.0, 2)])
def test_missed_batch_job(height: float, length: int, measured: Measured) -> None:
    missed = daily(HISTORY + AT + 2 * HOUR)
    bursts(missed, range(1, 14), height, False, length)
    came = missed.copy()
    bursts(came, range(0, 1), height, False, length)
    told = judge(np.concatenate([missed, came]), AT + 2 * HOUR)
    missed_told, came_told = told.part(slice(0, SEEDS)), told.part(slice(SEEDS, None))
    name = f"{height:g} for {length}: "
    measured(name + "missed: found", found(missed_told.band, AT, length))
    measured(name + "missed: first", found(missed_told.band, AT))
    measured(name + "came: alerts", found(came_told.band, AT, 2 * HOUR))
    measured(name + "missed shesd", found(missed_told.shesd, AT, length))
    measured(name + "missed shift", found(missed_told.shift, AT, 2 * HOUR))
    measured(name + "came shesd", found(came_told.shesd, AT, 2 * HOUR))


@pytest.mark.parametrize("before", [0, 1, 2, 3, 4, 5, 6, 7, 13])
def test_repeated_burst(before: int, measured: Measured) -> None:
    values = daily(HISTORY + AT + HOUR)
    bursts(values, range(0, before + 1), 20.0, True, 4)
    told = judge(values, AT + HOUR)
    measured(f"{before} before: alert", found(told.band, AT - 3, HOUR))
    measured(f"{before} before: shesd", found(told.shesd, AT - 3, HOUR))


def test_weekly(measured: Measured) -> None:
    columns = HISTORY + DAY
    hour = drawn(lambda rng: rng.uniform(0, 24, 1), 1) + np.arange(columns) / 12
    for name, offset in (("saturday", 5), ("monday", 0), ("wednesday", 2)):
        weekday = (np.floor(hour / 24).astype(int) + offset) % 7
        day = hour // 24
        # judged day: day index 14 or so of each row's own clock
        share = np.where(weekday >= 5, 0.4, 1.0)
        values = 20 + share * (30 + rhythm(hour % 24)) + noise(columns)
        told = judge(values, DAY)
        for kind in ("band", "shesd", "shift"):
            measured(f"{name} {kind}: alerts in the day", per_week(getattr(told, kind)) / 7)
        measured(f"{name} band: samples", samples_above(told.band, 0, DAY))
