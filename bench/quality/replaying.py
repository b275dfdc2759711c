"""The scores of every detector on a series: our models, replayed as the exporter would judge, and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from zlib import crc32

import numpy as np

from bench.quality.baselines import BASELINES
from bench.quality.corpus import F64, Grid, Labelled, Set, on_grid
from exporter.config.schema import Query
from exporter.judging import FIT_EVERY_S
from exporter.models.settings import ModelSettings, RobustBandSettings, ShesdSettings
from exporter.replay import History, Replay

Detector = Callable[[Labelled, Grid], F64]

DEFAULT_STEP_S = Query("default", "default").step_s


def _replayed(
    settings: ModelSettings, step_s: int | None, series: Labelled, grid: Grid, fit_every_s: int = FIT_EVERY_S
) -> F64:
    """Score per column of a model with default settings. `step_s`: None for the samples' own spacing; where it is
    longer than that, every sample is judged within its open column, as the exporter does with its default config."""
    step_s = max(step_s or grid.step_s, grid.step_s)
    query = Query("bench", "bench", models=(settings,), interval_s=grid.step_s, step_s=step_s)
    history = History(grid.value, grid.first_column, crc32(series.name.encode()))
    return Replay(query, fit_every_s).run(history)[settings.name].score


def _baseline(detector: Callable[[Grid], F64], series: Labelled, grid: Grid) -> F64:
    return detector(grid)


OURS: dict[str, Detector] = {
    "robust_band": partial(_replayed, RobustBandSettings(), None),
    "robust_band_5m": partial(_replayed, RobustBandSettings(), DEFAULT_STEP_S),
    "shesd": partial(_replayed, ShesdSettings(), None),
}
"""`robust_band_5m` is the default config: columns of 5 minutes, however often a series is sampled and judged."""

SLOW: dict[str, Detector] = {
    "robust_band_every_sample": partial(_replayed, RobustBandSettings(), None, fit_every_s=1),
}
"""Only on demand: fitted anew for every sample, to see what hourly fits cost in quality."""

DETECTORS: dict[str, Detector] = OURS | {name: partial(_baseline, detector) for name, detector in BASELINES.items()}
ALL = DETECTORS | SLOW


def score_set(corpus: Set, names: list[str], workers: int) -> Iterator[tuple[int, dict[str, F64]]]:
    """Scores per row of each detector, series by series as they get done: (number of the series, by detector)."""
    order = np.argsort([-len(one.time_s) for one in corpus.series], kind="stable")  # the longest first
    with ProcessPoolExecutor(workers) as pool:
        waiting = {pool.submit(_score_series, corpus.series[number], names): number for number in order.tolist()}
        for done in as_completed(waiting):
            yield waiting[done], done.result()


def _score_series(series: Labelled, names: list[str]) -> dict[str, F64]:
    grid = on_grid(series)
    return {name: grid.per_row(ALL[name](series, grid)) for name in names}
