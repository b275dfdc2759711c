"""One unit, cycle by cycle, on a store with the semantics of Prometheus: what is read, judged and published."""

from __future__ import annotations

import numpy as np
import pytest
from support.stand import DAY, NOW, Stand

from exporter import names


def test_the_first_cycle_reads_the_window_and_judges_every_series():
    stand = Stand()
    receipt = stand.cycle(0)
    assert (receipt.error, receipt.series, receipt.judged, receipt.fitted) == ("", 4, 4, 4)
    assert receipt.states == {"ok": 4, "warming": 0, "constant": 0, "sparse": 0, "absent": 0, "failed": 0}
    for family in ("anomaly_score", "anomaly_expected", "anomaly_lower", "anomaly_upper", "anomaly_value"):
        for model in ("robust_band", "shesd"):
            assert set(stand.published(family, model)) == {"0", "1", "2", "3"}, (family, model)


def test_the_published_value_is_the_judged_sample_itself():
    stand = Stand()
    stand.cycle(0, {2: 19.123456789012345})
    assert stand.published("anomaly_value")["2"] == 19.123456789012345


@pytest.mark.parametrize("plain", [True, False])
def test_spike_and_drop_to_exactly_zero_score_at_once_and_clean_series_do_not(plain):
    stand = Stand(plain=plain)
    stand.cycle(0)
    stand.cycle(1, {1: 60.0, 2: 0.0})
    score = stand.published("anomaly_score")
    assert score["1"] > 1
    assert score["2"] > 1
    assert max(score["0"], score["3"]) <= 1
    assert stand.published("anomaly_value")["2"] == 0.0


def test_score_is_above_one_exactly_outside_the_band():
    stand = Stand(series=40)
    for minute, shift in enumerate((0, 1, 2, 3, -2, 8)):
        stand.cycle(minute, {i: stand.usual(NOW + 60 * minute)[0] + shift for i in range(40)}, series=40)
        for model in ("robust_band", "shesd"):
            score, value = stand.published("anomaly_score", model), stand.published("anomaly_value", model)
            lower, upper = stand.published("anomaly_lower", model), stand.published("anomaly_upper", model)
            for i in score:
                assert (score[i] > 1) == (not lower[i] <= value[i] <= upper[i]), (minute, model, i)


def test_a_vanished_series_is_absent_not_zero_and_returns_without_an_alert():
    stand = Stand()
    for minute in range(2):
        stand.cycle(minute)
    for minute in range(2, 5):
        receipt = stand.cycle(minute, {3: None})
    assert receipt.states["absent"] == 1
    assert "3" not in stand.published("anomaly_score")
    assert stand.published("anomaly_absent_seconds") == {"3": 183.0}
    assert [example.labels for example in stand.unit.absent(5)] == [{"i": "3"}]
    for minute in range(5, 90):
        stand.cycle(minute, {3: None})
    for minute in range(90, 100):
        stand.cycle(minute)
        assert stand.published("anomaly_score")["3"] <= 1
    assert stand.published("anomaly_absent_seconds") == {}


def test_a_series_gone_for_longer_than_absent_for_is_no_longer_counted():
    stand = Stand(absent_for_s=600)
    stand.cycle(0)
    for minute in range(1, 12):
        receipt = stand.cycle(minute, {3: None})
    assert receipt.states["absent"] == 0
    assert sum(receipt.states.values()) == 3
    assert stand.published("anomaly_absent_seconds") == {}


def test_a_series_that_was_gone_before_the_start_is_absent_too():
    stand = Stand(series=4)
    times = np.arange(NOW - 3 * DAY, NOW - 3600, 300)
    stand.store.put(stand.labels(9), times, stand.usual(times))
    assert stand.cycle(0).states["absent"] == 1
    assert list(stand.published("anomaly_absent_seconds")) == ["9"]


def test_a_new_series_warms_up_and_then_joins():
    stand = Stand()
    stand.cycle(0)
    seen = []
    for minute in range(1, 240):
        receipt = stand.cycle(minute, series=5)
        seen.append((receipt.states["warming"], "4" in stand.published("anomaly_score")))
    assert seen[0] == (1, False)
    assert seen[-1] == (0, True)
    assert receipt.states["ok"] == 5


def test_min_history_holds_a_verdict_back():
    stand = Stand(min_history_s=10 * DAY)
    assert stand.cycle(0).states["warming"] == 4
    assert stand.published("anomaly_score") == {}


def test_a_constant_series_is_judged_and_its_blip_scores():
    stand = Stand()
    times = np.arange(NOW - 4 * DAY, NOW, 300)
    stand.store.put(stand.labels(7), times, np.full(len(times), 5.0))
    stand.store.put(stand.labels(7), NOW - 3, 5.0)
    assert stand.cycle(0).states["constant"] == 1
    assert stand.published("anomaly_score")["7"] == 0
    stand.store.put(stand.labels(7), NOW + 57, 0.0)
    stand.cycle(1)
    assert stand.published("anomaly_score")["7"] > 1


def test_a_sparse_series_has_no_verdict():
    stand = Stand()
    times = np.arange(NOW - 4 * DAY, NOW, 8 * 3600)
    stand.store.put(stand.labels(7), times, np.full(len(times), 5.0))
    stand.store.put(stand.labels(7), NOW - 3, 5.0)
    assert stand.cycle(0).states["sparse"] == 1
    assert "7" not in stand.published("anomaly_score")


def test_a_level_shift_is_seen_and_then_learned():
    stand = Stand()
    for minute in range(10):
        stand.cycle(minute)
    scores = []
    for minute in range(10, 10 + 4 * 60):
        stand.cycle(minute, {0: stand.usual(NOW + 60 * minute)[0] + 15})
        scores.append(stand.published("anomaly_score")["0"])
    assert scores[0] > 1
    assert max(scores[90:]) <= 1


def test_repeated_values_of_an_expression_are_not_judged_as_new():
    stand = Stand(plain=False)
    stand.cycle(0)
    stand.cycle(1)
    stand.store.stuck = True
    receipt = stand.unit.run_cycle(NOW + 120)  # the store looks back and repeats
    assert receipt.judged == 0
    stand.unit.run_cycle(NOW + 180)
    assert stand.unit.last.states["absent"] == 4


def test_text_and_order_stay_the_same_from_cycle_to_cycle():
    def without_values(stand: Stand) -> list[str]:
        text = b"".join(stand.page.chunks(names.FAMILIES, False)).decode()
        return [line.rsplit(" ", 1)[0] for line in text.splitlines()]

    stand = Stand(series=30)
    stand.cycle(0, series=30)
    first = without_values(stand)
    for minute in range(1, 12):
        stand.cycle(minute, series=30)
        assert without_values(stand) == first
