"""A server with tenants, made up: each has series that swing, and may be slow, refuse, or have nothing at all."""

from __future__ import annotations

import json
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.loopback import LoopbackServer, Request, http

KIND = {"Content_Type": "application/json"}
SPACING_S = 1

Way = Callable[[socket.socket, bytes], None]


def well(connection: socket.socket, body: bytes) -> None:
    connection.sendall(http(200, body, **KIND))


def dripping(connection: socket.socket, body: bytes) -> None:
    """10 KB a second, and 600 KB to say."""
    body += b" " * (600_000 - len(body))
    answer = http(200, body, **KIND)
    for start in range(0, len(answer), 1000):
        connection.sendall(answer[start : start + 1000])
        time.sleep(0.1)  # the pace is the fault


def limited(connection: socket.socket, body: bytes) -> None:
    told = b'{"status":"error","errorType":"too_many_requests","error":"too many outstanding requests"}'
    connection.sendall(http(429, told, **KIND))


def broken(connection: socket.socket, body: bytes) -> None:
    connection.sendall(http(503, b"no healthy upstream"))


def refusing(connection: socket.socket, body: bytes) -> None:
    connection.sendall(http(400, b'{"status":"error","errorType":"bad_data","error":"no"}', **KIND))


class Landlord:
    """``ways`` says how a tenant is served (well, unless told otherwise); those in ``unknown`` have no series.

    A tenant is told by the header, or as in the path /select/<tenant>/prometheus. ``asked`` holds (tenant, expr),
    ``auth`` the Authorization of the last request of each tenant. ``names`` are the values of the label `user` that a
    question about tenants (one with `user` in it) gets.
    """

    def __init__(self) -> None:
        self.ways: dict[str, Way] = {}
        self.unknown: set[str] = set()
        self.names: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.auth: dict[str, str] = {}
        self._lock = threading.Lock()
        self._server = LoopbackServer(self._respond)
        self.url = self._server.url

    def close(self) -> None:
        self._server.close()

    def count(self, tenant: str) -> int:
        """How often a tenant has been asked for something."""
        with self._lock:
            return sum(one == tenant for one, _ in self.asked)

    def _respond(self, request: Request, connection: socket.socket) -> None:
        in_path = re.match(r"/select/([^/]+)/prometheus", request.path)
        tenant = in_path[1] if in_path else request.headers.get("x-scope-orgid", "")
        expr = request.form.get("query", "")
        with self._lock:
            self.asked.append((tenant, expr))
            self.auth[tenant] = request.headers.get("authorization", "")
        if not request.path.endswith(("/query", "/query_range", "/values")):
            connection.sendall(http(404, b"not here"))
            return
        answer = self._answer(request, expr, tenant)
        self.ways.get(tenant, well)(connection, json.dumps(answer, separators=(",", ":")).encode())

    def _answer(self, request: Request, expr: str, tenant: str) -> object:
        if request.path.endswith("/values"):
            return {"status": "success", "data": self.names}
        if "user" in expr:
            now = float(request.form["time"])
            found = [{"metric": {"user": name}, "value": [now, "1"]} for name in self.names]
            return {"status": "success", "data": {"resultType": "vector", "result": found}}
        return _samples(request, expr, 0 if tenant in self.unknown else 3)


def _samples(request: Request, expr: str, series: int) -> object:
    form = request.form
    if request.path.endswith("/query_range"):
        step = int(float(form["step"]))
        times = range(int(float(form["start"])), int(float(form["end"])) + 1, step)
    else:
        now = float(form["time"])
        back = re.search(r"\[(\d+)ms\]", expr)
        first = now - (int(back[1]) / 1000 if back else 0)
        times = [t for t in range(int(first) - int(first) % SPACING_S, int(now) + 1, SPACING_S) if first < t <= now]
        if not back:
            times = [int(now)]
    if expr.startswith("count("):
        found = [{"metric": {}, "values": [[t, str(series)] for t in times]}] if series else []
        if not request.path.endswith("/query_range"):
            found = [{"metric": {}, "value": one["values"][0]} for one in found]
            return {"status": "success", "data": {"resultType": "vector", "result": found}}
    else:
        found = [
            {"metric": {"kind": str(i)}, "values": [[t, f"{_value(t, i):.3f}"] for t in times]} for i in range(series)
        ]
    return {"status": "success", "data": {"resultType": "matrix", "result": [one for one in found if one["values"]]}}


def _value(time_s: int, series: int) -> float:
    swing = math.sin(2 * math.pi * time_s / 86_400)
    noise = ((time_s * 2_654_435_761 + series * 40_503) % 1009) / 1009
    return 100 + 10 * swing + noise


@contextmanager
def landlord() -> Iterator[Landlord]:
    here = Landlord()
    try:
        yield here
    finally:
        here.close()
