from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.models import order
from tests.naive import order as naive
from tests.naive.parts import ROUNDING

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


def keys_of(values: np.ndarray) -> tuple[np.ndarray, int]:
    keys = np.empty(len(values), np.int32)
    return keys, order.to_keys(values, keys)


@QUICK
@given(SERIES)
def test_keys_stand_in_the_order_of_the_samples(values: list[float]) -> None:
    x = f32([*values, math.inf, -math.inf, 0.0, -0.0, 1e-45, -1e-45])
    keys, count = keys_of(x)
    assert count == (~np.isnan(x)).sum()
    assert same(x[np.argsort(keys, kind="stable")][:count], np.sort(x)[:count])
    assert (keys[np.isnan(x)] == order.GAP).all()
    assert (keys[~np.isnan(x)] < order.GAP).all()
    assert [order.from_key(key) for key in keys[~np.isnan(x)]] == x[~np.isnan(x)].tolist()


@QUICK
@given(SERIES)
def test_every_rank_is_the_one_that_sorting_finds(values: list[float]) -> None:
    keys, count = keys_of(f32(values))
    found = [order.from_key(order.key_of_rank(keys, count, rank)) for rank in range(count)]
    assert found == naive.valid(f32(values))


@QUICK
@given(SERIES)
def test_median_of_keys_is_the_middle(values: list[float]) -> None:
    assert same([order.median_of_keys(*keys_of(f32(values)))], [naive.median(f32(values))])


@pytest.mark.parametrize("kind", ["ties", "spread", "one spike", "one value"])
def test_ranks_of_long_rows(kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    x = {
        "ties": rng.poisson(2, 3001).astype(float),
        "spread": rng.standard_cauchy(3001) * 10.0 ** rng.integers(-30, 30, 3001),
        "one spike": np.where(np.arange(3001) == 7, 1e30, 0.0),
        "one value": np.full(3001, -2.5),
    }[kind].astype(np.float32)
    x[rng.random(3001) < 0.2] = np.nan
    keys, count = keys_of(x)
    ordered = np.sort(x)
    for rank in (0, 1, 120, count // 2 - 1, count // 2, count - 121, count - 1):
        assert order.from_key(order.key_of_rank(keys, count, rank)) == ordered[rank]
    assert same([order.median_of_keys(keys, count)], [naive.median(x)])


@QUICK
@given(SERIES, st.integers(-(2**31), 2**31 - 2))
def test_neighbours_of_a_limit(values: list[float], limit: int) -> None:
    keys, count = keys_of(f32(values))
    kept = sorted(keys.tolist())[:count]
    assert order.least_key(keys, limit) == min((k for k in kept if k >= limit), default=order.GAP)
    assert order.largest_key(keys, limit) == max((k for k in kept if k <= limit), default=order.LEAST)


@QUICK
@given(SERIES)
def test_insertion_keeps_a_box_ascending(values: list[float]) -> None:
    box = np.full(len(values) + 1, np.nan, np.float32)
    count = 0
    for x in naive.valid(f32(values))[::-1]:
        count = order.insert_sorted(box, count, x)
    assert same(box[:count], naive.valid(f32(values)))


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


def test_the_median_of_nothing_is_a_gap() -> None:
    assert math.isnan(order.median_of_keys(np.empty(0, np.int32), 0))
    assert math.isnan(order.median_of_keys(*keys_of(f32([math.nan] * 4))))
