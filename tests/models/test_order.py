from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.models import order
from tests.naive import order as naive
from tests.naive.robust_band import ROUNDING

SAMPLES = st.one_of(
    st.floats(-(2.0**122), 2.0**122, width=32),
    st.integers(-3, 3).map(float),  # many ties
    st.just(math.nan),
)
SERIES = st.lists(SAMPLES, max_size=120)
QUICK = settings(max_examples=150, deadline=None, derandomize=True)


def f32(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


def same(found: object, wanted: object) -> bool:
    return bool(np.array_equal(f32([*found]), f32([*wanted]), equal_nan=True))  # type: ignore[misc]


@QUICK
@given(SERIES, st.sampled_from([(3, 2, 1), (48, 3, 1), (6, 3, 0), (12, 3, 1), (1, 1, 0), (5, 1, 1)]))
def test_running_median_is_the_median_of_each_slice(values: list[float], window: tuple[int, int, int]) -> None:
    length, at_least, shift = window
    out = np.empty(len(values), np.float32)
    order.running_median(f32(values), length, at_least, shift, np.empty(length + 1, np.float32), out)
    # Medians are samples or the mean of two: the kernel's one rounding to float32 is also done to the twin's.
    assert same(out, naive.running_median(f32(values), length, at_least, shift))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_running_median_with_gaps_on_long_series(share: float, offset: float) -> None:
    rng = np.random.default_rng(int(share * 100))
    x = (rng.normal(0, 1, 700) + offset).astype(np.float32)
    x[rng.random(700) < share] = np.nan
    out = np.empty(700, np.float32)
    order.running_median(x, 48, 3, 1, np.empty(49, np.float32), out)
    assert same(out, naive.running_median(x, 48, 3, 1))


def test_running_median_does_not_see_its_own_sample_with_shift_1() -> None:
    out = np.empty(4, np.float32)
    order.running_median(f32([1, 2, 3, 1000]), 3, 2, 1, np.empty(4, np.float32), out)
    assert same(out, [math.nan, math.nan, 1.5, 2.0])


@QUICK
@given(st.lists(st.tuples(SAMPLES, st.booleans()), max_size=80))
def test_slide_keeps_exactly_the_samples_inside_in_order(moves: list[tuple[float, bool]]) -> None:
    box = np.full(100, np.nan, np.float32)
    count, inside = 0, []
    for x, leave in moves:
        new = np.float32(x)
        old = inside.pop(len(inside) // 2) if leave and inside else np.float32(np.nan)
        count = order.slide(box, count, old, new)
        if not math.isnan(new):
            inside.append(new)
        assert same(box[:count], sorted(inside))


@QUICK
@given(SERIES)
def test_select_and_median_of_agree_with_sorting(values: list[float]) -> None:
    kept = naive.valid(f32(values))
    for k in {0, len(kept) // 3, len(kept) - 1} if kept else ():
        assert order.select(f32(kept[::-1]), len(kept), k) == kept[k]
    shuffled = np.random.default_rng(len(kept)).permutation(f32(kept))
    assert order.median_of(shuffled, len(kept)) == pytest.approx(naive.median(kept), rel=2 * ROUNDING, nan_ok=True)


def test_median_of_leaves_a_permutation_behind() -> None:
    values = np.random.default_rng(0).integers(0, 9, 101).astype(np.float32)
    box = values.copy()
    order.median_of(box, 101)
    assert same(np.sort(box), np.sort(values))


@QUICK
@given(
    st.lists(st.floats(-(2.0**122), 2.0**122, width=32), min_size=1, max_size=120),
    st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0]),
)
def test_quantile_of_sorted_is_numpys(values: list[float], q: float) -> None:
    row = np.sort(f32(values))
    found = order.quantile_of_sorted(row, len(row), q)
    # The kernel may round the difference of the two neighbours to float32 (numba's float() does not widen).
    slack = 2 * ROUNDING * float(row[-1] - row[0])
    assert found == pytest.approx(float(np.quantile(row.astype(float), q)), rel=1e-12, abs=slack)
    assert found == pytest.approx(naive.quantile(row, q), rel=1e-12, abs=slack)


@QUICK
@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6, width=32), st.integers(-2, 2).map(float)), min_size=1, max_size=120),
    st.sampled_from([0.0, 1.0, -0.5, 1e8, -1e8, 1e-9]),
)
def test_median_abs_of_sorted_never_needs_a_sort(values: list[float], offset: float) -> None:
    row = np.sort(f32(values))
    assert order.median_abs_of_sorted(row, len(row), offset) == naive.median([abs(float(v) + offset) for v in row])


def test_every_statistic_ignores_what_lies_behind_count() -> None:
    row = f32([1, 2, 3, 900, math.nan])
    assert order.middle_of_sorted(row, 3) == 2.0
    assert order.quantile_of_sorted(row, 3, 1.0) == 3.0
    assert order.median_abs_of_sorted(row, 3, -2.0) == 1.0
    assert order.median_of(row.copy(), 3) == 2.0


def test_the_median_of_nothing_is_a_gap() -> None:
    assert math.isnan(order.median_of(np.empty(4, np.float32), 0))
