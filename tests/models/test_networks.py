"""Sorting networks: the generator by hand and at random, and its straight code beside numpy's sort."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from exporter.kernels import kernel
from exporter.models import networks

NEXT = np.arange(64)
sort_5 = networks.sorter(5)
sort_33 = networks.sorter(33)
choose_runs = networks.chooser([4, 3, 1], range(2, 6))


@kernel
def run_5(source: np.ndarray, out: np.ndarray) -> None:
    for k in range(0, out.shape[1], networks.LANES):
        sort_5(source, NEXT, k, out, k)


@kernel
def run_33(source: np.ndarray, out: np.ndarray) -> None:
    for k in range(0, out.shape[1], networks.LANES):
        sort_33(source, NEXT, k, out, k)


@kernel
def run_choice(source: np.ndarray, places: np.ndarray, wanted: np.ndarray, out: np.ndarray) -> None:
    for k in range(0, out.shape[1], networks.LANES):
        choose_runs(source, places, k, wanted, out, k)


def merged(values: list[int], lengths: list[int], ranks: range) -> list[int]:
    """What a network leaves, by doing its comparisons one after the other."""
    pairs, order = networks.merging_network(lengths, ranks)
    values = values[:]
    for low, high in pairs:
        if values[low] > values[high]:
            values[low], values[high] = values[high], values[low]
    return [values[place] for place in order]


@pytest.mark.parametrize("size", [*range(1, 24), 31, 48, 91])
def test_a_network_merges_runs_of_any_lengths(size: int) -> None:
    rng = random.Random(size)
    for _ in range(60):
        cuts = sorted(rng.sample(range(1, size), rng.randrange(min(size, 6))))
        edges = [0, *cuts, size]
        lengths = [b - a for a, b in pairwise(edges)]
        values = [rng.randrange(9) for _ in range(size)]
        runs = [v for a, b in pairwise(edges) for v in sorted(values[a:b])]
        first = rng.randrange(size)
        ranks = range(first, rng.randrange(first, size) + 1)
        assert merged(runs, lengths, ranks) == sorted(values)[ranks.start : ranks.stop]


@pytest.mark.parametrize("size", range(1, 13))
def test_a_network_of_single_samples_sorts_whatever_the_order(size: int) -> None:
    # The zero-one principle: a network that sorts every sequence of zeros and ones sorts everything (Knuth, 5.3.4).
    for bits in range(1 << size):
        values = [bits >> k & 1 for k in range(size)]
        assert merged(values, [1] * size, range(size)) == sorted(values)


def test_sizes_known_from_the_book() -> None:
    # Comparisons of Batcher's merge sort: 1, 3, 5, 9, ... 63 for 16 (Knuth, volume 3, section 5.3.4).
    sizes = [len(networks.merging_network([1] * n, range(n))[0]) for n in (2, 3, 4, 5, 8, 16)]
    assert sizes == [1, 3, 5, 9, 19, 63]
    assert len(networks.merging_network([4, 4], range(8))[0]) == 9


def test_comparisons_that_no_wanted_rank_needs_are_left_out() -> None:
    assert networks.merging_network([1], range(1)) == ([], [0])
    assert len(networks.merging_network([16] * 3, range(23, 25))[0]) < len(
        networks.merging_network([16] * 3, range(48))[0]
    )


@pytest.mark.parametrize("kind", ["noise", "ties", "infinite"])
def test_straight_code_sorts_sixteen_windows_at_a_time(kind: str) -> None:
    rng = np.random.default_rng(1)
    source = rng.normal(size=200).astype(np.float32)
    if kind == "ties":
        source = np.round(source)
    if kind == "infinite":
        source[rng.random(200) < 0.3] = np.inf
        source[rng.random(200) < 0.3] = -np.inf
    for size, run in ((5, run_5), (33, run_33)):
        out = np.empty((size, 96), np.float32)
        run(source, out)
        windows = np.lib.stride_tricks.sliding_window_view(source, size)[:96]
        assert np.array_equal(out, np.sort(windows, axis=1).T)


def test_each_column_chooses_its_own_two_ranks() -> None:
    rng = np.random.default_rng(2)
    columns = np.sort(rng.normal(size=(8, 32)), axis=0).astype(np.float32)
    table = columns[[0, 3, 4, 6, 1, 2, 7, 5]]  # ascending runs of 4, 3 and 1
    wanted = rng.integers(0, 4, (2, 32)).astype(np.int32)
    out = np.empty((2, 32), np.float32)
    run_choice(table, np.arange(8) * 32, wanted, out)
    assert np.array_equal(out, np.take_along_axis(columns, wanted + 2, axis=0))
