"""Spans of time in columns, the hours at which fits are redone, and a distance in units of a half width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.quality.corpus import DAY_S, F64, I64, Grid

HOUR_S = 3600
WINDOW_DAYS = 14  # the exporter's default window
HIGHEST_SCORE = 1e9  # in place of infinity, which sorts well but cannot be averaged or written as JSON


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans in columns; `first_fit` is the first column that begins an hour, the first before which a fit is made."""

    hour: int
    day: int
    window: int
    first_fit: int


def spans(grid: Grid) -> Spans:
    """The spans of a grid whose step divides a day; hours begin where they begin on the clock (UTC)."""
    hour, day = max(1, HOUR_S // grid.step_s), DAY_S // grid.step_s
    return Spans(hour, day, WINDOW_DAYS * day, -grid.first_column % hour)


def samples(grid: Grid) -> F64:
    """The grid's values (T,) with infinities as the gaps they are to a fit."""
    return np.where(np.isfinite(grid.value), grid.value, np.nan)


def fit_columns(columns: int, span: Spans) -> I64:
    """The columns (fits,) that begin an hour: a fit uses the window before its column, and holds until the next."""
    return np.arange(span.first_fit, columns, span.hour)


def held(fitted: F64, columns: int, span: Spans) -> F64:
    """What the latest fit says, for each column (T,), from a value per fit (fits,); NaN before the first."""
    whole = np.full(columns, np.nan)
    whole[span.first_fit :] = np.repeat(fitted, span.hour)[: max(0, columns - span.first_fit)]
    return whole


def in_half_widths(distance: F64, half_width: F64) -> F64:
    """Distance / half width, all (T,); NaN where either is.

    A width of 0 is what a constant history gives: a value at its centre scores 0, any other the highest score. Users of
    such a rule get that flood too.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.minimum(distance / half_width, HIGHEST_SCORE)
    return np.where((distance == 0.0) & (half_width == 0.0), 0.0, ratio)
