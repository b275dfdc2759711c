"""The parts of the twin of `robust_band`: floors, views, tails, extremes, by definition and for plain floats.

All tuned numbers stand at the top of this file and nowhere else in the tests.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.naive.order import median, quantile, valid

TAIL_WEIGHTS = {"x": 0.1, "f3": 0.4, "xm6": 0.3, "day_f12": 0.1, "hw": 0.1}
NOVELTY_SHARES = {"x": 1.0, "f3": 0.5, "f48": 1.0, "day": 1.0, "xm6": 0.5}
THRESHOLDS = ((60, 4.1), (300, 4.5), (3600, 3.45))  # evidence at the edge of the band, by step in seconds
NOVELTY_WEIGHTS = ((60, 7.0), (300, 20.0))  # what a record is worth, by interval: how often a series is judged
MOST_OF_A_VIEW, MOST_OF_TAILS, MOST_SCORE = 12.0, 8.0, 100.0
LEAST_SAMPLES, LEAST_TAIL = 24, 8
FULL_HISTORY_DAYS = 7.0  # of history, from which on a record counts in full
SETTLED_DAYS = 2.0  # before them hw and the distance from the season say nothing
SEASON_EVIDENCE, SEASON_REACH = 1.0, 10.0
FRESH, LASTING = ("f3", "day_f12"), ("x", "xm6")  # views that soon forget a new level, and those that do not
ANEW_FROM, ANEW_REACH = 0.4, 0.8  # fresh evidence from which on what was said before begins to count, and over which
MOST_LIFTED, LIFT_BY_SEASON, LIFT_BY_TOLD = 0.97, 0.8, 2.0  # of the way from a score below 1 up to 1
EVENED_DAYS = 4  # days with samples, from which on the day that adds most to a tail counts as the second
SEASON_DAYS, USUAL_DAYS = 7, 4  # what is reached on 4 of the last 7 days at this time of day is usual
VIEW_NAMES = ("x", "f3", "f48", "day", "xm6", "day_f12", "hw")
ROUNDING = 2.0**-24  # relative rounding error of a float32


def floor_of(true_values: Sequence[float]) -> float:
    """max(.005 (q99 - q01), .001 med|x|, 1e-9, grain), and .05 (max - min) where q99 equals q01."""
    kept = valid(true_values)
    low, high = quantile(kept, 0.01), quantile(kept, 0.99)
    candidates = [0.005 * (high - low), 0.001 * median([abs(v) for v in kept]), 1e-9, grain_of(kept)]
    if low == high:
        candidates.append(0.05 * (kept[-1] - kept[0]))
    return max(candidates)


def grain_of(values: Sequence[float]) -> float:
    """Of the values that occur at least 3 times: half their smallest distance, at most a quarter of their range.

    0 where fewer than 90 % of the samples are such values."""
    counts = Counter(values)
    often = sorted(value for value, times in counts.items() if times >= 3)
    if len(often) < 2 or sum(counts[value] for value in often) < 0.9 * len(values):
        return 0.0
    return min(0.5 * min(right - left for left, right in pairwise(often)), 0.25 * (often[-1] - often[0]))


def by_seconds(seconds: int, points: Sequence[tuple[int, float]]) -> float:
    """Linear in log(seconds) between the points (seconds, value), level beyond them."""
    if seconds <= points[0][0]:
        return points[0][1]
    for (left, first), (right, second) in pairwise(points):
        if seconds <= right:
            return first + (second - first) * math.log(seconds / left) / math.log(right / left)
    return points[-1][1]


def threshold(step_s: int) -> float:
    """T: the evidence that is a score of 1."""
    return by_seconds(step_s, THRESHOLDS)


def novelty_weight(interval_s: int) -> float:
    """K: what a record is worth with a full history."""
    return by_seconds(interval_s, NOVELTY_WEIGHTS)


def season_at(x: Sequence[float], t: int, period: int, step_s: int) -> float:
    """S[t]: median of the samples at the same phase +-h on the previous 7 days."""
    h = 1 if step_s >= 300 else 2
    places = [t - day * period + j for day in range(1, 8) for j in range(-h, h + 1)]
    return median([x[p] for p in places if 0 <= p < len(x)])


def float32(value: float) -> float:
    """The nearest float32, as a fit stores it."""
    return struct.unpack("f", struct.pack("f", value))[0]


def residual_x(x: Sequence[float], t: int) -> float:
    return x[t]


def residual_last(x: Sequence[float], t: int, length: int, at_least: int) -> float:
    return x[t] - median(x[max(0, t - length) : t], at_least)


def xm6_at(x: Sequence[float], t: int) -> float:
    """med(x[t-5..t]), at least 3. A gap at t itself still has a median of the others."""
    return median(x[max(0, t - 5) : t + 1], 3)


@dataclass
class Tail:
    """Exponential tails of a view; the jumps are the evidence where they begin. Within the gates nothing is news."""

    upper: float
    upper_jump: float
    upper_scale: float
    upper_gate: float
    lower: float
    lower_jump: float
    lower_scale: float
    lower_gate: float

    def evidence(self, r: float) -> float:
        """-log10 p of a residual, at most 12."""
        if r > self.upper_gate:
            return min(MOST_OF_A_VIEW, self.upper_jump + (r - self.upper) / (math.log(10) * self.upper_scale))
        if r < self.lower_gate:
            return min(MOST_OF_A_VIEW, self.lower_jump + (self.lower - r) / (math.log(10) * self.lower_scale))
        return 0.0


def excess_of(residuals: Sequence[float], edge: float, sign: int, period: int | None) -> float:
    """How far all residuals beyond the edge lie beyond it. With a `period` the day that adds most counts as the second,
    where samples lie on at least 4 days and excesses on at least two."""
    if period is None:
        return sum(max(0.0, sign * (r - edge)) for r in valid(residuals))
    days = [sum(max(0.0, sign * (r - edge)) for r in day) for day in daily(residuals, period)]
    first, second = [*sorted(days, reverse=True), 0.0][:2]
    return sum(days) - (first - second if len(days) >= EVENED_DAYS and second > 0 else 0.0)


def tail_of(
    residuals: Sequence[float],
    floor: float,
    usual: tuple[float, float] = (math.inf, -math.inf),
    period: int | None = None,
) -> Tail | None:
    """Tails from the window's own residuals; None with fewer than 24 of them. `usual`: low and high, see `usual_of`.

    Where so many residuals are equal that both tails begin at the same value, only those beyond it make up a tail.
    `period`: see `excess_of`.
    """
    kept = valid(residuals)
    n = len(kept)
    if n < LEAST_SAMPLES:
        return None
    most = max(LEAST_TAIL, n * 4 // 100)
    lower, upper = kept[most], kept[-most - 1]
    size_below = size_above = most
    if lower == upper:
        size_below = max(LEAST_TAIL, sum(r < lower for r in kept))
        size_above = max(LEAST_TAIL, sum(r > upper for r in kept))
    return Tail(
        upper,
        math.log10(n / size_above),
        max(excess_of(residuals, upper, 1, period) / size_above, floor),
        max(upper, usual[1]),
        lower,
        math.log10(n / size_below),
        max(excess_of(residuals, lower, -1, period) / size_below, floor),
        min(lower, usual[0]),
    )


def usual_of(residuals: Sequence[float], period: int, step_s: int, horizon: int) -> tuple[float, float]:
    """Low and high that this time of day reaches anyway: the 4th lowest and 4th highest of the last 7 days' extremes.

    This time of day: the columns that a fit serves, moved back by whole days, and half an hour more on either side.
    """
    n, served, reach = len(residuals), max(1, horizon - 2), max(1, scale_reach(step_s))
    lows, highs = [], []
    for day in range(1, SEASON_DAYS + 1):
        places = range(n - day * period - reach, n - day * period + served + reach)
        kept = valid(residuals[place] for place in places if 0 <= place < n)
        lows.append(kept[0] if kept else math.inf)
        highs.append(kept[-1] if kept else -math.inf)
    return sorted(lows)[USUAL_DAYS - 1], sorted(highs, reverse=True)[USUAL_DAYS - 1]


def scale_reach(step_s: int) -> int:
    """30 minutes in columns, at most 15."""
    return min(15, 1800 // step_s)


@dataclass
class Extreme:
    """A view's running extremes and what the last fit knew of it."""

    highest: float
    lowest: float
    start_high: float
    start_low: float
    middle: float
    lead_high: float
    lead_low: float
    floor: float

    def units(self, slack: float = 0.0) -> tuple[float, float]:
        """unit (1 + 2 d) above and below; slack widens every difference that enters."""
        spread = max(0.0, self.start_high - self.start_low + slack)
        out = []
        for reach, lead in (
            (self.start_high - self.middle, self.lead_high),
            (self.middle - self.start_low, self.lead_low),
        ):
            unit = max(self.floor, math.sqrt(max(0.0, reach + slack) * spread))
            out.append(unit * (1 + 2 * max(0.0, lead + slack) / unit))
        return out[0], out[1]

    def novelty(self, r: float, slack: float = 0.0) -> float:
        """How far beyond the extremes, in units."""
        above, below = self.units(slack)
        if r > self.highest:
            return (r - self.highest) / above
        if r < self.lowest:
            return (self.lowest - r) / below
        return 0.0


def daily(values: Sequence[float], period: int) -> Iterator[list[float]]:
    """The samples of each day, days counted back from the end of the window; days without samples are skipped."""
    for end in range(len(values), 0, -period):
        kept = valid(values[max(0, end - period) : end])
        if kept:
            yield kept


def extreme_of(residuals: Sequence[float], period: int, floor: float) -> Extreme | None:
    """Extremes of the window; None without samples."""
    kept = valid(residuals)
    if not kept:
        return None
    tops = sorted((day[-1] for day in daily(residuals, period)), reverse=True)
    bottoms = sorted(day[0] for day in daily(residuals, period))
    lead_high = tops[0] - tops[1] if len(tops) > 1 else 0.0
    lead_low = bottoms[1] - bottoms[0] if len(bottoms) > 1 else 0.0
    return Extreme(kept[-1], kept[0], kept[-1], kept[0], median(kept), lead_high, lead_low, floor)
