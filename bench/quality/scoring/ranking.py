"""Measures of the order of the scores alone: average precision, and the volume under the PR surface (VUS-PR).

VUS-PR is the mean, over buffer lengths l = 0..L, of the area under a range-aware precision-recall curve. For one l:
a row at distance d = 1..l//2 from a segment weighs sqrt(1 - d/l) (several segments add up, to 1 at most), a labelled
row 1, any other 0. At a threshold t, with alarms at score >= t: TP = weight of the alarms; mass = labelled rows + half
the weight of the alarms in buffers; recall = min(TP / mass, 1) x the share of buffered segments with an alarm;
precision = TP / alarms. Thresholds are the scores at equally spaced ranks; L is the dominant period of the series.
Source: Paparrizos et al., Volume Under the Surface (VLDB 2022), with the existence term and the merging of touching
buffers as in the public TSB-AD code (Liu and Paparrizos, NeurIPS 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bench.quality.corpus import F64, I64, Labelled, Mask
from bench.quality.scoring.alerts import runs
from exporter.kernels import kernel

VUS_THRESHOLDS = 250
USUAL_PERIOD = 125
_PERIOD_ROWS = 20_000
_SHORTEST, _LONGEST = 3, 300

Bins = npt.NDArray[np.int16]


def ranking_measures(series: Sequence[Labelled], scores: Sequence[F64]) -> dict[str, float]:
    """Average precision over the measured rows of all series, and the mean VUS-PR of the series.

    VUS-PR counts only series with labelled and with unlabelled measured rows. A measure without any is absent.
    """
    label = [one.label[one.test] for one in series]
    judged = [score[one.test] for one, score in zip(series, scores, strict=True)]
    volumes = [
        vus_pr(marks, ranks, period(one.value[one.test]))
        for one, marks, ranks in zip(series, label, judged, strict=True)
        if marks.any() and not marks.all()
    ]
    found = {"vus_pr": float(np.mean(volumes))} if volumes else {}
    precision = average_precision(np.concatenate([[], *label]).astype(np.bool_), np.concatenate([[], *judged]))
    return found if np.isnan(precision) else {"average_precision": precision, **found}


def average_precision(label: Mask, score: F64) -> float:
    """Sum over the distinct scores of (step in recall) x precision; (n,) each; NaN without labelled rows.

    Equal scores are one step; rows without a verdict (NaN) rank last, together.
    """
    known = np.where(np.isnan(score), -np.inf, score)
    marked, rest = np.sort(known[label]), np.sort(known[~label])
    if not len(marked):
        return float("nan")
    step, count = np.unique(marked, return_counts=True)
    hit = len(marked) - np.searchsorted(marked, step, side="left")
    false = len(rest) - np.searchsorted(rest, step, side="left")
    return float(np.sum(count * (hit / (hit + false))) / len(marked))


def vus_pr(label: Mask, score: F64, length: int, steps: int = VUS_THRESHOLDS) -> float:
    """VUS-PR of one series (n,) for buffers of 0..length rows; NaN unless there are labelled and unlabelled rows.

    Rows without a verdict (NaN) rank last, together. Only rows near segments are visited for each buffer length.
    """
    rows = len(label)
    if not label.any() or label.all():
        return float("nan")
    known = np.where(np.isnan(score), -np.inf, score)
    rising = np.sort(known)
    threshold = rising[rows - 1 - np.linspace(0, rows - 1, steps).astype(np.int64)]
    alarms = rows - np.searchsorted(rising, threshold, side="left")
    first, last = runs(label)
    bins = _bins_near(known, threshold, first, last, length // 2)
    inside = np.cumsum(np.bincount(bins[label], minlength=steps))
    soft = np.cumsum(_buffer_weight(bins, label, first, last, length, steps), axis=1)
    found = _found_share(bins, first, last, length // 2, steps)[np.arange(length + 1) // 2]
    recall = np.minimum((inside + soft) / (int(label.sum()) + soft / 2.0), 1.0) * found
    area = np.diff(recall, axis=1, prepend=0.0) * (inside + soft) / alarms
    return float(area.sum(axis=1).mean())


def period(value: F64) -> int:
    """The dominant period of a series in rows: the lag 3..300 of the highest local peak of the autocorrelation.

    The first 20,000 rows are looked at; a gap counts as the mean. 125 where there is no peak.
    """
    x = value[:_PERIOD_ROWS]
    known = np.isfinite(x)
    x = np.where(known, x, x[known].mean() if known.any() else 0.0)
    x = x - (x.mean() if len(x) else 0.0)
    if not x.any():
        return USUAL_PERIOD
    size = 1 << int(np.ceil(np.log2(2 * len(x))))
    spectrum = np.fft.rfft(x, size)
    auto = np.fft.irfft(spectrum * np.conj(spectrum), size)[: min(_LONGEST + 2, len(x))]
    lag = np.arange(_SHORTEST, len(auto) - 1)
    peak = lag[(auto[lag] > auto[lag - 1]) & (auto[lag] > auto[lag + 1])]
    return int(peak[np.argmax(auto[peak])]) if len(peak) else USUAL_PERIOD


@kernel
def _bins_near(score: F64, threshold: F64, first: I64, last: I64, reach: int) -> Bins:
    """For rows at most `reach` from a segment: the number of the first (falling) threshold they reach; else -1."""
    bins = np.full(len(score), -1, np.int16)
    done = 0
    for k in range(len(first)):
        end = min(last[k] + reach + 1, len(score))
        for i in range(max(first[k] - reach, done), end):
            bins[i] = _first_reached(score[i], threshold)
        done = end
    return bins


@kernel
def _first_reached(score: float, threshold: F64) -> int:
    low, high = 0, len(threshold) - 1
    while low < high:
        middle = (low + high) // 2
        if score >= threshold[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def _buffer_weight(bins: Bins, label: Mask, first: I64, last: I64, length: int, steps: int) -> F64:
    """Weight of the buffer rows by buffer length and first reached threshold: (length + 1, steps)."""
    total = np.zeros((length + 1, steps))
    weight = np.zeros(len(label))
    near = np.flatnonzero((bins >= 0) & ~label)
    for size in range(2, length + 1):
        for distance in range(1, size // 2 + 1):
            _add_weight(weight, first, last, distance, np.sqrt(1.0 - distance / size))
        for i in near:
            if weight[i] > 0.0:
                total[size, bins[i]] += min(weight[i], 1.0)
                weight[i] = 0.0
    return total


@kernel
def _add_weight(weight: F64, first: I64, last: I64, distance: int, amount: float) -> None:
    for k in range(len(first)):
        if first[k] >= distance:
            weight[first[k] - distance] += amount
        if last[k] + distance < len(weight):
            weight[last[k] + distance] += amount


@kernel
def _found_share(bins: Bins, first: I64, last: I64, reach: int, steps: int) -> F64:
    """Share of the segments, each widened by 0..reach rows on both sides, with an alarm at each threshold."""
    share = np.zeros((reach + 1, steps))
    reached = np.full(len(first), steps, np.int64)
    for k in range(len(first)):
        for i in range(first[k], last[k] + 1):
            reached[k] = min(reached[k], bins[i])
    for widened in range(reach + 1):
        for k in range(len(first)):
            reached[k] = min(reached[k], bins[max(first[k] - widened, 0)])
            reached[k] = min(reached[k], bins[min(last[k] + widened, len(bins) - 1)])
        _count_merged(share[widened], reached, first, last, widened)
    return share


@kernel
def _count_merged(share: F64, reached: I64, first: I64, last: I64, widened: int) -> None:
    """Share of the merged segments that reach each threshold; widened segments that touch or overlap are one."""
    merged, best = 0, len(share)
    for k in range(len(first)):
        if k and first[k] - widened > last[k - 1] + widened:
            share[best] += 1.0
            merged += 1
            best = len(share)
        best = min(best, reached[k])
    share[best] += 1.0
    share[:] = np.cumsum(share) / (merged + 1)
