"""One row or a few through `shesd`, and what its twin says of the same row."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from exporter.models import shesd
from exporter.models.settings import ShesdSettings
from tests.naive import shesd as naive
from tests.naive.windows import F32

DEFAULT = ShesdSettings()
FLOOR = 1e-9
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def fit_rows(
    values: F32,
    floor: float = FLOOR,
    period: int = 24,
    horizon: int = 3,
    settings: ShesdSettings = DEFAULT,
    end: int = 0,
) -> shesd.ShesdFit:
    rows = len(values)
    return shesd.fit(values, np.full(rows, floor), np.full(rows, end), period, horizon, settings)


def fit_one(values: npt.ArrayLike, **more: object) -> tuple[npt.NDArray[np.float64], float, int, int]:
    found = fit_rows(np.asarray(values, np.float32)[None, :], **more)  # type: ignore[arg-type]
    return found.centre[0].astype(float), float(found.half_width[0]), int(found.outliers[0]), int(found.valid[0])


def daily(days: int, period: int, seed: int, noise: float = 1.0) -> F32:
    t = np.arange(days * period)
    x = 10 * np.sin(2 * np.pi * t / period) + np.random.default_rng(seed).normal(0, noise, len(t))
    return x.astype(np.float32)


def assert_same(got: shesd.ShesdFit, row: int, want: naive.NaiveFit, rtol: float = 1e-6) -> None:
    assert got.valid[row] == want.valid
    assert got.outliers[row] == want.outliers
    magnitude = max([abs(c) for c in want.centre if not math.isnan(c)], default=0.0)
    np.testing.assert_allclose(got.centre[row], want.centre, rtol=rtol, atol=rtol * magnitude + SMALLEST)
    np.testing.assert_allclose(got.half_width[row], max(want.half_width, 1.2e-38), rtol=rtol)


few_values = st.sampled_from([np.float32(x) for x in (-3, -1, -0.5, 0, 0, 0, 0.5, 1, 1, 2, 7)])


def bits(found: shesd.ShesdFit, rows: npt.ArrayLike) -> list[bytes]:
    places = np.asarray(rows)
    return [a[places].tobytes() for a in (found.centre, found.half_width, found.outliers, found.valid)]
