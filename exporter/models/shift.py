"""`shift`: has the level of the last hour, or of the last six, left what means of such a length were until yesterday?

`day` is the view of that name in views.py: x[t] minus S[t], the median of the samples at the same time of day on the
previous seven days. A trailing mean of `day` is compared with the window's own trailing means *that end a day ago or
earlier*, by the exponential tail of `robust_band`: against a window up to now a ramp would become its own norm within
half a day. The larger evidence of the two lengths, divided by 6, is the score: above 1 the level is drifting. Slow
drifts, hours at the wrong time of day and steps show here; a step for about a day and a half, until its means are part
of the norm. One sample is no level: the mean that is judged leaves out its most extreme sample, so a spike is no shift.

The fit is disposable like that of a model: S for the columns to come and the two tails. The sums of an open column are
taken from the window, not carried on. Gaps count nowhere: a mean needs half as many samples as are usual in its length,
and the sample it ends with. Formulas: the models' page, section 4, with tails as in its section 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.models.floors import Summary
from exporter.models.medians import LEAD, ORIGIN, Room, day_medians, lay_out, room_for
from exporter.models.order import F32, F64, from_key, key_of_rank, to_keys
from exporter.models.tails import LEAST_SAMPLES, LN10, MOST_EVIDENCE, tail_size
from exporter.models.views import season_reach

I64 = npt.NDArray[np.int64]

EVIDENCE_AT_ONE = 6.0
LEAST_DAYS = 2.0  # of history, before which there is no score
LENGTHS_S = (3600, 6 * 3600)
LEAST_LENGTH = 3  # samples of a mean, whatever the step
_USUAL_SHARE = 0.5  # of the samples that are usual in a mean's length, this many must be there

# Places in the last axis of `Fitted.tail`.
_JUMP, _UPPER, _UPPER_SCALE, _LOWER, _LOWER_SCALE = range(5)


@dataclass(frozen=True, slots=True)
class Watch:
    """Which shifts count: upwards, downwards, and only by more than `deviation` (unit of the series) and than `share`
    of the expected level."""

    above: bool = True
    below: bool = True
    deviation: float = 0.0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What all rows share: columns per day, columns a fit must serve, the season's reach, the means' lengths (2,)."""

    period: int
    horizon: int
    reach: int
    lengths: I64

    @staticmethod
    def of(step_s: int, horizon: int) -> Shape:
        """The shape of a window with this step, whose fits serve `horizon` columns."""
        lengths = np.array([max(LEAST_LENGTH, length_s // step_s) for length_s in LENGTHS_S], np.int64)
        return Shape(86_400 // step_s, horizon, season_reach(step_s), lengths)

    @property
    def seasons(self) -> int:
        """Columns of S that a fit keeps: those a mean reaches back to, and those to come."""
        return int(self.lengths[-1]) - 1 + self.horizon


@dataclass(slots=True)
class Fitted:
    """The fit of each row: `origin` the last column it has seen, `first` the first one with a sample, season (N, S) the
    S of the columns up to the last one served, tail (N, 2, 5) and the least samples of a mean, need (N, 2), by length.
    A row without a fit has NaN tails."""

    origin: I64
    first: I64
    season: F32
    tail: F64
    need: I64

    @staticmethod
    def empty(rows: int, shape: Shape) -> Fitted:
        """Room for so many rows, none of them fitted."""
        return Fitted(
            origin=np.zeros(rows, np.int64),
            first=np.zeros(rows, np.int64),
            season=np.full((rows, shape.seasons), np.nan, np.float32),
            tail=np.full((rows, len(LENGTHS_S), 5), np.nan),
            need=np.full((rows, len(LENGTHS_S)), LEAST_LENGTH, np.int64),
        )


@dataclass(slots=True)
class Context:
    """The open column of each row: S there, the smallest mean that counts, and of the columns before it the sum, number
    and extremes of `day`, (N, 2) by length. S is NaN where there is no verdict."""

    season: F64
    least: F64
    total: F64
    count: I64
    high: F64
    low: F64

    @staticmethod
    def empty(rows: int) -> Context:
        """Room for so many rows, none with a verdict."""
        shape = (rows, len(LENGTHS_S))
        return Context(
            season=np.full(rows, np.nan),
            least=np.zeros(rows),
            total=np.zeros(shape),
            count=np.zeros(shape, np.int64),
            high=np.zeros(shape),
            low=np.zeros(shape),
        )


# --- fit --------------------------------------------------------------------------------------------------------------


def fit(values: F32, summary: Summary, end_column: I64, shape: Shape) -> Fitted:
    """Fit every row of a batch on its window.

    Shapes: values (B, n) float32 centred, oldest first, gaps NaN, the last one of column end_column (B,). Fewer than 24
    means that end a day ago or earlier: no tail, no verdict. Cost: about 0.05 ms a row of 2016 samples, 0.11 of 4032.
    """
    rows, n = values.shape
    fitted = Fitted.empty(rows, shape)
    start = np.argmax(np.isfinite(values), axis=1)
    fitted.origin[:] = end_column
    fitted.first[:] = end_column - n + 1 + start
    usual = summary.valid / (n - start)
    fitted.need[:] = np.maximum(LEAST_LENGTH, np.ceil(_USUAL_SHARE * usual[:, None] * shape.lengths))
    means = np.full((len(LENGTHS_S), rows, max(0, n - shape.period)), np.nan, np.float32)
    _fill_means(values, shape.period, shape.reach, shape.lengths, fitted.need, _room(n, shape), fitted.season, means)
    for place in range(len(LENGTHS_S)):
        _fit_tails(means[place], summary.floor, fitted.tail[:, place])
    return fitted


def _room(n: int, shape: Shape) -> Room:
    return room_for(LEAD + n + shape.period + shape.horizon)


@kernel
def _fill_means(
    values: F32, period: int, reach: int, lengths: I64, need: I64, room: Room, season: F32, means: F32
) -> None:
    """S of the last columns and of those to come, and the trailing means that end a day before the end or earlier."""
    rows, n = values.shape
    kept = means.shape[2]
    back = lengths[-1] - 1
    line = np.empty(n + season.shape[1] - back, np.float32)
    ahead = np.empty(kept)
    for i in range(rows):
        lay_out(values[i], -LEAD, room)
        # S[t] is the median of the valid x[t - d*period + j] for d = 1..7 and abs(j) <= reach.
        day_medians(room, ORIGIN + LEAD - period - reach, period, 2 * reach + 1, line)
        for k in range(season.shape[1]):
            season[i, k] = line[n - back + k] if n - back + k >= 0 else np.nan
        day = line[:kept]
        for t in range(kept):
            apart = values[i, t] - day[t]
            day[t] = apart if math.isfinite(apart) else np.nan
        for place in range(len(lengths)):
            trailing_means(day, lengths[place], need[i, place], ahead, means[place, i])


@kernel
def trailing_means(x: F32, length: int, at_least: int, ahead: F64, out: F32) -> None:
    """out[t] = mean of the valid ones of x[t - length + 1 .. t]; NaN with fewer than `at_least`, and where x[t] is.

    Every window is the end of one block of `length` columns and the start of the next, both summed up directly: a
    difference of running sums would lose everything beside one huge sample. `ahead` is scratch, all shapes (n,).
    """
    n, count = len(x), 0
    for block in range(0, n, length):
        total = 0.0
        for t in range(block, min(block + length, n)):
            total += np.float64(x[t]) if x[t] == x[t] else 0.0
            count += x[t] == x[t]
            if block > 0:
                count -= x[t - length] == x[t - length]
            before = ahead[t - length + 1] if block > 0 and t < block + length - 1 else 0.0
            out[t] = (before + total) / count if x[t] == x[t] and count >= at_least else np.nan
        total = 0.0
        for t in range(min(block + length, n) - 1, block - 1, -1):
            total += np.float64(x[t]) if x[t] == x[t] else 0.0
            ahead[t] = total


@kernel
def _fit_tails(means: F32, floor: F64, out: F64) -> None:
    """Exponential tails of each row of means (B, n); out (B, 5), left alone with fewer than 24 valid ones."""
    keys = np.empty(means.shape[1], np.int32)
    for i in range(len(means)):
        count = to_keys(means[i], keys)
        if count < LEAST_SAMPLES:
            continue
        size = tail_size(count)
        lower, upper = from_key(key_of_rank(keys, count, size)), from_key(key_of_rank(keys, count, count - 1 - size))
        below, above = 0.0, 0.0
        for mean in means[i]:  # means equal to the tail's edge would add nothing
            below += lower - np.float64(mean) if mean < lower else 0.0
            above += np.float64(mean) - upper if mean > upper else 0.0
        out[i, _JUMP] = math.log10(count / size)
        out[i, _UPPER], out[i, _UPPER_SCALE] = upper, LN10 * max(above / size, floor[i])
        out[i, _LOWER], out[i, _LOWER_SCALE] = lower, LN10 * max(below / size, floor[i])


# --- the open column --------------------------------------------------------------------------------------------------


@kernel
def open_column(
    rows: I64,
    column: int,
    ring: F32,
    offset: F64,
    period: int,
    horizon: int,
    lengths: I64,
    deviation: float,
    share: float,
    origin: I64,
    first: I64,
    seasons: F32,
    season: F64,
    least: F64,
    total: F64,
    count: I64,
    high: F64,
    low: F64,
) -> None:
    """What the newest sample of `column` is to be added to, for each of `rows`.

    ring (N, C) holds column c at place c % C; all columns before `column` count as known, their gaps are NaN. Rows
    whose fit does not reach `column`, or with less than two days of history, get no season: no verdict.
    """
    back = lengths[-1] - 1
    for r in rows:
        season[r] = np.nan
        place = column - origin[r] - 1
        if place < 0 or place >= horizon or column - first[r] < LEAST_DAYS * period:
            continue
        season[r] = seasons[r, back + place]
        least[r] = max(deviation, share * abs(season[r] + offset[r]))
        _sum_up(ring[r], column, seasons[r, : back + place], lengths, total[r], count[r], high[r], low[r])


@kernel
def _sum_up(ring: F32, column: int, seasons: F32, lengths: I64, total: F64, count: I64, high: F64, low: F64) -> None:
    """Sum, number and extremes of `day` before `column`, one column fewer than each length; so ends `seasons`."""
    at, back = column % len(ring), len(seasons)
    summed, seen, most, least = 0.0, 0, -np.inf, np.inf
    for k in range(len(lengths)):
        while len(seasons) - back < lengths[k] - 1:
            at, back = (at if at > 0 else len(ring)) - 1, back - 1
            day = np.float64(ring[at]) - np.float64(seasons[back])
            if math.isfinite(day):
                summed += day
                seen += 1
                most, least = max(most, day), min(least, day)
        total[k], count[k], high[k], low[k] = summed, seen, most, least


@kernel
def judge(
    rows: I64,
    x: F64,
    above: bool,
    below: bool,
    limit: float,
    tail: F64,
    need: I64,
    season: F64,
    least: F64,
    total: F64,
    count: I64,
    high: F64,
    low: F64,
    score: F64,
) -> None:
    """Score of x[i], centred, for row rows[i] against the open column: the larger evidence of the lengths / `limit`.

    0 on a side that is not watched and for a mean not larger than `least`. NaN, no score: a gap in x or S, a sample too
    large for the window, or no length that has a tail and enough samples.
    """
    for i in range(len(rows)):
        r = rows[i]
        score[r] = np.nan
        day = np.float64(np.float32(x[i])) - season[r]  # as the window stores it
        if not math.isfinite(day):
            continue
        for k in range(tail.shape[1]):
            if math.isnan(tail[r, k, _JUMP]) or count[r, k] + 1 < need[r, k]:
                continue
            # Without its highest sample the mean says whether the level is up, without its lowest whether it is down.
            up = (total[r, k] + day - max(high[r, k], day)) / count[r, k]
            down = (total[r, k] + day - min(low[r, k], day)) / count[r, k]
            found = 0.0
            if above and up > least[r] and up > tail[r, k, _UPPER]:
                found = tail[r, k, _JUMP] + (up - tail[r, k, _UPPER]) / tail[r, k, _UPPER_SCALE]
            elif below and down < -least[r] and down < tail[r, k, _LOWER]:
                found = tail[r, k, _JUMP] + (tail[r, k, _LOWER] - down) / tail[r, k, _LOWER_SCALE]
            found = min(MOST_EVIDENCE, found) / limit
            score[r] = found if math.isnan(score[r]) else max(score[r], found)
