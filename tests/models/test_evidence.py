"""The parts of the evidence: the season, tails and their weights, what was told before, bursts, views beside gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.models import evidence as ev
from exporter.models import judgement, views
from exporter.models import robust_band as rb
from tests.naive import parts
from tests.naive import robust_band as naive
from tests.naive.order import median
from tests.naive.single_rows import (
    QUICK,
    aged,
    chain_and_twin,
    check_evidence,
    distance,
    residual,
    tail_evidence,
    tails,
)
from tests.naive.windows import KINDS, Chain

# --- the parts of the evidence ----------------------------------------------------------------------------------------


@QUICK
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(KINDS)), st.sampled_from(["none", "30%", "day"]))
def test_the_distance_from_the_season_is_0_there_grows_and_saturates(seed: int, kind: str, gaps: str) -> None:
    chain, twin, _ = chain_and_twin(seed, kind, gaps, n=96)
    c = chain.open()
    season = twin.phase_level[twin.phase(twin.n)]
    scale = max(twin.spread, twin.floor)
    apart = np.array([0.0, 0.01, 0.1, 1, 3, 10, 30, 100, 1000]) * scale
    for side in (-1, 1):
        # Judged from the kernel's own season: a float32 beside which small distances need not be told apart.
        centre_row, weight = c.centre[0].copy(), c.weight[0]
        centre_row[ev.SEASON] = 0.0
        found = np.array([distance(side * d, centre_row, weight) for d in apart])
        assert found[0] == 0.0
        assert (np.diff(found) >= 0).all()
        assert (np.diff(found[:7]) > 0).all()
        assert found[-1] == pytest.approx(parts.SEASON_EVIDENCE)
        assert (found <= parts.SEASON_EVIDENCE).all()
    assert c.centre[0, ev.SEASON] == pytest.approx(season, rel=0, abs=16 * parts.ROUNDING * twin.largest)


def high_recent_samples(chain: Chain) -> np.ndarray:
    """Centres as if the samples before had been 1e6 already for the view xm6: else it hardly moves by one sample."""
    centre_row = chain.context.centre[0].copy()
    centre_row[[ev.XM6_LOW, ev.XM6_HIGH, ev.XM6_OTHER]] = 1e6
    return centre_row


@pytest.mark.parametrize("evidence", [0.0, 0.1, 0.5, 0.999, 1.0])
def test_what_is_not_enough_grades_what_is_normal_and_never_makes_an_anomaly(evidence: float) -> None:
    by_season = [judgement._score(evidence, 0.0, distance) for distance in (0.0, 0.2, 0.7, 1.0)]
    by_told = [judgement._score(evidence, told, 0.0) for told in (0.0, 0.1, 1.0, 1e9)]
    assert by_season[0] == by_told[0] == evidence
    assert by_season[-1] == pytest.approx(evidence + parts.MOST_LIFTED * parts.LIFT_BY_SEASON * (1 - evidence))
    assert by_told[-1] == pytest.approx(evidence + parts.MOST_LIFTED * (1 - evidence))
    for graded in (by_season, by_told):
        assert graded == sorted(graded)
        assert max(graded) <= 1.0
        assert (len(set(graded)) == 1) == (evidence == 1.0)


@pytest.mark.parametrize("evidence", [1.001, 3.0, 100.0, 1e300, math.inf])
def test_beyond_the_edge_the_evidence_alone_is_the_score(evidence: float) -> None:
    for told, apart in ((0.0, 0.0), (2.0, 0.5), (0.1, 1.0)):
        assert judgement._score(evidence, told, apart) == min(parts.MOST_SCORE, evidence)


def test_the_weights_of_the_tails_add_up_to_one_and_the_sum_is_limited() -> None:
    assert sum(parts.TAIL_WEIGHTS.values()) == pytest.approx(1.0)
    chain = aged(240)
    centre_row, weight, tail = high_recent_samples(chain), chain.context.weight[0], chain.fitted.tail[0]
    assert tails(1e9, centre_row, weight, tail)[0] == parts.MOST_OF_TAILS
    assert tails(0.0, centre_row, weight, np.full((5, 8), np.nan, np.float32)) == (0.0, 0.0)


@pytest.mark.parametrize("missing", range(5))
def test_a_view_without_a_tail_leaves_the_weights_of_the_others_alone(missing: int) -> None:
    chain = aged(240)
    centre_row, weight, tail = high_recent_samples(chain), chain.context.weight[0], chain.fitted.tail[0]
    tail[:, rb.UPPER_SCALE] = 1e9  # moderate tails for all: the sum stays below its limit
    everything = tails(1e6, centre_row, weight, tail)[0]
    r = residual(rb.TAILS[missing], 1e6, centre_row)
    share = list(parts.TAIL_WEIGHTS.values())[missing] * tail_evidence(r, tail[missing])
    assert share > 0
    tail[missing] = np.nan
    assert tails(1e6, centre_row, weight, tail)[0] == pytest.approx(everything - share, rel=1e-12)


@pytest.mark.parametrize("gate", [2.0, 5.0, 11.0])
def test_beyond_its_gate_a_tail_counts_in_full(gate: float) -> None:
    tail = np.zeros(8, np.float32)
    tail[[rb.UPPER, rb.UPPER_JUMP, rb.UPPER_SCALE, rb.UPPER_GATE]] = 2.0, 1.4, 3.0, gate
    tail[[rb.LOWER, rb.LOWER_JUMP, rb.LOWER_SCALE, rb.LOWER_GATE]] = -2.0, 2.3, 5.0, -gate
    for r in (gate, -gate, 0.5 * gate, 0.0):
        assert tail_evidence(r, tail) == 0.0
    r = 1.001 * gate
    assert tail_evidence(r, tail) == pytest.approx(1.4 + (r - 2) / 3, rel=1e-6)
    assert tail_evidence(-r, tail) == pytest.approx(2.3 + (r - 2) / 5, rel=1e-6)
    assert tail_evidence(1e9, tail) == tail_evidence(-1e9, tail) == parts.MOST_OF_A_VIEW


# --- what was told before ---------------------------------------------------------------------------------------------


def since_the_fit(levels: list[float], seed: int) -> tuple[Chain, naive.Twin]:
    """Four days of noise of sigma 1 around 0 at 5 minutes, fitted; then, without another fit, noise around `levels`."""
    rng = np.random.default_rng(seed)
    values, horizon = rng.normal(0, 1, 4 * 288).astype(np.float32), 36
    chain = Chain(values[None], np.zeros(1), 300, 1_000_000, horizon=horizon)
    twin = naive.Twin(values, 0.0, 1_000_000, 300, horizon)
    for level in levels:
        chain.open()
        new = float(np.float32(level + rng.normal()))
        chain.close(np.array([new]))
        twin.absorb(new)
    chain.open()
    return chain, twin


def everything_said(chain: Chain, x: float) -> float:
    """The weighted tail evidence of all views, nothing left out."""
    centre_row, tail = chain.context.centre[0], chain.fitted.tail[0]
    found = [tail_evidence(residual(v, x, centre_row), tail[k]) for k, v in enumerate(rb.TAILS)]
    return sum(w * lp for w, lp in zip(parts.TAIL_WEIGHTS.values(), found, strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [12.0, -12.0])
def test_two_hours_after_a_level_shift_the_new_level_is_normal_for_it_was_told(level: float, seed: int) -> None:
    chain, twin = since_the_fit([level] * 24, seed)
    check_evidence(chain, twin, level)
    counted, told = chain.tails(0, level)
    assert counted + told == pytest.approx(everything_said(chain, level), rel=1e-9)
    assert told > 0
    evidence = chain.evidence(0, level)
    assert evidence <= chain.limit < evidence + told


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [12.0, -12.0])
def test_a_fresh_jump_on_the_new_level_counts_in_full(level: float, seed: int) -> None:
    chain, twin = since_the_fit([level] * 24, seed)
    jumped = float(chain.context.centre[0, views.F3]) + math.copysign(4.5, level)
    check_evidence(chain, twin, jumped)
    counted, told = chain.tails(0, jumped)
    assert told == 0.0
    assert counted == pytest.approx(everything_said(chain, jumped), rel=1e-9)
    assert counted > chain.limit


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [12.0, -12.0])
def test_a_level_on_the_other_side_tells_nothing(level: float, seed: int) -> None:
    # Seven samples of the last hour on one side, the last five on the other. The view day_f12 still sees a jump then,
    # for which all would count again: without a tail it says nothing, and only the side is left to decide.
    for before, is_told in (([level] * 7, False), ([-level] * 7, True)):
        chain, twin = since_the_fit([*before, *[-level] * 5], seed)
        chain.fitted.tail[0, rb.TAILS.index(views.DAY_F12)] = np.nan
        twin.tails["day_f12"] = None
        hour_told = chain.context.centre[0, ev.TOLD :]
        assert (np.sign(hour_told) == math.copysign(1.0, before[0])).all()
        check_evidence(chain, twin, -level)
        counted, told = chain.tails(0, -level)
        assert (told > 0) == is_told
        assert counted + told == pytest.approx(min(parts.MOST_OF_TAILS, everything_said(chain, -level)), rel=1e-9)


# --- bursts at the same time of day -----------------------------------------------------------------------------------


def lp_of_a_burst(days: int, burst_days: set[int], jitter: int, seed: int) -> dict[str, float]:
    """Largest tail evidence by view while a burst of 20 minutes goes by on the day after `days` days at 5 minutes, when
    there was one on each of `burst_days` (1: yesterday), up to `jitter` columns earlier or later."""
    rng = np.random.default_rng(seed)
    x = np.full((days + 1) * 288, 10, np.float32)
    for day in burst_days | {0}:
        at = (days - day) * 288 + 36 + int(rng.integers(-jitter, jitter + 1))
        x[at : at + 4] = 100
    start = days * 288 + 30
    chain = Chain(x[None, 30:start], np.zeros(1), 300, 1_000_000, horizon=14)
    found = np.zeros(len(rb.TAILS))
    for new in x[start : start + 12].astype(float):
        c = chain.open()
        residuals = [residual(view, new, c.centre[0]) for view in rb.TAILS]
        now = [tail_evidence(r, tail) for r, tail in zip(residuals, chain.fitted.tail[0], strict=True)]
        found = np.maximum(found, now)
        chain.close(np.array([new]))
    return dict(zip(parts.TAIL_WEIGHTS, found.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("days", [4, 5, 7, 10])
def test_a_daily_burst_is_no_news_after_four_days_though_never_quite_at_the_same_time(days: int, seed: int) -> None:
    # Of the views that look at neighbours only; the seasonal ones smear a burst that moves over several phases.
    found = lp_of_a_burst(days, set(range(1, days + 1)), 2, seed)
    assert (found["x"], found["f3"], found["xm6"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_a_burst_on_four_of_the_last_seven_days_is_no_news_and_on_three_it_is(seed: int) -> None:
    four = lp_of_a_burst(10, {1, 3, 4, 7}, 2, seed)
    assert (four["x"], four["f3"], four["xm6"]) == (0.0, 0.0, 0.0)
    three = lp_of_a_burst(10, {1, 4, 7, 8, 9, 10}, 2, seed)
    assert min(three["x"], three["f3"], three["xm6"]) > 1.0


def test_a_burst_at_another_time_of_day_is_news() -> None:
    x = np.full(8 * 288, 10, np.float32)
    for day in range(7):
        x[day * 288 + 136 : day * 288 + 140] = 100
    chain = Chain(x[None, : 7 * 288], np.zeros(1), 300, 1_000_000, horizon=14)
    chain.open()
    assert tail_evidence(100.0, chain.fitted.tail[0, rb.TAILS.index(views.X)]) > 1.0


# --- views beside gaps ------------------------------------------------------------------------------------------------


def test_a_view_without_a_centre_says_nothing() -> None:
    # All of the last five samples missing: xm6 would need three, f3 two. Neither may fall back to x itself.
    values = np.random.default_rng(3).normal(0, 1, (1, 240)).astype(np.float32)
    values[0, -6:] = np.nan
    chain = Chain(values, np.zeros(1), 3600, 5000)
    centre_row = chain.open().centre[0]
    assert math.isnan(residual(views.F3, 9.0, centre_row))
    assert math.isnan(residual(views.XM6, 9.0, centre_row))
    before = chain.fitted.extreme[0, rb.NOVELTIES.index(views.XM6)].copy()
    chain.close(np.array([9.0]))
    assert np.array_equal(chain.fitted.extreme[0, rb.NOVELTIES.index(views.XM6)], before)


@QUICK
@given(
    st.lists(st.one_of(st.integers(-4, 4).map(float), st.just(math.nan)), min_size=5, max_size=5), st.integers(-6, 6)
)
def test_xm6_of_every_pattern_of_gaps(last: list[float], x: int) -> None:
    values = np.zeros((1, 48), np.float32)
    values[0, -5:] = last
    chain = Chain(values, np.zeros(1), 3600, 5000)
    found = residual(views.XM6, float(x), chain.open().centre[0])
    assert found == pytest.approx(median([*last, float(x)], 3), nan_ok=True)


@pytest.mark.parametrize(("step_s", "n"), [(7200, 24), (7200, 36), (3600, 48)])
def test_a_ring_shorter_than_48_columns_counts_no_sample_twice(step_s: int, n: int) -> None:
    values = np.random.default_rng(n).normal(0, 1, (1, n)).astype(np.float32)
    chain = Chain(values, np.zeros(1), step_s, 1000, horizon=2)
    assert chain.open().centre[0, views.F48] == pytest.approx(median(values[0]), rel=2 * parts.ROUNDING)


@pytest.mark.parametrize("n", [2, 8, 11])
def test_windows_of_a_few_columns_have_no_verdict(n: int) -> None:
    # Two days at a step of 6 hours are 8 columns.
    chain = Chain(np.ones((1, n), np.float32), np.zeros(1), 21_600, 1000, horizon=1)
    assert chain.fitted.valid[0] == n
    assert math.isnan(chain.open().expected[0])


def test_a_horizon_is_a_limit() -> None:
    chain = Chain(np.random.default_rng(0).normal(0, 1, (1, 96)).astype(np.float32), np.zeros(1), 3600, 500, horizon=3)
    for k in range(5):
        assert math.isnan(chain.open().expected[0]) == (k >= 3)
        before = chain.fitted.holt.copy()
        chain.close(np.array([0.5]))
        assert np.array_equal(before, chain.fitted.holt) == (k >= 3)
    chain.fit()
    assert not math.isnan(chain.open().expected[0])
