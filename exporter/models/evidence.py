"""`robust_band`, the evidence of one sample: how improbable it is beside its fit.

The sum of three parts: the tail evidence of the views, weighted; the distance from the season, which saturates; and
novelty, how far beyond everything in the window. What the level of the last hour has said already is left out until
something happens anew.

Kernels take whole arrays and the number of a row: a slice of each array, made for every value that is tried on the way
to an edge, would cost a third more (see bench/speed/NOTES.md).
"""

from __future__ import annotations

import math

import numpy as np

from exporter.kernels import leaf
from exporter.models.order import F32, F64
from exporter.models.robust_band import (
    HIGH_UNIT,
    HIGHEST,
    LASTING,
    LOW_UNIT,
    LOWER,
    LOWER_GATE,
    LOWER_JUMP,
    LOWER_SCALE,
    LOWEST,
    UPPER,
    UPPER_GATE,
    UPPER_JUMP,
    UPPER_SCALE,
)
from exporter.models.tails import MOST_EVIDENCE
from exporter.models.views import DAY, DAY_F12, F3, F48, HW, VIEWS, XM6, X

SEASON_EVIDENCE = 1.0  # most that the distance from the season alone is worth
# Of TAILS; written out, as are the views below: a loop over them costs a half more.
_X_WEIGHT, _F3_WEIGHT, _XM6_WEIGHT, _DAY_WEIGHT, _HW_WEIGHT = 0.1, 0.4, 0.3, 0.1, 0.1
_MAX_TAIL_EVIDENCE = 8.0
_ANEW_FROM, _ANEW_REACH = 0.4, 0.8  # fresh evidence from which on, and over which, what was said before counts again

# Places in a row of `centre` after the views' own: what makes xm6 of x, scale ratios, the season, and the distance from
# it that counts; then what the last hour's level has told, a place for each lasting view.
XM6_LOW, XM6_HIGH, XM6_OTHER, RATIO_DAY, RATIO_HW, SEASON, SEASON_SCALE, TOLD = range(VIEWS, VIEWS + 8)
CENTRES = TOLD + len(LASTING)
# Places in a row of `weight`: of novelty, of the novelty of `day`, and of what needs two days (1 or 0).
NOVEL, NOVEL_DAY, SETTLED = range(3)
WEIGHTS = 3


@leaf
def evidence(x: float, row: int, centre: F64, weight: F64, tail: F32, extreme: F32) -> float:
    """Evidence against x being normal: weighted tail evidence, weighted novelty, and distance from the season.

    Shapes: centre (N, CENTRES), weight (N, WEIGHTS), tail (N, 5, 8), extreme (N, 5, 4).
    """
    rest = tails(x, row, centre, weight, tail)[0] + record(x, row, centre, weight, extreme)
    return np.float64(rest + distance(x, row, centre, weight))


@leaf
def residual(view: int, x: float, row: int, centre: F64) -> float:
    """What x leaves of a view: NaN where the view has no centre."""
    if view == XM6:
        return _xm6(x, row, centre)
    if view == DAY_F12:
        return np.float64((x - centre[row, DAY_F12]) * centre[row, RATIO_DAY])
    if view == HW:
        return np.float64((x - centre[row, HW]) * centre[row, RATIO_HW])
    return np.float64(x - centre[row, view])


@leaf
def _xm6(x: float, row: int, centre: F64) -> float:
    """Median of x and the five samples before it, from their middle values (see `judgement._recent_middle`)."""
    if math.isnan(centre[row, XM6_LOW]):  # numba's min and max drop a NaN on their right
        return np.nan
    inner = min(max(x, centre[row, XM6_LOW]), centre[row, XM6_HIGH])
    if math.isnan(centre[row, XM6_OTHER]):
        return np.float64(inner)
    return np.float64(0.5 * (inner + centre[row, XM6_OTHER]))


@leaf
def tail_evidence(r: float, row: int, place: int, tail: F32) -> float:
    """-log10 of the tail probability of a residual; 0 where it is no news and where there is no tail."""
    if r > tail[row, place, UPPER_GATE]:
        beyond = (r - tail[row, place, UPPER]) / tail[row, place, UPPER_SCALE]
        return np.float64(min(MOST_EVIDENCE, tail[row, place, UPPER_JUMP] + beyond))
    if r < tail[row, place, LOWER_GATE]:
        beyond = (tail[row, place, LOWER] - r) / tail[row, place, LOWER_SCALE]
        return np.float64(min(MOST_EVIDENCE, tail[row, place, LOWER_JUMP] + beyond))
    return 0.0


@leaf
def _novelty(r: float, row: int, place: int, extreme: F32) -> float:
    """How far a residual lies beyond all of the window, in units of the window; 0 inside."""
    if r > extreme[row, place, HIGHEST]:
        return np.float64((r - extreme[row, place, HIGHEST]) / extreme[row, place, HIGH_UNIT])
    if r < extreme[row, place, LOWEST]:
        return np.float64((extreme[row, place, LOWEST] - r) / extreme[row, place, LOW_UNIT])
    return 0.0


@leaf
def tails(x: float, row: int, centre: F64, weight: F64, tail: F32) -> tuple[float, float]:
    """Weighted tail evidence of the views, at most 8: what counts, and what is left out because it was said before.

    The weights stay, whichever views are there. The lasting views go on for as long as a new level lasts: of what they
    say, the part that the last hour's level says too counts only as far as the views that soon forget say something.
    """
    r_x, r_xm6 = x - centre[row, X], _xm6(x, row, centre)
    of_x = _X_WEIGHT * tail_evidence(r_x, row, 0, tail)
    of_xm6 = _XM6_WEIGHT * tail_evidence(r_xm6, row, 2, tail)
    fresh = _F3_WEIGHT * tail_evidence(x - centre[row, F3], row, 1, tail)
    fresh += _DAY_WEIGHT * tail_evidence((x - centre[row, DAY_F12]) * centre[row, RATIO_DAY], row, 3, tail)
    total = of_x + of_xm6 + fresh
    if weight[row, SETTLED] != 0.0:  # at first its season is made of the very samples it is subtracted from
        total += _HW_WEIGHT * tail_evidence((x - centre[row, HW]) * centre[row, RATIO_HW], row, 4, tail)
    told = _said_before(of_x, r_x, _X_WEIGHT * centre[row, TOLD], row, 0, tail)
    told += _said_before(of_xm6, r_xm6, _XM6_WEIGHT * centre[row, TOLD + 1], row, 2, tail)
    told *= 1.0 - min(1.0, max(0.0, (fresh - _ANEW_FROM) / _ANEW_REACH))
    counted = min(_MAX_TAIL_EVIDENCE, total - told)
    return counted, min(_MAX_TAIL_EVIDENCE, total) - counted


@leaf
def _said_before(found: float, r: float, told: float, row: int, place: int, tail: F32) -> float:
    """The part of the evidence `found` for a residual that was said before on the same side: `told`, signed."""
    if r > tail[row, place, UPPER_GATE]:
        return np.float64(min(found, max(told, 0.0)))
    return np.float64(min(found, max(-told, 0.0)))


@leaf
def distance(x: float, row: int, centre: F64, weight: F64) -> float:
    """The distance from the season, on the scale of the window's typical distance; saturates."""
    if weight[row, SETTLED] == 0.0 or not centre[row, SEASON_SCALE] > 0:
        return 0.0
    return np.float64(-SEASON_EVIDENCE * math.expm1(-abs(x - centre[row, SEASON]) / centre[row, SEASON_SCALE]))


@leaf
def record(x: float, row: int, centre: F64, weight: F64, extreme: F32) -> float:
    """Largest weighted novelty of the views, weighted by days of history."""
    if weight[row, NOVEL] == 0.0:
        return 0.0
    full, half = weight[row, NOVEL], 0.5 * weight[row, NOVEL]
    most = max(0.0, full * _novelty(x - centre[row, X], row, 0, extreme))
    most = max(most, half * _novelty(x - centre[row, F3], row, 1, extreme))
    most = max(most, full * _novelty(x - centre[row, F48], row, 2, extreme))
    most = max(most, weight[row, NOVEL_DAY] * _novelty(x - centre[row, DAY], row, 3, extreme))
    return np.float64(max(most, half * _novelty(_xm6(x, row, centre), row, 4, extreme)))
