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

from exporter.kernels import kernel
from exporter.models.order import F32, F64, insert_sorted, median_of, middle_of_sorted, running_median, slide

X, F3, F48, DAY, XM6, DAY_F12, HW = range(7)
VIEWS = 7

DAYS_BACK = 7
RECENT = 12  # samples of `day` whose median corrects the seasonal level
ALPHA, BETA, GAMMA = 0.1, 0.001, 0.2
SCRATCH = 1024  # enough for the widest running window: 7 days x (2 x 15 + 1) columns


def season_reach(step_s: int) -> int:
    """h of the view `day`: how many neighbouring columns of the same phase count as the same time of day."""
    return 1 if step_s >= 300 else 2


def scale_reach(step_s: int) -> int:
    """How many neighbouring columns share a phase's residual scale: 30 minutes, at most 15 columns."""
    return min(1800 // step_s, 15)


@kernel
def season_medians(x: F32, period: int, reach: int, ahead: int, box: F32, out: F32) -> None:
    """S for every column of the window and `ahead` columns after it.

    Shapes: x (n,), out (n + ahead,), ahead + reach <= period. S[t] is the median of the valid x[t - d*period + j] for
    d = 1..7 and abs(j) <= reach; NaN where there is none. Walking one phase through the days keeps the window sorted.
    """
    n = len(x)
    for phase in range(min(period, n + ahead)):
        count = 0
        for t in range(phase, n + ahead, period):
            for j in range(-reach, reach + 1):
                enters, leaves = t - period + j, t - (DAYS_BACK + 1) * period + j
                new = x[enters] if 0 <= enters < n else np.nan
                old = x[leaves] if leaves >= 0 else np.nan
                count = slide(box, count, old, new)
            out[t] = middle_of_sorted(box, count) if count > 0 else np.nan


@kernel
def phase_scales(residual: F32, end_phase: int, period: int, reach: int, box: F32, out: F32) -> None:
    """Median absolute residual at each phase +-reach columns over the last 7 days.

    Shapes: residual (n,) whose last column has the phase `end_phase`; out (period,). NaN for a phase without samples.
    """
    n = len(residual)
    count = 0
    for step in range(-2 * reach, period):
        # The window is centred on `back` columns before the end; one more edge column per day enters at each step.
        enters = step + reach
        leaves = step - reach - 1
        for day in range(DAYS_BACK):
            new = _absolute(residual, n - 1 - (enters + day * period))
            old = _absolute(residual, n - 1 - (leaves + day * period)) if leaves >= -reach else np.nan
            count = slide(box, count, old, new)
        if step >= 0:
            out[(end_phase - step) % period] = middle_of_sorted(box, count) if count > 0 else np.nan


@kernel
def _absolute(residual: F32, t: int) -> float:
    """abs(residual[t]), NaN outside the window."""
    return abs(residual[t]) if 0 <= t < len(residual) else np.nan


@kernel
def holt_winters(x: F32, first_phase: int, period: int, level: float, season: F32, out: F32) -> tuple[float, float]:
    """One-step-ahead residuals over the window; returns level and trend after it and leaves the season updated.

    Shapes: x, out (n,); season (period,) by phase, started by the caller. A gap keeps the season and moves the level by
    the trend.
    """
    trend = 0.0
    phase = first_phase
    for t in range(len(x)):
        ahead = level + trend
        out[t] = x[t] - (ahead + season[phase])
        if not math.isnan(x[t]):
            new_level = ALPHA * (x[t] - season[phase]) + (1 - ALPHA) * ahead
            trend = BETA * (new_level - level) + (1 - BETA) * trend
            season[phase] = GAMMA * (x[t] - ahead) + (1 - GAMMA) * season[phase]
            level = new_level
        else:
            level = ahead
        phase += 1
        if phase == period:
            phase = 0
    return level, trend


@kernel
def starting_season(x: F32, first_phase: int, period: int, level: float, box: F32, out: F32) -> None:
    """Median of x at each phase minus the level; 0 for a phase never seen. out (period,)."""
    n = len(x)
    for first in range(period):
        count = 0
        for t in range(first, n, period):
            if not math.isnan(x[t]):
                count = insert_sorted(box, count, x[t]) if count < SCRATCH - 1 else count
        out[(first_phase + first) % period] = middle_of_sorted(box, count) - level if count > 0 else 0.0


@kernel
def scale_by_phase(residual: F32, first_phase: int, scale: F32, glo: float, floor: float) -> None:
    """Divide each residual by its phase's scale relative to the whole window's, in place: r_h of the models' page."""
    phase = first_phase
    period = len(scale)
    for t in range(len(residual)):
        residual[t] *= phase_ratio(scale[phase], glo, floor)
        phase += 1
        if phase == period:
            phase = 0


@kernel
def phase_ratio(loc: float, glo: float, floor: float) -> float:
    """max(glo, f) / max(sqrt(loc^2/2 + glo^2/2), f); a phase without samples has the window's own scale."""
    if math.isnan(loc):
        loc = glo
    return max(glo, floor) / max(math.sqrt(0.5 * loc * loc + 0.5 * glo * glo), floor)


@kernel
def median_abs(x: F32, box: F32) -> float:
    """Median of abs(x) over the valid samples, NaN without any. box: scratch of at least len(x)."""
    count = 0
    for value in x:
        if not math.isnan(value):
            box[count] = abs(value)
            count += 1
    return median_of(box, count)


@kernel
def fill_views(
    x: F32,
    median: float,
    floor: float,
    end_column: int,
    period: int,
    reach: int,
    wide: int,
    horizon: int,
    box: F32,
    line: F32,
    season: F32,
    out: F32,
    future: F32,
    state: F64,
) -> None:
    """All views of one series over its window, and what the next `horizon` columns need.

    Shapes: x (n,) centred, its last column being `end_column`; out (7, n); future (4, RECENT + horizon): S from
    RECENT columns before the end on, then (from place RECENT on) the Holt-Winters season and the scale ratios of
    day_f12 and hw; state (2,): Holt-Winters level and trend. Scratch: box (>= max(n, SCRATCH)), line (n + horizon),
    season (2, period).
    """
    n = len(x)
    first_phase = (end_column - n + 1) % period
    out[X, :] = x
    running_median(x, 3, 2, 1, box, out[F3])
    running_median(x, 48, 3, 1, box, out[F48])
    running_median(x, 6, 3, 0, box, out[XM6])
    season_medians(x, period, reach, horizon, box, line)
    out[F3] = x - out[F3]
    out[F48] = x - out[F48]
    out[DAY] = x - line[:n]
    running_median(out[DAY], RECENT, 3, 1, box, out[DAY_F12])
    out[DAY_F12] = out[DAY] - out[DAY_F12]
    starting_season(x, first_phase, period, median, box, season[0])
    level, trend = holt_winters(x, first_phase, period, median, season[0], out[HW])
    state[0] = level
    state[1] = trend
    for k in range(RECENT + horizon):
        future[0, k] = line[n - RECENT + k] if n - RECENT + k >= 0 else np.nan
    for k in range(horizon):
        future[1, RECENT + k] = season[0, (end_column + 1 + k) % period]
    for row, view in enumerate((DAY_F12, HW)):
        glo = median_abs(out[view], box)
        phase_scales(out[view], end_column % period, period, wide, box, season[1])
        scale_by_phase(out[view], first_phase, season[1], glo, floor)
        for k in range(horizon):
            future[2 + row, RECENT + k] = phase_ratio(season[1, (end_column + 1 + k) % period], glo, floor)
