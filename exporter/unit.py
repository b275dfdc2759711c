"""One tenant x query, and the one function that runs it for one cycle: read, judge, publish, return a receipt.

Whoever calls it (a scheduler's thread today) is not its business. It never raises for what a server, a series or a
model does: the receipt says what happened, and other units do not notice.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from exporter.config.schema import Query
from exporter.config.secret import hide
from exporter.crew import ALONE, Crew
from exporter.errors import SourceError
from exporter.intake import Intake, Intaken, Reads
from exporter.judging import Judged, Judging, horizon
from exporter.names import ABSENT as ABSENT_FAMILY
from exporter.names import DETECTABLE, EXPECTED, LOWER, RELABELLED_AWAY, SCORE, SIGNALS, UPPER, VALUE
from exporter.publish.unit_page import UnitPage
from exporter.selection import Selection
from exporter.series import SeriesTable
from exporter.source.promql import raw_counter_advice
from exporter.verdict import ABSENT, STATE_NAMES, min_detectable_ratio
from exporter.window import NEVER, Window

_WITHDRAW_S = 300.0  # verdicts older than Prometheus' own look-back are not shown as current ones
_SPEAK_EVERY_S = 10.0  # of a cycle that takes long
_EXACT, _COMPUTED = 0, 9  # significant digits of judged samples and of computed numbers

I64 = npt.NDArray[np.int64]

PARTIAL = "the server says that its answer is partial: some of its storage did not answer, and data may be missing"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Receipt:
    """What one cycle of a unit did. ``error`` is empty when it went well; then verdicts are as of ``time_s``.

    ``missing_s``: how much of the window the server has not given; ``notes``: what people should know of the data.
    """

    time_s: int
    error: str = ""
    reason: str = ""
    series: int = 0
    shed: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    judged: int = 0
    fitted: int = 0
    failed_rows: int = 0
    anomalous: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    filled_columns: int = 0
    slow_scans: int = 0
    remarks: Counter[str] = field(default_factory=Counter)
    missing_s: int = 0
    notes: tuple[str, ...] = ()
    newest_s: float = 0.0
    window_bytes: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Example:
    """A row to show to people: its labels and its latest verdict (seconds since its last sample, for an absent one)."""

    labels: dict[str, str]
    score: float
    value: float
    expected: float
    lower: float
    upper: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a series now: the name of its state, the judged sample, by model its score, expected value and
    band as shown, and the offset that its window is centred by."""

    state: str
    value: float
    verdicts: dict[str, tuple[float, float, float, float]]
    offset: float


class Unit:
    """One tenant x query with its window, fits and page. For one thread at a time; the scheduler sees to that."""

    def __init__(
        self,
        tenant: str,
        query: Query,
        reader: Reads,
        page: UnitPage,
        crew: Crew = ALONE,
        loaded: Callable[[float], None] = lambda _share: None,
    ) -> None:
        """`crew` does the fitting, `loaded` hears which share of the window has been read."""
        self._loaded = loaded
        self._spoke_s = 0.0
        self._selection = Selection(query)
        self.tenant = tenant
        self.query = query
        self._page = page
        self._crew = crew
        self._relabelling = query.relabelling()
        self._begin(reader)
        self._told: set[str] = set()
        self._good_s = 0.0  # when the last cycle went well, by a clock that nobody sets
        self.counted = False  # whether a cycle is in the metrics: whoever runs cycles counts them
        self.last: Receipt | None = None
        self.last_good: Receipt | None = None

    def _begin(self, reader: Reads) -> None:
        """Know nothing yet."""
        query = self.query
        self._reader = reader
        self._table = SeriesTable(self._relabelling)
        self._window = Window(query.window_s // query.step_s, horizon(query.step_s), query.step_s)
        self._intake = Intake(query, reader, self._table, self._window, self._loading)
        self._judging = Judging(query, self._table, self._window, self._crew)

    @property
    def key(self) -> str:
        """Tenant and query as one text."""
        return f"{self.tenant}/{self.query.name}" if self.tenant else self.query.name

    def use(self, reader: Reads) -> None:
        """Read through another client from now on (a reload that kept the query but changed the source)."""
        self._reader = reader
        self._intake.use(reader)

    def run_cycle(self, time_s: int) -> Receipt:
        """Read, judge and publish as of `time_s` (unix seconds, a multiple of the query's interval)."""
        wall, cpu = time.monotonic(), time.thread_time()
        receipt = Receipt(time_s)
        self._spoke_s = wall
        try:
            self._run(time_s, receipt)
        except SourceError as error:
            receipt.error, receipt.reason = str(error), error.reason
            if error.reason == "clock" and self.last_good:  # what ends now must not end at a time that is wrong
                self._page.begin(self.last_good.time_s)
        except MemoryError:
            receipt.error, receipt.reason = "out of memory: watch fewer series, or a shorter window", "memory"
        except Exception as error:  # a mistake of ours must be seen, counted, and stay in this unit
            log.exception("internal error, please report it", extra={"query": self.key})
            receipt.error, receipt.reason = f"internal error: {hide(repr(error))}", "internal"
        receipt.window_bytes = self._window.window_bytes
        receipt.wall_s = time.monotonic() - wall
        receipt.cpu_s += time.thread_time() - cpu
        self._remember(receipt)
        return receipt

    def worst(self, most: int) -> list[Example]:
        """The rows with the highest score of the first model, highest first."""
        rows = self._judging.current  # first: a cycle under way may have arrays that are longer by new rows
        bands = next(iter(self._judging.bands.values()))
        rows = rows[np.argsort(-np.nan_to_num(bands.score[rows]), kind="stable")][:most]
        return [self._example(row) for row in rows.tolist()]

    def absent(self, most: int) -> list[Example]:
        """Rows of judged series that have gone missing, longest first."""
        rows = np.flatnonzero(self._judging.state == ABSENT)
        rows = rows[np.argsort(self._window.last_ms[rows], kind="stable")][:most]
        return [self._example(row) for row in rows.tolist()]

    def known(self, labels: Mapping[str, str]) -> Known | None:
        """What is known of a series by its labels; None when it has no row. From any thread: a cycle under way may have
        moved on with some of it."""
        row = self._table.row_of(labels)
        if row is None or row >= len(self._judging.state):
            return None
        verdicts = {
            name: (float(b.score[row]), float(b.expected[row]), float(b.lower[row]), float(b.upper[row]))
            for name, b in self._judging.bands.items()
        }
        state = STATE_NAMES.get(int(self._judging.state[row]), "")
        return Known(state, float(self._judging.value[row]), verdicts, float(self._window.offset[row]))

    def close(self) -> None:
        """Take everything of this unit off the page for good, also when a cycle is still running."""
        self._page.close()

    # -- one cycle -----------------------------------------------------------------------------------------------------

    def _run(self, time_s: int, receipt: Receipt) -> None:
        self._page.begin(time_s)
        if self._intake.is_before(time_s):
            # What was read and judged since then is of times yet to come.
            log.warning("the time went back; the window is read again", extra={"query": self.key, "time": time_s})
            self._start_over()
        taken = self._intake.update(time_s)
        self._loaded(1.0)
        self._report_intake(taken, receipt)
        self._admit(taken.new_rows)
        done = self._judging.update(time_s, self._intake.absent_after_s(), lambda done: self._show_early(time_s, done))
        receipt.judged, receipt.fitted, receipt.failed_rows = done.judged, done.fitted, done.failed
        receipt.cpu_s = done.crew_cpu_s
        self._retire(time_s, waiting=taken.shed)
        self._publish(time_s)
        self._report_states(receipt)

    def _admit(self, new_rows: list[I64]) -> None:
        """Take in new series. Without the memory for it some arrays may have their rows and others not: then nothing is
        kept of the unit."""
        try:
            for rows in new_rows:
                self._judging.admit(rows)
                self._page.admit((row, self._table.labels(row)) for row in rows.tolist())
                self._warn_of_counters({self._table.name(row) for row in rows.tolist()})
        except MemoryError:
            self._start_over()
            raise

    def _start_over(self) -> None:
        """As after a restart, everything is read anew."""
        self._page.start_over()
        self._dismiss(self._judging.live)
        self._begin(self._reader)

    def _loading(self, share: float) -> None:
        """So much of the window has been read, for the first time."""
        self._loaded(share)
        self._speak("reading the window", percent=round(100 * share))

    def _show_early(self, time_s: int, done: Judged) -> None:
        """What a long cycle has judged so far need not wait for the rest."""
        self._publish(time_s)
        self._speak("fitting", percent=round(100 * done.fitted / max(done.due, 1)), fitted=done.fitted)

    def _speak(self, words: str, **told: int) -> None:
        """Tell how far a cycle has come, now and then."""
        now_s = time.monotonic()
        if now_s - self._spoke_s >= _SPEAK_EVERY_S:
            self._spoke_s = now_s
            log.info(words, extra={"query": self.key, **told})

    def _retire(self, time_s: int, waiting: int) -> None:
        rows = self._judging.expendable(time_s, waiting)
        if len(rows):
            self._dismiss(rows)
            self._judging.dismiss(rows)
            self._window.clear(rows)
            self._table.forget(rows)

    def _dismiss(self, rows: I64) -> None:
        self._page.dismiss(rows)
        self._selection.forget(rows)

    def _publish(self, time_s: int) -> None:
        judging = self._judging
        rows = judging.current
        times_ms = judging.judged_ms[rows]
        scores = {model: bands.score[rows] for model, bands in judging.bands.items()}
        banded = self._selection.banded(rows, scores.values(), time_s)
        banded_ms, values = judging.judged_ms[banded], judging.value[banded]
        for model, bands in judging.bands.items():
            self._page.render(SCORE, model, rows, scores[model], _COMPUTED, times_ms)
            self._page.render(EXPECTED, model, banded, bands.expected[banded], _COMPUTED, banded_ms)
            self._page.render(LOWER, model, banded, bands.lower[banded], _COMPUTED, banded_ms)
            self._page.render(UPPER, model, banded, bands.upper[banded], _COMPUTED, banded_ms)
            self._page.render(VALUE, model, banded, values, _EXACT, banded_ms)
            if self.query.detectability:
                ratio = min_detectable_ratio(bands.part(rows))
                self._page.render(DETECTABLE, model, rows, ratio, _COMPUTED, times_ms)
        for name, signal in judging.signals.items():
            self._page.render(SIGNALS[name], "", rows, signal.score[rows], _COMPUTED, times_ms)
        gone = np.flatnonzero(judging.state == ABSENT)
        self._page.render(ABSENT_FAMILY, "", gone, time_s - self._window.last_ms[gone] / 1000.0, _COMPUTED)
        self._page.show()

    def _report_intake(self, taken: Intaken, receipt: Receipt) -> None:
        receipt.series, receipt.shed, receipt.samples = taken.series, taken.shed, taken.samples
        receipt.refused = taken.refused
        receipt.filled_columns, receipt.slow_scans = taken.filled_columns, taken.slow_scans
        receipt.remarks = taken.remarks
        self._report_data(taken, receipt)
        self._report_unwatched(taken)
        self._report_shed(taken)
        if taken.repeated:
            log.info("values only repeat by the server's look-back; nothing judged", extra={"query": self.key})

    def _report_data(self, taken: Intaken, receipt: Receipt) -> None:
        """What the server says, or fails to say, of the data: each is logged once, and shown while it holds."""
        cuts = self._intake.cuts(receipt.time_s)
        low_s = receipt.time_s - self.query.window_s
        receipt.missing_s = sum(cut.missing_s(low_s, receipt.time_s) for cut in cuts)
        said = tuple(f"the server remarks: {text}" for text in sorted(taken.texts))
        partial = (PARTIAL,) if taken.remarks["partial"] else ()
        receipt.notes = (*(cut.words for cut in cuts), *partial, *said)
        for text in (*([taken.cut.words] if taken.cut else []), *partial, *said):
            self._tell_once(text)

    def _report_unwatched(self, taken: Intaken) -> None:
        """Log why series can't be watched: each collision, one example of each limit on labels."""
        for found in self._table.collisions:
            if found.relabelled:
                why = f"relabelling leaves it the labels of {found.holder}"
                advice = "leave a label that tells them apart, or add them up in the expr with `sum without`"
            else:
                why = f"without its name it has the labels of {found.holder}"
                advice = "give them different labels with label_replace, or a query each"
            self._tell_once(f"series {found.wanted} is not watched: {why}; {advice}")
        self._table.collisions.clear()
        for limit, series in self._table.over_limits.items():
            if limit != RELABELLED_AWAY:
                self._tell_once(
                    f"series over limits.{limit} are not watched, such as {series}; raise it, or shorten their labels "
                    "by relabel_configs or drop_labels"
                )
        if 0 < taken.series == taken.refused.get(RELABELLED_AWAY, 0):
            self._tell_once("relabel_configs drop all series of this query: nothing is watched")

    def _report_shed(self, taken: Intaken) -> None:
        """Log when series begin to be shed, naming a few, and when none is any more."""
        before = self.last_good.shed if self.last_good else 0
        if taken.shed and not before:
            log.warning(
                f"{taken.shed} of {taken.series} series are not watched, the limit is {self.query.most_series}; "
                f"among them {', '.join(taken.shed_names)}; raise limits.max_series or max_points, or narrow the expr",
                extra={"query": self.key},
            )
        elif before and not taken.shed:
            log.info("no series is shed any more", extra={"query": self.key})

    def _report_states(self, receipt: Receipt) -> None:
        counts = np.bincount(self._judging.state, minlength=max(STATE_NAMES) + 1)
        receipt.states = {name: int(counts[code]) for code, name in STATE_NAMES.items()}
        rows = self._judging.current
        receipt.anomalous = {name: int((bands.score[rows] > 1).sum()) for name, bands in self._judging.bands.items()}
        judged_ms = self._judging.judged_ms[rows]
        receipt.newest_s = float(judged_ms.max()) / 1000.0 if len(judged_ms) else 0.0

    def _warn_of_counters(self, metrics: set[str]) -> None:
        """Counters only ever grow; whatever selects them, their names come along where they are read raw."""
        for name in sorted(metrics):
            if name.endswith("_total"):
                self._tell_once(raw_counter_advice(name))

    def _tell_once(self, text: str) -> None:
        """Log a remark the first time it is made; the counters go on counting."""
        if text not in self._told and len(self._told) < 100:
            self._told.add(text)
            log.warning(text, extra={"query": self.key})

    def _remember(self, receipt: Receipt) -> None:
        before, self.last = self.last, receipt
        if not receipt.error:
            if before is not None and before.error:
                log.info("recovered", extra={"query": self.key, "filled_columns": receipt.filled_columns})
            self.last_good, self._good_s = receipt, time.monotonic()
            return
        if before is None or before.error != receipt.error:
            log.error(receipt.error, extra={"query": self.key, "reason": receipt.reason})
        if self._outdated(receipt):
            self._page.withdraw()

    def _outdated(self, receipt: Receipt) -> bool:
        """Whether the verdicts shown are too old to pass for current ones. A clock that is wrong does not tell."""
        if self.last_good is None:
            return False
        age_s = float(receipt.time_s - self.last_good.time_s)
        if receipt.reason == "clock":
            age_s = time.monotonic() - self._good_s
        return age_s > max(_WITHDRAW_S, 3 * self.query.interval_s)

    def _example(self, row: int) -> Example:
        bands = next(iter(self._judging.bands.values()))
        now = self.last_good.time_s if self.last_good else 0
        last_ms = int(self._window.last_ms[row])
        return Example(
            labels=self._table.labels(row),
            score=float(bands.score[row]),
            value=float(self._judging.value[row]),
            expected=float(bands.expected[row]),
            lower=float(bands.lower[row]),
            upper=float(bands.upper[row]),
            age_s=now - last_ms / 1000.0 if last_ms != NEVER else float("inf"),
        )
