"""Prometheus' range functions on columns: arrays (T,), NaN where there is no sample, one evaluation per column.

A range `[r]` at column t holds the columns whose times are in (t - r, t], as in Prometheus 3 (2.x also counts a sample
at t - r). A range shorter than the step holds column t alone. Arithmetic on absent samples gives none, which is NaN's
own rule; `or` under a `min` or `max` is numpy's fmin or fmax.
"""

from __future__ import annotations

import math

import numpy as np

from bench.quality.baselines.moments import rolling_moments
from bench.quality.corpus import F64
from exporter.kernels import kernel


def columns_of(span_s: int, step_s: int) -> int:
    """How many columns a range of `span_s` seconds holds, at least 1; also how many back an offset reaches."""
    return -(-span_s // step_s)


def offset(x: F64, back: int) -> F64:
    """x as it was `back` columns ago."""
    moved = np.full(len(x), np.nan)
    moved[back:] = x[: max(0, len(x) - back)]
    return moved


def avg_and_stddev_over_time(x: F64, length: int) -> tuple[F64, F64]:
    """Mean and population standard deviation of the last `length` columns."""
    mean, deviation = rolling_moments(np.append(x, np.nan), length, 1)[:, 1:]
    return mean, deviation


@kernel
def last_over_time(x: F64, length: int) -> F64:
    """The newest sample of the last `length` columns."""
    found = np.full(len(x), np.nan)
    newest = -length
    for t in range(len(x)):
        if not math.isnan(x[t]):
            newest = t
        if newest > t - length and newest >= 0:
            found[t] = x[newest]
    return found


@kernel
def median_over_time(x: F64, length: int) -> F64:
    """`quantile_over_time(0.5, x[..])` over the last `length` columns; the mean of the middle two of an even number.

    The window is kept sorted; a column costs two binary searches and a shift of a third of the window.
    """
    found = np.full(len(x), np.nan)
    box = np.empty(min(length, len(x)) + 1)
    count = 0
    for t in range(len(x)):
        leaves = t >= length and not math.isnan(x[t - length])
        if not math.isnan(x[t]):
            count = _exchange(box, count, x[t - length], x[t]) if leaves else _insert(box, count, x[t])
        elif leaves:
            count = _remove(box, count, x[t - length])
        if count > 0:
            half = count >> 1
            found[t] = box[half] if count & 1 else 0.5 * box[half - 1] + 0.5 * box[half]
    return found


@kernel
def _insert(box: F64, count: int, x: float) -> int:
    """Insert x into the ascending box[:count]; returns the new count."""
    at = np.searchsorted(box[:count], x)
    for k in range(count, at, -1):
        box[k] = box[k - 1]
    box[at] = x
    return count + 1


@kernel
def _remove(box: F64, count: int, x: float) -> int:
    """Remove x, which is there, from the ascending box[:count]; returns the new count."""
    for k in range(np.searchsorted(box[:count], x), count - 1):
        box[k] = box[k + 1]
    return count - 1


@kernel
def _exchange(box: F64, count: int, old: float, new: float) -> int:
    """Put `new` for `old` into the ascending box[:count], moving only what lies between; returns the count."""
    at = np.searchsorted(box[:count], old)
    to = np.searchsorted(box[:count], new)
    for k in range(at, to - 1):
        box[k] = box[k + 1]
    for k in range(at, to, -1):
        box[k] = box[k - 1]
    box[to - 1 if to > at else to] = new
    return count
