"""The three-sigma rule on the trailing window."""

from __future__ import annotations

import numpy as np

from bench.quality.baselines.moments import rolling_moments
from bench.quality.baselines.spans import in_half_widths, samples, spans
from bench.quality.corpus import F64, Grid

SIGMAS = 3.0


def zscore(grid: Grid) -> F64:
    """|x - mean| / (3 std), mean and population std over the 14 days before the sample; score (T,).

    NaN at a gap and while the window holds fewer samples than a day has columns. A constant window: 0 for its value,
    the highest score for any other.
    """
    x, span = samples(grid), spans(grid)
    mean, deviation = rolling_moments(x, span.window, span.day)
    return in_half_widths(np.abs(x - mean), SIGMAS * deviation)
