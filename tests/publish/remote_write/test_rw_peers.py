"""What receivers were seen to answer to bad samples, too many, too old: what is sent again, what is split, what is lost.

Observed on Prometheus 2.42 and 3.12, Cortex 1.21, VictoriaMetrics 1.150; Mimir's ids are from its source.
"""

# ruff: noqa: E501  # a row of the table reads best on one line
from __future__ import annotations

import time
from pathlib import Path

import pytest
from naive.remote_write import Written
from support.receiver import Posted, Reply, accept, receiver
from support.servers import ask, prometheus_in
from support.writing import NOW_MS, Stand, samples, written

from exporter.publish.remote_write.target import VERSION_1, Answer, Kind, kind_of

AGAIN, SPLIT, REFUSED = Kind.AGAIN, Kind.SPLIT, Kind.REFUSED

# (receiver, what was wrong, status, body, what to do)
ANSWERS = [
    ("Prometheus 2.42", "garbage", 400, "snappy: corrupt input\n", SPLIT),
    ("Prometheus 3.12", "garbage", 400, "s2: corrupt input\n", SPLIT),
    ("VictoriaMetrics", "garbage", 400, "cannot read prometheus remote_write data: cannot decompress: snappy: corrupt input",
     SPLIT),
    ("Cortex", "no content type", 415, "Unsupported Content-Type\n", REFUSED),
    ("Prometheus 2.42", "old", 500, "too old sample\n", SPLIT),
    ("Prometheus 3.12", "old", 400, "too old sample\n", SPLIT),
    ("Cortex", "old", 400, "user=a: err: too old sample. timestamp=2026-11-22T10:00:00Z, tsdbHeadMaxTimestamp=2026-11-22T12:00:00Z",
     SPLIT),
    ("Mimir", "old", 400, "the sample has been rejected because its timestamp is too old (err-mimir-sample-timestamp-too-old)",
     SPLIT),
    ("Prometheus", "out of order", 400, "out of order sample\n", SPLIT),
    ("Cortex", "future", 400, "timestamp too new: 1795366980000 metric: \"m\"", SPLIT),
    ("Cortex", "rate", 429, "ingestion rate limit (10) exceeded while adding 300 samples and 0 metadata", AGAIN),
    ("Mimir", "rate", 429, "the request has been rejected because the tenant exceeded the ingestion rate limit "
     "(err-mimir-tenant-max-ingestion-rate)", AGAIN),
    ("Cortex", "series", 400, "user=a: per-user series limit of 8 exceeded, please contact administrator to raise it", SPLIT),
    ("Mimir", "series", 400, "per-user series limit of 150000 exceeded (err-mimir-max-series-per-user)", SPLIT),
    ("Mimir", "too large", 413, "received message larger than max (2 vs 1)", SPLIT),
    ("Cortex", "no tenant", 401, "no org id\n", REFUSED),
    ("Cortex", "no prefix", 404, "404 page not found\n", REFUSED),
    ("Cortex", "several tenants", 500, "multiple org IDs present\n", AGAIN),
    ("Cortex", "stopping", 500, "the ingester is stopping", AGAIN),
    ("VictoriaMetrics", "storage down", 503, "cannot write data to vmstorage nodes", AGAIN),
]  # fmt: skip
IDS = [f"{server}: {wrong}" for server, wrong, *_ in ANSWERS]
CULPRIT = "7"


@pytest.mark.parametrize(("_server", "_wrong", "status", "body", "kind"), ANSWERS, ids=IDS)
def test_what_an_answer_asks_for(_server: str, _wrong: str, status: int, body: str, kind: Kind) -> None:
    assert kind_of(Answer(status, body), VERSION_1, confirmed=False, retry_429=True) is kind


def labelled(sample: Written) -> str:
    return dict(sample.labels)["i"]


@pytest.mark.parametrize(
    ("status", "body"), [(status, body) for *_, status, body, kind in ANSWERS if kind is SPLIT],
    ids=[name for name, (*_, kind) in zip(IDS, ANSWERS, strict=True) if kind is SPLIT],
)  # fmt: skip
def test_one_bad_sample_takes_no_other_with_it(status: int, body: str) -> None:
    def respond(posted: Posted) -> Reply:
        bad = CULPRIT in map(labelled, posted.samples)
        return Reply(status, body.encode()) if bad else accept(posted)

    with receiver(respond) as back:
        stand = Stand(back.url, max_samples_per_send=20)
        stand.put(samples(20))
        stand.put(samples(3, NOW_MS + 60_000))
        stand.drain()
        assert sorted(back.samples) == sorted(
            [sample for sample in written(20) if labelled(sample) != CULPRIT] + written(3, NOW_MS + 60_000)
        )
    assert (stand.count("samples_total"), stand.count("samples_failed_total")) == (22, 1)
    assert stand.queue.samples == 0


@pytest.mark.parametrize(
    ("status", "body"), [(status, body) for *_, status, body, kind in ANSWERS if kind is AGAIN],
    ids=[name for name, (*_, kind) in zip(IDS, ANSWERS, strict=True) if kind is AGAIN],
)  # fmt: skip
def test_what_passes_is_waited_out(status: int, body: str) -> None:
    left = [Reply(status, body.encode())] * 2

    with receiver(lambda posted: left.pop() if left else accept(posted)) as back:
        stand = Stand(back.url)
        stand.put(samples(5))
        stand.drain()
        assert back.samples == written(5)
    assert (stand.count("samples_retried_total"), stand.count("samples_failed_total")) == (10, 0)


def test_a_real_prometheus_2_refuses_an_old_sample_with_500_and_gets_the_others(tmp_path: Path) -> None:
    config = {"storage": {"tsdb": {"out_of_order_time_window": "30m"}}}
    now_s = int(time.time()) // 60 * 60
    with prometheus_in(tmp_path, config, "--web.enable-remote-write-receiver") as url:
        stand = Stand(f"{url}/api/v1/write", max_samples_per_send=100)
        stand.put(samples(1, now_s * 1000, name="head"), now_s * 1000)
        stand.drain()
        stand.put(samples(1, (now_s - 6 * 3600) * 1000, first=50, name="old"), now_s * 1000)
        stand.put(samples(5, now_s * 1000, name="good"), now_s * 1000)
        pauses = stand.drain(50)
        found = {name: len(ask(url, name)) for name in ("head", "old", "good")}
    assert found == {"head": 1, "old": 0, "good": 5}
    assert set(pauses) == {0.0}
    assert stand.count("samples_failed_total") == 1
