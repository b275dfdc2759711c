"""The past judged at every cycle, as live, and not once a column: what the exporter would have said each interval."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from exporter.config.schema import Query
from exporter.intake import Reads
from exporter.judging import FIT_EVERY_S
from exporter.past import Past, Slice, put, scatter
from exporter.replay import Histories, Replayed

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


class EveryCycle(Past):
    """Walks a query's past column by column, and judges the newest sample of each cycle in them.

    The window before is read by the reader of the query; what is judged by `fine`, whose step is the interval. The
    columns of slices are cycles, their times those of the cycles. Memory: as Past; a slice is an hour at
    least, 72 bytes a cycle and series with two models.
    """

    def __init__(self, query: Query, fine: Reads, pool: Executor, stop: threading.Event) -> None:
        super().__init__(query, pool, stop)
        self._fine = fine
        self._every = query.step_s // query.interval_s

    def advance(self, reader: Reads, last_column: int, told: Callable[[float], None]) -> Slice:
        """As Past; `told` hears of columns, which may be parts of one."""
        first = self.next_column
        found = super().advance(reader, last_column, lambda cycles: told(cycles / self._every))
        cycles = self._first_cycle(first) + np.arange(found.value.shape[1])
        return Slice(cycles * self._query.interval_s * 1000, found.value, found.bands, found.signals)

    def _first_cycle(self, column: int) -> int:
        """The first cycle of a column."""
        return (column - 1) * self._every + 1

    def _most_columns(self) -> int:
        return max(1, FIT_EVERY_S // self._query.step_s, super()._most_columns() // self._every)

    def _read(self, reader: Reads, first: int, columns: int) -> F64:
        """The newest sample of each cycle (series, cycles), gaps NaN."""
        cells = np.full((self._table.rows, columns * self._every), np.nan)
        interval_s, first_cycle = self._query.interval_s, self._first_cycle(first)
        span = first_cycle * interval_s, (first + columns - 1) * self._query.step_s
        for answer in self._fine.range(*span, max(1, self._table.live)):
            batch, rows = self._placed(answer.batch)
            more = self._table.rows - len(cells)
            cells = np.concatenate([cells, np.full((more, cells.shape[1]), np.nan)]) if more else cells
            scatter(batch, rows, first_cycle, interval_s * 1000, cells)
            self._go_on()
        return cells

    def _keep(self, first: int, cells: F64) -> None:
        """Move the window on: a column keeps the last sample in it."""
        by_column = cells.reshape(len(cells), -1, self._every)
        last = np.full(by_column.shape[:2], np.nan)
        for cycle in range(self._every):  # over the cycles of a column, all series at once
            last = np.where(np.isnan(by_column[:, :, cycle]), last, by_column[:, :, cycle])
        super()._keep(first, last)

    def _parts(self, series: int, columns: int) -> list[slice]:
        return super()._parts(series, columns // self._every)

    def _histories(self, first: int, cells: F64, part: slice) -> Histories:
        """The window before, each column by its last cycle, and the cycles of the slice."""
        size = self._window.size
        order = np.arange(first - size, first) % size
        before = np.full((part.stop - part.start, size * self._every), np.nan)
        before[:, self._every - 1 :: self._every] = (
            self._window.ring[part][:, order].astype(np.float64) + self._window.offset[part, None]
        )
        hashes = np.array([self._table.stable_hash(row) for row in range(part.start, part.stop)], np.int64)
        return Histories(np.concatenate([before, cells[part]], axis=1), self._first_cycle(first - size), hashes)

    def _judge_part(self, first: int, cells: F64, part: slice, found: Replayed) -> None:
        if self._stop.is_set():
            return
        histories = self._histories(first, cells, part)
        replay = self._replay()
        put(found, part, replay.run_all(histories, since=self._window.size * self._every))
        self._replays.put(replay)
