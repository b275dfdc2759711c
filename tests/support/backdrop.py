"""What stands behind the routes of a web server in a test, with knobs; and ways of asking the server."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

import requests

from exporter.errors import ConfigError
from exporter.publish.exposition import Plain
from exporter.publish.lines import WHOLE, Shard
from exporter.publish.web import Landing, Routes, WebServer

BIG = [b"".join(b'big{row="%d",of="%d"} 1\n' % (row, piece) for row in range(20_000)) for piece in range(3)]


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


def ask(server: WebServer, path: str, method: str = "GET", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, f"http://127.0.0.1:{server.port}{path}", headers=named, timeout=10)


def raw_exchange(server: WebServer, request: bytes) -> bytes:
    """Everything the server says to these bytes until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))
