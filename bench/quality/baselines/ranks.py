"""Order statistics of trailing windows that slide by an hour, and generalised ESD on a sorted window."""

from __future__ import annotations

import math

import numpy as np

from bench.quality.corpus import F64, I64
from exporter.kernels import kernel

MAD_TO_SIGMA = 1.4826  # makes the MAD of normal noise its standard deviation


@kernel
def _middle(x: F64, low: int, high: int) -> float:
    """Median of the ascending x[low:high], not empty."""
    half = (low + high) >> 1
    return float(x[half] if (high - low) & 1 else 0.5 * x[half - 1] + 0.5 * x[half])


@kernel
def _quantile(x: F64, count: int, q: float) -> float:
    """Quantile of the ascending x[:count] on the straight line between neighbours, as numpy and Prometheus have it."""
    place = q * (count - 1)
    left = math.floor(place)
    right = min(left + 1, count - 1)
    return float(x[left] + (place - left) * (x[right] - x[left]))


@kernel
def _nearest_block(x: F64, low: int, high: int, middle: float, size: int, start: int) -> int:
    """Where the `size` values of the ascending x[low:high] nearest to `middle` begin; `start` is a place to begin at.

    The nearest values stand side by side. Moving the block while that brings its far end nearer finds them, in few
    steps when `start` comes from a window much like this one.
    """
    at = min(max(start, low), high - size)
    while at + size < high and x[at + size] - middle < middle - x[at]:
        at += 1
    while at > low and middle - x[at - 1] < x[at + size - 1] - middle:
        at -= 1
    return at


@kernel
def _deviation_median(x: F64, low: int, high: int, middle: float, start: int) -> tuple[float, int]:
    """Median absolute deviation of the ascending x[low:high] from `middle`, and where its nearest half begins."""
    size = (high - low + 1) >> 1
    at = _nearest_block(x, low, high, middle, size, start)
    inside = max(middle - x[at], x[at + size - 1] - middle)
    if (high - low) & 1:
        return inside, at
    outside = np.inf
    if at > low:
        outside = middle - x[at - 1]
    if at + size < high and x[at + size] - middle < outside:
        outside = x[at + size] - middle
    return 0.5 * inside + 0.5 * outside, at


@kernel
def _taken(x: F64, low: int, high: int, out: F64) -> int:
    """The samples of x[low:high], gaps left out, ascending at the beginning of `out`; returns how many."""
    count = 0
    for t in range(low, high):
        if not math.isnan(x[t]):
            out[count] = x[t]
            count += 1
    out[:count].sort()
    return count


@kernel
def _slide(box: F64, count: int, gone: F64, leaving: int, new: F64, coming: int, out: F64) -> int:
    """The ascending box[:count] less gone[:leaving] plus new[:coming], ascending in `out`; returns the new count."""
    g, c, k = 0, 0, 0
    for i in range(count):
        if g < leaving and box[i] == gone[g]:
            g += 1
            continue
        while c < coming and new[c] < box[i]:
            out[k] = new[c]
            c, k = c + 1, k + 1
        out[k] = box[i]
        k += 1
    out[k : k + coming - c] = new[c:coming]
    return k + coming - c


@kernel
def _centre_spread_tails(box: F64, count: int, tail: float, out: F64) -> None:
    """Median, MAD, and the quantiles `tail` and 1 - tail of the ascending box[:count]; out (4,)."""
    out[0] = _middle(box, 0, count)
    out[1], _ = _deviation_median(box, 0, count, out[0], count >> 2)
    out[2] = _quantile(box, count, tail)
    out[3] = _quantile(box, count, 1.0 - tail)


@kernel
def window_statistics(x: F64, fits: I64, window: int, fewest: int, tail: float) -> F64:
    """Median, MAD (unscaled) and the quantiles `tail` and 1 - tail of the window before each fit.

    Shapes: x (T,) with NaN gaps; fits (fits,) ascending columns; returns (4, fits), NaN where the window, the `window`
    columns before the fit's, has under `fewest` samples. The sorted window is kept and merged with what came and went:
    at 14 days of minutes about 15 us an hour.
    """
    found = np.full((4, len(fits)), np.nan)
    box, other = np.empty(window), np.empty(window)
    gone, new = np.empty(window), np.empty(window)
    row = np.empty(4)
    count, low, high = 0, 0, 0
    for j in range(len(fits)):
        oldest = max(0, fits[j] - window)
        leaving = _taken(x, low, min(oldest, high), gone)
        coming = _taken(x, max(high, oldest), fits[j], new)
        count = _slide(box, count, gone, leaving, new, coming, other)
        box, other, low, high = other, box, oldest, fits[j]
        if count >= max(1, fewest):
            _centre_spread_tails(box, count, tail, row)
            found[:, j] = row
    return found


@kernel
def esd_bands(ordered: F64, counts: I64, most_share: float, critical: F64) -> F64:
    """Generalised ESD with median and MAD on sorted windows: median and half width of what is left.

    Shapes: ordered (B, W) ascending, counts (B,) how many of each row are samples, critical (W + 1,) Rosner's lambda
    by the number of values in the test; returns (2, B), NaN where a count is under 3 or the MAD is 0: the original
    stops its test there and reports nothing. At most `most_share` of the values are taken away, one at a time the
    farthest from the median (of two equally far the upper one); the last whose distance was critical, and all taken
    before it, are outliers. The half width is the next value's critical distance, lambda x MAD x 1.4826.
    Rosner, Technometrics 25(2), 1983, section 2; Hochenbaum, Vallis, Kejariwal, arXiv 1704.07706, section 4.
    """
    bands = np.full((2, len(ordered)), np.nan)
    for b in range(len(ordered)):
        if counts[b] >= 3:
            bands[0, b], bands[1, b] = _esd_band(ordered[b], counts[b], int(most_share * counts[b] + 1e-9), critical)
    return bands


@kernel
def _esd_band(x: F64, count: int, most: int, critical: F64) -> tuple[float, float]:
    """Median and half width of the ascending x[:count] without its outliers; NaN where the MAD is 0."""
    low, high, block, found = 0, count, count >> 2, 0
    centre, half_width = np.nan, np.nan
    for taken in range(most + 1):
        middle = _middle(x, low, high)
        mad, block = _deviation_median(x, low, high, middle, block)
        edge = critical[high - low] * MAD_TO_SIGMA * mad
        if found == taken and mad > 0.0:
            centre, half_width = middle, edge
        elif found == taken:
            centre, half_width = np.nan, np.nan
        below, above = middle - x[low], x[high - 1] - middle
        if mad == 0.0 or high - low <= 3:
            break
        if max(below, above) > edge:
            found = taken + 1
        low, high = (low + 1, high) if below > above else (low, high - 1)
    return centre, half_width
