"""The alerts of the slow signals over a query's past: AnomalyShift and AnomalyStale, by series.

They warn and do not page, no storm mutes them, and their scores are no multiples of a sensitivity: so pages, incidents
and the budget leave them out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.backtest.alerting import Firings, evaluations, fired
from exporter.backtest.episodes import Labels, end_of, worst_of
from exporter.backtest.points import Points
from exporter.backtest.runs import united
from exporter.backtest.span import Grid
from exporter.backtest.walking import Walk
from exporter.rules.alerts import SLOW_LOOKBACK_S

MOST_EPISODES = 1_000
_LOOKBACK_S = {"shift": SLOW_LOOKBACK_S}  # of the rules that have one; others take the newest score


@dataclass(frozen=True, slots=True)
class SlowEpisode:
    """One alert of a slow signal: times in unix seconds (`end_s` None: it still fires), its worst score, and the value
    of the series then."""

    labels: Labels
    start_s: float
    end_s: float | None
    peak_s: float
    score: float
    value: float


@dataclass(frozen=True, slots=True)
class Slow:
    """What one slow signal of a query would have alerted on: how often, and the worst MOST_EPISODES."""

    signal: str
    alerts: int
    episodes: tuple[SlowEpisode, ...]


def slow_alerts(walk: Walk) -> tuple[Slow, ...]:
    """The alerts of a query's slow signals, in the order of its config."""
    return tuple(_slow(walk, signal, walk.slow[signal]) for signal in walk.query.signals)


def slow_firings(signal: str, points: Points, grid: Grid) -> Firings:
    """When the rule of a slow signal fires. The newest score is that of the last verdict, until the next is due."""
    every = grid.every
    held = evaluations(_LOOKBACK_S[signal], grid) if signal in _LOOKBACK_S else every
    start = points.column * every
    return fired(united(points.row, start, start + held).cut(grid.first * every, grid.end + 1), 0, 0)


def _slow(walk: Walk, signal: str, points: Points) -> Slow:
    firings = slow_firings(signal, points, walk.grid)
    at = worst_of(points, np.arange(len(points)), firings, walk.grid)
    order = np.lexsort((firings.start, -points.score[at]))[:MOST_EPISODES]
    return Slow(signal, len(firings), tuple(_episode(walk, firings, points, int(i), int(at[i])) for i in order))


def _episode(walk: Walk, firings: Firings, points: Points, i: int, at: int) -> SlowEpisode:
    return SlowEpisode(
        walk.labels[int(firings.row[i])],
        float(firings.start[i] * walk.grid.interval_s),
        end_of(int(firings.end[i]), walk),
        float(points.column[at] * walk.grid.step_s),
        float(points.score[at]),
        float(points.value[at]),
    )
