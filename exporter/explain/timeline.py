"""What was said of a series over its window, column by column: the samples, the bands, the scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config import Query
from exporter.explain.recording import Recorded
from exporter.judging import horizon
from exporter.replay import Histories, Replay

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

DAY_S = 86_400
_HALF_HOUR_S = 1800
_MOST_COLUMNS = 20_000  # of a chart


@dataclass(frozen=True, slots=True)
class Timeline:
    """Verdicts of one model on the last sample of each column (k,), and then on the judged sample; `times_s` are the
    grid times that end the columns, and its time. NaN where there is no sample or no verdict."""

    times_s: I64
    value: F64
    score: F64
    expected: F64
    lower: F64
    upper: F64

    def then(
        self, judged_s: float, value: float, score: float, expected: float, lower: float, upper: float
    ) -> Timeline:
        """The same and a sample after it; the same alone where that lies within."""
        if not np.isfinite(judged_s) or (len(self.times_s) and judged_s <= self.times_s[-1]):
            return self
        arrays = (self.value, self.score, self.expected, self.lower, self.upper)
        more = (value, score, expected, lower, upper)
        joined = (np.append(array, x) for array, x in zip(arrays, more, strict=True))
        return Timeline(np.append(self.times_s, np.int64(judged_s)), *joined)

    def since(self, time_s: float) -> Timeline:
        """The part after a time."""
        kept = self.times_s > time_s
        return Timeline(*(getattr(self, name)[kept] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Farness:
    """How far the judged value is from what was expected, beside what the days before have seen.

    `days` days with verdicts at this time of day (half an hour to either side); `most_here` the largest distance on
    them, `most` the largest at any time, both since the start of the window; `further` on how many of the days it was
    further than now.
    """

    distance: float
    days: int
    most_here: float
    most: float
    further: int


def replay_window(query: Query, recorded: Recorded, model: str, stable_hash: int, cycle_s: int) -> Timeline:
    """The verdicts on the columns of the window that are final at a cycle, by replay of all hourly fits.

    With a single window read (`recorded.whole` is False) the earlier fits have less history than they had.
    """
    step_s, every = query.step_s, query.step_s // query.interval_s
    end = -(-cycle_s // step_s) - 1
    shown = min(query.window_s // step_s, _MOST_COLUMNS)
    first = max(0, end - shown - query.window_s // step_s - horizon(step_s))
    values = recorded.columns(first, end, step_s)
    since = max(0, len(values) - shown)
    histories = Histories(values[None], first * every, np.array([stable_hash], np.int64), every)
    found = Replay(query).run_all(histories, since).bands[model]
    times_s = np.arange(first + since, end + 1, dtype=np.int64) * step_s
    return Timeline(times_s, values[since:], found.score[0], found.expected[0], found.lower[0], found.upper[0])


def farness(timeline: Timeline, value: float, expected: float, judged_s: float) -> Farness:
    """The distance of a judged value from the expected one beside those of the days before it."""
    distances = np.abs(timeline.value - timeline.expected)
    before = timeline.times_s < judged_s - _HALF_HOUR_S
    apart = (timeline.times_s - judged_s + DAY_S / 2) % DAY_S - DAY_S / 2
    here = before & (np.abs(apart) <= _HALF_HOUR_S) & ~np.isnan(distances)
    distance = abs(value - expected)
    days = np.round((judged_s - timeline.times_s[here]) / DAY_S).astype(np.int64)
    by_day = {day: float(distances[here][days == day].max()) for day in np.unique(days).tolist()}
    earlier = distances[before & ~np.isnan(distances)]
    return Farness(
        distance,
        len(by_day),
        max(by_day.values(), default=np.nan),
        float(earlier.max()) if len(earlier) else np.nan,
        sum(most > distance for most in by_day.values()),
    )


def episode_start(timeline: Timeline, judged_s: float, patience_s: int = 900) -> float:
    """Since when the score has been above 1 again and again, quiet for at most `patience_s` in between."""
    above = timeline.times_s[timeline.score > 1]
    above = above[above <= judged_s]
    start = judged_s
    for time_s in above[::-1].tolist():
        if start - time_s > patience_s:
            break
        start = float(time_s)
    return start
