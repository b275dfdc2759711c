"""Where the web server listens, what it says when it can not, how it stops, and clients that make noise."""

from __future__ import annotations

import logging
import socket
import threading

import pytest
import requests
from support.backdrop import BIG, Exporter, ask, raw_exchange

from exporter.errors import PublishError
from exporter.publish.exposition import Plain
from exporter.publish.lines import Shard
from exporter.publish.web import Landing, Routes, WebServer

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
        thread.join(60)
    assert not [thread for thread in left if thread.is_alive()]
