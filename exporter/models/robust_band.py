"""`robust_band`, the fit: what a window says about its own residuals, seen from seven sides.

Every view's residual (views.py) is told apart in two ways. *Tail*: an exponential fitted to the 4 % most extreme
residuals of the window. *Novelty*: the window's extremes, and the unit in which going beyond them is measured. What a
sample means beside them is in judgement.py.

The fit is disposable: made from the window about once an hour. Nothing here knows of config, network or clocks; times
are column numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.models.floors import Summary
from exporter.models.medians import DAYS
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
    to_keys,
)
from exporter.models.tails import LEAST_SAMPLES, LEAST_TAIL, LN10, tail_size
from exporter.models.views import (
    DAY,
    DAY_F12,
    F3,
    F48,
    HW,
    PLANES,
    RECENT,
    VIEWS,
    XM6,
    X,
    fill_views,
    scale_reach,
    season_reach,
)

_LEAST_HOUR, _MOST_HOUR = 3, 60  # columns
_EVENED_DAYS = 4  # from so many days with samples on, one day does not stretch a tail more than any other
_USUAL_DAYS = 4  # of the last 7: what happens at this time of day on so many is no news

# The views that have a tail, and those that have novelty: their places in `Fitted.tail` and `Fitted.extreme`.
TAILS = (X, F3, XM6, DAY_F12, HW)
NOVELTIES = (X, F3, F48, DAY, XM6)
LASTING = (X, XM6)  # the tails of these stay touched for as long as a new level lasts

# Places in a row of `Fitted.tail` and of `Fitted.extreme`.
UPPER, UPPER_JUMP, UPPER_SCALE, UPPER_GATE, LOWER, LOWER_JUMP, LOWER_SCALE, LOWER_GATE = range(8)
HIGHEST, LOWEST, HIGH_UNIT, LOW_UNIT = range(4)


def novelty_weight(interval_s: int) -> float:
    """What a record is worth: 7 where a series is judged every 60 s, 20 from 300 s on, linear in log(interval) between.
    Short intervals have more chances of a record in the same time."""
    return np.float64(np.interp(math.log(interval_s), np.log([60.0, 300.0]), [7.0, 20.0]))


@dataclass(frozen=True, slots=True)
class Shape:
    """What all rows of a window share: columns per day, columns a fit must serve, the reaches of the seasons, the
    columns whose median tells the last hour's level, and the weight of novelty."""

    period: int
    horizon: int
    season_reach: int
    scale_reach: int
    hour: int
    novelty: float

    @staticmethod
    def of(step_s: int, horizon: int, interval_s: int | None = None) -> Shape:
        """The shape of a window with this step, judged every `interval_s` (default: once a column), whose fits serve
        `horizon` columns."""
        weight = novelty_weight(interval_s or step_s)
        hour = min(_MOST_HOUR, max(_LEAST_HOUR, 3600 // step_s))
        return Shape(86_400 // step_s, horizon, season_reach(step_s), scale_reach(step_s), hour, weight)


@dataclass(slots=True)
class Fitted:
    """The fit of each row. Arrays by row.

    tail (N, 5, 8) and extreme (N, 5, 4) per view, daily (N, RECENT + horizon) from column `origin` - RECENT + 1 on
    (`origin` = the fit's own last column), future (N, 4, horizon) from `origin` + 1 on, level and trend of
    Holt-Winters, first column with a sample, and the median, floor and smallest value of the window, and its typical
    distance from its season. A row never fitted has `valid` 0.
    """

    valid: npt.NDArray[np.int32]
    origin: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    tail: F32
    extreme: F32
    daily: F32
    future: F32
    holt: F64
    median: F64
    floor: F64
    spread: F64
    never_negative: npt.NDArray[np.bool_]

    @staticmethod
    def empty(rows: int, horizon: int) -> Fitted:
        """Room for so many rows, none of them fitted."""
        return Fitted(
            valid=np.zeros(rows, np.int32),
            origin=np.zeros(rows, np.int64),
            first=np.zeros(rows, np.int64),
            tail=np.full((rows, len(TAILS), 8), np.nan, np.float32),
            extreme=np.full((rows, len(NOVELTIES), 4), np.nan, np.float32),
            daily=np.full((rows, RECENT + horizon), np.nan, np.float32),
            future=np.full((rows, PLANES, horizon), np.nan, np.float32),
            holt=np.full((rows, 2), np.nan),
            median=np.full(rows, np.nan),
            floor=np.full(rows, np.nan),
            spread=np.full(rows, np.nan),
            never_negative=np.zeros(rows, np.bool_),
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
               views, fitted.daily, fitted.future, fitted.holt, fitted.spread)  # fmt: skip
    for place, view in enumerate(TAILS):
        _fit_tail(views[view], summary.floor, shape.period, view not in LASTING, fitted.tail[:, place])
        _find_usual(views[view], shape.period, max(1, shape.horizon - 2), max(1, shape.scale_reach),
                    fitted.tail[:, place])  # fmt: skip
    for place, view in enumerate(NOVELTIES):
        _fit_extreme(views[view], summary.floor, shape.period, fitted.extreme[:, place])
    fitted.valid[:] = summary.valid
    fitted.origin[:] = end_column
    fitted.first[:] = end_column - n + 1 + np.argmax(~np.isnan(values), axis=1)
    fitted.median[:] = summary.median
    fitted.floor[:] = summary.floor
    fitted.never_negative[:] = summary.smallest + offset >= 0
    return fitted


@kernel
def _fit_tail(view: F32, floor: F64, period: int, evened: bool, out: F32) -> None:
    """Exponential tails of one view: view (B, n), out (B, 8); NaN for rows with fewer than 24 valid samples.

    A tail is made up of 4 % of the samples, at least 8. Where almost all residuals are equal (a series that is mostly
    zero) both tails begin there, and only what lies beyond makes them up, at least 8. With `evened` the day that adds
    most to a tail counts as the second, so that an incident in the window does not hide the next one.
    """
    keys = np.empty(view.shape[1], np.int32)
    days = -(-view.shape[1] // period)
    below, above = np.empty(days), np.empty(days)
    for i in range(len(view)):
        count = to_keys(view[i], keys)
        if count < LEAST_SAMPLES:
            out[i, :] = np.nan
            continue
        most = tail_size(count)
        low_key, high_key = key_of_rank(keys, count, most), key_of_rank(keys, count, count - 1 - most)
        low, high = from_key(low_key), from_key(high_key)
        fewer, more = _add_up_days(view[i], period, low, high, below, above)
        size_low = max(LEAST_TAIL, fewer) if low_key == high_key else most
        size_high = max(LEAST_TAIL, more) if low_key == high_key else most
        even = evened and _days_with_samples(view[i], period) >= _EVENED_DAYS
        out[i, LOWER], out[i, UPPER] = low, high
        out[i, LOWER_JUMP], out[i, UPPER_JUMP] = math.log10(count / size_low), math.log10(count / size_high)
        out[i, LOWER_SCALE] = LN10 * max(_total(below, even) / size_low, floor[i])
        out[i, UPPER_SCALE] = LN10 * max(_total(above, even) / size_high, floor[i])


@kernel
def _add_up_days(view: F32, period: int, low: float, high: float, below: F64, above: F64) -> tuple[int, int]:
    """How far the residuals of each day, counted back from the end, lie beyond the two edges: sums by day into `below`
    and `above`; returns how many lie there."""
    below[:], above[:] = 0.0, 0.0
    fewer, more = 0, 0
    for day in range(len(below)):
        end = len(view) - day * period
        for t in range(max(0, end - period), end):
            residual = np.float64(view[t])
            if residual > high:
                above[day] += residual - high
                more += 1
            elif residual < low:
                below[day] += low - residual
                fewer += 1
    return fewer, more


@kernel
def _days_with_samples(view: F32, period: int) -> int:
    """On how many days, counted back from the end, there is a sample."""
    days = 0
    for end in range(len(view), 0, -period):
        for t in range(max(0, end - period), end):
            if not math.isnan(view[t]):
                days += 1
                break
    return days


@kernel
def _total(days: F64, even: bool) -> float:
    """Sum over the days; with `even` the largest counts as the second, unless only one day has anything."""
    total, first, second = 0.0, 0.0, 0.0
    for one in days:
        total += one
        second = max(second, min(first, one))
        first = max(first, one)
    return np.float64(total - (first - second)) if even and second > 0.0 else np.float64(total)


@kernel
def _find_usual(view: F32, period: int, served: int, reach: int, out: F32) -> None:
    """The residuals beyond which a tail counts: its edge, or what this time of day reaches anyway if that is more.

    A daily job has the same burst every day; its residuals are improbable among all, but no news. What is usual: the
    4th largest of the last 7 days' extremes over the `served` columns of the fit, and `reach` columns more on either
    side. Shapes: view (B, n), out (B, 8).
    """
    rows, n = view.shape
    high, low = np.empty(DAYS, np.float32), np.empty(DAYS, np.float32)
    for i in range(rows):
        for day in range(DAYS):
            start = n - (day + 1) * period - reach
            most, least = np.float32(-np.inf), np.float32(np.inf)
            for t in range(max(0, start), max(0, min(n, start + served + 2 * reach))):
                residual = view[i, t]
                most = residual if residual > most else most
                least = residual if residual < least else least
            insert_sorted(high, day, most)
            insert_sorted(low, day, least)
        usual_high, usual_low = high[DAYS - _USUAL_DAYS], low[_USUAL_DAYS - 1]
        out[i, UPPER_GATE] = usual_high if usual_high > out[i, UPPER] else out[i, UPPER]
        out[i, LOWER_GATE] = usual_low if usual_low < out[i, LOWER] else out[i, LOWER]


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
        out[i, HIGHEST] = high
        out[i, LOWEST] = low
        # unit (1 + 2 d) with d = (D1 - D2) / unit: a record that stood far above every other day weakens the next one.
        out[i, HIGH_UNIT] = high_unit + 2.0 * high_gap
        out[i, LOW_UNIT] = low_unit + 2.0 * low_gap


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
