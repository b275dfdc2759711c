"""x"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Measured
from judged_rows import F64, first_above, found, judge, per_week, samples_above
from made_rows import DAY, HISTORY, LEVEL, SEEDS, daily, drawn, hour_of_day, noise, once, rhythm

HOUR = 12
AT = HOUR


def test_gaps(measured: Measured) -> None:
    values = daily(HISTORY + DAY)
    values[once(values.shape[1], 0.3) > 0] = np.nan
    told = judge(values, DAY)
    for kind in ("band", "shesd", "shift", "stale"):
        measured(f"{kind}: a week", per_week(getattr(told, kind)))
    values = values[:, : HISTORY + 2 * HOUR]
    values[:, HISTORY + AT] = daily(HISTORY + DAY)[:, HISTORY + AT] + 12
    told = judge(values, 2 * HOUR)
    measured("spike", found(told.band, AT))


def test_outage(measured: Measured) -> None:
    values = daily(HISTORY + AT + DAY + 6 * HOUR)
    values[:, HISTORY + AT : HISTORY + AT + DAY] = np.nan
    told = judge(values, AT + DAY + 6 * HOUR)
    for kind in ("band", "shesd", "shift", "stale"):
        measured(f"{kind}: on return 1 h", found(getattr(told, kind), AT + DAY, HOUR))
        measured(f"{kind}: on return 6h", found(getattr(told, kind), AT + DAY, 6 * HOUR))
    measured("judged at once", float(np.isfinite(told.band[:, AT + DAY]).mean()))
    assert np.isnan(told.band[:, AT : AT + DAY]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_numbers(bad: float, measured: Measured) -> None:
    values = daily(HISTORY + 4 * HOUR)
    where = once(values.shape[1], 0.1) > 0
    gaps = np.where(where, np.nan, values)
    values[where] = bad
    told, same = judge(values, 4 * HOUR, nan_is_sample=True), judge(gaps, 4 * HOUR)
    assert told.refused == where[:, HISTORY:].sum()
    for kind in ("band", "shesd", "shift", "stale"):
        np.testing.assert_array_equal(getattr(told, kind), getattr(same, kind))
    measured("a", per_week(told.band))


def test_cold_start(measured: Measured) -> None:
    values = daily(2 * DAY + HOUR)
    told = judge(values, 2 * DAY + HOUR)
    for part, name in ((slice(0, DAY), "day 1"), (slice(DAY, 2 * DAY), "day 2")):
        for kind in ("band", "shesd", "shift", "stale"):
            measured(
                f"{name} {kind}: alerts",
                per_week(getattr(told, kind)[:, part]) * np.isfinite(getattr(told, kind)[:, part]).mean() / 7,
            )
    for height in (12, 20):
        for days in (0.25, 0.5, 1, 1.5, 2, 3, 4, 7):
            columns = int(days * DAY)
            one = daily(columns + 1)
            one[:, columns] += height
            told = judge(np.hstack([np.full((SEEDS, max(0, HISTORY - columns)), np.nan), one])[:, -HISTORY - 1 :], 1)
            measured(f"{height} sigma after {days} days", found(told.band, 0))


SCALES = [1e-6, 1e-9, 1e-10, 1e-12]


def test_scales(measured: Measured) -> None:
    base = daily(HISTORY + 2 * HOUR)
    base[:, HISTORY + AT] += 12
    told = judge(base, 2 * HOUR)
    measured("1: spike", found(told.band, AT))
    for scale in SCALES:
        other = judge(base * scale, 2 * HOUR)
        measured(f"{scale}: spike", found(other.band, AT))
        measured(f"{scale}: worst", float(np.abs(other.band - told.band).max()))
        measured(f"{scale}: verdicts differ", float(((other.band > 1) != (told.band > 1)).sum()))
        measured(f"{scale}: worst shesd", float(np.abs(other.shesd - told.shesd).max()))
        measured(f"{scale}: finite", float(np.isfinite(other.band).mean()))
    big = judge(base * 1e9, 2 * HOUR)
    measured(f"1e9 scale: worst", float(np.abs(big.band - told.band).max()))


def test_offsets(measured: Measured) -> None:
    base = daily(HISTORY + 2 * HOUR) - LEVEL
    base[:, HISTORY + AT] += 12
    zero = judge(base, 2 * HOUR)
    for level in (100, 1e3, 1e4, 1e6, 1e9):
        told = judge(base + level, 2 * HOUR)
        measured(f"{level:g}: spike", found(told.band, AT))
        measured(f"{level:g}: worst", float(np.abs(told.band - zero.band).max()))
        measured(f"{level:g}: other verdicts", float(((told.band > 1) != (zero.band > 1)).sum()))
        measured(f"{level:g}: spike shesd", found(told.shesd, AT))
    for share in (0.001, 0.005, 0.01, 0.02, 0.05):
        values = base + 1e9
        values[:, HISTORY + AT] += share * 1e9
        told = judge(values, 2 * HOUR)
        measured(f"1e9: spike of {share} of the level", found(told.band, AT))
        measured(f"1e9: spike of {share} of the level shesd", found(told.shesd, AT))
