"""Policy: whatever changes the score changes the band, and score > 1 exactly outside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import Query
from exporter.verdict import (
    ABSENT,
    CONSTANT,
    FAILED,
    GONE,
    OK,
    SPARSE,
    WARMING,
    Bands,
    Facts,
    apply_policy,
    detectable,
    min_detectable_ratio,
    states,
)

NAN, INF = math.nan, math.inf


def judge(value: float, *, band=(8.0, 10.0, 12.0), **policy) -> tuple[float, ...]:
    """Score, expected, lower, upper of one value whose model score is its distance in half bands."""
    lower, expected, upper = band
    half = upper - expected if value >= expected else expected - lower
    bands = Bands(*(np.array([x]) for x in (abs(value - expected) / half, expected, lower, upper)))
    found = apply_policy(Query("q", "q", **policy), np.array([value]), bands)
    return tuple(float(x[0]) for x in (found.score, found.expected, found.lower, found.upper))


@pytest.mark.parametrize(
    ("value", "policy", "expected"),
    [
        (13.0, {}, (1.5, 10, 8, 12)),
        (0.0, {}, (5.0, 10, 8, 12)),
        (13.0, {"min_deviation": 4}, (0.75, 10, 6, 14)),
        (15.0, {"min_deviation": 4}, (2.5, 10, 6, 14)),
        (11.0, {"min_deviation": 0.1}, (0.5, 10, 8, 12)),
        (13.0, {"min_relative_deviation": 0.5}, (0.6, 10, 5, 15)),
        (0.0, {"min_relative_deviation": 0.5}, (5.0, 10, 5, 15)),
        (13.0, {"min_relative_deviation": 0.1, "min_deviation": 5}, (0.6, 10, 5, 15)),
        (7.0, {"direction": "above"}, (0.0, 10, NAN, 12)),
        (13.0, {"direction": "above"}, (1.5, 10, NAN, 12)),
        (13.0, {"direction": "below"}, (0.0, 10, 8, NAN)),
        (7.0, {"direction": "below"}, (1.5, 10, 8, NAN)),
        (7.0, {"direction": "above", "data_range": (0.0, INF)}, (0.0, 10, 0, 12)),
        (11.5, {"data_range": (0.0, 11.0)}, (1.01, 10, 8, 11)),
        (-1.0, {"data_range": (0.0, 20.0), "direction": "above"}, (5.5, 10, 0, 12)),
        (21.0, {"data_range": (0.0, 20.0), "direction": "below"}, (5.5, 10, 8, 20)),
        (9.0, {"data_range": (9.5, 20.0)}, (1.01, 10, 9.5, 12)),
    ],
)
def test_policy_table(value, policy, expected):
    assert judge(value, **policy) == pytest.approx(expected, nan_ok=True)


def test_an_outage_to_exactly_zero_scores():
    assert judge(0.0)[0] > 1


def test_without_a_verdict_nothing_is_made_up():
    bands = Bands(*(np.array([NAN]) for _ in range(4)))
    for policy in ({}, {"min_deviation": 1.0}, {"direction": "above"}, {"data_range": (0.0, 1.0)}):
        found = apply_policy(Query("q", "q", **policy), np.array([5.0]), bands)
        assert all(np.isnan(part[0]) for part in (found.score, found.expected, found.lower, found.upper)), policy


def test_an_edge_that_no_value_reaches_is_no_edge():
    assert judge(13.0, band=(-INF, 10.0, INF))[2:] == pytest.approx((NAN, NAN), nan_ok=True)


@settings(max_examples=300, deadline=None)
@given(
    st.floats(-100, 100),
    st.floats(0.1, 20),
    st.floats(0.1, 20),
    st.sampled_from(["both", "above", "below"]),
    st.floats(0, 30),
    st.floats(0, 2),
    st.sampled_from([(-INF, INF), (0.0, INF), (-5.0, 50.0)]),
)
def test_score_above_one_exactly_outside_the_band(value, down, up, direction, deviation, relative, data_range):
    score, _, lower, upper = judge(
        value,
        band=(10.0 - down, 10.0, 10.0 + up),
        direction=direction,
        min_deviation=deviation,
        min_relative_deviation=relative,
        data_range=data_range,
    )
    near = 1e-9 * (1 + abs(value))
    if (math.isnan(lower) or value > lower + near) and (math.isnan(upper) or value < upper - near):
        assert score <= 1
    if value < lower - near or value > upper + near:
        assert score > 1


def state(**changes) -> int:
    facts = {"age_s": 10.0, "history_s": 1e6, "valid": 1000, "constant": False, "judged": True} | changes
    made = Facts(**{name: np.array([value]) for name, value in facts.items()})
    return int(states(made, absent_after_s=60, absent_for_s=3600, warming_s=7200, least_samples=24)[0])


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, OK),
        ({"age_s": 60.0}, OK),
        ({"age_s": 61.0}, ABSENT),
        ({"age_s": 3601.0}, GONE),
        ({"age_s": INF}, GONE),
        ({"age_s": 61.0, "valid": 23}, GONE),
        ({"history_s": 7199.0}, WARMING),
        ({"history_s": 7199.0, "valid": 3}, WARMING),
        ({"valid": 23}, SPARSE),
        ({"judged": False}, FAILED),
        ({"judged": False, "valid": 0}, SPARSE),
        ({"constant": True}, CONSTANT),
        ({"constant": True, "age_s": 100.0}, ABSENT),
    ],
)
def test_state_table(facts, expected):
    assert state(**facts) == expected


@pytest.mark.parametrize(
    ("band", "up", "down", "least"),
    [
        ((8.0, 10.0, 13.0), 0.3, 0.2, 0.2),
        ((-13.0, -10.0, -8.0), 0.2, 0.3, 0.2),
        ((NAN, 10.0, 13.0), 0.3, NAN, 0.3),
        ((8.0, 10.0, NAN), NAN, 0.2, 0.2),
        ((NAN, NAN, NAN), NAN, NAN, NAN),
        ((0.0, 10.0, 13.0), 0.3, NAN, 0.3),  # not even a drop to 0 would be seen
        ((-5.0, 10.0, 13.0), 0.3, 1.5, 0.3),
        ((0.0, 10.0, NAN), NAN, NAN, NAN),
        ((-1.0, 0.0, 1.0), NAN, NAN, NAN),
        ((-1.0, 1e-10, 1.0), NAN, NAN, NAN),
        ((-1.0, 1e-5, 1.0), NAN, NAN, NAN),  # a change by a factor of 100,000 says nothing
        ((-1.0, 1e-5, 2e-5), 1.0, NAN, 1.0),
        ((-1e308, 1e308, 1.7e308), 0.7, NAN, 0.7),  # a distance beyond float64
    ],
)
def test_what_could_be_detected(band, up, down, least):
    lower, expected, upper = band
    bands = Bands(*(np.array([x]) for x in (0.5, expected, lower, upper)))
    assert [float(side[0]) for side in detectable(bands)] == pytest.approx([up, down], nan_ok=True)
    assert float(min_detectable_ratio(bands)[0]) == pytest.approx(least, nan_ok=True)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=4, max_size=4))
def test_a_detectable_ratio_is_a_number_or_missing(parts):
    ratio = float(min_detectable_ratio(Bands(*(np.array([x]) for x in parts)))[0])
    assert math.isnan(ratio) or ratio <= 1000
