"""Servers that do not offer remote read, or break it: range queries take over, once said and counted."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from naive import xor_chunks as naive

from exporter.errors import SourceUnavailable
from exporter.source.client import Client
from exporter.source.reader import Reader
from exporter.source.remote_read import external
from exporter.source.remote_read.streamed import FALLBACK, PATIENCE_S, RemoteRead

ClientOf = Callable[..., Client]
Serve = Callable[..., Any]
STEP_S = 60
END_S = 1_700_000_400
START_S = END_S - 9 * STEP_S

MEDIA_TYPE = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
FRAMES = b"".join(
    naive.frame(
        naive.series_message(
            {"__name__": "up", "job": job},
            [naive.encode([(t * 1000, naive.bits_of(t - START_S)) for t in range(START_S, END_S + 1, 60)])],
        )
    )
    for job in "ab"
)
RANGE_ANSWER = json.dumps(
    {
        "status": "success",
        "data": {
            "resultType": "matrix",
            "result": [
                {
                    "metric": {"__name__": "up", "job": job},
                    "values": [[t, str(t - START_S)] for t in range(START_S, END_S + 1, 60)],
                }
                for job in "ab"
            ],
        },
    },
    separators=(",", ":"),
).encode()
NO_EXTERNALS = json.dumps({"status": "success", "data": {"yaml": "global:\n  scrape_interval: 1m\n"}}).encode()


def whole(status: int, body: bytes, media_type: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n{more}\r\n".encode() + body


class Server:
    """Answers /read as told, the config and range queries as a Prometheus does."""

    def __init__(self, answer: bytes | Callable[[socket.socket], None], config: bytes = NO_EXTERNALS) -> None:
        self.answer = answer
        self.config = whole(200, config) if config else whole(404, b"")
        self.names = whole(200, b'{"status":"success","data":["__name__","job"]}')
        self.asked: list[str] = []

    def __call__(self, request: Any, connection: socket.socket) -> None:
        endpoint = request.path.removeprefix("/api/v1/")
        self.asked.append(endpoint)
        if endpoint == "read":
            if callable(self.answer):
                self.answer(connection)
            else:
                connection.sendall(self.answer)
        elif endpoint == "status/config":
            connection.sendall(self.config)
        elif endpoint == "labels":
            connection.sendall(self.names)
        else:
            connection.sendall(whole(200, RANGE_ANSWER))


STREAM = whole(200, FRAMES, MEDIA_TYPE)
CHUNKED_AND_CUT = (
    f"HTTP/1.1 200 OK\r\nContent-Type: {MEDIA_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    + f"{len(FRAMES):x}\r\n".encode() + FRAMES + b"\r\n"
)  # fmt: skip


def series_of(answers: list[Any]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for answer in answers:
        batch = answer.batch
        for i in range(batch.series):
            found[batch.label_bytes(i).decode()] = batch.value[batch.first[i] : batch.first[i + 1]].tolist()
    return found


EXPECTED = {f'{{"__name__":"up","job":"{job}"}}': [60.0 * i for i in range(10)] for job in "ab"}


def read(client: Client, **settings: Any) -> list[Any]:
    reader = Reader(client, "up", STEP_S, remote_read=True, **settings)
    return list(reader.range(START_S, END_S, 2))


def test_a_stream_is_read(serve: Serve, client_of: ClientOf) -> None:
    server = Server(STREAM)
    seen: list[tuple[str, int]] = []
    client = client_of(serve(server).url, observe=lambda *each: seen.append(each), tenant="team-a", params={"x": "1"})
    (answer,) = read(client)
    assert series_of([answer]) == EXPECTED
    assert answer.fast
    assert (answer.warnings, answer.batch.histograms) == ((), 0)
    assert server.asked == ["status/config", "read"]
    assert seen[-1] == ("ok", len(FRAMES))


def test_what_is_sent(serve: Serve, client_of: ClientOf) -> None:
    server = serve(Server(STREAM))
    read(client_of(server.url, tenant="team-a", params={"x": "1"}, accept_gzip=True))
    request = server.requests[-1]
    assert (request.method, request.url_form) == ("POST", {"x": "1"})
    sent = {name: request.headers[name] for name in ("content-encoding", "content-type", "accept-encoding",
                                                     "x-scope-orgid", "x-prometheus-remote-read-version")}  # fmt: skip
    assert sent == {
        "content-encoding": "snappy",
        "content-type": "application/x-protobuf",
        "accept-encoding": "identity",
        "x-scope-orgid": "team-a",
        "x-prometheus-remote-read-version": "0.1.0",
    }


FINAL = {
    "not there": (whole(404, b"page not found"), "HTTP 404"),
    "not allowed": (whole(405, b""), "HTTP 405"),
    "bad request": (whole(400, b"snappy: corrupt input"), "HTTP 400: snappy"),
    "forbidden": (whole(403, b""), "HTTP 403"),
    "samples instead of a stream": (whole(200, b"\x00", "application/x-protobuf"), "instead of a stream"),
    "JSON": (whole(200, b"{}"), "instead of a stream"),
    "packed": (whole(200, FRAMES, MEDIA_TYPE, "Content-Encoding: gzip\r\n"), "instead of a stream"),
    "wrong checksum": (whole(200, FRAMES[:4] + b"\x00" + FRAMES[5:], MEDIA_TYPE), "checksum"),
    "hostile length": (whole(200, b"\xff" * 30, MEDIA_TYPE), "length is no number"),
    "larger than allowed": (STREAM.replace(b"Content-Length", b"X") + FRAMES * 1000, "larger than source.max_body"),
    "declared larger than allowed": (whole(200, FRAMES * 1000, MEDIA_TYPE), "larger than source.max_body_bytes"),
}
PASSING = {
    "truncated": (whole(200, FRAMES[:-3], MEDIA_TYPE), "ended within a frame"),
    "cut off": (STREAM[:-3], "3 more expected"),
    "cut off between chunks": (CHUNKED_AND_CUT, "connection broke"),
    "overloaded": (whole(503, b"later"), "HTTP 503: later"),
    "nothing": (b"", "connection broke"),
}


@pytest.mark.parametrize("name", [*FINAL, *PASSING])
def test_range_queries_take_over(
    name: str, serve: Serve, client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    answer, words = (FINAL | PASSING)[name]
    server = Server(answer)
    outcomes: list[str] = []
    client = client_of(serve(server).url, observe=lambda outcome, _: outcomes.append(outcome), max_body_bytes=100_000)
    reader = Reader(client, "up", STEP_S, remote_read=True)
    with caplog.at_level(logging.WARNING):
        assert series_of(list(reader.range(START_S, END_S, 2))) == EXPECTED
        assert series_of(list(reader.range(START_S, END_S, 2))) == EXPECTED
    tries = 1 if name in FINAL else 2  # remembered, unless it may go better the next time
    assert outcomes.count(FALLBACK) == server.asked.count("read") == len(caplog.records) == tries
    assert words in caplog.records[0].error  # type: ignore[attr-defined]
    assert server.asked.count("query_range") == 2


def test_only_what_is_missing_is_read_another_way(serve: Serve, client_of: ClientOf) -> None:
    """Of the requests that a long span takes, the second one fails."""
    answers = [STREAM, whole(500, b"")]
    server = Server(lambda connection: connection.sendall(answers.pop(0)))
    spans: list[tuple[int, int]] = []
    remote = RemoteRead(client_of(serve(server).url), "up", STEP_S, max_points=8)

    def instead(start_s: int, end_s: int) -> Any:
        spans.append((start_s, end_s))
        return iter(())

    list(remote.range(START_S, END_S, 4, instead))
    assert spans == [(START_S + 2 * STEP_S, END_S)]  # the first request: 8 points of 4 series
    assert server.asked.count("read") == 2


@pytest.mark.parametrize(
    ("limits", "requests"),
    [({}, 2), ({"max_body_bytes": 4 * len(FRAMES)}, 4), ({"max_body_bytes": len(FRAMES)}, 8)],
)
def test_requests_grow_as_the_answers_allow(
    limits: dict[str, Any], requests: int, serve: Serve, client_of: ClientOf
) -> None:
    """10 columns of 4 series at 12 points: 3 at first; then up to 8 times as many, or as many, or a quarter."""
    server = Server(STREAM)
    remote = RemoteRead(client_of(serve(server).url, **limits), "up", STEP_S, max_points=12, clock=lambda: 0.0)
    answers = list(remote.range(START_S, END_S, 4, lambda low, high: pytest.fail("fell back")))
    assert server.asked.count("read") == requests
    assert sum(answer.batch.time_ms.size for answer in answers) == 20


def test_it_is_tried_again_after_a_while(serve: Serve, client_of: ClientOf) -> None:
    now_s = [1000.0]
    remote = RemoteRead(client_of(serve(Server(whole(404, b""))).url), "up", STEP_S, 1000, clock=lambda: now_s[0])
    assert remote.usable()
    list(remote.range(START_S, END_S, 2, lambda low, high: iter(())))
    assert not remote.usable()
    now_s[0] += PATIENCE_S
    assert remote.usable()


def test_an_expression_is_read_by_range_queries(serve: Serve, client_of: ClientOf) -> None:
    server = Server(STREAM)
    list(Reader(client_of(serve(server).url), "sum(up)", STEP_S, remote_read=True).range(START_S, END_S, 2))
    assert server.asked == ["query_range"]


def test_it_is_off_unless_wanted(serve: Serve, client_of: ClientOf) -> None:
    server = Server(STREAM)
    list(Reader(client_of(serve(server).url), "up", STEP_S).range(START_S, END_S, 2))
    assert server.asked == ["query_range"]


def test_a_stream_that_drips_ends_at_the_timeout(serve: Serve, client_of: ClientOf) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(STREAM[: -len(FRAMES)])
        for byte in FRAMES:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    server = Server(drip)
    assert series_of(read(client_of(serve(server).url, timeout_s=1.0))) == EXPECTED
    assert server.asked[-1] == "query_range"


def test_stopping_ends_a_stream_and_asks_nothing_more(serve: Serve, client_of: ClientOf) -> None:
    stop = threading.Event()

    def endless(connection: socket.socket) -> None:
        connection.sendall(STREAM[: -len(FRAMES)].replace(f"{len(FRAMES)}".encode(), b"1000000"))
        stop.set()
        for _ in range(1000):
            connection.sendall(FRAMES)
            time.sleep(0.01)

    server = Server(endless)
    with pytest.raises(SourceUnavailable, match="stops"):
        read(client_of(serve(server).url, stop=stop))
    assert server.asked[-1] == "read"


def test_an_iterator_that_is_dropped_gives_its_slot_back(serve: Serve, client_of: ClientOf) -> None:
    client = client_of(serve(Server(whole(200, FRAMES * 20_000, MEDIA_TYPE))).url, slots=threading.Semaphore(1))
    answers = Reader(client, "up", STEP_S, remote_read=True, max_points=10).range(START_S, END_S, 1)
    next(answers)
    assert not client.slots.acquire(blocking=False)
    answers.close()  # type: ignore[attr-defined]
    assert client.slots.acquire(blocking=False)


def test_without_a_config_the_names_of_the_query_api_decide(serve: Serve, client_of: ClientOf) -> None:
    """A proxy may hide the config; the label that only remote read shows is an external one."""
    labels = {"__name__": "up", "job": "a", "replica": "0"}
    message = naive.series_message(labels, [naive.encode([(END_S * 1000, naive.bits_of(7.0))])])
    server = Server(whole(200, naive.frame(message), MEDIA_TYPE), config=b"")
    assert series_of(read(client_of(serve(server).url))) == {'{"__name__":"up","job":"a"}': [7.0]}
    assert server.asked == ["status/config", "labels", "read"]


def test_without_a_name_there_is_no_series(serve: Serve, client_of: ClientOf) -> None:
    server = Server(STREAM, config=b"")
    server.names = whole(200, b'{"status":"success","data":[]}')
    assert read(client_of(serve(server).url)) == []
    assert server.asked == ["status/config", "labels"]


@pytest.mark.parametrize("names", [b"{}", b"[]", b"no", b'{"data":5}', b'{"data":null}'])
def test_names_that_can_not_be_read_are_a_reason_for_range_queries(
    names: bytes, serve: Serve, client_of: ClientOf
) -> None:
    server = Server(STREAM, config=b"")
    server.names = whole(200, names)
    assert series_of(read(client_of(serve(server).url))) == EXPECTED
    assert server.asked == ["status/config", "labels", "query_range"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("global:\n  scrape_interval: 1m\nrule_files: []\n", []),
        ("global:\n  external_labels:\n    a: x\n    b: 'y'\n  scrape_interval: 1m\nrule_files: []\n", ["a", "b"]),
        ("scrape_configs:\n- job_name: x\n  global:\n    external_labels: {c: d}\nglobal:\n  external_labels: {a: x}\n",
         ["a"]),
        ("global:\n", []),
        ("global:\n  external_labels:\n", []),
        ("", None),
        ("scrape_configs: []\n", None),
        ("global:\n  external_labels: [\n", None),
        ("global:\n  external_labels: 5\n", None),
        ("global:\n  - 5\n", None),
    ],
)  # fmt: skip
def test_external_labels_in_a_config(text: str, names: list[str] | None) -> None:
    assert external.external_labels(text) == (None if names is None else frozenset(names))


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data":5}', b'{"data":{"yaml":5}}', b"\xff"])
def test_a_config_that_can_not_be_read_is_none(body: bytes, serve: Serve, client_of: ClientOf) -> None:
    server = Server(STREAM, config=body or b" ")
    assert client_of(serve(server).url).config_text() == ""
