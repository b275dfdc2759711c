"""Whether our clock is that of the server, by the Date of its answers (RFC 9110, 6.6.1).

Cycles are asked for by our clock. One that is an hour ahead finds nothing, takes every series for gone and would write
so by remote write an hour into the future, where it keeps a Prometheus from taking anybody's samples of the present.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from exporter.errors import SourceUnavailable
from exporter.retry_after import http_date_s

MOST_SKEW_S = 300.0  # Prometheus' own look-back: from there on we would not even see each other's newest samples


@dataclass(slots=True)
class Clock:
    """How far our clock is ahead of the server's, by its last answer; 0 where it does not tell the time."""

    ahead_s: float = 0.0

    def note(self, date: str | None) -> None:
        """Take in the Date header of an answer that has just begun; one that is missing or no date says nothing."""
        told_s = http_date_s(date or "")
        self.ahead_s = 0.0 if told_s is None else time.time() - told_s

    def check(self, origin: str) -> None:
        """Raises SourceUnavailable (reason "clock") when both clocks are minutes apart."""
        if abs(self.ahead_s) <= MOST_SKEW_S:
            return
        way = "ahead of" if self.ahead_s > 0 else "behind"
        raise SourceUnavailable(
            f"{origin}: the clock here is {_span(abs(self.ahead_s))} {way} the server's. Nothing is judged until they "
            "agree to 5 minutes; check the time service of both.",
            reason="clock",
        )


def _span(seconds: float) -> str:
    """So long, roughly: the text must not change with every answer."""
    for unit, unit_s in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * unit_s:
            return f"about {seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"
