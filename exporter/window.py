"""The window: one ring of float32 for all series of a tenant x query, a row per series, a column per step.

Column c holds a row's value at time c * step, that is its last sample in ((c-1) * step, c * step]; a cell without a
sample is NaN. Values are centred by a float64 offset per row, so that float32 keeps the digits that matter. The column
that time is in now is the *open* one: its cell may still change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.cells import Cells
from exporter.kernels import kernel
from exporter.samples import SampleBatch

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NEVER = np.iinfo(np.int64).min
_LARGEST = 1e37  # beyond it differences of two cells would overflow float32: a gap in the window, though still judged
_LARGE_CONSTANT = 65536.0  # a constant above it is centred at once: its noise may only begin later
_COUNTED = 4096  # rows
_LATE, _DUPLICATE, _FUTURE, _OLD, _NOT_FINITE = range(5)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the samples of one batch that did not simply land in their cell; `late` ones filled a gap."""

    late: int
    duplicate: int
    future: int
    too_old: int
    not_finite: int


@kernel
def _cell(value: float, offset: float) -> float:
    centred = value - offset
    return centred if abs(centred) <= _LARGEST else np.nan


def as_cells(value: F64, offset: F64) -> F32:
    """Values as the window holds them: centred, float32, NaN where differences would overflow float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        centred = value - offset
    return np.where(np.abs(centred) <= _LARGEST, centred, np.nan).astype(np.float32)


@kernel
def _write_grid(
    rows: I64, first: I64, time_ms: I64, value: F64, step_ms: int, head: int, ring: F32, offset: F64, counts: I64
) -> None:
    """Samples of a range query: one per grid time, which replace what the cells hold."""
    size = ring.shape[1]
    for i in range(len(rows)):
        row = rows[i]
        if row < 0:
            continue
        for k in range(first[i], first[i + 1]):
            column = -(-time_ms[k] // step_ms)
            if column > head:
                counts[_FUTURE] += 1
            elif column <= head - size:
                counts[_OLD] += 1
            else:
                ring[row, column % size] = _cell(value[k], offset[row])


@kernel
def _note_distance(distances: I64, now: int) -> None:
    """Remember the distance of the two newest samples, next to the two distances before it."""
    distances[0], distances[1], distances[2] = distances[1], distances[2], now


@kernel
def _goes_on(time_ms: I64, k: int, end: int, column: int, step_ms: int) -> bool:
    """Whether the next sample, if there is one, is of the same column."""
    return k < end and -(-time_ms[k] // step_ms) == column


@kernel
def _write_newest(
    rows: I64,
    first: I64,
    time_ms: I64,
    value: F64,
    step_ms: int,
    head: int,
    ring: F32,
    offset: F64,
    last_ms: I64,
    last_value: F64,
    distances: I64,
    counts: I64,
) -> None:
    """Samples with their true times, oldest first: a newer one replaces what its cell holds, an older one that is the
    last of its column may only fill a gap. So the last one says what a cell holds, as in a range read: nothing where it
    is NaN or infinite, whatever came before it."""
    size = ring.shape[1]
    for i in range(len(rows)):
        row = rows[i]
        if row < 0:
            continue
        for k in range(first[i], first[i + 1]):
            time = time_ms[k]
            column = -(-time // step_ms)
            if column > head:
                counts[_FUTURE] += 1
                continue
            if time == last_ms[row]:
                counts[_DUPLICATE] += 1
                continue
            finite = np.isfinite(value[k])
            counts[_NOT_FINITE] += not finite
            cell = _cell(value[k], offset[row]) if finite else np.nan
            if time > last_ms[row]:
                if finite:
                    if last_ms[row] != NEVER:
                        _note_distance(distances[row], time - last_ms[row])
                    last_ms[row] = time
                    last_value[row] = value[k]
                if column > head - size:
                    ring[row, column % size] = cell
            elif column <= head - size:
                counts[_OLD] += finite
            elif np.isnan(ring[row, column % size]) and not _goes_on(time_ms, k + 1, first[i + 1], column, step_ms):
                counts[_LATE] += finite  # anything else older than the newest sample was seen in an earlier look-back
                ring[row, column % size] = cell


@kernel
def _gather(rows: I64, end_column: I64, ring: F32, out: F32) -> None:
    size = ring.shape[1]
    n = out.shape[1]
    for i in range(len(rows)):
        at = (end_column[i] - n + 1) % size
        for k in range(n):
            out[i, k] = ring[rows[i], at]
            at += 1
            if at == size:
                at = 0


def _ranges(first: I64, value: F64, which: I64) -> F64:
    """Median, minimum and maximum of the finite samples of some series: (3, len(which)), NaN without any.

    Series with equally many samples are sorted together, with numpy's own sort.
    """
    counts = np.diff(first)[which]
    out = np.full((3, len(which)), np.nan)
    for count in np.unique(counts[counts > 0]).tolist():  # over lengths, of which there are few
        of = np.flatnonzero(counts == count)
        samples = value[first[which[of], None] + np.arange(count)]
        samples[~np.isfinite(samples)] = np.nan
        samples.sort(axis=1)
        finite = count - np.isnan(samples).sum(axis=1)
        places = np.array([finite // 2, np.zeros_like(finite), finite - 1])
        out[:, of] = samples[np.arange(len(of)), np.minimum(places, count - 1)]
    return out


def suitable_offset(level: F64, low: F64, high: F64) -> F64:
    """The offset by which values around `level`, between `low` and `high`, should be centred. All arrays (n,).

    0 where float32 resolves the range well by itself, so that the stored bits do not depend on when the window was
    read; otherwise the level rounded to a multiple of a power of two above 16 ranges, which changes rarely. NaN: 0.
    """
    with np.errstate(over="ignore"):  # a range beyond float64 needs no offset either
        spread, size = high - low, np.abs(level)
    coarse = np.where(spread > 0, size * 2.0**-24 > spread * 2.0**-12, size >= _LARGE_CONSTANT)
    coarse &= np.isfinite(level) & np.isfinite(spread)
    safe = np.where(coarse, np.where(spread > 0, spread, size * 2.0**-20), 1.0)
    unit = 2.0 ** np.ceil(np.log2(16.0 * safe))
    with np.errstate(over="ignore"):  # the next multiple of the unit may be beyond float64
        offset = np.round(np.where(coarse, level, 0.0) / unit) * unit
    return np.where(coarse & np.isfinite(offset), offset, 0.0)


class Window:
    """Ring of samples. Arrays by row grow together.

    ring (rows, size) float32; (rows,) offset, last_ms and last_value of the newest sample.

    `size` columns are kept: the window itself and `slack` more, so that a fit up to `slack` columns back still sees a
    whole window. `head` is the newest column that may be written.
    """

    def __init__(self, columns: int, slack: int, step_s: int) -> None:
        self.columns = columns
        self.step_s = step_s
        self.size = columns + slack
        self.head = NEVER
        self._cells = Cells(self.size)
        self._most_present = NEVER, 0  # as of this head
        self._filled = 0  # rows whose cells are empty or hold samples; what comes after them has never been touched
        self.offset: F64 = np.empty(0)
        self.last_ms: I64 = np.empty(0, np.int64)
        self.last_value: F64 = np.empty(0)
        self._distances: I64 = np.empty((0, 3), np.int64)

    @property
    def ring(self) -> F32:
        """The cells (rows, size). Not to be kept: it is valid until `grow`."""
        return self._cells.array

    @property
    def rows(self) -> int:
        """Rows there is room for."""
        return len(self.offset)

    @property
    def window_bytes(self) -> int:
        """Memory of all arrays, as far as it has been used."""
        return self._filled * self.size * 4 + 6 * self.offset.nbytes

    def column_of(self, time_s: float) -> int:
        """The column a sample at this time falls in: the next multiple of the step at or after it."""
        return int(-(-time_s // self.step_s))

    def grow(self, rows: int) -> None:
        """Make room for at least this many rows; these are empty then. Growing again takes a reserve of an eighth,
        whose cells take no memory before they are needed. Raises MemoryError; then everything is as it was."""
        if rows > self.rows:
            self._grow_arrays(rows + rows // 8 - self.rows if self.rows else rows)
        if rows > self._filled:
            self.ring[self._filled : rows] = np.nan
            self._filled = rows

    def _grow_arrays(self, more: int) -> None:
        """All of them or none: kernels write to whatever row they are given."""
        last_ms = np.concatenate([self.last_ms, np.full(more, NEVER, np.int64)])
        last_value = np.concatenate([self.last_value, np.full(more, np.nan)])
        distances = np.concatenate([self._distances, np.zeros((more, 3), np.int64)])
        offset = np.concatenate([self.offset, np.zeros(more)])
        self._cells.grow(len(offset))
        self.last_ms, self.last_value, self._distances, self.offset = last_ms, last_value, distances, offset

    def clear(self, rows: I64) -> None:
        """Empty rows, for a new owner."""
        self.ring[rows] = np.nan
        self.offset[rows] = 0.0
        self.last_ms[rows] = NEVER
        self.last_value[rows] = np.nan
        self._distances[rows] = 0

    def advance(self, head: int) -> None:
        """Move the newest writable column forward; the columns it passes are emptied. Going back does nothing."""
        if self.head == NEVER or head - self.head >= self.size:
            self.ring[: self._filled] = np.nan
        else:
            self.empty(range(self.head + 1, head + 1))
        self.head = max(head, self.head)

    def empty(self, columns: Iterable[int]) -> None:
        """Empty some columns, none of them further back than the window."""
        for column in columns:  # few
            self.ring[: self._filled, column % self.size] = np.nan

    def keep_newest(self, rows: I64) -> None:
        """Empty the newest column but for these rows (n,), negative ones among them: others have no value there."""
        others = np.ones(self._filled, np.bool_)
        others[rows[rows >= 0]] = False
        self.ring[: self._filled][others, self.head % self.size] = np.nan

    def write_grid(self, rows: I64, batch: SampleBatch) -> Written:
        """Write the samples of a range query. rows (n,) of the batch's series; negative rows are left out."""
        counts = np.zeros(5, np.int64)
        _write_grid(rows, batch.first, batch.time_ms, batch.value, self.step_s * 1000, self.head, self.ring,
                    self.offset, counts)  # fmt: skip
        return Written(*counts.tolist())

    def write_newest(self, rows: I64, batch: SampleBatch) -> Written:
        """Write samples that carry their true times and remember the newest of each row (`last_ms`, `last_value`).

        A sample newer than the row's last one replaces its cell; an older one only fills a gap; an equal time is a
        duplicate; one beyond the open column is refused. NaN and infinite values are no samples (some servers never
        even return them), but end what their cell has held: a range read gives a column its last sample, too, and
        whoever starts later must find the same window.
        """
        counts = np.zeros(5, np.int64)
        _write_newest(rows, batch.first, batch.time_ms, batch.value, self.step_s * 1000, self.head, self.ring,
                      self.offset, self.last_ms, self.last_value, self._distances, counts)  # fmt: skip
        return Written(*counts.tolist())

    def place(self, rows: I64, batch: SampleBatch, new: Mask) -> None:
        """Choose the offset of new rows from the samples that came with them; `new` (n,) marks them among `rows`."""
        self.offset[rows[new]] = suitable_offset(*_ranges(batch.first, batch.value, np.flatnonzero(new)))

    def newest_columns(self) -> I64:
        """The column of each row's newest sample (rows,); NEVER where there was none."""
        columns = -(-self.last_ms // (self.step_s * 1000))
        return np.where(self.last_ms == NEVER, NEVER, columns)

    def spacing_s(self) -> F64:
        """The usual distance of each row's samples (rows,) in seconds; 0 while it is not known.

        The median of the last three distances: one gap, or one sample out of turn, is no habit.
        """
        known = np.sort(self._distances, axis=1)
        middle = np.where(known[:, 0] > 0, known[:, 1], np.where(known[:, 1] > 0, known[:, 1], known[:, 2]))
        return middle / 1000.0

    def gather(self, rows: I64, end_column: I64) -> F32:
        """The windows of `rows` (B,) that end with `end_column` (B,), oldest first: (B, columns) float32."""
        out = np.empty((len(rows), self.columns), np.float32)
        _gather(rows, end_column, self.ring, out)
        return out

    def most_present(self, span_s: int) -> int:
        """The most rows that have a sample in the same column, of the columns of the last `span_s` but the open one.

        Counted once a column: 0.1 CPU s for 100,000 rows and 288 columns.
        """
        if self._most_present[0] != self.head:
            count = min(span_s // self.step_s, self.size - 1)
            columns = (self.head - 1 - np.arange(count)) % self.size
            present = np.zeros(count, np.int64)
            for start in range(0, self._filled, _COUNTED):  # blocks of rows, so that little memory is taken
                present += np.count_nonzero(~np.isnan(self.ring[start : start + _COUNTED][:, columns]), axis=0)
            self._most_present = self.head, int(present.max(initial=0))
        return self._most_present[1]

    def recentre(self, rows: I64, offset: F64) -> None:
        """Give rows (n,) new offsets (n,): the cells keep their true values as far as float32 holds them."""
        for row, new in zip(rows.tolist(), offset.tolist(), strict=True):  # rare: a level that moved far
            cells = self.ring[row].astype(np.float64) + (self.offset[row] - new)
            cells[np.abs(cells) > _LARGEST] = np.nan
            self.ring[row] = cells
            self.offset[row] = new
