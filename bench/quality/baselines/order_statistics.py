"""Detectors from order statistics of the trailing window: median and MAD, and extreme quantiles."""

from __future__ import annotations

import numpy as np

from bench.quality.baselines.ranks import MAD_TO_SIGMA, window_statistics
from bench.quality.baselines.spans import HIGHEST_SCORE, fit_columns, held, in_half_widths, samples, spans
from bench.quality.corpus import F64, Grid

SIGMAS = 3.0
TAIL = 0.005  # share of the window beyond either quantile


def mad(grid: Grid) -> F64:
    """|x - median| / (3 x 1.4826 MAD) of the 14 days before the hour of the sample; score (T,).

    NaN at a gap and while the window holds fewer samples than a day has columns. A MAD of 0 (more than half of the
    window is one value) leaves a band without width: every other value gets the highest score, the flood that users
    of this rule get on counters of rare events.
    """
    x = samples(grid)
    median, deviation, _, _ = _hourly(grid, x)
    return in_half_widths(np.abs(x - median), SIGMAS * MAD_TO_SIGMA * deviation)


def rolling_quantile(grid: Grid) -> F64:
    """Distance beyond the 0.5 % and 99.5 % quantiles of the 14 days before the hour of the sample; score (T,).

    Inside: distance from the median in units of the quantile's on that side, 1 at the quantile. Outside: 1 + distance
    beyond it in units of the distance between the two quantiles; the highest score where that is 0.
    NaN as in `mad`.
    """
    x = samples(grid)
    median, _, low, high = _hourly(grid, x)
    above = x > median
    inside = in_half_widths(np.abs(x - median), np.where(above, high - median, median - low))
    beyond = np.where(above, x - high, low - x)
    outside = np.minimum(1.0 + in_half_widths(beyond, high - low), HIGHEST_SCORE)
    return np.where(beyond > 0.0, outside, inside)


def _hourly(grid: Grid, x: F64) -> tuple[F64, F64, F64, F64]:
    """Median, MAD and both quantiles that hold at each column, all (T,)."""
    span = spans(grid)
    found = window_statistics(x, fit_columns(len(x), span), span.window, span.day, TAIL)
    median, deviation, low, high = (held(row, len(x), span) for row in found)
    return median, deviation, low, high
