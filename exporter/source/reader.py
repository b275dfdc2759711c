"""One query of one tenant, read in the two ways a cycle needs: a span of the grid, and the newest samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np

from exporter.errors import SourceRefused, SourceTooMuch
from exporter.source.client import Client
from exporter.source.planning import halve, plan_range, points_an_answer
from exporter.source.promql import instant_selectors, is_plain_selector, ranged_selectors
from exporter.source.reach import Why, oldest_s, why_short
from exporter.source.remote_read.streamed import RemoteRead
from exporter.source.scan import Answer, scan_answer

_COUNTED_TIMES = 8  # how often the number of series is looked at over a span
_MOST_STEPS = 11_000  # points per series that Prometheus gives at most
_FEWEST_STEPS = 60  # however often a server has found too much: a window must not become thousands of queries


@dataclass(slots=True)
class Reader:
    """Reads one PromQL expression through a client.

    A plain selector is read without the server's look-back: a value belongs to the grid time that ends the step it
    was sampled in, and to no other. ``max_points`` bounds the points of one answer, ``max_in_flight`` the number of
    queries under way at once. ``remote_read``: read spans of a plain selector by streamed remote read, where the server
    offers it. ``of_now``: newest samples are asked for as of now, so that our clock has to be that of the server. All
    methods raise the client's errors, and SourceGarbled for a body that is no answer.
    """

    client: Client
    expr: str
    step_s: int
    max_points: int = 2_000_000
    max_in_flight: int = 4
    remote_read: bool = False
    of_now: bool = False
    plain: bool = field(init=False)
    _remote: RemoteRead | None = field(init=False, default=None)
    _most_steps: int = field(init=False, default=_MOST_STEPS)

    def __post_init__(self) -> None:
        self.plain = is_plain_selector(self.expr)
        if self.remote_read and self.plain:
            self._remote = RemoteRead(self.client, self.expr, self.step_s, self.max_points)

    def range(self, start_s: float, end_s: float, series_hint: int | None = None) -> Iterator[Answer]:
        """The values at every grid time (multiple of the step) in [start_s, end_s], in answers of any order.

        ``series_hint``: about how many series to expect; None asks the server first. Answers are read ahead by at
        most ``max_in_flight``. A chunk that the server finds too much is asked for once more in halves, and the next
        span begins with chunks of that length. Closing the iterator drops what is under way.
        """
        if not plan_range(start_s, end_s, self.step_s, 1, self.max_points):
            return iter(())
        series = self._most_series(start_s, end_s) if series_hint is None else series_hint
        if self._remote is not None and self._remote.usable():
            return self._remote.range(start_s, end_s, series, lambda low, high: self._by_queries(low, high, series))
        return self._by_queries(start_s, end_s, series)

    def newest(self, time_s: float, lookback_s: float) -> Answer:
        """The newest samples at ``time_s``.

        A plain selector gives the raw samples of (time_s - lookback_s, time_s] with their own times, oldest first
        (Prometheus 2 includes the left edge); an expression gives its value at ``time_s``, which carries that time.
        """
        expr = self._over(f"{max(1, math.ceil(lookback_s * 1000))}ms") if self.plain else self.expr
        answer = self._ask(expr, time_s)
        if self.of_now:
            self.client.clock.check(self.client.origin("query"))
        return answer

    def repeats(self, time_s: float, since_s: float) -> bool:
        """Whether an expression's value at ``time_s`` holds nothing newer than ``since_s``.

        True when no series it reads at the evaluation time, nor any under a range in it, has a sample newer than
        ``since_s``: its value only repeats because the server looks back. False when there is something newer, and
        whenever that can't be told: plain selectors, expressions without such a series or not understood.
        """
        instant = instant_selectors(self.expr)
        if self.plain or not instant:
            return False
        newest = [f"max(timestamp({selector}))" for selector in instant]
        newest += [f"max(timestamp({selector}))" for selector in ranged_selectors(self.expr)]
        question = " or ".join(f"({each} > {since_s:.3f})" for each in newest)
        return self._ask(question, time_s).batch.series == 0

    def count(self, time_s: float) -> int:
        """The number of series at ``time_s``."""
        try:
            counted = self._ask(self._counting(), time_s)
        except SourceRefused:  # count() takes no scalar; if the expression itself is wrong, this says so in its terms
            return self._ask(self.expr, time_s).batch.series
        return _largest(counted)

    def why_short(self, start_s: int, began_s: int, end_s: int) -> Why:
        """Why the values of the span from ``start_s`` to ``end_s`` begin at ``began_s`` only."""
        return why_short(self.client, self.step_s, start_s, began_s, end_s)

    def oldest_s(self, start_s: int, end_s: int) -> int | None:
        """About when values begin within a span; None where there are none."""
        return oldest_s(self.client, self._counting(), self.step_s, start_s, end_s)

    # --- the queries as they are sent -------------------------------------------------------------------------------

    def _over(self, duration: str) -> str:
        """The plain selector with a range. A comment at its end must not swallow the bracket."""
        return f"{self.expr}\n[{duration}]" if "#" in self.expr else f"{self.expr.strip()}[{duration}]"

    def _on_grid(self) -> str:
        """The expression whose value at a grid time is the one this program means.

        Steps must not overlap, but the closed windows of older servers hold a sample on either edge: hence 1 ms less.
        """
        return f"last_over_time({self._over(f'{self.step_s * 1000 - 1}ms')})" if self.plain else self.expr

    def _counting(self) -> str:
        return f"count({self._on_grid()}\n)" if "#" in self.expr else f"count({self._on_grid()})"

    def _by_queries(self, start_s: float, end_s: float, series: int) -> Iterator[Answer]:
        points = points_an_answer(series, self.max_points)
        return self._read_ahead(plan_range(start_s, end_s, self.step_s, series, points, self._most_steps))

    def _most_series(self, start_s: float, end_s: float) -> int:
        """The largest number of series at some times of a span."""
        first, last = math.ceil(start_s / self.step_s), math.floor(end_s / self.step_s)
        stride_s = max(1, (last - first) // _COUNTED_TIMES) * self.step_s
        try:
            body = self.client.query_range(self._counting(), first * self.step_s, last * self.step_s, stride_s)
        except SourceRefused:
            return self.count(last * self.step_s)
        return _largest(scan_answer(body, self.client.origin("query_range")))

    def _ask(self, expr: str, time_s: float) -> Answer:
        return scan_answer(self.client.query(expr, time_s), self.client.origin("query"))

    def _ask_range(self, start_s: int, end_s: int) -> Answer:
        body = self.client.query_range(self._on_grid(), start_s, end_s, self.step_s)
        return scan_answer(body, self.client.origin("query_range"))

    # --- several at once --------------------------------------------------------------------------------------------

    def _read_ahead(self, chunks: list[tuple[int, int]]) -> Iterator[Answer]:
        pool = ThreadPoolExecutor(self.max_in_flight, thread_name_prefix="source")
        waiting = iter(chunks)
        running: set[Future[list[Answer]]] = set()
        try:
            while True:
                for chunk in waiting:
                    running.add(pool.submit(self._chunk, chunk))
                    if len(running) >= self.max_in_flight:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                while done:  # one that failed must not be named here: it would hold this frame, and that all answers
                    yield from done.pop().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _chunk(self, chunk: tuple[int, int]) -> list[Answer]:
        """One chunk, or its halves when the server finds it too much."""
        try:
            return [self._ask_range(*chunk)]
        except SourceTooMuch:
            halves = halve(*chunk, self.step_s)
            if len(halves) == 1:
                raise
            steps = (halves[1][1] - halves[1][0]) // self.step_s + 1  # the longer one
            self._most_steps = min(self._most_steps, max(steps, _FEWEST_STEPS))
            return [self._ask_range(*half) for half in halves]


def _largest(counted: Answer) -> int:
    """The largest of some counts; what no count can be is passed over."""
    counts = counted.batch.value[np.isfinite(counted.batch.value)]
    return int(counts.max()) if len(counts) else 0
