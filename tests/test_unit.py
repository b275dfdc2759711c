"""One unit, cycle by cycle, on a store with the semantics of Prometheus: what is read, judged, published, survives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.store import Store

from exporter import names
from exporter.config import Query
from exporter.errors import SourceUnavailable
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.unit import Unit

DAY = 86_400
NOW = 19_700 * DAY + 43_200  # a noon
DOWN = SourceUnavailable("connection refused", reason="refused")


class Stand:
    """A unit with its store and page; series follow a daily rhythm with noise."""

    def __init__(self, series: int = 4, *, plain: bool = True, days: float = 4, seed: int = 1, **query) -> None:
        settings = {"interval_s": 60, "step_s": 300, "window_s": 3 * DAY} | query
        self.query = Query("m", "m", **settings)
        self.rng = np.random.default_rng(seed)
        self.store = Store(plain=plain, step_s=self.query.step_s)
        self.page = Page(None)
        self.unit = self.fresh_unit()
        times = np.arange(NOW - days * DAY, NOW, self.query.step_s)
        for i in range(series):
            self.store.put(self.labels(i), times, self.usual(times))

    def fresh_unit(self) -> Unit:
        models = [model.name for model in self.query.models]
        page = UnitPage(self.page, "m", added_labels("m", "", vmanomaly=False), models, names.FAMILIES)
        return Unit("", self.query, self.store, page)

    @staticmethod
    def labels(i: int) -> dict[str, str]:
        return {"__name__": "m", "i": str(i)}

    def usual(self, times) -> np.ndarray:
        times = np.atleast_1d(times)
        return 20 + 5 * np.sin(times * 2 * math.pi / DAY) + self.rng.normal(size=len(times)) * 0.5

    def cycle(self, minute: int, values: dict[int, float | None] | None = None, series: int = 4, delay_s: int = 3):
        """Put each series' sample of this minute (None: no sample) and run the cycle."""
        time_s = NOW + 60 * minute
        for i in range(series):
            value = (values or {}).get(i, self.usual(time_s)[0])
            if value is not None:
                self.store.put(self.labels(i), time_s - delay_s, value)
        return self.unit.run_cycle(time_s)

    def published(self, family: str, model: str = "robust_band") -> dict[str, float]:
        """Series number -> value, as a scraper reads it."""
        text = b"".join(self.page.chunks(names.FAMILIES, False)).decode()
        return {
            sample.labels["i"]: sample.value
            for metric in text_string_to_metric_families(text)
            for sample in metric.samples
            if sample.name == family and sample.labels.get("model", model) == model
        }


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


@pytest.mark.parametrize("plain", [True, False])
def test_a_restart_gives_the_same_verdicts_to_the_bit(plain):
    """Disposable models: what a unit that ran for hours says, one that has just started says too."""
    stand = Stand(plain=plain)
    for minute in range(130):
        # On the grid an expression's value is its evaluation; put samples there, so that both kinds see the same cells.
        stand.cycle(minute, delay_s=0)
    before = {family: stand.published(family) for family in ("anomaly_score", "anomaly_lower", "anomaly_upper")}
    stand.page = Page(None)
    stand.unit = stand.fresh_unit()
    stand.unit.run_cycle(NOW + 60 * 129)
    assert {family: stand.published(family) for family in before} == before


def test_a_restart_before_the_first_sample_of_a_column_shows_the_last_verdict_to_the_bit():
    # The newest samples, of the minute before the column's end, lie in a column that is final at the restart.
    stand = Stand(series=40)
    for minute in range(1, 60):
        stand.cycle(minute, series=40)
    families = [family.name for family in names.FAMILIES.values()]
    before = {(name, model): stand.published(name, model) for name in families for model in ("robust_band", "shesd")}
    assert len(before["anomaly_score", "shesd"]) == 40
    stand.unit = stand.fresh_unit()
    receipt = stand.unit.run_cycle(NOW + 3660)
    assert (receipt.judged, receipt.states["ok"]) == (40, 40)
    assert before == {key: stand.published(*key) for key in before}
    stand.cycle(62, series=40)
    alone = {key: stand.published(*key) for key in before}
    stand.unit = stand.fresh_unit()
    stand.unit.run_cycle(NOW + 62 * 60)
    assert alone == {key: stand.published(*key) for key in before}


def test_missed_steps_are_filled_after_an_outage_of_the_server():
    stand, steady = Stand(), Stand()
    for minute in range(160):
        stand.store.fail = DOWN if 20 <= minute < 140 else None
        receipt = stand.cycle(minute)
        steady.cycle(minute)
        if minute == 140:
            assert receipt.filled_columns >= 23
    ring, wanted = stand.unit._window, steady.unit._window
    rows = np.arange(4)
    end = np.full(4, ring.head - 1)
    assert np.array_equal(ring.gather(rows, end), wanted.gather(rows, end))
    assert stand.published("anomaly_score") == steady.published("anomaly_score")


def test_while_the_server_is_away_old_verdicts_are_withdrawn_and_come_back():
    stand = Stand()
    stand.cycle(0)
    stand.store.fail = DOWN
    for minute in range(1, 6):
        assert stand.cycle(minute).reason == "refused"
        assert stand.published("anomaly_score"), minute  # not older than Prometheus' own look-back
    stand.cycle(6)
    assert stand.published("anomaly_score") == {}
    stand.store.fail = None
    stand.cycle(7)
    assert set(stand.published("anomaly_score")) == {"0", "1", "2", "3"}


def test_a_failed_window_read_is_tried_again():
    stand = Stand()
    stand.store.fail = DOWN
    assert stand.cycle(0).error == "connection refused"
    stand.store.fail = None
    assert stand.cycle(1).judged == 4


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


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_no_data_and_harms_nobody(value):
    stand = Stand()
    stand.cycle(0)
    before = stand.published("anomaly_value")["1"]
    receipt = stand.cycle(1, {1: value})
    assert receipt.remarks["not_finite"] == 1
    assert stand.published("anomaly_value")["1"] == before
    assert set(stand.published("anomaly_score")) == {"0", "1", "2", "3"}


def test_a_huge_value_scores_and_harms_nobody():
    stand = Stand()
    stand.cycle(0)
    stand.cycle(1, {1: 1e308, 2: -1e308})
    score = stand.published("anomaly_score")
    assert score["1"] == score["2"] == 100
    assert max(score["0"], score["3"]) <= 1
    stand.cycle(2)
    assert max(stand.published("anomaly_score").values()) <= 1


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


def test_series_that_differ_by_name_only_are_named_and_one_is_kept(caplog):
    stand = Stand()
    stand.store.put({"__name__": "n", "i": "0"}, NOW - 3, 1e6)
    receipt = stand.cycle(0)
    assert (receipt.remarks["collision"], receipt.judged) == (1, 4)
    assert 'series n{"i":"0"} is not watched: without its name it has the labels of m{"i":"0"}' in caplog.text
    assert stand.published("anomaly_value")["0"] < 100


def test_a_raw_counter_is_named_whatever_selected_it(caplog):
    stand = Stand(series=1)
    stand.store.put({"__name__": "requests_total", "i": "8"}, NOW - 3, 1e6)
    stand.cycle(0, series=1)
    assert "requests_total looks like a counter read raw" in caplog.text
    assert "rate(requests_total[5m])" in caplog.text


def test_label_values_of_strangers_are_published_readably():
    stand = Stand(series=0)
    hostile = 'a"b\\c\nd{}=,☃'
    times = np.arange(NOW - 3 * DAY, NOW, 300)
    stand.store.put({"__name__": "m", "i": hostile, "query": "mine", "model": "x"}, times, stand.usual(times))
    stand.store.put({"__name__": "m", "i": hostile, "query": "mine", "model": "x"}, NOW - 3, 20.0)
    stand.unit.run_cycle(NOW)
    text = b"".join(stand.page.chunks(names.FAMILIES, False)).decode()
    (labels,) = [
        sample.labels
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
        if sample.name == "anomaly_value" and sample.labels["model"] == "shesd"
    ]
    assert labels == {
        "i": hostile, "query": "m", "model": "shesd", "exported_query": "mine", "exported_model": "x",
    }  # fmt: skip


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


def test_churn_of_a_tenth_a_cycle_does_not_grow_memory():
    stand = Stand(series=0, window_s=2 * DAY)
    sizes = []
    for minute in range(120):
        time_s = NOW + 60 * minute
        for i in range(1000):
            generation = (minute + i % 10) // 10
            stand.store.put({"__name__": "m", "i": f"{i}-{generation}"}, time_s - 3, 20.0)
        for labels in [labels for labels, points in stand.store.series.items() if max(points) < (time_s - 400) * 1000]:
            del stand.store.series[labels]
        stand.unit.run_cycle(time_s)
        sizes.append((stand.unit._table.rows, stand.unit._window.window_bytes))
    assert max(rows for rows, _ in sizes) < 2000  # 100 new ones a cycle would otherwise be 12,900 by now
    assert sizes[-1] == sizes[40]


def test_a_model_that_fails_on_one_row_harms_no_other(monkeypatch, caplog):
    from exporter.models import rows as model_rows

    stand = Stand()
    times = np.arange(NOW - 3 * DAY, NOW, 300)
    stand.store.put(stand.labels(8), times, np.full(len(times), 777.0))
    stand.store.put(stand.labels(8), NOW - 3, 777.0)
    right = model_rows.RobustBandRows.fit

    def fails_on_777(self, rows, values, offset, summary, end_column):
        if np.any(summary.median + offset == 777.0):
            raise FloatingPointError("made to fail")
        right(self, rows, values, offset, summary, end_column)

    monkeypatch.setattr(model_rows.RobustBandRows, "fit", fails_on_777)
    receipt = stand.cycle(0)
    assert receipt.failed_rows == 1
    assert set(stand.published("anomaly_score")) == {"0", "1", "2", "3"}
    assert set(stand.published("anomaly_score", "shesd")) == {"0", "1", "2", "3", "8"}
    assert "made to fail" in str([record.__dict__ for record in caplog.records])


def test_a_mistake_of_ours_is_counted_and_the_next_cycle_goes_on(monkeypatch, caplog):
    stand = Stand()
    stand.cycle(0)
    judging = stand.unit._judging
    monkeypatch.setattr(judging, "_settle", lambda *_: 1 / 0)
    receipt = stand.cycle(1)
    assert (receipt.reason, receipt.error) == ("internal", "internal error: ZeroDivisionError('division by zero')")
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert stand.cycle(2).error == ""
    assert set(stand.published("anomaly_score")) == {"0", "1", "2", "3"}


def test_a_closed_unit_can_not_come_back_on_the_page():
    stand = Stand()
    stand.cycle(0)
    stand.unit.close()
    stand.cycle(1)
    assert stand.published("anomaly_score") == {}


def test_a_sample_that_becomes_visible_late_is_still_read():
    stand = Stand()
    for minute in range(7):
        stand.cycle(minute, {0: None})
    stand.store.put(stand.labels(0), NOW + 360 - 20, 21.5)  # belongs to minute 6, seen by the cycle of minute 7 only
    stand.cycle(7, {0: None})
    assert stand.published("anomaly_value")["0"] == 21.5


def test_a_clock_that_goes_back_does_no_harm():
    stand = Stand()
    for minute in (0, 1, 2, 1, 0, 3):
        receipt = stand.cycle(minute)
        assert receipt.error == ""
    assert max(stand.published("anomaly_score").values()) <= 1


# --- slow signals -----------------------------------------------------------------------------------------------------

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
