"""A unit's page with a writer: what goes out cycle by cycle, what ends, what a next generation knows."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import requests
from naive.remote_write import bits_of
from prometheus_client import CollectorRegistry
from support.receiver import Ledger, Receiver, receiver
from support.servers import wait_until

from exporter import names
from exporter.config import QueueConfig, RemoteWrite
from exporter.names import ABSENT, SCORE, VALUE
from exporter.publish.exposition import Page
from exporter.publish.remote_write.labels import label_fields
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.remote_write.outlet import Outlet
from exporter.publish.remote_write.unit_writer import UnitWriter
from exporter.publish.remote_write.wire import STALE_BITS
from exporter.publish.unit_page import UnitPage, added_labels

T = 1_700_000_000
ROWS = np.array([0, 1])


class Stand:
    """A unit's page whose writer sends to a strict receiver."""

    def __init__(self, back: Receiver, ledger: Ledger, page: Page | None = None) -> None:
        self.back, self.ledger, self.page = back, ledger, page
        self.registry = CollectorRegistry()
        self.outlet = Outlet(WriteMetrics(self.registry))
        queue = QueueConfig(batch_send_deadline_s=0.0)
        self.outlet.adopt([RemoteWrite("t", back.url, queue=queue)], lambda _: requests.Session())
        self.unit = self.generation()

    def generation(self) -> UnitPage:
        writer = UnitWriter(self.outlet, "q", names.FAMILIES, ["robust_band"])
        added = added_labels("q", "", vmanomaly=False)
        made = UnitPage(self.page, "q", added, ["robust_band"], names.FAMILIES, writer)
        made.admit([(0, {"a": "x"}), (1, {"a": "y", "A": "z"})])
        return made

    def cycle(self, time_s: int, values: list[float], ages_s: float | list[float] = 5, *, family: str = SCORE) -> None:
        self.unit.begin(time_s)
        times_ms = (time_s - np.broadcast_to(ages_s, len(values))).astype(np.int64) * 1000
        self.unit.render(family, "robust_band", ROWS[: len(values)], np.array(values), 9, times_ms)
        self.unit.show()

    def arrived(self) -> dict[str, list[tuple[float, float | str]]]:
        """Value of the label ``a`` and the family -> [(seconds after T, value or "stale")], when all has been sent."""
        wait_until(lambda: all(sender.left == 0 for sender in self.outlet._senders.values()), "all is sent")
        found = {}
        for labels, samples in self.ledger.series.items():
            own = dict(labels)
            key = f"{own['a']} {own['__name__']}"
            found[key] = [(time_ms / 1000 - T, _value(bits)) for time_ms, bits in samples]
        return found

    def dropped(self, reason: str) -> float:
        wanted = {"target": "t", "reason": reason}
        return self.registry.get_sample_value("anomaly_exporter_remote_write_samples_dropped_total", wanted)

    def failed(self) -> float:
        return self.registry.get_sample_value("anomaly_exporter_remote_write_samples_failed_total", {"target": "t"})


def _value(bits: int) -> float | str:
    return "stale" if bits == STALE_BITS else float(np.uint64(bits).view(np.float64))


@pytest.fixture
def stand():
    ledger = Ledger()
    with receiver(ledger.respond) as back:
        made = Stand(back, ledger)
        yield made
        made.outlet.finish(1.0)
        assert made.outlet.wait() == 0
        assert made.failed() == 0


def test_labels_times_and_exact_values(stand):
    stand.cycle(T, [1 / 3, 2.0], [5, 7])
    assert stand.arrived() == {"x anomaly_score": [(-5, 1 / 3)], "y anomaly_score": [(-7, 2.0)]}
    assert (
        ("A", "z"),
        ("__name__", "anomaly_score"),
        ("a", "y"),
        ("model", "robust_band"),
        ("query", "q"),
    ) in stand.ledger.series


def test_an_unchanged_sample_is_not_sent_again_though_its_band_has_changed(stand):
    stand.cycle(T, [1.0, 2.0])
    stand.cycle(T + 60, [1.1, 3.0], [65, 5])
    assert stand.arrived() == {"x anomaly_score": [(-5, 1.0)], "y anomaly_score": [(-5, 2.0), (55, 3.0)]}


def test_a_series_that_is_not_published_any_more_ends_at_the_cycle(stand):
    stand.cycle(T, [1.0, 2.0])
    stand.cycle(T + 60, [1.5])
    stand.cycle(T + 120, [1.5], 65)
    assert stand.arrived()["y anomaly_score"] == [(-5, 2.0), (60, "stale")]
    stand.cycle(T + 180, [1.0, 2.5])
    assert stand.arrived()["y anomaly_score"] == [(-5, 2.0), (60, "stale"), (175, 2.5)]


def test_a_value_that_a_sample_does_not_have_ends_the_series_at_the_sample(stand):
    stand.cycle(T, [1.0, 2.0])
    stand.cycle(T + 60, [1.5, np.nan])
    assert stand.arrived()["y anomaly_score"] == [(-5, 2.0), (55, "stale")]


def test_a_family_that_is_not_rendered_any_more_ends(stand):
    stand.cycle(T, [1.0], family=VALUE)
    stand.cycle(T + 60, [0.5])
    assert stand.arrived() == {"x anomaly_value": [(-5, 1.0), (60, "stale")], "x anomaly_score": [(55, 0.5)]}


def test_seconds_absent_are_of_the_cycle(stand):
    for minute in range(2):
        stand.unit.begin(T + 60 * minute)
        stand.unit.render(ABSENT, "", ROWS[:1], np.array([60.0 * (minute + 5)]), 9)
        stand.unit.show()
    assert stand.arrived() == {"x anomaly_absent_seconds": [(0, 300.0), (60, 360.0)]}
    assert (("__name__", "anomaly_absent_seconds"), ("a", "x"), ("query", "q")) in stand.ledger.series


def test_a_dismissed_row_ends_and_its_next_owner_begins(stand):
    stand.cycle(T, [1.0, 2.0])
    stand.unit.begin(T + 60)
    stand.unit.dismiss(ROWS[:1])
    stand.unit.admit([(0, {"a": "new"})])
    stand.cycle(T + 60, [7.0, 2.1])
    assert stand.arrived() == {
        "x anomaly_score": [(-5, 1.0), (60, "stale")],
        "y anomaly_score": [(-5, 2.0), (55, 2.1)],
        "new anomaly_score": [(55, 7.0)],
    }


def test_withdrawn_series_end_and_may_come_back(stand):
    stand.cycle(T, [1.0])
    stand.unit.begin(T + 300)
    stand.unit.withdraw()
    stand.unit.withdraw()
    stand.cycle(T + 360, [1.5])
    assert stand.arrived() == {"x anomaly_score": [(-5, 1.0), (300, "stale"), (355, 1.5)]}


def test_a_closed_unit_ends_its_series_and_says_no_more(stand):
    stand.cycle(T, [1.0, 2.0])
    stand.unit.close()
    stand.cycle(T + 60, [1.0, 2.0])
    stand.unit.dismiss(ROWS)
    assert stand.arrived() == {
        "x anomaly_score": [(-5, 1.0), (0, "stale")],
        "y anomaly_score": [(-5, 2.0), (0, "stale")],
    }


def test_the_next_generation_does_not_write_what_the_one_before_has_written(stand):
    stand.cycle(T, [1.0, 2.0])
    stand.unit.close()
    stand.unit = stand.generation()
    stand.cycle(T + 1, [1.1, 2.1], 6)  # the same sample, judged by another config
    stand.cycle(T + 60, [1.2, 2.2])
    assert stand.arrived()["x anomaly_score"] == [(-5, 1.0), (0, "stale"), (55, 1.2)]
    assert stand.dropped("out_of_order") == 0


def test_a_late_sample_of_a_series_that_has_ended_is_counted_and_not_sent(stand):
    stand.cycle(T, [1.0, 2.0])
    stand.cycle(T + 60, [1.0])
    stand.cycle(T + 61, [1.1, 2.1], 10)
    stand.cycle(T + 62, [1.1, 2.1], 11)
    assert stand.arrived()["y anomaly_score"] == [(-5, 2.0), (60, "stale")]
    assert stand.dropped("out_of_order") == 1


def test_refused_labels_are_counted_with_their_reason_and_hurt_nobody(stand):
    writer = UnitWriter(stand.outlet, "other", names.FAMILIES, [])
    writer.set_row(0, "", [("a", "x")])
    writer.set_row(1, "", [("a", "")])
    writer.admit([0, 1])
    unit = UnitPage(None, "other", {}, [], names.FAMILIES, None)
    unit._writer = writer
    unit.begin(T)
    unit.render(ABSENT, "", ROWS, np.array([1.0, 2.0]), 9)
    unit.show()
    assert stand.arrived() == {"x anomaly_absent_seconds": [(0, 1.0)]}
    assert stand.dropped("empty_label") == 1


def test_results_can_be_kept_off_the_page_and_be_on_both():
    ledger = Ledger()
    with receiver(ledger.respond) as back:
        both = Stand(back, ledger, Page(None))
        both.cycle(T, [1.0])
        assert b"anomaly_score" in b"".join(both.page.chunks(names.FAMILIES, False))
        assert both.arrived() == {"x anomaly_score": [(-5, 1.0)]}
        both.outlet.finish(1.0)
        both.outlet.wait()


# --- the past ---------------------------------------------------------------------------------------------------------


def test_backfill_is_queued_in_time_order_over_all_series_before_the_present(stand):
    times_ms = (T + np.arange(-600, 0, 60)) * 1000
    values = np.arange(20.0).reshape(2, 10)
    values[1, 4] = np.nan
    kinds = {(SCORE, "robust_band"): values, (VALUE, "robust_band"): -values}
    writer = stand.unit
    assert writer.backfill(ROWS, times_ms, kinds, threading.Event()) == 10
    assert writer.backfill(ROWS, times_ms[-1:], {(SCORE, "robust_band"): values[:, :1]}, threading.Event()) == 1
    stand.cycle(T, [50.0, 60.0])
    found = stand.arrived()
    assert found["x anomaly_score"] == [*((60 * i - 600, float(i)) for i in range(10)), (-5, 50.0)]
    assert found["y anomaly_score"] == [*((60 * i - 600, 10.0 + i) for i in range(10) if i != 4), (-5, 60.0)]
    assert found["x anomaly_value"][-1] == (0, "stale")  # the present does not publish it
    order = [sample.time_ms for posted in stand.back.taken for sample in posted.samples]
    assert order[:38] == sorted(order[:38])
    assert bits_of(19.0) in {sample.bits for sample in stand.back.samples}


def test_backfill_with_times_of_their_own_and_a_stop(stand):
    times_ms = np.array([[T - 120, T - 60], [T - 90, T - 30]]) * 1000
    writer = stand.unit
    assert writer.backfill(ROWS, times_ms, {(SCORE, "robust_band"): np.ones((2, 2))}, threading.Event()) == 2
    assert stand.arrived()["y anomaly_score"] == [(-90, 1.0), (-30, 1.0)]
    stop = threading.Event()
    stop.set()
    assert writer.backfill(ROWS, times_ms + 60_000, {(SCORE, "robust_band"): np.ones((2, 2))}, stop) == 0


def test_external_labels_are_added_where_there_is_none_of_the_name(stand: Stand) -> None:
    external = (("a", "never"), ("cluster", "eu"), ("model", "of signals"))
    writer = UnitWriter(stand.outlet, "other", names.FAMILIES, ["shesd"], external)
    writer.set_row(0, "shesd", [("b", "y"), ("model", "shesd")])
    writer.set_row(1, "shesd", [("a", "x"), ("model", "shesd")])
    written = [writer._labels["shesd"].fields(row) for row in range(2)]
    assert [label_fields(labels)[0] for labels in (
        [("a", "never"), ("b", "y"), ("cluster", "eu"), ("model", "shesd")],
        [("a", "x"), ("cluster", "eu"), ("model", "shesd")],
    )] == written  # fmt: skip
