"""A sender and a receiver with faults: what is sent again, what never is, and what is counted."""

from __future__ import annotations

import logging
import time
from email.utils import formatdate

import pytest
from support.receiver import Ledger, Posted, Reply, Way, accept, in_turn, receiver
from support.servers import free_port
from support.writing import NOW_MS, FakeClock, Stand, samples, written

from exporter.publish.remote_write.sender import LONGEST_RETRY_AFTER_S


def test_a_request_as_the_specification_wants_it():
    with receiver() as good:
        stand = Stand(good.url)
        stand.put(samples(3))
        stand.drain()
    (posted,) = good.posted
    assert posted.path == "/api/v1/write"
    wanted = {
        "content-type": "application/x-protobuf",
        "content-encoding": "snappy",
        "x-prometheus-remote-write-version": "0.1.0",
    }
    assert wanted.items() <= posted.headers.items()
    assert posted.samples == written(3)
    assert stand.count("samples_total") == 3
    assert stand.count("highest_sent_timestamp_seconds") == NOW_MS / 1000
    assert stand.count("last_success_timestamp_seconds") == pytest.approx(time.time(), abs=60)
    assert stand.count("request_duration_seconds_count") == 1
    assert stand.count("bytes_total") > 0
    assert stand.count("samples_pending") == stand.count("pending_bytes") == 0


@pytest.mark.parametrize(
    "fault",
    [Reply(500), Reply(502, b"x" * 100_000), Reply(503), Reply(429), Way.RESET],
    ids=["500", "502", "503", "429", "reset"],
)
def test_what_passes_is_waited_out_with_growing_pauses_and_nothing_is_lost_or_sent_twice(fault, caplog):
    with receiver(in_turn(*[fault] * 6)) as bad, caplog.at_level(logging.INFO):
        stand = Stand(bad.url, max_samples_per_send=10, min_backoff_s=1.0, max_backoff_s=10.0)
        stand.put(samples(25))
        pauses = stand.drain()
    waits = [pause for pause in pauses if pause]
    for wait, full in zip(waits, (1, 2, 4, 8, 10, 10), strict=True):
        assert full / 2 <= wait <= full
    assert bad.samples == written(25)
    assert stand.count("samples_retried_total") == 60
    assert (stand.count("samples_total"), stand.count("samples_failed_total")) == (25, 0)
    assert caplog.text.count("remote write fails") == caplog.text.count("remote write goes on") == 1


def test_no_answer_in_time_and_nobody_there_are_waited_out():
    with receiver(in_turn(Way.SILENT)) as slow:
        stand = Stand(slow.url, timeout_s=2.0)  # and the next answer comes within it, also on a busy machine
        stand.put(samples(2))
        assert stand.sender.step() > 0
        assert stand.drain() == [0.0]
        assert slow.samples == written(2)
    stand = Stand(f"http://127.0.0.1:{free_port()}/w")
    stand.put(samples(2))
    assert [stand.sender.step() > 0 for _ in range(3)] == [True] * 3
    assert stand.queue.samples == 2


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        (lambda: formatdate(time.time() + 60, usegmt=True), 50, 61),
        ("86400", LONGEST_RETRY_AFTER_S, LONGEST_RETRY_AFTER_S),
        ("soon", 0, 0.03),
        ("-5", 0, 0.03),
    ],
)
def test_retry_after_is_honoured_up_to_a_limit(status, header, least, most):
    text = header if isinstance(header, str) else header()
    with receiver(in_turn(Reply(status, headers={"Retry-After": text}))) as busy:
        stand = Stand(busy.url)
        stand.put(samples(1))
        assert least <= stand.sender.step() <= most


def test_429_is_dropped_where_the_config_says_so():
    with receiver(in_turn(Reply(429))) as busy:
        stand = Stand(busy.url, retry_on_http_429=False)
        stand.put(samples(3))
        assert stand.drain() == [0.0]
    assert (len(busy.posted), stand.count("samples_failed_total")) == (1, 3)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415, 422, 451])
def test_no_other_4xx_is_ever_sent_again(status, caplog):
    with receiver(in_turn(Reply(status, b"go\x07 away\n" * 500))) as grim, caplog.at_level(logging.WARNING):
        stand = Stand(grim.url, max_samples_per_send=10)
        stand.put(samples(20))
        assert stand.drain() == [0.0, 0.0]
    assert len(grim.posted) == 2
    assert (stand.count("samples_failed_total"), stand.count("samples_total")) == (10, 10)
    (record,) = caplog.records
    assert (record.status, record.samples) == (status, 10)
    assert record.words.startswith("go away go away")
    assert len(record.words) <= 300


# --- 400 --------------------------------------------------------------------------------------------------------------


def no_culprit(*culprits: int):
    names = {str(i) for i in culprits}

    def respond(posted: Posted) -> Reply:
        found = [dict(sample.labels)["i"] for sample in posted.samples]
        return Reply(400, b"bad sample") if names.intersection(found) else accept(posted)

    return respond


@pytest.mark.parametrize("message", ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"])
@pytest.mark.parametrize("culprit", [0, 777, 1999])
def test_one_bad_sample_costs_itself_only(culprit, message):
    with receiver(no_culprit(culprit)) as strict:
        stand = Stand(strict.url, message=message)
        stand.put(samples(1, first=5000))  # shows that the receiver knows the protocol
        stand.drain()
        stand.put(samples(2000))
        stand.drain()
    good = [each for each in written(2000) if dict(each.labels)["i"] != str(culprit)]
    assert strict.samples == [*written(1, first=5000), *good]
    assert (stand.count("samples_failed_total"), stand.count("samples_total")) == (1, 2000)
    assert len(strict.posted) <= 2 + 2 * 11
    assert not [posted for posted in strict.posted[2:] if len(posted.samples) == 2000]


def test_the_search_for_many_bad_samples_ends():
    with receiver(no_culprit(*range(0, 2000, 2))) as strict:
        stand = Stand(strict.url)
        stand.put(samples(2000))
        stand.drain()
    assert len(strict.posted) < 90
    assert stand.count("samples_failed_total") + stand.count("samples_total") == 2000
    assert stand.count("samples_total") > 0
    assert stand.count("samples_pending") == 0


def test_an_outage_in_the_middle_of_the_search_loses_nothing():
    ways = no_culprit(700)
    calls = []

    def respond(posted: Posted) -> Reply:
        calls.append(posted)
        return Reply(503) if 3 <= len(calls) < 6 else ways(posted)

    with receiver(respond) as shaky:
        stand = Stand(shaky.url)
        stand.put(samples(2000))
        stand.drain()
    assert [dict(each.labels)["i"] for each in shaky.samples] == [str(i) for i in range(2000) if i != 700]


def test_a_413_is_split_too():
    with receiver(lambda posted: Reply(413) if len(posted.samples) > 300 else accept(posted)) as small:
        stand = Stand(small.url)
        stand.put(samples(2000))
        stand.drain()
    assert small.samples == written(2000)


def test_two_samples_of_a_series_are_never_in_one_request():
    # Sent again after a lost answer, the older one would be an old repeat.
    ledger = Ledger()
    lost = []

    def respond(posted: Posted) -> Reply | str:
        reply = ledger.respond(posted)
        lost.append(posted)
        return Way.RESET if len(lost) % 2 else reply  # taken, but the answer is lost

    with receiver(respond) as shaky:
        stand = Stand(shaky.url, batch_send_deadline_s=0.0)
        for minute in range(5):
            stand.put(samples(10, NOW_MS + minute * 60_000), cycle_ms=NOW_MS + minute * 60_000)
        stand.drain()
    assert {len(times) for times in ledger.series.values()} == {5}
    assert (stand.count("samples_total"), stand.count("samples_failed_total")) == (50, 0)


# --- redirects and secrets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_drops_the_samples_is_no_success(status, caplog):
    def respond(posted: Posted) -> Reply:
        return Reply(status, headers={"Location": "/elsewhere"}) if posted.samples else Reply(200)

    with receiver(respond) as moved:
        stand = Stand(moved.url)
        stand.put(samples(2))
        stand.drain()
    assert (stand.count("samples_failed_total"), stand.count("samples_total")) == (2, 0)
    assert "set the url it points to" in caplog.records[-1].words


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_samples_is_followed(status):
    def respond(posted: Posted) -> Reply:
        return accept(posted) if posted.path == "/new" else Reply(status, headers={"Location": "/new"})

    with receiver(respond) as moved:
        stand = Stand(moved.url)
        stand.put(samples(2))
        stand.drain()
    assert moved.samples == written(2)


def test_nothing_of_the_url_is_told(caplog):
    stand = Stand(f"http://127.0.0.1:{free_port()}/w?token=hunter2")
    stand.put(samples(1))
    with caplog.at_level(logging.DEBUG, "exporter"):
        assert stand.sender.step() > 0
    told = [f"{record.getMessage()} {vars(record)}" for record in caplog.records if record.name.startswith("exporter")]
    assert told
    assert not [text for text in told if "hunter2" in text]
    assert "connection refused" in caplog.records[-1].words


# --- age --------------------------------------------------------------------------------------------------------------


def test_samples_beyond_the_age_limit_are_dropped():
    clock = FakeClock()
    with receiver() as good:
        stand = Stand(good.url, clock, sample_age_limit_s=3600.0)
        stand.put(samples(5, NOW_MS - 3_601_000))
        stand.put(samples(5, NOW_MS - 3_599_000), cycle_ms=NOW_MS + 1)
        stand.drain()
    assert good.samples == written(5, NOW_MS - 3_599_000)
    assert stand.count("samples_dropped_total", reason="too_old") == 5
