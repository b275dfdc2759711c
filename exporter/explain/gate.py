"""How many explanations may be made: few at once, few waiting, and a rate, so that nobody floods the source."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from exporter.explain.question import ExplainError
from exporter.publish.web.rate import TokenBucket

AT_ONCE = 2
MOST_WAITING = 4
PATIENCE_S = 2.0
BURST = 30
INTERVAL_S = 0.5
COME_BACK_S = 5
_TOO_MANY = 429


class Gate:
    """Lets explanations in. Safe between threads."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._free = threading.Semaphore(AT_ONCE)
        self._room = threading.Semaphore(AT_ONCE + MOST_WAITING)
        self._rate = TokenBucket(INTERVAL_S, BURST)

    @contextmanager
    def passed(self) -> Iterator[None]:
        """One of the places, after a short wait at most. Raises ExplainError (429) when none becomes free, at once when
        others wait already."""
        if not self._room.acquire(blocking=False):
            raise _busy()
        try:
            if not self._free.acquire(timeout=self._patience_s):
                raise _busy()
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._room.release()

    def spend(self) -> None:
        """Count one explanation that asks the source. Raises ExplainError (429) when there were too many lately."""
        wait_s = self._rate.take()
        if wait_s:
            seconds = math.ceil(wait_s)
            message = f"Too many explanations were asked for; try again in {seconds} seconds."
            raise ExplainError(message, status=_TOO_MANY, busy_s=seconds)


def _busy() -> ExplainError:
    message = f"Other explanations are being made; try again in {COME_BACK_S} seconds."
    return ExplainError(message, status=_TOO_MANY, busy_s=COME_BACK_S)
