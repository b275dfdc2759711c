"""F1 after delay-limited point adjustment, the rule of the 2018 AIOps challenge on KPI anomaly detection.

A labelled segment counts as found, with all its points, when one of its first `delay` + 1 points is an alarm; else
all its points are missed, and later alarms in it count for nothing. Points outside segments count one by one. Points
of all series are pooled. As in the challenge's script the rows of a series lie on the regular grid of its smallest
spacing, and a missing row is an unlabelled point without an alarm: a gap splits a segment.
Source: the challenge's rules, and Ren et al., Time-Series Anomaly Detection Service at Microsoft (KDD 2019), 4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.quality.corpus import F64, I64, Labelled, Mask
from bench.quality.scoring.alerts import DEFAULT_THRESHOLD

HOUR_S = 3600
_ABOVE_DEFAULT = float(np.nextafter(DEFAULT_THRESHOLD, np.inf))


@dataclass(frozen=True, slots=True)
class Decisive:
    """All that F1 needs at any threshold: the scores of the unlabelled points, rising; of each segment the highest
    score of its first points (-inf without a verdict) and its length in points."""

    normal: F64
    peak: F64
    length: I64


def delay_points(step_s: int) -> int:
    """How late an alarm may come: 7 points of minute data, 3 of hourly data."""
    return 7 if step_s < HOUR_S else 3


def decisive(time_s: I64, label: Mask, score: F64, delay: int) -> Decisive:
    """Reduce the rows (n,) of one series; of rows at one grid point the last one stands."""
    time_s, label, score = _one_per_point(time_s, label, np.where(np.isnan(score), -np.inf, score))
    first, last = _segments(time_s, label)
    peak = np.full(len(first), -np.inf)
    for late in range(delay + 1):
        peak = np.maximum(peak, score[np.minimum(first + late, last)])
    return Decisive(np.sort(score[~label]), peak, last - first + 1)


def pooled(parts: Iterable[Decisive]) -> Decisive:
    """The points of several series taken together."""
    every = list(parts)
    none = np.empty(0, np.float64)
    return Decisive(
        np.sort(np.concatenate([none, *(part.normal for part in every)]), kind="stable"),  # merges what is sorted
        np.concatenate([none, *(part.peak for part in every)]),
        np.concatenate([none.astype(np.int64), *(part.length for part in every)]),
    )


def f1_at(points: Decisive, threshold: float) -> float:
    """F1 where a point is an alarm at scores from `threshold` on; NaN without labelled points."""
    return float(_f1(points, np.asarray([threshold]))[0])


def best_f1(points: Decisive) -> tuple[float, float]:
    """The highest F1 over all thresholds, and the (highest) threshold that gives it; (0, inf) where nothing is found.

    Between two segments' scores a lower threshold only adds false alarms, so only those scores need to be tried.
    """
    tried = np.unique(points.peak[points.peak > -np.inf])[::-1]
    if not len(tried):
        return 0.0, np.inf
    f1 = _f1(points, tried)
    at = int(np.argmax(f1))
    return float(f1[at]), float(tried[at])


def adjusted_measures(series: Sequence[Labelled], scores: Sequence[F64], steps_s: Sequence[int]) -> dict[str, float]:
    """F1 on the measured rows at the default score, at the threshold chosen on the train rows, and at the optimum.

    `steps_s`: the usual step of each series, which sets its delay. Empty without labelled measured rows; no
    `f1_train_threshold` without labelled train rows.
    """
    test = _reduced(series, scores, steps_s, [one.test for one in series])
    if not len(test.peak):
        return {}
    found = {"f1_default": f1_at(test, _ABOVE_DEFAULT), "f1_optimum": best_f1(test)[0]}
    train = _reduced(series, scores, steps_s, [one.train for one in series])
    if len(train.peak):
        found["f1_train_threshold"] = f1_at(test, best_f1(train)[1])
    return found


def _reduced(
    series: Sequence[Labelled], scores: Sequence[F64], steps_s: Sequence[int], rows: Sequence[Mask]
) -> Decisive:
    return pooled(
        decisive(one.time_s[part], one.label[part], score[part], delay_points(step_s))
        for one, score, step_s, part in zip(series, scores, steps_s, rows, strict=True)
    )


def _f1(points: Decisive, thresholds: F64) -> F64:
    order = np.argsort(points.peak)
    length = np.r_[0, np.cumsum(points.length[order])]
    whole = float(length[-1])
    hit = whole - length[np.searchsorted(points.peak[order], thresholds, side="left")]
    false = len(points.normal) - np.searchsorted(points.normal, thresholds, side="left")
    return 2.0 * hit / (hit + false + whole) if whole else np.full(len(thresholds), np.nan)


def _one_per_point(time_s: I64, label: Mask, score: F64) -> tuple[I64, Mask, F64]:
    """Rows in order of time, with their grid point in place of the time, the last one of each point."""
    if len(time_s) < 2:
        return np.zeros(len(time_s), np.int64), label, score
    if (np.diff(time_s) < 0).any():
        order = np.argsort(time_s, kind="stable")
        time_s, label, score = time_s[order], label[order], score[order]
    gap = np.diff(time_s)
    point = (time_s - time_s[0]) // (gap[gap > 0].min() if gap.any() else 1)
    stands = np.r_[np.diff(point) > 0, True]
    return point[stands], label[stands], score[stands]


def _segments(point: I64, label: Mask) -> tuple[I64, I64]:
    """First and last row of every run of labelled rows without a missing point between them."""
    after_gap = np.r_[True, np.diff(point) > 1][: len(point)]
    before = np.r_[np.False_, label[:-1]][: len(point)]
    first = np.flatnonzero(label & (after_gap | ~before))
    goes_on = np.r_[label[1:] & ~after_gap[1:], np.False_][: len(point)]
    return first, np.flatnonzero(label & ~goes_on)
