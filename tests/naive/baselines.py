"""Slow, obvious twins of the detectors in bench/quality/baselines: lists, loops, and samples found by their times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.naive.order import median, quantile, valid
from tests.naive.shesd import critical

HIGHEST = 1e9
DAY_S, HOUR_S, MINUTE_S = 86_400, 3600, 60
Row = Sequence[float]


@dataclass(frozen=True)
class Line:
    """A series on its columns, as the baselines get it."""

    step_s: int
    first_column: int
    x: list[float]

    @property
    def day(self) -> int:
        return DAY_S // self.step_s

    def window(self, end: int) -> list[float]:
        return self.x[max(0, end - 14 * self.day) : end]

    def fit_column(self, t: int) -> int | None:
        """The newest column up to t that begins an hour."""
        for f in range(t, -1, -1):
            if (self.first_column + f) * self.step_s % HOUR_S == 0:
                return f
        return None


def ratio(distance: float, half_width: float) -> float:
    if math.isnan(distance) or math.isnan(half_width):
        return math.nan
    if half_width == 0:
        return 0.0 if distance == 0 else HIGHEST
    return min(distance / half_width, HIGHEST)


def mean(values: Row) -> float:
    return math.fsum(values) / len(values)


def deviation(values: Row) -> float:
    middle = mean(values)
    return math.sqrt(math.fsum((v - middle) ** 2 for v in values) / len(values))


def zscore(line: Line) -> list[float]:
    scores = []
    for t, x in enumerate(line.x):
        kept = valid(line.window(t))
        enough = len(kept) >= line.day
        scores.append(ratio(abs(x - mean(kept)), 3 * deviation(kept)) if enough else math.nan)
    return scores


def _hourly(line: Line, judge: Callable[[float, list[float]], float]) -> list[float]:
    scores = []
    for t, x in enumerate(line.x):
        f = line.fit_column(t)
        kept = valid(line.window(f)) if f is not None else []
        scores.append(judge(x, kept) if len(kept) >= line.day and not math.isnan(x) else math.nan)
    return scores


def mad(line: Line) -> list[float]:
    def judge(x: float, kept: list[float]) -> float:
        middle = median(kept)
        return ratio(abs(x - middle), 3 * 1.4826 * median([abs(v - middle) for v in kept]))

    return _hourly(line, judge)


def rolling_quantile(line: Line) -> list[float]:
    def judge(x: float, kept: list[float]) -> float:
        low, middle, high = quantile(kept, 0.005), median(kept), quantile(kept, 0.995)
        if low <= x <= high:
            return ratio(abs(x - middle), high - middle if x > middle else middle - low)
        return min(1 + ratio(x - high if x > high else low - x, high - low), HIGHEST)

    return _hourly(line, judge)


def holt_winters(line: Line) -> list[float]:
    forecast = hw_forecasts(line.x, line.day)
    residuals = [_unless_rounding(x, f) for x, f in zip(line.x, forecast, strict=True)]
    scores = []
    for t, r in enumerate(residuals):
        kept = valid(residuals[max(0, t - 14 * line.day) : t])
        scores.append(ratio(abs(r), 2.5 * deviation(kept)) if len(kept) >= 24 else math.nan)
    return scores


def _unless_rounding(x: float, forecast: float) -> float:
    return 0.0 if abs(x - forecast) <= 1e-13 * max(abs(x), abs(forecast)) else x - forecast


def hw_forecasts(x: Row, day: int) -> list[float]:
    """The textbook's weighted averages."""
    out = [math.nan] * len(x)
    start = _hw_start(x, day)
    if start is None:
        return out
    head = [(t, v) for t, v in enumerate(x[:start]) if not math.isnan(v)]
    level, trend = mean([v for _, v in head]), 0.0
    offsets = [[v - level for t, v in head if t % day == phase] for phase in range(day)]
    known = [phase for phase in range(day) if offsets[phase]]
    season = [float(np.interp(p, known, [mean(offsets[k]) for k in known], period=day)) for p in range(day)]
    for t in range(start, len(x)):
        s = season[t % day]
        out[t] = level + trend + s
        if not math.isnan(x[t]):
            before, level = level, 0.1 * (x[t] - s) + 0.9 * (level + trend)
            trend = 0.001 * (level - before) + 0.999 * trend
            season[t % day] = 0.2 * (x[t] - level) + 0.8 * s
    return out


def _hw_start(x: Row, day: int) -> int | None:
    """The end of the first whole day, counted from the first sample, by which half of the phases were seen."""
    known = [t for t, v in enumerate(x) if not math.isnan(v)]
    days = range(1, len(x) // day + 1) if known else []
    for end in (known[0] + k * day for k in days):
        if end <= len(x) and 2 * len({t % day for t in known if t < end}) >= day:
            return end
    return None


def shesd_classic(line: Line) -> list[float]:
    known = [t for t, v in enumerate(line.x) if not math.isnan(v)]
    bands: dict[int, tuple[dict[int, float], float, float]] = {}
    scores = []
    for t, x in enumerate(line.x):
        f = line.fit_column(t)
        if f is None or not known or f < known[0] + 2 * line.day:
            scores.append(math.nan)
            continue
        if f not in bands:
            bands[f] = _shesd_fit(line, f)
        season, centre, half_width = bands[f]
        # a scale of 0 is no band here: the original gives up
        scores.append(ratio(abs(x - season.get(t % line.day, math.nan) - centre), half_width))
    return scores


def _shesd_fit(line: Line, f: int) -> tuple[dict[int, float], float, float]:
    window = [(t, line.x[t]) for t in range(max(0, f - 14 * line.day), f) if not math.isnan(line.x[t])]
    season = {p: median([v for t, v in window if t % line.day == p]) for p in range(line.day)}
    return season, *esd([v - season[t % line.day] for t, v in window])


def esd(values: Row) -> tuple[float, float]:
    """Median and lambda x scaled MAD after the outliers are gone; NaN where the MAD is 0."""
    n, rest = len(values), sorted(values)
    kept, found = rest, 0
    for i in range(1, int(0.1 * n + 1e-9) + 1):
        middle = median(rest)
        scale = 1.4826 * median([abs(v - middle) for v in rest])
        if scale == 0 or len(rest) <= 3:
            break
        farthest = max(rest, key=lambda v: (abs(v - middle), v))
        rest = [*rest]
        rest.remove(farthest)
        if abs(farthest - middle) > critical(0.05, n, i) * scale:
            kept, found = rest, i
    if len(kept) < 3:
        return math.nan, math.nan
    middle = median(kept)
    scale = 1.4826 * median([abs(v - middle) for v in kept])
    return (middle, critical(0.05, n, found + 1) * scale) if scale > 0 else (math.nan, math.nan)


# --- Grafana's rules, with samples kept by their times ----------------------------------------------------------------


@dataclass
class Recorded:
    """One metric: its samples by time in seconds."""

    step_s: int
    by_time: dict[int, float] = field(default_factory=dict)

    def record(self, t: int, value: float | None) -> None:
        if value is not None and not math.isnan(value):
            self.by_time[t] = value

    def over(self, t: int, range_s: int, offset_s: int = 0) -> list[float]:
        """The samples in (t - offset - range, t - offset], oldest first; a range under a step still holds a column."""
        end = (t - offset_s) // self.step_s * self.step_s
        after = min(t - offset_s - range_s, end - 1)
        times = range(end, after, -self.step_s)
        return [self.by_time[s] for s in reversed(times) if s in self.by_time]

    def at(self, t: int, offset_s: int = 0) -> float | None:
        return self.by_time.get((t - offset_s) // self.step_s * self.step_s)

    def last(self, t: int, minutes: int) -> float | None:
        found = self.over(t, minutes * MINUTE_S)
        return found[-1] if found else None


def grafana_adaptive(line: Line) -> list[float]:
    m = {name: Recorded(line.step_s) for name in ("select", "avg_1h", "filtered", "stddev_st", "lower_lt", "upper_lt")}

    def evaluate(t: int) -> tuple[float | None, list[tuple[float, float]]]:
        hour = m["select"].over(t, HOUR_S)
        if hour:
            m["avg_1h"].record(t, mean(hour))
            if deviation(hour) > mean(hour) * 0.5:
                m["filtered"].record(t, deviation(hour))
        if smoothed := m["filtered"].over(t, 26 * HOUR_S):
            m["stddev_st"].record(t, mean(smoothed))
        if t % 300 == 0:
            looks = [m["select"].over(t, HOUR_S, back) for back in (603_000, 84_600)]
            if any(looks):
                m["lower_lt"].record(t, min(mean(v) - 2 * deviation(v) for v in looks if v))
                m["upper_lt"].record(t, max(mean(v) + 2 * deviation(v) for v in looks if v))
        return m["select"].last(t, 2), _bands(t, m["avg_1h"], m["stddev_st"], m["lower_lt"], m["upper_lt"])

    return _grafana(line, m["select"], evaluate)


def grafana_robust(line: Line) -> list[float]:
    names = ("select", "median_lt", "abs_dev", "mad_lt", "level", "lower_lt", "upper_lt")
    m = {name: Recorded(line.step_s) for name in names}
    seasons = {back: _SeasonRules(m["select"], back) for back in (603_900, 85_500)}

    def evaluate(t: int) -> tuple[float | None, list[tuple[float, float]]]:
        m["median_lt"].record(t, median(m["select"].over(t, DAY_S)))
        if (x := m["select"].at(t)) is not None:
            m["abs_dev"].record(t, abs(x - m["median_lt"].by_time[t]))
        m["mad_lt"].record(t, median(m["abs_dev"].over(t, DAY_S)))
        m["level"].record(t, median(m["select"].over(t, HOUR_S)))
        edges = [season.evaluate(t) for season in seasons.values()] if t % 300 == 0 else []
        if known := [edge for edge in edges if edge is not None]:
            m["lower_lt"].record(t, min(low for low, _ in known))
            m["upper_lt"].record(t, max(high for _, high in known))
        return m["level"].last(t, 2), _bands(t, m["median_lt"], m["mad_lt"], m["lower_lt"], m["upper_lt"])

    return _grafana(line, m["select"], evaluate)


class _SeasonRules:
    """The robust rules of one look-back, at the full 5 minutes."""

    def __init__(self, select: Recorded, back_s: int) -> None:
        self.select, self.back_s = select, back_s
        self.median, self.abs_dev, self.mad = (Recorded(select.step_s) for _ in range(3))

    def evaluate(self, t: int) -> tuple[float, float] | None:
        self.median.record(t, median(self.select.over(t, HOUR_S, self.back_s)))
        x, middle = self.select.at(t, self.back_s), self.median.last(t, 10)
        if x is not None and middle is not None:
            self.abs_dev.record(t, abs(x - middle))
        self.mad.record(t, median(self.abs_dev.over(t, HOUR_S)))
        spread = self.mad.last(t, 10)
        if middle is None or spread is None:
            return None
        return middle - 2 * spread, middle + 2 * spread


def _bands(
    t: int, middle: Recorded, spread: Recorded, lower_lt: Recorded, upper_lt: Recorded
) -> list[tuple[float, float]]:
    found = []
    if (centre := middle.last(t, 2)) is not None:
        found.append((0.5 * centre, 1.5 * centre))
        if (width := spread.last(t, 2)) is not None:
            found.append((centre - 2 * width, centre + 2 * width))
    low, high = lower_lt.last(t, 10), upper_lt.last(t, 10)
    if low is not None and high is not None:
        found.append((low, high))
    return found


def _grafana(
    line: Line, select: Recorded, evaluate: Callable[[int], tuple[float | None, list[tuple[float, float]]]]
) -> list[float]:
    scores = []
    for k, x in enumerate(line.x):
        t = (line.first_column + k) * line.step_s
        select.record(t, x if x > 0 else None)
        level, bands = evaluate(t)
        if math.isnan(x) or level is None or not bands:
            scores.append(math.nan)
            continue
        lower, upper = max(0.0, min(low for low, _ in bands)), max(high for _, high in bands)
        scores.append(ratio(abs(level - (lower + upper) / 2), (upper - lower) / 2))
    return scores


TWINS: dict[str, Callable[[Line], list[float]]] = {
    "zscore": zscore,
    "mad": mad,
    "rolling_quantile": rolling_quantile,
    "holt_winters": holt_winters,
    "shesd_classic": shesd_classic,
    "grafana_adaptive": grafana_adaptive,
    "grafana_robust": grafana_robust,
}
