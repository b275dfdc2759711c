"""How a made-up series moves: rhythm of day and week, noise, bursts and counts, each a pure function of time.

Nothing here is a random walk and nothing depends on what was computed before: the value at a time is the same
whether it is asked for as history or live, so the past that is imported and the present that is scraped are one series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, pdtrik

Floats = npt.NDArray[np.float64]

DAY_S = 86_400
FAST_KNOT_S = 60  # noise forgets within about a minute, as a rate over one minute does
SLOW_KNOT_S = 2_400
BURST_SLOT_S = 900
BURST_SHARE = 0.01  # of all slots: about one burst a day
WEEKEND_RAMP_DAYS = 1 / 6


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one series is made of.

    ``level`` is its mean in its own unit; ``daily`` the swing of the day, ``weekend`` the loss on Saturday and Sunday,
    ``noise`` the standard deviation and ``burst`` the greatest height of a burst, all relative to the level;
    ``peak_hour`` is UTC. ``count`` draws whole numbers (Poisson) around the rhythm in place of noise.
    """

    level: float
    daily: float = 0.0
    weekend: float = 0.0
    peak_hour: float = 14.0
    noise: float = 0.0
    burst: float = 0.0
    count: bool = False


def values(recipe: Recipe, seed: int, times_s: Floats) -> Floats:
    """The clean series at the given unix times, in its unit; any shape, no gaps, never negative."""
    mean = recipe.level * rhythm(recipe, times_s)
    if recipe.count:
        return poisson(ndtr(noise(seed, times_s)), mean)
    loud = mean * np.exp(recipe.noise * noise(seed, times_s) - recipe.noise**2 / 2)
    return np.asarray(loud * (1 + recipe.burst * bursts(seed, times_s)))


def rhythm(recipe: Recipe, times_s: Floats) -> Floats:
    """The expected course of day and week, relative to the level."""
    angle = 2 * np.pi * (times_s / 3600 - recipe.peak_hour) / 24
    day = 1 + recipe.daily * (0.85 * np.cos(angle) + 0.15 * np.cos(2 * angle))
    return np.asarray(day * (1 - recipe.weekend * weekend(times_s)))


def weekend(times_s: Floats) -> Floats:
    """1 on Saturday and Sunday, 0 on other days, with ramps of four hours inside the weekend."""
    since_saturday = (times_s / DAY_S - 2) % 7  # the epoch began on a Thursday
    rising = np.clip(since_saturday / WEEKEND_RAMP_DAYS, 0, 1)
    return np.asarray(rising * np.clip((2 - since_saturday) / WEEKEND_RAMP_DAYS, 0, 1))


def noise(seed: int, times_s: Floats) -> Floats:
    """Standard normal at every time; neighbours within a minute resemble each other, a part lasts for an hour."""
    return 0.8 * _between_knots(seed, times_s, FAST_KNOT_S) + 0.6 * _between_knots(seed + 1, times_s, SLOW_KNOT_S)


def bursts(seed: int, times_s: Floats) -> Floats:
    """0 nearly always; in one slot of a hundred a hump of 15 minutes, between 0.6 and 1 high."""
    slot = np.floor(times_s / BURST_SLOT_S)
    hump = np.sin(np.pi * (times_s / BURST_SLOT_S - slot)) ** 0.5
    height = 0.6 + 0.4 * uniform(seed + 3, slot)
    return np.asarray(np.where(uniform(seed + 2, slot) < BURST_SHARE, height * hump, 0.0))


def poisson(chance: Floats, mean: Floats) -> Floats:
    """The Poisson quantile: the least whole number whose cumulative probability reaches ``chance``."""
    zero = chance <= np.exp(-mean)
    return np.where(zero, 0.0, np.ceil(pdtrik(np.where(zero, 0.5, chance), np.where(zero, 0.1, mean))))


def uniform(seed: int, knots: Floats) -> Floats:
    """One number in (0, 1) for every whole knot: a counter-based generator (the finaliser of splitmix64)."""
    word = knots.astype(np.int64).astype(np.uint64) + np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    word = word ^ (word >> np.uint64(31))
    return np.asarray(((word >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53)


def _between_knots(seed: int, times_s: Floats, knot_s: int) -> Floats:
    # sine and cosine weights have squares that sum to 1, so the variance is the same between the knots as on them
    knot = np.floor(times_s / knot_s)
    angle = (times_s / knot_s - knot) * np.pi / 2
    return np.asarray(np.cos(angle) * _normal(seed, knot) + np.sin(angle) * _normal(seed, knot + 1))


def _normal(seed: int, knots: Floats) -> Floats:
    radius = np.sqrt(-2 * np.log(uniform(2 * seed, knots)))
    return np.asarray(radius * np.cos(2 * np.pi * uniform(2 * seed + 1, knots)))
