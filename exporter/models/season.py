"""The season that S-H-ESD takes off: the smoothed medians of the phases of a day, or the one of a robust STL.

What is left is sorted later; gaps are infinite in it, so that they come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.models.order import F32, F64

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

FEWEST = 24  # valid samples under which neither a row nor a block is judged by itself
SMOOTHED = 9  # neighbouring phases whose medians are averaged
LARGEST = 1e37  # beyond it differences of float32 may overflow


def smoothing_reach(period: int) -> int:
    """Phases on either side over which phase medians are averaged: 4, or as many as a shorter day has."""
    return min(SMOOTHED // 2, (period - 1) // 2)


@lru_cache(maxsize=64)
def sorting_network(size: int) -> I64:
    """Pairs (i, j), i < j, to compare and exchange in this order so that `size` values end up sorted.

    Batcher's odd-even merge sort (Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2M). The order of the
    comparisons does not depend on the values: all phases can be sorted side by side with SIMD minima and maxima.
    """
    pairs = [pair for run in _powers_of_two(size) for step in _halvings(run) for pair in _exchanges(size, run, step)]
    network = np.array(pairs, np.int64).reshape(-1, 2)
    network.flags.writeable = False
    return network


def _powers_of_two(below: int) -> list[int]:
    return [1 << k for k in range(max(below - 1, 0).bit_length())]


def _halvings(run: int) -> list[int]:
    return [run >> k for k in range(run.bit_length())]


def _exchanges(size: int, run: int, step: int) -> Iterator[tuple[int, int]]:
    """One round of the network: neighbours at distance `step` inside merges of two runs of length `run`."""
    for start in range(step % run, size - step, 2 * step):
        for i in range(start, min(start + step, size - step)):
            if i // (2 * run) == (i + step) // (2 * run):
                yield i, i + step


@kernel
def remove_season(values: F32, network: I64, reach: int, valid: I32, residual: F32, season: F64) -> None:
    """Residuals with +inf for gaps, and the season by distance from the end: place q for column end + 1 + q.

    Shapes: values, residual (b, n); valid (b,), the number of valid samples; season (b, period), zeros on entry and
    left so where there is too little to tell.
    """
    n, period = values.shape[1], season.shape[1]
    table = np.empty((-(-n // period), period), np.float32)
    seen = np.empty(period, np.int32)
    padded = np.empty(period + 2 * reach)
    medians = padded[reach : reach + period]
    for i in range(len(values)):
        valid[i] = _mark_gaps(values[i], residual[i])
        if valid[i] < max(FEWEST, period):
            continue
        _fold(residual[i], table, seen)
        _sort_columns(table, network)
        _column_medians(table, seen, medians)
        _fill_unseen(seen, medians)
        _smooth(padded, reach, season[i])
        _subtract_season(residual[i], season[i])


@kernel
def _mark_gaps(x: F32, out: F32) -> int:
    """Copy x with +inf for whatever is no usable sample; returns how many are."""
    count = 0
    for t in range(len(x)):
        usable = abs(x[t]) <= LARGEST
        out[t] = x[t] if usable else np.float32(np.inf)
        count += 1 if usable else 0
    return count


@kernel
def _fold(x: F32, table: F32, seen: I32) -> None:
    """Lay x out with one day per row, ending with the last column; `seen` counts the valid samples of each phase."""
    days, period = table.shape
    seen[:] = 0
    for day in range(days):
        row, start = table[day], len(x) - (days - day) * period
        for q in range(period):
            row[q] = x[start + q] if start + q >= 0 else np.float32(np.inf)
            seen[q] += 1 if row[q] < np.inf else 0


@kernel
def _sort_columns(table: F32, network: I64) -> None:
    """Sort every column of the table ascending, all columns side by side."""
    period = table.shape[1]
    for c in range(len(network)):
        low = table[network[c, 0]]
        high = table[network[c, 1]]
        for q in range(period):
            a, b = low[q], high[q]
            low[q] = a if a < b else b
            high[q] = b if a < b else a


@kernel
def _column_medians(table: F32, seen: I32, out: F64) -> None:
    """Median of the first seen[q] values of each sorted column; undefined where none was seen."""
    for q in range(table.shape[1]):
        half = seen[q] >> 1
        upper = np.float64(table[min(half, len(table) - 1), q])
        out[q] = upper if seen[q] & 1 or half == 0 else 0.5 * (table[half - 1, q] + upper)


@kernel
def _fill_unseen(seen: I32, medians: F64) -> None:
    """Phases never seen lie on the straight line between the nearest seen ones, round the clock."""
    period = len(seen)
    unseen = 0
    for q in range(period):
        unseen += seen[q] == 0
    if unseen == 0:
        return
    start = 0
    while seen[start] == 0:
        start += 1
    left = start
    for q in range(start + 1, start + period + 1):
        if seen[q % period] == 0:
            continue
        slope = (medians[q % period] - medians[left % period]) / (q - left)
        for k in range(left + 1, q):
            medians[k % period] = medians[left % period] + slope * (k - left)
        left = q


@kernel
def _smooth(padded: F64, reach: int, out: F64) -> None:
    """Mean of the 2 reach + 1 neighbouring phases, round the clock, always added from the earliest to the latest.

    Shapes: out (period,); padded (period + 2 reach,) with the medians in its middle, its ends are overwritten.
    """
    period = len(out)
    for k in range(reach):
        padded[k] = padded[period + k]
        padded[reach + period + k] = padded[reach + k]
    out[:] = 0.0
    for k in range(2 * reach + 1):
        for q in range(period):
            out[q] += padded[q + k]
    for q in range(period):
        out[q] /= 2 * reach + 1


@kernel
def _subtract_season(x: F32, season: F64) -> None:
    """x minus the season, in place; x's last column has the season's last place. Gaps (+inf) stay gaps."""
    n, period = len(x), len(season)
    for start in range(n - period, -period, -period):
        first = max(0, -start)
        day = x[start + first : start + period]
        expected = season[first:]
        for q in range(len(day)):
            day[q] = np.float32(day[q] - expected[q])


def remove_stl_season(values: F32, period: int, valid: I32, residual: F32, season: F64) -> None:
    """Put the season of a robust STL in place of the phase medians, where there are two periods to tell it from.

    Shapes as in `remove_season`, which has run before.
    """
    places = np.arange(-values.shape[1], 0) % period  # of each column in the season
    # One row at a time: statsmodels' STL takes a single series, and next to its cost a loop in Python is nothing.
    for i in np.flatnonzero(valid >= max(FEWEST, 2 * period)):
        usable = np.isfinite(residual[i])
        filled = _without_gaps(values[i], usable, residual[i], season[i][places])
        told = _stl_season(filled[usable.argmax() :], period)
        if np.isfinite(told).all():
            season[i] = told
            residual[i] = np.where(usable, filled - told[places], np.inf)


def _without_gaps(values: F32, usable: npt.NDArray[np.bool_], residual: F32, season: F64) -> F64:
    """The row with its gaps filled by the season and the residual on a straight line between its neighbours."""
    columns = np.arange(len(values))
    filled = season + np.interp(columns, columns[usable], residual[usable])
    filled[usable] = values[usable]
    return filled


def _stl_season(x: F64, period: int) -> F64:
    """Season of a robust, periodic STL: (period,), its place q being the column q + 1 after the last of x.

    Periodic as in the authors' own package: a seasonal smoother of degree 0 so long that it gives one mean per phase.
    Loess is fitted at every tenth of its window, as the authors of STL advise, with lines between: 40 times faster.
    """
    # Imported here because it brings pandas: half a second and 60 MB that the default form does without.
    from statsmodels.tsa.seasonal import STL

    jump = -(-period // 10)
    stl = STL(
        x,
        period=period,
        seasonal=10 * len(x) + 1,
        seasonal_deg=0,
        robust=True,
        seasonal_jump=len(x),
        trend_jump=jump,
        low_pass_jump=jump,
    )
    return np.asarray(stl.fit().seasonal[len(x) - period :], np.float64)
