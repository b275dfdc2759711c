"""`robust_band`, the edges of the band: the values at which the evidence reaches the limit, found by closing in."""

from __future__ import annotations

import math

import numpy as np

from exporter.kernels import leaf
from exporter.models.evidence import RATIO_DAY, evidence
from exporter.models.order import F32, F64
from exporter.models.robust_band import LOWER, TAILS, UPPER
from exporter.models.views import DAY_F12, F3

_DOUBLINGS = 120
_ROUNDS = 60  # of closing in on an edge: five to eight on average
_PATIENCE = 4  # rounds that leave more than half of the bracket, after which it is halved
_CLOSE = 2.0**-23  # of the first stride: how far an edge may lie within the true one
_F3_PLACE = TAILS.index(F3)
_DAY_PLACE = TAILS.index(DAY_F12)


@leaf
def find_start(
    centred: float, median: float, limit: float, row: int, centre: F64, weight: F64, tail: F32, extreme: F32
) -> tuple[float, float]:
    """A value that is certainly normal, from which the edges are searched, and what is found there; NaN when none of
    the candidates is."""
    for candidate in (centred, median, centre[row, F3]):
        if math.isnan(candidate):
            continue
        found = _found(candidate, limit, row, centre, weight, tail, extreme)
        if found <= 0.0:
            return candidate, found
    return np.nan, np.nan


@leaf
def first_stride(floor: float, row: int, tail: F32) -> float:
    """How far to go first in search of an edge: twice as far as the jumps that are no news lie apart, at least twice
    the floor."""
    apart = np.float64(tail[row, _F3_PLACE, UPPER]) - np.float64(tail[row, _F3_PLACE, LOWER])
    return 2.0 * (apart if apart > floor else floor)


@leaf
def find_edge(
    start: float,
    below: float,
    stride: float,
    limit: float,
    row: int,
    centre: F64,
    weight: F64,
    tail: F32,
    extreme: F32,
) -> float:
    """The last value with evidence <= limit, going from `start`, where `below` is found, in the direction of `stride`.

    Doubling strides find a bracket, which is then closed in. Infinite where no value is ever too improbable (novelty
    has no weight on the first day, and tail evidence is bounded).
    """
    close = _CLOSE * abs(stride)
    inside, outside = start, start + stride
    for _ in range(_DOUBLINGS):
        above = _found(outside, limit, row, centre, weight, tail, extreme)
        if above > 0.0:
            return _close_in(inside, outside, below, above, close, limit, row, centre, weight, tail, extreme)
        inside, below = outside, above
        stride *= 2.0
        outside = start + stride
    return math.copysign(np.inf, stride)


@leaf
def edge_before(
    outside: float, start: float, limit: float, row: int, centre: F64, weight: F64, tail: F32, extreme: F32
) -> float:
    """The edge between the acceptable `start` and a value that is not."""
    below = _found(start, limit, row, centre, weight, tail, extreme)
    above = _found(outside, limit, row, centre, weight, tail, extreme)
    close = _CLOSE * abs(outside - start)
    return _close_in(start, outside, below, above, close, limit, row, centre, weight, tail, extreme)


@leaf
def _found(x: float, limit: float, row: int, centre: F64, weight: F64, tail: F32, extreme: F32) -> float:
    """Evidence beyond the limit; not above 0 where x is acceptable."""
    return np.float64(evidence(x, row, centre, weight, tail, extreme) - limit)


@leaf
def _close_in(
    inside: float,
    outside: float,
    below: float,
    above: float,
    close: float,
    limit: float,
    row: int,
    centre: F64,
    weight: F64,
    tail: F32,
    extreme: F32,
) -> float:
    """Narrow the bracket between an acceptable and an unacceptable value to `close`; returns the acceptable end.

    `below` and `above` are what is found there. False position as Anderson and Björck have it (BIT 13, 1973), as the
    evidence is linear in long pieces; the bracket is halved when it does not shrink, as the evidence jumps at the gates
    of the tails.
    """
    side, slow = 0, 0
    width = abs(outside - inside)
    for _ in range(_ROUNDS):
        if width <= close:
            break
        linear = slow < _PATIENCE and below < 0.0 < above < np.inf
        share = below / (below - above) if linear else 0.5
        middle = inside + share * (outside - inside)
        # Half a tolerance off either end: the round that hits the edge then also ends the search.
        middle = min(max(middle, min(inside, outside) + 0.5 * close), max(inside, outside) - 0.5 * close)
        found = _found(middle, limit, row, centre, weight, tail, extreme)
        if found <= 0.0:
            above *= _shrinking(found, below) if side < 0 else 1.0
            inside, below, side = middle, found, -1
        else:
            below *= _shrinking(found, above) if side > 0 else 1.0
            outside, above, side = middle, found, 1
        new = abs(outside - inside)
        slow = slow + 1 if linear and new > 0.5 * width else 0
        width = new
    return inside


@leaf
def _shrinking(found: float, before: float) -> float:
    """What the end that stays is taken to be, when the other one has moved a second time in a row."""
    share = 1.0 - found / before
    return np.float64(share if share > 0.0 else 0.5)


@leaf
def seasonal_edges(centred: float, floor: float, row: int, centre: F64, tail: F32) -> tuple[float, float]:
    """Edges of the seasonal view alone: where the residual from the season enters the window's own tails."""
    if math.isnan(tail[row, _DAY_PLACE, UPPER]) or math.isnan(centre[row, RATIO_DAY]):
        return centred - floor, centred + floor
    ratio = max(centre[row, RATIO_DAY], 1e-12)
    low = centred + min(tail[row, _DAY_PLACE, LOWER] / ratio, -floor)
    return low, centred + max(tail[row, _DAY_PLACE, UPPER] / ratio, floor)
