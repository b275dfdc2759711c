"""Events found and alerts raised, as the person on call counts them.

An event is a run of labelled rows among the measured rows of a series, in file order; a gap does not split it. Its
zone reaches from its first row to its last, or to the eighth row after the first where that is later. A row alerts
where its score exceeds the threshold (NaN never does). Alerts of one series that lie no more than an hour after one
another are one episode; an episode is true when one of its rows lies in a zone, else it is a false alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bench.quality.corpus import F64, I64, Labelled, Mask
from bench.quality.scoring.alerts import DEFAULT_THRESHOLD, begins, candidates, rows_above, runs

T = TypeVar("T", bound=np.generic)

GRACE_ROWS = 8
WEEK_S = 604_800


@dataclass(frozen=True, slots=True)
class Tally:
    """What one series gave at one threshold: counts, and the measured time in weeks."""

    name: str
    events: int
    hits: int
    episodes: int
    false: int
    weeks: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The measured rows of all series, one after the other (rows,), and their events (events,).

    `zone` marks the rows that lie in an event's zone; `peak` is the highest score in the zone of each event, -inf
    where there is no verdict; `series` and `owner` are the numbers of the series.
    """

    names: tuple[str, ...]
    weeks: F64
    time_s: I64
    score: F64
    series: I64
    zone: Mask
    peak: F64
    owner: I64


def timeline(series: Sequence[Labelled], scores: Sequence[F64], steps_s: Sequence[int]) -> Timeline:
    """The measured rows of a set with their scores, each (n,) in file order, and the usual step of each series."""
    parts = [_measured(one, score) for one, score in zip(series, scores, strict=True)]
    rows = np.asarray([len(part[0]) for part in parts], np.int64)
    number = np.arange(len(parts))
    return Timeline(
        tuple(one.name for one in series),
        rows * np.asarray(steps_s, np.int64) / WEEK_S,
        _joined([part[0] for part in parts], np.int64),
        _joined([part[1] for part in parts], np.float64),
        np.repeat(number, rows),
        _joined([part[2] for part in parts], np.bool_),
        _joined([part[3] for part in parts], np.float64),
        np.repeat(number, [len(part[3]) for part in parts]),
    )


def per_series(line: Timeline, threshold: float = DEFAULT_THRESHOLD) -> list[Tally]:
    """Events, hits, episodes and false alerts of every series at one threshold."""
    count = len(line.names)
    owner, true = episodes(line, np.flatnonzero(line.score > threshold))
    columns = (
        np.bincount(line.owner, minlength=count),
        np.bincount(line.owner[line.peak > threshold], minlength=count),
        np.bincount(owner, minlength=count),
        np.bincount(owner[~true], minlength=count),
    )
    return [
        Tally(name, *(int(column[i]) for column in columns), float(line.weeks[i])) for i, name in enumerate(line.names)
    ]


def episodes(line: Timeline, alert: I64) -> tuple[I64, Mask]:
    """Of the episodes of the alert rows (in order): the series of each, and whether it is a true one."""
    begin = np.flatnonzero(begins(line.time_s[alert], line.series[alert]))
    if not len(begin):
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    return line.series[alert[begin]], np.logical_or.reduceat(line.zone[alert], begin)


def event_measures(line: Timeline) -> dict[str, float]:
    """The four event measures of a set.

    Without events only the rate of false alerts is there; without measured time not even that.
    """
    tallies = per_series(line)
    hits, every, false = (sum(getattr(t, what) for t in tallies) for what in ("hits", "episodes", "false"))
    weeks = float(line.weeks.sum())
    found: dict[str, float] = {"false_alerts_week_default": false / weeks} if weeks else {}
    if not len(line.peak):
        return found
    recall = hits / len(line.peak)
    found["detected_default"] = recall
    found["event_f1_default"] = harmonic_mean((every - false) / every if every else 0.0, recall)
    found["detected_at_one_false_alert_week"] = detected_at_rate(line, 1.0)
    return found


def harmonic_mean(a: float, b: float) -> float:
    """2ab / (a + b), and 0 where both are 0."""
    return 2.0 * a * b / (a + b) if a + b else 0.0


def detected_at_rate(line: Timeline, per_week: float) -> float:
    """The largest share of events detected at a common threshold that raises at most so many false alerts a week.

    Thresholds are tried from the highest score downwards, and the scan ends at the first that is too loud: far below
    it alerts run together into few long episodes, which only look quiet.
    """
    rising = candidates(line.score)
    false = [np.count_nonzero(~episodes(line, alert)[1]) for alert in rows_above(line.score, rising)]
    loud = np.flatnonzero(np.asarray(false) > per_week * line.weeks.sum())
    lowest = int(loud[-1]) + 1 if len(loud) else 0  # the highest one lets nothing through, so there always is a next
    return float((line.peak > rising[lowest]).mean())


def _measured(one: Labelled, score: F64) -> tuple[I64, F64, Mask, F64]:
    """Times, scores and zone marks of the measured rows, and the highest score in each event's zone."""
    time_s, judged, label = one.time_s[one.test], score[one.test], one.label[one.test]
    first, last = runs(label)
    end = np.minimum(np.maximum(last, first + GRACE_ROWS), len(label) - 1)
    edge = np.zeros(len(label) + 1, np.int64)
    np.add.at(edge, first, 1)
    np.subtract.at(edge, end + 1, 1)
    return time_s, judged, np.cumsum(edge[:-1]) > 0, _peaks(judged, first, end)


def _peaks(score: F64, first: I64, end: I64) -> F64:
    return np.asarray(
        [np.fmax.reduce(score[a : b + 1], initial=-np.inf) for a, b in zip(first.tolist(), end.tolist(), strict=True)],
        np.float64,
    )


def _joined(parts: list[npt.NDArray[T]], dtype: type[T]) -> npt.NDArray[T]:
    return np.concatenate([np.empty(0, dtype), *parts])
