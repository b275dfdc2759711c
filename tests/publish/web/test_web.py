"""exporter.publish.web over real connections on the loopback interface: the result page and the other endpoints."""

from __future__ import annotations

import gzip
import http.client
import zlib

import pytest
import requests
from support.backdrop import BIG, Exporter, ask, raw_exchange

from exporter.errors import ConfigError, Problem
from exporter.publish.lines import WHOLE, Shard
from exporter.publish.web import WebServer, wants_openmetrics

PROMETHEUS_2_ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


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
