"""Protocol 2.0: what is said and checked, and the way back to 1.0 where the receiver does not know it."""

from __future__ import annotations

import logging

import pytest
from support.receiver import Posted, Reply, accept, in_turn, receiver
from support.writing import NOW_MS, Stand, samples, written

from exporter.publish.remote_write.target import Answer, Kind, kind_of

SECOND = "io.prometheus.write.v2.Request"
WRITTEN = "X-Prometheus-Remote-Write-Samples-Written"


def versions(posted: list[Posted]) -> list[str]:
    return [each.headers["x-prometheus-remote-write-version"] for each in posted]


def test_a_request_of_2_0_as_the_specification_wants_it():
    with receiver() as good:
        stand = Stand(good.url, message=SECOND)
        stand.put(samples(30))
        stand.drain()
    (posted,) = good.posted
    assert posted.headers["content-type"] == "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    assert posted.headers["content-encoding"] == "snappy"
    assert versions(good.posted) == ["2.0.0"]
    assert posted.samples == written(30)
    assert (stand.count("samples_total"), stand.count("fallbacks_total")) == (30, 0)


@pytest.mark.parametrize(
    "old",
    [
        Reply(415),
        Reply(204),
        Reply(200, headers={WRITTEN: "many"}),
        Reply(400, b"unexpected EOF"),
    ],
    ids=["415", "no header", "no number", "400 of 1.x"],
)
def test_a_receiver_of_1_0_gets_1_0_at_once_and_from_then_on(old, caplog):
    def respond(posted: Posted) -> Reply:
        return old if "v2" in posted.headers["content-type"] else Reply(204)

    with receiver(respond) as ancient, caplog.at_level(logging.WARNING):
        stand = Stand(ancient.url, message=SECOND)
        for minute in range(3):
            stand.put(samples(4, NOW_MS + minute), cycle_ms=NOW_MS + minute)
        stand.drain()
    assert versions(ancient.posted) == ["2.0.0", "0.1.0", "0.1.0", "0.1.0"]
    assert ancient.samples[-12:] == [each for minute in range(3) for each in written(4, NOW_MS + minute)]
    assert (stand.count("samples_total"), stand.count("fallbacks_total")) == (12, 1)
    assert caplog.text.count("does not know remote write 2.0") == 1


def test_an_outage_is_no_reason_to_go_back():
    with receiver(in_turn(Reply(500), Reply(503), Reply(429))) as good:
        stand = Stand(good.url, message=SECOND)
        stand.put(samples(4))
        stand.drain()
    assert versions(good.posted) == ["2.0.0"] * 4
    assert stand.count("samples_total") == 4


def test_what_the_receiver_says_it_has_not_written_counts_as_failed(caplog):
    with receiver(lambda posted: Reply(200, headers={WRITTEN: "3"})) as half:
        stand = Stand(half.url, message=SECOND)
        stand.put(samples(10))
        stand.drain()
    assert len(half.posted) == 1
    assert (stand.count("samples_total"), stand.count("samples_failed_total")) == (3, 7)
    assert "not written all of it" in caplog.text


def test_a_400_of_a_receiver_that_has_shown_to_know_2_0_is_about_the_samples():
    replies = iter([None, Reply(400)])
    with receiver(lambda posted: next(replies, None) or accept(posted)) as good:
        stand = Stand(good.url, message=SECOND)
        stand.put(samples(4))
        stand.put(samples(4, NOW_MS + 1), cycle_ms=NOW_MS + 1)
        stand.drain()
    assert versions(good.posted) == ["2.0.0"] * 4
    assert stand.count("fallbacks_total") == 0


@pytest.mark.parametrize(
    ("answer", "version", "kind"),
    [
        (Answer(0), 1, Kind.AGAIN),
        (Answer(200), 1, Kind.OK),
        (Answer(299), 1, Kind.OK),
        (Answer(300), 1, Kind.REFUSED),
        (Answer(204, redirected=True), 1, Kind.REFUSED),
        (Answer(400), 1, Kind.SPLIT),
        (Answer(413), 1, Kind.SPLIT),
        (Answer(415), 1, Kind.REFUSED),
        (Answer(499), 1, Kind.REFUSED),
        (Answer(500), 1, Kind.AGAIN),
        (Answer(599), 1, Kind.AGAIN),
        (Answer(204, written=0), 2, Kind.OK),
        (Answer(400, written=5), 2, Kind.SPLIT),
        (Answer(500), 2, Kind.AGAIN),
    ],
)
def test_what_an_answer_asks_for(answer, version, kind):
    assert kind_of(answer, version, confirmed=False, retry_429=True) is kind
