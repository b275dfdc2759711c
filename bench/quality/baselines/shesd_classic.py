"""S-H-ESD in its plain form: phase medians as they are, one median, generalised ESD with MAD.

Vallis, Hochenbaum, Kejariwal, HotCloud 2014; Hochenbaum, Vallis, Kejariwal, arXiv 1704.07706. The settings are the
defaults of the authors' R package AnomalyDetection: alpha 0.05 and at most 10 % of the window; both directions. Its
periodic STL is replaced by the median of each phase of the day, which is as old and hundreds of times faster.
Unlike the product's own model: no smoothing of the season, no piecewise median, no floor under the scale.
"""

from __future__ import annotations

import math

import numpy as np

from bench.quality.baselines.ranks import esd_bands
from bench.quality.baselines.spans import Spans, fit_columns, held, in_half_widths, samples, spans
from bench.quality.corpus import F64, I64, Grid
from exporter.kernels import kernel
from exporter.models.esd import critical_values

ALPHA = 0.05
MOST_SHARE = 0.1
LEAST_DAYS = 2  # a season is told from at least two
_TOGETHER = 8  # fits whose residuals are sorted in one call


def shesd_classic(grid: Grid) -> F64:
    """|x - season - median| / (lambda x 1.4826 MAD) of the fit before the hour of the sample; score (T,).

    The window is the 14 days before the hour. NaN at a gap, until two days after the first sample, at a phase of the
    day that the window never saw, and where the MAD is 0 (the original gives up there and reports nothing).
    Cost: 0.8 ms a fit at 14 days of minutes.
    """
    x, span = samples(grid), spans(grid)
    fits = fit_columns(len(x), span)
    expected = np.full(len(x), np.nan)
    half_width = np.full(len(fits), np.nan)
    season = np.full(span.day, np.nan)
    for first in range(0, len(fits), _TOGETHER):
        some = fits[first : first + _TOGETHER]
        half_width[first : first + len(some)] = _fit(x, some, span, season, expected)
    return in_half_widths(np.abs(x - expected), held(half_width, len(x), span))


def _fit(x: F64, fits: I64, span: Spans, season: F64, expected: F64) -> F64:
    """Half widths (fits,) of consecutive fits; writes what they expect (T,), carries the season (day,) on."""
    residual = np.full((len(fits), span.window), np.inf)
    counts = np.zeros(len(fits), np.int64)
    _remove_seasons(x, fits, span.hour, season, residual, counts, expected)
    residual.sort(axis=1)  # numpy's SIMD sort; gaps are infinite and go last
    bands = esd_bands(residual, counts, MOST_SHARE, critical_values(ALPHA, span.window))
    seen = np.flatnonzero(~np.isnan(x[: fits[-1] + 1]))
    young = fits < (seen[0] if len(seen) else len(x)) + LEAST_DAYS * span.day
    for j in range(len(fits)):
        expected[fits[j] : fits[j] + span.hour] += bands[0, j]
    return np.where(young, np.nan, bands[1])


@kernel
def _remove_seasons(x: F64, fits: I64, hour: int, season: F64, residual: F64, counts: I64, expected: F64) -> None:
    """Residuals of the window before each fit, and the season in the hour after it.

    Shapes: x, expected (T,); fits, counts (B,); season (day,) by column modulo a day; residual (B, window), infinite on
    entry. A window is a whole number of days, so what comes and what goes have the same phases: only those of the hour
    before the fit change.
    """
    day, window = len(season), residual.shape[1]
    box = np.empty(window // day)
    for j in range(len(fits)):
        for t in range(max(0, fits[j] - hour), fits[j]):
            season[t % day] = _phase_median(x, t, day, max(0, fits[j] - window), box)
        for t in range(max(0, fits[j] - window), fits[j]):
            if not math.isnan(x[t]):
                residual[j, counts[j]] = x[t] - season[t % day]
                counts[j] += 1
        for t in range(fits[j], min(fits[j] + hour, len(x))):
            expected[t] = season[t % day]


@kernel
def _phase_median(x: F64, newest: int, day: int, oldest: int, box: F64) -> float:
    """Median of the samples at columns newest, newest - day .. down to `oldest`; NaN without any."""
    count = 0
    for t in range(newest, oldest - 1, -day):
        if math.isnan(x[t]):
            continue
        at = count
        while at > 0 and box[at - 1] > x[t]:
            box[at] = box[at - 1]
            at -= 1
        box[at] = x[t]
        count += 1
    if count == 0:
        return np.nan
    half = count >> 1
    return float(box[half] if count & 1 else 0.5 * box[half - 1] + 0.5 * box[half])
