"""Additive Holt-Winters with a daily season: the one-step residual against its own trailing deviation."""

from __future__ import annotations

import math

import numpy as np

from bench.quality.baselines.moments import rolling_moments
from bench.quality.baselines.spans import in_half_widths, samples, spans
from bench.quality.corpus import F64, Grid
from exporter.kernels import kernel

ALPHA, BETA, GAMMA = 0.1, 0.001, 0.2  # level, trend, season
SIGMAS = 2.5
FEWEST = 24  # residuals to tell a deviation from
ROUNDING = 1e-13  # of the value: smaller residuals are none, or a constant series would alert on its own rounding


def holt_winters(grid: Grid) -> F64:
    """|x - one-step forecast| / (2.5 std of the residuals of the 14 days before the sample); score (T,).

    NaN at a gap, during the first day (which starts the season), and until there are 24 residuals. A gap leaves the
    state as it is. Winters, Management Science 6(3), 1960, in its additive form.
    """
    x, span = samples(grid), spans(grid)
    forecast = forecasts(x, span.day)
    residual = x - forecast
    residual[np.abs(residual) <= ROUNDING * np.maximum(np.abs(x), np.abs(forecast))] = 0.0
    _, deviation = rolling_moments(residual, span.window, FEWEST)
    return in_half_widths(np.abs(residual), SIGMAS * deviation)


def forecasts(x: F64, day: int) -> F64:
    """One-step forecasts (T,) of samples (T,) with NaN gaps; NaN until the season has started.

    It starts at the end of the first day (counted from the first sample) by which half of the phases were seen: level
    at the mean, no trend, and for each phase the mean of its samples over the level, phases not yet seen on the
    straight line between their neighbours.
    """
    forecast = np.full(len(x), np.nan)
    started = _start(x, day)
    if started is not None:
        end, level, season = started
        _run(x, end, level, season, forecast)
    return forecast


def _start(x: F64, day: int) -> tuple[int, float, F64] | None:
    """Where the run begins, its level, and the season (day,) by column modulo a day; None while it cannot start."""
    seen = np.flatnonzero(~np.isnan(x))
    first = int(seen[0]) if len(seen) else len(x)
    for end in range(first + day, len(x) + 1, day):
        head = seen[: np.searchsorted(seen, end)]
        count = np.bincount(head % day, minlength=day)
        if 2 * np.count_nonzero(count) >= day:
            level = float(x[first] + np.mean(x[head] - x[first]))
            total = np.bincount(head % day, weights=x[head] - level, minlength=day)
            known = np.flatnonzero(count)
            return end, level, np.interp(np.arange(day), known, total[known] / count[known], period=day)
    return None


@kernel
def _run(x: F64, start: int, level: float, season: F64, forecast: F64) -> None:
    """Forecast and update from column `start` on, in place; `season` is by column modulo its length."""
    trend = 0.0
    for t in range(start, len(x)):
        phase = t % len(season)
        forecast[t] = level + trend + season[phase]
        if not math.isnan(x[t]):
            step = trend + ALPHA * (x[t] - forecast[t])  # corrections to the state: a constant series leaves it as is
            level += step
            trend += BETA * (step - trend)
            season[phase] += GAMMA * (x[t] - level - season[phase])
