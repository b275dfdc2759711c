"""One unit through bad weather: outages, restarts, clocks, values and labels of strangers, mistakes of ours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.stand import DAY, NOW, Stand

from exporter import names
from exporter.errors import SourceUnavailable
from exporter.publish.exposition import Page

DOWN = SourceUnavailable("connection refused", reason="refused")


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
