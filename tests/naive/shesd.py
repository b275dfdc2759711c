"""The slow, obvious twin of exporter.models.shesd: one series, one loop after the other, scipy's t quantiles.

`storage` is the type in which residuals are kept: float64, or float32 as the product's windows are, so that of two
residuals equally far from the median the same one is taken first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.tsa.seasonal import STL

from tests.naive.order import median

Centre = Callable[[Sequence[float]], float]
Spread = Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class NaiveFit:
    centre: list[float]
    half_width: float
    outliers: int
    valid: int
    season: list[float]  # by absolute phase
    residuals: list[float]


def critical(alpha: float, n: int, i: int) -> float:
    """Rosner's lambda_i for n values."""
    p = 1 - alpha / (2 * (n - i + 1))
    t = float(stats.t.ppf(p, n - i - 1))
    return (n - i) * t / math.sqrt((n - i - 1 + t * t) * (n - i + 1))


def mad(values: Sequence[float]) -> float:
    middle = median(values)
    return 1.4826 * median([abs(x - middle) for x in values])


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    return math.sqrt(sum((x - mean(values)) ** 2 for x in values) / (len(values) - 1))


@dataclass(frozen=True)
class Esd:
    distances: list[float]  # R_i
    criticals: list[float]  # lambda_i
    outliers: int
    rest: list[float]


def textbook_esd(values: Sequence[float], alpha: float, most: int, centre: Centre, spread: Spread) -> Esd:
    """Generalised ESD as in the textbook: take the farthest value away, again and again; the last success counts."""
    n, rest, rests = len(values), list(values), [list(values)]
    distances, criticals, outliers = [], [], 0
    for i in range(1, most + 1):
        middle, scale = centre(rest), spread(rest)
        farthest = max(rest, key=lambda x: (abs(x - middle), x))
        distances.append(abs(farthest - middle) / scale)
        criticals.append(critical(alpha, n, i))
        if distances[-1] > criticals[-1]:
            outliers = i
        rest.remove(farthest)
        rests.append(list(rest))
    return Esd(distances, criticals, outliers, rests[outliers])


def robust_esd(values: Sequence[float], alpha: float, max_anoms: float, floor: float) -> tuple[int, float, float]:
    """Outliers, median and scale without them."""
    share = int(Fraction(str(max_anoms)) * len(values))
    most = min(max(1, share), (len(values) - 1) // 2)
    found = textbook_esd(values, alpha, most, median, lambda rest: max(mad(rest), floor))
    return found.outliers, median(found.rest), max(mad(found.rest), floor)


def phase_medians(values: Sequence[float], phases: Sequence[int], period: int) -> list[float]:
    by_phase: list[list[float]] = [[] for _ in range(period)]
    for x, phase in zip(values, phases, strict=True):
        by_phase[phase].append(x)
    medians = [median(day) for day in by_phase]
    return [_between(medians, phase) if math.isnan(m) else m for phase, m in enumerate(medians)]


def _between(medians: Sequence[float], phase: int) -> float:
    """On the straight line between the nearest phases seen before and after, round the clock."""
    period = len(medians)
    back = next(k for k in range(1, period + 1) if not math.isnan(medians[(phase - k) % period]))
    on = next(k for k in range(1, period + 1) if not math.isnan(medians[(phase + k) % period]))
    before, after = medians[(phase - back) % period], medians[(phase + on) % period]
    return before + (after - before) / (back + on) * back


def smoothed(season: Sequence[float]) -> list[float]:
    period = len(season)
    reach = min(4, (period - 1) // 2)
    around = range(-reach, reach + 1)
    return [sum((season[(phase + k) % period] for k in around), 0.0) / len(around) for phase in range(period)]


def median_season(values: Sequence[float], phases: Sequence[int], period: int) -> list[float]:
    if sum(not math.isnan(x) for x in values) < period:
        return [0.0] * period
    return smoothed(phase_medians(values, phases, period))


def stl_season(values: Sequence[float], phases: Sequence[int], period: int, jumps: bool = True) -> list[float]:
    """The season of a robust periodic STL, told from the first sample on, gaps filled in with what is expected."""
    rough = median_season(values, phases, period)
    if sum(not math.isnan(x) for x in values) < 2 * period or period == 1:
        return rough
    left = [x - rough[phase] for x, phase in zip(values, phases, strict=True)]
    known = [t for t, r in enumerate(left) if not math.isnan(r)]
    filled = []
    for t in range(known[0], len(values)):
        r = float(np.interp(t, known, [left[k] for k in known]))
        filled.append(values[t] if t in known else rough[phases[t]] + r)
    jump = -(-period // 10) if jumps else 1
    season = STL(
        np.array(filled),
        period=period,
        seasonal=10 * len(filled) + 1,
        seasonal_deg=0,
        robust=True,
        seasonal_jump=len(filled) if jumps else 1,
        trend_jump=jump,
        low_pass_jump=jump,
    ).fit()
    by_phase = dict(zip(phases[-period:], season.seasonal[-period:], strict=True))
    return [float(by_phase[phase]) for phase in range(period)]


def block_of(columns_back: int, n: int, period: int) -> int:
    """Block of a column, counted from the newest: 3 periods each, the oldest takes what is left over."""
    return min(columns_back // (3 * period), max(1, n // (3 * period)) - 1)


def block_medians(left: Sequence[float], period: int) -> list[float]:
    """Median of each block, newest first; a block with under 24 samples takes an older one's, or else a newer one's."""
    n = len(left)
    blocks = max(1, n // (3 * period))
    own = [
        median([left[t] for t in range(n) if block_of(n - 1 - t, n, period) == j], at_least=24) for j in range(blocks)
    ]
    levels = []
    for j in range(blocks):
        older = [m for m in own[j:] if not math.isnan(m)]
        newer = [m for m in own[:j] if not math.isnan(m)]
        levels.append(older[0] if older else newer[-1] if newer else 0.0)
    return levels


def fit(
    values: npt.ArrayLike,
    floor: float,
    end_column: int,
    period: int,
    horizon: int,
    *,
    alpha: float = 0.05,
    max_anoms: float = 0.02,
    seasonal: str = "median",
    storage: type = np.float64,
) -> NaiveFit:
    row = [float(x) if abs(x) <= 1e37 else math.nan for x in np.asarray(values, np.float64)]
    n, valid = len(row), sum(not math.isnan(x) for x in row)
    if valid < 24 or not 0 < floor <= 1e37:
        return NaiveFit([math.nan] * horizon, math.nan, 0, valid, [], [])
    phases = [(end_column - n + 1 + t) % period for t in range(n)]
    season = (stl_season if seasonal == "stl" else median_season)(row, phases, period)
    left = [float(storage(x - season[phase])) for x, phase in zip(row, phases, strict=True)]
    levels = block_medians(left, period)
    residuals = [float(storage(left[t] - levels[block_of(n - 1 - t, n, period)])) for t in range(n)]
    kept = [r for r in residuals if not math.isnan(r)]
    outliers, middle, scale = robust_esd(kept, alpha, max_anoms, floor)
    centre = [season[(end_column + h) % period] + levels[0] + middle for h in range(1, horizon + 1)]
    return NaiveFit(centre, critical(alpha, valid, outliers + 1) * scale, outliers, valid, season, residuals)
