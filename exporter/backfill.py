"""`run --backfill 7d`: the results of the past go to remote write at the start, so that dashboards are full on day one.

One unit (tenant x query) after the other, on a thread of its own and a few at low priority, after the unit's first
cycle. Until a unit's past is queued its live results are judged and shown, but not written: a receiver takes a series
in the order of time only. The backfill goes on until it has caught up with the present and then hands over, so the
live results follow with neither gap nor overlap. What a receiver has already, as far as it can be asked, is not
written again: a restart with the same flag goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from exporter.config.per_tenant import header_of, source_of
from exporter.config.schema import Config, Query, RemoteWrite, Tenant
from exporter.errors import AnomalyExporterError, SourceError, SourceRefused
from exporter.intake import Reads
from exporter.names import DETECTABLE, EXPECTED, LOWER, SCORE, SIGNALS, UPPER, VALUE
from exporter.past import Past, Slice, Stopped
from exporter.publish.unit_page import UnitPage
from exporter.source.client import Client
from exporter.source.planning import plan_range
from exporter.source.reader import Reader
from exporter.verdict import min_detectable_ratio

F64 = npt.NDArray[np.float64]

TELL_EVERY_S = 10.0
PATIENCE_S = 3600.0  # with a source that does not answer; then the live results must not wait any longer
_TOLD_COLUMNS = 24
_LEAST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_LOOK_S = 0.2
_SETTLE_S = 5.0  # after the end of a column its last samples are visible
_HAND_OVER_S = 1.0  # before the end of a column the live cycle that judges it must not be missed
_NICE = 10
_LOOKBACK_S = 300
_ASKED_S = 6 * 3600  # results of the past are looked for in such stretches: a server bounds the samples of a query
_NOTHING = -math.inf

T = TypeVar("T")
Clock = Callable[[], float]
WrittenUntil = Callable[[float, float], float]
Watch = Callable[[str, str, float], None]

log = logging.getLogger(__name__)


class Watched(Protocol):
    """What is asked of the unit (``unit.Unit``)."""

    tenant: str
    query: Query

    @property
    def key(self) -> str:
        """Tenant and query as one text."""

    @property
    def last(self) -> object:
        """What its last cycle did; None before the first."""


@dataclass(slots=True)
class Task:
    """The backfill of one unit: `live` is the page that waits for it, `past` the page that it writes by; `reader` says
    how the unit is read now, `written_until` the time (unix seconds) of the newest result that the receiver has in a
    span, -inf for none."""

    unit: Watched
    live: UnitPage
    past: UnitPage
    reader: Callable[[], Reads]
    written_until: WrittenUntil
    stop: threading.Event = field(default_factory=threading.Event)
    admitted: int = 0
    first_column: int = 0
    told_s: float = 0.0
    begun_s: float = 0.0


class Backfills:
    """All backfills of a start. `plan` before `start`; `keep` and `stop` at any time, from any thread.

    `watch(tenant, query, ratio)` hears how far each is, 1 at the end.
    """

    def __init__(self, span_s: int, watch: Watch, clock: Clock = time.time) -> None:
        self._span_s = span_s
        self._watch = watch
        self._clock = clock
        self._tasks: list[Task] = []
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def planning(self) -> bool:
        """Whether units of now are backfilled: one is asked for, and the start is not over."""
        return self._span_s > 0 and self._thread is None

    def plan(self, task: Task) -> None:
        """Backfill a unit; its live page writes nothing until that is done."""
        task.live.hold()
        self._watch(task.unit.tenant, task.unit.query.name, 0.0)
        self._tasks.append(task)

    def start(self) -> None:
        """Begin, where there is something to do. After this nothing is planned."""
        self._thread = threading.Thread(target=self._run, name="backfill", daemon=True)
        if self._tasks:
            self._thread.start()

    def keep(self, units: Mapping[str, Watched]) -> None:
        """These are the units now: the backfills of others end, before the units in their place begin."""
        for task in list(self._tasks):
            if units.get(task.unit.key) is not task.unit and not task.stop.is_set():
                task.stop.set()
                task.past.hand_over()

    def stop(self) -> None:
        """End all, soon; what is queued is for remote write to deliver."""
        self._stopping.set()
        for task in list(self._tasks):
            task.stop.set()

    def wait(self) -> None:
        """Until all have ended."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        workers = max(1, (os.cpu_count() or 2) - 1)
        with ThreadPoolExecutor(workers, thread_name_prefix="backfill", initializer=_step_back) as pool:
            for task in list(self._tasks):
                self._fill(task, pool)
                self._tasks.remove(task)  # and with it the labels of its series

    def _fill(self, task: Task, pool: ThreadPoolExecutor) -> None:
        """One unit, whatever happens; then its live results are written."""
        named = {"query": task.unit.key}
        try:
            self._go(task, Past(task.unit.query, pool, task.stop))
            log.info("backfill done", extra=named | {"seconds": round(time.monotonic() - task.begun_s, 1)})
        except Stopped:
            log.info("backfill stopped; a restart with the same flag goes on from there", extra=named)
        except AnomalyExporterError as error:
            log.error(f"backfill given up, live results are written from now on: {error}", extra=named)
        except MemoryError:
            log.error("backfill given up, live results are written from now on: out of memory", extra=named)
        except Exception:  # a mistake of ours must be seen, and must not keep the live results back
            log.exception("backfill given up, internal error, please report it", extra=named)
        task.past.hand_over()
        if not self._stopping.is_set():
            task.live.release()

    def _go(self, task: Task, past: Past) -> None:
        while task.unit.last is None:
            _wait(task, _LOOK_S)
        task.begun_s = task.told_s = time.monotonic()
        query = task.unit.query
        task.first_column = self._patiently(task, lambda: self._first_column(task))
        log.info("backfill begins", extra={"query": task.unit.key, "from": task.first_column * query.step_s})
        column = task.first_column
        while (wait_s := self._until_next(query, column)) is not None:
            if wait_s > 0:
                _wait(task, wait_s)
            else:
                column = self._step(task, past)
        self._watch(task.unit.tenant, query.name, 1.0)

    def _step(self, task: Task, past: Past) -> int:
        """Read, judge and write a slice, after the window before the first one; returns the next column."""
        if not past.loaded:
            self._patiently(task, lambda: past.load(task.reader(), task.first_column, int(self._clock())))
        found = self._patiently(task, lambda: self._advance(task, past))
        self._write(task, past, found)
        return past.next_column

    def _first_column(self, task: Task) -> int:
        """The first column that is due: within the span, and after what the receiver has.

        An interval more is left out: a series that ended has a stale marker up to so much after its last result.
        """
        now_s, query = self._clock(), task.unit.query
        known_s = task.written_until(now_s - self._span_s, now_s) + query.interval_s
        first = math.ceil((now_s - self._span_s) / query.step_s)
        return first if known_s < first * query.step_s else math.floor(known_s / query.step_s) + 1

    def _until_next(self, query: Query, column: int) -> float | None:
        """Seconds until a column can be judged, at most 0 when it can; None: the live cycles can take over now."""
        early_s = column * query.step_s - self._clock()
        settle_s, hand_over_s = (min(seconds, query.step_s / 4) for seconds in (_SETTLE_S, _HAND_OVER_S))
        return None if early_s > hand_over_s else early_s + settle_s

    def _last_column(self, query: Query) -> int:
        """The newest column whose samples are all visible."""
        return math.floor((self._clock() - min(_SETTLE_S, query.step_s / 4)) / query.step_s)

    def _advance(self, task: Task, past: Past) -> Slice:
        last, known = self._last_column(task.unit.query), past.next_column - task.first_column

        def told(judged: float) -> None:
            self._tell(task, known + judged / 2)  # to be written is the other half

        return past.advance(task.reader(), last, told)

    def _write(self, task: Task, past: Past, found: Slice) -> None:
        """Queue a slice, column by column; waits where the queue is half full."""
        fresh = range(task.admitted, past.series)
        task.past.admit((row, past.labels(row)) for row in fresh)
        task.admitted = past.series
        values = by_kind(found, task.unit.query)
        rows, columns = np.arange(len(found.value)), len(found.times_ms)
        known = past.next_column - columns - task.first_column
        for start in range(0, columns, _TOLD_COLUMNS):
            part = slice(start, start + _TOLD_COLUMNS)
            times_ms = found.times_ms[part]
            own = {kind: matrix[:, part] for kind, matrix in values.items()}
            if task.past.backfill(rows, times_ms, own, task.stop) < len(times_ms):
                raise Stopped
            self._tell(task, known + (columns + start + len(times_ms)) / 2)

    def _tell(self, task: Task, done: float) -> None:
        """So many columns are done, of those up to now."""
        ratio = done / max(done, 1, self._last_column(task.unit.query) - task.first_column + 1)
        self._watch(task.unit.tenant, task.unit.query.name, ratio)
        now_s = time.monotonic()
        if now_s - task.told_s < TELL_EVERY_S or ratio <= 0:
            return
        task.told_s = now_s
        left_s = round((now_s - task.begun_s) * (1 - ratio) / ratio)
        told = {"query": task.unit.key, "percent": round(100 * ratio, 1), "seconds_left": left_s}
        log.info("backfill goes on", extra=told)

    def _patiently(self, task: Task, ask: Callable[[], T]) -> T:
        """Ask until there is an answer: a source that is away comes back. Raises what is final, or lasts too long."""
        give_up_s, pause_s = time.monotonic() + PATIENCE_S, _LEAST_PAUSE_S
        while True:
            if task.stop.is_set():
                raise Stopped
            try:
                return ask()
            except SourceRefused:
                raise
            except SourceError as error:
                if time.monotonic() > give_up_s:
                    raise
                if pause_s == _LEAST_PAUSE_S:
                    log.warning(f"backfill waits for the source: {error}", extra={"query": task.unit.key})
                _wait(task, pause_s)
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)


def by_kind(found: Slice, query: Query) -> dict[tuple[str, str], F64]:
    """The verdicts of a slice as a query publishes them: (n, t) by family and model."""
    values = {(SIGNALS[name], ""): score for name, score in found.signals.items()}
    for model, bands in found.bands.items():
        values[SCORE, model] = bands.score
        parts = {EXPECTED: bands.expected, LOWER: bands.lower, UPPER: bands.upper, VALUE: found.value}
        if query.publish == "anomalous":
            parts = {family: np.where(bands.score > 1, each, np.nan) for family, each in parts.items()}
        if query.publish != "score":
            values |= {(family, model): each for family, each in parts.items()}
        if query.detectability:
            values[DETECTABLE, model] = min_detectable_ratio(bands)
    return values


def _wait(task: Task, seconds: float) -> None:
    if task.stop.wait(max(_LOOK_S, seconds)):
        raise Stopped


def _step_back() -> None:
    """Live cycles come first. Linux has a priority per thread; elsewhere there is none."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


# -- what the receiver has ---------------------------------------------------------------------------------------------


def asks_receiver(config: Config) -> bool:
    """Whether a receiver is the very server that is read, so that it can be asked what it has."""
    return any(_is_source(target, config) for target in config.remote_write)


def _is_source(target: RemoteWrite, config: Config) -> bool:
    source, place = urlsplit(config.source.url), urlsplit(target.url)
    return (place.scheme, place.netloc.rpartition("@")[2]) == (source.scheme, source.netloc)


def writes_to(config: Config, client: Client) -> Client:
    """The client as the tenant that all results are written to, where a target on the source's server has one.

    Where the tenant stands in the path, the server is asked at the source's URL with that tenant in it.
    """
    chosen = next((target.tenant for target in config.remote_write if target.tenant and _is_source(target, config)), "")
    if not chosen:
        return client
    tenant = Tenant(chosen)
    return replace(client, base_url=source_of(config, tenant).url, tenant=header_of(config, tenant) or None)


def not_known(_start_s: float, _end_s: float) -> float:
    """For a receiver that can't be asked."""
    return _NOTHING


def newest_result(client: Client, metric: str, labels: Mapping[str, str]) -> WrittenUntil:
    """Asks a server for the time of the newest result it has within a span, latest stretch first.

    Raises SourceError. Server cost: as reading the scores of the span, in the worst case that there are none.
    """
    matchers = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())
    reader = Reader(client, f"max(timestamp({metric}{{{matchers}}}))", _LOOKBACK_S, remote_read=False)

    def ask(start_s: float, end_s: float) -> float:
        found_s = _largest(reader.newest(end_s, 0).batch.value)
        stretches = plan_range(start_s, end_s, _LOOKBACK_S, 1, _ASKED_S // _LOOKBACK_S)
        while found_s == _NOTHING and stretches:
            for answer in reader.range(*stretches.pop(), 1):
                found_s = max(found_s, _largest(answer.batch.value))
        return found_s

    return ask


def _largest(values: F64) -> float:
    return float(np.nanmax(values, initial=_NOTHING))
