"""Small labelled series for tests, made by hand or by chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.quality.corpus import Labelled

F64 = npt.NDArray[np.float64]


def series(label, *, time_s=None, value=None, train=None, test=None, windows=(), name="s", step_s=60) -> Labelled:
    """A series from 0/1 labels; times on a regular grid, all rows measured unless told otherwise."""
    rows = len(label)
    mask = [np.zeros(rows, np.bool_) if train is None else np.asarray(train, np.bool_)]
    mask.append(np.ones(rows, np.bool_) if test is None else np.asarray(test, np.bool_))
    return Labelled(
        name,
        np.arange(rows, dtype=np.int64) * step_s if time_s is None else np.asarray(time_s, np.int64),
        np.zeros(rows) if value is None else np.asarray(value, np.float64),
        np.asarray(label) > 0,
        mask[0],
        mask[1],
        tuple(windows),
    )


def random_label(rng: np.random.Generator, rows: int) -> npt.NDArray[np.bool_]:
    """A few segments, at either edge more often than chance would have it; now and then none or all."""
    label = np.zeros(rows, np.bool_)
    for _ in range(int(rng.integers(0, 5))):
        first = int(rng.integers(0, rows))
        label[first : first + int(rng.integers(1, 12))] = True
    if rng.random() < 0.3:
        label[: int(rng.integers(1, 5))] = True
    if rng.random() < 0.3:
        label[-int(rng.integers(1, 5)) :] = True
    if rng.random() < 0.05:
        label[:] = True
    return label


def random_score(rng: np.random.Generator, label: npt.NDArray[np.bool_]) -> F64:
    """Scores that know a little of the label; often with ties, gaps, or both."""
    score = rng.exponential(0.6, len(label)) + 0.5 * label * rng.random(len(label))
    if rng.random() < 0.6:
        score = np.round(score, 1)
    if rng.random() < 0.5:
        score[rng.random(len(label)) < 0.2] = np.nan
    return score


def random_times(rng: np.random.Generator, rows: int, step_s: int) -> npt.NDArray[np.int64]:
    """A grid with gaps, now and then with a repeated time or two rows the wrong way round."""
    time_s = np.cumsum(np.where(rng.random(rows) < 0.1, rng.integers(2, 90, rows), 1)) * step_s
    if rows > 3 and rng.random() < 0.3:
        at = int(rng.integers(1, rows - 1))
        time_s[at] = time_s[at - 1]
    if rows > 3 and rng.random() < 0.3:
        at = int(rng.integers(1, rows - 1))
        time_s[[at, at + 1]] = time_s[[at + 1, at]]
    return time_s.astype(np.int64)
