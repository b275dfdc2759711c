"""Ending early: Ctrl-C and SIGTERM as a flag that every wait looks at.

The handler raises nothing, so a signal can't strike between the start of a process and the note that it runs; and a
second Ctrl-C can't cut the tidying short.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SLICE_S = 0.1


class Stopped(Exception):
    """The demo was asked to end: not an error, the user has had enough."""


class Stop:
    """Whether the demo was asked to end, and by which signal (0: not asked)."""

    def __init__(self) -> None:
        self.signal = 0

    def ask(self, number: int = signal.SIGTERM, _frame: FrameType | None = None) -> None:
        """Ask for the end; only sets a flag, so it may be called from a signal handler or another thread."""
        self.signal = self.signal or number

    def check(self) -> None:
        """Raise Stopped when the end was asked for."""
        if self.signal:
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep; raise Stopped within a tenth of a second after the end was asked for."""
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            rest = deadline - time.monotonic()
            if rest <= 0:
                return
            time.sleep(min(SLICE_S, rest))


@contextmanager
def listening() -> Iterator[Stop]:
    """A Stop that hears SIGINT, SIGTERM and SIGHUP while the block lasts (only in the main thread can it hear them)."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
