from __future__ import annotations

import numpy as np
import pytest
from labelled_series import random_label, random_score, random_times, series

from bench.quality.scoring.adjusted import adjusted_measures, best_f1, decisive, delay_points, f1_at, pooled

ABOVE_ONE = float(np.nextafter(1.0, np.inf))


def reduced(label, score, delay, time_s=None):
    time_s = np.arange(len(label)) * 60 if time_s is None else np.asarray(time_s)
    return decisive(time_s, np.asarray(label) > 0, np.asarray(score, float), delay)


def test_an_alarm_within_the_delay_finds_the_whole_segment():
    label, score = [0, 1, 1, 1, 1, 0, 0, 1, 1, 0], [0, 0, 0, 2, 0, 0, 2, 2, 0, 0]
    assert f1_at(reduced(label, score, 1), 1.0) == 2 * 2 / (2 + 1 + 6)  # the first segment is missed, one false alarm
    assert f1_at(reduced(label, score, 2), 1.0) == 2 * 6 / (6 + 1 + 6)


def test_a_late_alarm_is_neither_a_hit_nor_a_false_alarm():
    assert f1_at(reduced([1, 1, 1, 1], [0, 0, 0, 9], 2), 1.0) == 0.0
    late = reduced([0, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 9, 0, 9], 2)
    assert f1_at(late, 1.0) == 2 * 1 / (1 + 0 + 5)


def test_an_alarm_after_a_short_segment_does_not_find_it():
    assert f1_at(reduced([0, 1, 0, 0], [0, 0, 9, 0], 7), 1.0) == 0.0


def test_a_missing_row_splits_a_segment():
    label, score, time_s = [1, 1, 1], [5, 0, 0], [0, 60, 180]
    assert f1_at(reduced(label, score, 7, time_s), 1.0) == 2 * 2 / (2 + 3)
    assert f1_at(reduced(label, score, 7), 1.0) == 1.0


def test_rows_are_put_in_order_and_the_last_of_one_time_stands():
    part = reduced([1, 0, 1, 0], [3, 1, 4, 2], 7, [60, 0, 60, 120])
    assert part.peak.tolist() == [4.0]
    assert part.length.tolist() == [1]
    assert part.normal.tolist() == [1.0, 2.0]


def test_the_optimum_is_at_a_segments_score():
    part = reduced([0, 1, 0, 0, 1, 0], [1, 9, 3, 3, 2, 0], 7)
    assert best_f1(part) == (2 * 1 / (1 + 0 + 2), 9.0)
    assert best_f1(reduced([0, 1, 0, 1], [1, 9, 0, 2], 7)) == (1.0, 2.0)


def test_the_delay_is_seven_points_of_minute_data_and_three_of_hourly_data():
    assert [delay_points(step_s) for step_s in (15, 60, 1800, 3600)] == [7, 7, 7, 3]


def test_the_threshold_of_the_train_rows_is_applied_to_the_test_rows():
    label = [0, 1, 0, 0, 1, 0]
    train = np.arange(6) < 3
    one = series(label, train=train, test=~train)
    found = adjusted_measures([one], [np.asarray([0.1, 0.5, 0.2, 0.6, 0.4, 0.3])], [60])
    assert found == {"f1_default": 0.0, "f1_optimum": 2 / 3, "f1_train_threshold": 0.0}
    found = adjusted_measures([one], [np.asarray([0.1, 0.5, 0.2, 0.2, 1.4, 0.3])], [60])
    assert found == {"f1_default": 1.0, "f1_optimum": 1.0, "f1_train_threshold": 1.0}


def test_there_is_no_train_threshold_without_labelled_train_rows():
    assert "f1_train_threshold" not in adjusted_measures([series([0, 1])], [np.asarray([0.0, 2.0])], [60])
    assert adjusted_measures([series([0, 0])], [np.asarray([0.0, 2.0])], [60]) == {}
    assert adjusted_measures([], [], []) == {}


@pytest.mark.parametrize("score", [[np.nan] * 4, [-np.inf] * 4])
def test_nothing_is_found_without_a_verdict(score):
    part = reduced([0, 1, 1, 0], score, 7)
    assert best_f1(part) == (0.0, np.inf)
    assert f1_at(part, ABOVE_ONE) == 0.0


def test_infinite_and_constant_scores():
    assert best_f1(reduced([0, 1, 0], [1, np.inf, 1], 7)) == (1.0, np.inf)
    assert best_f1(reduced([0, 1, 1, 0], [1, 1, 1, 1], 7)) == (2 * 2 / (2 + 2 + 2), 1.0)
    assert best_f1(reduced([1], [1], 7)) == (1.0, 1.0)


@pytest.mark.parametrize("seed", range(150))
def test_equals_the_verified_scorer(verified, seed):
    rng = np.random.default_rng(seed)
    rows, parts = [], []
    for _ in range(int(rng.integers(1, 4))):
        count, delay = int(rng.integers(1, 150)), int(rng.integers(0, 9))
        label = random_label(rng, count)
        rows.append((random_times(rng, count, 60), label, random_score(rng, label), delay))
        parts.append(decisive(*rows[-1]))
    points = pooled(parts)
    if not len(points.peak):
        assert np.isnan(f1_at(points, 1.0))
        return
    expected = verified.adjust.best_f1(rows)
    f1, threshold = best_f1(points)
    assert f1 == pytest.approx(expected["f1"], abs=1e-12)
    assert threshold == expected["threshold"] or f1 == 0.0
    for at in (ABOVE_ONE, 0.5, threshold):
        alarms = [(time_s, label, score >= at, delay) for time_s, label, score, delay in rows]
        assert f1_at(points, at) == pytest.approx(verified.adjust.pooled_f1(alarms)[2], abs=1e-12)
