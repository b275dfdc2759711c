"""`robust_band`, the judgement: what is expected of the open column, the score of its sample, and the band.

Evidence (`evidence.py`) divided by a threshold is the score. The band is the set of values whose score is at most 1
(`edges.py`). Between two fits only the extremes and the Holt-Winters level move on (`absorb`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel, leaf
from exporter.models.edges import edge_before, find_edge, find_start, first_stride, seasonal_edges
from exporter.models.evidence import (
    CENTRES,
    NOVEL,
    NOVEL_DAY,
    RATIO_DAY,
    RATIO_HW,
    SEASON,
    SEASON_EVIDENCE,
    SEASON_SCALE,
    SETTLED,
    TOLD,
    WEIGHTS,
    XM6_HIGH,
    XM6_LOW,
    XM6_OTHER,
    distance,
    evidence,
    residual,
    tail_evidence,
    tails,
)
from exporter.models.order import F32, F64, I32, insert_sorted, median_of_keys, middle_of_sorted, to_keys
from exporter.models.robust_band import HIGHEST, LOWEST, NOVELTIES, TAILS, UPPER_GATE
from exporter.models.tails import LEAST_SAMPLES
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
    XM6,
    X,
)

MAX_SCORE = 100.0
_FULL_HISTORY_DAYS = 7.0
_SEASON_REACH = 10.0  # distance, in typical distances, at which it is worth 63 % of what it can be
_MOST_LIFTED, _LIFT_BY_SEASON, _LIFT_BY_TOLD = 0.97, 0.8, 2.0  # how a score below 1 is lifted, see `_score`
_FEW = 16  # up to so many samples are best sorted by insertion
_LASTING_PLACES = (TAILS.index(X), TAILS.index(XM6))


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
            centre=np.full((rows, CENTRES), np.nan),
            weight=np.zeros((rows, WEIGHTS)),
            expected=np.full(rows, np.nan),
            lower=np.full(rows, np.nan),
            upper=np.full(rows, np.nan),
            start=np.full(rows, np.nan),
        )


# --- the open column --------------------------------------------------------------------------------------------------


@leaf
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


@leaf
def _recent_middle(ring: F32, column: int, box: F32, centre: F64) -> None:
    """Reduce the five samples before `column` to what xm6 needs: med(x, five) = clamp(x, low, high), averaged with a
    third value when the number of samples including x is even."""
    size = len(ring)
    count = 0
    for back in range(1, 6):
        value = ring[(column - back) % size]
        if not math.isnan(value):
            count = insert_sorted(box, count, value)
    centre[XM6_OTHER] = np.nan
    if count < 2:
        centre[XM6_LOW] = np.nan
        centre[XM6_HIGH] = np.nan
    elif count & 1:
        half = count >> 1
        centre[XM6_LOW], centre[XM6_OTHER], centre[XM6_HIGH] = box[half - 1], box[half], box[half + 1]
    else:
        half = count >> 1
        centre[XM6_LOW], centre[XM6_HIGH] = box[half - 1], box[half]


@leaf
def _tell_hour(level: float, row: int, tail: F32, centre: F64) -> None:
    """The tail evidence of the last hour's level in the lasting views, negative where it lies below; 0 without one."""
    for number, place in enumerate(_LASTING_PLACES):
        found = 0.0 if math.isnan(level) else tail_evidence(level, row, place, tail)
        centre[row, TOLD + number] = found if level > tail[row, place, UPPER_GATE] else -found


@leaf
def _season_offset(ring: F32, column: int, place: int, daily: F32, box: F32) -> float:
    """Median of the view `day` over the 12 columns before `column`, at least 3."""
    size = len(ring)
    count = 0
    for back in range(1, RECENT + 1):
        day = ring[(column - back) % size] - daily[place + RECENT - back]
        if not math.isnan(day):
            count = insert_sorted(box, count, day)
    return middle_of_sorted(box, count) if count >= 3 else np.nan


@leaf
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
    centre[RATIO_DAY] = future[F_RATIO_DAY, place]
    centre[RATIO_HW] = future[F_RATIO_HW, place]
    centre[SEASON] = future[F_SEASON, place]
    _recent_middle(ring, column, box, centre)
    return middle if math.isnan(season + offset) else season + offset


@leaf
def _weigh_history(days: float, novelty: float, weight: F64) -> None:
    """What so many days of history are worth; `day` begins a day later than the other views."""
    weight[NOVEL] = 0.0 if days < 1 else novelty * min(1.0, days / _FULL_HISTORY_DAYS)
    weight[NOVEL_DAY] = 0.0 if days < 2 else novelty * min(1.0, (days - 1) / _FULL_HISTORY_DAYS)
    weight[SETTLED] = 0.0 if days < 2 else 1.0


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
        centre[r, SEASON_SCALE] = _SEASON_REACH * max(spread[r], floor[r])
        _tell_hour(_median_before(ring[r], column, hour, 2, box, keys), r, tail, centre)
        _weigh_history((column - first[r]) / period, novelty, weight[r])
        expected[r] = centred
        start, below = find_start(centred, median[r], limit, r, centre, weight, tail, extreme)
        starts[r] = start
        if math.isnan(start):
            lower[r], upper[r] = seasonal_edges(centred, floor[r], r, centre, tail)
            if never_negative[r]:
                lower[r] = max(lower[r], -offset[r])
            continue
        stride = first_stride(floor[r], r, tail)
        lower[r] = find_edge(start, below, -stride, limit, r, centre, weight, tail, extreme)
        upper[r] = find_edge(start, below, stride, limit, r, centre, weight, tail, extreme)
        if never_negative[r]:
            lower[r] = max(lower[r], min(-offset[r], start))
        expected[r] = min(max(centred, lower[r]), upper[r])


@leaf
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

    Shapes: x, score, band_lower, band_upper (len(rows),), x centred. NaN in, or no verdict: NaN out. Where the
    acceptable values form no interval, the edge on x's side is moved so that it agrees with the score: score > 1
    exactly outside the band. Only a row without any acceptable start keeps edges that may disagree.
    """
    for i in range(len(rows)):
        r = rows[i]
        band_lower[i], band_upper[i] = lower[r], upper[r]
        if math.isnan(lower[r]) or math.isnan(x[i]):
            score[i] = np.nan
            continue
        sample = np.float64(np.float32(x[i]))  # as the window stores it: its equals there must be its equals
        found = evidence(sample, r, centre, weight, tail, extreme)
        told = tails(sample, r, centre, weight, tail)[1]
        score[i] = _score(found / limit, told / limit, distance(sample, r, centre, weight) / SEASON_EVIDENCE)
        if math.isnan(start[r]):
            continue
        if found <= limit:
            band_lower[i], band_upper[i] = min(lower[r], sample, x[i]), max(upper[r], sample, x[i])
        elif start[r] < x[i] <= upper[r]:
            band_upper[i] = edge_before(min(sample, x[i]), start[r], limit, r, centre, weight, tail, extreme)
        elif lower[r] <= x[i] < start[r]:
            band_lower[i] = edge_before(max(sample, x[i]), start[r], limit, r, centre, weight, tail, extreme)


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
            found = residual(view, x, r, centre)
            if found > extreme[r, k, HIGHEST]:
                extreme[r, k, HIGHEST] = found
            if found < extreme[r, k, LOWEST]:
                extreme[r, k, LOWEST] = found
        level = ALPHA * (x - future[r, F_HW, place]) + (1 - ALPHA) * ahead
        holt[r, 1] = BETA * (level - holt[r, 0]) + (1 - BETA) * holt[r, 1]
        holt[r, 0] = level
