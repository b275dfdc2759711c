"""Drives the rows of a slow signal over series as judging does: hourly fits; open, judge, absorb each column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.judging import horizon
from exporter.models.floors import summarise
from exporter.models.rows import SignalRows, signal_rows
from exporter.models.settings import Signal
from exporter.models.shift import Watch

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
EITHER = Watch()


class Stepping:
    """Rows of one signal over true values x (R, C), column 0 first; row r is fitted where (r + its column) % hour == 0,
    whenever it was started."""

    def __init__(self, name: Signal, x: F64, step_s: int, columns: int, *, sensitivity: float = 1.0,
                 watch: Watch = EITHER, offset: float = 0.0, spare: int = 20) -> None:  # fmt: skip
        self.x, self.step_s, self.columns, self.offset = x, step_s, columns, np.full(len(x), offset)
        self.hour = max(1, 3600 // step_s)
        self.rows = np.arange(len(x))
        # Smaller than the series: columns come round again, as in the window.
        self.ring = np.full((len(x), columns + self.hour + spare), np.nan, np.float32)
        self.signal: SignalRows = signal_rows(name, step_s, horizon(step_s), sensitivity, watch)
        self.signal.grow(len(x))
        centred = x - offset
        centred[np.abs(centred) > 1e37] = np.nan  # as the window refuses them
        self.centred = centred.astype(np.float32)

    def run(self, start: int) -> F64:
        """Scores (R, C) of the columns from `start` on, NaN before."""
        scores = np.full(self.x.shape, np.nan)
        self._read(start)
        due = start - (start + self.rows) % self.hour
        self._fit(self.rows, due - 1)
        for column in range(int(due.min()), start):
            self.signal.open(self.rows, column, self.ring, self.offset)
            self.signal.absorb(self.rows, column, self.ring)
        for column in range(start, self.x.shape[1]):
            due = self.rows[(self.rows + column) % self.hour == 0]
            if column > start and len(due):
                self._fit(due, np.full(len(due), column - 1))
            self._step(column, scores)
        return scores

    def _read(self, start: int) -> None:
        for column in range(max(0, start - self.ring.shape[1]), start):
            self.ring[:, column % self.ring.shape[1]] = self.centred[:, column]

    def _fit(self, rows: I64, end: I64) -> None:
        for part in np.array_split(rows, -(-len(rows) // 128)):
            ends = end[np.searchsorted(rows, part)]
            at = ends[:, None] - self.columns + 1 + np.arange(self.columns)
            values = np.where(at >= 0, self.centred[part[:, None], np.maximum(at, 0)], np.float32(np.nan))
            summary = summarise(np.sort(values, axis=1), self.offset[part])
            self.signal.fit(part, values, self.offset[part], summary, ends)

    def _step(self, column: int, scores: F64) -> None:
        self.signal.open(self.rows, column, self.ring, self.offset)
        fresh = self.rows[~np.isnan(self.x[:, column])]
        self.signal.judge(fresh, self.x[fresh, column] - self.offset[fresh])
        scores[fresh, column] = self.signal.score[fresh]
        self.ring[:, column % self.ring.shape[1]] = self.centred[:, column]
        self.signal.absorb(self.rows, column, self.ring)


def false_signals_per_week(scores: F64, step_s: int) -> float:
    """Times a score goes above 1, stretches within an hour counted once, per week of scores."""
    count = 0
    for row in scores > 1:
        at = np.flatnonzero(row)
        count += int(len(at) > 0) + int((np.diff(at) > 3600 // step_s).sum())
    return count / (np.isfinite(scores).sum() * step_s / 604_800)


def first_above(scores: F64) -> F64:
    """Columns until the first score above 1, by row; inf where there is none."""
    on = scores > 1
    return np.where(on.any(axis=1), on.argmax(axis=1), np.inf)


def daily(rows: int, columns: int, seed: int, step_s: int = 300) -> F64:
    """A daily rhythm of amplitude 5 with unit noise, a seed per row."""
    t = np.arange(columns)
    noise = np.random.default_rng(seed).normal(size=(rows, columns))
    return 10 + 5 * np.sin(2 * np.pi * t * step_s / 86_400) + noise


class Alone:
    """One row of a signal, fitted once on a float32 window (n,) as stored, then stepped sample by sample."""

    def __init__(self, name: Signal, window: F32, step_s: int, *, offset: float = 0.0, watch: Watch = EITHER) -> None:
        self.column = len(window)
        self.offset = np.array([offset])
        ahead = horizon(step_s)
        self.ring = np.concatenate([window, np.full(ahead, np.nan, np.float32)])[None]
        finite = np.where(np.isfinite(window), window, np.float32(np.nan))[None]
        summary = summarise(np.sort(finite, axis=1), self.offset)
        self.floor = float(summary.floor[0])
        self.signal: SignalRows = signal_rows(name, step_s, ahead, 1.0, watch)
        self.signal.grow(1)
        self.signal.fit(np.array([0]), window[None], self.offset, summary, np.array([self.column - 1]))

    def step(self, sample: np.float32) -> float:
        """Judge a sample, which may be NaN, and go on to the next column; returns its score."""
        row = np.array([0])
        self.signal.open(row, self.column, self.ring, self.offset)
        self.signal.judge(row, np.array([sample], np.float64))
        self.ring[0, self.column % self.ring.shape[1]] = sample
        self.signal.absorb(row, self.column, self.ring)
        self.column += 1
        return float(self.signal.score[0])
