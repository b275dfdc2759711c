"""What the charts of a report show, as plain numbers: the surroundings of the worst episodes, and what fires when."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.backtest.alerting import Firings
from exporter.backtest.episodes import Episode
from exporter.backtest.runs import Runs, counted
from exporter.backtest.testing import Tested
from exporter.backtest.walking import Walk

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MOST_POINTS = 1500  # of one line
_AROUND_S = 86_400
_AROUND_COLUMNS = 720
_DIGITS = 6


def surroundings(walk: Walk, episode: Episode) -> dict[str, Any]:
    """Value, band and score of the series of an episode, from a day before it to half a day after, where it is known.

    At most MOST_POINTS: of more every second, third, ... is left out, but never the worst; `every` says so.
    """
    grid = walk.grid
    around = min(_AROUND_S // grid.step_s, _AROUND_COLUMNS)
    first = int(episode.start_s // grid.step_s) - around
    end_s = grid.last * grid.step_s if episode.end_s is None else episode.end_s
    last = min(grid.last, math.ceil(end_s / grid.step_s) + around // 2)
    begin, found = walk.kept.around(episode.row, max(first, grid.first), last)
    times_s = (begin + np.arange(len(found["value"]))) * grid.step_s
    chosen, every = _thinned(len(times_s), np.flatnonzero(times_s == episode.peak_s))
    return {
        "time": times_s[chosen].tolist(),
        **{name: rounded(each[chosen]) for name, each in found.items()},
        "start": episode.start_s,
        "end": end_s,
        "every": every,
    }


def _thinned(count: int, kept: I64) -> tuple[I64, int]:
    """Which of so many points are shown, and each how manieth that is."""
    every = max(1, math.ceil(count / MOST_POINTS))
    return np.unique(np.concatenate([np.arange(0, count, every), kept])), every


def firing(one: Tested) -> dict[str, Any]:
    """How many alerts of a query fire from which time on, and the storms; thinned alike."""
    walk = one.walk
    end = walk.grid.end + 1
    time, many = _together(one.alerts.single, end)
    chosen, every = _thinned(len(time), np.array([many.argmax()] if len(many) else [], np.int64))
    storms = [[each.start_s, each.end_s or end * walk.grid.interval_s] for each in one.storms]
    return {
        "time": [walk.grid.first * walk.grid.step_s, *(time[chosen] * walk.grid.interval_s).tolist(),
                 end * walk.grid.interval_s],
        "firing": [0, *many[chosen].tolist(), int(many[-1]) if len(many) else 0],
        "storms": storms[:MOST_POINTS],
        "every": every,
    }  # fmt: skip


def _together(firings: Firings, end: int) -> tuple[I64, I64]:
    """(evaluation, alerts that fire from then on)."""
    order = np.argsort(firings.start, kind="stable")
    # Of no row in particular: all are counted together.
    runs = Runs(np.zeros(len(firings), np.int64), firings.start[order], np.minimum(firings.end[order], end))
    _, time, many = counted((runs,))
    return time, many


def rounded(values: F64) -> list[float | None]:
    """Numbers to six digits, None for what is none."""
    return [_rounded(number) for number in values.tolist()]


def _rounded(number: float) -> float | None:
    return float(f"{number:.{_DIGITS}g}") if math.isfinite(number) else None
