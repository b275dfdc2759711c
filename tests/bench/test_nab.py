from __future__ import annotations

import math

import numpy as np
import pytest
from labelled_series import random_score, random_times, series

from bench.quality.corpus import CorpusError, probation_rows, read_set
from bench.quality.scoring.nab import board, nab_measures, onsets, row_worth

SHARED_PROFILES = {"standard": "standard", "lowfp": "reward_low_FP_rate", "lowfn": "reward_low_FN_rate"}
ABOVE_ONE = float(np.nextafter(1.0, np.inf))


def s(x: float) -> float:
    return 2 / (1 + math.exp(5 * x)) - 1


def file(rows=200, windows=((100, 119),), step_s=300, **more):
    time_s = np.arange(rows) * step_s
    return series(np.zeros(rows), time_s=time_s, windows=[(a * step_s, b * step_s) for a, b in windows], **more)


def alerts(rows, *at):
    score = np.zeros(rows)
    score[list(at)] = 2.0
    return score


def test_the_probation():
    assert [probation_rows(rows) for rows in (1, 20, 100, 4999, 5000, 22695)] == [0, 3, 15, 749, 750, 750]


def test_the_first_row_of_the_window_is_worth_all():
    found = nab_measures([file()], [alerts(200, 100)])
    assert len(found) == 12
    assert set(found.values()) == {100.0}


def test_a_late_detection_is_worth_less():
    found = nab_measures([file()], [alerts(200, 119)])
    assert found["nab_row_standard_default"] == pytest.approx(100 * (1 + s(-1 / 20) / s(-1)) / 2)
    assert found["nab_row_lowfn_default"] == pytest.approx(100 * (2 + s(-1 / 20) / s(-1)) / 3)


def test_false_detections_cost_less_just_after_a_window():
    found = nab_measures([file()], [alerts(200, 10, 50, 100, 125)])  # row 10 lies in the probation
    assert found["nab_row_standard_default"] == pytest.approx(100 - 50 * 0.11 * (1 - s(6 / 19)))
    assert found["nab_row_lowfp_default"] == pytest.approx(100 - 50 * 0.22 * (1 - s(6 / 19)))
    far = nab_measures([file()], [alerts(200, 100, 190)])  # more than three widths after
    assert far["nab_row_standard_default"] == pytest.approx(100 - 50 * 0.11)


def test_only_the_best_detection_of_a_window_counts():
    one = nab_measures([file()], [alerts(200, 105)])
    assert nab_measures([file()], [alerts(200, 105, 106, 119)]) == one


def test_one_alert_per_episode():
    scores = [alerts(200, 40, 52, 64, 77, 100)]  # an hour is 12 rows: 64 - 52 joins, 77 - 64 and 100 - 77 do not
    found = nab_measures([file()], scores)
    assert found["nab_row_standard_default"] == pytest.approx(100 - 50 * 0.11 * 4)
    assert found["nab_onset_standard_default"] == pytest.approx(100 - 50 * 0.11 * 2)


def test_alerts_in_the_probation_count_nowhere():
    score = alerts(200, 100)
    score[5] = 3.0
    assert set(nab_measures([file()], [score]).values()) == {100.0}


def test_a_window_within_the_probation_cannot_be_found():
    found = nab_measures([file(windows=((5, 10), (100, 119)))], [alerts(200, 7, 100)])
    assert found["nab_row_standard_default"] == pytest.approx(100 * 2 / 3)  # silent -1, perfect 2, ours 1


def test_windows_of_all_files_count():
    found = nab_measures([file(), file()], [alerts(200, 100), alerts(200, 100)])
    assert set(found.values()) == {100.0}


def test_an_episode_that_began_before_the_window_does_not_find_it():
    found = nab_measures([file()], [alerts(200, 95, 104)])
    assert found["nab_row_standard_default"] > 0
    assert found["nab_onset_standard_default"] == pytest.approx(-50 * 0.11)


def test_an_episode_that_began_in_the_probation_is_none_later():
    always = nab_measures([file()], [np.full(200, 2.0)])
    assert always["nab_onset_standard_default"] == 0.0
    assert always["nab_row_standard_default"] < 0


def test_episodes_do_not_reach_into_the_next_file():
    files = [file(), file()]
    laid = board(files, [alerts(200, 199), alerts(200, 0)])
    assert onsets(laid, np.asarray([199, 200])).tolist() == [199, 200]


def test_the_optimum_finds_the_threshold():
    score = np.zeros(200)
    score[[60, 103]] = 0.3, 0.7
    found = nab_measures([file()], [score])
    assert found["nab_row_standard_default"] == found["nab_onset_standard_default"] == 0.0
    expected = 100 * (1 + s(-17 / 20) / s(-1)) / 2
    assert found["nab_row_standard_optimum"] == found["nab_onset_standard_optimum"] == pytest.approx(expected)


@pytest.mark.parametrize("score", [np.full(200, np.nan), np.zeros(200), np.full(200, -np.inf)])
def test_a_silent_detector_has_zero(score):
    found = nab_measures([file()], [score])
    assert {name: value for name, value in found.items() if name.endswith("default")} == dict.fromkeys(
        (name for name in found if name.endswith("default")), 0.0
    )
    assert min(found.values()) == 0.0


def test_infinite_scores_are_detections():
    score = np.zeros(200)
    score[100] = np.inf
    assert set(nab_measures([file()], [score]).values()) == {100.0}


def test_degenerate_files():
    assert nab_measures([], []) == {}
    assert nab_measures([file(windows=())], [np.zeros(200)]) == {}
    one_row = file(rows=1, windows=((0, 0),))
    assert nab_measures([one_row], [np.asarray([2.0])])["nab_row_standard_default"] == 100.0


def test_windows_at_the_edges_and_of_one_row():
    worth, window = row_worth(np.arange(10), [(0, 0), (8, 9)])
    assert window.tolist() == [0, -1, -1, -1, -1, -1, -1, -1, 1, 1]
    assert worth[0] == worth[8] == 1.0
    assert worth[1] == pytest.approx(s(1.0))
    assert worth[4] == -1.0
    assert worth[9] == pytest.approx(s(-0.5) / s(-1))


@pytest.mark.parametrize("windows", [[(5, 7)], [(4, 5)], [(6, 4)], [(4, 6), (2, 8)]])
def test_a_window_that_does_not_fit_the_file(windows):
    with pytest.raises(CorpusError, match=r"^kpi: "):
        row_worth(np.arange(0, 20, 2), windows, "kpi")


def random_corpus(rng):
    files, scores = [], []
    for number in range(int(rng.integers(1, 5))):
        rows = int(rng.integers(30, 300))
        time_s = np.sort(random_times(rng, rows, 300))
        limits = np.sort(rng.choice(np.unique(time_s), 2 * int(rng.integers(0, 4)), replace=False))
        windows = list(zip(limits[::2].tolist(), limits[1::2].tolist(), strict=True))
        files.append(series(np.zeros(rows), time_s=time_s, windows=windows, name=str(number)))
        scores.append(random_score(rng, np.zeros(rows, np.bool_)))
    return files, scores


def as_verified(verified, files, scores):
    return verified.nab.Corpus(
        [
            verified.nab.Series(one.name, one.time_s, score, one.windows)
            for one, score in zip(files, scores, strict=True)
        ]
    )


def compare(verified, files, scores):
    found = nab_measures(files, scores)
    pooled = np.unique(np.concatenate(scores))
    levels = pooled[~np.isnan(pooled)]
    rows = as_verified(verified, files, scores)
    every_level = len(levels) < 60  # then each is among the thresholds that are tried
    tried = levels if every_level else levels[:: len(levels) // 20]
    onset = [
        as_verified(verified, files, first_rows(files, scores, above)) for above in (1.0, -1.0, *(tried[:-1]))
    ]  # at -1 everything with a verdict alerts
    for profile, name in SHARED_PROFILES.items():
        prices = verified.nab.PROFILES[name]
        threshold, raw = rows.curve(**prices)
        silent = -prices["fn"] * len(rows.reachable)
        best = max([silent, *raw[threshold > -np.inf]])  # a missing verdict is no detection at any threshold
        scale = 100 / (prices["tp"] * rows.n_windows - silent)
        assert found[f"nab_row_{profile}_optimum"] == pytest.approx((best - silent) * scale, abs=1e-9)
        default = rows.evaluate(name, ABOVE_ONE)["normalised"]
        assert found[f"nab_row_{profile}_default"] == pytest.approx(default, abs=1e-9)
        by_level = [one.evaluate(name, 0.5)["normalised"] for one in onset]
        assert found[f"nab_onset_{profile}_default"] == pytest.approx(by_level[0], abs=1e-9)
        if every_level:
            assert found[f"nab_onset_{profile}_optimum"] == pytest.approx(max([0.0, *by_level]), abs=1e-9)
        else:
            assert found[f"nab_onset_{profile}_optimum"] >= max(0.0, by_level[0], by_level[1]) - 1e-9


def first_rows(files, scores, above):
    """1 at the first row of each episode, row by row."""
    marks = []
    for one, score in zip(files, scores, strict=True):
        mark, before = np.zeros(len(score)), None
        for row in range(len(score)):
            if score[row] > above:
                mark[row] = before is None or one.time_s[row] - before > 3600
                before = one.time_s[row]
        marks.append(mark)
    return marks


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_verified_scorer(verified, seed):
    files, scores = random_corpus(np.random.default_rng(seed))
    if not any(one.windows for one in files):
        assert nab_measures(files, scores) == {}
        return
    compare(verified, files, scores)


def test_equals_the_verified_scorer_on_the_benchmarks_own_windows(verified, shared_data):
    pytest.importorskip("pyarrow")
    if not (shared_data / "nab" / "windows.json").is_file():
        pytest.skip(f"no nab/ in {shared_data}")
    files = read_set(shared_data / "nab").series
    rng = np.random.default_rng(7)
    scores = [np.round(rng.exponential(0.25, len(one.time_s)), 1) for one in files]
    compare(verified, files, scores)
