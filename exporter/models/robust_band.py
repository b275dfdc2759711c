"""`robust_band`: how improbable is the newest sample, seen from seven sides, and which values would have been normal.

Every view's residual (views.py) is compared with the window's own residuals in two ways. *Tail*: how far beyond the
4 % most extreme residuals, on the scale of an exponential fitted to them. *Novelty*: how far beyond everything in the
window. Their sum is the evidence; evidence divided by a threshold is the score. The band is the set of values whose
score is at most 1, found by bisection.

The fit is disposable: made from the window about once an hour, and between two fits only the extremes and the
Holt-Winters level move on (`absorb`). Nothing here knows of config, network or clocks; times are column numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.models.floors import Summary
from exporter.models.order import (
    F32,
    F64,
    GAP,
    I32,
    LEAST,
    from_key,
    insert_sorted,
    key_of_rank,
    largest_key,
    least_key,
    median_of_keys,
    middle_of_sorted,
    to_keys,
)
from exporter.models.views import (
    ALPHA,
    BETA,
    DAY,
    DAY_F12,
    F3,
    F48,
    HW,
    RECENT,
    VIEWS,
    XM6,
    X,
    fill_views,
    scale_reach,
    season_reach,
)

MAX_SCORE = 100.0
LEAST_SAMPLES = 24  # a view with fewer valid samples has no tail, a series with fewer no verdict
_TAIL_SHARE = 0.04
_LEAST_TAIL = 8
_MAX_VIEW_EVIDENCE = 12.0
_MAX_TAIL_EVIDENCE = 8.0
_NOVELTY_WEIGHT = 20.0
_FULL_HISTORY_DAYS = 14.0
_BISECTIONS = 40
_LN10 = math.log(10.0)

# The tail of the views, in this order, and the novelty of the views with its weight.
_TAILS = (X, F3, XM6, DAY_F12, HW)
_NOVELTIES = (X, F3, F48, DAY, XM6)

# Places in a row of `Fitted.tail`, `Fitted.extreme` and `Context.centre`.
_JUMP, _UPPER, _UPPER_SCALE, _LOWER, _LOWER_SCALE = range(5)
_HIGHEST, _LOWEST, _HIGH_UNIT, _LOW_UNIT = range(4)
_XM6_LOW, _XM6_HIGH, _XM6_OTHER, _RATIO_DAY, _RATIO_HW = range(VIEWS, VIEWS + 5)
_CENTRES = VIEWS + 5


def threshold(step_s: int) -> float:
    """Evidence at the edge of the band: 4.0 at 60 s, 3.4 at 300 s, 2.7 at 3600 s, linear in log(step) between."""
    return np.float64(np.interp(math.log(step_s), np.log([60.0, 300.0, 3600.0]), [4.0, 3.4, 2.7]))


@dataclass(frozen=True, slots=True)
class Shape:
    """What all rows of a window share: columns per day, columns a fit must serve, and the reaches of the seasons."""

    period: int
    horizon: int
    season_reach: int
    scale_reach: int

    @staticmethod
    def of(step_s: int, horizon: int) -> Shape:
        """The shape of a window with this step, whose fits serve `horizon` columns."""
        return Shape(86_400 // step_s, horizon, season_reach(step_s), scale_reach(step_s))


@dataclass(slots=True)
class Fitted:
    """The fit of each row. Arrays by row: `column` the last column the fit has seen (absorbed columns included).

    tail (N, 5, 5) and extreme (N, 5, 4) per view, future (N, 4, RECENT + horizon) from column `origin` - RECENT + 1 on
    (`origin` = the fit's own last column), level and trend of Holt-Winters, first column with a sample, and the
    median, floor and smallest value of the window. A row never fitted has `valid` 0.
    """

    valid: npt.NDArray[np.int32]
    origin: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    tail: F32
    extreme: F32
    future: F32
    holt: F64
    median: F64
    floor: F64
    never_negative: npt.NDArray[np.bool_]

    @staticmethod
    def empty(rows: int, horizon: int) -> Fitted:
        """Room for so many rows, none of them fitted."""
        return Fitted(
            valid=np.zeros(rows, np.int32),
            origin=np.zeros(rows, np.int64),
            first=np.zeros(rows, np.int64),
            tail=np.full((rows, len(_TAILS), 5), np.nan, np.float32),
            extreme=np.full((rows, len(_NOVELTIES), 4), np.nan, np.float32),
            future=np.full((rows, 4, RECENT + horizon), np.nan, np.float32),
            holt=np.full((rows, 2), np.nan),
            median=np.full(rows, np.nan),
            floor=np.full(rows, np.nan),
            never_negative=np.zeros(rows, np.bool_),
        )


@dataclass(slots=True)
class Context:
    """What was expected of the open column, by row: the views' centres, the weight of novelty, and the band.

    centre (N, 12): the seven centres (that of xm6 unused), the three numbers that make xm6 from x, two scale ratios.
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
            weight=np.zeros(rows),
            expected=np.full(rows, np.nan),
            lower=np.full(rows, np.nan),
            upper=np.full(rows, np.nan),
            start=np.full(rows, np.nan),
        )


# --- fit --------------------------------------------------------------------------------------------------------------


def fit(values: F32, offset: F64, summary: Summary, end_column: npt.NDArray[np.int64], shape: Shape) -> Fitted:
    """Fit every row of a batch on its window.

    Shapes: values (B, n) float32 centred, oldest first, gaps NaN; offset (B,) added to get true values; end_column (B,)
    the column number of the last value. Returns a Fitted of B rows. A row with fewer than 24 samples gets `valid` and
    nothing else. Cost: about 0.15 ms a row of 2016 samples, 0.3 ms of 4032.
    """
    batch, n = values.shape
    fitted = Fitted.empty(batch, shape.horizon)
    views = np.empty((VIEWS, batch, n), np.float32)
    fill_views(values, summary.median, summary.floor, end_column, shape.period, shape.season_reach, shape.scale_reach,
               views, fitted.future, fitted.holt)  # fmt: skip
    for place, view in enumerate(_TAILS):
        _fit_tail(views[view], summary.floor, fitted.tail[:, place])
    for place, view in enumerate(_NOVELTIES):
        _fit_extreme(views[view], summary.floor, shape.period, fitted.extreme[:, place])
    fitted.valid[:] = summary.valid
    fitted.origin[:] = end_column
    fitted.first[:] = end_column - n + 1 + np.argmax(~np.isnan(values), axis=1)
    fitted.median[:] = summary.median
    fitted.floor[:] = summary.floor
    fitted.never_negative[:] = summary.smallest + offset >= 0
    return fitted


def _fit_tail(view: F32, floor: F64, out: F32) -> None:
    """Exponential tails of one view: view (B, n), out (B, 5); NaN for rows with fewer than 24 valid samples."""
    rows, n = view.shape
    beyond = np.full((rows, 2, max(_LEAST_TAIL, int(_TAIL_SHARE * n)) + 1), np.nan, np.float32)
    size = np.zeros(rows, np.int64)
    _find_tails(view, size, beyond, out)
    # By numpy, whose SIMD sort is far faster than numba's: the mean is added up from the outermost residual on.
    beyond.sort(axis=2)
    _measure_tails(size, beyond, floor, out)


@kernel
def _find_tails(view: F32, size: npt.NDArray[np.int64], beyond: F32, out: F32) -> None:
    """Where the tails begin, and the residuals beyond: beyond (B, 2, most + 1), below and above. Size 0: no tails."""
    keys = np.empty(view.shape[1], np.int32)
    for i in range(len(view)):
        count = to_keys(view[i], keys)
        if count < LEAST_SAMPLES:
            continue
        size[i] = max(_LEAST_TAIL, int(_TAIL_SHARE * count))
        lower, upper = key_of_rank(keys, count, size[i]), key_of_rank(keys, count, count - 1 - size[i])
        out[i, _JUMP] = math.log10(count / size[i])
        out[i, _LOWER], out[i, _UPPER] = from_key(lower), from_key(upper)
        below, above = 0, 0
        for t in range(len(keys)):  # every sample is written, and kept by moving on: no branch to be foreseen wrongly
            beyond[i, 0, below] = beyond[i, 1, above] = view[i, t]
            below += keys[t] < lower
            above += upper < keys[t] < GAP
        beyond[i, 0, below:] = beyond[i, 1, above:] = np.nan


@kernel
def _measure_tails(size: npt.NDArray[np.int64], beyond: F32, floor: F64, out: F32) -> None:
    """The scales of the tails: mean distance of the residuals beyond, ascending with NaN last."""
    for i in range(len(size)):
        if size[i] == 0:
            out[i, :] = np.nan
            continue
        below, above = 0.0, 0.0
        for low in beyond[i, 0]:
            if math.isnan(low):  # residuals equal to the tail's edge add nothing
                break
            below += np.float64(out[i, _LOWER]) - np.float64(low)
        for high in beyond[i, 1, ::-1]:
            if not math.isnan(high):
                above += np.float64(high) - np.float64(out[i, _UPPER])
        out[i, _UPPER_SCALE] = _LN10 * max(above / size[i], floor[i])
        out[i, _LOWER_SCALE] = _LN10 * max(below / size[i], floor[i])


@kernel
def _fit_extreme(view: F32, floor: F64, period: int, out: F32) -> None:
    """Extremes of one view and the unit in which going beyond them is measured: view (B, n), out (B, 4)."""
    keys = np.empty(view.shape[1], np.int32)
    for i in range(len(view)):
        count = to_keys(view[i], keys)
        if count == 0:
            out[i, :] = np.nan
            continue
        high, high_gap, low, low_gap = _daily_extremes(keys, period)
        middle = median_of_keys(keys, count)
        spread = high - low
        high_unit = max(floor[i], math.sqrt((high - middle) * spread))
        low_unit = max(floor[i], math.sqrt((middle - low) * spread))
        out[i, _HIGHEST] = high
        out[i, _LOWEST] = low
        # unit (1 + 2 d) with d = (D1 - D2) / unit: a record that stood far above every other day weakens the next one.
        out[i, _HIGH_UNIT] = high_unit + 2.0 * high_gap
        out[i, _LOW_UNIT] = low_unit + 2.0 * low_gap


@kernel
def _daily_extremes(keys: I32, period: int) -> tuple[float, float, float, float]:
    """Maximum, its lead over the second-highest daily maximum, minimum, its lead; days counted back from the end.

    Takes the samples' keys, of which at least one must be valid. With samples on one day only, the leads are 0.
    """
    high1, high2, low1, low2 = -np.inf, -np.inf, np.inf, np.inf
    days = 0
    for end in range(len(keys), 0, -period):
        day = keys[max(0, end - period) : end]
        least = least_key(day, LEAST)
        if least == GAP:
            continue
        days += 1
        low, high = from_key(least), from_key(largest_key(day, GAP - 1))
        high1, high2 = max(high1, high), max(high2, min(high1, high))
        low1, low2 = min(low1, low), min(low2, max(low1, low))
    if days == 1:
        return high1, 0.0, low1, 0.0
    return high1, high1 - high2, low1, low2 - low1


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
    """-log10 of the tail probability of a residual; 0 between the tails and where there is no tail."""
    if r > tail[_UPPER]:
        return np.float64(min(_MAX_VIEW_EVIDENCE, tail[_JUMP] + (r - tail[_UPPER]) / tail[_UPPER_SCALE]))
    if r < tail[_LOWER]:
        return np.float64(min(_MAX_VIEW_EVIDENCE, tail[_JUMP] + (tail[_LOWER] - r) / tail[_LOWER_SCALE]))
    return 0.0


@kernel
def _novelty(r: float, extreme: F32) -> float:
    """How far a residual lies beyond all of the window, in units of the window; 0 inside."""
    if r > extreme[_HIGHEST]:
        return np.float64((r - extreme[_HIGHEST]) / extreme[_HIGH_UNIT])
    if r < extreme[_LOWEST]:
        return np.float64((extreme[_LOWEST] - r) / extreme[_LOW_UNIT])
    return 0.0


@kernel
def evidence(x: float, centre: F64, weight: float, tail: F32, extreme: F32) -> float:
    """Evidence against x being normal: min(8, mean tail evidence) + weight x largest weighted novelty."""
    total = 0.0
    for place, view in enumerate(_TAILS):
        total += _tail_evidence(_residual(view, x, centre), tail[place])
    total = min(_MAX_TAIL_EVIDENCE, total / len(_TAILS))
    if weight == 0.0:
        return total
    most = 0.0
    for place, view in enumerate(_NOVELTIES):
        share = 0.5 if view in (F3, XM6) else 1.0
        most = max(most, share * _novelty(_residual(view, x, centre), extreme[place]))
    return total + weight * most


# --- the open column --------------------------------------------------------------------------------------------------


@kernel
def _median_before(ring: F32, column: int, length: int, at_least: int, box: F32) -> float:
    """Median of the valid samples of the `length` columns before `column`."""
    size = len(ring)
    count = 0
    for back in range(1, min(length, size) + 1):
        value = ring[(column - back) % size]
        if not math.isnan(value):
            count = insert_sorted(box, count, value)
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
def _season_offset(ring: F32, column: int, origin: int, future: F32, box: F32) -> float:
    """Median of the view `day` over the 12 columns before `column`, at least 3."""
    size = len(ring)
    count = 0
    for back in range(1, RECENT + 1):
        day = ring[(column - back) % size] - future[0, column - back - origin - 1 + RECENT]
        if not math.isnan(day):
            count = insert_sorted(box, count, day)
    return middle_of_sorted(box, count) if count >= 3 else np.nan


@kernel
def _set_centres(ring: F32, column: int, origin: int, future: F32, holt: F64, box: F32, centre: F64) -> float:
    """Centres of all views at `column` from the ring and the fit's future; returns the expected value."""
    place = column - origin - 1 + RECENT
    season = future[0, place]
    offset = _season_offset(ring, column, origin, future, box)
    middle = _median_before(ring, column, 48, 3, box)
    centre[X] = 0.0
    centre[F3] = _median_before(ring, column, 3, 2, box)
    centre[F48] = middle
    centre[DAY] = season
    centre[DAY_F12] = season + offset
    centre[HW] = holt[0] + holt[1] + future[1, place]
    centre[_RATIO_DAY] = future[2, place]
    centre[_RATIO_HW] = future[3, place]
    _recent_middle(ring, column, box, centre)
    return middle if math.isnan(season + offset) else season + offset


@kernel
def open_column(
    rows: npt.NDArray[np.int64],
    column: int,
    ring: F32,
    offset: F64,
    period: int,
    limit: float,
    valid: npt.NDArray[np.int32],
    origin: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    tail: F32,
    extreme: F32,
    future: F32,
    holt: F64,
    median: F64,
    floor: F64,
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
    box = np.empty(64, np.float32)
    for r in rows:
        place = column - origin[r] - 1
        expected[r] = lower[r] = upper[r] = starts[r] = np.nan
        if valid[r] < LEAST_SAMPLES or place < 0 or place + RECENT >= future.shape[2]:
            continue
        centred = _set_centres(ring[r], column, origin[r], future[r], holt[r], box, centre[r])
        if math.isnan(centred):
            centred = median[r]
        if never_negative[r]:
            centred = max(centred, -offset[r])
        days = (column - first[r]) / period
        weight[r] = 0.0 if days < 1 else _NOVELTY_WEIGHT * min(1.0, days / _FULL_HISTORY_DAYS)
        expected[r] = centred
        start = _start(centred, median[r], limit, centre[r], weight[r], tail[r], extreme[r])
        starts[r] = start
        if math.isnan(start):
            lower[r], upper[r] = _seasonal_edges(centred, centre[r], tail[r], floor[r])
            if never_negative[r]:
                lower[r] = max(lower[r], -offset[r])
            continue
        lower[r] = _edge(start, -floor[r], limit, centre[r], weight[r], tail[r], extreme[r])
        upper[r] = _edge(start, floor[r], limit, centre[r], weight[r], tail[r], extreme[r])
        if never_negative[r]:
            lower[r] = max(lower[r], min(-offset[r], start))
        expected[r] = min(max(centred, lower[r]), upper[r])


@kernel
def _start(centred: float, median: float, limit: float, centre: F64, weight: float, tail: F32, extreme: F32) -> float:
    """A value that is certainly normal, from which the edges are searched; NaN when none of the candidates is."""
    for candidate in (centred, median, centre[F3]):
        if not math.isnan(candidate) and evidence(candidate, centre, weight, tail, extreme) <= limit:
            return candidate
    return np.nan


@kernel
def _edge(start: float, stride: float, limit: float, centre: F64, weight: float, tail: F32, extreme: F32) -> float:
    """The last value with evidence <= limit, going from `start` in the direction of `stride`.

    Doubling strides find a bracket, bisection closes it down to neighbouring floats at best. Infinite where no value
    is ever too improbable (novelty has no weight on the first day, and tail evidence is bounded).
    """
    inside, outside = start, start + stride
    doublings = 0
    while evidence(outside, centre, weight, tail, extreme) <= limit:
        inside = outside
        stride *= 2.0
        outside = start + stride
        doublings += 1
        if doublings > 120:
            return math.copysign(np.inf, stride)
    return _close_in(inside, outside, limit, centre, weight, tail, extreme)


@kernel
def _close_in(
    inside: float, outside: float, limit: float, centre: F64, weight: float, tail: F32, extreme: F32
) -> float:
    """Bisect between an acceptable and an unacceptable value; returns the acceptable end."""
    for _ in range(_BISECTIONS):
        middle = 0.5 * (inside + outside)
        if evidence(middle, centre, weight, tail, extreme) <= limit:
            inside = middle
        else:
            outside = middle
    return inside


@kernel
def _seasonal_edges(centred: float, centre: F64, tail: F32, floor: float) -> tuple[float, float]:
    """Edges of the seasonal view alone: where the residual from the season enters the window's own tails."""
    if math.isnan(tail[3, _UPPER]) or math.isnan(centre[_RATIO_DAY]):
        return centred - floor, centred + floor
    ratio = max(centre[_RATIO_DAY], 1e-12)
    low = centred + min(tail[3, _LOWER] / ratio, -floor)
    return low, centred + max(tail[3, _UPPER] / ratio, floor)


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
    """Score of x[i] for row rows[i] against the open column: evidence / limit, clamped at 100; and its band.

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
        score[r] = min(MAX_SCORE, found / limit)
        if math.isnan(start[r]):
            continue
        if found <= limit:
            band_lower[r], band_upper[r] = min(lower[r], sample, x[i]), max(upper[r], sample, x[i])
        elif start[r] < x[i] <= upper[r]:
            band_upper[r] = _close_in(start[r], min(sample, x[i]), limit, centre[r], weight[r], tail[r], extreme[r])
        elif lower[r] <= x[i] < start[r]:
            band_lower[r] = _close_in(start[r], max(sample, x[i]), limit, centre[r], weight[r], tail[r], extreme[r])


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
        place = column - origin[r] - 1 + RECENT
        if place < RECENT or place >= future.shape[2]:
            continue
        ahead = holt[r, 0] + holt[r, 1]
        if math.isnan(x):
            holt[r, 0] = ahead
            continue
        for k, view in enumerate(_NOVELTIES):
            residual = _residual(view, x, centre[r])
            if residual > extreme[r, k, _HIGHEST]:
                extreme[r, k, _HIGHEST] = residual
            if residual < extreme[r, k, _LOWEST]:
                extreme[r, k, _LOWEST] = residual
        level = ALPHA * (x - future[r, 1, place]) + (1 - ALPHA) * ahead
        holt[r, 1] = BETA * (level - holt[r, 0]) + (1 - BETA) * holt[r, 1]
        holt[r, 0] = level
