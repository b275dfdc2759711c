"""Mean and standard deviation of the trailing window of every column, without a subtraction that could cancel."""

from __future__ import annotations

import math

import numpy as np

from bench.quality.corpus import F64
from exporter.kernels import kernel


@kernel
def _added(row: F64, x: float) -> None:
    """Add a sample to (count, mean, sum of squared deviations); a gap adds nothing. Welford 1962."""
    if math.isnan(x):
        return
    row[0] += 1.0
    off = x - row[1]
    row[1] += off / row[0]
    row[2] += off * (x - row[1])


@kernel
def _mean_and_deviation(a: F64, b: F64, fewest: int) -> tuple[float, float]:
    """Mean and population standard deviation of two disjoint parts. Chan, Golub, LeVeque 1979, formula 2.1."""
    count = a[0] + b[0]
    if count < max(1, fewest):
        return np.nan, np.nan
    off = b[1] - a[1]
    share = b[0] / count
    squares = a[2] + b[2] + off * off * a[0] * share
    return a[1] + off * share, math.sqrt(squares / count)


@kernel
def rolling_moments(x: F64, window: int, fewest: int) -> F64:
    """Mean and population standard deviation of the `window` columns before each one, the column itself left out.

    Shapes: x (T,) with NaN gaps; returns (2, T), NaN where the window has under `fewest` samples. Columns are cut into
    stretches of one window's length; every window is the end of one stretch and the beginning of the next, so two sums
    that only ever grow make it up, and what left the window (a sample of 1e15) leaves no rounding behind.
    Cost: about 10 ns a column.
    """
    n = len(x)
    found = np.full((2, n), np.nan)
    tails = np.zeros((window + 1, 3))  # tails[k]: the columns of the stretch before from its k-th on
    head = np.zeros(3)
    for start in range(0, n, window):
        head[:] = 0.0
        for t in range(start, min(start + window, n)):
            found[0, t], found[1, t] = _mean_and_deviation(tails[t - start], head, fewest)
            _added(head, x[t])
        tails[window] = 0.0
        for k in range(min(window, n - start) - 1, -1, -1):
            tails[k] = tails[k + 1]
            _added(tails[k], x[start + k])
    return found
