"""A window read by streamed remote read: raw samples as the server stores them, put on the grid here.

It gives what range queries of ``last_over_time(selector[step])`` give, to the bit. Stale markers are no samples; NaN
and infinite values are, and whoever holds the window decides what they are there. Native histograms are counted.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator

from exporter.errors import SourceError, SourceUnavailable
from exporter.source.answer import Answer
from exporter.source.client import Client
from exporter.source.planning import plan_range
from exporter.source.remote_read.collector import Collector, compile_kernels
from exporter.source.remote_read.external import names_to_keep
from exporter.source.remote_read.labels import KEEP_ALL, Kept, kept
from exporter.source.remote_read.matchers import matchers_of
from exporter.source.remote_read.request import HEADERS, MEDIA_TYPE, read_request

FALLBACK = "remote_read_fallback"  # the outcome under which a read that ended in range queries is counted
PATIENCE_S = 3600.0  # how long a server that does not offer it is not asked again

# A request re-reads the chunks that its edges cut through, and nothing is held of it but a batch: so it may be longer
# than a range query, whose points are bounded by what is held at once. How many raw samples a step holds shows only
# when the first request, which is as long as a range query, has been read; the next ones aim at these shares.
_MOST_TIMES_LONGER = 8
_LEAST_SHARE = 1 / 16  # of the length of a range query
_SHARE_OF_LIMIT = 1 / 4  # of max_body_bytes and of the timeout

_LEAST_ROWS = 64
_UNBOUNDED = 1 << 62

log = logging.getLogger(__name__)

Instead = Callable[[int, int], Iterator[Answer]]


class RemoteRead:
    """Reads the window of one plain selector. ``max_points`` bounds the cells that are held at once (16 bytes each).

    What goes wrong is logged once, counted by the client's observer as ``remote_read_fallback``, and the rest of the
    span is read another way. After a refusal or a garbled answer the server is left alone for ``PATIENCE_S``; one that
    is down may be asked again the next time.
    """

    def __init__(
        self, client: Client, expr: str, step_s: int, max_points: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._expr = expr
        self._step_s = step_s
        self._max_points = max_points
        self._clock = clock
        self._matchers = matchers_of(expr)
        self._not_before_s = -math.inf

    def usable(self) -> bool:
        """Whether to try: the expression is a plain selector, and the server has not refused lately."""
        return self._matchers is not None and self._clock() >= self._not_before_s

    def range(self, start_s: float, end_s: float, series: int, instead: Instead) -> Iterator[Answer]:
        """The values at every grid time (multiple of the step) in [start_s, end_s], in answers of any order.

        ``series``: about how many to expect. ``instead(start_s, end_s)`` reads the rest when remote read fails; some
        series may then be read twice, with the same values. Raises SourceUnavailable when this program stops, and
        what ``instead`` raises.
        """
        ((low_s, last_s),) = plan_range(start_s, end_s, self._step_s, 1, _UNBOUNDED, _UNBOUNDED)
        points = float(self._max_points)
        try:
            keep = self._names_to_keep(low_s, last_s)
            while keep is not None and low_s <= last_s:
                columns = max(1, int(points) // max(series, 1))
                high_s = min(last_s, low_s + (columns - 1) * self._step_s)
                points *= yield from self._read(low_s, high_s, series, keep)
                points = min(max(points, _LEAST_SHARE * self._max_points), _MOST_TIMES_LONGER * self._max_points)
                low_s = high_s + self._step_s
            return
        except SourceError as error:
            if error.reason == "stopped":
                raise
            self._give_up(error)
        yield from instead(low_s, last_s)

    def _names_to_keep(self, start_s: int, end_s: int) -> Kept | None:
        """Which labels to keep; None when no series is in the span."""
        names = names_to_keep(self._client, self._expr, self._matchers or (), start_s - self._step_s, end_s)
        if names is None:
            return KEEP_ALL
        return kept(names) if names else None

    def _read(self, start_s: int, end_s: int, series: int, keep: Kept) -> Generator[Answer, None, float]:
        """One request; returns how many times longer the next one may be.

        The answer is read as it is consumed: nothing is read ahead but what the network buffers.
        """
        origin, rows = self._client.origin("read"), self._rows(start_s, end_s, series)
        compile_kernels()  # before the time of the request runs
        collector = Collector(origin, start_s, end_s, self._step_s, rows, keep)
        body_bytes, began_s = 0, self._clock()
        with contextlib.closing(self._body(start_s, end_s)) as pieces:
            for piece in pieces:
                body_bytes += len(piece)
                for batch in collector.take(piece):
                    yield Answer(batch, fast=True)
        *full, last = collector.finish()
        yield from (Answer(batch, fast=True) for batch in full)
        yield Answer(last, _remarks(collector.foreign), fast=True)
        self._client.observe("ok", body_bytes)
        shares = body_bytes / self._client.max_body_bytes, (self._clock() - began_s) / self._client.timeout_s
        return _SHARE_OF_LIMIT / max(*shares, 1e-6)

    def _body(self, start_s: int, end_s: int) -> Generator[bytes]:
        first_ms = (start_s - self._step_s) * 1000 + 1
        request = read_request(self._matchers or (), first_ms, end_s * 1000)
        return self._client.stream("read", request, HEADERS, MEDIA_TYPE)

    def _rows(self, start_s: int, end_s: int, series: int) -> int:
        """Series of one batch: as many as are expected, if there are no more cells than may be held."""
        columns = (end_s - start_s) // self._step_s + 1
        return max(1, min(self._max_points // columns, max(_LEAST_ROWS, series + series // 8)))

    def _give_up(self, error: SourceError) -> None:
        self._client.observe(FALLBACK, 0)
        wait_s = 0.0 if isinstance(error, SourceUnavailable) else PATIENCE_S
        self._not_before_s = self._clock() + wait_s
        log.warning(
            "remote read failed, range queries are used instead",
            extra={"expr": self._expr, "error": str(error), "again_after_seconds": wait_s},
        )


def _remarks(foreign: int) -> tuple[str, ...]:
    """What to say of samples that were skipped, if there were any."""
    told = f"remote read: {foreign:,} samples in chunks of an unknown encoding were skipped"
    return (told,) if foreign else ()
