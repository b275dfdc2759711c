"""Keeps one window up to date: the whole of it at the start, the newest samples each cycle, what was missed between.

After an update at time T every column up to the one that ends at or before T is complete, however long the server or
this process was away; an update that fails changes nothing that the next one does not repair.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from exporter.config.schema import Query
from exporter.kernels import kernel
from exporter.names import COLLISION
from exporter.samples import SampleBatch
from exporter.series import REJECTED, RIVAL, UNKNOWN, SeriesTable, refused_for, rivals, waiting
from exporter.source.reach import Cut, Why, is_short
from exporter.source.scan import Answer
from exporter.succession import beside, inherit, overtake, succeed
from exporter.window import NEVER, Window, Written

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

LOOKBACK_S = 300.0  # Prometheus' own
_MISSED_SAMPLES = 2.5  # a series is missing when this many of its usual sample spacings have passed
_LOOK_AGAIN = 1.5  # intervals: half a one more than needed, for samples that become visible late
_NAMED = 3  # of the series that are shed
_NAMED_CHARS = 300
_NAMED_RIVALS = 100

log = logging.getLogger(__name__)


class Reads(Protocol):
    """How a query is read (``source.reader.Reader``)."""

    plain: bool

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """Answers that together hold every grid time from start to end."""

    def newest(self, time_s: int, lookback_s: int) -> Answer:
        """The newest samples at a time."""

    def repeats(self, time_s: int, since_s: int) -> bool:
        """Whether the values at `time_s` only repeat samples from before `since_s`."""


@runtime_checkable
class Probes(Protocol):
    """Whoever reads a server can ask it, too, why it gave less than was asked for."""

    def why_short(self, start_s: int, began_s: int, end_s: int) -> Why:
        """Why the values of a span begin at `began_s` only."""


@dataclass(slots=True)
class Intaken:
    """What one update brought: counts for the receipt, the rows that are new, and the server's remarks.

    ``shed``: series of the newest answer that have no row because of a limit; ``shed_names`` a few of them.
    ``cut``: a span of which the server gave the end only. ``refused``: series of it that are not watched for another
    reason, by reason (names.REFUSALS).
    """

    new_rows: list[I64] = field(default_factory=list)
    series: int = 0
    samples: int = 0
    filled_columns: int = 0
    repeated: bool = False
    shed: int = 0
    shed_names: tuple[str, ...] = ()
    refused: dict[str, int] = field(default_factory=dict)
    slow_scans: int = 0
    cut: Cut | None = None
    remarks: Counter[str] = field(default_factory=Counter)
    texts: set[str] = field(default_factory=set)

    def note(self, answer: Answer) -> None:
        """Count what an answer says about itself."""
        self.samples += len(answer.batch.value)
        self.slow_scans += not answer.fast
        self.remarks.update(
            warning=len(answer.warnings),
            info=len(answer.infos),
            partial=int(answer.partial),
            histogram=answer.batch.histograms,
        )
        self.texts.update(answer.warnings, answer.infos)

    def note_written(self, written: Written) -> None:
        """Count the samples that did not simply land in their cell."""
        self.remarks.update(
            late=written.late, future=written.future, too_old=written.too_old, not_finite=written.not_finite
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """The series and values of an answer."""

    label_hash: npt.NDArray[np.uint64]
    value: F64


def _columns(batch: SampleBatch, step_s: int, first: int) -> slice:
    """The columns, counted from `first`, over which the samples of a range read are spread."""
    if len(batch.time_ms) == 0:
        return slice(0)
    low, high = int(batch.time_ms.min()), int(batch.time_ms.max())
    return slice(max(0, -(-low // (step_s * 1000)) - first), max(0, -(-high // (step_s * 1000)) - first + 1))


@kernel
def _repeated_rows(rows: I64, seen: npt.NDArray[np.bool_]) -> int:
    """Mark the second and later mention of a row as REJECTED; returns how many there were."""
    repeated = 0
    for i in range(len(rows)):
        if rows[i] < 0:
            continue
        if seen[rows[i]]:
            rows[i] = REJECTED
            repeated += 1
        else:
            seen[rows[i]] = True
    return repeated


Loading = Callable[[float], None]


def _unheard(_share: float) -> None:
    """Nobody wants to know how far reading the window has come."""


class Intake:
    """Reads one query into a window and a series table; ``complete`` is the newest column known to be final."""

    def __init__(
        self, query: Query, reader: Reads, table: SeriesTable, window: Window, loading: Loading = _unheard
    ) -> None:
        """`loading` hears which share of the window has been read, while that is done for the first time."""
        self._loading = loading
        self._query = query
        self._reader = reader
        self._table = table
        self._window = window
        self._complete: int | None = None
        self._covered_s: int = 0
        self._previous: _Seen | None = None
        self._new: list[I64] = []  # rows that no update that went well has told of
        self._unplaced = np.zeros(0, np.bool_)  # rows without a sample yet
        self._shed, self._shed_names = 0, tuple[str, ...]()
        self._refused: dict[str, int] = {}
        self._contested: F64 = np.empty(0)  # since when (s) each row has had a rival; NaN: it has none, inf: it is told
        self._relabels = bool(query.relabel_configs or query.drop_labels)
        self._least_ms = 1000.0 * _LOOK_AGAIN * query.interval_s
        self._cuts: list[Cut] = []

    @property
    def loaded(self) -> bool:
        """Whether the window has been read once."""
        return self._complete is not None

    def is_before(self, time_s: int) -> bool:
        """Whether this time lies so far before the last read that the clock must have been set back."""
        return time_s < self._covered_s - LOOKBACK_S

    def absent_after_s(self) -> F64:
        """Age in seconds of each row's newest sample (rows,) beyond which its series counts as missing."""
        cycle = np.full(self._window.rows, float(self._query.interval_s))
        if not self._reader.plain:
            return cycle
        spacing_s = self._window.spacing_s()
        usual = np.where(spacing_s > 0, _MISSED_SAMPLES * spacing_s, LOOKBACK_S)
        allowed: F64 = np.maximum(cycle, usual)
        return allowed

    def cuts(self, time_s: int) -> list[Cut]:
        """The spans of the window that ends at a time which the server has not given, oldest first."""
        low_s = time_s - self._query.window_s
        self._cuts = [cut for cut in self._cuts if cut.missing_s(low_s, time_s)]
        return self._cuts

    def use(self, reader: Reads) -> None:
        """Read through another reader from now on; what has been read stays."""
        self._reader = reader

    def update(self, time_s: int) -> Intaken:
        """Bring the window up to `time_s` (unix seconds). Raises SourceError; what was read until then stays."""
        taken = Intaken()
        open_column = self._window.column_of(time_s)
        lookback_s = self._lookback(time_s)
        newest = self._reader.newest(time_s, lookback_s)  # first: a clock that is wrong must not move the window
        self._window.advance(open_column)
        if not self.loaded:  # what is there now must not find the rows taken by what has left since
            self._rows_of(newest.batch)
        self._fill(time_s, open_column, lookback_s, self._present_rivals(newest.batch), taken)
        self._take_newest(newest, time_s, taken)
        taken.new_rows, self._new = self._new, []
        taken.shed, taken.shed_names, taken.refused = self._shed, self._shed_names, self._refused
        self._complete = time_s // self._query.step_s
        self._covered_s = time_s
        return taken

    def _lookback(self, time_s: int) -> int:
        """How far back the newest samples are asked for.

        To the last read and half an interval more; at the start as far as the server itself would look.
        """
        usual = math.ceil(_LOOK_AGAIN * self._query.interval_s)
        if self._complete is None:
            return max(usual, int(LOOKBACK_S))
        missed = time_s - self._covered_s
        return missed + usual - self._query.interval_s if 0 <= missed <= LOOKBACK_S else usual

    def _fill(
        self, time_s: int, open_column: int, lookback_s: int, present: npt.NDArray[np.uint64], taken: Intaken
    ) -> None:
        """Read the columns that no newest-sample read has completed and none at `time_s` will.

        `present`: hashes of the series that are there beside those whose labels relabelling gives them.
        """
        first = self._first_missing(time_s, open_column, lookback_s)
        if first >= open_column:
            return
        step_s = self._query.step_s
        hint = self._table.live if self._complete is not None else None
        read = np.zeros(open_column - first, np.bool_)
        began_ms = NEVER
        if not self._reader.plain:  # their cells hold values of before their end
            self._window.empty(range(first, open_column))
        for answer in self._reader.range(first * step_s, (open_column - 1) * step_s, hint):
            taken.note(answer)
            if len(answer.batch.time_ms):
                oldest_ms = int(answer.batch.time_ms.min())
                began_ms = oldest_ms if began_ms == NEVER else min(began_ms, oldest_ms)
            batch, rows = succeed(answer.batch, self._rows_of(answer.batch), present)
            self._make_sole(batch, rows, taken)
            self._window.write_grid(rows, batch)
            if not self.loaded:
                read[_columns(answer.batch, step_s, first)] = True
                self._loading(float(read.mean()))
        taken.filled_columns = open_column - first
        if began_ms != NEVER:
            self._note_cut(first * step_s, began_ms // 1000, (open_column - 1) * step_s, taken)

    def _first_missing(self, time_s: int, open_column: int, lookback_s: int) -> int:
        """The first column that has to be read; the open one where there is none."""
        if self._complete is None:
            return open_column - self._window.size
        if self._reader.plain and time_s - self._covered_s <= lookback_s:
            return open_column
        return max(self._complete + 1, open_column - self._window.size)

    def _note_cut(self, first_s: int, began_s: int, end_s: int, taken: Intaken) -> None:
        """Remember a span of the window that the server has left out without a word.

        Of a window read for the first time it is told, too, when the server has nothing older. What is missing later on
        may not have been measured: then it counts only when the server reads no further back.
        """
        start_s = max(first_s, end_s - self._query.window_s)
        if not is_short(start_s, began_s, end_s, self._query.step_s) or not isinstance(self._reader, Probes):
            return
        why = self._reader.why_short(start_s, began_s, end_s)
        if why is Why.LIMIT or (why is not Why.YOUNG and not self.loaded):
            taken.cut = Cut(start_s, began_s, end_s, why)
            taken.remarks["truncated"] += 1
            self._cuts.append(taken.cut)

    def _take_newest(self, answer: Answer, time_s: int, taken: Intaken) -> None:
        taken.note(answer)
        batch = answer.batch
        taken.series = batch.series
        if not self._reader.plain and self._is_repeat(batch, time_s):
            taken.repeated = True
            return
        if not self._reader.plain:  # of a batch no more than that: it holds the whole body of the answer
            self._previous = _Seen(batch.label_hash, batch.value)
        rows = self._rows_of(batch)
        if self._relabels:
            self._settle_rivals(batch, rows, time_s)
        self._note_unwatched(batch, rows)
        self._make_sole(batch, rows, taken)
        taken.note_written(self._window.write_newest(rows, batch))
        if not self._reader.plain and self._window.head * self._query.step_s == time_s:
            self._window.keep_newest(rows)  # as a range read has it: the value at the time that ends the column

    def _is_repeat(self, batch: SampleBatch, time_s: int) -> bool:
        """Whether an expression's values are the last cycle's, only repeated by the server's look-back.

        The server is asked only when every value is the same to the bit, which live series hardly ever are.
        """
        before = self._previous
        if before is None or batch.series == 0 or not np.array_equal(batch.label_hash, before.label_hash):
            return False
        if not np.array_equal(batch.value, before.value, equal_nan=True):
            return False
        return self._reader.repeats(time_s, self._covered_s)

    def _rows_of(self, batch: SampleBatch) -> I64:
        """The rows of a batch's series, made where they are new and there is room; those of refused ones are negative.

        At most ``query.most_series`` have a row: those that have one keep it, newcomers are shed.
        """
        rows = self._table.find(batch)
        new_rows = self._table.admit(batch, rows, self._query.most_series)
        if len(new_rows):
            self._make_room(new_rows)
            self._unplaced[new_rows] = True
            self._new.append(new_rows)
        return rows

    def _make_room(self, new_rows: I64) -> None:
        """Raises MemoryError; then it is as if their series had not been seen, and the next update tries again."""
        try:
            self._window.grow(self._table.rows)
            missing = max(0, self._table.rows - len(self._unplaced))
            self._unplaced = np.append(self._unplaced, np.zeros(missing, np.bool_))
        except MemoryError:
            self._table.forget(new_rows)
            raise

    def _make_sole(self, batch: SampleBatch, rows: I64, taken: Intaken) -> None:
        """Make the rows of a batch, in place, those to write it to: each once, ready to take samples."""
        if self._unplaced.any():
            first = (rows >= 0) & self._unplaced[np.maximum(rows, 0)]
            self._window.place(rows, batch, first)
            self._unplaced[rows[first]] = False
        repeated = _repeated_rows(rows, np.zeros(self._table.rows, np.bool_))
        collisions = int(np.count_nonzero((rows == REJECTED) | rivals(rows))) - repeated
        taken.remarks.update(duplicate=repeated, collision=collisions)

    def _present_rivals(self, batch: SampleBatch) -> npt.NDArray[np.uint64]:
        """The hashes of those series in the newest answer that are there beside others with their published labels."""
        if not self._relabels:
            return np.empty(0, np.uint64)
        rows = self._table.find(batch)
        overtake(self._table, batch, rows, self._least_ms)
        return batch.label_hash[beside(batch, rows, self._least_ms)]

    def _settle_rivals(self, batch: SampleBatch, rows: I64, time_s: int) -> None:
        """Give the rows of series that are gone, in place, to those that relabelling makes the same. A series that has
        been there beside the one with the row for as long as a server looks back is reported."""
        overtake(self._table, batch, rows, self._least_ms)
        near = beside(batch, rows, self._least_ms)
        wanting = np.flatnonzero(rivals(rows))
        if len(wanting) == 0:
            self._contested = np.empty(0)
            return
        wanted = RIVAL - rows[wanting]
        held = np.isin(wanted, rows[rows >= 0])
        self._tell_rivals(batch, wanting[near[wanting]], wanted[near[wanting]], time_s)
        rows[wanting[held & ~near[wanting]]] = UNKNOWN  # it has ended and is only still within the look-back
        gone = ~held & (time_s - self._window.last_ms[wanted] / 1000.0 > self.absent_after_s()[wanted])
        inherit(self._table, batch, rows, wanting[gone])

    def _tell_rivals(self, batch: SampleBatch, wanting: I64, wanted: I64, time_s: int) -> None:
        """Report series that are there beside those with their rows, at the start at once."""
        since = np.full(self._window.rows, np.nan)
        since[: len(self._contested)] = self._contested
        began_s = np.where(np.isnan(since[wanted]), time_s, since[wanted])
        due = time_s - began_s >= (LOOKBACK_S if self.loaded else 0)
        for index, row in zip(wanting[due][:_NAMED_RIVALS].tolist(), wanted[due].tolist(), strict=False):
            self._table.note_rival(batch, index, row)
        self._contested = np.full(len(since), np.nan)
        self._contested[wanted] = np.where(due, np.inf, began_s)

    def _note_unwatched(self, batch: SampleBatch, rows: I64) -> None:
        """Count the series of the newest answer that are not watched, by why."""
        self._refused = refused_for(rows)
        collisions = int(np.count_nonzero((rows == REJECTED) | rivals(rows)))
        if collisions:
            self._refused[COLLISION] = collisions
        shed = np.flatnonzero(waiting(rows))
        self._shed = len(shed)
        names = (batch.label_bytes(index).decode("utf-8", "replace") for index in shed[:_NAMED].tolist())
        self._shed_names = tuple(name[:_NAMED_CHARS] for name in names)
