"""Grafana Labs' anomaly detection rules in PromQL, restated: what they would have recorded at each column.

Source: github.com/grafana/promql-anomaly-detection, rules/adaptive.yml (commit 7ed6390a) and rules/robust.yml (commit
c1336160); described in "How to use Prometheus to efficiently detect anomalies at scale", Grafana blog, 2024-10-03.
Below, the names of its rules stand in `code`.

How a grid stands for a Prometheus:
- every column is one evaluation of the rules, in the order of the file; the groups with `interval: 5m` run on the
  columns at full 5 minutes, and what they record there is seen at once. The files' interval is 1 minute: at other
  steps the ranges keep their seconds, so at 5 minutes an hour is 12 samples, at an hour one (its deviation is then 0
  and only the margin and the season are left);
- a gap is absent at once, as after a failed scrape, not repeated for the look-back of 5 minutes;
- `select` keeps values above 0 only. A drop to zero has no sample: where the range of 2 minutes of the alert still
  reaches the sample before, that one is judged in its place, else there is no verdict. Its other filter, an hour's mean
  under 5/60 for requests, has no effect in the published files: the last of its alternatives lets every type in again;
- the alert's `for: 5m` is left out: pending counts as alerting. A spike shorter than that would never fire.
"""

from __future__ import annotations

import numpy as np

from bench.quality.baselines.promql import (
    avg_and_stddev_over_time,
    columns_of,
    last_over_time,
    median_over_time,
    offset,
)
from bench.quality.baselines.spans import HOUR_S, in_half_widths, samples
from bench.quality.corpus import DAY_S, F64, Grid

MULTIPLIER = 2.0  # `stddev_multiplier`, `mad_multiplier`
MARGIN = 0.5  # `margin_multiplier`
THRESHOLD_BY_COVAR = 0.5
MINUTE_S = 60
ADAPTIVE_OFFSETS_S = (167 * HOUR_S + 30 * MINUTE_S, 23 * HOUR_S + 30 * MINUTE_S)
ROBUST_OFFSETS_S = (167 * HOUR_S + 45 * MINUTE_S, 23 * HOUR_S + 45 * MINUTE_S)

Band = tuple[F64, F64]  # lower and upper edge, (T,) each


def grafana_adaptive(grid: Grid) -> F64:
    """Distance of `anomaly:level` from the middle of the adaptive band in half widths; score (T,).

    The band is the widest of: the hour's mean +- 2 `stddev_st`, the mean +- half of it, and the long-term bands of a
    day and a week ago; its lower edge is at least 0. `level` is the sample. NaN at a gap and where a rule gives none.
    """
    level, band = adaptive(grid)
    return _score(grid, level, band)


def grafana_robust(grid: Grid) -> F64:
    """Distance of `anomaly:level` from the middle of the robust band in half widths; score (T,).

    The band is the widest of: the day's median +- 2 `mad_lt`, the median +- half of it, and the bands of the hour a day
    and a week ago; its lower edge is at least 0. `level` is the median of the last hour, not the sample: less than half
    an hour of anything cannot alert. NaN at a gap and where a rule gives none.
    """
    level, band = robust(grid)
    return _score(grid, level, band)


def adaptive(grid: Grid) -> tuple[F64, Band]:
    """`anomaly:level`, and `anomaly:lower_band` and `anomaly:upper_band`, of the adaptive strategy."""
    hour, recent = columns_of(HOUR_S, grid.step_s), columns_of(2 * MINUTE_S, grid.step_s)
    select = _selected(grid)
    avg_1h, stddev_1h = avg_and_stddev_over_time(select, hour)
    filtered = np.where(stddev_1h > avg_1h * THRESHOLD_BY_COVAR, stddev_1h, np.nan)
    stddev_st, _ = avg_and_stddev_over_time(filtered, columns_of(26 * HOUR_S, grid.step_s))
    middle, spread = last_over_time(avg_1h, recent), last_over_time(stddev_st, recent) * MULTIPLIER
    long_term = _widest([_shifted(grid, avg_1h, stddev_1h * MULTIPLIER, back_s) for back_s in ADAPTIVE_OFFSETS_S])
    return last_over_time(select, recent), _combined(grid, middle, spread, long_term)


def robust(grid: Grid) -> tuple[F64, Band]:
    """`anomaly:level`, and `anomaly:lower_band` and `anomaly:upper_band`, of the robust strategy."""
    day, recent = columns_of(DAY_S, grid.step_s), columns_of(2 * MINUTE_S, grid.step_s)
    select = _selected(grid)
    median_lt = median_over_time(select, day)
    mad_lt = median_over_time(np.abs(select - median_lt), day)
    level = median_over_time(select, columns_of(HOUR_S, grid.step_s))
    middle, spread = last_over_time(median_lt, recent), last_over_time(mad_lt, recent) * MULTIPLIER
    seasonality = _widest([_seasonality(grid, select, level, back_s) for back_s in ROBUST_OFFSETS_S])
    return last_over_time(level, recent), _combined(grid, middle, spread, seasonality)


def _selected(grid: Grid) -> F64:
    x = samples(grid)
    return np.where(x > 0.0, x, np.nan)


def _shifted(grid: Grid, middle: F64, spread: F64, back_s: int) -> Band:
    """`lower_band_lt` and `upper_band_lt` of one look-back, as recorded every 5 minutes."""
    back = columns_of(back_s, grid.step_s)
    return _recorded(grid, offset(middle - spread, back)), _recorded(grid, offset(middle + spread, back))


def _seasonality(grid: Grid, select: F64, median_1h: F64, back_s: int) -> Band:
    """`lower_seasonality_band` and `upper_seasonality_band` of one look-back, as recorded every 5 minutes.

    `abs_dev_seasonality` compares one sample every 5 minutes with the median of its hour; `mad_seasonality` is the
    median of the last hour of those.
    """
    back, recent = columns_of(back_s, grid.step_s), columns_of(10 * MINUTE_S, grid.step_s)
    middle = last_over_time(_recorded(grid, offset(median_1h, back)), recent)
    distance = _recorded(grid, np.abs(offset(select, back) - middle))
    mad = median_over_time(distance, columns_of(HOUR_S, grid.step_s))
    spread = last_over_time(_recorded(grid, mad), recent) * MULTIPLIER
    return _recorded(grid, middle - spread), _recorded(grid, middle + spread)


def _recorded(grid: Grid, x: F64) -> F64:
    """What a group with an interval of 5 minutes leaves of x."""
    time_s = (grid.first_column + np.arange(len(x))) * grid.step_s
    return np.where(time_s % (5 * MINUTE_S) == 0, x, np.nan)


def _widest(bands: list[Band]) -> Band:
    """The lowest lower and the highest upper edge of those that are there."""
    return np.fmin.reduce([lower for lower, _ in bands]), np.fmax.reduce([upper for _, upper in bands])


def _combined(grid: Grid, middle: F64, spread: F64, long_term: Band) -> Band:
    """`anomaly:lower_band` and `anomaly:upper_band`: short term, margin, and the last 10 minutes' long-term band."""
    recent = columns_of(10 * MINUTE_S, grid.step_s)
    lower_lt, upper_lt = (last_over_time(edge, recent) for edge in long_term)
    margin = middle * MARGIN
    lower, upper = _widest(
        [(middle - spread, middle + spread), (middle - margin, middle + margin), (lower_lt, upper_lt)]
    )
    return np.maximum(lower, 0.0), upper


def _score(grid: Grid, level: F64, band: Band) -> F64:
    """Distance from the middle of the band in half widths; NaN at a gap."""
    lower, upper = band
    score = in_half_widths(np.abs(level - 0.5 * (lower + upper)), 0.5 * (upper - lower))
    return np.where(np.isnan(samples(grid)), np.nan, score)
