"""A raw-socket server that can misbehave in any way, and a real Prometheus with known samples."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import settings
from support.servers import make_blocks, prometheus_in

from exporter.source.client import Client

settings.register_profile("kernels", deadline=None)  # the first call of a kernel compiles it
settings.load_profile("kernels")


@dataclass(frozen=True)
class Request:
    """What the server was asked; ``url_form`` and ``form`` map names to the first value."""

    method: str
    path: str
    headers: dict[str, str]
    url_form: dict[str, str]
    form: dict[str, str]


Respond = Callable[[Request, socket.socket], None]


def http(status: int, body: bytes | str = b"", **headers: str) -> bytes:
    """A whole HTTP/1.1 answer; underscores in header names stand for hyphens."""
    data = body.encode() if isinstance(body, str) else body
    fields = {"Content-Length": str(len(data)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + data


def always(answer: bytes) -> Respond:
    """The same bytes to every request."""
    return lambda request, connection: connection.sendall(answer)


def in_turn(*answers: bytes) -> Respond:
    """One answer after the other; the last one stays."""
    left = list(answers)
    return lambda request, connection: connection.sendall(left.pop(0) if len(left) > 1 else left[0])


@dataclass
class LoopbackServer:
    """Accepts connections on 127.0.0.1 and lets a function write whatever it likes on each."""

    respond: Respond
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                request = self._read(connection)
                self.requests.append(request)
                self.respond(request, connection)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):  # closing with unread bytes would reset the connection
                    pass
            except OSError:
                return

    def _read(self, connection: socket.socket) -> Request:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                raise OSError("the client went away")
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        method, target, _ = first.split(" ")
        url = urlsplit(target)
        form = body.decode("utf-8", "replace")  # what is no form may be no text either
        return Request(method, url.path, headers, _first_values(url.query), _first_values(form))

    def close(self) -> None:
        self.closing.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def _first_values(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}


@pytest.fixture
def serve() -> Iterator[Callable[[Respond], LoopbackServer]]:
    servers: list[LoopbackServer] = []

    def start(respond: Respond) -> LoopbackServer:
        servers.append(LoopbackServer(respond))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture
def client_of(session: requests.Session) -> Callable[..., Client]:
    """A client of a URL, with waits short enough for tests."""

    def make(url: str, **settings: object) -> Client:
        return Client(url, session, **{"backoff_s": 0.01, "timeout_s": 10.0, **settings})  # type: ignore[arg-type]

    return make


@dataclass(frozen=True)
class RealPrometheus:
    """``url`` of a running server, and ``start_s``: samples lie from there on for an hour (see the fixture)."""

    url: str
    start_s: int


def _samples(start_s: int) -> str:
    """OpenMetrics text of an hour.

    ``steady``: 3 series, every 15 s, value = seconds since the start. ``gappy``: every 15 s, but for minutes 20-39.
    ``odd``: values that are hard to spell. ``seldom``: every 400 s at 7.25 s past.
    """
    lines = ["# TYPE steady gauge"]
    for pod in "abc":
        lines += [f'steady{{pod="{pod}",path="/x\\"y\\\\z"}} {i} {start_s + i}' for i in range(0, 3600, 15)]
    lines += ["# TYPE gappy gauge"]
    lines += [f"gappy {i} {start_s + i}" for i in range(0, 3600, 15) if not 1200 <= i < 2400]
    lines += ["# TYPE odd gauge"]
    for i, value in enumerate(
        ("0.1", "1e300", "-5e-324", "NaN", "+Inf", "-Inf", "123456789012345678", "1.7976931348623157e308")
    ):
        lines += [f'odd{{i="{i}",snow="☃ <&>"}} {value} {start_s + 1800}']
    lines += ["# TYPE seldom gauge"]
    lines += [f"seldom {i} {start_s + i + 7.25}" for i in range(0, 3600, 400)]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="session")
def real_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    start_s = int(time.time()) // 3600 * 3600 - 6 * 3600
    make_blocks(folder, _samples(start_s), longest="2h")
    with prometheus_in(folder, {}) as url:
        yield RealPrometheus(url, start_s)
