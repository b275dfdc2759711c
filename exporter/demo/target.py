"""The application: a small web server that exposes the world's values of this moment."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby

import numpy as np

from exporter.demo.world import World

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def page(world: World, now_s: float) -> bytes:
    """The exposition at one moment; a series that is gone has no line."""
    times = np.array([now_s])
    lines = []
    for metric, members in groupby(enumerate(world.series), key=lambda pair: pair[1].metric):
        lines.append(f"# TYPE {metric} gauge")
        for index, series in members:
            value = float(world.values(index, times)[0])
            if value == value:
                lines.append(f"{series.text()} {value:.6g}")
    return ("\n".join(lines) + "\n").encode()


@contextmanager
def serving(world: World) -> Iterator[int]:
    """Serve the world on a free loopback port until the block ends; gives the port."""
    server = _Server(("127.0.0.1", 0), _handler_of(world))
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="demo-target", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A scrape that is cut off by the end of Prometheus is nothing to print; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _handler_of(world: World) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = page(world, time.time()) if self.path == "/metrics" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Stay silent: the terminal belongs to the demo's progress lines."""

    return Handler
