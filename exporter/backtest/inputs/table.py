"""Tables of samples: a column for the time, one for the value, and all others are labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.backtest.faults import BacktestError

TIMES = ("timestamp", "time", "ts")
VALUE = "value"


@dataclass(frozen=True, slots=True)
class Columns:
    """Where what stands: the numbers of the columns, and the names of those that are labels."""

    time: int
    value: int
    labels: tuple[tuple[int, str], ...]


def columns_of(path: str, header: Sequence[str]) -> Columns:
    """The columns of a table. Raises BacktestError with what is missing, or twice there."""
    names = [name.strip() for name in header]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or "" in names:
        what = f"the column {twice[0]!r} is there twice" if twice else "a column has no name"
        raise BacktestError(f"{path}: {what}: each column needs a name of its own")
    times = [name for name in TIMES if name in names]
    if len(times) != 1 or VALUE not in names:
        shown = ", ".join(names)[:200]
        raise BacktestError(
            f"{path}: the columns are {shown or 'none'}: one of {', '.join(TIMES)} and {VALUE} are needed, "
            "all others are labels"
        )
    time, value = names.index(times[0]), names.index(VALUE)
    return Columns(time, value, tuple((i, name) for i, name in enumerate(names) if i not in (time, value)))
