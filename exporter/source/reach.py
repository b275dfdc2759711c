"""How far back a server really reads: some answer a long span with its end only, and do not say so.

Cortex and Mimir move the start of a query to ``max_query_lookback`` (Mimir also to its retention) before anything is
evaluated, and answer 200 without a warning; a server with a shorter retention, or a young one, has nothing to give. In
all these cases an answer begins later than what was asked for, as it does when the series are young.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from exporter.config.durations import format_duration
from exporter.errors import SourceError
from exporter.source.client import Client
from exporter.source.scan import scan_answer

_PROBED_TIMES = 10  # few: VictoriaMetrics shifts the grid of longer answers
_LEAST_S = 900  # a shortfall below this is a matter of scrape intervals and of ranges in the expr
_LEAST_STEPS = 3
_LEAST_SHARE = 20  # one part in so many of a span


class Why(enum.Enum):
    """Why an answer begins late; the value is how it is told."""

    LIMIT = "it reads no further back (max_query_lookback, or its retention)"
    AGE = "it has nothing older (its retention, or its age)"
    UNKNOWN = "its retention, max_query_lookback or age, or the series are no older"
    YOUNG = "the series are no older"


@dataclass(frozen=True, slots=True)
class Cut:
    """A span that was asked for from ``asked_s`` to ``end_s`` and answered from ``since_s`` on (unix seconds)."""

    asked_s: int
    since_s: int
    end_s: int
    why: Why

    @property
    def words(self) -> str:
        """What an operator should know of it."""
        given, asked = _rounded(self.end_s - self.since_s), _rounded(self.end_s - self.asked_s)
        return f"the server gave only the last {given} of the {asked} asked: {self.why.value}; the window is shortened"

    def missing_s(self, low_s: int, high_s: int) -> int:
        """Seconds between two times that this cut has left without samples."""
        return max(0, min(self.since_s, high_s) - max(self.asked_s, low_s))


def is_short(start_s: int, began_s: int, end_s: int, step_s: int) -> bool:
    """Whether an answer begins so late within a span that somebody should know."""
    return began_s - start_s > max((end_s - start_s) // _LEAST_SHARE, _LEAST_S, _LEAST_STEPS * step_s)


def why_short(client: Client, step_s: int, start_s: int, began_s: int, end_s: int) -> Why:
    """Why an answer to the span from ``start_s`` to ``end_s`` begins at ``began_s`` only.

    Asks for a constant over what is missing: a server that evaluates it there reads that far back. Then whether any
    target was up before and is now. UNKNOWN where the server does not say; raises nothing for what it does.
    """
    try:
        if _is_cut_off(client, step_s, start_s, began_s):
            return Why.LIMIT
        if _has_targets(client, began_s - max(_LEAST_S, _LEAST_STEPS * step_s)):
            return Why.YOUNG
        return Why.AGE if _has_targets(client, end_s) else Why.UNKNOWN
    except SourceError:
        return Why.UNKNOWN


def oldest_s(client: Client, counting: str, step_s: int, start_s: int, end_s: int) -> int | None:
    """About when series begin to be there within a span, by an expression that counts them; None where none is.

    Costs two queries of few points; good to a five hundredth of the span. Raises the client's errors.
    """
    low_s, found = start_s, None
    for _ in range(2):
        stride_s = max(step_s, (end_s - low_s) // (2 * _PROBED_TIMES))
        body = client.query_range(counting, low_s, end_s, stride_s)
        times = scan_answer(body, client.origin("query_range")).batch.time_ms
        if len(times) == 0:
            return found
        found = int(times.min()) // 1000
        low_s, end_s = max(start_s, found - stride_s), found
    return found


def _is_cut_off(client: Client, step_s: int, start_s: int, began_s: int) -> bool:
    """Whether the server evaluates nothing in what is missing but for its very end."""
    stride_s = max(1, (began_s - start_s) // (_PROBED_TIMES * step_s)) * step_s
    first_s = -(-start_s // stride_s) * stride_s
    body = client.query_range("vector(1)", first_s, began_s - step_s, stride_s)
    times = scan_answer(body, client.origin("query_range")).batch.time_ms
    return len(times) == 0 or int(times.min()) // 1000 > began_s - 2 * stride_s


def _has_targets(client: Client, time_s: int) -> bool:
    counts = scan_answer(client.query("count(up)", time_s), client.origin("query")).batch.value
    return bool(len(counts)) and bool(counts[0] > 0)


def _rounded(length_s: int) -> str:
    """A length in its two largest units, or so; a short one is not known exactly."""
    if length_s < _LEAST_S:
        return "few minutes"
    for unit_s, least_s in ((3600, 2 * 86_400), (60, 7200)):
        if length_s >= least_s:
            return format_duration(length_s // unit_s * unit_s * 1000)
    return format_duration(length_s * 1000)
