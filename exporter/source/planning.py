"""Cutting a long range read into queries that a server will answer."""

from __future__ import annotations

import itertools
import math

_ROUNDING_S = 1e-6  # float seconds that miss a grid point by less than this are on it
_CHEAPEST_POINTS = 500_000  # of an answer: a point of larger ones costs client and server up to twice as much
_LEAST_STEPS = 100  # as every answer looks its series up again


def points_an_answer(series: int, max_points: int) -> int:
    """How many points of so many series to ask for at once: at most ``max_points``, fewer where that is cheaper.

    Measured with 1,000 and 5,000 series (bench/speed/NOTES.md): memory that large answers take on either side is paid
    for in page faults and garbage collections, while short answers of many series are mostly looking them up.
    """
    return min(max_points, max(_CHEAPEST_POINTS, _LEAST_STEPS * series))


def plan_range(
    start_s: float, end_s: float, step_s: int, series: int, max_points: int, max_per_series: int = 11_000
) -> list[tuple[int, int]]:
    """Chunks (start_s, end_s) that together visit every multiple of ``step_s`` in [start_s, end_s] exactly once.

    Both ends of a chunk are grid points and inclusive; chunks are in time order and as equal in length as can be. A
    chunk holds at most ``max_per_series`` points of a series and, with ``series`` series (fewer than 1 counts as 1),
    at most ``max_points`` points; when even one step exceeds that, a chunk is one step. [] when no grid point lies
    in the range. Raises ValueError for a step or limits below 1.
    """
    if min(step_s, max_points, max_per_series) < 1:
        raise ValueError(f"step_s, max_points and max_per_series start at 1: {step_s}, {max_points}, {max_per_series}")
    first = math.ceil((start_s - _ROUNDING_S) / step_s)
    points = math.floor((end_s + _ROUNDING_S) / step_s) - first + 1
    if points < 1:
        return []
    room = max(1, min(max_per_series, max_points // max(series, 1)))
    chunks = math.ceil(points / room)
    edges = [first + points * chunk // chunks for chunk in range(chunks + 1)]
    return [(low * step_s, (high - 1) * step_s) for low, high in itertools.pairwise(edges)]


def halve(start_s: int, end_s: int, step_s: int) -> list[tuple[int, int]]:
    """A chunk of ``plan_range`` as two of half the points each, or as itself when it is a single point."""
    points = (end_s - start_s) // step_s + 1
    if points < 2:
        return [(start_s, end_s)]
    middle = start_s + (points // 2) * step_s
    return [(start_s, middle - step_s), (middle, end_s)]
