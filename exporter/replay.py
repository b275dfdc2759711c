"""Replay: the verdicts that the exporter gives over a stretch of history, many fits at a time.

A fit is disposable: it follows from the window before it and from nothing else. So the fits of one series at successive
hours are independent of each other and can be made and stepped through together, as the rows of one batch, with the
same kernels and the same policy as live. Nothing is known in advance: each fit sees its window, each sample is judged
once against what came before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.config.schema import Query
from exporter.judging import FIT_EVERY_S, horizon, warming_s
from exporter.models.floors import Summary, summarise
from exporter.models.rows import ModelRows, model_rows
from exporter.models.tails import LEAST_SAMPLES
from exporter.verdict import Bands, apply_policy
from exporter.window import as_cells, suitable_offset

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_BLOCK_CELLS = 1 << 19  # cells of the windows that are fitted together: small enough for the processor's cache


@dataclass(frozen=True, slots=True)
class History:
    """One series as the exporter meets it: `value` (cycles,) the newest sample at each cycle, NaN where there is no new
    one; `first_cycle` the number of the first cycle (its time / interval); `stable_hash` of the labels, which says when
    the series is fitted."""

    value: F64
    first_cycle: int
    stable_hash: int = 0


class Replay:
    """Replays series of one query; keeps room for the models between calls, no state.

    `fit_every_s`: live it is an hour; less shows what is lost by that.
    """

    def __init__(self, query: Query, fit_every_s: int = FIT_EVERY_S) -> None:
        self._query = query
        self._columns = query.window_s // query.step_s
        self._cycles = max(1, fit_every_s // query.interval_s)
        self._ahead = horizon(query.step_s)
        self._block = max(1, _BLOCK_CELLS // self._columns)
        self._models: dict[str, ModelRows] = {}
        for choice in query.models:
            model = model_rows(choice, query.step_s, self._ahead, query.sensitivity, query.interval_s)
            model.grow(self._block)
            self._models[choice.name] = model

    def run(self, history: History) -> dict[str, Bands]:
        """Verdicts of each model at each cycle (cycles,); NaN where there was no new sample or no verdict."""
        cycles = len(history.value)
        value = np.where(np.isfinite(history.value), history.value, np.nan)  # no samples at all, as live
        history = replace(history, value=value)
        found = {name: Bands(*(np.full(cycles, np.nan) for _ in range(4))) for name in self._models}
        if cycles == 0:
            return found
        first_column, columns = self._to_columns(history)
        for due in self._blocks(history):
            end = self._column_of(due) - 1
            cells = _windows(columns, end - self._columns + 1 - first_column, self._columns + self._ahead)
            self._run_block(history, due, end, cells, found)
        return found

    def _column_of(self, cycle: I64) -> I64:
        """The column that is open at a cycle."""
        return -(-cycle * self._query.interval_s // self._query.step_s)

    def _to_columns(self, history: History) -> tuple[int, F64]:
        """The number of the first column, and the last sample of each column."""
        column = self._column_of(history.first_cycle + np.arange(len(history.value)))
        filled = ~np.isnan(history.value)
        columns = np.full(int(column[-1] - column[0]) + 1, np.nan)
        columns[column[filled] - column[0]] = history.value[filled]  # ascending: the last write of a column stands
        return int(column[0]), columns

    def _blocks(self, history: History) -> Iterator[I64]:
        """The cycles at which the series is fitted, as live, some at a time."""
        first, count = history.first_cycle, len(history.value)
        start = first - (first + history.stable_hash) % self._cycles
        due = np.arange(start, first + count, self._cycles)
        return (due[i : i + self._block] for i in range(0, len(due), self._block))

    def _run_block(self, history: History, due: I64, end: I64, cells: F64, found: dict[str, Bands]) -> None:
        """Fit the windows that end with columns `end` and judge the cycles that those fits serve."""
        rows = np.arange(len(due))
        offset, ring, summary = self._centre(cells)
        values, last = np.ascontiguousarray(ring[:, : self._columns]), np.full(len(due), self._columns - 1)
        seen = ~np.isnan(values)
        if not seen.any():
            return
        first = seen.argmax(axis=1)
        for model in self._models.values():
            model.fit(rows, values, offset, summary, last)
        opened = np.full(len(due), -1)
        for ahead in range(self._cycles):
            # Columns are counted from the start of each row's window, which makes them equal for almost all rows.
            column = self._column_of(due + ahead) - end + self._columns - 1
            self._move_to(rows, opened, column, ring, offset)
            opened = column
            at = due + ahead - history.first_cycle
            inside = rows[(at >= 0) & (at < len(history.value))]
            fresh = inside[~np.isnan(history.value[at[inside]])]
            warm = (column - first) * self._query.step_s >= warming_s(self._query)
            fresh = fresh[(summary.valid >= LEAST_SAMPLES)[fresh] & warm[fresh]]
            self._judge(fresh, at[fresh], history.value, offset, found)

    def _centre(self, cells: F64) -> tuple[F64, F32, Summary]:
        """Offsets, centred cells and summaries of the windows."""
        offset = np.zeros(len(cells))
        ring = as_cells(cells, offset[:, None])
        summary = summarise(np.sort(ring[:, : self._columns], axis=1), offset)
        offset = suitable_offset(summary.median, summary.low, summary.high)
        if offset.any():
            ring = as_cells(cells, offset[:, None])
            summary = summarise(np.sort(ring[:, : self._columns], axis=1), offset)
        return offset, ring, summary

    def _move_to(self, rows: I64, opened: I64, column: I64, ring: F32, offset: F64) -> None:
        """Absorb the columns that have become final, and open the next ones."""
        moved = rows[column != opened]
        for one in np.unique(column[moved]).tolist():
            part = moved[column[moved] == one]
            for model in self._models.values():
                if opened[part[0]] >= 0:
                    model.absorb(part, one - 1, ring)
                model.open(part, one, ring, offset)

    def _judge(self, rows: I64, at: I64, value: F64, offset: F64, found: dict[str, Bands]) -> None:
        for name, model in self._models.items():
            model.judge(rows, value[at] - offset[rows])
            got, shift = model.verdicts, offset[rows]
            bands = Bands(got.score[rows], got.expected[rows] + shift, got.lower[rows] + shift, got.upper[rows] + shift)
            bands = apply_policy(self._query, value[at], bands)
            out = found[name]
            out.score[at], out.expected[at] = bands.score, bands.expected
            out.lower[at], out.upper[at] = bands.lower, bands.upper


def _windows(columns: F64, start: I64, length: int) -> F64:
    """Stretches of `length` columns from each of `start` (B,) on; NaN before the first and after the last column."""
    at = start[:, None] + np.arange(length)
    inside = (at >= 0) & (at < len(columns))
    return np.where(inside, columns[np.clip(at, 0, len(columns) - 1)], np.nan)
