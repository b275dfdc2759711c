from __future__ import annotations

import numpy as np
import pytest
from labelled_series import random_label, random_score, random_times, series

from bench.quality.corpus import Set
from bench.quality.measures import METRICS, by_series, measure
from bench.quality.published import KPI_F1, NAB_SCOREBOARD

EVENT = {"event_f1_default", "detected_default", "detected_at_one_false_alert_week"}
RANK = {"average_precision", "vus_pr"}
F1 = {"f1_default", "f1_optimum"}
RATE = {"false_alerts_week_default"}


def one_set(*parts, nab=False):
    return Set("made", tuple(parts), nab)


def nab_file(rows=200):
    label = np.zeros(rows)
    label[100:120] = 1
    return series(label, windows=[(100 * 60, 119 * 60)])


def test_every_metric_of_the_report_is_measured():
    one = nab_file()
    train = np.arange(200) < 110
    parted = series(one.label, train=train, test=~train, windows=one.windows)
    found = measure(one_set(parted, nab=True), [np.linspace(0, 2, 200)])
    assert set(METRICS) <= set(found)
    assert len(set(METRICS)) == len(METRICS) == 13
    assert len([name for name in found if name.startswith("nab_")]) == 12
    assert all(np.isfinite(value) for value in found.values())


def test_a_set_without_windows_or_train_part():
    found = measure(one_set(series([0, 0, 1, 0])), [np.asarray([0.0, 0, 2, 0])])
    assert set(found) == F1 | EVENT | RANK | RATE
    assert {name: value for name, value in found.items() if name not in RANK | RATE} == dict.fromkeys(F1 | EVENT, 1.0)


def test_nab_sees_whole_files_and_the_rest_only_measured_rows():
    one = nab_file()
    measured = np.arange(200) >= 30
    score = np.zeros(200)
    score[[5, 100]] = 3.0
    whole = measure(one_set(one, nab=True), [score])
    part = measure(one_set(series(one.label, test=measured, windows=one.windows), nab=True), [score])
    assert whole["nab_row_standard_default"] == part["nab_row_standard_default"] == 100.0
    assert whole["event_f1_default"] == pytest.approx(2 / 3)  # row 5 is a false alert
    assert part["event_f1_default"] == 1.0


def test_windows_count_only_in_a_set_that_is_nabs():
    assert not any(name.startswith("nab_") for name in measure(one_set(nab_file()), [np.zeros(200)]))


def test_a_score_of_exactly_one_is_no_alert():
    found = measure(one_set(series([0, 1, 0])), [np.asarray([0.0, 1.0, 0.0])])
    assert found["f1_default"] == found["detected_default"] == 0.0
    assert found["f1_optimum"] == 1.0


def test_hourly_data_has_the_shorter_delay():
    label = [1] * 10
    late = np.zeros(10)
    late[5] = 2.0
    assert measure(one_set(series(label, step_s=60)), [late])["f1_default"] == 1.0
    assert measure(one_set(series(label, step_s=3600)), [late])["f1_default"] == 0.0


@pytest.mark.parametrize(
    ("label", "score", "names"),
    [
        ([0, 0, 0], [0.0, 2.0, 0.0], RATE),
        ([1, 1, 1], [0.0, 2.0, 0.0], RATE | F1 | EVENT | {"average_precision"}),
        ([0, 1, 0], [np.nan] * 3, RATE | F1 | EVENT | RANK),
        ([0, 1, 0], [1.0] * 3, RATE | F1 | EVENT | RANK),
        ([1, 0, 1], [np.inf, -np.inf, np.nan], RATE | F1 | EVENT | RANK),
        ([1], [5.0], RATE | F1 | EVENT | {"average_precision"}),
        ([0], [5.0], RATE),
    ],
    ids=["no label", "only labels", "no verdict", "constant", "infinite", "one labelled row", "one row"],
)
def test_what_is_defined_for_degenerate_input(label, score, names):
    found = measure(one_set(series(label)), [np.asarray(score)])
    assert set(found) == names
    assert all(np.isfinite(value) for value in found.values())


def test_a_silent_detector_finds_nothing():
    found = measure(one_set(series([0, 1, 0, 0])), [np.full(4, np.nan)])
    assert found == dict.fromkeys(found, 0.0) | {"average_precision": 0.25, "vus_pr": found["vus_pr"]}


def test_a_series_without_measured_rows_changes_nothing():
    one, score = series([0, 0, 1, 0]), np.asarray([0.0, 3, 2, 0])
    hidden = series([1, 0], test=[0, 0], name="hidden")
    assert measure(one_set(one, hidden), [score, np.asarray([9.0, 9.0])]) == measure(one_set(one), [score])
    assert measure(one_set(hidden), [np.asarray([9.0, 9.0])]) == {}
    assert measure(one_set(), []) == {}


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="scores of 0 series for 1"):
        measure(one_set(series([0, 1])), [])
    with pytest.raises(ValueError, match=r"made: s: scores of shape \(3,\) for 2 rows"):
        by_series(one_set(series([0, 1])), [np.zeros(3)])


def test_counts_by_series():
    corpus = one_set(series([0, 1, 0], name="a"), series([0, 0, 0], name="b"))
    found = by_series(corpus, [np.asarray([0, 2.0, 0]), np.asarray([0.6, 0, 0])], threshold=0.5)
    assert [(one.name, one.events, one.hits, one.false) for one in found] == [("a", 1, 1, 0), ("b", 0, 0, 1)]


@pytest.mark.parametrize("seed", range(30))
def test_shares_stay_shares(seed):
    rng = np.random.default_rng(seed)
    parts, scores = [], []
    for number in range(int(rng.integers(1, 5))):
        rows = int(rng.integers(1, 200))
        label, test = random_label(rng, rows), rng.random(rows) < 0.7
        parts.append(series(label, time_s=random_times(rng, rows, 60), train=~test, test=test, name=str(number)))
        scores.append(random_score(rng, label))
    found = measure(one_set(*parts), scores)
    assert all(0.0 <= value <= 1.0 for name, value in found.items() if name not in RATE)
    if "f1_optimum" in found:
        assert found["f1_optimum"] >= max(found["f1_default"], found.get("f1_train_threshold", 0.0)) - 1e-12


def test_the_order_of_the_scores_is_all_that_ranking_sees():
    rng = np.random.default_rng(3)
    label = random_label(rng, 300)
    label[40:60] = True
    score = random_score(rng, label)
    plain, bent = (measure(one_set(series(label)), [one]) for one in (score, np.exp(score)))
    for name in ("average_precision", "vus_pr", "f1_optimum"):
        assert plain[name] == pytest.approx(bent[name])


def test_published_tables_are_in_order():
    assert [row.standard for row in NAB_SCOREBOARD] == sorted((row.standard for row in NAB_SCOREBOARD), reverse=True)
    assert [row.f1 for row in KPI_F1] == sorted((row.f1 for row in KPI_F1), reverse=True)
    assert {row.detector: row.standard for row in NAB_SCOREBOARD}["ARTime"] == 74.9
