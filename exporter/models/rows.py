"""The fits of all rows of a window: one class per model and per slow signal, the same six verbs.

    grow, clear    follow the window's rows
    fit            from the rows' windows, about hourly
    open           what is expected of the open column, and the band
    judge          score and band of the newest samples (a model returns them: whoever asks keeps what it needs)
    absorb         the open column has become final

All numbers are centred as in the window. A model gives score and band, a slow signal a score only. A new model is a new
class here and its kernels in a file of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import numpy.typing as npt

from exporter.models import judgement, robust_band, shesd, shift, stale
from exporter.models.floors import Summary
from exporter.models.order import F32, F64
from exporter.models.settings import ModelSettings, RobustBandSettings, ShesdSettings, Signal

I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Verdicts:
    """Verdicts on B samples (B,): NaN where there is none. Centred, like the window."""

    score: F64
    expected: F64
    lower: F64
    upper: F64


Record = robust_band.Fitted | judgement.Context | shift.Fitted | shift.Context | stale.Fitted


class FittedRows(Protocol):
    """The fits of a model or a signal for the rows of one window."""

    name: str

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""

    def clear(self, rows: I64) -> None:
        """Forget what is known of these rows."""

    def fit(self, rows: I64, values: F32, offset: F64, summary: Summary, end_column: I64) -> None:
        """Fit rows (B,) on their windows values (B, n), which end with columns end_column (B,)."""

    def open(self, rows: I64, column: int, ring: F32, offset: F64) -> None:
        """Work out expectation and band of `rows` at `column`; rows without a fit for it get none."""

    def absorb(self, rows: I64, column: int, ring: F32) -> None:
        """Take the final `column` of `rows` into what the fit keeps current."""


class ModelRows(FittedRows, Protocol):
    """One model's fits."""

    def judge(self, rows: I64, values: F64) -> Verdicts:
        """Judge the centred newest samples values (B,) of `rows` against the open column."""


class SignalRows(FittedRows, Protocol):
    """One slow signal's fits; judging goes into `score` (N,), NaN where there is none."""

    score: F64

    def judge(self, rows: I64, values: F64) -> None:
        """Judge the centred newest samples values (B,) of `rows` against the open column."""


def _grow(record: Record, spare: Record) -> None:
    """Append the rows of `spare` to each array of a record of arrays, in place."""
    for field in fields(record):
        joined = np.concatenate([getattr(record, field.name), getattr(spare, field.name)])
        setattr(record, field.name, joined)


def _put(record: Record, rows: I64, part: Record) -> None:
    """Write the rows of `part` into a record of arrays."""
    for field in fields(record):
        getattr(record, field.name)[rows] = getattr(part, field.name)


class RobustBandRows:
    """`robust_band` for the rows of a window."""

    name = RobustBandSettings.name

    def __init__(self, step_s: int, horizon: int, sensitivity: float, interval_s: int | None = None) -> None:
        self._shape = robust_band.Shape.of(step_s, horizon, interval_s)
        self._limit = judgement.threshold(step_s) * sensitivity
        self._fitted = robust_band.Fitted.empty(0, horizon)
        self._context = judgement.Context.empty(0)

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        more = rows - len(self._fitted.valid)
        _grow(self._fitted, robust_band.Fitted.empty(more, self._shape.horizon))
        _grow(self._context, judgement.Context.empty(more))

    def clear(self, rows: I64) -> None:
        """Forget what is known of these rows."""
        _put(self._fitted, rows, robust_band.Fitted.empty(len(rows), self._shape.horizon))
        _put(self._context, rows, judgement.Context.empty(len(rows)))

    def fit(self, rows: I64, values: F32, offset: F64, summary: Summary, end_column: I64) -> None:
        """Fit rows (B,) on their windows values (B, n), which end with columns end_column (B,)."""
        _put(self._fitted, rows, robust_band.fit(values, offset, summary, end_column, self._shape))

    def open(self, rows: I64, column: int, ring: F32, offset: F64) -> None:
        """Work out expectation and band of `rows` at `column`; rows without a fit for it get none."""
        fit, now = self._fitted, self._context
        judgement.open_column(
            rows, column, ring, offset, self._shape.period, self._shape.hour, self._shape.novelty, self._limit,
            fit.valid, fit.origin, fit.first, fit.tail, fit.extreme, fit.daily, fit.future, fit.holt, fit.median,
            fit.floor, fit.spread, fit.never_negative, now.centre, now.weight, now.expected, now.lower, now.upper,
            now.start,
        )  # fmt: skip

    def judge(self, rows: I64, values: F64) -> Verdicts:
        """Judge the centred newest samples values (B,) of `rows` against the open column."""
        fit, now = self._fitted, self._context
        score, lower, upper = (np.empty(len(rows)) for _ in range(3))
        judgement.judge(
            rows, values, self._limit, fit.tail, fit.extreme, now.centre, now.weight, now.start, now.lower, now.upper,
            score, lower, upper,
        )  # fmt: skip
        return Verdicts(score, now.expected[rows], lower, upper)

    def absorb(self, rows: I64, column: int, ring: F32) -> None:
        """Take the final `column` of `rows` into what the fit keeps current."""
        fit, now = self._fitted, self._context
        judgement.absorb(rows, column, ring, fit.extreme, fit.future, fit.origin, fit.holt, now.centre)


class ShesdRows:
    """`shesd` for the rows of a window: centre and half width by row, made at the fit."""

    name = ShesdSettings.name

    def __init__(self, settings: ShesdSettings, step_s: int, horizon: int, sensitivity: float) -> None:
        self._settings = settings
        self._period = 86_400 // step_s
        self._horizon = horizon
        self._sensitivity = sensitivity
        self._future: F32 = np.empty((0, horizon), np.float32)
        self._half_width: F32 = np.empty(0, np.float32)
        self._origin: I64 = np.empty(0, np.int64)
        self._centre: F32 = np.empty(0, np.float32)

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        more = rows - len(self._origin)
        self._future = np.concatenate([self._future, np.full((more, self._horizon), np.nan, np.float32)])
        self._half_width = np.concatenate([self._half_width, np.full(more, np.nan, np.float32)])
        self._origin = np.concatenate([self._origin, np.zeros(more, np.int64)])
        self._centre = np.concatenate([self._centre, np.full(more, np.nan, np.float32)])

    def clear(self, rows: I64) -> None:
        """Forget what is known of these rows."""
        self._future[rows] = np.nan
        self._half_width[rows] = np.nan
        self._centre[rows] = np.nan

    def fit(self, rows: I64, values: F32, offset: F64, summary: Summary, end_column: I64) -> None:
        """Fit rows (B,) on their windows values (B, n), which end with columns end_column (B,)."""
        found = shesd.fit(values, summary.floor, end_column, self._period, self._horizon, self._settings)
        self._future[rows] = found.centre
        self._half_width[rows] = found.half_width
        self._origin[rows] = end_column

    def open(self, rows: I64, column: int, ring: F32, offset: F64) -> None:
        """Look up the expectation of `rows` at `column`; rows without a fit for it get none."""
        place = column - self._origin[rows] - 1
        served = (place >= 0) & (place < self._horizon)
        self._centre[rows] = np.where(served, self._future[rows, np.clip(place, 0, self._horizon - 1)], np.nan)

    def judge(self, rows: I64, values: F64) -> Verdicts:
        """Judge the centred newest samples values (B,) of `rows` against the open column."""
        centre = self._centre[rows].astype(np.float64)
        half = self._half_width[rows].astype(np.float64) * self._sensitivity
        score = shesd.score(values, centre, self._half_width[rows], self._sensitivity)
        return Verdicts(score, centre, centre - half, centre + half)

    def absorb(self, rows: I64, column: int, ring: F32) -> None:
        """Nothing: this model only knows its fit."""


def model_rows(
    settings: ModelSettings, step_s: int, horizon: int, sensitivity: float, interval_s: int | None = None
) -> ModelRows:
    """The rows' fits for one configured model. `horizon`: columns after its last one that a fit must serve;
    `interval_s`: how often a series is judged, once a column unless said otherwise."""
    match settings:
        case RobustBandSettings():
            return RobustBandRows(step_s, horizon, sensitivity, interval_s)
        case ShesdSettings():
            return ShesdRows(settings, step_s, horizon, sensitivity)


# --- slow signals -----------------------------------------------------------------------------------------------------


class ShiftRows:
    """`shift` for the rows of a window."""

    name = "shift"

    def __init__(self, step_s: int, horizon: int, sensitivity: float, watch: shift.Watch) -> None:
        self._shape = shift.Shape.of(step_s, horizon)
        self._limit = shift.EVIDENCE_AT_ONE * sensitivity
        self._watch = watch
        self._fitted = shift.Fitted.empty(0, self._shape)
        self._context = shift.Context.empty(0)
        self.score: F64 = np.empty(0)

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        more = rows - len(self.score)
        _grow(self._fitted, shift.Fitted.empty(more, self._shape))
        _grow(self._context, shift.Context.empty(more))
        self.score = np.concatenate([self.score, np.full(more, np.nan)])

    def clear(self, rows: I64) -> None:
        """Forget what is known of these rows."""
        _put(self._fitted, rows, shift.Fitted.empty(len(rows), self._shape))
        _put(self._context, rows, shift.Context.empty(len(rows)))
        self.score[rows] = np.nan

    def fit(self, rows: I64, values: F32, offset: F64, summary: Summary, end_column: I64) -> None:
        """Fit rows (B,) on their windows values (B, n), which end with columns end_column (B,)."""
        _put(self._fitted, rows, shift.fit(values, summary, end_column, self._shape))

    def open(self, rows: I64, column: int, ring: F32, offset: F64) -> None:
        """Sum up what the newest samples of `rows` at `column` are added to; rows without a fit for it get no score."""
        fit, now, shape, watch = self._fitted, self._context, self._shape, self._watch
        shift.open_column(
            rows, column, ring, offset, shape.period, shape.horizon, shape.lengths, watch.deviation, watch.share,
            fit.origin, fit.first, fit.season, now.season, now.least, now.total, now.count,
            now.high, now.low,
        )  # fmt: skip

    def judge(self, rows: I64, values: F64) -> None:
        """Judge the centred newest samples values (B,) of `rows` against the open column, into `score`."""
        fit, now, watch = self._fitted, self._context, self._watch
        shift.judge(
            rows, values, watch.above, watch.below, self._limit, fit.tail, fit.need, now.season, now.least, now.total,
            now.count, now.high, now.low, self.score,
        )  # fmt: skip

    def absorb(self, rows: I64, column: int, ring: F32) -> None:
        """Nothing: the sums of a column are taken from the window."""


class StaleRows:
    """`stale` for the rows of a window."""

    name = "stale"

    def __init__(self, step_s: int, horizon: int, sensitivity: float) -> None:
        self._step_s = step_s
        self._horizon = horizon
        self._limit = stale.EVIDENCE_AT_ONE * sensitivity
        self._fitted = stale.Fitted.empty(0)
        self._ready = np.empty(0, np.bool_)
        self.score: F64 = np.empty(0)

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        more = rows - len(self.score)
        _grow(self._fitted, stale.Fitted.empty(more))
        self._ready = np.concatenate([self._ready, np.zeros(more, np.bool_)])
        self.score = np.concatenate([self.score, np.full(more, np.nan)])

    def clear(self, rows: I64) -> None:
        """Forget what is known of these rows."""
        _put(self._fitted, rows, stale.Fitted.empty(len(rows)))
        self._ready[rows] = False
        self.score[rows] = np.nan

    def fit(self, rows: I64, values: F32, offset: F64, summary: Summary, end_column: I64) -> None:
        """Fit rows (B,) on their windows values (B, n), which end with columns end_column (B,)."""
        _put(self._fitted, rows, stale.fit(values, summary, end_column, self._step_s))

    def open(self, rows: I64, column: int, ring: F32, offset: F64) -> None:
        """See which of `rows` have a fit for `column` and a day of history; the others get no score."""
        ahead = column - self._fitted.origin[rows]
        old = column - self._fitted.first[rows] >= stale.LEAST_DAYS * 86_400 / self._step_s
        self._ready[rows] = (ahead > 0) & (ahead <= self._horizon) & old

    def judge(self, rows: I64, values: F64) -> None:
        """Judge the centred newest samples values (B,) of `rows` against the open column, into `score`."""
        fit = self._fitted
        stale.judge(rows, values, self._limit, self._ready, fit.tail, fit.equal, fit.run, fit.last, self.score)

    def absorb(self, rows: I64, column: int, ring: F32) -> None:
        """Take the final `column` of `rows` into the current runs."""
        fit = self._fitted
        stale.absorb(rows, column, ring, fit.origin, fit.equal, fit.run, fit.last)


def signal_rows(name: Signal, step_s: int, horizon: int, sensitivity: float, watch: shift.Watch) -> SignalRows:
    """The rows' fits for one slow signal; `horizon` and `sensitivity` as for a model, `watch`: which shifts count."""
    if name == "shift":
        return ShiftRows(step_s, horizon, sensitivity, watch)
    return StaleRows(step_s, horizon, sensitivity)
