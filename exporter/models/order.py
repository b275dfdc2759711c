"""Order statistics for the kernels: running medians, medians of unsorted scratch, quantiles of sorted rows.

All of them skip NaN. Scratch arrays are handed in by the caller, so that a batch allocates once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@kernel
def insert_sorted(box: F32, count: int, x: float) -> int:
    """Insert x into the ascending ``box[:count]``; returns the new count."""
    at = count
    while at > 0 and box[at - 1] > x:
        box[at] = box[at - 1]
        at -= 1
    box[at] = x
    return count + 1


@kernel
def remove_sorted(box: F32, count: int, x: float) -> int:
    """Remove one x, known to be in the ascending ``box[:count]``; returns the new count."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) >> 1
        if box[middle] < x:
            low = middle + 1
        else:
            high = middle
    for at in range(low, count - 1):
        box[at] = box[at + 1]
    return count - 1


@kernel
def replace_sorted(box: F32, count: int, old: float, new: float) -> None:
    """Replace one `old`, known to be in the ascending ``box[:count]``, by `new`, moving only what lies between."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) >> 1
        if box[middle] < old:
            low = middle + 1
        else:
            high = middle
    at = low
    if new > old:
        while at + 1 < count and box[at + 1] < new:
            box[at] = box[at + 1]
            at += 1
    else:
        while at > 0 and box[at - 1] > new:
            box[at] = box[at - 1]
            at -= 1
    box[at] = new


@kernel
def middle_of_sorted(box: F32, count: int) -> float:
    """Median of the ascending ``box[:count]``; the mean of the two middle values when count is even."""
    half = count >> 1
    if count & 1:
        return np.float64(box[half])
    return 0.5 * (np.float64(box[half - 1]) + np.float64(box[half]))


@kernel
def slide(box: F32, count: int, old: float, new: float) -> int:
    """One step of a running window: `old` leaves, `new` enters, either may be NaN (a gap). Returns the new count."""
    gone = old == old
    come = new == new
    if gone and come:
        replace_sorted(box, count, old, new)
        return count
    if gone:
        return remove_sorted(box, count, old)
    if come:
        return insert_sorted(box, count, new)
    return count


@kernel
def running_median(x: F32, length: int, at_least: int, shift: int, box: F32, out: F32) -> None:
    """out[t] = median of the valid samples among the last `length` before t (shift 1) or up to and with t (shift 0).

    Shapes: x, out (n,); box scratch of at least length + 1. Fewer than `at_least` valid samples give NaN.
    """
    count = 0
    n = len(x)
    for t in range(n):
        enters = t - shift
        leaves = enters - length
        new = x[enters] if enters >= 0 else np.nan
        old = x[leaves] if leaves >= 0 else np.nan
        count = slide(box, count, old, new)
        out[t] = middle_of_sorted(box, count) if count >= at_least else np.nan


@kernel
def select(box: F32, count: int, k: int) -> float:
    """The k-th smallest (from 0) of the unordered ``box[:count]``, which is reordered (Hoare's quickselect)."""
    low, high = 0, count - 1
    while low < high:
        pivot = box[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while box[i] < pivot:
                i += 1
            while box[j] > pivot:
                j -= 1
            if i <= j:
                box[i], box[j] = box[j], box[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return np.float64(box[k])
    return np.float64(box[k])


@kernel
def median_of(box: F32, count: int) -> float:
    """Median of the unordered ``box[:count]`` (no NaN inside), which is reordered; NaN when count is 0."""
    if count == 0:
        return np.nan
    half = count >> 1
    upper = select(box, count, half)
    if count & 1:
        return upper
    below = box[0]
    for i in range(1, half):  # after selection everything left of `half` is not above it
        below = max(below, box[i])
    return 0.5 * (np.float64(below) + upper)


@kernel
def quantile_of_sorted(row: F32, count: int, q: float) -> float:
    """Quantile of the ascending ``row[:count]`` with linear interpolation (numpy's default method)."""
    place = q * (count - 1)
    left = int(place)
    right = min(left + 1, count - 1)
    return np.float64(row[left]) + (place - left) * (np.float64(row[right]) - np.float64(row[left]))


@kernel
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
