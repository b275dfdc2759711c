"""The generalised ESD test by median and MAD, its critical values, and the order of the phases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from exporter.models import esd, season
from tests.naive import shesd as naive
from tests.naive.shesd_rows import F32, few_values

# Rosner 1983, table 1, as it is found in every textbook on the method.
ROSNER = [
    -0.25, 0.68, 0.94, 1.15, 1.20, 1.26, 1.26, 1.34, 1.38, 1.43, 1.49, 1.49, 1.55, 1.56, 1.58, 1.65, 1.69, 1.70,
    1.76, 1.77, 1.81, 1.91, 1.94, 1.96, 1.99, 2.06, 2.09, 2.10, 2.14, 2.15, 2.23, 2.24, 2.26, 2.35, 2.37, 2.40,
    2.47, 2.54, 2.62, 2.64, 2.90, 2.92, 2.92, 2.93, 3.21, 3.26, 3.30, 3.59, 3.68, 4.30, 4.64, 5.34, 5.42, 6.01,
]  # fmt: skip


def test_the_textbook_test_finds_rosners_three_outliers() -> None:
    found = naive.textbook_esd(ROSNER, 0.05, 10, naive.mean, naive.deviation)
    assert found.outliers == 3
    assert found.rest == ROSNER[:-3]
    assert np.round(found.distances, 3).tolist() == [
        3.119, 2.943, 3.179, 2.810, 2.816, 2.848, 2.279, 2.310, 2.102, 2.067,
    ]  # fmt: skip
    np.testing.assert_allclose(
        found.criticals, [3.159, 3.151, 3.144, 3.136, 3.128, 3.120, 3.112, 3.103, 3.094, 3.085], atol=6e-4
    )


def test_the_first_two_of_them_are_masked_by_the_third() -> None:
    found = naive.textbook_esd(ROSNER, 0.05, 2, naive.mean, naive.deviation)
    assert found.outliers == 0


# Critical values


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
def test_critical_values_are_rosners(alpha: float) -> None:
    table = esd.critical_values(alpha, 54)
    assert np.isnan(table[:3]).all()
    want = [naive.critical(alpha, 54, 54 - m + 1) for m in range(3, 55)]
    np.testing.assert_allclose(table[3:], want, rtol=1e-9)


def test_critical_values_of_a_tiny_level_keep_their_precision() -> None:
    table = esd.critical_values(1e-12, 100_000)
    assert np.isfinite(table[1000:]).all()
    assert (np.diff(table[1000:]) > 0).all()


# Order of the phases


@pytest.mark.parametrize("size", range(1, 13))
def test_the_network_sorts_every_pattern_of_zeros_and_ones(size: int) -> None:
    """What sorts all of them sorts everything (Knuth's zero-one principle)."""
    table = np.array(list(itertools.product([0, 1], repeat=size)), np.float32).T.copy().reshape(size, -1)
    season._sort_columns(table, season.sorting_network(size))
    assert (np.diff(table, axis=0) >= 0).all()


def test_seven_days_take_sixteen_exchanges() -> None:
    assert len(season.sorting_network(7)) == 16


@pytest.mark.parametrize("size", [13, 14, 28, 31, 60, 365])
def test_the_network_sorts_long_columns(size: int) -> None:
    table = np.random.default_rng(size).normal(size=(size, 40)).astype(np.float32)
    want = np.sort(table, axis=0)
    season._sort_columns(table, season.sorting_network(size))
    np.testing.assert_array_equal(table, want)


# The test itself
finite = st.floats(-1e6, 1e6, width=32)


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(24, 80), elements=st.one_of(finite, few_values)),
    st.sampled_from([0.001, 0.02, 0.05, 0.1, 0.29, 0.49]),
    st.sampled_from([1e-9, 1e-3, 1.0]),
    st.sampled_from([0.001, 0.05, 0.5]),
)
@example(np.zeros(24, np.float32), 0.49, 1e-9, 0.05)
@example(np.arange(24, dtype=np.float32), 0.49, 1e-9, 0.05)
@example(np.array([0] * 20 + [1, 1, -1, -1], np.float32), 0.29, 1e-9, 0.05)
def test_moving_pointers_are_the_textbook_test(x: F32, max_anoms: float, floor: float, alpha: float) -> None:
    ordered = np.sort(x)
    most = min(max(1, int(max_anoms * len(x) + 1e-9)), (len(x) - 1) // 2)
    found, middle, scale = esd.extremes(ordered, len(x), most, floor, esd.critical_values(alpha, len(x)))
    outliers, want_middle, want_scale = naive.robust_esd([float(v) for v in x], alpha, max_anoms, floor)
    assert found == outliers
    assert middle == want_middle
    assert scale == pytest.approx(want_scale, rel=1e-12)


def test_two_middle_values_are_averaged_without_rounding() -> None:
    pair = np.array([1e8, 1e8 + 8], np.float32)  # their float32 sum would lose the 8
    assert esd._middle(pair) == 1e8 + 4
    out = np.empty(1)
    season._column_medians(pair.reshape(2, 1), np.array([2], np.int32), out)
    assert out[0] == 1e8 + 4


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 60), elements=st.one_of(finite, few_values)))
def test_mad_by_binary_search(x: F32) -> None:
    ordered = np.sort(x)
    middle = float(np.median(ordered.astype(float)))
    assert esd._mad_of_sorted(ordered, middle) == np.median(np.abs(ordered.astype(float) - middle))


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(0, 40), elements=st.one_of(finite, few_values)),
    hnp.arrays(np.float32, st.integers(0, 40), elements=st.one_of(finite, few_values)),
)
def test_merging_is_sorting(a: F32, b: F32) -> None:
    both = np.concatenate([[np.float32(9)], np.sort(a), np.sort(b), [np.float32(9)]]).astype(np.float32)
    out = np.full(len(both), np.nan, np.float32)
    esd._merge(both, 1, 1 + len(a), 1 + len(a) + len(b), out)
    np.testing.assert_array_equal(out[1:-1], np.sort(both[1:-1]))
    assert np.isnan(out[[0, -1]]).all()
