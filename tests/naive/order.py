"""Slow twins of the order statistics: sort a list, look at its middle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def valid(values: Iterable[float]) -> list[float]:
    """The samples that are not gaps, ascending."""
    return sorted(float(v) for v in values if not math.isnan(v))


def median(values: Iterable[float], at_least: int = 1) -> float:
    """Median of the samples; NaN with fewer than `at_least` of them."""
    kept = valid(values)
    if len(kept) < max(1, at_least):
        return math.nan
    half = len(kept) // 2
    return kept[half] if len(kept) % 2 else 0.5 * (kept[half - 1] + kept[half])


def quantile(values: Iterable[float], q: float) -> float:
    """Quantile by linear interpolation between the neighbouring order statistics; NaN without samples."""
    kept = valid(values)
    if not kept:
        return math.nan
    place = q * (len(kept) - 1)
    left = math.floor(place)
    right = min(left + 1, len(kept) - 1)
    return kept[left] + (place - left) * (kept[right] - kept[left])


def running_median(x: Sequence[float], length: int, at_least: int, shift: int) -> list[float]:
    """Median of the last `length` samples before (shift 1) or up to (shift 0) each place."""
    ends = [t + 1 - shift for t in range(len(x))]
    return [median(x[max(0, end - length) : max(0, end)], at_least) for end in ends]
