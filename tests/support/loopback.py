"""A raw-socket server that can misbehave in any way, and a relay in front of a real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import requests


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
            piece = connection.recv(65536)
            if not piece:
                raise OSError("the client went away")
            body += piece
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


@dataclass(frozen=True)
class RealPrometheus:
    """``url`` of a running server, and ``start_s``: samples lie from there on for an hour (see the fixture)."""

    url: str
    start_s: int


@dataclass
class ServerAt(LoopbackServer):
    """The same at a port of one's choice; 0 is any free one."""

    port: int = 0

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()


def closed_by_client(connection: socket.socket, patience_s: float) -> bool:
    """Whether the client hangs up within a while."""
    connection.settimeout(patience_s)
    try:
        return not connection.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True


def drip(request: Request, connection: socket.socket) -> None:
    """Promise much and send a blank now and then, until the client goes."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not closed_by_client(connection, 0.05):
        connection.sendall(b" ")


def stay_silent(request: Request, connection: socket.socket) -> None:
    """Say nothing until the client goes."""
    while not closed_by_client(connection, 60):
        pass


class Relay:
    """Passes questions on to a real server, but for those whose expr holds ``trouble``: these meet ``way`` instead.

    ``reached`` is set when a question met ``way``, ``served`` when one with ``watched`` in its expr was answered.
    ``refused`` holds the whole answers of paths that are not passed on.
    """

    def __init__(
        self,
        upstream: str,
        *,
        trouble: str = "",
        way: Respond | None = None,
        watched: str = "",
        refused: Mapping[str, bytes] | None = None,
    ) -> None:
        self._upstream = upstream
        self._refused = dict(refused or {})
        self.trouble = trouble
        self._way = way or self._wait
        self._watched = watched
        self.released = threading.Event()
        self.reached = threading.Event()
        self.served = threading.Event()
        self._server = LoopbackServer(self._respond)
        self.url = self._server.url

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.close()

    @property
    def requests(self) -> list[Request]:
        """All that was asked."""
        return list(self._server.requests)

    def asked(self, path: str, word: str) -> int:
        """How many questions with this word in their expr came to a path of the API."""
        return sum(
            request.path == f"/api/v1/{path}" and word in request.form.get("query", "") for request in self.requests
        )

    def _respond(self, request: Request, connection: socket.socket) -> None:
        expr = request.form.get("query", "")
        if self.trouble and self.trouble in expr and not self.released.is_set():
            self.reached.set()
            self._way(request, connection)
            if self._way != self._wait:
                return
        if request.path in self._refused:
            connection.sendall(self._refused[request.path])
            return
        answer = requests.request(
            request.method, self._upstream + request.path, params=request.url_form, data=request.form, timeout=60
        )
        connection.sendall(http(answer.status_code, answer.content))
        if self._watched and self._watched in expr and request.path.endswith("/query"):
            self.served.set()

    def _wait(self, request: Request, connection: socket.socket) -> None:
        self.released.wait(60)
