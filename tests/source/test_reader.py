from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

import pytest
from support.loopback import LoopbackServer, Request, always, http
from support.servers import wait_until

from exporter.errors import SourceRefused, SourceTooMuch, SourceUnavailable
from exporter.source.client import Client
from exporter.source.reader import Reader

Serve = Callable[..., LoopbackServer]
ClientOf = Callable[..., Client]


def answer(kind: str, result: object) -> bytes:
    body = {"status": "success", "data": {"resultType": kind, "result": result}}
    return http(200, json.dumps(body, separators=(",", ":")))


class Grid:
    """Answers range queries with one series whose value is its time; counts with ``series``."""

    def __init__(self, series: int = 1, most_points: int = 10**9) -> None:
        self.series, self.most_points = series, most_points
        self.lock = threading.Lock()
        self.now, self.most_at_once = 0, 0

    def __call__(self, request: Request, connection: socket.socket) -> None:
        with self.lock:
            self.now += 1
            self.most_at_once = max(self.most_at_once, self.now)
        data = self.answer(request.form)
        with self.lock:
            self.now -= 1  # before the client can know, so that its next query can't be counted beside this one
        connection.sendall(data)

    def answer(self, form: dict[str, str]) -> bytes:
        start, end, step = (int(float(form[name])) for name in ("start", "end", "step"))
        times = range(start, end + 1, step)
        if form["query"].startswith("count("):
            return answer("matrix", [{"metric": {}, "values": [[t, str(self.series)] for t in times]}])
        if len(times) > self.most_points:
            return http(422, "too many points, the maximum is less")
        return answer("matrix", [{"metric": {"a": "b"}, "values": [[t, str(t)] for t in times]}])


def times_of(reader: Reader, start_s: float, end_s: float, hint: int | None = 1) -> list[int]:
    return sorted(int(ms) // 1000 for one in reader.range(start_s, end_s, hint) for ms in one.batch.time_ms)


def test_a_span_is_read_in_chunks_that_cover_it_once(serve: Serve, client_of: ClientOf) -> None:
    server = serve(Grid())
    reader = Reader(client_of(server.url), "up", 60, max_points=70)
    assert times_of(reader, 59, 60 * 100 + 30, 7) == list(range(60, 6001, 60))
    assert len(server.requests) == 10
    assert {request.form["query"] for request in server.requests} == {"last_over_time(up[59999ms])"}


def test_expressions_are_asked_as_they_are(serve: Serve, client_of: ClientOf) -> None:
    server = serve(Grid())
    assert times_of(Reader(client_of(server.url), "sum(up)", 60), 0, 60) == [0, 60]
    assert server.requests[0].form["query"] == "sum(up)"


def test_an_empty_span_asks_nothing(serve: Serve, client_of: ClientOf) -> None:
    server = serve(Grid())
    assert list(Reader(client_of(server.url), "up", 60).range(61, 119)) == []
    assert server.requests == []


def test_without_a_hint_the_server_is_asked_for_the_number_of_series(serve: Serve, client_of: ClientOf) -> None:
    server = serve(Grid(series=10))
    assert times_of(Reader(client_of(server.url), "up", 60, max_points=100), 0, 60 * 19, None) == list(
        range(0, 1200, 60)
    )
    counted, *read = [request.form for request in server.requests]
    assert counted["query"] == "count(last_over_time(up[59999ms]))"
    assert (counted["start"], counted["end"], counted["step"]) == ("0.000", "1140.000", "120.000")
    assert len(read) == 2


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_queries_at_once_than_allowed(in_flight: int, serve: Serve, client_of: ClientOf) -> None:
    grid = Grid()
    reader = Reader(client_of(serve(grid).url), "up", 60, max_points=2, max_in_flight=in_flight)
    assert len(times_of(reader, 0, 60 * 59)) == 60
    assert 1 <= grid.most_at_once <= in_flight


def test_chunks_are_read_ahead_but_not_further(serve: Serve, client_of: ClientOf) -> None:
    server = serve(Grid())
    answers = Reader(client_of(server.url), "up", 60, max_points=1, max_in_flight=2).range(0, 60 * 49, 1)
    next(answers)
    wait_until(lambda: len(server.requests) >= 2, "the second chunk is asked for while the first is read")
    answers.close()  # type: ignore[attr-defined]
    assert len(server.requests) <= 3


def test_too_much_is_asked_for_in_halves_once(serve: Serve, client_of: ClientOf) -> None:
    server = serve(Grid(most_points=5))
    reader = Reader(client_of(server.url), "up", 60, max_points=10)
    assert times_of(reader, 0, 60 * 19) == list(range(0, 1200, 60))
    assert len(server.requests) == 6


def test_still_too_much_is_reported(serve: Serve, client_of: ClientOf) -> None:
    server = serve(Grid(most_points=4))
    with pytest.raises(
        SourceTooMuch, match=r"HTTP 422: too many points, the maximum is less\. Lower source.max_points"
    ):
        times_of(Reader(client_of(server.url), "up", 60, max_points=10), 0, 60 * 9)
    assert len(server.requests) == 2


def test_one_point_can_not_be_halved(serve: Serve, client_of: ClientOf) -> None:
    server = serve(Grid(most_points=0))
    with pytest.raises(SourceTooMuch):
        times_of(Reader(client_of(server.url), "up", 60), 60, 60)
    assert len(server.requests) == 1


def test_an_error_in_one_chunk_ends_the_read(serve: Serve, client_of: ClientOf) -> None:
    grid = Grid()

    def fail_late(request: Request, connection: socket.socket) -> None:
        connection.sendall(http(503, "busy") if float(request.form["start"]) > 300 else grid.answer(request.form))

    reader = Reader(client_of(serve(fail_late).url, retries=0), "up", 60, max_points=1, max_in_flight=2)
    with pytest.raises(SourceUnavailable, match="query_range: HTTP 503: busy"):
        times_of(reader, 0, 600)


def test_newest_of_a_plain_selector_asks_for_raw_samples(serve: Serve, client_of: ClientOf) -> None:
    values = [[1700000001.5, "1"], [1700000016.5, "2"]]
    server = serve(always(answer("matrix", [{"metric": {"a": "b"}, "values": values}])))
    batch = Reader(client_of(server.url), ' up{a="b"} ', 60).newest(1_700_000_030, 90.5).batch
    assert batch.time_ms.tolist() == [1_700_000_001_500, 1_700_000_016_500]
    assert server.requests[0].form["query"] == 'up{a="b"}[90500ms]'


def test_newest_of_an_expression_asks_for_its_value(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(answer("vector", [{"metric": {}, "value": [1700000030, "3"]}])))
    batch = Reader(client_of(server.url), "sum(up)", 60).newest(1_700_000_030, 90).batch
    assert batch.time_ms.tolist() == [1_700_000_030_000]
    assert server.requests[0].form["query"] == "sum(up)"


def test_a_comment_does_not_swallow_what_is_put_around(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(answer("matrix", [])))
    reader = Reader(client_of(server.url), "up # the targets", 60)
    reader.newest(0, 60)
    reader.count(0)
    assert [request.form["query"] for request in server.requests] == [
        "up # the targets\n[60000ms]",
        "count(last_over_time(up # the targets\n[59999ms])\n)",
    ]


def test_count_of_nothing_is_zero(serve: Serve, client_of: ClientOf) -> None:
    assert Reader(client_of(serve(always(answer("vector", []))).url), "up", 60).count(0) == 0


def test_a_scalar_counts_as_one_series(serve: Serve, client_of: ClientOf) -> None:
    def no_count_of_scalars(request: Request, connection: socket.socket) -> None:
        refuse = request.form["query"].startswith("count(")
        connection.sendall(http(400, "expected instant vector") if refuse else answer("scalar", [0, "1"]))

    reader = Reader(client_of(serve(no_count_of_scalars).url), "scalar(up)", 60)
    assert reader.count(0) == 1
    assert [one.batch.value.tolist() for one in reader.range(0, 0)] == [[1.0]]


def test_a_wrong_expression_is_reported_in_its_own_words(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(http(400, "parse error")))
    with pytest.raises(SourceRefused, match="parse error"):
        Reader(client_of(server.url), "sum(up", 60).count(0)
    assert server.requests[-1].form["query"] == "sum(up"


@pytest.mark.parametrize(("expr", "question"), [
    ("sum(a)", "(max(timestamp(a)) > 1700000000.500)"),
    ("a / b", "(max(timestamp(a)) > 1700000000.500) or (max(timestamp(b)) > 1700000000.500)"),
    ("a + rate(b[5m])", "(max(timestamp(a)) > 1700000000.500) or (max(timestamp(b)) > 1700000000.500)"),
])  # fmt: skip
def test_whether_a_value_repeats_is_one_question(expr: str, question: str, serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(answer("vector", [])))
    assert Reader(client_of(server.url), expr, 60).repeats(1_700_000_060, 1_700_000_000.5)
    assert [request.form["query"] for request in server.requests] == [question]
    newer = serve(always(answer("vector", [{"metric": {}, "value": [0, "1700000001"]}])))
    assert not Reader(client_of(newer.url), expr, 60).repeats(1_700_000_060, 1_700_000_000.5)


@pytest.mark.parametrize("expr", ["a", "sum(rate(a[5m]))", "vector(1)", "a default 0", "a offset 5m"])
def test_where_it_can_not_be_told_nothing_is_asked(expr: str, client_of: ClientOf) -> None:
    assert not Reader(client_of("http://127.0.0.1:9"), expr, 60).repeats(60, 0)
