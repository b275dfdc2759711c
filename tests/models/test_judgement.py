"""The judgement of `robust_band` against its twin (tests/naive/robust_band.py), chained as a cycle chains it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.models import judgement, views
from tests.naive import parts
from tests.naive import robust_band as naive
from tests.naive.single_rows import QUICK, aged, candidate, chain_and_twin, check_evidence, distance
from tests.naive.windows import CASES, GAPS, KINDS, Chain, batch_of_everything

# --- what depends on the step -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [1, 15, 60, 61, 120, 299, 300, 301, 600, 900, 1800, 3599, 3600, 7200, 86_400])
def test_threshold_by_step(step_s: int) -> None:
    assert judgement.threshold(step_s) == pytest.approx(parts.threshold(step_s), rel=1e-12)


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


@pytest.mark.parametrize(
    ("columns", "novelty", "of_day", "settled"),
    [
        (24, 1 / 7, 0, 0), (36, 1.5 / 7, 0, 0), (47, 47 / 24 / 7, 0, 0), (48, 2 / 7, 1 / 7, 1),
        (96, 4 / 7, 3 / 7, 1), (168, 1, 6 / 7, 1), (191, 1, (191 / 24 - 1) / 7, 1), (192, 1, 1, 1), (240, 1, 1, 1),
    ],
)  # fmt: skip
def test_weights_by_days_of_history(columns: int, novelty: float, of_day: float, settled: float) -> None:
    full = parts.NOVELTY_WEIGHTS[-1][1]
    assert aged(columns).context.weight[0] == pytest.approx([full * novelty, full * of_day, settled], rel=1e-12)


def test_no_novelty_during_the_first_day() -> None:
    values = np.full((1, 576), np.nan, np.float32)
    values[0, 576 - 287 :] = np.random.default_rng(2).normal(0, 1, 287)
    younger = Chain(values, np.zeros(1), 300, 1000)
    assert younger.open().weight[0].tolist() == [0.0, 0.0, 0.0]
    assert younger.evidence(0, 1e30) <= parts.MOST_OF_TAILS
    younger.close(np.array([0.0]))
    assert younger.open().weight[0, 0] > 0
    assert younger.evidence(0, 1e30) > parts.MOST_OF_TAILS


@pytest.mark.parametrize(("columns", "heard"), [(25, False), (47, False), (48, True), (100, True)])
def test_holt_winters_is_silent_during_the_first_two_days(columns: int, heard: bool) -> None:
    chain = aged(columns)
    before = chain.evidence(0, 0.0)
    chain.context.centre[0, views.HW] += 1e6
    assert chain.evidence(0, 0.0) - before == (
        pytest.approx(parts.MOST_OF_A_VIEW * parts.TAIL_WEIGHTS["hw"]) if heard else 0.0
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
    whole = Chain(*batch_of_everything(72, 2), 3600, 4321)
    whole.open()
    chain.all = np.array([9, 3])
    chain.open()
    assert set(np.flatnonzero(~np.isnan(chain.context.expected))) <= {3, 9}
    x = np.where(np.arange(chain.rows) == 9, 1.0, 2.0)
    assert [part.tobytes() for part in chain.judge(x[[9, 3]])] == [part[[9, 3]].tobytes() for part in whole.judge(x)]
    before = chain.fitted.extreme.copy()
    chain.close(np.full(chain.rows, 1e6))
    after = chain.fitted.extreme
    assert set(np.flatnonzero((before != after) & ~np.isnan(before)) // before[0].size) <= {3, 9}


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
