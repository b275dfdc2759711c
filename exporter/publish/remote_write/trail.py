"""What was written last of each row of one family: what is new, what only repeats, what has ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.publish.remote_write.wire import STALE_BITS, Ints, Words

F64 = npt.NDArray[np.float64]

NEVER = np.iinfo(np.int64).min
_UNSENT, _LIVE, _ENDED, _WAITING = range(4)  # WAITING: ended, and a sample from before the end has been counted


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be written: rows, values as bits, times (n,) each; ``late``: samples from before an end of theirs."""

    rows: Ints
    bits: Words
    times_ms: Ints
    late: int


class Trail:
    """The newest time written for each row, and whether the series goes on. For one thread at a time.

    Times of a row only ever grow: a sample as old as the newest written one is a repeat and left out, a marker comes
    at least a millisecond after the last sample, and a sample from before a marker is left out and counted.
    """

    def __init__(self, newest_ms: Ints) -> None:
        """``newest_ms`` (rows,): up to when somebody else has written each row before (NEVER: not at all)."""
        self.newest_ms = newest_ms.copy()
        self._phase = np.full(len(newest_ms), _UNSENT, np.int8)
        self._start(np.flatnonzero(newest_ms != NEVER))

    def _start(self, written: Ints) -> None:
        self._phase[written] = _WAITING  # what comes again of the time before is no loss

    def admit(self, rows: Ints, newest_ms: Ints) -> None:
        """Rows (n,) have new owners; ``newest_ms`` is as above, for all rows (at least as many as before)."""
        more = len(newest_ms) - len(self._phase)
        self.newest_ms = np.concatenate([self.newest_ms, np.full(more, NEVER, np.int64)])
        self._phase = np.concatenate([self._phase, np.full(more, _UNSENT, np.int8)])
        self.newest_ms[rows], self._phase[rows] = newest_ms[rows], _UNSENT
        self._start(rows[newest_ms[rows] != NEVER])

    def append(self, rows: Ints, values: F64, times_ms: Ints) -> Due:
        """What is to be written of these samples, when nothing is said about other rows."""
        fresh = ~np.isnan(values) & (times_ms > self.newest_ms[rows])
        rows, times_ms = rows[fresh], times_ms[fresh]
        self.newest_ms[rows], self._phase[rows] = times_ms, _LIVE
        return Due(rows, np.ascontiguousarray(values[fresh]).view(np.uint64), times_ms, 0)

    def due(self, rows: Ints, values: F64, times_ms: Ints, cycle_ms: int) -> Due:
        """What a cycle has to write, when it publishes these rows (n,) and no others of the family.

        A gap (NaN) is not published. Rows that were written and are not published any more get the stale marker: at
        the time of the sample that has no value, or of the cycle.
        """
        shown = ~np.isnan(values)
        late = shown & (times_ms < self.newest_ms[rows]) & (self._phase[rows] == _ENDED)
        self._phase[rows[late]] = _WAITING
        ends_ms = np.full(len(self._phase), cycle_ms, np.int64)
        ends_ms[rows] = times_ms
        going_on = np.zeros(len(self._phase), np.bool_)
        going_on[rows[shown]] = True
        ended = np.flatnonzero((self._phase == _LIVE) & ~going_on)
        new, markers = self.append(rows, values, times_ms), self._end(ended, ends_ms[ended])
        return Due(
            np.concatenate([new.rows, markers.rows]),
            np.concatenate([new.bits, markers.bits]),
            np.concatenate([new.times_ms, markers.times_ms]),
            int(np.count_nonzero(late)),
        )

    def end(self, rows: Ints, time_ms: int) -> Due:
        """Markers for those of the rows that go on."""
        live = rows[self._phase[rows] == _LIVE]
        return self._end(live, np.full(len(live), time_ms, np.int64))

    def end_all(self, time_ms: int) -> Due:
        """Markers for all rows that go on."""
        return self.end(np.arange(len(self._phase)), time_ms)

    def _end(self, rows: Ints, times_ms: Ints) -> Due:
        times_ms = np.maximum(times_ms, self.newest_ms[rows] + 1)
        self.newest_ms[rows], self._phase[rows] = times_ms, _ENDED
        return Due(rows, np.full(len(rows), STALE_BITS, np.uint64), times_ms, 0)
