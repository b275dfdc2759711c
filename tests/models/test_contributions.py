"""The parts of a score are those of the formulas: beside the slow twin, view by view."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exporter.judging import horizon
from exporter.models.contributions import VIEW_NAMES, basis_of, contributions_of
from exporter.models.floors import summarise
from exporter.models.rows import RobustBandRows
from tests.naive.parts import NOVELTY_SHARES, TAIL_WEIGHTS
from tests.naive.robust_band import Twin

STEP_S, DAYS = 1800, 9
PERIOD = 86_400 // STEP_S


def fitted(seed: int) -> tuple[RobustBandRows, Twin, np.ndarray]:
    rng = np.random.default_rng(seed)
    t = np.arange(DAYS * PERIOD)
    window = (20 + 5 * np.sin(2 * np.pi * t / PERIOD) + rng.normal(0, 0.5, len(t))).astype(np.float32)
    window[rng.random(len(t)) < 0.1] = np.nan
    window[-1] = 20.0
    rows = RobustBandRows(STEP_S, horizon(STEP_S), 1.0)
    rows.grow(2)
    offset, both = np.zeros(2), np.stack([window, window])
    end = len(t) - 1
    rows.fit(np.arange(2), both, offset, summarise(np.sort(both, axis=1), offset), np.array([end, end]))
    ring = np.concatenate([both, np.full((2, horizon(STEP_S)), np.nan, np.float32)], axis=1)
    rows.open(np.arange(2), end + 1, ring, offset)
    return rows, Twin(window.tolist(), 0.0, end, STEP_S, horizon(STEP_S)), window


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("value", [-40.0, 5.0, 14.0, 18.0, 20.0, 22.5, 26.0, 30.0, 90.0])
def test_the_parts_are_those_of_the_twin(seed: int, value: float) -> None:
    rows, twin, _ = fitted(seed)
    found = contributions_of(rows, 0, value)
    views = {view.name: view for view in found.views}
    assert list(views) == [VIEW_NAMES[view] for view in range(7)]
    wanted = twin.views_at(value)
    for name, view in views.items():
        assert view.residual == pytest.approx(wanted[name], rel=1e-4, abs=1e-4), name
        if name in TAIL_WEIGHTS and twin.tails[name] is not None:
            assert view.tail == pytest.approx(
                TAIL_WEIGHTS[name] * twin.tails[name].evidence(wanted[name]), rel=1e-3, abs=1e-3
            )
    novelties = {name: view.novelty for name, view in views.items() if name in NOVELTY_SHARES}
    assert found.parts["novelty"] * found.threshold == pytest.approx(max(novelties.values()), rel=1e-12)
    assert math.fsum(found.parts.values()) == pytest.approx(found.score, rel=1e-12, abs=1e-12)
    low, high = twin.evidence_range(value)
    assert low - 1e-3 <= found.evidence <= high + 1e-3


def test_judging_once_more_changes_nothing() -> None:
    rows, _, _ = fitted(1)
    before = rows.judge(np.array([0]), np.array([21.0]))
    contributions_of(rows, 0, 80.0)
    after = rows.judge(np.array([0]), np.array([21.0]))
    assert (after.score, after.lower, after.upper) == (before.score, before.lower, before.upper)


def test_the_basis() -> None:
    rows, twin, window = fitted(2)
    basis = basis_of(rows, 0)
    assert basis.median == pytest.approx(np.nanmedian(window), rel=1e-6)
    assert basis.floor == pytest.approx(twin.floor, rel=1e-5)
    assert basis.season == pytest.approx(twin.season(len(twin.x)), rel=1e-6)
    assert basis.season + basis.off_season == pytest.approx(twin.expected(), rel=1e-5)
    assert basis.record_weight > 0
