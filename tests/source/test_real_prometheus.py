"""The source against a real Prometheus: gaps stay gaps, samples keep their times, both scanners agree."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
import requests
from naive import answers as naive
from support.loopback import RealPrometheus

from exporter.errors import SourceRefused, SourceTooMuch
from exporter.source.client import Client
from exporter.source.jsonscan import scan_json
from exporter.source.reader import Reader
from exporter.source.scan import parse_labels, scan_answer

ClientOf = Callable[..., Client]
STEP_S = 60


@pytest.fixture
def client(real_prometheus: RealPrometheus, client_of: ClientOf) -> Client:
    return client_of(real_prometheus.url)


def minutes(reader: Reader, start_s: int) -> dict[int, float]:
    """Minute after the start -> value, over the hour."""
    found: dict[int, float] = {}
    for answer in reader.range(start_s, start_s + 3600, None):
        assert answer.fast
        times = ((answer.batch.time_ms // 1000 - start_s) // STEP_S).tolist()
        found |= dict(zip(times, answer.batch.value.tolist(), strict=True))
    return found


def test_a_gap_of_a_plain_selector_is_a_gap(client: Client, real_prometheus: RealPrometheus) -> None:
    found = minutes(Reader(client, "gappy", STEP_S), real_prometheus.start_s)
    # The last sample before the gap is of 1185 s and belongs to minute 20; the first after it is of 2400 s, minute 40.
    assert sorted(found) == [*range(21), *range(40, 61)]
    assert found[20] == 1185.0
    assert found[40] == 2400.0


def test_the_look_back_of_the_server_would_have_filled_it(client: Client, real_prometheus: RealPrometheus) -> None:
    found = minutes(Reader(client, "gappy + 0", STEP_S), real_prometheus.start_s)
    assert [found[minute] for minute in (20, 21, 22, 23, 24)] == [1185.0] * 5


def test_a_sample_counts_in_one_step_only(client: Client, real_prometheus: RealPrometheus) -> None:
    found = minutes(Reader(client, "seldom", STEP_S), real_prometheus.start_s)
    assert dict(found.items()) == {math.ceil((at + 7.25) / STEP_S): float(at) for at in range(0, 3600, 400)}


def test_chunks_together_give_the_same_as_one_query(client: Client, real_prometheus: RealPrometheus) -> None:
    whole = minutes(Reader(client, 'steady{pod="a"}', STEP_S), real_prometheus.start_s)
    pieces = minutes(Reader(client, 'steady{pod="a"}', STEP_S, max_points=7), real_prometheus.start_s)
    assert whole == pieces
    assert len(whole) == 61


def test_newest_samples_of_a_plain_selector_carry_their_own_times(
    client: Client, real_prometheus: RealPrometheus
) -> None:
    batch = Reader(client, "seldom", STEP_S).newest(real_prometheus.start_s + 900, 600).batch
    assert (batch.time_ms - real_prometheus.start_s * 1000).tolist() == [407_250, 807_250]
    assert batch.value.tolist() == [400.0, 800.0]
    assert Reader(client, "gappy", STEP_S).newest(real_prometheus.start_s + 1380, 120).batch.series == 0


def test_newest_and_range_spell_a_series_alike(client: Client, real_prometheus: RealPrometheus) -> None:
    reader = Reader(client, "steady", STEP_S)
    newest = reader.newest(real_prometheus.start_s + 900, 60).batch
    (span,) = reader.range(real_prometheus.start_s, real_prometheus.start_s + 900, 3)
    assert newest.label_hash.tolist() == span.batch.label_hash.tolist()
    assert parse_labels(newest.label_bytes(0)) == {"__name__": "steady", "pod": "a", "path": '/x"y\\z'}


def test_a_value_that_only_repeats_is_recognised(client: Client, real_prometheus: RealPrometheus) -> None:
    reader = Reader(client, "sum(gappy)", STEP_S)
    in_the_gap_s, last_s = real_prometheus.start_s + 1380, real_prometheus.start_s + 1185
    assert reader.newest(in_the_gap_s, 60).batch.value.tolist() == [1185.0]
    assert reader.repeats(in_the_gap_s, last_s)
    assert not reader.repeats(in_the_gap_s, last_s - 1)
    assert not Reader(client, "sum(gappy) + sum(steady)", STEP_S).repeats(in_the_gap_s, last_s)


def test_series_are_counted(client: Client, real_prometheus: RealPrometheus) -> None:
    at_s = real_prometheus.start_s + 1800
    assert Reader(client, "steady", STEP_S).count(at_s) == 3
    assert Reader(client, 'sum by (pod) (steady{pod!="a"})', STEP_S).count(at_s) == 2
    assert Reader(client, "gappy", STEP_S).count(at_s) == 0
    assert Reader(client, "scalar(gappy)", STEP_S).count(at_s) == 1


@pytest.mark.parametrize("query", ["odd", "odd[1h]", "steady", "steady[10m]", "nothing", "1", "vector(1/0)", "-odd"])
def test_what_it_answers_is_read_alike_by_all_readers(
    query: str, client: Client, real_prometheus: RealPrometheus
) -> None:
    body = bytes(client.query(query, real_prometheus.start_s + 1800))
    answer = scan_answer(body)
    assert naive.flatten(answer.batch) == naive.flatten(scan_json(body).batch)
    if query != "1":
        assert answer.fast
        assert naive.flatten(answer.batch) == naive.read_answer(body)


def test_gzip_gives_the_same_answer(client_of: ClientOf, real_prometheus: RealPrometheus) -> None:
    bodies = [
        client_of(real_prometheus.url, accept_gzip=gzip).query_range(
            "steady", real_prometheus.start_s, real_prometheus.start_s + 3600, 1
        )
        for gzip in (False, True)
    ]
    assert len(bodies[0]) > 100_000
    assert bodies[0] == bodies[1]


def test_a_long_query_needs_the_form(client: Client, real_prometheus: RealPrometheus) -> None:
    expr = " or ".join(f'steady{{pod="{"x" * 100}{i}"}}' for i in range(2000)) + ' or steady{pod="a"}'
    assert scan_answer(client.query(expr, real_prometheus.start_s + 60)).batch.series == 1


def test_refusals_in_its_own_words(client: Client, real_prometheus: RealPrometheus) -> None:
    start_s = real_prometheus.start_s
    with pytest.raises(SourceTooMuch, match="HTTP 400: exceeded maximum resolution of 11,000 points per timeseries"):
        client.query_range("steady", start_s, start_s + 11_001, 1)
    with pytest.raises(
        SourceRefused, match=r'HTTP 400: invalid parameter "query": 1:\d+: parse error: .*\. Check the expr'
    ) as caught:
        client.query("sum(", start_s)
    assert type(caught.value) is SourceRefused
    with pytest.raises(SourceRefused, match="HTTP 422: found duplicate series") as caught:
        client.query("steady * on() steady", start_s + 60)
    assert type(caught.value) is SourceRefused
    with pytest.raises(SourceRefused, match="Is the API under a prefix"):
        Client(f"{real_prometheus.url}/prefix", client.session).query("up", 0)


def test_discovery(client: Client) -> None:
    assert client.reachable()
    assert (
        client.build_info()["version"]
        == requests.get(f"{client.base_url}/api/v1/status/buildinfo", timeout=5).json()["data"]["version"]
    )
    assert client.metric_names() == ["gappy", "odd", "seldom", "steady"]
    assert client.label_names("steady") == ["__name__", "path", "pod"]
    assert client.metadata("steady") == ""  # backfilled: no target has declared it
    assert json.loads(client.fetch("labels", {"match[]": "odd"}))["data"] == ["__name__", "i", "snow"]
