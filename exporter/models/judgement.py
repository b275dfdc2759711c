"""`robust_band`, the judgement: how improbable is a sample beside its fit, and which values would have been normal.

The evidence of a sample is the sum of three parts: the tail evidence of the views, weighted; the distance from the
season, which saturates; and novelty, how far beyond everything in the window. What the level of the last hour has said
already is left out until something happens anew. Evidence divided by a threshold is the score. The band is the set of
values whose score is at most 1, found by bisection.

Between two fits only the extremes and the Holt-Winters level move on (`absorb`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.models.order import F32, F64, I32, insert_sorted, median_of_keys, middle_of_sorted, to_keys
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
    NOVELTIES,
    TAILS,
    UPPER,
    UPPER_GATE,
    UPPER_JUMP,
    UPPER_SCALE,
)
from exporter.models.tails import LEAST_SAMPLES, MOST_EVIDENCE
from exporter.models.views import (
    ALPHA,
    BETA,
    DAY,
    DAY_F12,
    F3,
    F48,
    F_HW,
    F_RATIO_DAY,
    F_RATIO_HW,
    F_SEASON,
    HW,
    RECENT,
    VIEWS,
    XM6,
    X,
)

MAX_SCORE = 100.0
_TAIL_WEIGHTS = (0.1, 0.4, 0.3, 0.1, 0.1)  # of TAILS
_MAX_TAIL_EVIDENCE = 8.0
_FULL_HISTORY_DAYS = 7.0
_SEASON_EVIDENCE = 1.0  # most that the distance from the season alone is worth
_SEASON_REACH = 10.0  # distance, in typical distances, at which it is worth 63 % of that
_ANEW_FROM, _ANEW_REACH = 0.4, 0.8  # fresh evidence from which on, and over which, what was said before counts again
_MOST_LIFTED, _LIFT_BY_SEASON, _LIFT_BY_TOLD = 0.97, 0.8, 2.0  # how a score below 1 is lifted, see `_score`
_DOUBLINGS = 120
_ROUNDS = 60  # of closing in on an edge: seven on average, and every third is a bisection
_CLOSE = 2.0**-24  # of the first bracket: how far an edge may lie within the true one
_FEW = 16  # up to so many samples are best sorted by insertion

# Places in a row of `Context.centre` after the views' own.
_XM6_LOW, _XM6_HIGH, _XM6_OTHER, _RATIO_DAY, _RATIO_HW, _SEASON, _SEASON_SCALE = range(VIEWS, VIEWS + 7)
_LASTING_PLACES = (TAILS.index(X), TAILS.index(XM6))
_F3_PLACE = TAILS.index(F3)
_TOLD = VIEWS + 7  # and as many more as there are lasting views
_CENTRES = _TOLD + len(LASTING)
# Places in a row of `Context.weight`: of novelty, of the novelty of `day`, and of what needs two days (1 or 0).
_NOVEL, _NOVEL_DAY, _SETTLED = range(3)


def threshold(step_s: int) -> float:
    """Evidence at the edge of the band: 4.1 at 60 s, 4.5 at 300 s, 3.45 at 3600 s, linear in log(step) between."""
    return np.float64(np.interp(math.log(step_s), np.log([60.0, 300.0, 3600.0]), [4.1, 4.5, 3.45]))


@dataclass(slots=True)
class Context:
    """What was expected of the open column, by row: the views' centres, the weights that history gives, and the band.

    centre (N, 16): the seven centres (that of xm6 unused), the three numbers that make xm6 from x, two scale ratios,
    the season and the distance from it that counts, and the tail evidence of the last hour's level in the two lasting
    views, negative where that lies below. weight (N, 3).
    expected, lower, upper (N,) in centred units; NaN where there is no verdict. `start` (N,) is a value known to be
    normal; where there is none (just after a shift) it is NaN and the edges are those of the seasonal view.
    """

    centre: F64
    weight: F64
    expected: F64
    lower: F64
    upper: F64
    start: F64

    @staticmethod
    def empty(rows: int) -> Context:
        """Room for so many rows, none with a verdict."""
        return Context(
            centre=np.full((rows, _CENTRES), np.nan),
            weight=np.zeros((rows, 3)),
            expected=np.full(rows, np.nan),
            lower=np.full(rows, np.nan),
            upper=np.full(rows, np.nan),
            start=np.full(rows, np.nan),
        )


# --- evidence ---------------------------------------------------------------------------------------------------------


@kernel
def _xm6(x: float, centre: F64) -> float:
    """Median of x and the five samples before it, from their middle values (see `_recent_middle`)."""
    if math.isnan(centre[_XM6_LOW]):  # numba's min and max drop a NaN on their right
        return np.nan
    inner = min(max(x, centre[_XM6_LOW]), centre[_XM6_HIGH])
    if math.isnan(centre[_XM6_OTHER]):
        return np.float64(inner)
    return np.float64(0.5 * (inner + centre[_XM6_OTHER]))


@kernel
def _residual(view: int, x: float, centre: F64) -> float:
    if view == XM6:
        return _xm6(x, centre)
    if view == DAY_F12:
        return np.float64((x - centre[DAY_F12]) * centre[_RATIO_DAY])
    if view == HW:
        return np.float64((x - centre[HW]) * centre[_RATIO_HW])
    return np.float64(x - centre[view])


@kernel
def _tail_evidence(r: float, tail: F32) -> float:
    """-log10 of the tail probability of a residual; 0 where it is no news and where there is no tail."""
    if r > tail[UPPER_GATE]:
        return np.float64(min(MOST_EVIDENCE, tail[UPPER_JUMP] + (r - tail[UPPER]) / tail[UPPER_SCALE]))
    if r < tail[LOWER_GATE]:
        return np.float64(min(MOST_EVIDENCE, tail[LOWER_JUMP] + (tail[LOWER] - r) / tail[LOWER_SCALE]))
    return 0.0


@kernel
def _novelty(r: float, extreme: F32) -> float:
    """How far a residual lies beyond all of the window, in units of the window; 0 inside."""
    if r > extreme[HIGHEST]:
        return np.float64((r - extreme[HIGHEST]) / extreme[HIGH_UNIT])
    if r < extreme[LOWEST]:
        return np.float64((extreme[LOWEST] - r) / extreme[LOW_UNIT])
    return 0.0


@kernel
def evidence(x: float, centre: F64, weight: F64, tail: F32, extreme: F32) -> float:
    """Evidence against x being normal: weighted tail evidence, weighted novelty, and distance from the season."""
    rest = _tails(x, centre, weight, tail)[0] + _record(x, centre, weight, extreme)
    return np.float64(rest + _distance(x, centre, weight))


@kernel
def _tails(x: float, centre: F64, weight: F64, tail: F32) -> tuple[float, float]:
    """Weighted tail evidence of the views, at most 8: what counts, and what is left out because it was said before.

    The weights stay, whichever views are there. The lasting views go on for as long as a new level lasts: of what they
    say, the part that the last hour's level says too counts only as far as the views that soon forget say something.
    """
    total, told, fresh = 0.0, 0.0, 0.0
    for place, view in enumerate(TAILS):
        if view == HW and weight[_SETTLED] == 0.0:
            continue  # at first its season is made of the very samples it is subtracted from
        residual = _residual(view, x, centre)
        found = _TAIL_WEIGHTS[place] * _tail_evidence(residual, tail[place])
        total += found
        if view in (F3, DAY_F12):
            fresh += found
        elif view in LASTING:
            before = centre[_TOLD] if view == X else centre[_TOLD + 1]
            told += _said_before(found, residual, _TAIL_WEIGHTS[place] * before, tail[place])
    told *= 1.0 - min(1.0, max(0.0, (fresh - _ANEW_FROM) / _ANEW_REACH))
    counted = min(_MAX_TAIL_EVIDENCE, total - told)
    return counted, min(_MAX_TAIL_EVIDENCE, total) - counted


@kernel
def _said_before(found: float, residual: float, told: float, tail: F32) -> float:
    """The part of the evidence `found` for a residual that was said before on the same side: `told`, signed."""
    if residual > tail[UPPER_GATE]:
        return np.float64(min(found, max(told, 0.0)))
    return np.float64(min(found, max(-told, 0.0)))


@kernel
def _distance(x: float, centre: F64, weight: F64) -> float:
    """The distance from the season, on the scale of the window's typical distance; saturates."""
    if weight[_SETTLED] == 0.0 or not centre[_SEASON_SCALE] > 0:
        return 0.0
    return np.float64(-_SEASON_EVIDENCE * math.expm1(-abs(x - centre[_SEASON]) / centre[_SEASON_SCALE]))


@kernel
def _record(x: float, centre: F64, weight: F64, extreme: F32) -> float:
    """Largest weighted novelty of the views, weighted by days of history."""
    if weight[_NOVEL] == 0.0:
        return 0.0
    most = 0.0
    for place, view in enumerate(NOVELTIES):
        share = weight[_NOVEL_DAY] if view == DAY else weight[_NOVEL]
        if view in (F3, XM6):
            share *= 0.5
        most = max(most, share * _novelty(_residual(view, x, centre), extreme[place]))
    return most


# --- the open column --------------------------------------------------------------------------------------------------


@kernel
def _median_before(ring: F32, column: int, length: int, at_least: int, box: F32, keys: I32) -> float:
    """Median of the valid samples of the `length` columns before `column`."""
    size = len(ring)
    length = min(length, size)
    count = 0
    for back in range(1, length + 1):
        value = ring[(column - back) % size]
        if length > _FEW:
            box[back - 1] = value
        elif not math.isnan(value):
            count = insert_sorted(box, count, value)
    if length > _FEW:
        count = to_keys(box[:length], keys)
        return median_of_keys(keys[:length], count) if count >= at_least else np.nan
    return middle_of_sorted(box, count) if count >= at_least else np.nan


@kernel
def _recent_middle(ring: F32, column: int, box: F32, centre: F64) -> None:
    """Reduce the five samples before `column` to what xm6 needs: med(x, five) = clamp(x, low, high), averaged with a
    third value when the number of samples including x is even."""
    size = len(ring)
    count = 0
    for back in range(1, 6):
        value = ring[(column - back) % size]
        if not math.isnan(value):
            count = insert_sorted(box, count, value)
    centre[_XM6_OTHER] = np.nan
    if count < 2:
        centre[_XM6_LOW] = np.nan
        centre[_XM6_HIGH] = np.nan
    elif count & 1:
        half = count >> 1
        centre[_XM6_LOW], centre[_XM6_OTHER], centre[_XM6_HIGH] = box[half - 1], box[half], box[half + 1]
    else:
        half = count >> 1
        centre[_XM6_LOW], centre[_XM6_HIGH] = box[half - 1], box[half]


@kernel
def _tell_hour(level: float, tail: F32, centre: F64) -> None:
    """The tail evidence of the last hour's level in the lasting views, negative where it lies below; 0 without one."""
    for number, place in enumerate(_LASTING_PLACES):
        found = 0.0 if math.isnan(level) else _tail_evidence(level, tail[place])
        centre[_TOLD + number] = found if level > tail[place, UPPER_GATE] else -found


@kernel
def _season_offset(ring: F32, column: int, place: int, daily: F32, box: F32) -> float:
    """Median of the view `day` over the 12 columns before `column`, at least 3."""
    size = len(ring)
    count = 0
    for back in range(1, RECENT + 1):
        day = ring[(column - back) % size] - daily[place + RECENT - back]
        if not math.isnan(day):
            count = insert_sorted(box, count, day)
    return middle_of_sorted(box, count) if count >= 3 else np.nan


@kernel
def _set_centres(
    ring: F32, column: int, place: int, daily: F32, future: F32, holt: F64, box: F32, keys: I32, centre: F64
) -> float:
    """Centres of all views at `column`, `place` columns into the fit's future; returns the expected value."""
    season = daily[place + RECENT]
    offset = _season_offset(ring, column, place, daily, box)
    middle = _median_before(ring, column, 48, 3, box, keys)
    centre[X] = 0.0
    centre[F3] = _median_before(ring, column, 3, 2, box, keys)
    centre[F48] = middle
    centre[DAY] = season
    centre[DAY_F12] = season + offset
    centre[HW] = holt[0] + holt[1] + future[F_HW, place]
    centre[_RATIO_DAY] = future[F_RATIO_DAY, place]
    centre[_RATIO_HW] = future[F_RATIO_HW, place]
    centre[_SEASON] = future[F_SEASON, place]
    _recent_middle(ring, column, box, centre)
    return middle if math.isnan(season + offset) else season + offset


@kernel
def _weigh_history(days: float, novelty: float, weight: F64) -> None:
    """What so many days of history are worth; `day` begins a day later than the other views."""
    weight[_NOVEL] = 0.0 if days < 1 else novelty * min(1.0, days / _FULL_HISTORY_DAYS)
    weight[_NOVEL_DAY] = 0.0 if days < 2 else novelty * min(1.0, (days - 1) / _FULL_HISTORY_DAYS)
    weight[_SETTLED] = 0.0 if days < 2 else 1.0


@kernel
def open_column(
    rows: npt.NDArray[np.int64],
    column: int,
    ring: F32,
    offset: F64,
    period: int,
    hour: int,
    novelty: float,
    limit: float,
    valid: npt.NDArray[np.int32],
    origin: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    tail: F32,
    extreme: F32,
    daily: F32,
    future: F32,
    holt: F64,
    median: F64,
    floor: F64,
    spread: F64,
    never_negative: npt.NDArray[np.bool_],
    centre: F64,
    weight: F64,
    expected: F64,
    lower: F64,
    upper: F64,
    starts: F64,
) -> None:
    """Work out, for each of `rows`, what is expected at `column` and the band where evidence <= `limit`.

    ring (N, C) holds column c at place c % C; all columns before `column` count as known, their gaps are NaN. Rows not
    fitted, or whose fit does not reach `column`, get NaN.
    """
    box, keys = np.empty(64, np.float32), np.empty(64, np.int32)
    for r in rows:
        place = column - origin[r] - 1
        expected[r] = lower[r] = upper[r] = starts[r] = np.nan
        if valid[r] < LEAST_SAMPLES or place < 0 or place >= future.shape[2]:
            continue
        centred = _set_centres(ring[r], column, place, daily[r], future[r], holt[r], box, keys, centre[r])
        if math.isnan(centred):
            centred = median[r]
        if never_negative[r]:
            centred = max(centred, -offset[r])
        centre[r, _SEASON_SCALE] = _SEASON_REACH * max(spread[r], floor[r])
        _tell_hour(_median_before(ring[r], column, hour, 2, box, keys), tail[r], centre[r])
        _weigh_history((column - first[r]) / period, novelty, weight[r])
        expected[r] = centred
        start, below = _start(centred, median[r], limit, centre[r], weight[r], tail[r], extreme[r])
        starts[r] = start
        if math.isnan(start):
            lower[r], upper[r] = _seasonal_edges(centred, centre[r], tail[r], floor[r])
            if never_negative[r]:
                lower[r] = max(lower[r], -offset[r])
            continue
        stride = _first_stride(floor[r], tail[r])
        lower[r] = _edge(start, below, -stride, limit, centre[r], weight[r], tail[r], extreme[r])
        upper[r] = _edge(start, below, stride, limit, centre[r], weight[r], tail[r], extreme[r])
        if never_negative[r]:
            lower[r] = max(lower[r], min(-offset[r], start))
        expected[r] = min(max(centred, lower[r]), upper[r])


@kernel
def _start(
    centred: float, median: float, limit: float, centre: F64, weight: F64, tail: F32, extreme: F32
) -> tuple[float, float]:
    """A value that is certainly normal, from which the edges are searched, and what is found there; NaN when none of
    the candidates is."""
    for candidate in (centred, median, centre[F3]):
        if math.isnan(candidate):
            continue
        found = _found(candidate, limit, centre, weight, tail, extreme)
        if found <= 0.0:
            return candidate, found
    return np.nan, np.nan


@kernel
def _first_stride(floor: float, tail: F32) -> float:
    """How far to go first in search of an edge: as far as the jumps that are no news lie apart, at least the floor."""
    apart = np.float64(tail[_F3_PLACE, UPPER]) - np.float64(tail[_F3_PLACE, LOWER])
    return apart if apart > floor else floor


@kernel
def _edge(
    start: float, below: float, stride: float, limit: float, centre: F64, weight: F64, tail: F32, extreme: F32
) -> float:
    """The last value with evidence <= limit, going from `start`, where `below` is found, in the direction of `stride`.

    Doubling strides find a bracket, which is then closed in. Infinite where no value is ever too improbable (novelty
    has no weight on the first day, and tail evidence is bounded).
    """
    inside, outside = start, start + stride
    for _ in range(_DOUBLINGS):
        above = _found(outside, limit, centre, weight, tail, extreme)
        if above > 0.0:
            return _close_in(inside, outside, below, above, limit, centre, weight, tail, extreme)
        inside, below = outside, above
        stride *= 2.0
        outside = start + stride
    return math.copysign(np.inf, stride)


@kernel
def _found(x: float, limit: float, centre: F64, weight: F64, tail: F32, extreme: F32) -> float:
    """Evidence beyond the limit; not above 0 where x is acceptable."""
    return np.float64(evidence(x, centre, weight, tail, extreme) - limit)


@kernel
def _close_in(
    inside: float,
    outside: float,
    below: float,
    above: float,
    limit: float,
    centre: F64,
    weight: F64,
    tail: F32,
    extreme: F32,
) -> float:
    """Narrow the bracket between an acceptable and an unacceptable value; returns the acceptable end.

    `below` and `above` are what is found there. False position in its Illinois form (Dowell and Jarratt, BIT 11, 1971),
    as the evidence is linear in long pieces; a bisection in every third round, as it jumps at the gates of the tails.
    """
    close = _CLOSE * abs(outside - inside)
    side = 0
    for turn in range(_ROUNDS):
        linear = turn % 3 < 2 and below < 0.0 < above < np.inf
        share = below / (below - above) if linear else 0.5
        middle = inside + share * (outside - inside)
        # Half a tolerance off either end: the round that hits the edge then also ends the search.
        middle = min(max(middle, min(inside, outside) + 0.5 * close), max(inside, outside) - 0.5 * close)
        found = _found(middle, limit, centre, weight, tail, extreme)
        if found <= 0.0:
            inside, below = middle, found
            above = 0.5 * above if side < 0 else above
            side = -1
        else:
            outside, above = middle, found
            below = 0.5 * below if side > 0 else below
            side = 1
        if abs(outside - inside) <= close:
            break
    return inside


@kernel
def _edge_before(
    outside: float, start: float, limit: float, centre: F64, weight: F64, tail: F32, extreme: F32
) -> float:
    """The edge between the acceptable `start` and a value that is not."""
    below = _found(start, limit, centre, weight, tail, extreme)
    above = _found(outside, limit, centre, weight, tail, extreme)
    return _close_in(start, outside, below, above, limit, centre, weight, tail, extreme)


@kernel
def _seasonal_edges(centred: float, centre: F64, tail: F32, floor: float) -> tuple[float, float]:
    """Edges of the seasonal view alone: where the residual from the season enters the window's own tails."""
    if math.isnan(tail[3, UPPER]) or math.isnan(centre[_RATIO_DAY]):
        return centred - floor, centred + floor
    ratio = max(centre[_RATIO_DAY], 1e-12)
    low = centred + min(tail[3, LOWER] / ratio, -floor)
    return low, centred + max(tail[3, UPPER] / ratio, floor)


@kernel
def _score(found: float, told: float, distance: float) -> float:
    """Score of evidence `found`, in units of the threshold, at most 100.

    Below 1 it also says how unusual a sample is although that is not enough: it is lifted towards 1 by what was left
    out because it was `told` before, and by the `distance` from the season, 0 to 1.
    """
    if found < 1.0:
        usual = (1.0 - _LIFT_BY_SEASON * distance) * math.exp(-_LIFT_BY_TOLD * told)
        found += (1.0 - found) * _MOST_LIFTED * (1.0 - usual)
    return np.float64(min(MAX_SCORE, found))


@kernel
def judge(
    rows: npt.NDArray[np.int64],
    x: F64,
    limit: float,
    tail: F32,
    extreme: F32,
    centre: F64,
    weight: F64,
    start: F64,
    lower: F64,
    upper: F64,
    score: F64,
    band_lower: F64,
    band_upper: F64,
) -> None:
    """Score of x[i] for row rows[i] against the open column, clamped at 100; and its band.

    Shapes: x (len(rows),) centred; score, band_lower, band_upper (N,) are written at the rows. NaN in, or no verdict:
    NaN out. Where the acceptable values form no interval, the edge on x's side is moved so that it agrees with the
    score: score > 1 exactly outside the band. Only a row without any acceptable start keeps edges that may disagree.
    """
    for i in range(len(rows)):
        r = rows[i]
        band_lower[r], band_upper[r] = lower[r], upper[r]
        if math.isnan(lower[r]) or math.isnan(x[i]):
            score[r] = np.nan
            continue
        sample = np.float64(np.float32(x[i]))  # as the window stores it: its equals there must be its equals
        found = evidence(sample, centre[r], weight[r], tail[r], extreme[r])
        told = _tails(sample, centre[r], weight[r], tail[r])[1]
        score[r] = _score(found / limit, told / limit, _distance(sample, centre[r], weight[r]) / _SEASON_EVIDENCE)
        if math.isnan(start[r]):
            continue
        if found <= limit:
            band_lower[r], band_upper[r] = min(lower[r], sample, x[i]), max(upper[r], sample, x[i])
        elif start[r] < x[i] <= upper[r]:
            band_upper[r] = _edge_before(min(sample, x[i]), start[r], limit, centre[r], weight[r], tail[r], extreme[r])
        elif lower[r] <= x[i] < start[r]:
            band_lower[r] = _edge_before(max(sample, x[i]), start[r], limit, centre[r], weight[r], tail[r], extreme[r])


@kernel
def absorb(
    rows: npt.NDArray[np.int64],
    column: int,
    ring: F32,
    extreme: F32,
    future: F32,
    origin: npt.NDArray[np.int64],
    holt: F64,
    centre: F64,
) -> None:
    """Take the now final `column` into the running parts of the fit: the extremes and the Holt-Winters level.

    The centres must be those of `column` (`open_column` was called for it). A gap moves the level by the trend only.
    """
    size = ring.shape[1]
    for r in rows:
        x = np.float64(ring[r, column % size])
        place = column - origin[r] - 1
        if place < 0 or place >= future.shape[2]:
            continue
        ahead = holt[r, 0] + holt[r, 1]
        if math.isnan(x):
            holt[r, 0] = ahead
            continue
        for k, view in enumerate(NOVELTIES):
            residual = _residual(view, x, centre[r])
            if residual > extreme[r, k, HIGHEST]:
                extreme[r, k, HIGHEST] = residual
            if residual < extreme[r, k, LOWEST]:
                extreme[r, k, LOWEST] = residual
        level = ALPHA * (x - future[r, F_HW, place]) + (1 - ALPHA) * ahead
        holt[r, 1] = BETA * (level - holt[r, 0]) + (1 - BETA) * holt[r, 1]
        holt[r, 0] = level
