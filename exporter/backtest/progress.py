"""How far a backtest is: a bar on a terminal, some plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_WIDTH = 30
_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 10.0

Clock = Callable[[], float]


class Progress:
    """Tells of one query after the other. For one thread."""

    def __init__(self, out: TextIO, clock: Clock = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._bar = out.isatty()
        self._title = ""
        self._begun_s = 0.0
        self._told_s = 0.0

    def begin(self, title: str) -> None:
        """A query begins; its samples are read first."""
        self._title = title
        self._begun_s = self._told_s = self._clock()
        if self._bar:
            self._draw(0.0)
        else:
            self._out.write(f"{title}: reading\n")
            self._out.flush()

    def told(self, share: float) -> None:
        """So much of it is done."""
        now_s = self._clock()
        if now_s - self._told_s < (_BAR_EVERY_S if self._bar else _LINE_EVERY_S):
            return
        self._told_s = now_s
        if self._bar:
            self._draw(share)
        else:
            self._out.write(f"{self._title}: {share:.0%}{self._left(share)}\n")
            self._out.flush()

    def end(self, words: str) -> None:
        """It has ended."""
        took_s = self._clock() - self._begun_s
        start = "\r\x1b[K" if self._bar else ""
        self._out.write(f"{start}{self._title}: {words}, {took_s:.1f} s\n")
        self._out.flush()

    def _draw(self, share: float) -> None:
        full = round(_WIDTH * min(1.0, share))
        bar = "#" * full + "." * (_WIDTH - full)
        self._out.write(f"\r\x1b[K{self._title} [{bar}] {share:4.0%}{self._left(share)}")
        self._out.flush()

    def _left(self, share: float) -> str:
        if share <= 0:
            return " reading" if self._bar else ""
        return f", {(self._clock() - self._begun_s) * (1 - share) / share:.0f} s left"
