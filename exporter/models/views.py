"""The residual views of `robust_band`: seven ways to say how far a sample lies from what was expected of it.

A view of x[t] is x[t] minus a centre made of samples before t (only `xm6` includes t). `med` is the median of the
valid samples; a view without enough of them is NaN. P is the number of columns in a day.

    x        x[t]
    f3       x[t] - med(last 3), at least 2
    f48      x[t] - med(last 48), at least 3
    day      x[t] - S[t], S = med of the samples at the same phase +-h columns on the previous 7 days
    xm6      med(x[t-5..t]), at least 3
    day_f12  day[t] - med(last 12 of day), at least 3
    hw       x[t] - one-step forecast of additive Holt-Winters (Holt 1957; Winters, Management Science 6(3), 1960)
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.models.medians import (
    DAYS,
    LEAD,
    ORIGIN,
    Room,
    day_medians,
    lay_out,
    phase_medians,
    room_for,
    running_median,
)
from exporter.models.order import F32, F64, median_of_keys, to_keys

I64 = npt.NDArray[np.int64]

X, F3, F48, DAY, XM6, DAY_F12, HW = range(7)
VIEWS = 7

# The planes of `future`: the Holt-Winters season, the scale ratios of day_f12 and hw, level + median by phase.
F_HW, F_RATIO_DAY, F_RATIO_HW, F_SEASON = range(4)
PLANES = 4

RECENT = 12  # samples of `day` whose median corrects the seasonal level
ALPHA, BETA, GAMMA = 0.1, 0.001, 0.2
# Length of a running median, its least number of valid samples, and 1 where x[t] itself is left out. A table because
# numba compiles a kernel anew for each number written in a call.
_RUNNING = ((XM6, 6, 3, 0), (F3, 3, 2, 1), (F48, 48, 3, 1))

_TOGETHER = 8  # rows whose Holt-Winters recursions run side by side


def season_reach(step_s: int) -> int:
    """h of the view `day`: how many neighbouring columns of the same phase count as the same time of day."""
    return 1 if step_s >= 300 else 2


def scale_reach(step_s: int) -> int:
    """How many neighbouring columns share a phase's residual scale: 30 minutes, at most 15 columns."""
    return min(1800 // step_s, 15)


def fill_views(
    values: F32,
    median: F64,
    floor: F64,
    end_column: I64,
    period: int,
    reach: int,
    wide: int,
    views: F32,
    daily: F32,
    future: F32,
    state: F64,
    spread: F64,
) -> None:
    """All views of each row over its window, and what the `horizon` columns after it need.

    Shapes: values (B, n), the last column being `end_column` (B,); views (7, B, n); daily (B, RECENT + horizon): S from
    RECENT columns before the end on; future (B, 4, horizon), after the end: the Holt-Winters season, the scale ratios
    of day_f12 and hw, and the window's median at the phase; state (B, 2): Holt-Winters level and trend; spread (B,):
    the median distance of the window from its medians by phase. `reach` and `wide` are the numbers of columns on either
    side that share a season and a scale. Rows whose median is NaN have no samples: all of it is NaN there.
    """
    rows, n = values.shape
    horizon = future.shape[2]
    room = room_for(max(LEAD + n + period + horizon, DAYS * period + 2 * wide))
    season = np.zeros((rows, period), np.float32)
    _fill_plain(values, period, reach, room, views, daily)
    _start_seasons(values, median, end_column, room, season)
    _measure_seasons(values, median, end_column, season, future, spread)
    holt_winters(values, median, end_column - n + 1, season, views[HW], state)
    for i in range(horizon):
        future[:, F_HW, i] = season[np.arange(rows), (end_column + 1 + i) % period]
    _scale_by_phase(views, floor, end_column, period, wide, room, future)
    missing = np.isnan(median)
    views[:, missing], daily[missing], future[missing] = np.nan, np.nan, np.nan
    state[missing], spread[missing] = np.nan, np.nan


@kernel
def _fill_plain(values: F32, period: int, reach: int, room: Room, views: F32, daily: F32) -> None:
    """All views but hw, day_f12 not scaled yet, and the S to come."""
    rows, n = values.shape
    line = np.empty(n + daily.shape[1] - RECENT, np.float32)
    for i in range(rows):
        lay_out(values[i], -LEAD, room)
        for t in range(n):
            views[X, i, t] = values[i, t]
        for view, length, at_least, shift in _RUNNING:
            running_median(room, length, at_least, shift, views[view, i])
        # S[t] is the median of the valid x[t - d*period + j] for d = 1..7 and abs(j) <= reach.
        day_medians(room, ORIGIN + LEAD - period - reach, period, 2 * reach + 1, line)
        for k in range(daily.shape[1]):
            daily[i, k] = line[n - RECENT + k] if n - RECENT + k >= 0 else np.nan
        _subtract(values[i], views[F3, i], views[F3, i])
        _subtract(values[i], views[F48, i], views[F48, i])
        _subtract(values[i], line, views[DAY, i])
        lay_out(views[DAY, i], -LEAD, room)
        running_median(room, RECENT, 3, 1, views[DAY_F12, i])
        _subtract(views[DAY, i], views[DAY_F12, i], views[DAY_F12, i])


@kernel
def _subtract(x: F32, centre: F32, out: F32) -> None:
    """out[t] = x[t] - centre[t]."""
    for t in range(len(out)):
        out[t] = x[t] - centre[t]


@kernel
def _start_seasons(values: F32, level: F64, end_column: I64, room: Room, season: F32) -> None:
    """Season by phase (B, period): median of the row at each phase minus its level, 0 for a phase never seen."""
    rows, n = values.shape
    period = season.shape[1]
    medians = np.empty(period)
    for i in range(rows):
        lay_out(values[i], -LEAD, room)
        phase_medians(values[i], period, room, medians)
        first_phase = (end_column[i] - n + 1) % period
        for k in range(period):
            apart = medians[k] - level[i]
            season[i, (first_phase + k) % period] = apart if apart == apart else 0.0


@kernel
def _measure_seasons(values: F32, level: F64, end_column: I64, season: F32, future: F32, spread: F64) -> None:
    """The medians by phase in the columns to come, and how far the window lies from them (median distance)."""
    rows, n = values.shape
    period = season.shape[1]
    distance, keys = np.empty(n, np.float32), np.empty(n, np.int32)
    for i in range(rows):
        phase = (end_column[i] - n + 1) % period
        for t in range(n):
            distance[t] = abs(values[i, t] - np.float32(level[i] + season[i, phase]))
            phase = phase + 1 if phase + 1 < period else 0
        spread[i] = median_of_keys(keys, to_keys(distance, keys))
        for k in range(future.shape[2]):
            future[i, F_SEASON, k] = level[i] + season[i, (end_column[i] + 1 + k) % period]


@kernel
def holt_winters(values: F32, median: F64, first_column: I64, season: F32, out: F32, state: F64) -> None:
    """One-step-ahead residuals over the windows; level and trend after them go to `state`, the seasons are updated.

    Shapes: values, out (B, n); median, the first level, and first_column (B,); season (B, period) by phase, started by
    the caller; state (B, 2). A gap keeps the season and moves the level by the trend. Some rows are worked on together:
    each step waits for the one before, so that a row alone leaves the processor idle.
    """
    rows, n = values.shape
    period = season.shape[1]
    for start in range(0, rows, _TOGETHER):
        some = slice(start, min(start + _TOGETHER, rows))
        for i in range(start, min(start + _TOGETHER, rows)):
            state[i, 0], state[i, 1] = median[i], 0.0
        phase = first_column[some] % period
        for t in range(n):
            _holt_winters_step(values[some], t, phase, season[some], out[some], state[some])


@kernel
def _holt_winters_step(values: F32, t: int, phase: I64, season: F32, out: F32, state: F64) -> None:
    """Column t of some rows; `phase` (rows,) moves on."""
    period = season.shape[1]
    for i in range(len(phase)):
        x, seasonal, level = values[i, t], season[i, phase[i]], state[i, 0]
        ahead = level + state[i, 1]
        out[i, t] = x - (ahead + seasonal)
        new_level = ALPHA * (x - seasonal) + (1 - ALPHA) * ahead
        trend = BETA * (new_level - level) + (1 - BETA) * state[i, 1]
        new_seasonal = GAMMA * (x - ahead) + (1 - GAMMA) * seasonal
        valid = x == x
        season[i, phase[i]] = np.float32(new_seasonal) if valid else seasonal
        state[i, 0] = new_level if valid else ahead
        state[i, 1] = trend if valid else state[i, 1]
        phase[i] = phase[i] + 1 if phase[i] + 1 < period else 0


@kernel
def _scale_by_phase(views: F32, floor: F64, end_column: I64, period: int, wide: int, room: Room, future: F32) -> None:
    """Multiply day_f12 and hw by the ratio of their phase (r_h of the models' page), and note the ratios to come."""
    rows, n = views.shape[1:]
    size = np.empty(n, np.float32)
    ratio = np.empty(period)
    for i in range(rows):
        for row, view in enumerate((DAY_F12, HW)):
            residual = views[view, i]
            for t in range(n):
                size[t] = abs(residual[t])
            _find_ratios(size, floor[i], wide, room, ratio)
            _multiply(residual, ratio)
            for k in range(future.shape[2]):
                future[i, F_RATIO_DAY + row, k] = ratio[k % period]


@kernel
def _multiply(residual: F32, ratio: F64) -> None:
    """Multiply each residual by its phase's ratio, in place; ratio (period,) from the phase after the end on."""
    n, period = len(residual), len(ratio)
    for start in range(n - period, -period, -period):
        first = max(0, -start)
        day, scale = residual[start + first : start + period], ratio[first:]
        for k in range(len(day)):
            day[k] *= scale[k]


@kernel
def _find_ratios(size: F32, floor: float, wide: int, room: Room, ratio: F64) -> None:
    """What residuals of the absolute `size` (n,) are multiplied by: ratio (period,) from the phase after the end on.

    The scale of a phase is the median absolute residual at the phase +-wide columns over the last 7 days.
    """
    n, period = len(size), len(ratio)
    scale, keys = np.empty(period, np.float32), np.empty(n, np.int32)
    glo = median_of_keys(keys, to_keys(size, keys))
    lay_out(size, n - DAYS * period - wide, room)
    day_medians(room, ORIGIN + (DAYS - 1) * period, period, 2 * wide + 1, scale)
    for k in range(period):
        ratio[k] = phase_ratio(scale[k], glo, floor)


@kernel
def phase_ratio(loc: float, glo: float, floor: float) -> float:
    """max(glo, f) / max(sqrt(loc^2/2 + glo^2/2), f); a phase without samples has the window's own scale."""
    if math.isnan(loc):
        loc = glo
    return max(glo, floor) / max(math.sqrt(0.5 * loc * loc + 0.5 * glo * glo), floor)
