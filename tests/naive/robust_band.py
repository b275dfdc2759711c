"""The slow, obvious twin of `robust_band`, written from the formulas of the models' page and not from the kernels.

One series, plain floats, everything recomputed from the samples by definition. `Twin.evidence` is the number;
`Twin.evidence_range` is the same number when every residual may be off by a few float32 roundings (`slack`), which is
what a kernel that stores its views in float32 can be held to: tail evidence jumps by 1.4 and more at a tail's gate, so
near that point no plain tolerance would do.

Its tuned numbers, floors, views, tails and extremes stand in `tests.naive.parts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.naive.order import median, valid
from tests.naive.parts import (
    ANEW_FROM,
    ANEW_REACH,
    FRESH,
    FULL_HISTORY_DAYS,
    LASTING,
    LIFT_BY_SEASON,
    LIFT_BY_TOLD,
    MOST_LIFTED,
    MOST_OF_TAILS,
    MOST_SCORE,
    NOVELTY_SHARES,
    ROUNDING,
    SEASON_EVIDENCE,
    SEASON_REACH,
    SETTLED_DAYS,
    TAIL_WEIGHTS,
    VIEW_NAMES,
    Tail,
    extreme_of,
    float32,
    floor_of,
    novelty_weight,
    residual_last,
    residual_x,
    scale_reach,
    season_at,
    tail_of,
    threshold,
    usual_of,
    xm6_at,
)


class Twin:
    """One series: fitted on a window whose last column is `end_column`, then fed column by column."""

    def __init__(self, window: Sequence[float], offset: float, end_column: int, step_s: int, horizon: int = 8) -> None:
        self.x = [float(v) for v in window]
        self.n = len(self.x)
        self.offset, self.end, self.step_s = offset, end_column, step_s
        self.period = 86_400 // step_s
        self.limit = threshold(step_s)
        self.valid = len(valid(self.x))
        if not self.valid:
            return
        self.floor = floor_of([v + offset for v in self.x if not math.isnan(v)])
        self.middle = median(self.x)
        self.first = next(t for t, v in enumerate(self.x) if not math.isnan(v))
        self._start_holt_winters()
        self.phase_level = [float32(self.middle + float32(apart)) for apart in self.cycle]
        self.spread = median([abs(v - self.phase_level[self.phase(t)]) for t, v in enumerate(self.x)])
        self.window_views = {name: [self._residual(name, t) for t in range(self.n)] for name in VIEW_NAMES[:5]}
        self._fit_day_f12()
        self._fit_holt_winters()
        self.raw_day_f12, self.raw_hw = list(self.window_views["day_f12"]), list(self.window_views["hw"])
        self.scales = {name: self._phase_scales(self.window_views[name]) for name in ("day_f12", "hw")}
        for name in ("day_f12", "hw"):
            self.window_views[name] = [
                r * self.ratio(name, self.phase(t)) for t, r in enumerate(self.window_views[name])
            ]
        self.tails = {name: self._tail(name, horizon) for name in TAIL_WEIGHTS}
        self.extremes = {name: extreme_of(self.window_views[name], self.period, self.floor) for name in NOVELTY_SHARES}
        self.largest = max(abs(v) for v in valid(self.x))

    def _tail(self, name: str, horizon: int) -> Tail | None:
        residuals = self.window_views[name]
        usual = usual_of(residuals, self.period, self.step_s, horizon)
        return tail_of(residuals, self.floor, usual, None if name in LASTING else self.period)

    # --- the views --------------------------------------------------------------------------------------------------

    def phase(self, t: int) -> int:
        """Column of the day of place t (place n - 1 is the fit's end column)."""
        return (self.end - self.n + 1 + t) % self.period

    def season(self, t: int) -> float:
        return season_at(self.x, t, self.period, self.step_s)

    def _residual(self, name: str, t: int) -> float:
        if name == "x":
            return residual_x(self.x, t)
        if name == "f3":
            return residual_last(self.x, t, 3, 2)
        if name == "f48":
            return residual_last(self.x, t, 48, 3)
        if name == "day":
            return self.x[t] - self.season(t)
        return xm6_at(self.x, t)

    def _fit_day_f12(self) -> None:
        day = self.window_views["day"]
        self.window_views["day_f12"] = [day[t] - median(day[max(0, t - 12) : t], 3) for t in range(self.n)]

    def _start_holt_winters(self) -> None:
        self.level, self.trend = self.middle, 0.0
        by_phase: list[list[float]] = [[] for _ in range(self.period)]
        for t, value in enumerate(self.x):
            by_phase[self.phase(t)].append(value)
        self.cycle = [median(values) - self.level if valid(values) else 0.0 for values in by_phase]

    def _holt_winters_step(self, t: int, value: float) -> float:
        """One step of the recursion; returns the residual of the one-step forecast."""
        phase, ahead = self.phase(t), self.level + self.trend
        if math.isnan(value):
            self.level = ahead
            return math.nan
        residual = value - ahead - self.cycle[phase]
        level = 0.1 * (value - self.cycle[phase]) + 0.9 * ahead
        self.trend = 0.001 * (level - self.level) + 0.999 * self.trend
        self.cycle[phase] = 0.2 * (value - ahead) + 0.8 * self.cycle[phase]
        self.level = level
        return residual

    def _fit_holt_winters(self) -> None:
        self.window_views["hw"] = [self._holt_winters_step(t, value) for t, value in enumerate(self.x)]

    def _phase_scales(self, residuals: Sequence[float]) -> tuple[list[float], float]:
        """loc of each phase (the 7 days before the phase comes next, +-30 minutes, at most 15 columns) and glo."""
        reach = scale_reach(self.step_s)
        out = [math.nan] * self.period
        for t in range(self.n, self.n + self.period):
            places = [t - day * self.period + j for day in range(1, 8) for j in range(-reach, reach + 1)]
            out[self.phase(t)] = median([abs(residuals[p]) for p in places if 0 <= p < self.n])
        return out, median([abs(r) for r in residuals])

    def ratio(self, name: str, phase: int) -> float:
        """max(glo, f) / max(sqrt(loc^2/2 + glo^2/2), f)."""
        scales, glo = self.scales[name]
        loc = glo if math.isnan(scales[phase]) else scales[phase]
        if math.isnan(glo):
            return math.nan
        return max(glo, self.floor) / max(math.sqrt(loc**2 / 2 + glo**2 / 2), self.floor)

    def views_at(self, value: float) -> dict[str, float]:
        """All views of `value` as the next column."""
        t = len(self.x)
        self.x.append(value)
        out = {name: self._residual(name, t) for name in VIEW_NAMES[:5]}
        day = [self.x[k] - self.season(k) for k in range(max(0, t - 12), t)]
        out["day_f12"] = (out["day"] - median(day, 3)) * self.ratio("day_f12", self.phase(t))
        forecast = self.level + self.trend + self.cycle[self.phase(t)]
        out["hw"] = (value - forecast) * self.ratio("hw", self.phase(t))
        self.x.pop()
        return out

    # --- evidence ---------------------------------------------------------------------------------------------------

    def column(self) -> int:
        """The column that comes next."""
        return self.end - self.n + 1 + len(self.x)

    def days(self) -> float:
        """Days of history before the column that comes next."""
        return (len(self.x) - self.first) / self.period

    def novelty_weight(self, name: str) -> float:
        """K min(1, days / 7), nothing during the first day; `day` begins a day later."""
        days = self.days() - (name == "day")
        return 0.0 if days < 1 else novelty_weight(self.step_s) * min(1.0, days / FULL_HISTORY_DAYS)

    def tail_weight(self, name: str) -> float:
        """Fixed weights; hw is silent for two days."""
        return 0.0 if name == "hw" and self.days() < SETTLED_DAYS else TAIL_WEIGHTS[name]

    def evidence(self, value: float) -> float:
        """E = LP + D + NV of `value` as the next column."""
        views = self.views_at(value)
        records = [
            self.novelty_weight(name) * share * self._novelty(name, views[name])
            for name, share in NOVELTY_SHARES.items()
        ]
        return self.tails_at(views)[0] + self.distance_evidence(value) + max(0.0, *records)

    def tails_at(self, views: dict[str, float]) -> tuple[float, float]:
        """LP, and what is missing in it because the level of the last hour said it before."""
        found = {name: self.tail_weight(name) * self._tail_evidence(name, views[name]) for name in TAIL_WEIGHTS}
        told = sum(min(found[name], self.told(name, views[name])) for name in LASTING)
        return self.counted(sum(found.values()), sum(found[name] for name in FRESH), told)

    def counted(self, total: float, fresh: float, told: float) -> tuple[float, float]:
        """min(8, total - (1 - g) told) and what is missing to min(8, total), g = (fresh - .4) / .8 within 0 and 1."""
        anew = min(1.0, max(0.0, (fresh - ANEW_FROM) / ANEW_REACH))
        lp = min(MOST_OF_TAILS, total - (1 - anew) * told)
        return lp, min(MOST_OF_TAILS, total) - lp

    def hour(self) -> float:
        """The median of the last hour: at least 3 columns, at most 60, of which two must be valid."""
        columns = min(60, max(3, 3600 // self.step_s))
        return median(self.x[max(0, len(self.x) - columns) :], 2)

    def told(self, name: str, r: float) -> float:
        """Weighted evidence of the last hour's level in a lasting view, where it lies on the same side as r."""
        tail, level = self.tails[name], self.hour()
        if tail is None or math.isnan(level) or math.isnan(r) or (level > tail.upper_gate) != (r > tail.upper_gate):
            return 0.0
        return TAIL_WEIGHTS[name] * tail.evidence(level)

    def score(self, value: float, evidence: float, told: float) -> float:
        """E / T, at most 100; what is below 1 is lifted towards 1 by what was left out as told and by the season."""
        found = evidence / self.limit
        if found < 1:
            told /= self.limit
            distance = self.distance_evidence(value) / SEASON_EVIDENCE
            usual = (1 - LIFT_BY_SEASON * distance) * math.exp(-LIFT_BY_TOLD * told)
            found += (1 - found) * MOST_LIFTED * (1 - usual)
        return min(MOST_SCORE, found)

    def distance_evidence(self, value: float, slack: float = 0.0) -> float:
        """D: the distance from the season in typical distances, saturating; `slack` widens distance and scale."""
        if self.days() < SETTLED_DAYS:
            return 0.0
        distance = max(0.0, abs(value - self.phase_level[self.phase(len(self.x))]) + slack)
        scale = max(self.spread - slack, self.floor)
        return SEASON_EVIDENCE * (1 - math.exp(-distance / (SEASON_REACH * scale)))

    def _tail_evidence(self, name: str, r: float) -> float:
        tail = self.tails[name]
        return 0.0 if tail is None or math.isnan(r) else tail.evidence(r)

    def _novelty(self, name: str, r: float, slack: float = 0.0) -> float:
        extreme = self.extremes[name]
        return 0.0 if extreme is None or math.isnan(r) else extreme.novelty(r, slack)

    def slack(self, name: str, r: float) -> float:
        """How far a float32 kernel's residual may lie from ours.

        A view is made of at most a handful of numbers no larger than `largest`, each rounded once: 16 roundings. The
        scaled views also divide by a scale that carries such an error. Holt-Winters adds up 1/gamma of them.
        """
        base = max(self.largest, abs(r) if not math.isnan(r) else 0.0)
        slack = 16 * ROUNDING * base + 1e-300
        if name in ("day_f12", "hw"):
            slack *= 4 * (1 + abs(r) / max(self.scales[name][1], self.floor)) if not math.isnan(r) else 1
        return slack

    def evidence_range(self, value: float) -> tuple[float, float]:
        """Smallest and largest E when every residual and every scale carries the error of `slack`."""
        views = self.views_at(value)
        ranges = {name: self._tail_range(name, views[name]) for name in TAIL_WEIGHTS}
        told = {name: self._told_range(name, views[name]) for name in LASTING}
        low = self._least_counted(ranges, told)
        high = self._most_counted(ranges, told)
        below = above = 0.0
        for name, share in NOVELTY_SHARES.items():
            least, most = self._novelty_range(name, views[name])
            weight = share * self.novelty_weight(name)
            below, above = max(below, weight * least), max(above, weight * most)
        slack = 16 * ROUNDING * max(self.largest, abs(value))
        near, far = self.distance_evidence(value, -slack), self.distance_evidence(value, slack)
        low, high = low + near + below, high + far + above
        return low * (1 - 1e-6) - 1e-9, high * (1 + 1e-6) + 1e-9

    def total_range(self, value: float) -> tuple[float, float]:
        """Smallest and largest LP if nothing were left out, as for `evidence_range`."""
        views = self.views_at(value)
        ranges = [(self.tail_weight(name), self._tail_range(name, views[name])) for name in TAIL_WEIGHTS]
        low, high = (min(MOST_OF_TAILS, sum(weight * ends[k] for weight, ends in ranges)) for k in (0, 1))
        return low * (1 - 1e-6) - 1e-9, high * (1 + 1e-6) + 1e-9

    def _least_counted(self, ranges: dict[str, tuple[float, float]], told: dict[str, tuple[float, float]]) -> float:
        """LP with the least of each view's evidence and the most that was told."""
        found = {name: self.tail_weight(name) * ranges[name][0] for name in TAIL_WEIGHTS}
        before = sum(min(found[name], told[name][1]) for name in LASTING)
        return self.counted(sum(found.values()), sum(found[name] for name in FRESH), before)[0]

    def _most_counted(self, ranges: dict[str, tuple[float, float]], told: dict[str, tuple[float, float]]) -> float:
        """LP with the most of each view's evidence and the least that was told."""
        found = {name: self.tail_weight(name) * ranges[name][1] for name in TAIL_WEIGHTS}
        before = sum(min(found[name], told[name][0]) for name in LASTING)
        return self.counted(sum(found.values()), sum(found[name] for name in FRESH), before)[0]

    def _told_range(self, name: str, r: float) -> tuple[float, float]:
        """`told` when level and residual carry the error of `slack`: the level near a gate may be said or not."""
        level, tail = self.hour(), self.tails[name]
        if tail is None or math.isnan(level) or math.isnan(r):
            return 0.0, 0.0
        slack = 2 * self.slack(name, r)
        sides = {r + a > tail.upper_gate for a in (-slack, slack)}
        least, most = self._tail_range(name, level)
        same = {level + a > tail.upper_gate for a in (-slack, slack)} == sides and len(sides) == 1
        other = not same and len(sides) == 1 and abs(level - tail.upper_gate) > slack
        weight = TAIL_WEIGHTS[name]
        return (weight * least if same else 0.0), (0.0 if other else weight * most)

    def _tail_range(self, name: str, r: float) -> tuple[float, float]:
        tail = self.tails[name]
        if tail is None or math.isnan(r):
            return 0.0, 0.0
        slack = 2 * self.slack(name, r)
        found = [tail.evidence(r - slack), tail.evidence(r), tail.evidence(r + slack)]
        wobble = slack / max(self.floor, min(tail.upper_scale, tail.lower_scale))
        return min(found) / (1 + wobble), max(found) * (1 + wobble)

    def _novelty_range(self, name: str, r: float) -> tuple[float, float]:
        slack = 2 * self.slack(name, r)
        found = [self._novelty(name, r + a, b) for a in (-slack, 0.0, slack) for b in (-slack, 0.0, slack)]
        return min(found), max(found)

    # --- the band ---------------------------------------------------------------------------------------------------

    def expected(self) -> float:
        """S[t] + med(last 12 of day), at least 3; before that med(last 48); after a long gap the window's median."""
        t = len(self.x)
        day = [self.x[k] - self.season(k) for k in range(max(0, t - 12), t)]
        for candidate in (self.season(t) + median(day, 3), median(self.x[max(0, t - 48) : t], 3)):
            if not math.isnan(candidate):
                return candidate
        return self.middle

    def start(self) -> float:
        """First of yhat, window median, med(last 3) whose score is at most 1; NaN where there is none."""
        for candidate in (self.expected(), self.middle, median(self.x[max(0, len(self.x) - 3) :], 2)):
            if not math.isnan(candidate) and self.evidence(candidate) <= self.limit:
                return candidate
        return math.nan

    def first_stride(self) -> float:
        """How far apart the edges of f3's tails lie, at least the floor."""
        tail = self.tails["f3"]
        return self.floor if tail is None else max(self.floor, tail.upper - tail.lower)

    def edge(self, start: float, sign: int) -> float:
        """Going from `start` by doubling strides: the crossing of the threshold in the first bracket."""
        first = self.first_stride()
        inside, stride = start, first
        while self.evidence(start + sign * stride) <= self.limit:
            inside, stride = start + sign * stride, 2 * stride
            if stride > first * 2.0**120:
                return sign * math.inf
        outside = start + sign * stride
        for _ in range(60):
            middle = 0.5 * (inside + outside)
            if self.evidence(middle) <= self.limit:
                inside = middle
            else:
                outside = middle
        return inside

    def absorb(self, value: float) -> None:
        """The next column is final: its residuals move the extremes, its value the Holt-Winters recursion."""
        views = self.views_at(value)
        if not math.isnan(value):
            for name in NOVELTY_SHARES:
                extreme, r = self.extremes[name], views[name]
                if extreme is not None and not math.isnan(r):
                    extreme.highest, extreme.lowest = max(extreme.highest, r), min(extreme.lowest, r)
        self._holt_winters_step(len(self.x), value)
        self.x.append(value)
