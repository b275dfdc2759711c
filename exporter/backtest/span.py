"""Which stretch of the past is judged: moments of the command line, and the columns and evaluations between two."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.backtest.faults import BacktestError
from exporter.config.durations import format_duration, parse_duration_ms
from exporter.config.schema import DAY_S, Query

LONGEST_S = 366 * DAY_S

_LATEST_S = 253_402_300_799.0  # the end of the year 9999
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_WAYS = "a time such as 2026-03-01T00:00:00Z, unix seconds, a duration ago such as 14d, or now"


def moment_s(text: str, now_s: float) -> float:
    """Unix seconds of a moment as the command line takes it. Raises ValueError that says which ways there are."""
    duration_ms = parse_duration_ms(text)
    if text == "now" or duration_ms is not None:
        found_s = now_s - (duration_ms or 0) / 1000
    elif _SECONDS.fullmatch(text):
        found_s = float(text)
    elif _RFC_3339.fullmatch(text):
        found_s = _date_s(text)
    else:
        raise ValueError(f"{text[:60]!r} is not a moment: {_WAYS}")
    if not 0 <= found_s <= _LATEST_S:
        raise ValueError(f"{text[:60]!r} is before 1970 or after 9999: {_WAYS}")
    return found_s


def _date_s(text: str) -> float:
    try:
        return datetime.fromisoformat(text.upper().replace(" ", "T")).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no date that exists: {_WAYS}") from None


def shown_time(time_s: float) -> str:
    """A moment as people read it, in UTC."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00") + "Z"


@dataclass(frozen=True, slots=True)
class Span:
    """From and to, unix seconds, both included."""

    start_s: float
    end_s: float

    @property
    def weeks(self) -> float:
        """Its length."""
        return (self.end_s - self.start_s) / (7 * DAY_S)


def checked_span(start_s: float, end_s: float, now_s: float | None) -> Span:
    """A span that can be judged; `now_s` is None where samples may be of any time. Raises BacktestError."""
    if start_s >= end_s:
        raise BacktestError(
            f"--from ({shown_time(start_s)}) is not before --to ({shown_time(end_s)}): swap them, or move one"
        )
    if now_s is not None and end_s > now_s + 1:
        raise BacktestError(f"--to ({shown_time(end_s)}) is in the future, now is {shown_time(now_s)}: leave --to out")
    if end_s - start_s > LONGEST_S:
        raise BacktestError(f"--from to --to is {(end_s - start_s) / DAY_S:.0f} days: a year at a time is the most")
    return Span(start_s, end_s)


@dataclass(frozen=True, slots=True)
class Grid:
    """A span on a query's grids: verdicts `first` to `last`, both given, and evaluations of the rules up to `end`.

    A verdict is at `number * step_s`, evaluation k at `k * interval_s`, `every` of them to a verdict; the verdicts
    are those of the columns of the window from `first_column` to `last_column`.
    """

    step_s: int
    interval_s: int
    first: int
    last: int
    end: int
    first_column: int
    last_column: int

    @property
    def columns(self) -> int:
        """Verdicts of one series."""
        return self.last - self.first + 1

    @property
    def every(self) -> int:
        """Evaluations to a verdict."""
        return self.step_s // self.interval_s

    @property
    def weeks(self) -> float:
        """Judged time."""
        return self.columns * self.step_s / (7 * DAY_S)


def grid_of(span: Span, query: Query, *, coarse: bool) -> Grid:
    """The columns that lie within a span; `coarse`: with one verdict each, else with one each interval.

    Raises BacktestError where there is none.
    """
    end = math.floor(span.end_s / query.interval_s)
    coarse |= query.step_s == query.interval_s
    first, last = math.ceil(span.start_s / query.step_s), math.floor(span.end_s / query.step_s)
    if not coarse:
        first = math.floor(span.start_s / query.step_s) + 1  # all of its cycles are within
    if last < first:
        step = format_duration(query.step_s * 1000)
        raise BacktestError(
            f"no step of {step} of query {query.name} ends between --from and --to: take a span of at least {step}"
        )
    if coarse:
        return Grid(query.step_s, query.interval_s, first, last, end, first, last)
    every = query.step_s // query.interval_s
    return Grid(query.interval_s, query.interval_s, (first - 1) * every + 1, last * every, end, first, last)
