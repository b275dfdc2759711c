"""The judgement of `robust_band` against its twin (tests/naive/robust_band.py), chained as a cycle chains it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.models import evidence as ev
from exporter.models import judgement, views
from exporter.models import robust_band as rb
from tests.naive import robust_band as naive
from tests.naive.order import median
from tests.naive.windows import GAPS, KINDS, Chain, batch_of_everything, centre, make

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
CASES = (st.integers(0, 2**32 - 1), st.sampled_from(sorted(KINDS)), st.sampled_from(GAPS))
VIEW_OF = dict(
    zip((views.X, views.F3, views.F48, views.DAY, views.XM6, views.DAY_F12, views.HW), naive.VIEW_NAMES, strict=True)
)


def residual(view: int, x: float, centre_row: np.ndarray) -> float:
    """What x leaves of a view, for a row by itself; the same for the others below."""
    return ev.residual(view, x, 0, centre_row[None])


def tail_evidence(r: float, tail: np.ndarray) -> float:
    return ev.tail_evidence(r, 0, 0, tail[None, None])


def tails(x: float, centre_row: np.ndarray, weight: np.ndarray, tail: np.ndarray) -> tuple[float, float]:
    return ev.tails(x, 0, centre_row[None], weight[None], tail[None])


def distance(x: float, centre_row: np.ndarray, weight: np.ndarray) -> float:
    return ev.distance(x, 0, centre_row[None], weight[None])


def chain_and_twin(
    seed: int, kind: str, gaps: str, *, step_s: int = 3600, n: int = 72, horizon: int = 6
) -> tuple[Chain, naive.Twin, np.random.Generator]:
    rng = np.random.default_rng(seed)
    values, offset = centre(make(kind, gaps, n, 86_400 // step_s, rng))
    offset += float(rng.choice([0.0, 0.0, 1e8]))
    end_column = int(rng.integers(1_000_000))
    chain = Chain(values[None], np.array([offset]), step_s, end_column, horizon=horizon)
    return chain, naive.Twin(values, offset, end_column, step_s, horizon), rng


def candidate(twin: naive.Twin, rng: np.random.Generator) -> float:
    """A value to judge: a sample of the window, something near, or something far; as float32, like all samples."""
    kept = np.array([v for v in twin.x if not math.isnan(v)])
    spread = float(kept.max() - kept.min()) or 1.0
    sample = float(rng.choice(kept))
    far = sample + spread * rng.choice([0, 0, 0.05, 0.5, 5, 50]) * rng.normal()
    return float(np.float32(np.clip(far, -3e37, 3e37)))


# --- what depends on the step -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [1, 15, 60, 61, 120, 299, 300, 301, 600, 900, 1800, 3599, 3600, 7200, 86_400])
def test_threshold_by_step(step_s: int) -> None:
    assert judgement.threshold(step_s) == pytest.approx(naive.threshold(step_s), rel=1e-12)


# --- evidence, end to end ---------------------------------------------------------------------------------------------


def check_evidence(chain: Chain, twin: naive.Twin, x: float) -> None:
    """The kernel's views and evidence of x lie within float32 rounding of the twin's; the score is E / T."""
    score = chain.judge(np.array([x]))[0][0]
    if twin.valid < rb.LEAST_SAMPLES:
        assert math.isnan(score)
        return
    views = twin.views_at(x)
    for view, name in VIEW_OF.items():
        found, wanted = residual(view, x, chain.context.centre[0]), views[name]
        assert math.isnan(found) == math.isnan(wanted), (name, found, wanted)
        assert math.isnan(wanted) or abs(found - wanted) <= twin.slack(name, wanted), (name, found, wanted)
    low, high = twin.evidence_range(x)
    assert low <= chain.evidence(0, x) <= high, (low, chain.evidence(0, x), high, views)
    counted, told = chain.tails(0, x)
    least, most = twin.total_range(x)
    assert least <= counted + told <= most
    # Of the kernel's own evidence: only the distance from the season carries its rounding, whatever is left below 1.
    off = 64 * naive.ROUNDING * max(twin.largest, abs(x)) / max(twin.spread, twin.floor)
    assert score == pytest.approx(twin.score(x, chain.evidence(0, x), told), rel=1e-9, abs=min(1.0, off) + 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gaps", GAPS)
def test_chained_cycles_find_the_twins_evidence(kind: str, gaps: str) -> None:
    for seed, days in enumerate([2, 3, 8]):
        chain, twin, rng = chain_and_twin(seed, kind, gaps, n=24 * days)
        for k in range(9):
            if k in (4, 5):  # a fit after four columns, and one after a single column
                chain.fit()
                twin = naive.Twin(
                    chain.window()[0], float(chain.offset[0]), chain.column - 1, 3600, chain.shape.horizon
                )
            if not twin.valid:
                assert math.isnan(chain.open().expected[0])
                new = 3.0
            else:
                chain.open()
                new = candidate(twin, rng)
                check_evidence(chain, twin, new)
                new = math.nan if rng.random() < 0.2 else new
                twin.absorb(new)
            chain.close(np.array([new]))


@QUICK
@given(*CASES, st.integers(24, 100))
def test_evidence_after_windows_of_any_length(seed: int, kind: str, gaps: str, n: int) -> None:
    n = max(n, 48)  # the exporter's windows hold at least two days
    chain, twin, rng = chain_and_twin(seed, kind, gaps, n=n)
    chain.open()
    if twin.valid:
        for _ in range(4):
            check_evidence(chain, twin, candidate(twin, rng))


@pytest.mark.parametrize(("step_s", "n"), [(300, 576), (900, 800), (1800, 480), (7200, 96), (14_400, 60)])
@pytest.mark.parametrize("gaps", ["none", "5%", "30%", "day"])
def test_evidence_at_other_steps(step_s: int, n: int, gaps: str) -> None:
    horizon = min(6, 86_400 // step_s - 1)
    chain, twin, rng = chain_and_twin(step_s, "daily", gaps, step_s=step_s, n=n, horizon=horizon)
    for _ in range(horizon):
        chain.open()
        new = candidate(twin, rng)
        check_evidence(chain, twin, new)
        chain.close(np.array([new]))
        twin.absorb(new)


def test_evidence_at_one_minute() -> None:
    chain, twin, rng = chain_and_twin(5, "quantised", "5%", step_s=60, n=2880)
    for _ in range(5):
        chain.open()
        new = candidate(twin, rng)
        check_evidence(chain, twin, new)
        chain.close(np.array([new]))
        twin.absorb(new)


@pytest.mark.parametrize("samples", [0, 1, 23])
def test_no_verdict_below_24_samples(samples: int) -> None:
    values = np.full((1, 48), np.nan, np.float32)
    values[0, 48 - samples :] = np.arange(samples)
    chain = Chain(values, np.zeros(1), 3600, 100)
    context = chain.open()
    assert np.isnan([context.expected[0], context.lower[0], context.upper[0], context.start[0]]).all()
    assert np.isnan(chain.judge(np.array([1.0]))).all()


# --- what needs history -----------------------------------------------------------------------------------------------


def aged(columns: int, seed: int = 2) -> Chain:
    """A noisy hourly series whose first sample lies so many columns before the open one."""
    values = np.full((1, 240), np.nan, np.float32)
    values[0, 240 - columns :] = np.random.default_rng(seed).normal(0, 1, columns)
    chain = Chain(values, np.zeros(1), 3600, 1000)
    chain.open()
    return chain


@pytest.mark.parametrize(
    ("columns", "novelty", "of_day", "settled"),
    [
        (24, 1 / 7, 0, 0), (36, 1.5 / 7, 0, 0), (47, 47 / 24 / 7, 0, 0), (48, 2 / 7, 1 / 7, 1),
        (96, 4 / 7, 3 / 7, 1), (168, 1, 6 / 7, 1), (191, 1, (191 / 24 - 1) / 7, 1), (192, 1, 1, 1), (240, 1, 1, 1),
    ],
)  # fmt: skip
def test_weights_by_days_of_history(columns: int, novelty: float, of_day: float, settled: float) -> None:
    full = naive.NOVELTY_WEIGHTS[-1][1]
    assert aged(columns).context.weight[0] == pytest.approx([full * novelty, full * of_day, settled], rel=1e-12)


def test_no_novelty_during_the_first_day() -> None:
    values = np.full((1, 576), np.nan, np.float32)
    values[0, 576 - 287 :] = np.random.default_rng(2).normal(0, 1, 287)
    younger = Chain(values, np.zeros(1), 300, 1000)
    assert younger.open().weight[0].tolist() == [0.0, 0.0, 0.0]
    assert younger.evidence(0, 1e30) <= naive.MOST_OF_TAILS
    younger.close(np.array([0.0]))
    assert younger.open().weight[0, 0] > 0
    assert younger.evidence(0, 1e30) > naive.MOST_OF_TAILS


@pytest.mark.parametrize(("columns", "heard"), [(25, False), (47, False), (48, True), (100, True)])
def test_holt_winters_is_silent_during_the_first_two_days(columns: int, heard: bool) -> None:
    chain = aged(columns)
    before = chain.evidence(0, 0.0)
    chain.context.centre[0, views.HW] += 1e6
    assert chain.evidence(0, 0.0) - before == (
        pytest.approx(naive.MOST_OF_A_VIEW * naive.TAIL_WEIGHTS["hw"]) if heard else 0.0
    )


@pytest.mark.parametrize(("columns", "heard"), [(25, False), (47, False), (48, True), (100, True)])
def test_a_record_of_the_view_day_counts_from_the_third_day_on(columns: int, heard: bool) -> None:
    chain = aged(columns)
    before = chain.evidence(0, 0.0)
    chain.context.centre[0, views.DAY] -= 1e6
    assert (chain.evidence(0, 0.0) > before) == heard
    chain.context.centre[0, views.X] -= 1e6
    assert chain.evidence(0, 0.0) > before


@pytest.mark.parametrize(("columns", "heard"), [(25, False), (47, False), (48, True), (100, True)])
def test_the_season_is_no_measure_during_the_first_two_days(columns: int, heard: bool) -> None:
    chain = aged(columns)
    assert (distance(1e6, chain.context.centre[0], chain.context.weight[0]) > 0) == heard


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
        assert found[-1] == pytest.approx(naive.SEASON_EVIDENCE)
        assert (found <= naive.SEASON_EVIDENCE).all()
    assert c.centre[0, ev.SEASON] == pytest.approx(season, rel=0, abs=16 * naive.ROUNDING * twin.largest)


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
    assert by_season[-1] == pytest.approx(evidence + naive.MOST_LIFTED * naive.LIFT_BY_SEASON * (1 - evidence))
    assert by_told[-1] == pytest.approx(evidence + naive.MOST_LIFTED * (1 - evidence))
    for graded in (by_season, by_told):
        assert graded == sorted(graded)
        assert max(graded) <= 1.0
        assert (len(set(graded)) == 1) == (evidence == 1.0)


@pytest.mark.parametrize("evidence", [1.001, 3.0, 100.0, 1e300, math.inf])
def test_beyond_the_edge_the_evidence_alone_is_the_score(evidence: float) -> None:
    for told, distance in ((0.0, 0.0), (2.0, 0.5), (0.1, 1.0)):
        assert judgement._score(evidence, told, distance) == min(naive.MOST_SCORE, evidence)


def test_the_weights_of_the_tails_add_up_to_one_and_the_sum_is_limited() -> None:
    assert sum(naive.TAIL_WEIGHTS.values()) == pytest.approx(1.0)
    chain = aged(240)
    centre_row, weight, tail = high_recent_samples(chain), chain.context.weight[0], chain.fitted.tail[0]
    assert tails(1e9, centre_row, weight, tail)[0] == naive.MOST_OF_TAILS
    assert tails(0.0, centre_row, weight, np.full((5, 8), np.nan, np.float32)) == (0.0, 0.0)


@pytest.mark.parametrize("missing", range(5))
def test_a_view_without_a_tail_leaves_the_weights_of_the_others_alone(missing: int) -> None:
    chain = aged(240)
    centre_row, weight, tail = high_recent_samples(chain), chain.context.weight[0], chain.fitted.tail[0]
    tail[:, rb.UPPER_SCALE] = 1e9  # moderate tails for all: the sum stays below its limit
    everything = tails(1e6, centre_row, weight, tail)[0]
    r = residual(rb.TAILS[missing], 1e6, centre_row)
    share = list(naive.TAIL_WEIGHTS.values())[missing] * tail_evidence(r, tail[missing])
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
    assert tail_evidence(1e9, tail) == tail_evidence(-1e9, tail) == naive.MOST_OF_A_VIEW


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
    return sum(w * lp for w, lp in zip(naive.TAIL_WEIGHTS.values(), found, strict=True))


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
        assert counted + told == pytest.approx(min(naive.MOST_OF_TAILS, everything_said(chain, -level)), rel=1e-9)


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
    return dict(zip(naive.TAIL_WEIGHTS, found.tolist(), strict=True))


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
    assert chain.open().centre[0, views.F48] == pytest.approx(median(values[0]), rel=2 * naive.ROUNDING)


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


# --- the band ---------------------------------------------------------------------------------------------------------


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
        assert 0 <= score[0] <= naive.MOST_SCORE
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


# --- rows, rings, replays ---------------------------------------------------------------------------------------------


def test_verdicts_do_not_depend_on_the_batch_and_no_gap_leaks() -> None:
    values, offset = batch_of_everything(96, 1)
    rng = np.random.default_rng(9)
    new = rng.normal(0, 3, (len(values), 10)).astype(np.float32).astype(float)
    new[rng.random(new.shape) < 0.2] = np.nan
    together = Chain(values, offset, 3600, 4321).run(new)
    for i in range(0, len(values), 7):
        alone = Chain(values[i : i + 1], offset[i : i + 1], 3600, 4321).run(new[i : i + 1])
        assert alone[0].tobytes() == together[i].tobytes()
    silent = np.isnan(together) & ~np.isnan(new)
    assert set(np.flatnonzero(silent.any(axis=1))) <= set(np.flatnonzero((~np.isnan(values)).sum(axis=1) < 24))


def test_only_the_rows_asked_for_are_touched() -> None:
    chain = Chain(*batch_of_everything(72, 2), 3600, 4321)
    chain.all = np.array([3, 9])
    chain.open()
    assert set(np.flatnonzero(~np.isnan(chain.context.expected))) <= {3, 9}
    score = np.full(chain.rows, -7.0)
    f, c = chain.fitted, chain.context
    lower, upper = np.empty(chain.rows), np.empty(chain.rows)
    judgement.judge(
        chain.all, np.array([1.0, 2.0]), chain.limit, f.tail, f.extreme, c.centre, c.weight, c.start, c.lower, c.upper,
        score, lower, upper,
    )  # fmt: skip
    assert set(np.flatnonzero(score != -7.0)) == {3, 9}
    before = f.extreme.copy()
    chain.close(np.full(chain.rows, 1e6))
    assert set(np.flatnonzero((before != f.extreme) & ~np.isnan(before)) // before[0].size) <= {3, 9}


@pytest.mark.parametrize("spare", [0, 1, 5, 24, 100])
def test_verdicts_do_not_depend_on_where_the_ring_wraps(spare: int) -> None:
    values, offset = batch_of_everything(72, 3)
    new = np.random.default_rng(4).normal(0, 3, (len(values), 20)).astype(np.float32).astype(float)
    plain = Chain(values, offset, 3600, 71).run(new)
    for end_column in (72, 100, 1_000_000):
        moved = Chain(values, offset, 3600, end_column, spare=spare).run(new)
        assert moved.tobytes() == plain.tobytes()


def test_whole_days_passed_by_change_nothing() -> None:
    values, offset = batch_of_everything(72, 8)
    new = np.random.default_rng(4).normal(0, 3, (len(values), 20)).astype(np.float32).astype(float)
    plain = Chain(values, offset, 3600, 71).run(new)
    assert Chain(values, offset, 3600, 71 + 24 * 19_700).run(new).tobytes() == plain.tobytes()


def test_a_replay_gives_the_same_bits() -> None:
    values, offset = batch_of_everything(72, 5)
    new = np.random.default_rng(4).normal(0, 3, (len(values), 12)).astype(np.float32).astype(float)
    assert Chain(values, offset, 3600, 99).run(new).tobytes() == Chain(values, offset, 3600, 99).run(new).tobytes()


def test_judging_twice_changes_nothing() -> None:
    chain = Chain(*batch_of_everything(72, 6), 3600, 99)
    chain.open()
    x = np.random.default_rng(0).normal(0, 5, chain.rows)
    first = np.stack(chain.judge(x))
    chain.judge(x * 100)
    assert np.stack(chain.judge(x)).tobytes() == first.tobytes()


@pytest.mark.parametrize("offset", [0.0, 5.3, 0.7])
def test_a_sample_is_judged_as_the_window_stores_it(offset: float) -> None:
    # The ring holds float32; a newest sample in full float64 lies a rounding beside its equals in the window, and where
    # a tail begins that rounding is worth 1.4 of evidence.
    true_values = np.random.default_rng(1).choice([0.1, 0.2, 0.3], (1, 240))
    chain = Chain((true_values - offset).astype(np.float32), np.array([offset]), 3600, 99)
    chain.open()
    for value in (0.1, 0.2, 0.3):
        stored = float(np.float32(value - offset))
        assert chain.judge(np.array([value - offset]))[0][0] == chain.judge(np.array([stored]))[0][0]


# --- known behaviours, at 5 minutes -----------------------------------------------------------------------------------

DAY = 288
WEEK = 7 * DAY


def daily(columns: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 3, columns)
    return 100 + 40 * np.sin(2 * np.pi * np.arange(columns) / DAY) + noise


def scores_of(series: np.ndarray, known: int, *, refit_every: int = 12) -> np.ndarray:
    """Scores of everything after the first `known` columns, fitted hourly."""
    values, offset = centre(series)
    chain = Chain(values[None, :known], np.array([offset]), 300, 1_000_000, horizon=refit_every)
    return chain.run(values[None, known:].astype(float), refit_every)[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_drop_to_exactly_zero_and_a_spike_score_at_once(seed: int) -> None:
    series = daily(WEEK + 100, seed)
    series[WEEK + 30] = 0.0
    series[WEEK + 70] += 100
    scores = scores_of(series, WEEK)
    assert scores[30] > 1
    assert scores[70] > 1
    assert (np.delete(scores, [30, 70]) <= 1).all()


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, -3.3, 1e8, 1e-9])
def test_a_constant_series_scores_zero_and_its_blip_does_not(value: float) -> None:
    series = np.full(WEEK + 300, value)
    series[WEEK + 50] += max(1.0, 0.1 * abs(value))
    scores = scores_of(series, WEEK)
    assert (scores[:50] == 0).all()
    assert scores[50] > 1
    assert (scores[51:] <= 1).all()


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e8 + 0.1])
def test_a_constant_series_scores_zero_whatever_its_offset(value: float) -> None:
    values = np.full((1, WEEK), value, np.float32)
    chain = Chain(values, np.zeros(1), 300, 1_000_000, horizon=12)
    assert (chain.run(np.full((1, 60), value), 12) == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_level_shift_is_forgotten(seed: int) -> None:
    at = 24 + 3 * seed  # the place within the hour between two fits matters
    series = daily(WEEK + 2 * DAY, seed)
    series[WEEK + at :] += 120
    above = np.flatnonzero(scores_of(series, WEEK) > 1)
    assert above[0] == at
    assert len(above) >= 6  # onset and escalation, not one sample only
    assert above[-1] < at + 24  # two fits later it is the level


@pytest.mark.parametrize("seed", range(4))
def test_a_return_after_a_day_of_silence_does_not_alert(seed: int) -> None:
    series = daily(WEEK + 60, seed)
    series[WEEK - DAY - 5 : WEEK] = np.nan
    scores = scores_of(series, WEEK)
    assert not np.isnan(scores).any()
    assert (scores <= 1).all()


def test_a_gap_in_the_middle_of_judging_does_not_alert_either() -> None:
    series = daily(WEEK + DAY + 60, 5)
    series[WEEK + 10 : WEEK + DAY + 20] = np.nan
    scores = scores_of(series, WEEK)
    assert np.isnan(scores).tolist() == np.isnan(series[WEEK:]).tolist()
    assert (scores[~np.isnan(scores)] <= 1).all()


def test_poisson_counts_and_random_walks_are_calm() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, WEEK + DAY).astype(float)
    assert (scores_of(counts, WEEK) > 1).sum() == 0
    walk = np.cumsum(rng.normal(0, 1, WEEK + DAY))
    assert (scores_of(walk, WEEK) > 1).sum() <= 1
