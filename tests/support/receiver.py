"""A remote write receiver that takes, refuses or ill-treats what it gets, and judges order as Prometheus does."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cramjam
from naive.remote_write import Written, decode, decode_2


@dataclass(frozen=True)
class Posted:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    samples: list[Written]


@dataclass(frozen=True)
class Reply:
    """What to answer."""

    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Way:
    """Ways that are no answer."""

    RESET = "reset"
    SILENT = "silent"


Respond = Callable[[Posted], Reply | str]


def accept(posted: Posted) -> Reply:
    """204, and with protocol 2.0 what it wants to hear."""
    if "proto=io.prometheus.write.v2.Request" in posted.headers["content-type"]:
        return Reply(204, headers={"X-Prometheus-Remote-Write-Samples-Written": str(len(posted.samples))})
    return Reply(204)


class Ledger:
    """What Prometheus does with samples that are old: the whole request is refused, an equal newest one is none."""

    def __init__(self) -> None:
        self.newest: dict[tuple, tuple[int, int]] = {}
        self.series: dict[tuple, list[tuple[int, int]]] = {}

    def respond(self, posted: Posted) -> Reply:
        staged = dict(self.newest)
        for sample in posted.samples:
            time_ms, bits = staged.get(sample.labels, (-1, 0))
            if sample.time_ms < time_ms or (sample.time_ms == time_ms and sample.bits != bits):
                return Reply(400, b"out of order sample")
            staged[sample.labels] = sample.time_ms, sample.bits
        for sample in posted.samples:
            if self.newest.get(sample.labels) != (sample.time_ms, sample.bits):
                self.newest[sample.labels] = sample.time_ms, sample.bits
                self.series.setdefault(sample.labels, []).append((sample.time_ms, sample.bits))
        return accept(posted)


class Receiver:
    """Listens on 127.0.0.1; ``posted`` holds all that came, ``taken`` what was answered with 2xx, in order."""

    def __init__(self, respond: Respond = accept, port: int = 0) -> None:
        self.respond = respond
        self.posted: list[Posted] = []
        self.taken: list[Posted] = []
        self.closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.serve(self)

            do_GET = do_POST  # noqa: N815 -- the library's name

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/api/v1/write"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        raw = bytes(cramjam.snappy.decompress_raw(body)) if body else b""
        second = "v2" in headers.get("content-type", "")
        posted = Posted(handler.path, headers, decode_2(raw) if second and raw else decode(raw))
        self.posted.append(posted)
        reply = self.respond(posted)
        if reply == Way.RESET:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            handler.connection.close()
        elif isinstance(reply, Reply):
            if 200 <= reply.status < 300:
                self.taken.append(posted)
            self._answer(handler, reply)
        else:
            self.closing.wait(60)
            handler.close_connection = True

    def _answer(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        handler.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body)

    @property
    def samples(self) -> list[Written]:
        """All samples of the requests that were accepted, in their order."""
        return [sample for posted in self.taken for sample in posted.samples]

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@contextmanager
def receiver(respond: Respond = accept) -> Iterator[Receiver]:
    """A receiver for the length of a block."""
    made = Receiver(respond)
    try:
        yield made
    finally:
        made.close()


def in_turn(*replies: Reply | str) -> Respond:
    """One reply after the other, then what a good receiver says."""
    left = list(replies)
    return lambda posted: left.pop(0) if left else accept(posted)
