"""Order statistics for the kernels: ranks and medians of unsorted rows, quantiles of sorted ones.

All of them skip NaN. Scratch arrays are handed in by the caller, so that a batch allocates once.

Ranks of unsorted rows are found by bisection over the order of the samples' bits (`to_keys`): a round is one count of
the keys below a limit, which is SIMD on whole numbers, and 32 rounds always suffice. Several times faster than a
selection that moves samples about, whose branches no processor can foresee.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.kernels import leaf
from exporter.models.networks import bits_of, float_of

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
Key = np.int32 | np.int64

GAP = np.int32(0x7FFFFFFF)  # the key of NaN, above all others
LEAST = np.int32(-0x80000000)


@leaf
def insert_sorted(box: F32, count: int, x: float | np.floating) -> int:
    """Insert x into the ascending ``box[:count]``; returns the new count."""
    at = count
    while at > 0 and box[at - 1] > x:
        box[at] = box[at - 1]
        at -= 1
    box[at] = x
    return count + 1


@leaf
def middle_of_sorted(box: F32, count: int) -> float:
    """Median of the ascending ``box[:count]``; the mean of the two middle values when count is even."""
    half = count >> 1
    if count & 1:
        return np.float64(box[half])
    return 0.5 * (np.float64(box[half - 1]) + np.float64(box[half]))


# --- ranks of unsorted rows -------------------------------------------------------------------------------------------


@leaf
def to_keys(x: F32, keys: I32) -> int:
    """Whole numbers in the order of the samples, gaps above all; returns the number of valid samples. Shapes: (n,)."""
    gaps = 0
    for i in range(len(x)):
        bits = bits_of(x[i])
        key = bits ^ ((bits >> 31) & GAP)  # negative numbers: all but the sign turned round
        keys[i] = key if x[i] == x[i] else GAP
        gaps += x[i] != x[i]
    return len(x) - gaps


@leaf
def from_key(key: Key) -> float:
    """The sample with this key."""
    return np.float64(float_of(np.int32(key ^ ((key >> 31) & GAP))))


@leaf
def least_key(keys: I32, limit: Key) -> Key:
    """The smallest key from `limit` on."""
    bound, found = np.int32(limit), GAP
    for i in range(len(keys)):  # by index: numba's iteration over an array defeats SIMD
        found = min(found, keys[i] if keys[i] >= bound else GAP)
    return found


@leaf
def largest_key(keys: I32, limit: Key) -> Key:
    """The largest key up to `limit`."""
    bound, found = np.int32(limit), LEAST
    for i in range(len(keys)):
        found = max(found, keys[i] if keys[i] <= bound else LEAST)
    return found


@leaf
def _count_up_to(keys: I32, limit: Key) -> int:
    """How many keys are at most `limit`."""
    bound, count = np.int32(limit), np.int32(0)
    for i in range(len(keys)):
        count = np.int32(count + np.int32(keys[i] <= bound))  # 32 bits: twice as many at once
    return int(count)


@leaf
def key_of_rank(keys: I32, count: int, rank: int) -> Key:
    """The key of this rank (from 0) among the `count` valid samples."""
    low, high = np.int64(least_key(keys, LEAST)), np.int64(largest_key(keys, GAP - 1))
    below, up_to = 0, count  # how many keys lie under low, and up to high
    while low < high:
        if rank == below:
            return least_key(keys, low)
        if rank == up_to - 1:
            return largest_key(keys, high)
        middle = (low + high) >> 1
        found = _count_up_to(keys, middle)
        if found > rank:
            high, up_to = middle, found
        else:
            low, below = middle + 1, found
    return low


@leaf
def median_of_keys(keys: I32, count: int) -> float:
    """Median of the `count` valid samples; the mean of the two middle ones when count is even, NaN when it is 0."""
    if count == 0:
        return np.nan
    low = key_of_rank(keys, count, (count - 1) >> 1)
    high = low
    if not count & 1 and _count_up_to(keys, low) == count >> 1:
        high = least_key(keys, np.int64(low) + 1)
    return 0.5 * (from_key(low) + from_key(high))


# --- sorted rows ------------------------------------------------------------------------------------------------------


@leaf
def quantile_of_sorted(row: F32, count: int, q: float) -> float:
    """Quantile of the ascending ``row[:count]`` with linear interpolation (numpy's default method)."""
    place = q * (count - 1)
    left = int(place)
    right = min(left + 1, count - 1)
    return np.float64(row[left]) + (place - left) * (np.float64(row[right]) - np.float64(row[left]))


@leaf
def median_abs_of_sorted(row: F32, count: int, offset: float) -> float:
    """Median of abs(row[i] + offset) over the ascending ``row[:count]``, by walking in from both ends."""
    left, right = 0, count - 1
    above = 0.0
    wanted = count >> 1
    # The largest absolute values stand at the ends: drop them until the middle one is reached.
    for dropped in range(count - wanted):
        a, b = abs(np.float64(row[left]) + offset), abs(np.float64(row[right]) + offset)
        last = max(a, b)
        if a > b:
            left += 1
        else:
            right -= 1
        if dropped == count - wanted - 1:
            if count & 1:
                return last
            rest = max(abs(np.float64(row[left]) + offset), abs(np.float64(row[right]) + offset))
            return 0.5 * (last + rest)
        above = last
    return above
