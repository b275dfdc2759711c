"""Runs series through the product's own path, window and judging, and says what was told of each sample.

The history is read at once, as at a start; the last columns are met one by one, with fits and states as live.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config.schema import DAY_S, Query
from exporter.judging import Judging, horizon
from exporter.samples import SampleBatch
from exporter.series import SeriesTable
from exporter.window import Window

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Measured = Callable[[str, float], float]  # the fixture: notes a number under a name and hands it back

_FIRST_S = 19_700 * DAY_S  # time of the first judged sample: a midnight


@dataclass(frozen=True, slots=True)
class Told:
    """Scores of the judged columns (R, judged): NaN where nothing was said. `lower`, `upper`: the band of
    `robust_band`. `refused`: samples that were no numbers."""

    refused: int
    band: F64
    shesd: F64
    shift: F64
    stale: F64
    lower: F64
    upper: F64

    def groups(self, count: int) -> tuple[Told, ...]:
        """What was told of each of so many equal groups of rows that were judged together."""
        scores = (self.band, self.shesd, self.shift, self.stale, self.lower, self.upper)
        each = zip(*(np.split(one, count) for one in scores), strict=True)
        return tuple(Told(self.refused, *group) for group in each)


class _Hashes(SeriesTable):
    """A table that only knows hashes: they spread the rows' fits over the hour."""

    def stable_hash(self, row: int) -> int:
        return 7919 * row


def judge(values: F64, judged: int, *, step_s: int = 300, days: int = 14, nan_is_sample: bool = False) -> Told:
    """Judge the last `judged` columns of series values (R, C) with the default query and both slow signals.

    A sample per step; NaN is a gap, no sample at all, or with `nan_is_sample` a sample of that value.
    """
    query = Query("q", "m", signals=("shift", "stale"), interval_s=step_s, step_s=step_s, window_s=days * DAY_S)
    rows, known = np.arange(len(values)), values.shape[1] - judged
    window = Window(query.window_s // step_s, horizon(step_s), step_s)
    judging = Judging(query, _Hashes(), window)
    window.grow(len(rows))
    judging.admit(rows)
    first_column = _FIRST_S // step_s
    _fill(window, values[:, :known], first_column - known)
    scores = np.full((6, len(rows), judged), np.nan)
    refused = 0
    for k in range(judged):
        time_s = (first_column + k) * step_s
        sample = values[:, known + k]
        told = rows if nan_is_sample else np.flatnonzero(~np.isnan(sample))
        window.advance(first_column + k)
        batch = _batch(np.full(len(told), time_s), sample[told], np.arange(len(told) + 1))
        if known + k == 0:
            window.place(told, batch, np.ones(len(told), np.bool_))
        refused += window.write_newest(told, batch).not_finite
        judging.update(time_s, np.full(len(rows), math.inf))
        fresh = np.intersect1d(rows[judging.judged_ms == time_s * 1000], judging.current)
        scores[:, fresh, k] = _latest(judging)[:, fresh]
    return Told(refused, *scores)


def _fill(window: Window, known: F64, first_column: int) -> None:
    """Write the history as the answer to a range query."""
    window.advance(first_column + known.shape[1] - 1)
    rows = np.arange(len(known))
    present = ~np.isnan(known)
    column = np.broadcast_to(first_column + np.arange(known.shape[1]), known.shape)
    ends = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    batch = _batch(column[present] * window.step_s, known[present], ends)
    if known.size:
        window.place(rows, batch, np.ones(len(rows), np.bool_))
        window.write_grid(rows, batch)


def _batch(time_s: I64, value: F64, first: I64) -> SampleBatch:
    count = len(first) - 1
    nothing = np.zeros(count, np.int64)
    return SampleBatch(np.empty(0, np.uint8), nothing, nothing, nothing.astype(np.uint64), first, time_s * 1000, value)


def _latest(judging: Judging) -> F64:
    bands, signals = judging.bands, judging.signals
    score = [bands["robust_band"].score, bands["shesd"].score, signals["shift"].score, signals["stale"].score]
    return np.stack([*score, bands["robust_band"].lower, bands["robust_band"].upper])


# --- what to count ----------------------------------------------------------------------------------------------------


def found(scores: F64, start: int, length: int = 1) -> float:
    """Share of the rows with a score above 1 in `length` columns from `start` on."""
    return float((scores[:, start : start + length] > 1).any(axis=1).mean())


def per_week(scores: F64, step_s: int = 300) -> float:
    """Episodes per series and week of verdicts: scores above 1, those within an hour are one."""
    on = scores > 1
    hour = 3600 // step_s
    before = np.zeros_like(on)
    for back in range(1, hour + 1):
        before[:, back:] |= on[:, :-back]
    return float((on & ~before).sum() / (np.isfinite(scores).sum() * step_s / (7 * DAY_S)))


def share_above(scores: F64) -> float:
    """Share of the scores that are above 1."""
    return float((scores > 1).mean())


def samples_above(scores: F64, start: int, length: int) -> float:
    """Mean number of scores above 1 per row in `length` columns from `start` on."""
    return float((scores[:, start : start + length] > 1).sum(axis=1).mean())


def first_above(scores: F64, start: int) -> F64:
    """Columns from `start` to the first score above 1, by row; inf where there is none."""
    on = scores[:, start:] > 1
    return np.where(on.any(axis=1), on.argmax(axis=1), np.inf)


def last_above(scores: F64, start: int) -> F64:
    """Columns from `start` to the last score above 1, by row; -1 where there is none."""
    on = scores[:, start:] > 1
    return np.where(on.any(axis=1), on.shape[1] - 1 - on[:, ::-1].argmax(axis=1), -1)
