"""Alerts of made-up scores against a rule that is evaluated step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive.alert_rule import active_at, firing_at
from support.backtests import made_grid, points_of, present_of

from exporter.backtest.alerting import Alerts, Firings, alerts_of, told_of
from exporter.config.schema import Alert, Query
from exporter.models.settings import RobustBandSettings, ShesdSettings

COLUMNS = 40
ONE = (RobustBandSettings(),)
BOTH = (RobustBandSettings(), ShesdSettings())


USUAL = Alert()


def asked(alert: Alert = USUAL, models=ONE, interval_s: int = 60, **more) -> Query:
    return Query("q", "q", models, interval_s=interval_s, alert=alert, **more)


def found(query: Query, scores: dict[str, np.ndarray], groups=None) -> Alerts:
    rows, columns = next(iter(scores.values())).shape
    grid = made_grid(columns, query)
    points = {name: points_of(each, 0) for name, each in scores.items()}
    present = {name: present_of(each, 0) for name, each in scores.items()}
    return alerts_of(query, grid, points, present, np.zeros(rows, np.int64) if groups is None else np.array(groups))


def firing(firings: Firings, rows: int, query: Query, columns: int = COLUMNS) -> np.ndarray:
    """Which rows fire at each evaluation."""
    out = np.zeros((rows, made_grid(columns, query).end + 1), bool)
    for row, start, end in zip(firings.row, firings.start, firings.end, strict=True):
        assert not out[row, start:end].any()
        out[row, start:end] = True
    return out


def naive_active(query: Query, scores: dict[str, np.ndarray], lookback_s: int = 0) -> np.ndarray:
    """Which rows are anomalous at each evaluation, within the look-back of the single alerts or another one."""
    lookback_s = lookback_s or query.alert.lookback_s
    rows, columns = next(iter(scores.values())).shape
    end = made_grid(columns, query).end
    found = np.ones((rows, end + 1), bool)
    for matrix in scores.values():
        for row in range(rows):
            samples = {c * query.step_s: s for c, s in enumerate(matrix[row].tolist()) if s == s}
            at = [active_at(samples, k * query.interval_s, lookback_s) for k in range(end + 1)]
            found[row] &= at
    return found


score_rows = st.lists(
    st.lists(st.sampled_from([0.2, 0.9, 1.0, 1.1, 4.0, float("nan"), 0.1, 0.1]), min_size=COLUMNS, max_size=COLUMNS),
    min_size=1, max_size=3,
)  # fmt: skip
durations = st.sampled_from([0, 60, 90, 300, 301, 840, 1500])


@settings(max_examples=150, deadline=None)
@given(score_rows, durations, durations, st.sampled_from([60, 100, 300, 900, 1000]), st.sampled_from([60, 100, 300]))
def test_single_alerts_are_those_of_the_rule(rows, for_s, keep_s, lookback_s, interval_s):
    query = asked(Alert(for_s=for_s, keep_firing_for_s=keep_s, lookback_s=lookback_s), interval_s=interval_s)
    scores = {"robust_band": np.array(rows)}
    active = naive_active(query, scores)
    wanted = np.array([firing_at(row.tolist(), interval_s, for_s, keep_s) for row in active])
    assert (firing(found(query, scores).single, len(rows), query) == wanted).all()


@settings(max_examples=60, deadline=None)
@given(score_rows, st.randoms(use_true_random=False))
def test_a_consensus_needs_both_models(rows, random):
    query = asked(Alert(model="consensus"), BOTH)
    one = np.array(rows)
    other = np.array([[random.choice([0.1, 2.0, float("nan")]) for _ in row] for row in rows])
    scores = {"robust_band": one, "shesd": other}
    assert (firing(found(query, scores).single, len(rows), query) == naive_active(query, scores)).all()


def test_a_consensus_of_one_model_never_agrees():
    query = asked(Alert(model="consensus"))
    assert len(found(query, {"robust_band": np.full((3, COLUMNS), 5.0)}).single) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.1, 0.2, 2.0, float("nan")]), min_size=COLUMNS, max_size=COLUMNS),
                min_size=8, max_size=8), st.sampled_from([0.1, 0.25, 0.5, 1.0]), st.integers(1, 4),
       st.lists(st.integers(0, 1), min_size=8, max_size=8))  # fmt: skip
def test_storms_are_shares_of_their_group(rows, share, series, groups):
    query = asked(Alert(min_share=share, min_series=series))
    matrix = np.array(rows)
    result = found(query, {"robust_band": matrix}, groups)
    lookback_s = query.alert.storm_lookback_s
    active = naive_active(query, {"robust_band": matrix}, lookback_s)
    seen = naive_active(query, {"robust_band": np.where(np.isnan(matrix), np.nan, 9.0)}, lookback_s)
    storms = firing(result.storms.firings, 2, query)
    for group in (0, 1):
        own = np.array(groups) == group
        many, of = active[own].sum(axis=0), seen[own].sum(axis=0)
        assert (storms[group] == ((many >= series) & (many >= share * of) & (of > 0))).all()
    for number, row in enumerate(result.storms.firings.row.tolist()):
        start, end = result.storms.firings.start[number], result.storms.firings.end[number]
        inside = active[np.array(groups) == row][:, start:end].sum(axis=0)
        assert result.storms.most[number] == inside.max()


def test_a_storm_mutes_what_begins_in_it_and_no_more():
    query = asked(Alert(min_series=3, min_share=0.1))
    scores = np.full((6, COLUMNS), 0.1)
    scores[:4, 10] = 2  # the storm, four at once
    scores[4, 11] = 2  # while it fires
    scores[5, 20] = 2  # long after it
    scores[0, 5] = 2  # before
    result = found(query, {"robust_band": scores})
    assert [(one, bool(muted)) for one, muted in zip(result.single.row.tolist(), result.muted, strict=True)] == [
        (0, False), (0, True), (1, True), (2, True), (3, True), (4, True), (5, False),
    ]  # fmt: skip
    assert (len(result.storms.firings), result.pages) == (1, 3)
    assert (result.storms.most.tolist(), result.storms.of.tolist()) == ([5], [6])


def test_what_still_fires_has_no_end_yet():
    query = asked()
    scores = np.full((1, COLUMNS), 0.1)
    scores[0, -1] = 2
    result = found(query, {"robust_band": scores})
    assert result.single.end[0] > made_grid(COLUMNS, query).end


@pytest.mark.parametrize(
    ("direction", "own", "publish", "told"),
    [
        ("both", "both", "all", [True, True, False]),
        ("above", "both", "all", [True, False, False]),
        ("below", "both", "all", [False, True, False]),
        ("above", "above", "all", [True, True, False]),  # the score has it already
        ("above", "both", "score", [False, False, False]),  # the rule has no value to compare
    ],
)
def test_the_side_that_the_alert_is_about(direction, own, publish, told):
    points = points_of(np.array([[2.0, 2.0, 2.0]]), 0)
    points = replace(points, score=np.array([2.0, 2.0, 0.9]), value=np.array([200.0, 20.0, 200.0]))
    query = asked(Alert(direction=direction), direction=own, publish=publish)
    assert told_of(query, points).tolist() == told
