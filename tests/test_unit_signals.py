"""What a unit publishes beside scores and bands: slow signals, detectability, the other scheme of names."""

from __future__ import annotations

import numpy as np
import pytest
from support.stand import DAY, NOW, Stand

from exporter import names
from exporter.publish.exposition import Page

SIGNALS = ("shift", "stale")
SIGNAL_FAMILIES = ("anomaly_shift_score", "anomaly_stale_score")


def signal_lines(stand: Stand) -> list[str]:
    text = b"".join(stand.page.chunks(names.FAMILIES, False)).decode()
    return [line for line in text.splitlines() if line.startswith(SIGNAL_FAMILIES)]


def test_signals_are_published_only_where_they_are_asked_for():
    stand = Stand()
    stand.cycle(0)
    assert signal_lines(stand) == []
    stand = Stand(signals=("stale",))
    stand.cycle(0)
    assert stand.published("anomaly_shift_score") == {}
    assert stand.published("anomaly_stale_score") == dict.fromkeys("0123", 0.0)


def test_a_signal_is_about_the_series_and_has_no_model():
    stand = Stand(signals=SIGNALS)
    stand.cycle(0)
    lines = signal_lines(stand)
    assert len(lines) == 8
    assert all('{i="' in line and 'query="m"} ' in line and "model" not in line for line in lines)


@pytest.mark.parametrize("direction", ["both", "below"])
def test_a_frozen_and_a_shifted_series_are_told(direction):
    stand = Stand(signals=SIGNALS, interval_s=300, direction=direction)
    for column in range(24):
        stand.cycle(5 * column, {1: 21.5, 2: stand.usual(NOW + 300 * column)[0] + 3})
    stale, shift = stand.published("anomaly_stale_score"), stand.published("anomaly_shift_score")
    assert {i for i, score in stale.items() if score > 1} == {"1"}
    assert (shift["2"] > 1) == (direction == "both")
    assert shift["2"] > 0 or direction == "below"
    assert max(shift["0"], shift["3"]) <= 1


def test_a_missing_series_has_no_signal_until_it_returns():
    stand = Stand(signals=SIGNALS)
    for minute in range(2):
        stand.cycle(minute)
    for minute in range(2, 5):
        stand.cycle(minute, {3: None})
    for family in SIGNAL_FAMILIES:
        assert set(stand.published(family)) == {"0", "1", "2"}
    for minute in range(5, 8):
        stand.cycle(minute)
    for family in SIGNAL_FAMILIES:
        assert set(stand.published(family)) == {"0", "1", "2", "3"}


def test_where_a_signal_can_not_tell_it_is_missing_not_zero():
    stand = Stand(signals=SIGNALS)
    for i, days in ((7, 1.5), (8, 0.5)):
        times = np.arange(NOW - days * DAY, NOW, 300)
        stand.store.put(stand.labels(i), times, stand.usual(times))
        stand.store.put(stand.labels(i), NOW - 3, 20.0)
    times = np.arange(NOW - 4 * DAY, NOW, 300)
    stand.store.put(stand.labels(9), [*times, NOW - 3], np.full(len(times) + 1, 5.0))
    receipt = stand.cycle(0)
    assert receipt.states["constant"] == 1
    assert set(stand.published("anomaly_score")) == set("0123789")
    assert set(stand.published("anomaly_shift_score")) == set("01239")  # two days of history
    assert set(stand.published("anomaly_stale_score")) == set("01237")  # one day, and some movement


def test_a_restart_gives_the_same_signals_to_the_bit():
    stand = Stand(signals=SIGNALS)
    for minute in range(130):
        values = {1: 21.5, 2: stand.usual(NOW + 60 * minute)[0] + 2}
        stand.cycle(minute, values if minute > 10 else None, delay_s=0)
    before = signal_lines(stand)
    assert max(stand.published("anomaly_stale_score").values()) > 1
    assert max(stand.published("anomaly_shift_score").values()) > 1
    stand.page = Page(None)
    stand.unit = stand.fresh_unit()
    stand.unit.run_cycle(NOW + 60 * 129)
    assert signal_lines(stand) == before


def test_a_signal_that_fails_harms_neither_models_nor_the_other_signal(monkeypatch):
    from exporter.models import rows as model_rows

    def fails(self, rows, values, offset, summary, end_column):
        raise FloatingPointError("made to fail")

    monkeypatch.setattr(model_rows.StaleRows, "fit", fails)
    stand = Stand(signals=SIGNALS)
    receipt = stand.cycle(0)
    assert (receipt.error, receipt.failed_rows, receipt.states["ok"]) == ("", 4, 4)
    assert set(stand.published("anomaly_score")) == set(stand.published("anomaly_shift_score")) == set("0123")
    assert stand.published("anomaly_stale_score") == {}


def test_both_schemes_name_every_family():
    assert list(names.FAMILIES) == list(names.VMANOMALY_FAMILIES)


def test_detectability_is_published_where_it_is_wanted():
    for wanted in (False, True):
        stand = Stand(detectability=wanted)
        stand.cycle(0)
        for model in ("robust_band", "shesd"):
            found = stand.published("anomaly_min_detectable_ratio", model)
            assert set(found) == ({"0", "1", "2", "3"} if wanted else set())
            expected, lower = stand.published("anomaly_expected", model), stand.published("anomaly_lower", model)
            upper = stand.published("anomaly_upper", model)
            for i, ratio in found.items():
                nearer = min(upper[i] - expected[i], expected[i] - lower[i]) / expected[i]
                assert ratio == pytest.approx(nearer, rel=1e-6)


def test_detectability_goes_by_scores_alone_too():
    stand = Stand(detectability=True, publish="score")
    stand.cycle(0)
    assert len(stand.published("anomaly_min_detectable_ratio")) == 4
    assert not stand.published("anomaly_lower")
