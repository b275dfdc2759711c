"""exporter.publish.web over real connections on the loopback interface."""

from __future__ import annotations

import gzip
import http.client
import logging
import socket
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import pytest
import requests

from exporter.errors import ConfigError, Problem, PublishError
from exporter.publish.exposition import Plain
from exporter.publish.lines import WHOLE, Shard
from exporter.publish.web import Landing, Routes, WebServer, wants_openmetrics

BIG = [b"".join(b'big{row="%d",of="%d"} 1\n' % (row, piece) for row in range(20_000)) for piece in range(3)]
PROMETHEUS_2_ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@dataclass
class Exporter:
    """Stands behind the routes; tests turn its knobs."""

    pieces: list[bytes] = field(default_factory=lambda: [b"a 1\n", b"b 2\n"])
    ready: tuple[bool, str] = (True, "ready")
    reload_problem: ConfigError | None = None
    reloads: int = 0
    broken: bool = False
    shard: Shard = WHOLE

    def metrics(self, openmetrics: bool, shard: Shard) -> list[Plain]:
        if self.broken:
            raise RuntimeError("a bug")
        self.shard = shard
        return [Plain(text) for text in ([*self.pieces, b"# EOF\n"] if openmetrics else self.pieces)]

    def reload(self) -> None:
        if self.reload_problem:
            raise self.reload_problem
        self.reloads += 1

    def routes(self, *, lifecycle: bool = True) -> Routes:
        return Routes(
            metrics=self.metrics,
            ready=lambda: self.ready,
            reload=self.reload if lifecycle else None,
            config_text=lambda: "password: <secret>",
            landing=lambda: Landing("1.2.3", [], [], []),
        )


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Exporter, WebServer]]:
    """One server for all tests that do not stop it: stopping takes half a second."""
    exporter = Exporter()
    server = WebServer("127.0.0.1:0", exporter.routes())
    server.start()
    yield exporter, server
    server.stop()


@pytest.fixture
def exporter(shared: tuple[Exporter, WebServer]) -> Exporter:
    fresh, served = Exporter(), shared[0]
    for knob in fields(Exporter):
        setattr(served, knob.name, getattr(fresh, knob.name))
    return served


@pytest.fixture
def server(shared: tuple[Exporter, WebServer], exporter: Exporter) -> WebServer:
    return shared[1]


def ask(server: WebServer, path: str, method: str = "GET", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, f"http://127.0.0.1:{server.port}{path}", headers=named, timeout=10)


def raw_exchange(server: WebServer, request: bytes) -> bytes:
    """Everything the server says to these bytes until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


# --- the result page ----------------------------------------------------------------------------------------------


def test_metrics_in_the_text_format(server: WebServer) -> None:
    answer = ask(server, "/metrics", Accept_Encoding="identity")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Content-Length"] == "8"
    assert answer.content == b"a 1\nb 2\n"


def test_metrics_as_openmetrics_on_request(server: WebServer) -> None:
    answer = ask(server, "/metrics", Accept=PROMETHEUS_2_ACCEPT)
    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.content.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (PROMETHEUS_2_ACCEPT, True),
        (PROMETHEUS_3_ACCEPT, True),
        ("application/openmetrics-text", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("Application/OpenMetrics-Text;Version=1.0.0", True),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nonsense", False),
        ("application/openmetrics-text;q=0.4,text/plain;q=0.5", False),
        ("application/openmetrics-text;q=0.5,text/*;q=0.5", True),
        ("application/vnd.google.protobuf;encoding=delimited;q=0.9,application/openmetrics-text;q=0.5", True),
        (";;,,q=1,=;", False),
    ],
)
def test_what_an_accept_header_asks_for(accept: str, openmetrics: bool) -> None:
    assert wants_openmetrics(accept) is openmetrics


@pytest.mark.parametrize("encodings", ["gzip", "gzip, deflate, br", "br;q=1, gzip;q=0.5", "*", "GZIP"])
def test_large_pages_are_zipped_on_request(server: WebServer, exporter: Exporter, encodings: str) -> None:
    exporter.pieces = BIG
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/metrics", headers={"Accept-Encoding": encodings})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.getheader("Content-Encoding") == "gzip"
    assert "Accept-Encoding" in answer.headers.get_all("Vary")[0]
    assert gzip.decompress(body) == b"".join(BIG)
    assert len(body) < len(b"".join(BIG)) / 4


@pytest.mark.parametrize("encodings", ["", "identity", "gzip;q=0", "br", "*;q=0", "gzip;q=0, *;q=1"])
def test_pages_are_not_zipped_unasked(server: WebServer, exporter: Exporter, encodings: str) -> None:
    exporter.pieces = BIG
    answer = ask(server, "/metrics", Accept_Encoding=encodings)
    assert "Content-Encoding" not in answer.headers
    assert answer.content == b"".join(BIG)


def test_small_pages_are_not_zipped(server: WebServer) -> None:
    assert "Content-Encoding" not in ask(server, "/-/healthy", Accept_Encoding="gzip").headers


def test_the_oldest_clients_get_the_page_too(server: WebServer, exporter: Exporter) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection is the end of the page."""
    exporter.pieces = BIG
    request = b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n"
    head, _, body = raw_exchange(server, request).partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert zlib.decompress(body, 31) == b"".join(BIG)


def test_a_connection_serves_many_scrapes(server: WebServer, exporter: Exporter) -> None:
    exporter.pieces = BIG
    with requests.Session() as session:
        url = f"http://127.0.0.1:{server.port}/metrics"
        bodies = {session.get(url, timeout=10).content for _ in range(3)}
        assert session.head(url, timeout=10).content == b""
        bodies.add(session.get(url, timeout=10).content)
    assert bodies == {b"".join(BIG)}


# --- the other endpoints ------------------------------------------------------------------------------------------


def test_healthy(server: WebServer) -> None:
    assert ask(server, "/-/healthy").status_code == 200


def test_ready_says_why_not(server: WebServer, exporter: Exporter) -> None:
    exporter.ready = (False, "waiting for the first verdicts of 2 of 3 queries")
    answer = ask(server, "/-/ready")
    assert (answer.status_code, answer.text) == (503, "waiting for the first verdicts of 2 of 3 queries\n")
    exporter.ready = (True, "ready")
    assert ask(server, "/-/ready").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_reload(server: WebServer, exporter: Exporter, method: str) -> None:
    answer = ask(server, "/-/reload", method)
    assert answer.status_code == 200
    assert exporter.reloads == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_reading_reload_changes_nothing(server: WebServer, exporter: Exporter, method: str) -> None:
    answer = ask(server, "/-/reload", method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST, PUT"
    assert exporter.reloads == 0


def test_a_failed_reload_shows_every_problem(server: WebServer, exporter: Exporter) -> None:
    problems = (Problem(3, "queries[0].name", "must be unique", "cpu"), Problem(9, "source.url", "missing"))
    exporter.reload_problem = ConfigError("a.yml", problems)
    answer = ask(server, "/-/reload", "POST")
    assert answer.status_code == 500
    assert "a.yml:3: queries[0].name: must be unique, got `cpu`\na.yml:9: source.url: missing\n" in answer.text


def test_reload_is_off_without_the_lifecycle_flag(exporter: Exporter) -> None:
    server = WebServer("127.0.0.1:0", exporter.routes(lifecycle=False))
    server.start()
    answer = ask(server, "/-/reload", "POST")
    server.stop()
    assert answer.status_code == 403
    assert "--web.enable-lifecycle" in answer.text


def test_a_body_sent_along_does_not_become_the_next_request(server: WebServer, exporter: Exporter) -> None:
    with requests.Session() as session:
        base = f"http://127.0.0.1:{server.port}"
        smuggled = b"GET /nonsense HTTP/1.1\r\n\r\n" * 5
        assert session.post(base + "/-/reload", data=smuggled, timeout=10).status_code == 200
        assert session.get(base + "/-/healthy", timeout=10).status_code == 200
    assert exporter.reloads == 1


def test_config_is_shown_as_text(server: WebServer) -> None:
    answer = ask(server, "/config")
    assert answer.text == "password: <secret>\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_the_page_for_people_lets_nothing_in(server: WebServer) -> None:
    answer = ask(server, "/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "1.2.3" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/", "/metrics", "/config", "/nowhere", "/-/reload"])
def test_every_answer_carries_the_safety_headers(server: WebServer, path: str) -> None:
    headers = ask(server, path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "anomaly-exporter"


@pytest.mark.parametrize("path", ["/metrics/", "/metricsx", "/-/", "/../metrics", "/%2e%2e/config", "/x?y"])
def test_unknown_paths_are_404(server: WebServer, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    assert b" 404 Not Found\r\n" in raw_exchange(server, request).split(b"\r\n\r\n")[0] + b"\r\n"


@pytest.mark.parametrize(
    ("query", "shard"),
    [
        ("", WHOLE),
        ("?x=1", WHOLE),
        ("?shard=2/3", Shard(2, 3)),
        ("?shard=1%2F1", WHOLE),
        ("?a=b&shard=1000/1000", Shard(1000, 1000)),
    ],
)
def test_a_share_of_the_page(server: WebServer, exporter: Exporter, query: str, shard: Shard) -> None:
    assert ask(server, f"/metrics{query}").status_code == 200
    assert exporter.shard == shard


@pytest.mark.parametrize(
    "shard",
    ["", "1", "0/3", "4/3", "-1/3", "1/0", "1/1001", "a/b", "1/3/5", "1/3&shard=2/3", "1/3%00", "%D9%A1/2", "9" * 99],
)
def test_no_share_of_the_page(server: WebServer, exporter: Exporter, shard: str) -> None:
    answer = ask(server, f"/metrics?shard={shard}")
    assert answer.status_code == 400
    assert "i/n" in answer.text


def test_a_query_string_does_not_matter(server: WebServer) -> None:
    assert ask(server, "/metrics?name[]=up&x=%00").status_code == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/config", "/-/healthy", "/-/ready"])
def test_head_answers_like_get_without_a_body(server: WebServer, path: str) -> None:
    head, get = (ask(server, path, method, Accept_Encoding="identity") for method in ("HEAD", "GET"))
    assert head.status_code == get.status_code
    assert head.content == b""
    for name in ("Content-Type", "Content-Length"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(("target", "status"), [("/", 200), ("/nowhere", 404), ("/-/reload", 405), ("nowhere", 400)])
def test_no_answer_to_head_has_a_body(server: WebServer, target: str, status: int) -> None:
    request = f"HEAD {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    head, _, body = raw_exchange(server, request).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nContent-Length: " in head
    assert body == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_writing_to_the_page_is_refused(server: WebServer, method: str) -> None:
    answer = ask(server, "/metrics", method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"


# --- rough weather ------------------------------------------------------------------------------------------------


def test_a_bug_is_a_500_without_a_traceback_and_the_next_request_works(
    server: WebServer, exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.broken = True
    with caplog.at_level(logging.INFO):
        answer = ask(server, "/metrics")
    assert answer.status_code == 500
    assert "a bug" not in answer.text
    assert "a bug" in caplog.text
    exporter.broken = False
    assert ask(server, "/metrics").status_code == 200


def test_huge_headers_are_refused(server: WebServer) -> None:
    assert ask(server, "/metrics", X_Large="x" * 30_000).status_code == 431


def test_a_huge_request_line_is_refused(server: WebServer) -> None:
    assert ask(server, "/metrics?" + "x" * 30_000).status_code == 431


def test_a_huge_body_is_refused(server: WebServer, exporter: Exporter) -> None:
    request = b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
    assert raw_exchange(server, request).startswith(b"HTTP/1.1 413 ")
    assert exporter.reloads == 0


NOISE = [b"\r\n\r\n", b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET  HTTP/1.1\r\n\r\n", b""]
BAD_ADDRESSES = ["", "9899", "localhost", ":", ":x", ":65536", "::1:9899", "[::1]", "http://a:1", ":-1"]


@pytest.mark.parametrize("noise", NOISE)
def test_noise_does_no_harm(server: WebServer, noise: bytes) -> None:
    raw_exchange(server, noise)
    assert ask(server, "/-/healthy").status_code == 200


def test_a_client_that_goes_away_does_no_harm(server: WebServer, exporter: Exporter) -> None:
    exporter.pieces = BIG * 10
    for _ in range(12):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(100)
        connection.close()
    assert ask(server, "/-/healthy").status_code == 200


def test_idle_connections_do_not_keep_scrapes_out(server: WebServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(30)]
    assert ask(server, "/metrics").status_code == 200
    for connection in idle:
        connection.close()


def test_scrapes_run_side_by_side(server: WebServer, exporter: Exporter) -> None:
    """Two answers can only be given when both requests are in the exporter's hands at once."""
    meeting = threading.Barrier(2, timeout=20)

    def metrics(openmetrics: bool, shard: Shard) -> list[Plain]:
        meeting.wait()
        return [Plain(b"x 1\n")]

    both = WebServer("127.0.0.1:0", Routes(metrics, lambda: (True, ""), None, str, lambda: Landing("", [], [], [])))
    both.start()
    answers: list[int] = []

    def scrape(number: int) -> None:  # equal ones would share one answer
        answers.append(ask(both, f"/metrics?{number}").status_code)

    threads = [threading.Thread(target=scrape, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both.stop()
    assert answers == [200, 200]


# --- listening ----------------------------------------------------------------------------------------------------


def test_all_interfaces_in_both_families(exporter: Exporter) -> None:
    server = WebServer(":0", exporter.routes())
    server.start()
    hosts = ["127.0.0.1", "[::1]"] if socket.has_ipv6 and _has_loopback6() else ["127.0.0.1"]
    statuses = [requests.get(f"http://{host}:{server.port}/-/healthy", timeout=10).status_code for host in hosts]
    server.stop()
    assert set(statuses) == {200}


def test_ipv6(exporter: Exporter) -> None:
    if not _has_loopback6():
        pytest.skip("this machine has no IPv6 loopback")
    server = WebServer("[::1]:0", exporter.routes())
    server.start()
    assert requests.get(f"http://[::1]:{server.port}/-/healthy", timeout=10).status_code == 200
    server.stop()


def _has_loopback6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_port_in_use_is_said_plainly(server: WebServer, exporter: Exporter) -> None:
    for address in (f"127.0.0.1:{server.port}", f"localhost:{server.port}"):
        with pytest.raises(PublishError, match=rf"can't listen on {address}: another process listens there"):
            WebServer(address, exporter.routes()).start()
    assert ask(server, "/-/healthy").status_code == 200


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid", "a..b"])
def test_a_foreign_address_is_said_plainly(exporter: Exporter, host: str) -> None:
    with pytest.raises(PublishError, match=r"choose an address of this machine with --web\.listen-address"):
        WebServer(f"{host}:0", exporter.routes()).start()


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_a_malformed_address_is_said_plainly(exporter: Exporter, address: str) -> None:
    with pytest.raises(PublishError, match="is no listen address; allowed: host:port"):
        WebServer(address, exporter.routes())


def test_stop_frees_the_port_and_may_be_called_at_any_time(exporter: Exporter) -> None:
    server = WebServer("127.0.0.1:0", exporter.routes())
    server.stop()
    assert server.port == 0
    server.start()
    port = server.port
    assert ask(server, "/-/healthy").status_code == 200
    server.stop()
    server.stop()
    again = WebServer(f"127.0.0.1:{port}", exporter.routes())
    again.start()
    assert ask(again, "/-/healthy").status_code == 200
    again.stop()


def test_stop_does_not_wait_for_stuck_clients(exporter: Exporter) -> None:
    """One never finishes its request, one never reads its answer, many say nothing; none holds a thread for good."""
    exporter.pieces = BIG * 20
    before = set(threading.enumerate())
    server = WebServer("127.0.0.1:0", exporter.routes())
    server.start()
    stuck = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(20)]
    stuck[0].sendall(b"GET /metrics HT")
    stuck[1].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert stuck[1].recv(10) == b"HTTP/1.1 2"
    server.stop()
    assert all(thread.daemon for thread in set(threading.enumerate()) - before)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(stuck[0].getpeername(), timeout=10)
    for connection in stuck:
        connection.close()


def test_no_thread_is_left_after_stop(exporter: Exporter) -> None:
    before = set(threading.enumerate())
    server = WebServer("127.0.0.1:0", exporter.routes())
    server.start()
    ask(server, "/metrics")
    server.stop()
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(5)
    assert not [thread for thread in left if thread.is_alive()]
