"""The past of one query: its series read slice by slice in time order, judged by replay as the exporter would have.

Knows no sink: `Past.advance` gives batches of verdicts, whoever wants them. A column (a step) is judged once, by its
last sample, at the grid time that ends it: what the exporter shows at that moment, fits at the same cycles included.

Memory: the window of all series, 4 bytes a point, as much as the query's own window takes; and a slice of samples and
verdicts, 128 MiB, or an hour of columns where that is more (10 kB a series at steps of 5 minutes with two models).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config.schema import Query
from exporter.errors import AnomalyExporterError
from exporter.intake import LOOKBACK_S, Reads
from exporter.judging import FIT_EVERY_S, horizon
from exporter.replay import Histories, Replay, Replayed
from exporter.samples import SampleBatch
from exporter.series import SeriesTable
from exporter.succession import beside, overtake, succeed
from exporter.verdict import Bands
from exporter.window import Window, as_cells

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MOST_CELLS = 1 << 30  # of the window: 4 GiB, 500,000 series x 2016 points
_SLICE_BYTES = 128 << 20
_PART_CELLS = 1 << 20  # of the series that are judged together: 8 MiB
_PART_FITS = 1024  # of them: a third of a second, so that a stop is soon


class PastTooLarge(AnomalyExporterError):
    """The window of all series does not fit into MOST_CELLS."""


class Stopped(Exception):
    """The stop event was set in the middle of the work."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Verdicts of all series (n,) on some columns (t,): `times_ms` the grid times that end them, `value` (n, t) the
    judged samples, by model bands and by slow signal scores (n, t). NaN where there is no verdict."""

    times_ms: I64
    value: F64
    bands: dict[str, Bands]
    signals: dict[str, F64]


class Past:
    """Walks a query's past from one column on. Series are numbered as they are met. For one thread at a time.

    A call that raises has changed nothing that the same call, made again, would not repair.
    """

    def __init__(self, query: Query, pool: Executor, stop: threading.Event, *, most_cells: int = MOST_CELLS) -> None:
        self._query = query
        self._pool = pool
        self._stop = stop
        self._most_cells = most_cells
        self._table = SeriesTable(query.relabelling())
        self._beside = np.empty(0, np.uint64)  # hashes of series that are there beside those with their labels
        # A fit may be up to an hour older than the sample it judges, and wants a whole window before it.
        self._window = Window(query.window_s // query.step_s, horizon(query.step_s), query.step_s)
        self._unplaced = np.empty(0, np.bool_)  # series without a sample of the past yet
        self._replays: queue.SimpleQueue[Replay] = queue.SimpleQueue()
        self.next_column = 0

    @property
    def loaded(self) -> bool:
        """Whether `load` has been done."""
        return self.next_column > 0

    @property
    def series(self) -> int:
        """Series met so far."""
        return self._table.rows

    def labels(self, row: int) -> dict[str, str]:
        """Labels to publish of a series, without its name."""
        return self._table.labels(row)

    def load(self, reader: Reads, first_column: int, now_s: int) -> None:
        """Read the window before the first column to be judged. Raises SourceError, PastTooLarge, Stopped."""
        newest = reader.newest(now_s, int(LOOKBACK_S)).batch
        rows, least_ms = self._rows_of(newest), 1500.0 * self._query.interval_s  # under a limit they come before others
        overtake(self._table, newest, rows, least_ms)
        self._beside = newest.label_hash[beside(newest, rows, least_ms)]
        self._window.advance(first_column - 1)
        low = first_column - self._window.size
        for answer in reader.range(low * self._query.step_s, (first_column - 1) * self._query.step_s, None):
            batch, rows = self._placed(answer.batch)
            self._window.write_grid(rows, batch)
            self._go_on()
        self.next_column = first_column

    def advance(self, reader: Reads, last_column: int, told: Callable[[float], None]) -> Slice:
        """Read and judge the next columns, up to `last_column` at most, as many as fit into a slice.

        `told` hears how many columns of it are judged. Raises SourceError, PastTooLarge, Stopped.
        """
        first = self.next_column
        columns = max(0, min(last_column - first + 1, self._most_columns()))
        cells = self._read(reader, first, columns)
        found = self._judge(first, cells, told)
        self._keep(first, cells)
        self.next_column = first + columns
        cells[~found.told()] = np.nan
        times_ms = np.arange(first, first + columns) * self._query.step_s * 1000
        return Slice(times_ms, cells, found.bands, found.signals)

    def _most_columns(self) -> int:
        arrays = 1 + 4 * len(self._query.models) + len(self._query.signals)
        fitting = _SLICE_BYTES // (8 * arrays * max(1, self._table.rows))
        return max(1, FIT_EVERY_S // self._query.step_s, fitting)  # shorter ones would fit again and again

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Stopped

    # -- reading -------------------------------------------------------------------------------------------------------

    def _rows_of(self, batch: SampleBatch) -> I64:
        """The rows of a batch's series, made where they are new and there is room; others are negative."""
        rows = self._table.find(batch)
        self._table.admit(batch, rows, self._query.most_series)
        if self._table.rows * self._window.size > self._most_cells:
            raise PastTooLarge(
                f"more than {self._most_cells // self._window.size} series with {self._window.size} points each: "
                "watch fewer series, or a shorter window"
            )
        self._window.grow(self._table.rows)
        more = self._table.rows - len(self._unplaced)
        self._unplaced = np.append(self._unplaced, np.ones(more, np.bool_))
        return rows

    def _placed(self, batch: SampleBatch) -> tuple[SampleBatch, I64]:
        """A batch with its rows, centred by these samples where they are the first of their series; of series that
        relabelling makes the same only one at a time."""
        batch, rows = succeed(batch, self._rows_of(batch), self._beside)
        first = (rows >= 0) & self._unplaced[np.maximum(rows, 0)]
        if first.any():
            self._window.place(rows, batch, first)
            self._unplaced[rows[first]] = False
        return batch, rows

    def _read(self, reader: Reads, first: int, columns: int) -> F64:
        """The samples of a slice (series, columns), gaps NaN."""
        cells = np.full((self._table.rows, columns), np.nan)
        step_s = self._query.step_s
        hint = max(1, self._table.live)
        for answer in reader.range(first * step_s, (first + columns - 1) * step_s, hint) if columns else ():
            batch, rows = self._placed(answer.batch)
            more = self._table.rows - len(cells)
            cells = np.concatenate([cells, np.full((more, columns), np.nan)]) if more else cells
            scatter(batch, rows, first, step_s * 1000, cells)
            self._go_on()
        return cells

    def _keep(self, first: int, cells: F64) -> None:
        """Move the window on over a slice; of a long one only what it holds matters."""
        columns = cells.shape[1]
        self._window.advance(first + columns - 1)
        kept = range(max(0, columns - self._window.size), columns)
        for column in kept:  # over columns, all series at once
            at = (first + column) % self._window.size
            self._window.ring[: len(cells), at] = as_cells(cells[:, column], self._window.offset[: len(cells)])

    # -- judging -------------------------------------------------------------------------------------------------------

    def _judge(self, first: int, cells: F64, told: Callable[[float], None]) -> Replayed:
        shape, query = cells.shape, self._query
        found = Replayed(
            {model.name: Bands(*(np.full(shape, np.nan) for _ in range(4))) for model in query.models},
            {name: np.full(shape, np.nan) for name in query.signals},
        )
        parts = self._parts(*shape)
        working = [self._pool.submit(self._judge_part, first, cells, part, found) for part in parts]
        try:
            for done, part in enumerate(as_completed(working), 1):
                part.result()
                told(shape[1] * done / len(working))
                self._go_on()
        finally:
            for each in working:
                each.cancel()
        return found

    def _parts(self, series: int, columns: int) -> list[slice]:
        fits = 2 + columns * self._query.step_s // FIT_EVERY_S
        together = max(1, min(_PART_CELLS // (self._window.size + columns), _PART_FITS // fits))
        return [slice(at, min(at + together, series)) for at in range(0, series, together)]

    def _judge_part(self, first: int, cells: F64, part: slice, found: Replayed) -> None:
        """Judge some series: the window before them is history, the slice is judged."""
        if self._stop.is_set():
            return
        rows = np.arange(part.start, part.stop)
        order = np.arange(first - self._window.size, first) % self._window.size
        before = self._window.ring[part][:, order].astype(np.float64) + self._window.offset[part, None]
        every = self._query.step_s // self._query.interval_s
        hashes = np.array([self._table.stable_hash(row) for row in rows.tolist()], np.int64)
        histories = Histories(
            np.concatenate([before, cells[part]], axis=1), (first - self._window.size) * every, hashes, every
        )
        replay = self._replay()
        put(found, part, replay.run_all(histories, since=self._window.size))
        self._replays.put(replay)

    def _replay(self) -> Replay:
        try:
            return self._replays.get_nowait()
        except queue.Empty:  # one for each thread of the pool
            return Replay(self._query)


def scatter(batch: SampleBatch, rows: I64, first: int, every_ms: int, cells: F64) -> None:
    """Write samples into cells (series, times), of which the k-th ends at (first + k) `every_ms`; negative rows and
    foreign times are left out."""
    row = np.repeat(rows, np.diff(batch.first))
    at = -(-batch.time_ms // every_ms) - first
    inside = (row >= 0) & (at >= 0) & (at < cells.shape[1])
    cells[row[inside], at[inside]] = batch.value[inside]


def put(found: Replayed, part: slice, of_part: Replayed) -> None:
    """Write the verdicts of some series."""
    for name, bands in of_part.bands.items():
        out = found.bands[name]
        out.score[part], out.expected[part] = bands.score, bands.expected
        out.lower[part], out.upper[part] = bands.lower, bands.upper
    for name, score in of_part.signals.items():
        found.signals[name][part] = score
