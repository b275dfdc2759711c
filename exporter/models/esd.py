"""Generalised ESD around a piecewise median: Rosner 1983 with median and MAD, on sorted blocks, without removing.

The papers stand at the top of shesd.py. A sorted row has its most extreme sample at one of its ends, so that taking
samples away one after the other is two pointers that close in, with median and MAD found by their ranks.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from exporter.kernels import kernel
from exporter.models.order import F32, F64
from exporter.models.season import FEWEST, LARGEST

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

BLOCK_PERIODS = 3  # periods over which one median holds
NARROWEST = 1.2e-38  # smallest normal float32: a half width is never 0
MAD_TO_SIGMA = 1.4826


def block_edges(n: int, period: int) -> I64:
    """Columns where the blocks of the piecewise median start, and n: 3 periods each from the end, the oldest longer."""
    length = BLOCK_PERIODS * period
    blocks = max(1, n // length)
    return np.array([0, *(n - length * back for back in range(blocks - 1, -1, -1))], np.int64)


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


@kernel
def extremes_of_rows(
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
