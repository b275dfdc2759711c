"""All targets together: threads of their own, reloads that keep queues, and an end that delivers what it can."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests
from prometheus_client import CollectorRegistry, generate_latest
from support.receiver import Posted, Receiver, Reply, Way, accept, receiver
from support.servers import free_port, wait_until
from support.writing import NOW_MS, samples, written

from exporter.config import Header, QueueConfig, RemoteWrite
from exporter.publish.remote_write.metrics import DROPS, WriteMetrics
from exporter.publish.remote_write.outlet import Outlet

QUICK = QueueConfig(batch_send_deadline_s=0.0, min_backoff_s=0.01, max_backoff_s=0.05)


class Stand:
    """An outlet and its metrics; ends by itself."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.outlet = Outlet(WriteMetrics(self.registry))
        self.sessions: list[requests.Session] = []

    def adopt(self, *targets: RemoteWrite) -> None:
        self.outlet.adopt(targets, self._session)

    def _session(self, target: RemoteWrite) -> requests.Session:
        self.sessions.append(requests.Session())
        self.sessions[-1].headers.update({header.name: header.values[0] for header in target.headers})
        return self.sessions[-1]

    def count(self, name: str, target: str = "a", **labels: str) -> float | None:
        return self.registry.get_sample_value(f"anomaly_exporter_remote_write_{name}", {"target": target, **labels})

    def put(self, count: int, time_ms: int = NOW_MS) -> None:
        self.outlet.put("u", time_ms, samples(count, time_ms))


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand()
    yield made
    made.outlet.finish(0.0)
    made.outlet.wait()


def target(url: str, name: str = "a", queue: QueueConfig = QUICK, **settings) -> RemoteWrite:
    return RemoteWrite(name, url, queue=queue, **settings)


def all_in(back: Receiver, count: int) -> None:
    wait_until(lambda: len(back.samples) >= count, f"{count} samples")


def test_every_target_gets_everything_and_one_that_is_down_hinders_no_other(stand):
    with receiver() as one, receiver(lambda posted: Way.SILENT) as hangs:
        stand.adopt(target(one.url), target(hangs.url, "b"), target(f"http://127.0.0.1:{free_port()}", "c"))
        for minute in range(5):
            stand.put(10, NOW_MS + minute)
        all_in(one, 50)
        assert one.samples == [each for minute in range(5) for each in written(10, NOW_MS + minute)]
        wait_until(lambda: stand.count("samples_retried_total", "c") > 0, "c is tried")
        wait_until(lambda: stand.count("samples_pending", "b") == 40, "b has its first request")
        assert stand.count("samples_total", "b") == stand.count("samples_total", "c") == 0


def test_counters_start_at_0_and_no_label_holds_a_url(stand):
    stand.adopt(target("http://127.0.0.1:9/w?token=hunter2"))
    for name in ("samples", "samples_failed", "samples_retried", "bytes", "fallbacks"):
        assert stand.count(f"{name}_total") == 0
    for reason in DROPS:
        assert stand.count("samples_dropped_total", reason=reason) == 0
    assert stand.count("queue_capacity_samples") == QUICK.capacity
    assert stand.count("queue_capacity_bytes") == QUICK.max_bytes
    assert stand.count("last_success_timestamp_seconds") == stand.count("highest_timestamp_seconds") == 0
    assert b"hunter2" not in generate_latest(stand.registry)


def test_a_stop_delivers_what_still_waits_for_a_full_request(stand):
    with receiver() as back:
        stand.adopt(target(back.url, queue=replace(QUICK, batch_send_deadline_s=600.0)))
        stand.put(10)
        time.sleep(0.1)
        assert back.posted == []
        stand.outlet.finish(5.0)
        assert stand.outlet.wait() == 0
        assert back.samples == written(10)


def test_a_stop_goes_on_trying_until_its_deadline(stand):
    faults = [Reply(503, headers={"Retry-After": "300"})] * 3
    with receiver(lambda posted: faults.pop() if faults else accept(posted)) as back:
        stand.adopt(target(back.url))
        stand.put(10)
        wait_until(lambda: stand.count("samples_retried_total") > 0, "the outage")
        stand.outlet.finish(20.0)
        assert stand.outlet.wait() == 0
        assert back.samples == written(10)


def test_a_stop_does_not_wait_for_a_receiver_that_hangs_and_says_what_is_left(stand, caplog):
    with receiver(lambda posted: Way.SILENT) as hangs:
        stand.adopt(target(hangs.url, queue=replace(QUICK, max_samples_per_send=10)))
        stand.put(25)
        wait_until(lambda: hangs.posted, "an attempt")
        begin_s = time.monotonic()
        stand.outlet.finish(0.3)
        with caplog.at_level(logging.WARNING):
            assert stand.outlet.wait() == 25
        assert time.monotonic() - begin_s < 20
    (record,) = [record for record in caplog.records if "not delivered" in record.message]
    assert (record.target, record.samples) == ("a", 25)


def test_a_reload_keeps_the_queue_and_the_thread_of_an_unchanged_target(stand):
    down = threading.Event()
    with receiver(lambda posted: accept(posted) if down.is_set() else Reply(503)) as back:
        stand.adopt(target(back.url))
        stand.put(10)
        stand.adopt(target(back.url), target(f"http://127.0.0.1:{free_port()}", "b"))
        assert len(stand.sessions) == 2
        stand.put(10, NOW_MS + 1)
        down.set()
        all_in(back, 20)
        assert back.samples == [*written(10), *written(10, NOW_MS + 1)]
        stand.adopt(target(back.url))
        assert stand.count("samples_total", "b") is None
        wait_until(lambda: stand.count("samples_total") == 20, "they are counted")


def test_new_credentials_take_the_queue_along(stand):
    def respond(posted: Posted) -> Reply:
        return accept(posted) if posted.headers.get("x-key") == "new" else Reply(500)

    with receiver(respond) as back:
        stand.adopt(target(back.url))
        stand.put(10)
        wait_until(lambda: stand.count("samples_retried_total") > 0, "the outage")
        stand.adopt(target(back.url, headers=(Header("X-Key", ("new",)),)))
        all_in(back, 10)
        assert back.samples == written(10)


def test_a_removed_target_and_one_that_moved_count_what_is_lost(stand, caplog):
    with receiver() as back, caplog.at_level(logging.WARNING):
        stand.adopt(target(f"http://127.0.0.1:{free_port()}"))
        stand.put(10)
        stand.adopt(target(back.url))
        assert stand.count("samples_dropped_total", reason="removed") == 10
        assert "a target was removed" in caplog.text
        stand.put(10, NOW_MS + 1)
        all_in(back, 10)
        stand.adopt()
        stand.put(10, NOW_MS + 2)
        assert stand.count("samples_total") is None
        assert len(back.samples) == 10


def test_waiting_for_room_ends_with_room_or_with_a_stop(stand):
    down = threading.Event()
    with receiver(lambda posted: accept(posted) if down.is_set() else Reply(503)) as back:
        stand.adopt(target(back.url, queue=replace(QUICK, capacity=100, max_samples_per_send=10)))
        stand.put(40)
        assert stand.outlet.wait_for_room(threading.Event())
        stand.put(40, NOW_MS + 1)
        threading.Timer(0.2, down.set).start()
        assert stand.outlet.wait_for_room(threading.Event())
        assert down.is_set()
        down.clear()
        stand.put(80, NOW_MS + 2)
        stop = threading.Event()
        threading.Timer(0.1, stop.set).start()
        assert not stand.outlet.wait_for_room(stop)


def test_a_producer_never_waits_for_a_receiver(stand):
    with receiver(lambda posted: Way.SILENT) as hangs:
        stand.adopt(target(hangs.url, queue=replace(QUICK, capacity=2000, max_samples_per_send=100)))
        wait_until(lambda: stand.put(10) or hangs.posted, "an attempt")
        for cycle in range(1, 50):
            stand.put(1000, NOW_MS + cycle)
        assert hangs.taken == []
        assert stand.count("samples_dropped_total", reason="queue_full") > 40_000
        assert stand.count("samples_pending") <= 2000
