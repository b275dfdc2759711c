"""The algebra of runs against sets of moments."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exporter.backtest.runs import NO_RUNS, Runs, common, of_mask, united

SPAN = 40
raw_runs = st.lists(st.tuples(st.integers(0, 2), st.integers(-5, SPAN), st.integers(1, 9)), max_size=25)


def arrays(raw):
    rows = np.array([row for row, _, _ in raw], np.int64)
    starts = np.array([start for _, start, _ in raw], np.int64)
    return rows, starts, starts + np.array([length for _, _, length in raw], np.int64)


def moments(runs: Runs) -> set[tuple[int, int]]:
    return {(row, t) for row, start, end in zip(runs.row.tolist(), runs.start.tolist(), runs.end.tolist(), strict=True)
            for t in range(start, end)}  # fmt: skip


def is_tidy(runs: Runs) -> bool:
    order = list(zip(runs.row.tolist(), runs.start.tolist(), strict=True))
    same = runs.row[1:] == runs.row[:-1]
    return order == sorted(order) and bool((runs.start[1:][same] > runs.end[:-1][same]).all())


@given(raw_runs, st.integers(0, 4))
def test_united_holds_the_same_moments_and_closes_small_gaps(raw, gap):
    rows, starts, ends = arrays(raw)
    found = united(rows, starts, ends, gap)
    wanted = moments(Runs(rows, starts, ends))
    for row in {row for row, _ in wanted}:
        times = sorted(t for r, t in wanted if r == row)
        for a, b in itertools.pairwise(times):
            wanted |= {(row, t) for t in range(a, b)} if b - a - 1 <= gap else set()
    assert moments(found) == wanted
    assert is_tidy(found)


@given(raw_runs, raw_runs)
def test_common_is_where_both_are(one, other):
    a, b = united(*arrays(one)), united(*arrays(other))
    found = common((a, b))
    assert moments(found) == moments(a) & moments(b)
    assert is_tidy(found)


@given(raw_runs, st.integers(-3, SPAN), st.integers(-3, SPAN))
def test_cut(raw, first, end):
    found = united(*arrays(raw))
    assert moments(found.cut(first, end)) == {(row, t) for row, t in moments(found) if first <= t < end}


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), max_size=4))
def test_of_mask(rows):
    mask = np.array(rows, bool).reshape(len(rows), 7)
    row, first, last = of_mask(mask)
    again = np.zeros_like(mask)
    for r, a, b in zip(row.tolist(), first.tolist(), last.tolist(), strict=True):
        assert not again[r, max(0, a - 1) : b + 2].any()
        again[r, a : b + 1] = True
    assert (again == mask).all()


def test_nothing():
    assert len(united(NO_RUNS.row, NO_RUNS.start, NO_RUNS.end)) == len(common((NO_RUNS, NO_RUNS))) == 0
