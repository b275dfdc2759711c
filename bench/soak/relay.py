"""A relay between the exporter and its source that can fail on purpose: answers 500, hangs up, or drips."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

PASS, ERRORS, RESETS, SLOW = "pass", "500s", "resets", "slow"
_PIECE_BYTES = 1 << 16
_SLOW_PIECE_BYTES, _SLOW_PAUSE_S = 4096, 0.05
_FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsoak"


class Relay:
    """Passes connections on to a port of this machine. ``mode`` may change at any time; a change to anything but
    ``PASS`` or ``SLOW`` cuts the connections that are open."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream = ("127.0.0.1", upstream_port)
        self._mode = PASS
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name="relay").start()

    @property
    def mode(self) -> str:
        """What is done to connections now."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = mode
        if mode in (ERRORS, RESETS):
            self._cut()

    def close(self) -> None:
        """Listen no more, and cut what is open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
        self._listener.close()
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
        for each in connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True, name="relay").start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self._mode == RESETS:
                return
            if self._mode == ERRORS:
                client.recv(_PIECE_BYTES)
                client.sendall(_FAILURE)
                return
            with socket.create_connection(self._upstream, timeout=5) as server:
                server.settimeout(None)
                self._join(client, server)

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            self._open |= {client, server}
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True, name="relay")
        back.start()
        self._pump(client, server)
        back.join()
        with self._lock:
            self._open -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass bytes on until one side ends; then end the other one."""
        with contextlib.suppress(OSError):
            while piece := source.recv(_SLOW_PIECE_BYTES if self._mode == SLOW else _PIECE_BYTES):
                sink.sendall(piece)
                if self._mode == SLOW:
                    time.sleep(_SLOW_PAUSE_S)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
