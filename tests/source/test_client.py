from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest
import requests
from support.loopback import LoopbackServer, Request, always, http, in_turn

import exporter.source.faults
from exporter.config.schema import HttpConfig
from exporter.errors import SourceGarbled, SourceRefused, SourceTooMuch, SourceUnavailable
from exporter.retry_after import retry_after_s
from exporter.source.client import Client
from exporter.source.faults import REASONS, asks_for_less
from exporter.source.session import open_session

Serve = Callable[..., LoopbackServer]
ClientOf = Callable[..., Client]


def test_an_instant_query_is_a_posted_form(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(http(200, b"{}")))
    assert client_of(server.url + "/", params={"dedup": "true"}).query('up{a="b&c"}', 1_700_000_000.5) == b"{}"
    (request,) = server.requests
    assert (request.method, request.path, request.url_form) == ("POST", "/api/v1/query", {"dedup": "true"})
    assert request.form == {"query": 'up{a="b&c"}', "time": "1700000000.500", "timeout": "10.000"}
    assert request.headers["accept-encoding"] == "identity"
    assert "x-scope-orgid" not in request.headers


def test_a_range_query_spells_large_numbers_in_full(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(http(200, b"{}")))
    client_of(server.url).query_range("up", 1_700_000_100, 1_800_000_000, 1_234_567)
    (request,) = server.requests
    assert request.path == "/api/v1/query_range"
    span = {"start": "1700000100.000", "end": "1800000000.000", "step": "1234567.000"}
    assert request.form == {"query": "up", "timeout": "10.000", **span}


def test_the_tenant_goes_along_and_into_messages(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(http(400, "bad")))
    with pytest.raises(SourceRefused, match=r"/query \(tenant team-a\): HTTP 400: bad\."):
        client_of(server.url, tenant="team-a").query("up", 0)
    assert server.requests[0].headers["x-scope-orgid"] == "team-a"


def test_credentials_in_the_url_are_used_but_not_shown(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(http(403, "no")))
    with pytest.raises(SourceRefused) as caught:
        client_of(server.url.replace("//", "//user:secret@")).query("up", 0)
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith(f"{server.url}/api/v1/query: ")
    assert server.requests[0].headers["authorization"].startswith("Basic ")


def test_gzip_is_asked_for_when_wanted(serve: Serve, client_of: ClientOf) -> None:
    body = json.dumps(list(range(100_000))).encode()
    server = serve(always(http(200, gzip.compress(body), Content_Encoding="gzip")))
    assert client_of(server.url, accept_gzip=True).query("up", 0) == body
    assert server.requests[0].headers["accept-encoding"] == "gzip"


def test_long_bodies_arrive_whole_in_every_framing(serve: Serve, client_of: ClientOf) -> None:
    body = bytes(range(256)) * 20_000
    pieces = [body[at : at + 70_001] for at in range(0, len(body), 70_001)]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    framings = [
        http(200, body),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
        b"HTTP/1.0 200 OK\r\n\r\n" + body,
    ]
    for framing in framings:
        assert client_of(serve(always(framing)).url).query("up", 0) == body


def test_a_body_of_exactly_the_cap_passes(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(http(200, bytes(1000))))
    assert len(client_of(server.url, max_body_bytes=1000).query("up", 0)) == 1000
    with pytest.raises(SourceTooMuch):
        client_of(server.url, max_body_bytes=999).query("up", 0)


def test_connections_are_reused(client_of: ClientOf) -> None:
    answers = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one_connection() -> None:
            connection, _ = listener.accept()
            with connection:
                for _ in range(3):
                    connection.recv(65536)
                    connection.sendall(answers)

        thread = threading.Thread(target=serve_one_connection)
        thread.start()
        client = client_of(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert [client.fetch("query", {}) for _ in range(3)] == [b"{}"] * 3
        thread.join()


# --- retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_go_better_is_tried_again(status: int, serve: Serve, client_of: ClientOf) -> None:
    server = serve(in_turn(http(status), http(status), http(200, b"{}")))
    seen: list[tuple[str, int]] = []
    client = client_of(server.url, observe=lambda outcome, body_bytes: seen.append((outcome, body_bytes)))
    assert client.query("up", 0) == b"{}"
    reason = {408: "timeout", 429: "rate_limited"}.get(status, "server_error")
    assert seen == [(reason, 0), (reason, 0), ("ok", 2)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422])
def test_what_is_final_is_asked_once(status: int, serve: Serve, client_of: ClientOf) -> None:
    server = serve(in_turn(http(status), http(200, b"{}")))
    with pytest.raises(SourceRefused) as caught:
        client_of(server.url).query("up", 0)
    assert caught.value.status == status
    assert len(server.requests) == 1


def test_retry_after_is_waited_for(serve: Serve, client_of: ClientOf) -> None:
    server = serve(in_turn(http(503, Retry_After="1"), http(200, b"{}")))
    start_s = time.monotonic()
    assert client_of(server.url).query("up", 0) == b"{}"
    assert time.monotonic() - start_s >= 1.0  # a lower bound only: a slow machine can't break it


def test_retry_after_beyond_the_timeout_is_handed_on(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(http(429, Retry_After="120")))
    with pytest.raises(SourceUnavailable) as caught:
        client_of(server.url).query("up", 0)
    assert caught.value.retry_after_s == 120.0
    assert len(server.requests) == 1


def test_retry_after_as_a_date_or_nonsense() -> None:
    assert 50 < retry_after_s(formatdate(time.time() + 60, usegmt=True)) <= 61
    assert retry_after_s(formatdate(time.time() - 60, usegmt=True)) == 0.0
    assert retry_after_s("7") == 7.0
    for nonsense in ("", "soon", "-5", "1.5", "٣"):
        assert retry_after_s(nonsense) == 0.0


def test_stopping_ends_the_wait_between_attempts(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(http(503, Retry_After="5")))
    client = client_of(server.url)
    client.stop.set()
    with pytest.raises(SourceUnavailable, match="HTTP 503"):
        client.query("up", 0)
    assert len(server.requests) == 1


def test_stopping_ends_a_download(serve: Serve, client_of: ClientOf) -> None:
    stop = threading.Event()

    def stop_after_a_while(request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(10))
        stop.set()
        connection.sendall(bytes(10))
        connection.recv(1)

    with pytest.raises(SourceUnavailable, match="abandoned, because this program stops") as caught:
        client_of(serve(stop_after_a_while).url, stop=stop).query("up", 0)
    assert caught.value.reason == "stopped"


# --- POST or GET ------------------------------------------------------------------------------------------------------


def test_a_server_that_forbids_post_is_asked_by_get_from_then_on(serve: Serve, client_of: ClientOf) -> None:
    def get_only(request: Request, connection: socket.socket) -> None:
        connection.sendall(http(200, b"{}") if request.method == "GET" else http(405, "use GET", Allow="GET"))

    server = serve(get_only)
    client = client_of(server.url, params={"dedup": "true"})
    assert client.query("up", 5) == b"{}"
    assert client.query("up", 5) == b"{}"
    assert [request.method for request in server.requests] == ["POST", "GET", "GET"]
    form = {"query": "up", "time": "5.000", "timeout": "10.000", "dedup": "true"}
    assert server.requests[1].url_form == form


def test_405_on_get_too_is_final(serve: Serve, client_of: ClientOf) -> None:
    server = serve(always(http(405, "never")))
    with pytest.raises(SourceRefused, match="HTTP 405: never"):
        client_of(server.url).query("up", 0)
    assert [request.method for request in server.requests] == ["POST", "GET"]


@pytest.mark.parametrize("status", [301, 302])
def test_a_redirect_that_drops_the_form_is_repeated_as_get(status: int, serve: Serve, client_of: ClientOf) -> None:
    target = serve(lambda request, connection: connection.sendall(
        http(200, b"{}") if request.url_form.get("query") == "up" else http(400, "empty query")
    ))  # fmt: skip

    def redirect(request: Request, connection: socket.socket) -> None:
        form = "&".join(f"{name}={value}" for name, value in request.url_form.items())
        connection.sendall(http(status, Location=f"{target.url}{request.path}?{form}"))

    assert client_of(serve(redirect).url).query("up", 0) == b"{}"


def test_a_redirect_that_keeps_the_form_is_followed_as_post(serve: Serve, client_of: ClientOf) -> None:
    target = serve(always(http(200, b"{}")))
    server = serve(always(http(307, Location=f"{target.url}/api/v1/query")))
    assert client_of(server.url).query("up", 0) == b"{}"
    assert (target.requests[0].method, target.requests[0].form["query"]) == ("POST", "up")


# --- our own session --------------------------------------------------------------------------------------------------


def test_the_session_of_the_config_serves_queries_and_discovery_alike(serve: Serve) -> None:
    server = serve(by_path(query=http(200, b"{}"), values=http(200, '{"status":"success","data":["a"]}')))
    with open_session(HttpConfig(), user_agent="anomaly-exporter/test") as session:
        client = Client(server.url, session)
        assert client.metric_names() == ["a"]
        assert client.query("up", 0) == b"{}"
    assert {request.headers["user-agent"] for request in server.requests} == {"anomaly-exporter/test"}
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


def test_a_session_that_refuses_redirects_makes_them_an_error(serve: Serve) -> None:
    server = serve(always(http(301, Location="https://elsewhere.example/api/v1/query")))
    config = HttpConfig(follow_redirects=False)
    with open_session(config, user_agent="test") as session, pytest.raises(SourceRefused) as caught:
        Client(server.url, session).query("up", 0)
    assert str(caught.value) == (
        f"{server.url}/api/v1/query: HTTP 301 redirects to https://elsewhere.example/api/v1/query. "
        "Use that as source.url or allow follow_redirects."
    )


# --- words ------------------------------------------------------------------------------------------------------------


def test_every_reason_in_the_source_is_listed() -> None:
    files = Path(exporter.source.faults.__file__).parent.glob("*.py")
    used = {word for file in files for word in re.findall(r'reason="(\w+)"', file.read_text())}
    assert used <= set(REASONS)
    assert {"garbled", "too_much", "credentials"} <= used


@pytest.mark.parametrize("words", [
    "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
    "query processing would load too many samples into memory in query execution",
    "expanding series: the query hit the max number of series limit (limit: 3 series)",
    "the query hit the max number of chunks limit (limit: 2 chunks)",
    "the query time range exceeds the limit (query length: 24h0m0s, limit: 2h0m0s)",
    "too many points for the given start=1, end=2 and step=1000: 93601; the maximum number of points is 30000",
    "not enough memory for processing 1 data points across 2 time series",
    "the query exceeded the maximum number of bytes (err-mimir-max-chunks-bytes-per-query)",
    "the total query time range exceeds the limit (err-mimir-max-total-query-length)",
])  # fmt: skip
def test_refusals_that_ask_for_less(words: str) -> None:
    assert asks_for_less(words)


@pytest.mark.parametrize("words", [
    "",
    'invalid parameter "query": 1:3: parse error: ranges only allowed for vector selectors',
    'unknown function with name "max_samples_limit"',
    "found duplicate series for the match group; many-to-many matching not allowed: matching labels must be unique",
    'error when executing query="rate(series_limit_exceeded[5m])" for (time=1, step=300000): unsupported function',
    'invalid expression type "range vector" for range query, must be Scalar or instant Vector',
    "the request has been blocked by the cluster administrator (err-mimir-query-blocked)",
])  # fmt: skip
def test_refusals_for_other_reasons(words: str) -> None:
    assert not asks_for_less(words)


# --- discovery --------------------------------------------------------------------------------------------------------


def by_path(**answers: bytes) -> Callable[[Request, socket.socket], None]:
    """Answers by the last part of the path."""
    return lambda request, connection: connection.sendall(
        answers.get(request.path.rpartition("/")[2], http(404, "nothing here"))
    )


def test_metadata_is_the_declared_type(serve: Serve, client_of: ClientOf) -> None:
    entry = {"type": "counter", "help": "h", "unit": ""}
    data = {"a_total": [entry], "b": [entry, {**entry, "type": "gauge"}], "c_total": [entry]}
    server = serve(by_path(metadata=http(200, json.dumps({"status": "success", "data": data}))))
    client = client_of(server.url, tenant="t")
    assert client.metadata("a_total") == "counter"
    assert client.metadata("b") == ""
    assert client.metadata("unknown") == ""
    assert server.requests[0].url_form == {"metric": "a_total"}
    assert server.requests[0].headers["x-scope-orgid"] == "t"


def test_names_are_sorted(serve: Serve, client_of: ClientOf) -> None:
    names = http(200, '{"status":"success","data":["b","a"]}')
    client = client_of(serve(by_path(values=names, labels=names)).url)
    assert client.metric_names() == ["a", "b"]
    assert client.label_names('{a="b"}') == ["a", "b"]


def test_names_that_are_null_are_none(serve: Serve, client_of: ClientOf) -> None:
    null = http(200, '{"status":"success","data":null}')
    client = client_of(serve(by_path(values=null, labels=null)).url)
    assert client.label_values("user") == client.label_names("up") == client.metric_names() == []


@pytest.mark.parametrize("data", ['"abc"', '["a",null]', '{"a":1}', "7"])
def test_what_are_no_names_is_garbled(serve: Serve, client_of: ClientOf, data: str) -> None:
    client = client_of(serve(by_path(values=http(200, f'{{"status":"success","data":{data}}}'))).url)
    with pytest.raises(SourceGarbled, match="/label/user/values answered what is no list of names"):
        client.label_values("user")


def test_discovery_has_our_errors(serve: Serve, client_of: ClientOf) -> None:
    client = client_of(
        serve(by_path(metadata=http(200, "<html>"), values=http(200, "[]"), labels=http(503, "busy"))).url
    )
    with pytest.raises(SourceGarbled, match="answered what is not its API"):
        client.metadata("a")
    with pytest.raises(SourceGarbled, match="answered what is not its API"):
        client.metric_names()
    with pytest.raises(SourceUnavailable, match="/labels: HTTP 503: busy"):
        client.label_names("a")
    with pytest.raises(SourceRefused) as caught:
        client_of("127.0.0.1:1").metric_names()
    assert caught.value.reason == "url"


def test_discovery_leaves_no_retrying_adapter_on_the_session(serve: Serve, session: requests.Session) -> None:
    server = serve(by_path(metadata=http(503, "busy"), query=http(503, "busy")))
    client = Client(server.url, session, retries=0)
    for ask in (lambda: client.metadata("a"), lambda: client.query("a", 0)):
        with pytest.raises(SourceUnavailable, match="HTTP 503: busy"):
            ask()
    assert len(server.requests) == 2


def test_build_info_where_there_is_one(serve: Serve, client_of: ClientOf) -> None:
    info = http(200, '{"status":"success","data":{"version":"2.42.0","revision":"x"}}')
    server = serve(by_path(buildinfo=info))
    assert client_of(server.url).build_info() == {"version": "2.42.0", "revision": "x"}
    assert server.requests[0].method == "GET"
    for other in (by_path(), by_path(buildinfo=http(200, "[]")), by_path(buildinfo=http(200, "<html>"))):
        assert client_of(serve(other).url).build_info() == {}


def test_reachable_means_that_the_query_api_answers(serve: Serve, client_of: ClientOf) -> None:
    assert client_of(serve(by_path(query=http(200, b"{}"))).url).reachable()
    client = client_of(serve(by_path()).url)
    assert not client.reachable()
    with pytest.raises(SourceRefused, match="Is the API under a prefix"):
        client.probe()


def test_no_more_requests_are_under_way_than_there_are_slots(serve: Serve, client_of: ClientOf) -> None:
    lock, under_way, most, release = threading.Lock(), 0, 0, threading.Event()

    def respond(request: Request, connection: socket.socket) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
            if under_way == 2:
                threading.Timer(0.3, release.set).start()  # time for a third one, if it were let through
        release.wait(10)
        with lock:
            under_way -= 1
        connection.sendall(http(200, "{}"))

    client = client_of(serve(respond).url, slots=threading.Semaphore(2))
    threads = [threading.Thread(target=client.query, args=("up", 0)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == 2
