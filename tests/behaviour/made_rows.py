"""Synthetic series, 200 rows each, one seed per row: rhythm, noise, counts, rare events.

A row's rhythm has a phase of its own, so that whatever is put in at one column meets all times of day.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

SEEDS = 200
LEVEL = 100.0
AMPLITUDE = 10.0  # of the daily rhythm, in standard deviations of the noise, which are 1
DAY = 288  # columns
HISTORY = 14 * DAY
HOUR = 12


def drawn(draw: Callable[[np.random.Generator], npt.NDArray[np.generic]], stream: int = 0) -> F64:
    """One draw per seed, stacked; `stream` sets draws of the same seed apart."""
    return np.stack([draw(np.random.default_rng((seed, stream))) for seed in range(SEEDS)]).astype(np.float64)


def noise(columns: int, stream: int = 0) -> F64:
    """Gaussian noise of standard deviation 1."""
    return drawn(lambda rng: rng.normal(size=columns), stream)


def hour_of_day(columns: int, step_s: int = 300, moved_h: F64 | float = 0.0) -> F64:
    """Hours since the rows' own midnights, at random; `moved_h`: how much further the clock is (broadcast)."""
    midnight = drawn(lambda rng: rng.uniform(0, 24, 1), 1)
    return (np.arange(columns) * step_s / 3600 + midnight + moved_h) % 24


def rhythm(hour: F64) -> F64:
    """A daily rhythm of amplitude 10 with a second harmonic."""
    turn = 2 * np.pi * hour / 24
    return AMPLITUDE * (np.sin(turn) + 0.4 * np.sin(2 * turn + 1))


def expected(columns: int, step_s: int = 300) -> F64:
    """The base series without its noise: level 100 and a daily rhythm of amplitude 10."""
    return LEVEL + rhythm(hour_of_day(columns, step_s))


def daily(columns: int, step_s: int = 300) -> F64:
    """The base series: level 100, daily rhythm of amplitude 10, noise 1."""
    return expected(columns, step_s) + noise(columns)


def once(columns: int, odds: float, stream: int = 2) -> F64:
    """1 with these odds, else 0, sample by sample."""
    return drawn(lambda rng: rng.random(columns) < odds, stream)


def counts(columns: int, mean: float | F64, stream: int = 3) -> F64:
    """Poisson counts; `mean` a number or one per column."""
    return drawn(lambda rng: rng.poisson(np.broadcast_to(mean, columns)), stream)


def add_bursts(values: F64, start: int, days: range, height: float, length: int, *, jitter: bool = False) -> None:
    """Add to each row a burst of `length` columns at column `start` less d days, for d in `days`; with `jitter` up to
    two columns sooner or later, and a tenth lower or higher."""
    rows = np.arange(len(values))
    for day in days:
        at, size = np.full(len(values), start - day * DAY), np.full(len(values), height)
        if jitter:
            at += drawn(lambda rng: rng.integers(-2, 3, 1), 20 + day)[:, 0].astype(np.int64)
            size *= drawn(lambda rng: rng.uniform(0.9, 1.1, 1), 40 + day)[:, 0]
        for k in range(length):
            values[rows, at + k] += size
