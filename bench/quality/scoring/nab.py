"""The score of the Numenta Anomaly Benchmark, version 1.1.

The first min(floor(0.15 n), 750) rows of a file are not scored. With s(x) = 2 / (1 + e^5x) - 1, a detection in a window
of w rows is worth s(p) / s(-1), p = -(right - row + 1) / w: 1 at the left edge, towards 0 at the right; the best one of
a window counts, a window without any costs `fn`. A detection outside costs `fp` x |s(d)|, d = rows since the window
before / (w - 1), and all of `fp` where d > 3 or no window came before. The sum over all files is put on the scale on
which a detector that never fires has 0 and the perfect one 100.
Source: Lavin and Ahmad, Evaluating Real-time Anomaly Detection Algorithms (arXiv 1510.03336), and the benchmark's
documentation of its scoring.

Per row every row above the threshold is a detection. Per onset an episode of alerts is one, its first row: a row
above the threshold begins an episode when the previous one lies more than an hour before. Episodes are formed over
the whole file; one that began in the unscored part is none later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.quality.corpus import F64, I64, CorpusError, Labelled, Mask, probation_rows
from bench.quality.scoring.alerts import DEFAULT_THRESHOLD, begins, candidates, rows_above
from exporter.kernels import kernel

_FADED = 3.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What a perfect detection earns, and what a missed window and a false detection cost."""

    tp: float
    fn: float
    fp: float


PROFILES = {"standard": Profile(1.0, 1.0, 0.11), "lowfp": Profile(1.0, 1.0, 0.22), "lowfn": Profile(1.0, 2.0, 0.11)}


@dataclass(frozen=True, slots=True)
class Board:
    """All rows of a corpus, file after file (rows,), in file order.

    `worth`: of a detection there, -1..1; `window`: its number, -1 outside of any; `scored`: after the probation.
    `windows` is their number, `reachable` that of those with a scored row.
    """

    time_s: I64
    score: F64
    file: I64
    worth: F64
    window: I64
    scored: Mask
    windows: int
    reachable: int


@dataclass(frozen=True, slots=True)
class Found:
    """What one set of detections gave, before the profile's prices: the sum of the worths of the best detection of
    each window that was hit, how many were, and the (negative) sum of the worths of those outside."""

    earned: F64
    hit: F64
    outside: F64


def row_worth(time_s: I64, windows: Sequence[tuple[int, int]], name: str = "") -> tuple[F64, I64]:
    """Worth of a detection at each row (n,) and the number of its window (-1: outside).

    Raises CorpusError where a window's limit is no row's time, or windows aren't in order.
    """
    worth, window = np.full(len(time_s), -1.0), np.full(len(time_s), -1, np.int64)
    done, before = 0, None
    for number, (first_s, last_s) in enumerate(windows):
        left, right = _row_of(time_s, first_s, done, name), _row_of(time_s, last_s, done, name)
        if right < left:
            raise CorpusError(f"{name}: window {first_s} .. {last_s} ends before it begins")
        _fade(worth, done, left, before)
        width = right - left + 1
        worth[left : right + 1] = _sigmoid(-np.arange(width, 0, -1) / width) / _sigmoid(np.asarray(-1.0))
        window[left : right + 1] = number
        done, before = right + 1, (right, width)
    _fade(worth, done, len(time_s), before)
    return worth, window


def board(series: Sequence[Labelled], scores: Sequence[F64]) -> Board:
    """Lay out whole files; scores (n,) each. Raises CorpusError for windows that don't fit their file."""
    parts = [row_worth(one.time_s, one.windows, one.name) for one in series]
    base = np.r_[0, np.cumsum([len(one.windows) for one in series])].astype(np.int64)
    window = np.concatenate([np.where(part[1] >= 0, part[1] + base[i], -1) for i, part in enumerate(parts)])
    scored = np.concatenate([np.arange(len(one.time_s)) >= probation_rows(len(one.time_s)) for one in series])
    return Board(
        np.concatenate([one.time_s for one in series]),
        np.concatenate(list(scores)),
        np.repeat(np.arange(len(series)), [len(one.time_s) for one in series]),
        np.concatenate([part[0] for part in parts]),
        window,
        scored,
        int(base[-1]),
        len(np.unique(window[scored & (window >= 0)])),
    )


def nab_measures(series: Sequence[Labelled], scores: Sequence[F64]) -> dict[str, float]:
    """Twelve scores: nab_{row,onset}_{standard,lowfp,lowfn}_{default,optimum}; none without a window to be found.

    The optimum per row is exact; that per onset is the best of some 300 thresholds, as it is not monotone.
    """
    laid = board(series, scores) if series else None
    if laid is None or not laid.windows:
        return {}
    alert = np.flatnonzero(laid.score > DEFAULT_THRESHOLD)
    found = {
        "row_default": at_rows(laid, alert),
        "row_optimum": per_row(laid),
        "onset_default": at_rows(laid, onsets(laid, alert)),
        "onset_optimum": per_onset(laid, candidates(laid.score)),
    }
    return {
        f"nab_{unit}_{name}_{threshold}": best_score(laid, found[f"{unit}_{threshold}"], profile)
        for unit in ("row", "onset")
        for name, profile in PROFILES.items()
        for threshold in ("default", "optimum")
    }


def best_score(laid: Board, found: Found, profile: Profile) -> float:
    """The highest normalised score of those found."""
    gained = profile.tp * found.earned + profile.fn * found.hit + profile.fp * found.outside
    return 100.0 * float(gained.max()) / (profile.tp * laid.windows + profile.fn * laid.reachable)


def onsets(laid: Board, alert: I64) -> I64:
    """Of the alert rows (in order) those that begin an episode."""
    return alert[begins(laid.time_s[alert], laid.file[alert])]


def at_rows(laid: Board, detection: I64) -> Found:
    """What detections at these rows are worth; those in the probation nothing."""
    counted = detection[laid.scored[detection]]
    inside = counted[laid.window[counted] >= 0]
    best = np.full(laid.windows, -1.0)
    np.maximum.at(best, laid.window[inside], laid.worth[inside])
    hit = best >= 0.0
    outside = laid.worth[counted].sum() - laid.worth[inside].sum()
    return Found(np.asarray([best[hit].sum()]), np.asarray([float(hit.sum())]), np.asarray([outside]))


def per_row(laid: Board) -> Found:
    """What each distinct score gives as a threshold, and what no detection at all gives."""
    row = np.flatnonzero(laid.scored & ~np.isnan(laid.score))
    row = row[np.argsort(-laid.score[row], kind="stable")]
    falling = laid.score[row]
    ends = np.r_[falling[1:] != falling[:-1], np.ones(min(len(row), 1), np.bool_)]
    running = _running(laid.worth[row], laid.window[row], laid.windows)
    return Found(*(np.r_[0.0, column[ends]] for column in running))


def per_onset(laid: Board, rising: F64) -> Found:
    """What the onsets above each of the rising thresholds give."""
    found = [at_rows(laid, onsets(laid, alert)) for alert in rows_above(laid.score, rising)]
    return Found(*(np.concatenate([getattr(one, name) for one in found]) for name in ("earned", "hit", "outside")))


def _row_of(time_s: I64, moment_s: int, begin: int, name: str) -> int:
    hits = np.flatnonzero(time_s[begin:] == moment_s)
    if not len(hits):
        raise CorpusError(f"{name}: the window limit {moment_s} is no row's time after the window before")
    return begin + int(hits[0])


def _sigmoid(x: F64) -> F64:
    return 2.0 / (1.0 + np.exp(5.0 * x)) - 1.0


def _fade(worth: F64, begin: int, end: int, before: tuple[int, int] | None) -> None:
    """Fill in the cheaper false detections that follow a window (its right row and width)."""
    if before is None or begin >= end:
        return
    right, width = before
    distance = np.arange(begin - right, end - right) / max(width - 1, 1)
    worth[begin:end] = np.where(distance > _FADED, -1.0, _sigmoid(np.minimum(distance, _FADED)))


@kernel
def _running(worth: F64, window: I64, windows: int) -> tuple[F64, F64, F64]:
    """Earned, hit and outside after each of the rows, which come by falling score."""
    earned, hit, outside = np.zeros(len(worth)), np.zeros(len(worth)), np.zeros(len(worth))
    best = np.full(windows, -1.0)
    now_earned, now_hit, now_outside = 0.0, 0.0, 0.0
    for k in range(len(worth)):
        if window[k] < 0:
            now_outside += worth[k]
        elif worth[k] > best[window[k]]:
            now_hit += best[window[k]] < 0.0
            now_earned += worth[k] - max(best[window[k]], 0.0)
            best[window[k]] = worth[k]
        earned[k], hit[k], outside[k] = now_earned, now_hit, now_outside
    return earned, hit, outside
