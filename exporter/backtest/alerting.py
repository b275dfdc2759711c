"""The alert rules of a query over its past: when each would have fired, as Prometheus evaluates them.

Of the shipped rules: AnomalyDetected, by series, and AnomalyShareHigh, the storm, by group. Time is counted in
evaluations, one each interval of the query. A range such as `[15m]` holds what is newer than 15 minutes, as from
Prometheus 3.0 on; older ones count a sample exactly as old, too, and resolve an evaluation later where one is.
`for` and `keep_firing_for` follow rules/alerting.go of Prometheus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.backtest.points import Points, Present
from exporter.backtest.runs import NO_RUNS, Runs, chains, common, summed, united, where_true
from exporter.backtest.span import Grid
from exporter.config.schema import CONSENSUS, Alert, Query

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Firings:
    """Firing alerts (n,) by row: `since` the expression was true, `start` it fired, `end` it fired no more; sorted by
    row and time. An end beyond the last evaluation means that it still fires."""

    row: I64
    since: I64
    start: I64
    end: I64

    def __len__(self) -> int:
        """How many there are."""
        return len(self.row)

    def part(self, chosen: Mask | I64) -> Firings:
        """Some of them, in this order."""
        return Firings(self.row[chosen], self.since[chosen], self.start[chosen], self.end[chosen])


@dataclass(frozen=True, slots=True)
class Storms:
    """AnomalyShareHigh: `firings` whose rows are groups, and at their worst moment `most` series (n,) of `of` (n,)."""

    firings: Firings
    most: I64
    of: I64


@dataclass(frozen=True, slots=True)
class Alerts:
    """What the rules of a query would have sent: `single` alerts, `muted` (n,) those that began while a storm of their
    group fired, which inhibits them."""

    single: Firings
    muted: Mask
    storms: Storms

    @property
    def pages(self) -> int:
        """Notifications of something new: the storms, and the single alerts that none of them mutes."""
        return int((~self.muted).sum()) + len(self.storms.firings)


def models_of(query: Query) -> tuple[str, ...]:
    """The models whose scores the rules of a query look at."""
    names = tuple(model.name for model in query.models)
    return names if query.alert.model == CONSENSUS else (query.alert.model,)


def evaluations(duration_s: float, grid: Grid) -> int:
    """How many evaluations a duration covers that begins at one."""
    return -int(-duration_s // grid.interval_s)


def told_of(query: Query, points: Points) -> Mask:
    """Which points (n,) the rules count: those still above 1, on the side to which the alert narrows its query.

    Then the rules compare value and expected value, which a query that publishes scores only does not show.
    """
    above = points.score > 1
    side = query.alert.direction
    if side in ("both", query.direction):
        return above
    if query.publish == "score":
        return np.zeros(len(points), np.bool_)
    return above & (points.value > points.expected if side == "above" else points.value < points.expected)


def alerts_of(
    query: Query, grid: Grid, points: Mapping[str, Points], present: Mapping[str, Present], groups: I64
) -> Alerts:
    """The alerts of a query from its points and presences by model; `groups` (rows,) are the groups of its series."""
    models = models_of(query)
    alert, keep = query.alert, evaluations(query.alert.keep_firing_for_s, grid)
    told, seen = [points[name] for name in models], [present[name] for name in models]
    single = fired(_active(query, grid, told, alert.lookback_s), evaluations(alert.for_s, grid), keep)
    active = _active(query, grid, told, alert.storm_lookback_s)
    storms = storms_of(alert, groups, active, _watched(alert.storm_lookback_s, grid, seen), keep)
    return Alerts(single, muted_by(storms.firings, single, groups), storms)


def _active(query: Query, grid: Grid, points: Sequence[Points], lookback_s: int) -> Runs:
    """When each series has been anomalous within the look-back: for a consensus, by all models, at least two."""
    if query.alert.model == CONSENSUS and len(points) == 1:
        return NO_RUNS
    each = []
    for of_model in points:
        told = of_model.part(told_of(query, of_model))
        start = told.column * grid.every
        each.append(united(told.row, start, start + evaluations(lookback_s, grid)))
    return common(tuple(each)).cut(grid.first * grid.every, grid.end + 1)


def _watched(lookback_s: int, grid: Grid, present: Sequence[Present]) -> Runs:
    """When each series has a score of any of the models within the look-back."""
    row, first, last = (np.concatenate([getattr(one, name) for one in present]) for name in ("row", "first", "last"))
    found = united(row, first * grid.every, last * grid.every + evaluations(lookback_s, grid))
    return found.cut(grid.first * grid.every, grid.end + 1)


def fired(active: Runs, wait: int, keep: int) -> Firings:
    """The alerts of an expression that is true in these runs: pending for `wait` evaluations, then firing until it has
    been false for `keep`. What becomes true again meanwhile fires on without a wait."""
    if len(active) == 0:
        return Firings(active.row, active.start, active.start, active.end)
    first = np.flatnonzero(chains(active, keep))
    count = len(active)
    lasting = np.where(active.end - active.start > wait, np.arange(count), count)
    begin = np.minimum.reduceat(lasting, first)
    last = np.append(first[1:], count) - 1
    fires = begin < count
    begin, last = begin[fires], last[fires]
    since = active.start[begin]
    return Firings(active.row[begin], since, since + wait, active.end[last] + keep)


def storms_of(alert: Alert, groups: I64, active: Runs, watched: Runs, keep: int) -> Storms:
    """When enough series of a group are anomalous at once. The rule has no `for`."""
    row = np.concatenate([groups[each.row] for each in (active, active, watched, watched)])
    time = np.concatenate([active.start, active.end, watched.start, watched.end])
    anomalous = np.repeat([1, -1, 0, 0], [len(active), len(active), len(watched), len(watched)])
    seen = np.repeat([0, 0, 1, -1], [len(active), len(active), len(watched), len(watched)])
    group, moment, many = summed(row, time, anomalous)
    of = summed(row, time, seen)[2]
    enough = (many >= alert.min_series) & (many >= alert.min_share * of - 1e-9 * of)
    firings = fired(where_true(group, moment, enough), 0, keep)
    return Storms(firings, *_worst(firings, group, moment, many, of))


def _worst(firings: Firings, group: I64, moment: I64, many: I64, of: I64) -> tuple[I64, I64]:
    """The most anomalous series (n,) during each firing, and how many there were then."""
    worst = []
    for row, start, end in zip(firings.row, firings.since, firings.end, strict=True):  # storms are few
        inside = np.flatnonzero((group == row) & (moment >= start) & (moment < end))
        worst.append(inside[many[inside].argmax()])
    at = np.array(worst, np.int64)
    return many[at], of[at]


def muted_by(storms: Firings, single: Firings, groups: I64) -> Mask:
    """Which single alerts (n,) begin while a storm of their group fires."""
    muted = np.zeros(len(single), np.bool_)
    own = groups[single.row]
    for row, start, end in zip(storms.row, storms.start, storms.end, strict=True):  # storms are few
        muted |= (own == row) & (single.start >= start) & (single.start < end)
    return muted
