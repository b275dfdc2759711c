"""Fitting and judging: series a second on one core, and a whole column, beside the slow ways."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from statsmodels.tsa.seasonal import STL

from bench.speed import madeup
from bench.speed.clocks import median_cpu_s
from bench.speed.madeup import DAY_S, F32, STEP_S, WEEK_COLUMNS
from exporter.config.schema import DEFAULT_MODELS
from exporter.models import robust_band, shesd
from exporter.models.floors import summarise
from exporter.models.rows import ModelRows, model_rows
from exporter.models.settings import Seasonal, ShesdSettings
from tests.naive import robust_band as naive_band
from tests.naive import shesd as naive_shesd

ROWS = 128  # fitted together, as the exporter does
GAPS = 0.3
_PERIOD = DAY_S // STEP_S
_HORIZON = 14
_END_COLUMN = 5_000_000
_CALLS = 3  # of a fit in one measurement
_HALVINGS = 40


def shesd_rate(columns: int, gaps: float, repeats: int, seasonal: Seasonal = "median") -> float:
    """Series a second that `shesd` fits."""
    x = madeup.windows(ROWS if seasonal == "median" else 4, columns, STEP_S, gaps)
    floor, end = np.full(len(x), 1e-3), np.full(len(x), _END_COLUMN)
    settings = ShesdSettings(seasonal=seasonal)
    return _rate(lambda: shesd.fit(x, floor, end, _PERIOD, _HORIZON, settings), len(x), repeats)


def robust_band_rate(columns: int, gaps: float, repeats: int, step_s: int = STEP_S) -> float:
    """Series a second that `robust_band` fits, all views; the summary of the window, which all models share, apart."""
    x = madeup.windows(ROWS, columns, step_s, gaps)
    shape = robust_band.Shape.of(step_s, 3600 // step_s + 2)
    offset, end = np.zeros(len(x)), np.arange(len(x)) + _END_COLUMN
    summary = summarise(np.sort(x, axis=1), offset)
    return _rate(lambda: robust_band.fit(x, offset, summary, end, shape), len(x), repeats)


def _rate(fit: Callable[[], object], rows: int, repeats: int) -> float:
    def several() -> None:
        for _ in range(_CALLS):
            fit()

    return rows * _CALLS / median_cpu_s(several, repeats)


def naive_shesd_rate(gaps: float) -> float:
    """Series a second of statsmodels' robust STL as it comes, then the textbook test; gaps are interpolated first."""
    row = _filled(madeup.windows(1, WEEK_COLUMNS, STEP_S, gaps)[0])
    start = time.process_time()
    left = row - STL(row, period=_PERIOD, robust=True).fit().seasonal
    naive_shesd.robust_esd((left - np.median(left)).tolist(), 0.05, 0.02, 1e-3)
    return 1 / (time.process_time() - start)


def naive_band_rate(columns: int, gaps: float) -> float:
    """Series a second of `robust_band` written from its formulas, one series at a time."""
    row = madeup.windows(1, columns, STEP_S, gaps)[0].tolist()
    start = time.process_time()
    naive_band.Twin(row, 0.0, _END_COLUMN, STEP_S)
    return 1 / (time.process_time() - start)


def _filled(row: F32) -> madeup.F64:
    """Gaps by the straight line between their neighbours: STL takes none."""
    known = np.flatnonzero(~np.isnan(row))
    return np.interp(np.arange(len(row)), known, row[known].astype(np.float64))


def column_cpu_s(series: int, repeats: int) -> float:
    """CPU seconds to open a column and judge a new sample of every series, both models, with bands."""
    models, ring, value = _fitted(series)
    rows, offset = np.arange(series), np.zeros(series)
    column = WEEK_COLUMNS

    def work() -> None:
        for model in models:
            model.open(rows, column, ring, offset)
            model.judge(rows, value)

    return median_cpu_s(work, repeats)


def _fitted(series: int) -> tuple[list[ModelRows], F32, madeup.F64]:
    """Models fitted on windows of `series` rows that repeat a hundred blocks, their ring, and a sample for each row."""
    ring = np.full((series, WEEK_COLUMNS + _HORIZON), np.nan, np.float32)
    x = madeup.windows(min(series, 10_000), WEEK_COLUMNS, STEP_S, 0.0)
    models = [model_rows(choice, STEP_S, _HORIZON, 1.0, 60) for choice in DEFAULT_MODELS]
    for model in models:
        model.grow(series)
    for start in range(0, series, ROWS):
        rows = np.arange(start, min(start + ROWS, series))
        part = np.ascontiguousarray(x[rows % len(x)])
        ring[rows, :WEEK_COLUMNS] = part
        summary = summarise(np.sort(part, axis=1), np.zeros(len(rows)))
        for model in models:
            model.fit(rows, part, np.zeros(len(rows)), summary, np.full(len(rows), WEEK_COLUMNS - 1))
    return models, ring, ring[:, WEEK_COLUMNS - _PERIOD].astype(np.float64)


def naive_column_cpu_s(series: int) -> float:
    """CPU seconds of the same by the twin of `robust_band` alone, from one series: evidence, and edges by halving."""
    row = madeup.windows(1, WEEK_COLUMNS, STEP_S, 0.0)[0].tolist()
    twin = naive_band.Twin(row, 0.0, WEEK_COLUMNS - 1, STEP_S)
    value, reach = row[-_PERIOD], 10 * (max(row) - min(row))
    start = time.process_time()
    twin.evidence(value)
    for outside in (twin.middle - reach, twin.middle + reach):
        inside = twin.middle
        for _ in range(_HALVINGS):
            middle = 0.5 * (inside + outside)
            inside, outside = (middle, outside) if twin.evidence(middle) <= twin.limit else (inside, middle)
    return (time.process_time() - start) * series
