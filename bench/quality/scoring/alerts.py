"""What alerts at a threshold, which alerts are one episode, and which thresholds are worth trying."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.quality.corpus import F64, I64, Mask

DEFAULT_THRESHOLD = 1.0
EPISODE_GAP_S = 3600
TRIED_THRESHOLDS = 300


def runs(mark: Mask) -> tuple[I64, I64]:
    """First and last row (both inclusive) of every run of marked rows; mark (n,), answers (runs,)."""
    edge = np.diff(np.r_[np.False_, mark, np.False_].astype(np.int8))
    return np.flatnonzero(edge == 1), np.flatnonzero(edge == -1) - 1


def candidates(score: F64, count: int = TRIED_THRESHOLDS) -> F64:
    """About `count` thresholds at which `score > threshold` is worth trying, rising; at the last one nothing alerts.

    They are the scores at geometrically spaced ranks from the top, because the useful thresholds let few rows
    through; then the default, and -inf at which every row with a verdict alerts. NaN rows are left out.
    """
    known = np.sort(score[~np.isnan(score)])
    rank = np.geomspace(1, len(known), count).astype(np.int64) if len(known) else np.empty(0, np.int64)
    return np.unique(np.r_[-np.inf, known[-rank], DEFAULT_THRESHOLD])


def rows_above(score: F64, rising: F64) -> Iterator[I64]:
    """The rows that alert at each of the rising thresholds, in order; each time looked for among those before."""
    row = np.arange(len(score))
    for threshold in rising:
        row = row[score[row] > threshold]
        yield row


def begins(time_s: I64, series: I64) -> Mask:
    """Of alert rows (n,), in file order, those that begin an episode.

    An episode begins where the alert before is one of another series or lies more than an hour back; a time that
    steps back (a clock change in the file) does not begin one.
    """
    first = np.ones(len(time_s), np.bool_)
    first[1:] = (np.diff(time_s) > EPISODE_GAP_S) | (np.diff(series) != 0)
    return first
