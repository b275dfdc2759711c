"""Stretches of time of many series at once: the algebra that an alert rule needs, on arrays.

Times are whole numbers (evaluations of a rule); a run holds its start, and its end no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NOTHING: I64 = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs (n,) of rows, sorted by row and start; those of a row neither overlap nor touch."""

    row: I64
    start: I64
    end: I64

    def __len__(self) -> int:
        """How many there are."""
        return len(self.row)

    def part(self, chosen: Mask | I64) -> Runs:
        """Some of them, in this order."""
        return Runs(self.row[chosen], self.start[chosen], self.end[chosen])

    def cut(self, first: int, end: int) -> Runs:
        """What lies in first to end."""
        start, stop = np.maximum(self.start, first), np.minimum(self.end, end)
        return Runs(self.row, start, stop).part(start < stop)


NO_RUNS = Runs(_NOTHING, _NOTHING, _NOTHING)


def united(row: I64, start: I64, end: I64, gap: int = 0) -> Runs:
    """The runs (n,) in any order as such that neither overlap nor touch; a gap of up to `gap` between two is closed."""
    if len(row) == 0:
        return NO_RUNS
    order = np.lexsort((start, row))
    row, start, end = row[order], start[order], end[order]
    first = chains(Runs(row, start, end), gap)
    return Runs(row[first], start[first], np.maximum.reduceat(end, np.flatnonzero(first)))


def chains(runs: Runs, gap: int) -> Mask:
    """Which of sorted runs (n,), which may overlap, begins after all of its row before have ended, and `gap` more."""
    row, start, end = runs.row, runs.start, runs.end
    wide = int(end.max() - start.min()) + gap + 2  # rows laid out one behind the other, so that none reaches another
    behind = row * wide
    reach = np.maximum.accumulate(behind + (end - start.min()))
    first = np.ones(len(row), np.bool_)
    first[1:] = behind[1:] + (start[1:] - start.min()) > reach[:-1] + gap
    first[1:] |= row[1:] != row[:-1]
    return first


def counted(parts: tuple[Runs, ...]) -> tuple[I64, I64, I64]:
    """(row, time, runs that hold it from then on) at each moment where that number changes, all runs taken together."""
    row = np.concatenate([each for part in parts for each in (part.row, part.row)])
    time = np.concatenate([each for part in parts for each in (part.start, part.end)])
    change = np.concatenate([np.repeat([1, -1], len(part)) for part in parts]).astype(np.int64)
    return summed(row, time, change)


def summed(row: I64, time: I64, change: I64) -> tuple[I64, I64, I64]:
    """(row, time, sum of the changes (n,) of the row up to then), sorted, once for each row and time."""
    if len(row) == 0:
        return _NOTHING, _NOTHING, _NOTHING
    order = np.lexsort((time, row))
    row, time = row[order], time[order]
    first = np.ones(len(row), np.bool_)
    first[1:] = (row[1:] != row[:-1]) | (time[1:] != time[:-1])
    # Each row's changes come to nothing at its end, so that one running sum serves all.
    total = np.cumsum(np.add.reduceat(change[order], np.flatnonzero(first)))
    return row[first], time[first], total


def where_true(row: I64, time: I64, true: Mask) -> Runs:
    """Runs from each moment (n,) at which something is true to the next one of its row; sorted, the last is false."""
    begin = np.flatnonzero(true)
    return united(row[begin], time[begin], time[begin + 1]) if len(begin) else NO_RUNS


def common(parts: tuple[Runs, ...]) -> Runs:
    """Where all of some have a run."""
    row, time, held = counted(parts)
    return where_true(row, time, held == len(parts))


def of_mask(mask: Mask) -> tuple[I64, I64, I64]:
    """(row, first column, last column) of the stretches of a mask (rows, columns) that are true."""
    edge = np.zeros((len(mask), mask.shape[1] + 2), np.int8)
    edge[:, 1:-1] = mask
    change = np.diff(edge, axis=1)
    row, first = np.nonzero(change == 1)
    return row.astype(np.int64), first.astype(np.int64), np.nonzero(change == -1)[1].astype(np.int64) - 1
