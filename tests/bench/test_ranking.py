from __future__ import annotations

import numpy as np
import pytest
from labelled_series import random_label, random_score, series

from bench.quality.scoring.ranking import USUAL_PERIOD, average_precision, period, ranking_measures, vus_pr


def mask(*marks):
    return np.asarray(marks) > 0


def test_average_precision_by_hand():
    assert average_precision(mask(1, 0, 1, 0), np.asarray([4.0, 3, 2, 1])) == (1 + 2 / 3) / 2
    assert average_precision(mask(0, 0, 1), np.asarray([1.0, 2, np.nan])) == 1 / 3


def test_equal_scores_are_one_step():
    assert average_precision(mask(1, 0, 0, 0), np.full(4, 7.0)) == 1 / 4
    assert average_precision(mask(1, 1, 0), np.asarray([3.0, 1, 1])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(mask(1, 0), np.asarray([np.nan, -np.inf])) == 1 / 2


def test_average_precision_of_infinite_scores_and_of_no_labels():
    assert average_precision(mask(0, 1, 0), np.asarray([1.0, np.inf, 2.0])) == 1.0
    assert np.isnan(average_precision(mask(0, 0), np.asarray([1.0, 2.0])))


def test_vus_without_a_buffer_is_the_area_of_the_rows():
    label = mask(0, 0, 1, 1, 0, 0, 0, 0)
    assert vus_pr(label, label.astype(float), 0) == pytest.approx(1.0)
    assert vus_pr(label, -label.astype(float), 0) == pytest.approx(0.25)


def test_vus_of_one_buffer_by_hand():
    # Rows at distance 1 weigh sqrt(1/2). The one alarm is the labelled row: TP = 1, mass = 1, recall 1, precision 1.
    # The area ends there: lower thresholds have no more recall. Lengths 0 and 1 have no buffer and the same area.
    label, score = mask(0, 0, 1, 0, 0), np.asarray([0.0, 0, 1, 0, 0])
    assert vus_pr(label, score, 2) == pytest.approx(1.0)
    # The alarm is the row before: nothing is found at first without a buffer, then (all rows) TP / rows = 1/5.
    early = vus_pr(label, np.asarray([0.0, 1, 0, 0, 0]), 2)
    soft = np.sqrt(0.5)
    first = soft / (1 + soft / 2)
    with_buffer = first * soft + (1.0 - first) * (1 + 2 * soft) / 5
    assert early == pytest.approx((2 * (1 / 5) + with_buffer) / 3)


def test_buffers_that_touch_are_one_segment():
    # Buffers of one row each share row 2: one alarm finds the one merged segment. Without buffers it finds one of two.
    label, score = mask(0, 1, 0, 1, 0), np.asarray([0.0, 1, 0, 0, 0])
    without = 0.25 * 1 + 0.75 * 2 / 5
    merged = 0.5 * 1 + 0.5 * (3 + np.sqrt(2)) / 5  # the row between weighs 1 at most
    assert vus_pr(label, score, 2) == pytest.approx((2 * without + merged) / 3)


def test_vus_is_not_defined_without_both_kinds_of_rows():
    assert np.isnan(vus_pr(mask(0, 0), np.zeros(2), 5))
    assert np.isnan(vus_pr(mask(1, 1), np.zeros(2), 5))
    assert np.isnan(vus_pr(mask(), np.zeros(0), 5))


def test_no_verdicts_rank_like_constant_scores():
    label = mask(1, 0, 0, 0, 1, 1)
    assert vus_pr(label, np.full(6, np.nan), 4) == vus_pr(label, np.full(6, 3.0), 4)


def test_the_period_is_the_highest_local_peak_of_the_autocorrelation():
    day = np.sin(np.arange(2000) * 2 * np.pi / 96)
    assert period(day + 0.01 * np.random.default_rng(1).normal(size=2000)) == 96
    assert period(np.where(np.arange(2000) % 50 == 3, np.nan, 100 + day)) == 96


@pytest.mark.parametrize("value", [[], [1.0], [2.0] * 50, [np.nan] * 50, list(range(4))])
def test_the_period_of_what_has_none(value):
    assert period(np.asarray(value, float)) == USUAL_PERIOD


def test_series_without_labelled_rows_do_not_count_for_vus():
    label = [0, 1, 0, 0]
    score = np.asarray([0.0, 1, 0, 2])
    alone = ranking_measures([series(label)], [score])
    both = ranking_measures([series(label), series([0, 0])], [score, np.asarray([3.0, 3.0])])
    assert both["vus_pr"] == alone["vus_pr"]
    assert both["average_precision"] == 1 / 4
    assert alone["average_precision"] == 1 / 2


def test_only_measured_rows_count():
    one = series([1, 0, 1, 0], test=[0, 1, 1, 1])
    found = ranking_measures([one], [np.asarray([0.0, 1, 5, 1])])
    assert found["average_precision"] == 1.0
    assert ranking_measures([series([1, 1, 0], test=[0, 0, 1])], [np.zeros(3)]) == {}


@pytest.mark.parametrize("seed", range(120))
def test_equals_the_verified_scorer(verified, seed):
    rng = np.random.default_rng(seed)
    label = random_label(rng, int(rng.integers(1, 400)))
    score = random_score(rng, label)
    if rng.random() < 0.2:
        score[rng.random(len(score)) < 0.1] = np.inf
    assert average_precision(label, score) == pytest.approx(
        verified.ranking.auc_pr(label, score), abs=1e-12, nan_ok=True
    )
    length, steps = int(rng.integers(0, 60)), int(rng.integers(2, 251))
    expected = verified.ranking.vus(label, score, length, steps)[1]
    assert vus_pr(label, score, length, steps) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(60))
def test_the_period_equals_the_verified_one(verified, seed):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 3000))
    value = np.sin(np.arange(rows) * 2 * np.pi / rng.integers(2, 400)) + rng.normal(0, rng.choice([0.1, 2.0]), rows)
    if rng.random() < 0.4:
        value = np.round(value)
    value[rng.random(rows) < rng.choice([0.0, 0.1])] = np.nan
    assert period(value) == verified.ranking.period_guess(value)
