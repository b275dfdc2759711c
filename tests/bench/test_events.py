from __future__ import annotations

import numpy as np
import pytest
from labelled_series import random_label, random_score, random_times, series

from bench.quality.scoring.alerts import begins, candidates, rows_above, runs
from bench.quality.scoring.events import Tally, detected_at_rate, event_measures, per_series, timeline

WEEK_S = 604_800


def tally(one, score, threshold=1.0, step_s=60):
    return per_series(timeline([one], [np.asarray(score, float)], [step_s]), threshold)[0]


def alerts(rows, *at):
    score = np.zeros(rows)
    score[list(at)] = 2.0
    return score


def test_runs():
    assert [part.tolist() for part in runs(np.asarray([1, 1, 0, 1, 0, 0, 1]) > 0)] == [[0, 3, 6], [1, 3, 6]]
    assert [part.tolist() for part in runs(np.zeros(3, np.bool_))] == [[], []]
    assert [part.tolist() for part in runs(np.zeros(0, np.bool_))] == [[], []]


def test_candidates_rise_to_a_threshold_that_nothing_passes():
    score = np.asarray([0.2, np.nan, 5.0, 0.2, 3.0])
    assert candidates(score).tolist() == [-np.inf, 0.2, 1.0, 3.0, 5.0]
    assert candidates(np.full(3, np.nan)).tolist() == [-np.inf, 1.0]
    assert candidates(np.asarray([0.5, np.inf])).tolist() == [-np.inf, 0.5, 1.0, np.inf]
    many = candidates(np.random.default_rng(1).random(100_000))
    assert 200 < len(many) <= 302
    assert (np.diff(many) > 0).all()


def test_rows_above_each_threshold():
    score = np.asarray([3.0, np.nan, 1.0, 2.0])
    found = [row.tolist() for row in rows_above(score, np.asarray([-np.inf, 1.0, 2.0, 3.0]))]
    assert found == [[0, 2, 3], [0, 3], [0], []]


def test_an_episode_begins_more_than_an_hour_after_the_alert_before():
    time_s = np.asarray([0, 3600, 7201, 7000, 100])
    assert begins(time_s, np.asarray([0, 0, 0, 0, 1])).tolist() == [True, False, True, False, True]
    assert begins(np.empty(0, np.int64), np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("row", "hits"),
    [(299, 0), (300, 1), (301, 1), (308, 1), (309, 0)],
    ids=["before", "first", "last", "grace", "after"],
)
def test_an_event_is_hit_during_it_or_within_eight_rows_of_its_start(row, hits):
    label = np.zeros(600)
    label[300:302] = 1
    found = tally(series(label), alerts(600, row))
    assert (found.events, found.hits, found.episodes, found.false) == (1, hits, 1, 1 - hits)


def test_a_long_event_is_hit_to_its_last_row():
    label = np.zeros(600)
    label[300:400] = 1
    assert tally(series(label), alerts(600, 399)).hits == 1
    assert tally(series(label), alerts(600, 400)).hits == 0


def test_an_alert_of_exactly_the_threshold_is_none():
    assert tally(series([1, 0]), [1.0, 1.0]).episodes == 0
    assert tally(series([1, 0]), [1.0, 1.0], threshold=0.9) == Tally("s", 1, 1, 1, 0, 120 / WEEK_S)


def test_alerts_within_the_hour_are_one_episode_and_true_if_any_of_them_is():
    label = np.zeros(300)
    label[150:155] = 1
    found = tally(series(label), alerts(300, 20, 80, 141, 152, 219))
    # 20 and 80 are an hour apart: one; 141 is 61 minutes later: a new one, true by 152; 219 is 67 minutes later.
    assert (found.episodes, found.false, found.hits) == (3, 2, 1)


def test_one_alert_may_hit_two_events():
    label = np.zeros(50)
    label[[10, 14]] = 1
    found = tally(series(label), alerts(50, 16))
    assert (found.events, found.hits, found.false) == (2, 2, 0)


def test_a_gap_splits_neither_an_event_nor_its_zone():
    one = series([0, 1, 1, 0, 0], time_s=[0, 60, 86_400, 86_460, 172_800])
    found = tally(one, [0, 0, 0, 0, 2.0])
    assert (found.events, found.hits, found.false) == (1, 1, 0)


def test_only_measured_rows_are_seen():
    one = series([1, 1, 0, 0, 1, 0], test=[0, 1, 1, 1, 1, 1])
    found = tally(one, [9, 0, 0, 0, 9, np.nan])
    assert found == Tally("s", 2, 2, 1, 0, 5 * 60 / WEEK_S)


def test_episodes_of_two_series_are_two():
    line = timeline([series([0, 0], name="a"), series([0, 0], name="b")], [alerts(2, 1), alerts(2, 0)], [60, 300])
    assert per_series(line) == [Tally("a", 0, 0, 1, 1, 120 / WEEK_S), Tally("b", 0, 0, 1, 1, 600 / WEEK_S)]


def test_the_measures_by_hand():
    label = np.zeros(20_160)  # two weeks of minutes
    label[5000:5010] = label[9000:9010] = 1
    found = event_measures(timeline([series(label)], [alerts(20_160, 100, 300, 700, 5003)], [60]))
    assert found == {
        "false_alerts_week_default": 1.5,
        "detected_default": 0.5,
        "event_f1_default": pytest.approx(2 * 0.25 * 0.5 / 0.75),
        "detected_at_one_false_alert_week": 0.0,  # 100, 300, 700 and 5003 have one score: all or none
    }


def test_detection_at_one_false_alert_a_week():
    label = np.zeros(20_160)
    label[5000] = label[9000] = label[15_000] = 1
    score = np.zeros(20_160)
    score[[5000, 100, 400, 9000, 800, 15_000]] = 9, 8, 7, 6, 5, 4
    line = timeline([series(label)], [score], [60])
    assert detected_at_rate(line, 1.0) == 2 / 3  # two false ones in two weeks are allowed, the third comes before 4
    assert detected_at_rate(line, 0.4) == 1 / 3
    assert detected_at_rate(line, 2.0) == 1.0


def test_a_quiet_flood_is_no_detection():
    """Far below the threshold everything alerts: one endless episode, true, and no false one."""
    label = np.zeros(20_160)
    label[5000] = 1
    score = np.tile([0.5, 0.2, 0.2, 0.2], 5040)  # every fourth minute: one episode as well
    score[::200] = 0.7  # every 200 minutes: about 100 false ones
    assert tally(series(label), score, threshold=0.1).false == 0
    assert detected_at_rate(timeline([series(label)], [score], [60]), 1.0) == 0.0


@pytest.mark.parametrize("score", [np.nan, -np.inf, 0.0])
def test_a_detector_that_never_alerts(score):
    found = event_measures(timeline([series([0, 1, 0])], [np.full(3, score)], [60]))
    assert found["detected_default"] == found["event_f1_default"] == found["false_alerts_week_default"] == 0.0


def test_a_detector_that_always_alerts():
    found = event_measures(timeline([series([0, 1, 0])], [np.full(3, np.inf)], [60]))
    assert found["detected_default"] == found["event_f1_default"] == found["detected_at_one_false_alert_week"] == 1.0
    assert found["false_alerts_week_default"] == 0.0


def test_without_events_only_the_rate_is_defined():
    found = event_measures(timeline([series([0] * 10_080)], [alerts(10_080, 3, 500)], [60]))
    assert found == {"false_alerts_week_default": 2.0}
    assert event_measures(timeline([], [], [])) == {}
    assert event_measures(timeline([series([1, 0], test=[0, 0])], [alerts(2, 0)], [60])) == {}


def naive(one, score, threshold, step_s):
    """The same counts, row by row."""
    rows = [row for row in range(len(score)) if one.test[row]]
    label, time_s = [bool(one.label[row]) for row in rows], [int(one.time_s[row]) for row in rows]
    alert = [bool(score[row] > threshold) for row in rows]
    starts = [i for i in range(len(rows)) if label[i] and not (i and label[i - 1])]
    zones = []
    for start in starts:
        last = start
        while last + 1 < len(rows) and label[last + 1]:
            last += 1
        zones.append(range(start, min(max(last, start + 8), len(rows) - 1) + 1))
    grouped, before = [], None
    for i in range(len(rows)):
        if alert[i]:
            if before is None or time_s[i] - time_s[before] > 3600:
                grouped.append([])
            grouped[-1].append(i)
            before = i
    hits = sum(any(alert[i] for i in zone) for zone in zones)
    false = sum(not any(i in zone for i in group for zone in zones) for group in grouped)
    return Tally(one.name, len(zones), hits, len(grouped), false, len(rows) * step_s / WEEK_S)


def naive_detected(sets, scores, step_s):
    best, measured = 0.0, np.concatenate([score[one.test] for one, score in zip(sets, scores, strict=True)])
    for threshold in candidates(measured)[::-1]:
        found = [naive(one, score, threshold, step_s) for one, score in zip(sets, scores, strict=True)]
        if sum(t.false for t in found) > sum(t.weeks for t in found):
            break
        best = max(best, sum(t.hits for t in found) / sum(t.events for t in found))
    return best


@pytest.mark.parametrize("seed", range(60))
def test_equals_the_naive_twin(seed):
    rng = np.random.default_rng(seed)
    step_s = int(rng.choice([60, 900, 3600]))
    sets, scores = [], []
    for number in range(int(rng.integers(1, 4))):
        rows = int(rng.integers(1, 120))
        label, time_s = random_label(rng, rows), random_times(rng, rows, step_s)
        sets.append(series(label, time_s=time_s, test=rng.random(rows) < rng.choice([0.8, 1.1]), name=str(number)))
        scores.append(random_score(rng, label))
    line = timeline(sets, scores, [step_s] * len(sets))
    for threshold in (1.0, 0.4, -np.inf):
        expected = [naive(one, score, threshold, step_s) for one, score in zip(sets, scores, strict=True)]
        assert per_series(line, threshold) == expected
    if len(line.peak):
        assert detected_at_rate(line, 1.0) == naive_detected(sets, scores, step_s)
