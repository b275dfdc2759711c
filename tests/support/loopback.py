"""The misbehaving loopback server of tests/source, for tests elsewhere, and a relay in front of a real server."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import requests


def _fixtures_of_source() -> ModuleType:
    """tests/source/conftest.py under a name of its own: a plain import of "conftest" depends on the order of tests."""
    name = "conftest_of_source"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "source" / "conftest.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_source = _fixtures_of_source()
LoopbackServer = _source.LoopbackServer
Request = _source.Request
http = _source.http


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


Respond = Callable[[Request, socket.socket], None]


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
