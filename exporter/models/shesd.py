"""S-H-ESD: remove the season and a piecewise median, then test the extremes one after the other.

Vallis, Hochenbaum, Kejariwal: A Novel Technique for Long-Term Anomaly Detection in the Cloud, HotCloud 2014 (season,
piecewise median); Hochenbaum, Vallis, Kejariwal: Automatic Anomaly Detection in the Cloud Via Statistical Learning,
arXiv 1704.07706 (median and MAD in place of mean and standard deviation, sections 3 and 4); Rosner: Percentage Points
for a Generalized ESD Many-Outlier Procedure, Technometrics 25(2), 1983 (the test and its critical values).

The season is the median of each phase of the day, smoothed over 9 neighbouring phases (``seasonal="median"``), or the
one of a robust STL (``seasonal="stl"``). What is left when there is little to go by:

- under 24 valid samples, or a scale floor that is not above 0 and at most 1e37: no fit (NaN);
- fewer valid samples than a period has columns: no season, only the median;
- a phase never seen: interpolated between the nearest phases seen, before smoothing;
- a block (3 periods) with under 24 valid samples: takes the median of the block before it, or else of the next one;
- STL with fewer valid samples than two periods have columns: the season of phase medians.

NaN, infinities and anything beyond ±1e37 are gaps. Each row is computed by itself and in a fixed order of operations:
the same row gives the same bits in any batch.

Cost at 2016 samples of 5 minutes: 25 us a row, of which numpy's sort is 10; the form with STL 50 ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from exporter.kernels import kernel
from exporter.models.order import F32, F64
from exporter.models.settings import ShesdSettings

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

FEWEST = 24  # valid samples under which neither a row nor a block is judged by itself
SMOOTHED = 9  # neighbouring phases whose medians are averaged
BLOCK_PERIODS = 3  # periods over which one median holds
LARGEST = 1e37  # beyond it differences of float32 may overflow
NARROWEST = 1.2e-38  # smallest normal float32: a half width is never 0
MAD_TO_SIGMA = 1.4826
HIGHEST_SCORE = 100.0
_CHUNK_SAMPLES = 1 << 17  # rows worked on together fit in a core's cache


@dataclass(frozen=True, slots=True)
class ShesdFit:
    """Fits of B rows, good for `horizon` columns after the window.

    Shapes: `centre` (B, horizon) in centred units, `half_width` (B,) at sensitivity 1, `outliers` and `valid` (B,): how
    many samples of the window were found extreme, and how many there were. NaN in centre and half_width: no fit.
    """

    centre: F32
    half_width: F32
    outliers: I32
    valid: I32


def fit(values: F32, floor: F64, end_column: I64, period: int, horizon: int, settings: ShesdSettings) -> ShesdFit:
    """Fit each row's window.

    Shapes: `values` (B, n) centred, oldest first, gaps NaN or infinite; `floor` (B,) smallest scale; `end_column` (B,)
    absolute column of the last value; `period` columns in a day. Centre at place h is for column end_column + 1 + h.
    No absolute phase enters the arithmetic: phases are told from the distance to the end, so `end_column` only says
    which columns the answer is for.
    """
    rows, n = values.shape
    if end_column.shape != (rows,) or floor.shape != (rows,):
        raise ValueError(f"floor {floor.shape} and end_column {end_column.shape} must have one entry per row ({rows})")
    found = ShesdFit(
        np.full((rows, horizon), np.nan, np.float32),
        np.full(rows, np.nan, np.float32),
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int32),
    )
    floors = np.ascontiguousarray(floor, np.float64)
    for part in _chunks(rows, n):
        _fit_chunk(np.ascontiguousarray(values[part], np.float32), floors[part], period, settings, found, part)
    return found


def score(value: F64, centre: F32 | F64, half_width: F32 | F64, sensitivity: float) -> F64:
    """Distance from the centre in half widths: 1 at the edge of the band, at most 100; NaN where value or fit is.

    Shapes: all (B,). `sensitivity` multiplies the half width.
    """
    distance = np.abs(np.asarray(value, np.float64) - centre)
    return np.minimum(distance / (np.asarray(half_width, np.float64) * sensitivity), HIGHEST_SCORE)


def _chunks(rows: int, n: int) -> Iterator[slice]:
    """Slices of rows small enough for the cache; it also bounds the scratch memory of large batches."""
    size = max(1, _CHUNK_SAMPLES // max(n, 1))
    return (slice(start, start + size) for start in range(0, rows, size))


def _fit_chunk(values: F32, floor: F64, period: int, settings: ShesdSettings, found: ShesdFit, part: slice) -> None:
    """Fit some rows and write them to their place in `found`."""
    rows, n = values.shape
    residual = np.empty((rows, n), np.float32)
    season = np.zeros((rows, period))
    network = sorting_network(-(-n // period))
    _remove_season(values, network, smoothing_reach(period), found.valid[part], residual, season)
    if settings.seasonal == "stl" and period > 1:
        _remove_stl_season(values, period, found.valid[part], residual, season)
    edges = block_edges(n, period)
    for start, end in pairwise(edges):
        residual[:, start:end].sort(axis=1)  # numpy's SIMD sort: several times faster than any numba can compile
    _test_extremes(
        residual,
        edges,
        season,
        floor,
        critical_values(settings.alpha, n),
        settings.max_anoms,
        found.centre[part],
        found.half_width[part],
        found.outliers[part],
    )


def block_edges(n: int, period: int) -> I64:
    """Columns where the blocks of the piecewise median start, and n: 3 periods each from the end, the oldest longer."""
    length = BLOCK_PERIODS * period
    blocks = max(1, n // length)
    return np.array([0, *(n - length * back for back in range(blocks - 1, -1, -1))], np.int64)


def smoothing_reach(period: int) -> int:
    """Phases on either side over which phase medians are averaged: 4, or as many as a shorter day has."""
    return min(SMOOTHED // 2, (period - 1) // 2)


@lru_cache(maxsize=64)
def critical_values(alpha: float, n: int) -> F64:
    """Rosner's lambda by the number m of samples still in the test, for m = 0 .. n; NaN under 3.

    Rosner 1983, equation 2.5 with m = n - i + 1; two-sided at level `alpha`.
    """
    m = np.arange(n + 1, dtype=np.float64)
    table = np.full(n + 1, np.nan)
    m = m[3:]
    t = -stdtrit(m - 2, alpha / (2 * m))
    table[3:] = (m - 1) * t / np.sqrt((m - 2 + t * t) * m)
    table.flags.writeable = False
    return table


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
def _remove_season(values: F32, network: I64, reach: int, valid: I32, residual: F32, season: F64) -> None:
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


@kernel
def _test_extremes(
    ordered: F32,
    edges: I64,
    season: F64,
    floor: F64,
    critical: F64,
    max_anoms: float,
    centre: F32,
    half_width: F32,
    outliers: I32,
) -> None:
    """Piecewise median and generalised ESD of rows whose blocks (edges[j] .. edges[j + 1]) are sorted, gaps last.

    Shapes: ordered (b, n); season (b, period); floor, half_width, outliers (b,); critical (n + 1,);
    centre (b, horizon).
    """
    counts = np.empty(len(edges) - 1, np.int64)
    shifts = np.empty(len(edges) - 1)
    scratch = np.empty((2, ordered.shape[1]), np.float32)
    for i in range(len(ordered)):
        m = _block_medians(ordered[i], edges, counts, shifts)
        if m < FEWEST or not 0.0 < floor[i] <= LARGEST:
            continue
        merged = _merge_blocks(ordered[i], edges, counts, shifts, scratch)
        most = min(max(1, int(max_anoms * m + 1e-9)), (m - 1) // 2)
        found, middle, scale = extremes(merged, m, most, floor[i], critical)
        level = shifts[-1] + middle
        for h in range(centre.shape[1]):
            centre[i, h] = np.float32(level + season[i, h % season.shape[1]])
        half_width[i] = np.float32(max(critical[m - found] * scale, NARROWEST))
        outliers[i] = found


@kernel
def _block_medians(row: F32, edges: I64, counts: I64, shifts: F64) -> int:
    """Valid samples and the median to take off of each block; returns the valid samples of the row.

    A block with too few takes the median of the block before it, or else of the next that has one. Where no block has
    enough, nothing is taken off, and the test's own median does the rest.
    """
    total = 0
    nearest = np.nan
    for j in range(len(counts)):
        block = row[edges[j] : edges[j + 1]]
        counts[j] = np.searchsorted(block, np.float32(np.inf))
        total += counts[j]
        if counts[j] >= FEWEST:
            nearest = _middle(block[: counts[j]])
        shifts[j] = nearest
    nearest = 0.0
    for j in range(len(counts) - 1, -1, -1):
        if math.isnan(shifts[j]):
            shifts[j] = nearest
        nearest = shifts[j]
    return total


@kernel
def _merge_blocks(row: F32, edges: I64, counts: I64, shifts: F64, scratch: F32) -> F32:
    """All valid samples of a row, each block less its median, ascending in one of the two rows of `scratch`."""
    merged: F32 = scratch[0]
    spare: F32 = scratch[1]
    runs = len(counts)
    bounds = np.zeros(runs + 1, np.int64)
    for j in range(runs):
        bounds[j + 1] = bounds[j] + counts[j]
        for k in range(counts[j]):
            merged[bounds[j] + k] = np.float32(row[edges[j] + k] - shifts[j])
    while runs > 1:
        for j in range(0, runs - 1, 2):
            _merge(merged, bounds[j], bounds[j + 1], bounds[j + 2], spare)
        if runs & 1:
            for k in range(bounds[runs - 1], bounds[runs]):  # an assignment of slices takes a second more to compile
                spare[k] = merged[k]
        for j in range(2, runs + 1, 2):
            bounds[j >> 1] = bounds[j]
        bounds[(runs + 1) >> 1] = bounds[runs]
        runs = (runs + 1) >> 1
        merged, spare = spare, merged
    return merged


@kernel
def _merge(x: F32, start: int, middle: int, end: int, out: F32) -> None:
    """Merge the ascending x[start:middle] and x[middle:end] into out[start:end].

    The smallest and the largest of what is left are placed in turn: two chains that do not wait for each other. Each
    pair takes at most two from either side, so nothing runs out within half of the shorter side.
    """
    i, j, k = start, middle, start
    u, v, w = middle - 1, end - 1, end - 1
    pairs = min(u - i + 1, v - j + 1) >> 1
    while pairs > 0:
        for _ in range(pairs):
            a, b = x[i], x[j]
            right = b < a
            out[k] = b if right else a
            j += right
            i += not right
            k += 1
            c, d = x[u], x[v]
            left = d < c
            out[w] = c if left else d
            u -= left
            v -= not left
            w -= 1
        pairs = min(u - i + 1, v - j + 1) >> 1
    _merge_rest(x[i : u + 1], x[j : v + 1], out[k : w + 1])


@kernel
def _merge_rest(a: F32, b: F32, out: F32) -> None:
    """Merge the ascending a and b into out, the plain way."""
    i, j = 0, 0
    while i < len(a) and j < len(b):
        right = b[j] < a[i]
        out[i + j] = b[j] if right else a[i]
        i, j = i + (not right), j + right
    for k in range(i, len(a)):
        out[k + j] = a[k]
    for k in range(j, len(b)):
        out[len(a) + k] = b[k]


@kernel
def extremes(ordered: F32, m: int, most: int, floor: float, critical: F64) -> tuple[int, float, float]:
    """Generalised ESD on the ascending ``ordered[:m]``: outliers found, median and scale without them.

    Rosner 1983, section 2, with the robust statistics of Hochenbaum et al. 2017, section 4: at most `most` times the
    value farthest from the median is taken away (of two equally far the upper), and the number of outliers is the last
    one whose distance in scales was above its critical value. `critical` is indexed by the number of values left.
    The farthest value always stands at one end, so no step looks at more than the ends, the middle and the MAD.
    """
    low, high = 0, m
    found, kept_middle, kept_scale = 0, 0.0, 0.0
    for taken in range(most + 1):
        rest = ordered[low:high]
        middle = _middle(rest)
        scale = max(MAD_TO_SIGMA * _mad_of_sorted(rest, middle), floor)
        if found == taken:
            kept_middle, kept_scale = middle, scale
        below, above = middle - ordered[low], ordered[high - 1] - middle
        if taken < most and max(below, above) > critical[m - taken] * scale:
            found = taken + 1
        if below > above:
            low += 1
        else:
            high -= 1
    return found, kept_middle, kept_scale


@kernel
def _middle(x: F32) -> float:
    """Median of the ascending x, not empty; the two middle values are averaged in float64, where their sum is exact."""
    half = len(x) >> 1
    upper = np.float64(x[half])  # numba's float() would leave it a float32
    return upper if len(x) & 1 else 0.5 * (x[half - 1] + upper)


@kernel
def _mad_of_sorted(x: F32, middle: float) -> float:
    """Median absolute deviation of the ascending x from its median `middle`.

    The distances below and above the median are two ascending lists; a binary search finds how many of the smallest
    half of all distances lie below.
    """
    m = len(x)
    lower = (m + 1) >> 1  # x[lower - 1 - i] is the i-th distance below, x[lower + j] the j-th above
    half = (m - 1) >> 1
    low, high = max(0, half - (m - lower)), min(half, lower)
    while low < high:
        i = (low + high) >> 1
        if middle - x[lower - 1 - i] < x[lower + half - i - 1] - middle:
            low = i + 1
        else:
            high = i
    below = _distance(x, lower - 1 - low, middle)
    above = _distance(x, lower + half - low, middle)
    if m & 1:
        return min(below, above)
    if below <= above:
        return 0.5 * (below + min(_distance(x, lower - 2 - low, middle), above))
    return 0.5 * (above + min(below, _distance(x, lower + half - low + 1, middle)))


@kernel
def _distance(x: F32, at: int, middle: float) -> float:
    """abs(x[at] - middle), infinite beyond the ends."""
    return abs(x[at] - middle) if 0 <= at < len(x) else np.inf


def _remove_stl_season(values: F32, period: int, valid: I32, residual: F32, season: F64) -> None:
    """Put the season of a robust STL in place of the phase medians, where there are two periods to tell it from.

    Shapes as in `_remove_season`, which has run before.
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
