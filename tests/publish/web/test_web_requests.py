"""Requests of odd forms, one behind the other, with bodies of every kind: each is answered or refused, and ends."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import requests
from support.webserver import Served, everything, routes, served

CHUNKED = b"POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(("request_", "status"), [
    (b"GET /metrics HTTP/1.1\r\n\r\n", 400),  # no Host
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    (b"GET /metrics HTTP/2.0\r\nHost: x\r\n\r\n", 400),
    (b"GET /metrics\r\n\r\n", 400),
    (b"get /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
    (b"GET  /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET metrics HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /m\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\nConnection: close\r\n\r\n", 200),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\nHost: x\nConnection: close\n\n", 200),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nauthorization: a\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431),
    (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    (b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", 413),
    (b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
    (b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999999999\r\n\r\n", 400),
    (b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n12345", 400),
    (b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345", 400),
    (b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (CHUNKED + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", 403),
    (CHUNKED + b"5;a=b\r\nsmugg\r\n3\r\nled\r\n0\r\nX: y\r\n\r\n", 403),
    (CHUNKED + b"10000\r\n" + b"y" * 65_536 + b"\r\n0\r\n\r\n", 403),
    (CHUNKED + b"ff000\r\n" + b"y" * 70_000, 413),
    (CHUNKED + b"1\r\ny\r\n" * 70_000, 413),
    (CHUNKED + b"5\r\n1234567\r\n0\r\n\r\n", 400),
    (CHUNKED + b"-5\r\n12345\r\n0\r\n\r\n", 400),
    (CHUNKED + b"1;" + b"y" * 70_000, 431),
    (CHUNKED + b"0\r\nX: " + b"y" * 70_000, 431),
    (b"POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
    (b"GET http://elsewhere/-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
    (b"\r\nGET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
    (b"CONNECT /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
    (b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade, close\r\n\r\n", 200),
    (b"GET /-/healthy HTTP/1.0\r\n\r\n", 200),
    (b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n", 200),
    (b"GET /%2d/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
    (b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
])  # fmt: skip
def test_requests_of_odd_forms(shared: Served, request_: bytes, status: int) -> None:
    with shared.connected() as connection:
        connection.sendall(request_)
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    head = answer.partition(b"\r\n\r\n")[0]
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in head
    assert b"\r\nConnection: close" in head
    assert b"smuggled" not in answer


@pytest.fixture(scope="module")
def shared():
    with served() as web:
        yield web


def test_requests_one_behind_the_other_are_answered_in_turn(shared: Served) -> None:
    paths = [b"/-/healthy", b"/metrics", b"/nowhere", b"/-/ready"]
    with shared.connected() as connection:
        asked = [b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths[:-1]]
        last = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % paths[-1]
        connection.sendall(b"".join(asked) + last)
        answers = everything(connection).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"404", b"200"]


def test_a_large_body_is_announced_first(shared: Served) -> None:
    with shared.connected() as connection:
        connection.sendall(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"12345GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert [answer[:3] for answer in everything(connection).split(b"HTTP/1.1 ")[1:]] == [b"403", b"200"]


def test_a_body_in_chunks_does_not_become_the_next_request(shared: Served) -> None:
    body = b"1a\r\nGET /nonsense HTTP/1.1\r\n\r\n\r\n0\r\n\r\n"
    with shared.connected() as connection:
        connection.sendall(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert [answer[:3] for answer in everything(connection).split(b"HTTP/1.1 ")[1:]] == [b"403", b"200"]


def test_a_refusal_does_not_repeat_what_came(shared: Served) -> None:
    with shared.connected() as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization : Basic secret\r\n\r\n")
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\nThis is no HTTP/1.1 request: illegal header line.\n")


def test_a_client_that_goes_away_within_a_request_is_owed_nothing(shared: Served) -> None:
    for begun in (b"GET /metr", CHUNKED + b"5\r\n12"):
        with shared.connected() as connection:
            connection.sendall(begun)
            connection.shutdown(socket.SHUT_WR)
            assert everything(connection) == b""


def test_a_page_of_another_site_reloads_nothing() -> None:
    reloads: list[int] = []
    with served(replace(routes(), reload=lambda: reloads.append(1))) as web:
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            answer = requests.post(f"{web.url}/-/reload", headers={"Sec-Fetch-Site": site}, timeout=30)
            assert answer.status_code == status
        assert requests.post(f"{web.url}/-/reload", timeout=30).status_code == 200  # no browser
    assert len(reloads) == 3
