"""The scale floor of a series: no model may call a deviation large that is small beside the series itself.

Rounded counts and near-constant series have a median absolute deviation of 0; without a floor any change of them
would be infinitely improbable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.models.order import F32, F64, median_abs_of_sorted, middle_of_sorted, quantile_of_sorted

_SHARE_OF_RANGE = 0.005
_SHARE_OF_LEVEL = 0.001
_SHARE_OF_FULL_RANGE = 0.05
_SMALLEST = 1e-9
_REPEATED = 3  # a value seen so often is one that the series takes by its nature, not an outlier
_MADE_OF_REPEATED = 0.9  # share of such values from which on a series is one of counts or rounded readings


@dataclass(frozen=True, slots=True)
class Summary:
    """What all models need to know of each row's window. All arrays (B,), in centred units but for `floor`'s own."""

    valid: npt.NDArray[np.int32]
    median: F64
    low: F64
    high: F64
    smallest: F64
    largest: F64
    floor: F64


@kernel
def _grain_floor(row: F32, count: int) -> float:
    """Half the smallest distance between neighbouring values that are taken again and again, at most a quarter of the
    range of all such values; 0 unless at least 90 % of the samples are such values.

    Counts and rounded readings move in grains: one grain up or down is no news, however rarely it happens. A gauge that
    is now and then at its stop is not made of grains.
    """
    grain, first, last = np.inf, np.nan, np.nan
    start, repeated = 0, 0
    for i in range(1, count + 1):
        if i < count and row[i] == row[start]:
            continue
        if i - start >= _REPEATED:
            value = np.float64(row[start])
            if np.isnan(first):
                first = value
            else:
                grain = min(grain, value - last)
            last = value
            repeated += i - start
        start = i
    if np.isinf(grain) or repeated < _MADE_OF_REPEATED * count:
        return 0.0
    return np.float64(min(0.5 * grain, 0.25 * (last - first)))


@kernel
def _summarise(ordered: F32, offset: F64, valid: npt.NDArray[np.int32], out: F64) -> None:
    for i in range(len(ordered)):
        row = ordered[i]
        count = len(row)
        while count > 0 and np.isnan(row[count - 1]):
            count -= 1
        valid[i] = count
        if count == 0:
            out[i, :] = np.nan
            continue
        low, high = quantile_of_sorted(row, count, 0.01), quantile_of_sorted(row, count, 0.99)
        floor = max(_SHARE_OF_RANGE * (high - low), _SHARE_OF_LEVEL * median_abs_of_sorted(row, count, offset[i]))
        if low == high:
            floor = max(floor, _SHARE_OF_FULL_RANGE * (np.float64(row[count - 1]) - np.float64(row[0])))
        floor = max(floor, _grain_floor(row, count))
        out[i, 0] = middle_of_sorted(row, count)
        out[i, 1] = low
        out[i, 2] = high
        out[i, 3] = row[0]
        out[i, 4] = row[count - 1]
        out[i, 5] = max(floor, _SMALLEST)


def summarise(ordered: F32, offset: F64) -> Summary:
    """Level, range and scale floor of each row.

    Shapes: `ordered` (B, n) float32, each row ascending with its gaps (NaN) last; `offset` (B,) added to get true
    values. Floor: max(0.005 (q99 - q01), 0.001 median|x|, 1e-9), and 0.05 (max - min) where q99 equals q01; and half
    the smallest distance of values that occur at least 3 times, but not more than a quarter of the range of these, in a
    series of which they are at least 90 %.
    A row without samples is NaN everywhere with `valid` 0.
    """
    valid = np.zeros(len(ordered), np.int32)
    out = np.empty((len(ordered), 6))
    _summarise(ordered, offset, valid, out)
    return Summary(valid, out[:, 0], out[:, 1], out[:, 2], out[:, 3], out[:, 4], out[:, 5])
