"""Budgets: what they allow, which sensitivity keeps them, and that it is what a real replay says."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from support.backtests import made_walk
from support.store import Store

from exporter.backtest.budget import (
    candidates,
    checked_budget,
    confirmed,
    is_exact,
    pages_at,
    parse_budget,
    points_at,
    propose,
)
from exporter.backtest.episodes import groups_of
from exporter.backtest.faults import BacktestError
from exporter.backtest.span import Span, grid_of
from exporter.backtest.walking import Readers, Walk, Walker
from exporter.config.schema import Alert, Query
from exporter.models.settings import RobustBandSettings

DAY = 86_400
STEP = 1800
ONE = (RobustBandSettings(),)
MADE = Query("load", "load", ONE, interval_s=60, step_s=300)


@pytest.mark.parametrize(
    ("text", "most", "period_s", "per_series"),
    [
        ("2/week", 2, 7 * DAY, False), (" 0.5 / day ", 0.5, DAY, False), ("10/month", 10, 30 * DAY, False),
        ("1/hour", 1, 3600, False), ("0/week", 0, 7 * DAY, False), ("0.1/week/series", 0.1, 7 * DAY, True),
    ],
)  # fmt: skip
def test_budgets(text, most, period_s, per_series):
    found = parse_budget(text)
    assert (found.most, found.period_s, found.per_series) == (most, period_s, per_series)


@pytest.mark.parametrize("text", ["", "2", "2/year", "-1/week", "two/week", "2/week/query", "nan/week", "9" * 400])
def test_what_is_no_budget(text):
    with pytest.raises(ValueError, match="is no budget: such as 2/week"):
        parse_budget(text)


def made(*peaks: float) -> Walk:
    """A week of one quiet series, with high scores far from each other."""
    scores = np.full((1, 2016), 0.1)
    for number, peak in enumerate(peaks):
        scores[0, 100 * (number + 1)] = peak
    return made_walk(MADE, {"robust_band": scores})


def proposed(walk: Walk, text: str):
    return propose(walk, groups_of(walk)[0], parse_budget(text))


def test_the_nearest_sensitivity_that_keeps_it():
    walk = made(1.2, 1.5, 2.0, 3.0, 4.0)
    proposal = proposed(walk, "2/week")
    assert (proposal.pages, proposal.allowed, proposal.changes) == (5, 2.0, True)
    assert 2.0 <= proposal.sensitivity <= 2.1
    table = dict(proposal.table)
    assert table[proposal.sensitivity] == 2
    assert max(factor for factor, pages in table.items() if pages > 2) < proposal.sensitivity


def test_a_budget_that_is_kept_changes_nothing():
    proposal = proposed(made(1.2, 1.5), "5/week")
    assert (proposal.changes, proposal.sensitivity) == (False, 1.0)


def test_a_budget_that_nothing_keeps():
    walk = made(11.0, 30.0)
    proposal = proposed(walk, "1/week")
    assert (proposal.sensitivity, proposal.changes) == (None, False)


def test_a_budget_of_each_series_counts_judged_time():
    scores = np.full((4, 2016), 0.1)
    scores[3, :1008] = np.nan
    walk = made_walk(MADE, {"robust_band": scores})
    assert parse_budget("2/week/series").allowed(walk) == pytest.approx(7, rel=1e-3)
    assert parse_budget("2/week").allowed(walk) == pytest.approx(2, rel=1e-3)


def test_candidates_have_the_own_sensitivity_and_no_more_than_a_config_may():
    for own in (0.1, 0.85, 1.0, 1.337, 10.0):
        found = candidates(own)
        assert own in found
        assert found == sorted(found)
        assert found[0] == own
        assert found[-1] <= 10


def walked(query: Query, values: np.ndarray) -> Walk:
    store = Store(step_s=STEP)
    for i, row in enumerate(values):
        known = ~np.isnan(row)
        store.put({"i": str(i)}, 19_700 * DAY + np.flatnonzero(known) * STEP, row[known])
    end_s = 19_700 * DAY + values.shape[1] * STEP
    grid = grid_of(Span(end_s - 4 * DAY, end_s), query, coarse=True)
    with ThreadPoolExecutor(2) as pool:
        return Walker(pool, threading.Event()).walk("", query, grid, Readers(store, store), lambda share: None)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"min_deviation": 6.0},
        {"min_relative_deviation": 0.1, "direction": "above"},
        {"data_range": (30.0, 72.0)},
        {"data_range": (30.0, 72.0), "min_deviation": 8.0, "direction": "below", "sensitivity": 1.4},
        {"alert": Alert(model="consensus"), "models": Query("a", "a").models},
    ],
)
def test_scores_at_another_sensitivity_are_those_of_a_replay(more):
    """One replay tells what another sensitivity would do: compared with a replay at that sensitivity."""
    rng = np.random.default_rng(8)
    t = np.arange(8 * 48)
    values = 50 + 10 * np.sin(2 * np.pi * t / 48) + rng.normal(0, 1, (12, len(t)))
    for row in range(12):
        at = rng.integers(5 * 48, len(t), 6)
        values[row, at] += rng.choice([-1, 1], 6) * rng.uniform(3, 25, 6)
    query = Query("q", "q", **{"models": ONE, "interval_s": STEP, "step_s": STEP, "window_s": 3 * DAY, **more})
    walk = walked(query, values)
    groups = groups_of(walk)[0]
    counts = []
    for factor in (query.sensitivity, 1.5, 2.0, 4.0):
        real = walked(replace(query, sensitivity=factor), values)
        assert real.labels == walk.labels
        for name, have in points_at(query, walk.points, factor).items():
            wanted = real.points[name]
            have, wanted = have.part(have.score > 1), wanted.part(wanted.score > 1)
            at, really_at = ({*zip(each.row.tolist(), each.column.tolist(), strict=True)} for each in (have, wanted))
            if is_exact(query):
                assert at == really_at
                np.testing.assert_allclose(have.score, wanted.score, rtol=1e-6)
            else:  # nearly: which is why such a proposal is confirmed
                assert len(at ^ really_at) <= 0.15 * len(really_at)
        counts.append(pages_at(walk, groups, factor))
        assert counts[-1] == pytest.approx(pages_at(real, groups, factor), rel=0.0 if is_exact(query) else 0.15)
    assert len(set(counts)) > 1


def test_a_proposal_is_confirmed_by_replays():
    proposal = proposed(made(1.2, 1.5, 2.0, 3.0, 4.0), "2/week")
    asked = []

    def replayed(factor: float) -> int:
        asked.append(factor)
        return 2 if factor > 2.5 else 3

    found = confirmed(proposal, replayed)
    assert found.sensitivity == asked[-1] > 2.5
    assert asked == sorted(asked)
    assert dict(found.table)[asked[0]] == 3
    assert confirmed(proposal, lambda factor: 1).sensitivity == proposal.sensitivity
    assert confirmed(proposal, lambda factor: 9).sensitivity is None


@pytest.mark.parametrize(
    ("more", "exact"),
    [
        ({}, True), ({"data_range": (0, 1)}, True), ({"min_deviation": 1.0}, False), ({"direction": "below"}, False),
        ({"min_relative_deviation": 0.1}, False), ({"alert": Alert(direction="above")}, False),
    ],
)  # fmt: skip
def test_where_a_division_tells_all(more, exact):
    assert is_exact(replace(MADE, **more)) is exact


def test_the_error_names_the_flag():
    with pytest.raises(BacktestError, match="--budget: 'lots' is no budget"):
        checked_budget("lots")
