"""Replay: the verdicts that the exporter gives over a stretch of history, many fits at a time.

A fit is disposable: it follows from the window before it and from nothing else. So the fits of a series at successive
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
from exporter.judging import FIT_EVERY_S, horizon, warming_s, watch
from exporter.models.floors import Summary, summarise
from exporter.models.rows import FittedRows, ModelRows, SignalRows, model_rows, signal_rows
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


@dataclass(frozen=True, slots=True)
class Histories:
    """Several series of one query: `value` (series, k) at cycles `first_cycle`, `first_cycle + every`, ...; what lies
    between them is not known and not judged. `stable_hash` (series,) as above."""

    value: F64
    first_cycle: int
    stable_hash: I64
    every: int = 1


@dataclass(frozen=True, slots=True)
class Replayed:
    """Verdicts (series, k) by model, scores (series, k) by slow signal; NaN where there is no sample or no verdict."""

    bands: dict[str, Bands]
    signals: dict[str, F64]

    def told(self) -> npt.NDArray[np.bool_]:
        """Which samples have a verdict (series, k): those that live publishes, as any model gives them a score."""
        told: npt.NDArray[np.bool_] = np.any([~np.isnan(bands.score) for bands in self.bands.values()], axis=0)
        return told


class Replay:
    """Replays series of one query; keeps room for the models between calls, no state. For one thread at a time.

    `fit_every_s`: live it is an hour; less shows what is lost by that.
    """

    def __init__(self, query: Query, fit_every_s: int = FIT_EVERY_S) -> None:
        self._query = query
        self._columns = query.window_s // query.step_s
        self._cycles = max(1, fit_every_s // query.interval_s)
        self._ahead = ahead = horizon(query.step_s)
        self._block = max(1, _BLOCK_CELLS // self._columns)
        self._models: dict[str, ModelRows] = {
            choice.name: model_rows(choice, query.step_s, ahead, query.sensitivity, query.interval_s)
            for choice in query.models
        }
        self._signals: dict[str, SignalRows] = {
            name: signal_rows(name, query.step_s, ahead, query.sensitivity, watch(query)) for name in query.signals
        }
        self._fitted: tuple[FittedRows, ...] = (*self._models.values(), *self._signals.values())
        for model in self._fitted:
            model.grow(self._block)

    def run(self, history: History) -> dict[str, Bands]:
        """Verdicts of each model at each cycle (cycles,); NaN where there was no new sample or no verdict."""
        one = Histories(history.value[None], history.first_cycle, np.array([history.stable_hash], np.int64))
        found = self.run_all(one).bands
        return {name: Bands(each.score[0], each.expected[0], each.lower[0], each.upper[0])
                for name, each in found.items()}  # fmt: skip

    def run_all(self, histories: Histories, since: int = 0) -> Replayed:
        """Verdicts on the samples from the `since`-th on, k less that many of each series; those before it are history.

        Live has a whole window, and up to an hour more, before the first one: so should `since`.
        """
        series, count = histories.value.shape
        found = self._nothing((series, max(0, count - since)))
        if series == 0 or count <= since:
            return found
        value = np.where(np.isfinite(histories.value), histories.value, np.nan)  # no samples at all, as live
        histories = replace(histories, value=value)
        first_column, columns = self._to_columns(histories)
        for of, due in self._blocks(histories, since):
            end = self._column_of(due) - 1
            start = end - self._columns + 1 - first_column
            self._run_block(histories, of, due, _windows(columns, of, start, self._columns + self._ahead), since, found)
        untold = ~found.told()
        for score in found.signals.values():
            score[untold] = np.nan  # live shows signals beside verdicts only
        return found

    def _nothing(self, shape: tuple[int, int]) -> Replayed:
        return Replayed(
            {name: Bands(*(np.full(shape, np.nan) for _ in range(4))) for name in self._models},
            {name: np.full(shape, np.nan) for name in self._signals},
        )

    def _column_of(self, cycle: I64) -> I64:
        """The column that is open at a cycle."""
        return -(-cycle * self._query.interval_s // self._query.step_s)

    def _to_columns(self, histories: Histories) -> tuple[int, F64]:
        """The number of the first column, and the last sample of each column (series, columns)."""
        value = histories.value
        column = self._column_of(histories.first_cycle + np.arange(value.shape[1]) * histories.every)
        columns = np.full((len(value), int(column[-1] - column[0]) + 1), np.nan)
        of, at = np.nonzero(~np.isnan(value))
        columns[of, column[at] - column[0]] = value[of, at]  # ascending: the last write of a column stands
        return int(column[0]), columns

    def _blocks(self, histories: Histories, since: int) -> Iterator[tuple[I64, I64]]:
        """(numbers of the series, cycles at which they are fitted) as live, some at a time."""
        first = histories.first_cycle + since * histories.every
        end = histories.first_cycle + histories.value.shape[1] * histories.every
        starts = first - (first + histories.stable_hash) % self._cycles
        each = [np.arange(start, end, self._cycles) for start in starts.tolist()]
        of = np.repeat(np.arange(len(each)), [len(due) for due in each])
        due = np.concatenate(each)
        return ((of[i : i + self._block], due[i : i + self._block]) for i in range(0, len(due), self._block))

    def _run_block(self, histories: Histories, of: I64, due: I64, cells: F64, since: int, found: Replayed) -> None:
        """Fit windows, and judge the samples that those fits serve: `of` and `due` (B,), `cells` (B, columns)."""
        rows = np.arange(len(due))
        offset, ring, summary = self._centre(cells)
        values, last = np.ascontiguousarray(ring[:, : self._columns]), np.full(len(due), self._columns - 1)
        seen = ~np.isnan(values)
        if not seen.any():
            return
        first = seen.argmax(axis=1)
        for model in self._fitted:
            model.fit(rows, values, offset, summary, last)
        # Columns are counted from the start of each row's window, which makes them equal for almost all rows.
        start = self._column_of(due) - self._columns
        opened = np.full(len(due), -1)
        for ahead in range(self._cycles):
            column = self._column_of(due + ahead) - start
            self._move_to(rows, opened, column, ring, offset)
            opened = column
            at, between = np.divmod(due + ahead - histories.first_cycle, histories.every)
            fresh = rows[(between == 0) & (at >= since) & (at < histories.value.shape[1])]
            fresh = fresh[~np.isnan(histories.value[of[fresh], at[fresh]])]
            warm = (column - first)[fresh] * self._query.step_s >= warming_s(self._query)
            fresh = fresh[(summary.valid >= LEAST_SAMPLES)[fresh] & warm]
            if len(fresh):
                value = histories.value[of[fresh], at[fresh]]
                self._judge(fresh, value, offset[fresh], (of[fresh], at[fresh] - since), found)

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
        for one in np.unique(column[moved]).tolist() if len(moved) else ():
            part = moved[column[moved] == one]
            for model in self._fitted:
                if opened[part[0]] >= 0:
                    model.absorb(part, one - 1, ring)
                model.open(part, one, ring, offset)

    def _judge(self, rows: I64, value: F64, offset: F64, at: tuple[I64, I64], found: Replayed) -> None:
        for name, model in self._models.items():
            got, out = model.judge(rows, value - offset), found.bands[name]
            bands = Bands(got.score, got.expected + offset, got.lower + offset, got.upper + offset)
            bands = apply_policy(self._query, value, bands)
            out.score[at], out.expected[at] = bands.score, bands.expected
            out.lower[at], out.upper[at] = bands.lower, bands.upper
        for name, signal in self._signals.items():
            signal.judge(rows, value - offset)
            found.signals[name][at] = signal.score[rows]


def _windows(columns: F64, of: I64, start: I64, length: int) -> F64:
    """Stretches of `length` columns of series `of` (B,), from `start` (B,) on; NaN before the first and after the last
    column of `columns` (series, C)."""
    at = start[:, None] + np.arange(length)
    inside = (at >= 0) & (at < columns.shape[1])
    return np.where(inside, columns[of[:, None], np.clip(at, 0, columns.shape[1] - 1)], np.nan)
