"""The slow, obvious twins of `shift` and `stale`, written from the formulas of the models' page, not from the kernels.

One series, plain floats, everything recomputed from the samples by definition. A mean of float32 differences may be off
by a few roundings, and the evidence jumps where a tail begins; so `Shift.score` gives the range that the score may lie
in when every residual is off by up to `slack`. Run lengths are whole numbers: `Stale.score` is one number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tests.naive.order import median, valid

LN10 = math.log(10)


def day_view(x: Sequence[float], period: int, step_s: int) -> list[float]:
    """x[t] - S[t], S = median of the samples at the same phase +-h on the previous 7 days; h = 1 from 5 minutes on."""
    h = 1 if step_s >= 300 else 2
    found = []
    for t in range(len(x)):
        places = [t - day * period + j for day in range(1, 8) for j in range(-h, h + 1)]
        apart = x[t] - median([x[p] for p in places if 0 <= p < t])
        found.append(apart if math.isfinite(apart) else math.nan)
    return found


def trailing_mean(x: Sequence[float], t: int, length: int, at_least: int) -> float:
    """Mean of the valid ones of the last `length` samples up to and with t; NaN where x[t] is missing, or too many."""
    kept = [v for v in x[max(0, t - length + 1) : t + 1] if not math.isnan(v)]
    if math.isnan(x[t]) or len(kept) < at_least:
        return math.nan
    return math.fsum(kept) / len(kept)


def mean_without_extreme(x: Sequence[float], t: int, length: int, at_least: int, side: int) -> float:
    """The same mean, without its highest (side 1) or lowest (side -1) sample."""
    if math.isnan(trailing_mean(x, t, length, at_least)):
        return math.nan
    kept = valid(x[max(0, t - length + 1) : t + 1])
    kept = kept[:-1] if side > 0 else kept[1:]
    return math.fsum(kept) / len(kept)


@dataclass
class Side:
    """One exponential tail, seen from its own side: residuals beyond `edge` are in it."""

    jump: float
    edge: float
    scale: float
    floor: float

    def evidence(self, r: float, slack: float) -> tuple[float, float]:
        """Least and largest -log10 p of a residual when all differences are off by up to `slack`; at most 12."""
        low = high = 0.0
        if r > self.edge + 2 * slack:
            low = self.jump + (r - self.edge - 2 * slack) / (LN10 * (self.scale + 2 * slack))
        if r > self.edge - 2 * slack:
            wide = max(self.floor, self.scale - 2 * slack)
            high = self.jump + (r - self.edge + 2 * slack) / (LN10 * wide)
        return min(12.0, low), min(12.0, high)


def tail_of(residuals: Sequence[float], floor: float) -> Side | None:
    """The upper tail: the 4 % largest, at least 8; None with fewer than 24 residuals."""
    kept = valid(residuals)
    n = len(kept)
    if n < 24:
        return None
    m = max(8, n * 4 // 100)
    edge = kept[-m - 1]
    excess = math.fsum(r - edge for r in kept[-m:]) / m
    return Side(math.log10(n / m), edge, max(excess, floor), floor)


class Shift:
    """`shift` of one series, fitted on x[:n] (`n` the window's columns); x goes on to the newest sample judged."""

    def __init__(self, x: Sequence[float], n: int, step_s: int, floor: float) -> None:
        self.x = [float(v) for v in x]
        self.n, self.period, self.floor = n, 86_400 // step_s, floor
        self.day = day_view(self.x, self.period, step_s)
        self.lengths = [max(3, 3600 // step_s), max(3, 21_600 // step_s)]
        seen = [t for t in range(n) if math.isfinite(self.x[t])]
        self.first = seen[0] if seen else n
        usual = len(seen) / (n - self.first) if seen else 0.0
        self.need = [max(3, math.ceil(usual * length / 2)) for length in self.lengths]

    def score(
        self, t: int, *, slack: float = 0.0, offset: float = 0.0, above: bool = True, below: bool = True,
        deviation: float = 0.0, share: float = 0.0,
    ) -> tuple[float, float] | None:  # fmt: skip
        """Least and largest score of x[t]; None where there is none."""
        if t - self.first < 2 * self.period or math.isnan(self.day[t]):
            return None
        # What has to be exceeded at all: a share of the expected level S = x - day.
        least = max(deviation, share * abs(self.x[t] - self.day[t] + offset))
        found = []
        for length, need in zip(self.lengths, self.need, strict=True):
            past = [trailing_mean(self.day, k, length, need) for k in range(max(0, self.n - self.period))]
            if tail_of(past, self.floor) is None or math.isnan(trailing_mean(self.day, t, length, need)):
                continue
            sides = [side for side, watched in ((1, above), (-1, below)) if watched]
            found += [(0.0, 0.0)] + [self._one_side(t, length, need, side, past, least, slack) for side in sides]
        if not found:
            return None
        return max(low for low, _ in found) / 6, max(high for _, high in found) / 6

    def _one_side(
        self, t: int, length: int, need: int, side: int, past: Sequence[float], least: float, slack: float
    ) -> tuple[float, float]:
        mean = side * mean_without_extreme(self.day, t, length, need, side)
        tail = tail_of([side * r for r in past], self.floor)
        assert tail is not None
        low, high = tail.evidence(mean, slack)
        return low if mean - slack > least else 0.0, high if mean + slack > least else 0.0


def run_lengths(x: Sequence[float], equal: float) -> list[int]:
    """How many equal samples in a row end with each valid sample; gaps are passed over."""
    found: list[int] = []
    last = math.nan
    for value in x:
        if math.isfinite(value):
            found.append(found[-1] + 1 if abs(value - last) <= equal else 1)
            last = value
    return found


class Stale:
    """`stale` of one series, fitted on x[:n]; x goes on to the newest sample judged."""

    def __init__(self, x: Sequence[float], n: int, step_s: int, floor: float) -> None:
        self.x, self.n, self.step_s = [float(v) for v in x], n, step_s
        self.equal = floor / 1000
        self.first = next((t for t in range(n) if math.isfinite(self.x[t])), n)

    def score(self, t: int) -> float | None:
        """Score of x[t]; None where there is none."""
        if t - self.first < 86_400 // self.step_s or not math.isfinite(self.x[t]):
            return None
        lengths = run_lengths(self.x[: self.n], self.equal)
        going_on = lengths[-1]
        past = lengths[: len(lengths) - going_on]
        if len(past) < max(24, going_on):
            return None
        m = max(8, len(past) * 4 // 100)
        longest = sorted(past, reverse=True)
        edge = longest[m]
        runs = past.count(edge)  # so many runs came that far
        scale = max(sum(longest[:m]) / m - edge, 2.0, 300 / self.step_s, 2 * edge / (1 + runs))
        length = run_lengths(self.x[: t + 1], self.equal)[-1]
        if length < 3 or length <= edge:
            return 0.0
        return min(12.0, math.log10(len(past) / m) + (length - edge) / (LN10 * scale)) / 5
