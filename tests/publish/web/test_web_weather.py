"""Rough clients: scrape storms, a byte a second, answers that nobody fetches, too many connections."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress

import requests
from support.servers import wait_until
from support.webserver import PAGE, Served, everything, routes, served

from exporter.publish.exposition import Piece, Plain
from exporter.publish.lines import Shard
from exporter.publish.packing import Packed, pack
from exporter.publish.web import Answered, WebLimits

ASK = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
ASK_ZIPPED = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
STORM = 500
READ_S = 2.0  # for a request to come: a client that is to be in time may be held up by a busy machine
LARGE = b"".join(b'large{row="%d",salt="%x"} %d\n' % (row, row * 0x9E3779B97F4A7C15, row) for row in range(120_000))


class Shared:
    """A piece of the page that is packed once, as that of a unit is; counts how often it was asked for."""

    def __init__(self, text: bytes) -> None:
        self.text_ = text
        self.packed_ = pack([text])
        self.asked = 0

    def written(self):
        yield self.text_

    def packed(self) -> Packed:
        self.asked += 1
        return self.packed_


async def _scrape(port: int, started: asyncio.Event) -> int:
    """The checksum of the answer behind its head; a client that keeps nothing of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=16_384)
    await started.wait()
    writer.write(ASK_ZIPPED)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    checksum = 0
    while text := await asyncio.wait_for(reader.read(65_536), 120):
        checksum = zlib.crc32(text, checksum)
    writer.close()
    return checksum


async def _storm(port: int) -> set[int]:
    """Everybody connects, then everybody asks."""
    started = asyncio.Event()
    scrapes = [asyncio.ensure_future(_scrape(port, started)) for _ in range(STORM)]
    await asyncio.sleep(0)
    started.set()
    return set(await asyncio.gather(*scrapes))


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_storm_of_scrapes_is_answered_and_memory_stays_bounded() -> None:
    piece, made = Shared(LARGE), []

    def metrics(openmetrics: bool, shard: Shard) -> Sequence[Piece]:
        made.append(time.monotonic())
        return [piece, Plain(PAGE)]

    with served(routes(metrics)) as web:
        assert web.get().content == LARGE + PAGE
        alone = asyncio.run(_one(web.port))
        before, peak, done = _resident_bytes(), [0], threading.Event()
        made.clear()
        watching = threading.Thread(target=_watch, args=(peak, done))
        watching.start()
        try:
            assert asyncio.run(_storm(web.port)) == {alone}  # one page, the same to the bit for all
        finally:
            done.set()
            watching.join()
        assert web.refused("connection_limit") == 0
        assert len(made) < STORM  # who waits at the same time shares one rendering
    assert len(piece.packed_.data) > 2**20
    # A page for each would be a gigabyte; the clients, in this same process, take part of what is allowed.
    assert peak[0] - before < STORM * len(piece.packed_.data) / 2


def _watch(peak: list[int], done: threading.Event) -> None:
    while not done.wait(0.02):
        peak[0] = max(peak[0], _resident_bytes())


async def _one(port: int) -> int:
    started = asyncio.Event()
    started.set()
    return await _scrape(port, started)


# --- slow clients -------------------------------------------------------------------------------------------------


def _drip(connections: list[socket.socket], stop: threading.Event) -> None:
    """A byte of an endless head now and then, on all of them."""
    while not stop.wait(0.1):
        for connection in connections:
            with suppress(OSError):
                connection.sendall(b"x")


def test_clients_that_send_a_byte_at_a_time_block_nobody() -> None:
    with served() as web:
        slow = [web.connected() for _ in range(200)]
        for connection in slow:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        stop = threading.Event()
        dripping = threading.Thread(target=_drip, args=(slow, stop))
        dripping.start()
        try:
            for _ in range(20):
                assert web.get().content == PAGE
            assert web.count("connections") >= 200
        finally:
            stop.set()
            dripping.join()
            for connection in slow:
                connection.close()


def test_a_request_that_takes_too_long_is_ended_also_when_bytes_keep_coming() -> None:
    with served(limits=WebLimits(read_timeout_s=READ_S)) as web, web.connected() as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        stop = threading.Event()
        dripping = threading.Thread(target=_drip, args=([slow], stop))
        dripping.start()
        answer = everything(slow)
        stop.set()
        dripping.join()
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert web.refused("timeout") == 1


def test_an_idle_connection_ends_without_a_word() -> None:
    with served(limits=WebLimits(read_timeout_s=READ_S)) as web, web.connected() as idle, web.connected() as used:
        used.sendall(ASK)
        assert everything(used).endswith(PAGE)
        assert everything(idle) == b""
        assert web.refused("timeout") == 0


def test_a_body_that_never_comes_holds_no_thread() -> None:
    with served(limits=WebLimits(read_timeout_s=READ_S)) as web:
        slow = []
        for _ in range(20):
            slow.append(web.connected())
            slow[-1].sendall(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        assert web.get().content == PAGE
        assert all(everything(connection).startswith(b"HTTP/1.1 408 ") for connection in slow)


def test_answers_that_nobody_fetches_block_nobody_and_end() -> None:
    def metrics(openmetrics: bool, shard: Shard) -> Sequence[Piece]:
        return [Plain(LARGE * 4)]

    with served(routes(metrics), limits=WebLimits(send_timeout_s=2.0, stop_patience_s=0.1)) as web:
        deaf = [web.connected() for _ in range(40)]
        for connection in deaf:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(ASK)
        for _ in range(5):
            assert web.get("/-/healthy").status_code == 200
        wait_until(lambda: web.refused("timeout") == len(deaf), "the answers are given up")
        wait_until(lambda: web.count("connections") == 0, "their connections are closed")
        for connection in deaf:
            connection.close()


# --- the limit ----------------------------------------------------------------------------------------------------


def test_at_the_limit_the_hopeless_make_room() -> None:
    with served(limits=WebLimits(max_connections=10)) as web:
        good = web.connected()  # a scraper that comes again on its connection
        assert _asked(good) == PAGE
        silent = [web.connected() for _ in range(30)]
        wait_until(lambda: web.refused("connection_limit") >= 20, "connections made room")
        assert web.count("connections") <= 10
        assert web.count("max_connections") == 10
        for _ in range(5):
            assert web.get().content == PAGE
        assert _asked(good) == PAGE  # whoever had an answer goes last
        for connection in [good, *silent]:
            connection.close()


def _asked(connection: socket.socket) -> bytes:
    """The page, all of it, on a connection that stays open."""
    connection.sendall(ASK)
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 200
    return answer.read()


def test_answers_under_way_do_not_make_room() -> None:
    go, busy = threading.Event(), threading.Semaphore(0)

    def explain(query: str) -> Answered:
        busy.release()
        assert go.wait(60)
        return Answered(200, "text/plain", b"told")

    with served(routes(explain=explain), limits=WebLimits(max_connections=2)) as web:
        asking = [web.connected() for _ in range(2)]
        for connection in asking:
            connection.sendall(b"GET /explain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert busy.acquire(timeout=30)
        with web.connected() as third:
            assert everything(third) == b""
        go.set()
        assert all(everything(connection).endswith(b"told") for connection in asking)


def test_answers_that_nobody_fetches_make_room() -> None:
    limits = WebLimits(max_connections=3, send_patience_s=0.2, stop_patience_s=0.1)
    with served(routes(lambda openmetrics, shard: [Plain(LARGE * 8)]), limits=limits) as web:
        deaf = [web.connected() for _ in range(3)]
        for connection in deaf:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(ASK)
        wait_until(lambda: _tried(web) == 200, "one of them is given up for somebody else")
        assert web.refused("connection_limit") > 0
        for connection in deaf:
            connection.close()


def _tried(web: Served) -> int:
    try:
        return web.get("/-/healthy").status_code
    except requests.ConnectionError:
        return 0


def test_a_client_that_opens_and_closes_leaves_nothing() -> None:
    with served() as web:
        for _ in range(300):
            web.connected().close()
        wait_until(lambda: web.count("connections") == 0, "all are gone")
        assert web.get().content == PAGE


# --- slow endpoints -----------------------------------------------------------------------------------------------


def test_explanations_that_hang_keep_no_scrape_waiting() -> None:
    go = threading.Event()

    def explain(query: str) -> Answered:
        assert go.wait(60)
        return Answered(200, "text/plain", b"told")

    with served(routes(explain=explain)) as web:
        asking = [web.connected() for _ in range(60)]
        for connection in asking:
            connection.sendall(b"GET /explain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for path in ("/metrics", "/", "/config", "/-/healthy"):
            assert web.get(path).status_code == 200
        go.set()
        assert all(everything(connection).endswith(b"told") for connection in asking)


def test_a_page_that_breaks_while_it_is_sent_is_seen_to_be_broken() -> None:
    class Breaks:
        text = None

        def written(self):
            yield b"a 1\n" * 40_000
            raise RuntimeError("half way")

        def packed(self) -> Packed:
            raise RuntimeError("half way")

    with served(routes(lambda openmetrics, shard: [Breaks()])) as web:
        with web.connected() as connection:
            connection.sendall(ASK)
            answer = everything(connection)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert not answer.endswith(b"0\r\n\r\n")  # the last chunk is missing, so nobody takes half a page for a whole
        assert web.get("/-/healthy").status_code == 200
