"""The band of `robust_band`: its edges are where the score crosses 1, as its twin finds them by bisection."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.models import robust_band as rb
from tests.naive import parts
from tests.naive import robust_band as naive
from tests.naive.single_rows import QUICK, candidate, chain_and_twin
from tests.naive.windows import CASES, Chain, centre, make


def check_edges(chain: Chain, twin: naive.Twin) -> None:
    """evidence(edge) <= limit < evidence(just beyond), by the kernel exactly and by the twin within rounding."""
    c = chain.context
    start, lower, upper = float(c.start[0]), float(c.lower[0]), float(c.upper[0])
    assert lower <= start <= upper
    assert lower <= c.expected[0] <= upper
    cut = chain.fitted.never_negative[0] and lower == min(-chain.offset[0], start)
    for edge, sign in ((lower, -1), (upper, 1)):
        if math.isinf(edge) or (cut and sign < 0):
            continue
        assert chain.evidence(0, edge) <= chain.limit
        # The last bracket is 2^-24 of a stride that is no longer than the way from the start, or the first one.
        beyond = edge + sign * max(2.0**-22 * (abs(edge - start) + twin.first_stride()), 4 * np.spacing(abs(edge)))
        assert chain.evidence(0, beyond) > chain.limit
        assert twin.evidence_range(edge)[0] <= chain.limit
        assert twin.evidence_range(beyond)[1] > chain.limit


@QUICK
@given(*CASES)
def test_edges_are_where_the_evidence_crosses_the_limit(seed: int, kind: str, gaps: str) -> None:
    chain, twin, rng = chain_and_twin(seed, kind, gaps)
    for _ in range(4):
        context = chain.open()
        if twin.valid < rb.LEAST_SAMPLES:
            return
        if math.isnan(context.start[0]):
            assert math.isnan(twin.start()) or twin.evidence_range(twin.start())[1] > chain.limit
        else:
            check_edges(chain, twin)
        new = candidate(twin, rng)
        chain.close(np.array([new]))
        twin.absorb(new)


@pytest.mark.parametrize("kind", ["daily", "walk", "positive"])
def test_band_is_the_twins_on_plain_series(kind: str) -> None:
    # Rounding moves an edge by about its share of the evidence's slope: a thousandth of the band is far more than that
    # and far less than any error of a formula. Where a tail begins the edge may sit on either side of a jump.
    agreed = total = 0
    for seed in range(12):
        chain, twin, rng = chain_and_twin(seed, kind, "none", n=24 * (2 + seed % 8))
        chain.offset -= chain.offset + 1e6  # not a series that never goes below zero
        chain.fit()
        twin = naive.Twin(chain.window()[0], float(chain.offset[0]), chain.column - 1, 3600, chain.shape.horizon)
        for _ in range(4):
            context = chain.open()
            start = twin.start()
            if not math.isnan(start):
                edges = twin.edge(start, -1), twin.edge(start, 1)
                width = edges[1] - edges[0]
                assert context.start[0] == pytest.approx(start, abs=1e-5 * width)
                total += 2
                agreed += abs(context.lower[0] - edges[0]) < 1e-3 * width
                agreed += abs(context.upper[0] - edges[1]) < 1e-3 * width
                expected = min(max(twin.expected(), edges[0]), edges[1])
                assert context.expected[0] == pytest.approx(expected, abs=1e-3 * width)
            new = float(np.float32(rng.choice(chain.window()[0])))
            chain.close(np.array([new]))
            twin.absorb(new)
    assert total > 60
    assert agreed == total


@QUICK
@given(*CASES, st.floats(0.1, 10))
def test_score_is_above_1_exactly_outside_the_judged_band(seed: int, kind: str, gaps: str, factor: float) -> None:
    rng = np.random.default_rng(seed)
    rows = [centre(make(kind, gaps, 96, 24, rng)) for _ in range(6)]
    chain = Chain(np.stack([r[0] for r in rows]), np.array([r[1] for r in rows]), 3600, 777, factor=factor)
    for _ in range(6):
        c = chain.open()
        widths = np.where(np.isfinite(c.upper - c.lower), c.upper - c.lower, 1.0)
        x = c.expected + widths * rng.normal(0, 1, 6) * rng.choice([0.3, 1, 3])
        near = rng.random(6) < 0.3
        x[near] = np.where(rng.random(6) < 0.5, c.lower, c.upper)[near]
        x = np.float32(np.nan_to_num(x, nan=1.0).clip(-1e38, 1e38)).astype(float)
        score, lower, upper = chain.judge(x)
        known = ~np.isnan(c.start)
        assert ((score > 1) == ~((lower <= x) & (x <= upper)))[known].all()
        assert np.isnan(score).tolist() == np.isnan(c.expected).tolist()
        assert (score[~np.isnan(score)] >= 0).all()
        assert (score[~np.isnan(score)] <= 100).all()
        chain.close(x)


@QUICK
@given(*CASES)
def test_not_a_number_and_infinities_as_samples(seed: int, kind: str, gaps: str) -> None:
    chain, twin, _ = chain_and_twin(seed, kind, gaps, n=60)
    chain.open()
    score, lower, upper = chain.judge(np.array([math.nan]))
    assert math.isnan(score[0])
    if twin.valid < rb.LEAST_SAMPLES:
        return
    assert (lower[0], upper[0]) == (chain.context.lower[0], chain.context.upper[0])
    for x in (math.inf, -math.inf, 1e300, -1e300):
        score, lower, upper = chain.judge(np.array([x]))
        assert 0 <= score[0] <= parts.MOST_SCORE
        if not math.isnan(chain.context.start[0]):
            assert (score[0] > 1) == (not lower[0] <= x <= upper[0])


def test_band_of_clean_series_is_an_interval() -> None:
    # Scanning a clean daily series: no acceptable value outside of the band and none unacceptable inside.
    chain, twin, _ = chain_and_twin(1, "daily", "none", n=240)
    context = chain.open()
    lower, upper = context.lower[0], context.upper[0]
    for x in np.linspace(2 * lower - upper, 2 * upper - lower, 1001):
        assert (chain.evidence(0, x) <= chain.limit) == (lower <= x <= upper)
        low, high = twin.evidence_range(float(x))
        assert low <= chain.limit if lower <= x <= upper else high > chain.limit


@QUICK
@given(st.integers(0, 2**32 - 1), st.sampled_from(["daily", "quantised", "positive", "constant", "spiky"]))
def test_lower_is_not_negative_where_the_window_never_was(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    true_values = np.abs(make(kind, "5%", 96, 24, rng))
    values, offset = centre(true_values)
    chain = Chain(values[None], np.array([offset]), 3600, 777)
    jump = 10 * np.nanmax(true_values) - offset
    for k in range(6):  # the jump leaves no acceptable start: the edges of the seasonal view must obey as well
        context = chain.open()
        assert context.lower[0] + offset >= -1e-6 * (1 + abs(offset))
        chain.close(np.array([float(np.float32(jump)) if k > 1 else 0.0]))


def test_a_series_that_was_negative_keeps_a_negative_edge() -> None:
    chain = Chain(np.random.default_rng(0).normal(0, 1, (1, 240)).astype(np.float32), np.zeros(1), 3600, 777)
    assert not chain.fitted.never_negative[0]
    assert chain.open().lower[0] < -1


def test_sensitivity_scales_the_score() -> None:
    values = make("daily", "none", 240, 24, np.random.default_rng(8)).astype(np.float32)[None]
    plain, strict = (Chain(values, np.zeros(1), 3600, 777, factor=f) for f in (1.0, 0.85))
    widths = [(c.open().upper - c.context.lower)[0] for c in (plain, strict)]
    assert widths[1] < widths[0]
    x = np.array([values.max() + 3.0])
    assert strict.judge(x)[0][0] == pytest.approx(plain.judge(x)[0][0] / 0.85, rel=1e-12)
