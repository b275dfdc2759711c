"""Alerts as people read them: which series, from when to when, how far out at the worst moment, in which direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.backtest.alerting import Alerts, Firings, evaluations, told_of
from exporter.backtest.points import Points
from exporter.backtest.span import Grid
from exporter.backtest.walking import Walk
from exporter.config.schema import CONSENSUS
from exporter.publish.label_text import exported_labels

I64 = npt.NDArray[np.int64]

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Episode:
    """One single alert: times in unix seconds (`end_s` None: it still fires), and the worst sample with its band.

    An edge that the band does not have is None. `muted`: it began while a storm of its group fired.
    """

    row: int
    labels: Labels
    start_s: float
    end_s: float | None
    peak_s: float
    score: float
    value: float
    expected: float | None
    lower: float | None
    upper: float | None
    muted: bool

    @property
    def direction(self) -> str:
        """On which side of its band the worst sample lay: above, below, or outside where that can't be told."""
        if self.upper is not None and self.value > self.upper:
            return "above"
        return "below" if self.lower is not None and self.value < self.lower else "outside"


@dataclass(frozen=True, slots=True)
class Storm:
    """One AnomalyShareHigh: `labels` of the group, at its worst `most` series of `of` at once."""

    labels: Labels
    start_s: float
    end_s: float | None
    most: int
    of: int


def groups_of(walk: Walk) -> tuple[I64, list[Labels]]:
    """The group of each series (rows,) for AnomalyShareHigh, and the labels of the groups."""
    names = walk.query.alert.group_by
    known: dict[tuple[str, ...], int] = {}
    numbers = []
    for labels in walk.labels:  # once per series
        shown = dict(exported_labels(labels, {"query": walk.query.name})) if names else {}
        numbers.append(known.setdefault(tuple(shown.get(name, "") for name in names), len(known)))
    groups: list[Labels] = [{name: text for name, text in zip(names, key, strict=True) if text} for key in known]
    return np.array(numbers, np.int64), groups


def peaks(walk: Walk, single: Firings) -> I64:
    """Which point of the primary model is the worst of each firing (n,); -1 where it has none of its own."""
    query, grid = walk.query, walk.grid
    points = walk.points[walk.primary]
    # Where several models must agree, the sample that tells may be older than their agreement.
    early = evaluations(query.alert.lookback_s, grid) - 1 if query.alert.model == CONSENSUS else 0
    return worst_of(points, np.flatnonzero(told_of(query, points)), single, grid, early)


def worst_of(points: Points, chosen: I64, single: Firings, grid: Grid, early: int = 0) -> I64:
    """Which of some chosen points is the worst during each firing (n,), or so many evaluations before; -1: none."""
    found = np.full(len(single), -1, np.int64)
    if len(single) == 0 or len(chosen) == 0:
        return found
    wide = grid.end + 2 + early + max(0, int(single.end.max()) - grid.end)
    at = points.column[chosen] * grid.every
    keys = single.row * wide + np.maximum(single.since - early, 0)
    of = np.searchsorted(keys, points.row[chosen] * wide + at, side="right") - 1
    inside = (of >= 0) & (single.row[of] == points.row[chosen]) & (at < single.end[of])
    of, chosen = of[inside], chosen[inside]
    order = np.lexsort((points.column[chosen], -points.score[chosen], of))
    firing, first = np.unique(of[order], return_index=True)
    found[firing] = chosen[order][first]
    return found


def worst_first(walk: Walk, alerts: Alerts, most: int) -> list[Episode]:
    """The episodes with the highest scores, at most so many."""
    at = peaks(walk, alerts.single)
    points = walk.points[walk.primary]
    score = np.where(at >= 0, points.score[at] if len(points) else 0.0, 0.0)
    order = np.lexsort((alerts.single.start, -score))[:most]
    return [_episode(walk, alerts, int(i), points, int(at[i])) for i in order]


def _episode(walk: Walk, alerts: Alerts, i: int, points: Points, at: int) -> Episode:
    single, interval_s = alerts.single, walk.grid.interval_s
    row = int(single.row[i])
    start_s = float(single.start[i] * interval_s)
    known = at >= 0
    return Episode(
        row,
        walk.labels[row],
        start_s,
        end_of(int(single.end[i]), walk),
        float(points.column[at] * walk.grid.step_s) if known else start_s,
        float(points.score[at]) if known else float("nan"),
        float(points.value[at]) if known else float("nan"),
        expected=_number(points.expected[at]) if known else None,
        lower=_number(points.lower[at]) if known else None,
        upper=_number(points.upper[at]) if known else None,
        muted=bool(alerts.muted[i]),
    )


def end_of(end: int, walk: Walk) -> float | None:
    """The time at which a firing has ended, None where it has not by the last evaluation."""
    return None if end > walk.grid.end else float(end * walk.grid.interval_s)


def _number(number: np.float64) -> float | None:
    return float(number) if np.isfinite(number) else None


def storms(walk: Walk, alerts: Alerts, groups: Sequence[Labels]) -> list[Storm]:
    """The storms in the order of their groups and of time."""
    found, firings = alerts.storms, alerts.storms.firings
    return [
        Storm(
            groups[int(firings.row[i])],
            float(firings.start[i] * walk.grid.interval_s),
            end_of(int(firings.end[i]), walk),
            int(found.most[i]),
            int(found.of[i]),
        )
        for i in range(len(firings))
    ]
