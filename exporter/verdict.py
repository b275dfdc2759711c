"""The policy on top of a model's band: which deviations count. Whole arrays at a time, in the unit of the series.

Score and band stay one statement: whatever changes one changes the other, so that score > 1 exactly outside the
published band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config.schema import Query

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
States = npt.NDArray[np.int8]

# What a row is. FREE and GONE are not counted: no series, or one that left longer ago than `absent_for`.
FREE, OK, WARMING, CONSTANT, SPARSE, ABSENT, FAILED, GONE = range(8)
STATE_NAMES = {OK: "ok", WARMING: "warming", CONSTANT: "constant", SPARSE: "sparse", ABSENT: "absent", FAILED: "failed"}

OUT_OF_RANGE = 1.01  # least score of a value outside `data_range`, as vmanomaly's users know it


@dataclass(frozen=True, slots=True)
class Bands:
    """Score and band of n series (n,): NaN where there is no verdict, or no edge on that side."""

    score: F64
    expected: F64
    lower: F64
    upper: F64

    def part(self, rows: I64) -> Bands:
        """Those of some of the series."""
        return Bands(self.score[rows], self.expected[rows], self.lower[rows], self.upper[rows])


def apply_policy(query: Query, value: F64, bands: Bands) -> Bands:
    """The verdicts of a model under the query's policy.

    Shapes: all (n,). In this order: `min_deviation` and `min_relative_deviation` widen the band to at least that
    distance from the expected value; `data_range` cuts it, and a value outside scores above 1; `direction` takes the
    edge of the side that is not watched away and scores 0 there, but for values outside `data_range`.
    """
    bands = _drop_infinite(_apply_range(query, value, _apply_floors(query, value, bands)))
    return _apply_direction(query, value, bands)


def _apply_floors(query: Query, value: F64, bands: Bands) -> Bands:
    if query.min_deviation == 0 and query.min_relative_deviation == 0:
        return bands
    floor = np.maximum(query.min_deviation, query.min_relative_deviation * np.abs(bands.expected))
    distance = np.abs(value - bands.expected)
    with np.errstate(over="ignore"):  # a tiny floor: the quotient is not used where it exceeds 1
        softened = np.divide(distance, floor, out=np.zeros_like(distance), where=floor > 0)
    score = np.where(distance <= floor, np.minimum(bands.score, softened), bands.score)
    lower = np.minimum(bands.lower, bands.expected - floor)
    return Bands(score, bands.expected, lower, np.maximum(bands.upper, bands.expected + floor))


def _apply_range(query: Query, value: F64, bands: Bands) -> Bands:
    least, most = query.data_range
    if np.isneginf(least) and np.isposinf(most):
        return bands
    outside = (value < least) | (value > most)
    score = np.where(outside & ~np.isnan(bands.score), np.maximum(bands.score, OUT_OF_RANGE), bands.score)
    expected, lower, upper = (np.clip(edge, least, most) for edge in (bands.expected, bands.lower, bands.upper))
    return Bands(score, expected, lower, upper)


def _apply_direction(query: Query, value: F64, bands: Bands) -> Bands:
    if query.direction == "both":
        return bands
    least, most = query.data_range
    if query.direction == "above":
        ignored = (value < bands.expected) & (value >= least)
        lower = np.full_like(bands.lower, least if np.isfinite(least) else np.nan)
        lower[np.isnan(bands.score)] = np.nan
        return Bands(np.where(ignored, 0 * bands.score, bands.score), bands.expected, lower, bands.upper)
    ignored = (value > bands.expected) & (value <= most)
    upper = np.full_like(bands.upper, most if np.isfinite(most) else np.nan)
    upper[np.isnan(bands.score)] = np.nan
    return Bands(np.where(ignored, 0 * bands.score, bands.score), bands.expected, bands.lower, upper)


def _drop_infinite(bands: Bands) -> Bands:
    """An edge that no value reaches is no edge."""
    lower = np.where(np.isfinite(bands.lower), bands.lower, np.nan)
    upper = np.where(np.isfinite(bands.upper), bands.upper, np.nan)
    return Bands(bands.score, bands.expected, lower, upper)


_MOST_RATIO = 1000.0  # a change by more than this says nothing of a series that is about 0
_LEAST_EXPECTED = 1e-9


def detectable(bands: Bands) -> tuple[F64, F64]:
    """The smallest relative changes up and down from the expected value that would score above 1, (n,) each.

    They follow from the band after policy: NaN where a side is not watched, where the expected value is about 0, and
    below where even a drop to 0 would lie within the band.
    """
    size = np.abs(bands.expected)
    known = np.where(size > _LEAST_EXPECTED, size, np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        up = (bands.upper - bands.expected) / known
        down = np.where((bands.lower == 0) & (bands.expected > 0), np.nan, (bands.expected - bands.lower) / known)
    return np.where(up <= _MOST_RATIO, up, np.nan), np.where(down <= _MOST_RATIO, down, np.nan)


def min_detectable_ratio(bands: Bands) -> F64:
    """The smaller of both changes (n,); NaN where there is neither."""
    return np.fmin(*detectable(bands))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the state of a row follows from. Arrays (n,): `age_s` since the newest sample (inf: never), `history_s`
    since the first sample in the window, `valid` samples in it, `constant` (a single value), `judged` (a model has
    given a score)."""

    age_s: F64
    history_s: F64
    valid: npt.NDArray[np.int32]
    constant: Mask
    judged: Mask


def states(
    facts: Facts, *, absent_after_s: F64 | float, absent_for_s: float, warming_s: float, least_samples: int
) -> States:
    """The state of each row.

    GONE: no sample for longer than `absent_for_s`, or missing before there were enough samples for a verdict; ABSENT:
    none for longer than `absent_after_s`; WARMING: history shorter than `warming_s`; SPARSE: longer, but under
    `least_samples` samples; FAILED: enough samples, yet no model gave a verdict; CONSTANT: a single value in the whole
    window (judged against it); else OK.
    """
    enough = facts.valid >= least_samples
    missing = facts.age_s > absent_after_s
    return np.select(
        [
            missing & ((facts.age_s > absent_for_s) | ~enough),
            missing,
            facts.history_s < warming_s,
            ~enough,
            ~facts.judged,
            facts.constant,
        ],
        [GONE, ABSENT, WARMING, SPARSE, FAILED, CONSTANT],
        OK,
    ).astype(np.int8)
