"""`stale`: is the value frozen, though values of this series do change?

The length of the current run of equal values is compared with the run lengths that the window has seen, sample by
sample (the length reached so far at each of its samples), by an exponential tail; the run still going on is left out,
or a frozen series would become its own norm within hours. Evidence divided by 5 is the score: above 1 frozen. Long runs
are normal where they have been seen before, at night or between rare events; where few have been seen, the next one may
well be longer.

Two samples are equal when they differ by at most a thousandth of the scale floor (floors.py). Gaps are passed over:
they neither lengthen a run nor end it, so equal values on both sides of an outage are one run, of the samples seen.
Formulas: the models' page, section 4, with a tail as in its section 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.models.floors import Summary
from exporter.models.order import F32, F64
from exporter.models.tails import LEAST_SAMPLES, LN10, MOST_EVIDENCE, tail_size

I64 = npt.NDArray[np.int64]

EVIDENCE_AT_ONE = 5.0
LEAST_RUN = 3  # equal values; a shorter run is never frozen
LEAST_DAYS = 1.0  # of history, before which there is no score
_EQUAL_SHARE = 1e-3  # of the scale floor
_LEAST_SCALE = 2.0  # samples
_LEAST_SCALE_S = 300.0
# Where r runs only have reached the length at which the tail begins, its scale is at least 2 / (1 + r) of that length:
# a few runs do not tell how long the next may be. Without it rare events gave up to 0.1 false signals a week.
_DOUBT = 2.0

# Places in the last axis of `Fitted.tail`.
_JUMP, _UPPER, _SCALE = range(3)


@dataclass(slots=True)
class Fitted:
    """The fit of each row: `origin` the last column it has seen, `first` the first one with a sample, the `tail` of run
    lengths (N, 3), how far `equal` values may differ; and what moves on with each column: the length of the current
    `run` and its `last` sample (NaN: none yet). A row without a verdict has a NaN tail."""

    origin: I64
    first: I64
    tail: F64
    equal: F64
    run: I64
    last: F64

    @staticmethod
    def empty(rows: int) -> Fitted:
        """Room for so many rows, none of them fitted."""
        return Fitted(
            origin=np.zeros(rows, np.int64),
            first=np.zeros(rows, np.int64),
            tail=np.full((rows, 3), np.nan),
            equal=np.full(rows, np.nan),
            run=np.zeros(rows, np.int64),
            last=np.full(rows, np.nan),
        )


def least_scale(step_s: int) -> float:
    """The smallest scale of a tail, in samples: two samples, or five minutes."""
    return max(_LEAST_SCALE, _LEAST_SCALE_S / step_s)


def fit(values: F32, summary: Summary, end_column: I64, step_s: int) -> Fitted:
    """Fit every row of a batch on its window.

    Shapes: values (B, n) float32 centred, oldest first, gaps NaN, the last one of column end_column (B,). No tail, so
    no verdict, with fewer than 24 samples before the current run, or where it holds more than half of all samples: such
    a series is taken to be constant. Cost: about 0.005 ms a row of 2016 samples, 0.01 ms of 4032.
    """
    rows, n = values.shape
    fitted = Fitted.empty(rows)
    fitted.origin[:] = end_column
    fitted.first[:] = end_column - n + 1 + np.argmax(np.isfinite(values), axis=1)
    fitted.equal[:] = _EQUAL_SHARE * summary.floor
    _fit_runs(values, fitted.equal, least_scale(step_s), fitted.run, fitted.last, fitted.tail)
    return fitted


@kernel
def _fit_runs(values: F32, equal: F64, least_scale: float, runs: I64, lasts: F64, tail: F64) -> None:
    """The current run of each row, and the tail of the lengths reached at the samples before it."""
    n = values.shape[1]
    times = np.empty(n + 1, np.int64)  # times[k]: at how many samples the run was k long
    for i in range(len(values)):
        times[:] = 0
        run, last, count = 0, np.nan, 0
        for t in range(n):
            x = np.float64(values[i, t])
            if not math.isfinite(x):
                continue
            run = run + 1 if abs(x - last) <= equal[i] else 1
            last = x
            times[run] += 1
            count += 1
        for length in range(1, run + 1):
            times[length] -= 1
        runs[i], lasts[i] = run, last
        if count - run >= max(run, LEAST_SAMPLES):
            _fit_tail(times, count - run, least_scale, tail[i])


@kernel
def _fit_tail(times: I64, count: int, least_scale: float, out: F64) -> None:
    """The exponential tail of `count` lengths, of which times[k] are k: as many runs have come that far."""
    size = tail_size(count)
    longer, total, upper = 0, 0, len(times) - 1
    while longer + times[upper] <= size:  # upper: the (size + 1)-th largest length
        longer += times[upper]
        total += times[upper] * upper
        upper -= 1
    beyond = (total - longer * upper) / size
    out[_JUMP] = math.log10(count / size)
    out[_UPPER] = upper
    out[_SCALE] = LN10 * max(beyond, least_scale, _DOUBT * upper / (1.0 + times[upper]))


@kernel
def judge(
    rows: I64,
    x: F64,
    limit: float,
    ready: npt.NDArray[np.bool_],
    tail: F64,
    equal: F64,
    run: I64,
    last: F64,
    score: F64,
) -> None:
    """Score of x[i], centred, for row rows[i] against the open column: evidence of the run it belongs to / `limit`.

    0 for fewer than three equal values. NaN, no score: a gap, a row that is not `ready` or has no tail.
    """
    for i in range(len(rows)):
        r = rows[i]
        score[r] = np.nan
        if not ready[r] or math.isnan(tail[r, _JUMP]) or math.isnan(x[i]):
            continue
        sample = np.float64(np.float32(x[i]))  # as the window stores it: its equals there must be its equals
        length = run[r] + 1 if abs(sample - last[r]) <= equal[r] else 1
        found = 0.0
        if length >= LEAST_RUN and length > tail[r, _UPPER]:
            found = min(MOST_EVIDENCE, tail[r, _JUMP] + (length - tail[r, _UPPER]) / tail[r, _SCALE])
        score[r] = found / limit


@kernel
def absorb(rows: I64, column: int, ring: F32, origin: I64, equal: F64, run: I64, last: F64) -> None:
    """Take the now final `column` into the current run of each of `rows` whose fit it comes after."""
    for r in rows:
        x = np.float64(ring[r, column % ring.shape[1]])
        if column <= origin[r] or not math.isfinite(x):
            continue
        run[r] = run[r] + 1 if abs(x - last[r]) <= equal[r] else 1
        last[r] = x
