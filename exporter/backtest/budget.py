"""How many alerts are wanted, and the sensitivity that keeps them within that.

A sensitivity multiplies the threshold of the models, and a score above 1 is a multiple of the threshold: so what is
still above 1 at a larger sensitivity follows from one replay, by a division. That is exact but where a query or its
alert looks at the distance from the expected value or at the side of it: the expected value is kept within the band,
which grows with the sensitivity. There a proposal is confirmed by a replay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.backtest.alerting import alerts_of
from exporter.backtest.faults import BacktestError
from exporter.backtest.points import Points
from exporter.backtest.walking import Walk
from exporter.config.schema import DAY_S, Query
from exporter.verdict import OUT_OF_RANGE

I64 = npt.NDArray[np.int64]

_PERIODS_S = {"hour": 3600, "day": DAY_S, "week": 7 * DAY_S, "month": 30 * DAY_S}
_SYNTAX = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*/\s*(hour|day|week|month)(\s*/\s*series)?", re.ASCII)
_LEAST, _MOST = 0.1, 10.0  # of a sensitivity in a config


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so many pages in a period: of each query, or of each of its series on average."""

    text: str
    most: float
    period_s: int
    per_series: bool

    def allowed(self, walk: Walk) -> float:
        """The pages that a walk may have."""
        if self.per_series:
            return self.most * walk.series_weeks * _PERIODS_S["week"] / self.period_s
        return self.most * walk.grid.weeks * _PERIODS_S["week"] / self.period_s


def parse_budget(text: str) -> Budget:
    """A budget as it is written. Raises ValueError."""
    found = _SYNTAX.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:40]!r} is no budget: such as 2/week, 0.5/day, 10/month, or 0.1/week/series")
    return Budget(text.strip(), float(found.group(1)), _PERIODS_S[found.group(2)], bool(found.group(3)))


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a budget means for one query: `allowed` pages in the span, `pages` now; by sensitivity the pages it would
    give, ascending; `sensitivity` is proposed, the query's own where that is within the budget, None where none is."""

    allowed: float
    pages: int
    table: tuple[tuple[float, int], ...]
    sensitivity: float | None

    @property
    def changes(self) -> bool:
        """Whether another sensitivity is proposed."""
        return self.sensitivity is not None and self.pages > self.allowed


def propose(walk: Walk, groups: I64, budget: Budget) -> Proposal:
    """The sensitivity nearest to the query's own that keeps its pages within the budget, as all larger ones do.

    Where the budget is kept nothing is proposed: more alerts than now are not what anybody asked for.
    """
    own = walk.query.sensitivity
    table = [(factor, pages_at(walk, groups, factor)) for factor in candidates(own)]
    allowed = budget.allowed(walk)
    pages = dict(table)[own]
    if pages <= allowed:
        return Proposal(allowed, pages, tuple(table), own)
    found = None
    for factor, many in reversed(table):
        if many > allowed:
            break
        found = factor
    return Proposal(allowed, pages, tuple(table), found)


def is_exact(query: Query) -> bool:
    """Whether a division of the scores tells all about another sensitivity."""
    plain = query.min_deviation == 0 and query.min_relative_deviation == 0 and query.direction == "both"
    return plain and query.alert.direction == "both"


def confirmed(proposal: Proposal, replayed: Callable[[float], int]) -> Proposal:
    """A proposal that replays agree with: `replayed` tells the pages at a sensitivity. Where they are too many the next
    larger ones are tried, ever further apart."""
    real = dict(proposal.table)
    larger = [factor for factor in real if proposal.sensitivity is not None and factor >= proposal.sensitivity]
    at, stride = 0, 1
    while at < len(larger):
        real[larger[at]] = replayed(larger[at])
        if real[larger[at]] <= proposal.allowed:
            return replace(proposal, table=tuple(real.items()), sensitivity=larger[at])
        at, stride = at + stride, 2 * stride
    return replace(proposal, table=tuple(real.items()), sensitivity=None)


def candidates(own: float) -> list[float]:
    """The sensitivities that are tried, ascending: a query's own, and from there in steps of about 5 %.

    None is more sensitive: where a score is at most 1 it also tells of the season, and can't be divided.
    """
    steps = {round(float(factor), 2) for factor in np.geomspace(_LEAST, _MOST, 96)}
    return sorted({own} | {factor for factor in steps if factor > own})


def pages_at(walk: Walk, groups: I64, factor: float) -> int:
    """The pages that a query would have had at another sensitivity."""
    return alerts_of(walk.query, walk.grid, points_at(walk.query, walk.points, factor), walk.present, groups).pages


def points_at(query: Query, points: Mapping[str, Points], factor: float) -> dict[str, Points]:
    """The points of each model with the scores that another sensitivity gives them."""
    return {name: replace(each, score=_rescaled(query, each, factor)) for name, each in points.items()}


def _rescaled(query: Query, points: Points, factor: float) -> npt.NDArray[np.float64]:
    """Scores at a sensitivity of at least the query's own. What is above 1 lies beyond the least deviations."""
    score = points.score * (query.sensitivity / factor)
    least, most = query.data_range
    outside = (points.value < least) | (points.value > most)
    return np.where(outside, np.maximum(score, OUT_OF_RANGE), score)


def checked_budget(text: str) -> Budget:
    """A budget of the command line. Raises BacktestError."""
    try:
        return parse_budget(text)
    except ValueError as error:
        raise BacktestError(f"--budget: {error}") from error
