"""Keeps the verdicts of one window: fits each row about hourly, judges each newest sample once, knows each row's state.

Everything happens on the grid of columns and cycles, which is derived from the clock's epoch and the hash of a row's
labels, never from the start of the process: a restart, a replica and a replay fit on the same samples.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import numpy.typing as npt

from exporter.config.schema import Query
from exporter.crew import ALONE, Crew
from exporter.models.floors import Summary, summarise
from exporter.models.rows import FittedRows, ModelRows, SignalRows, model_rows, signal_rows
from exporter.models.shift import Watch
from exporter.models.tails import LEAST_SAMPLES
from exporter.series import SeriesTable
from exporter.verdict import ABSENT, CONSTANT, FREE, GONE, OK, Bands, Facts, apply_policy, states
from exporter.window import NEVER, Window, suitable_offset

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

FIT_EVERY_S = 3600
_BLOCK = 128  # rows fitted together: their views stay in the processor's cache
_BATCH = 64 * _BLOCK  # rows fitted before their verdicts can be shown
_OPENED = 4096  # rows whose next column is opened together
_SHOW_EVERY_S = 2.0
_SHOWING_RESTS = 9  # times as long as it took: else, of a million series, an eighth of the time goes there, or more
_DAY_S = 86_400
_FEW = 64  # rows that may linger whatever the number of series

log = logging.getLogger(__name__)


def horizon(step_s: int) -> int:
    """Columns after its last one that a fit must serve until the next one."""
    return FIT_EVERY_S // step_s + 2


def warming_s(query: Query) -> int:
    """The history a series of this query needs before its verdicts are shown."""
    return max(query.min_history_s, LEAST_SAMPLES * query.step_s)


def watch(query: Query) -> Watch:
    """Which shifts count under the policy of a query: its direction and its floors hold for them, too."""
    above, below = query.direction != "below", query.direction != "above"
    return Watch(above, below, float(query.min_deviation), float(query.min_relative_deviation))


@dataclass(slots=True)
class Judged:
    """What one update has done: samples judged, rows fitted of those that are `due`, rows whose model failed, and the
    CPU seconds that other threads spent on it."""

    judged: int = 0
    due: int = 0
    fitted: int = 0
    failed: int = 0
    crew_cpu_s: float = 0.0


Show = Callable[[Judged], None]


def nobody(_done: Judged) -> None:
    """Nobody wants to see what a long update has done so far."""


class Judging:
    """Verdicts by row. ``bands[model]`` holds the latest score and band in the unit of the series (N,), ``value`` the
    judged sample, ``judged_ms`` its time, ``signals[name].score`` the latest of a slow signal; NaN where there is none.
    ``state`` says whether that is about the present."""

    def __init__(self, query: Query, table: SeriesTable, window: Window, crew: Crew = ALONE) -> None:
        self._crew = crew
        self._query = query
        self._table = table
        self._window = window
        self._cycles = max(1, FIT_EVERY_S // query.interval_s)
        self._column: int | None = None
        served = horizon(query.step_s)
        self.models: dict[str, ModelRows] = {
            choice.name: model_rows(choice, query.step_s, served, query.sensitivity, query.interval_s)
            for choice in query.models
        }
        self.signals: dict[str, SignalRows] = {
            name: signal_rows(name, query.step_s, served, query.sensitivity, watch(query)) for name in query.signals
        }
        self._fitted: tuple[FittedRows, ...] = (*self.models.values(), *self.signals.values())
        self.bands = {name: _no_bands(0) for name in self.models}
        self.value: F64 = np.empty(0)
        self.judged_ms: I64 = np.empty(0, np.int64)
        self.state = np.empty(0, np.int8)
        self._hash = np.empty(0, np.uint32)
        self._fit_cycle: I64 = np.empty(0, np.int64)
        self._valid = np.empty(0, np.int32)
        self._first: I64 = np.empty(0, np.int64)
        self._constant = np.empty(0, np.bool_)
        self._live = np.empty(0, np.bool_)

    @property
    def live(self) -> I64:
        """Rows that hold a series, ascending."""
        return np.flatnonzero(self._live)

    @property
    def current(self) -> I64:
        """Rows whose latest verdict is about the present, ascending."""
        return np.flatnonzero((self.state == OK) | (self.state == CONSTANT))

    def admit(self, rows: I64) -> None:
        """Take in rows that the window has given to new series."""
        self._grow(self._window.rows)
        self._live[rows] = True
        self._hash[rows] = [self._table.stable_hash(row) for row in rows.tolist()]  # once in the life of a series

    def dismiss(self, rows: I64) -> None:
        """Forget rows whose series are gone for good."""
        for model in self._fitted:
            model.clear(rows)
        for bands in self.bands.values():
            _write(bands, rows, _no_bands(len(rows)))
        self.value[rows] = np.nan
        self.judged_ms[rows] = NEVER
        self.state[rows] = FREE
        self._fit_cycle[rows] = -1
        self._valid[rows] = 0
        self._live[rows] = False

    def update(self, time_s: int, absent_after_s: F64, show: Show = nobody) -> Judged:
        """Judge what the window holds at `time_s`: columns that have become final are absorbed in their order, rows
        that are due are fitted, each newest sample is judged once against what was expected of its column.

        Rows that are not due come first. Of an update that takes longer, `show` is called every few seconds: verdicts
        and states are those of a whole update then, but for rows that are still to be fitted.
        """
        open_column = self._window.column_of(time_s)
        rows, done = self.live, Judged()
        told = partial(self._tell, time_s, absent_after_s, show)
        if self._column is None or open_column - self._column > horizon(self._query.step_s):
            self._fit_cycle[rows] = -1  # start, or away for longer than a fit serves
            # The window reaches back far enough for the last final column, and for none before it. Without its samples
            # a start in the first moments of a column had nothing to say until the next ones come.
            self._column = open_column - 1
        while self._column < open_column:
            self._renew_as_met(rows, self._column, done, told)
            done.judged += self._judge(rows, self._column)
            done.crew_cpu_s += self._move_on(rows, self._column)
            self._column += 1
        due_cycle = self._due_cycle(rows, np.int64(time_s))
        is_due = due_cycle > self._fit_cycle[rows]
        met_before = is_due & (self._due_when_met(rows) < due_cycle)
        self._renew_as_met(rows[met_before], open_column, done, told)
        done.judged += self._judge(rows[~is_due | met_before], open_column)
        self._renew(rows[is_due], due_cycle[is_due], open_column, done, told)
        self._settle(rows, time_s, absent_after_s)
        return done

    def _due_when_met(self, rows: I64) -> I64:
        """The number of the cycle at which the fit was due that judges the newest sample of each row (n,): the one in
        force at the first cycle that could meet it. A cycle that comes late, or is the first one, must not judge it by
        a later fit than others do."""
        met_s = -(-self._window.last_ms[rows] // (self._query.interval_s * 1000)) * self._query.interval_s
        return self._due_cycle(rows, met_s)

    def _renew_as_met(self, rows: I64, column: int, done: Judged, told: Callable[[Judged], None]) -> None:
        """Fit and judge those rows whose newest sample lies in `column`, and was met when a later fit than theirs was
        in force."""
        fresh = self._window.last_ms[rows] > self.judged_ms[rows]
        rows = rows[fresh & (self._window.newest_columns()[rows] == column)]
        due_cycle = self._due_when_met(rows)
        late = due_cycle > self._fit_cycle[rows]
        if late.any():
            self._renew(rows[late], due_cycle[late], column, done, told)

    def _renew(self, due: I64, due_cycle: I64, open_column: int, done: Judged, told: Callable[[Judged], None]) -> None:
        """Fit rows as of the cycles (n,) they were due at, and judge their newest samples, if of the open column."""
        done.due += len(due)
        shown_s, pause_s = time.monotonic(), _SHOW_EVERY_S
        for start in range(0, len(due), _BATCH):
            began_s = time.monotonic()
            if began_s - shown_s > pause_s:
                told(done)
                shown_s = time.monotonic()
                pause_s = _SHOW_EVERY_S + _SHOWING_RESTS * (shown_s - began_s)
            part = slice(start, start + _BATCH)
            self._fit(due[part], due_cycle[part], open_column, done)
            done.judged += self._judge(due[part], open_column)

    def _tell(self, time_s: int, absent_after_s: F64, show: Show, done: Judged) -> None:
        """Show what there is in the middle of an update."""
        self._settle(self.live, time_s, absent_after_s)
        show(done)

    def expendable(self, time_s: int, waiting: int = 0) -> I64:
        """Rows to be given up: gone for longer than the window, or more missing ones than memory should be kept for.

        Missing rows that never had enough samples for a verdict may be an eighth of the present ones, missing judged
        ones as many as the present ones; the longest gone go first. As many count as present as have been there at one
        time of the last day: when all are missing at once the source was away, and they will come back. Those that are
        not even shown as absent any more give their places to series that are `waiting` for one.
        """
        rows = self.live
        missing = rows[(self.state[rows] == ABSENT) | (self.state[rows] == GONE)]
        present = len(rows) - len(missing)
        if len(missing) > max(_FEW, present // 8):
            present = max(present, self._window.most_present(_DAY_S))
        order = missing[np.argsort(self._window.last_ms[missing], kind="stable")]
        short = order[self._valid[order] < LEAST_SAMPLES]
        known = order[self._valid[order] >= LEAST_SAMPLES]
        over = [short[: max(0, len(short) - max(_FEW, present // 8))], known[: max(0, len(known) - max(_FEW, present))]]
        over.append(order[self.state[order] == GONE][:waiting])
        expired = order[self._window.last_ms[order] < (time_s - self._query.window_s) * 1000]
        return np.unique(np.concatenate([*over, expired]))

    # -- fitting -------------------------------------------------------------------------------------------------------

    def _due_cycle(self, rows: I64, time_s: np.int64 | I64) -> I64:
        """The number of the newest cycle, up to this time (or a time for each row), at which it was to be fitted."""
        cycle = time_s // self._query.interval_s
        return cycle - (cycle + self._hash[rows]) % self._cycles

    def _fit(self, rows: I64, due_cycle: I64, open_column: int, done: Judged) -> None:
        """Fit rows as of the cycle they were due at, then absorb what came after, up to the open column."""
        end_column = -(-due_cycle * self._query.interval_s // self._query.step_s) - 1
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(rows), _BLOCK)]
        failed, cpu_s = self._crew.each(lambda part: self._fit_block(rows[part], end_column[part], open_column), blocks)
        self._fit_cycle[rows] = due_cycle
        done.fitted += len(rows)
        done.failed += sum(failed)
        done.crew_cpu_s += cpu_s

    def _fit_block(self, rows: I64, end_column: I64, open_column: int) -> int:
        """Fit some rows, and bring the fits up to the open column; returns the rows that failed."""
        values, summary = self._summarise(rows, end_column)
        offset = self._window.offset[rows]
        self._valid[rows] = summary.valid
        self._constant[rows] = summary.smallest == summary.largest
        n = values.shape[1]
        present = ~np.isnan(values)
        self._first[rows] = np.where(summary.valid > 0, end_column - n + 1 + present.argmax(axis=1), end_column + 1)
        self._date(rows, end_column - present[:, ::-1].argmax(axis=1), summary)
        failed = sum(self._fit_model(model, rows, values, offset, summary, end_column) for model in self._fitted)
        for column in range(int(end_column.min()) + 1, open_column):
            self._open(rows, column)
            self._absorb(rows, column)
        self._open(rows, open_column)
        return failed

    def _summarise(self, rows: I64, end_column: I64) -> tuple[npt.NDArray[np.float32], Summary]:
        """Windows and summaries of rows; rows whose level has left their offset far behind are centred anew."""
        values = self._window.gather(rows, end_column)
        summary = summarise(np.sort(values, axis=1), self._window.offset[rows])
        far = suitable_offset(summary.median, summary.low, summary.high) != 0.0
        if far.any():
            offset = self._window.offset[rows]
            wanted = suitable_offset(summary.median + offset, summary.low + offset, summary.high + offset)
            self._window.recentre(rows[far], wanted[far])
            values = self._window.gather(rows, end_column)
            summary = summarise(np.sort(values, axis=1), self._window.offset[rows])
        return values, summary

    def _date(self, rows: I64, last_column: I64, summary: Summary) -> None:
        """Rows known from range reads only: their last cell says when they were last seen. It is not to be judged."""
        undated = (self._window.last_ms[rows] == NEVER) & (summary.valid > 0)
        seen_ms = last_column[undated] * self._query.step_s * 1000
        self._window.last_ms[rows[undated]] = seen_ms
        self.judged_ms[rows[undated]] = seen_ms

    def _fit_model(
        self, model: FittedRows, rows: I64, values: npt.NDArray[np.float32], offset: F64, summary: Summary, end: I64
    ) -> int:
        """Fit one model; when a batch fails each row is tried alone, so that only the culprit goes without a fit."""
        try:
            model.fit(rows, values, offset, summary, end)
        except Exception as error:  # noqa: BLE001 -- whatever a model does, other rows and models go on
            model.clear(rows)
            if len(rows) == 1:
                told = {"model": model.name, "query": self._query.name, "error": repr(error)}
                log.warning("a model failed on one series; others are unaffected", extra=told)
                return 1
            alone = (slice(i, i + 1) for i in range(len(rows)))
            return sum(
                self._fit_model(model, rows[one], values[one], offset[one], _part(summary, one), end[one])
                for one in alone
            )
        return 0

    # -- the open column -----------------------------------------------------------------------------------------------

    def _open(self, rows: I64, column: int) -> None:
        for model in self._fitted:
            model.open(rows, column, self._window.ring, self._window.offset)

    def _absorb(self, rows: I64, column: int) -> None:
        for model in self._fitted:
            model.absorb(rows, column, self._window.ring)

    def _move_on(self, rows: I64, column: int) -> float:
        """`column` has become final: take it in and open the next one; returns CPU seconds of the crew."""

        def move(part: I64) -> None:
            self._absorb(part, column)
            self._open(part, column + 1)

        return self._crew.each(move, [rows[i : i + _OPENED] for i in range(0, len(rows), _OPENED)])[1]

    def _judge(self, rows: I64, column: int) -> int:
        """Judge the rows whose newest sample lies in `column` and has not been judged; returns how many."""
        fresh = self._window.last_ms[rows] > self.judged_ms[rows]
        rows = rows[fresh & (self._window.newest_columns()[rows] == column)]
        if len(rows) == 0:
            return 0
        value, offset = self._window.last_value[rows], self._window.offset[rows]
        for name, model in self.models.items():
            found = model.judge(rows, value - offset)
            bands = Bands(found.score, found.expected + offset, found.lower + offset, found.upper + offset)
            _write(self.bands[name], rows, apply_policy(self._query, value, bands))
        for signal in self.signals.values():
            signal.judge(rows, value - offset)
        self.value[rows] = value
        self.judged_ms[rows] = self._window.last_ms[rows]
        return len(rows)

    def _settle(self, rows: I64, time_s: int, absent_after_s: F64) -> None:
        """Bring the states up to date; only rows that are OK or CONSTANT have a verdict about the present."""
        last_ms = self._window.last_ms[rows]
        age_s = np.where(last_ms == NEVER, np.inf, time_s - last_ms / 1000.0)
        scored = np.zeros(len(rows), np.bool_)
        for bands in self.bands.values():
            scored |= ~np.isnan(bands.score[rows])
        facts = Facts(
            age_s=age_s,
            history_s=(self._window.column_of(time_s) - self._first[rows]) * np.float64(self._query.step_s),
            valid=self._valid[rows],
            constant=self._constant[rows],
            judged=scored | (self.judged_ms[rows] < last_ms),
        )
        self.state[rows] = states(
            facts,
            absent_after_s=absent_after_s[rows],
            absent_for_s=self._query.absent_for_s,
            warming_s=warming_s(self._query),
            least_samples=LEAST_SAMPLES,
        )

    def _grow(self, rows: int) -> None:
        more = rows - len(self.value)
        if more <= 0:
            return
        for model in self._fitted:
            model.grow(rows)
        self.bands = {name: _joined(bands, _no_bands(more)) for name, bands in self.bands.items()}
        self.value = np.concatenate([self.value, np.full(more, np.nan)])
        self.judged_ms = np.concatenate([self.judged_ms, np.full(more, NEVER, np.int64)])
        self.state = np.concatenate([self.state, np.full(more, FREE, np.int8)])
        self._hash = np.concatenate([self._hash, np.zeros(more, np.uint32)])
        self._fit_cycle = np.concatenate([self._fit_cycle, np.full(more, -1, np.int64)])
        self._valid = np.concatenate([self._valid, np.zeros(more, np.int32)])
        self._first = np.concatenate([self._first, np.zeros(more, np.int64)])
        self._constant = np.concatenate([self._constant, np.zeros(more, np.bool_)])
        self._live = np.concatenate([self._live, np.zeros(more, np.bool_)])


def _no_bands(rows: int) -> Bands:
    return Bands(*(np.full(rows, np.nan) for _ in range(4)))


def _joined(bands: Bands, more: Bands) -> Bands:
    return Bands(
        np.concatenate([bands.score, more.score]),
        np.concatenate([bands.expected, more.expected]),
        np.concatenate([bands.lower, more.lower]),
        np.concatenate([bands.upper, more.upper]),
    )


def _write(bands: Bands, rows: I64, part: Bands) -> None:
    bands.score[rows] = part.score
    bands.expected[rows] = part.expected
    bands.lower[rows] = part.lower
    bands.upper[rows] = part.upper


def _part(summary: Summary, part: slice) -> Summary:
    return Summary(*(getattr(summary, field.name)[part] for field in fields(summary)))
