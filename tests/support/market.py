"""A metrics server in memory that speaks the query API over HTTP and can fail differently for each query."""

from __future__ import annotations

import json
import math
import random
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.loopback import Request, Respond, ServerAt, http

PODS = ("a", "b", "c")
SCRAPE_S = 5

Series = dict[str, Any]  # one entry of a matrix: {"metric": ..., "values": ...}
Answer = tuple[list[Series], dict[str, Any]]  # the series, and what stands beside "data"
Change = Callable[[list[Series], bool], Answer]  # the second argument: whether the newest samples were asked for


def value(name: str, pod: str, time_s: float) -> float:
    """The sample of a series at a time: a daily rhythm with noise."""
    noise = random.Random(f"{name} {pod} {time_s:.0f}").gauss(0, 0.5)
    return round(20 + 5 * math.sin(time_s * 2 * math.pi / 86_400) + noise, 9)


def unchanged(series: list[Series], newest: bool) -> Answer:
    """The usual answer."""
    return series, {}


def compact(answer: object) -> bytes:
    """JSON as Prometheus spells it."""
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode()


def pretty(answer: object) -> bytes:
    """JSON as no server spells it, but any may."""
    return json.dumps(answer, indent=1).encode()


def plainly(body: bytes) -> bytes:
    """A usual answer over HTTP."""
    return http(200, body, Content_Type="application/json")


@dataclass(frozen=True)
class Manner:
    """How a query is answered, when it is: the series changed, the JSON spelt, the bytes sent."""

    change: Change = unchanged
    spell: Callable[[object], bytes] = compact
    send: Callable[[bytes], bytes] = plainly


@dataclass
class Market:
    """Each query is one metric with a series per pod. While ``raging``, the queries in ``faults`` meet these."""

    names: tuple[str, ...]
    faults: Mapping[str, Respond] = field(default_factory=dict)
    manners: Mapping[str, Manner] = field(default_factory=dict)
    raging: bool = True

    def respond(self, request: Request, connection: socket.socket) -> None:
        """Answer a question, or do what the fault of its query is."""
        name = self._name(request.form.get("query", ""))
        if not name:  # what the server is, whether it is young
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if self.raging and name in self.faults:
            self.faults[name](request, connection)
            return
        manner = self.manners.get(name, Manner())
        connection.sendall(manner.send(manner.spell(self._answer(request, name, manner))))

    def serve(self, port: int = 0) -> ServerAt:
        """Start to listen on a port, or on any."""
        return ServerAt(self.respond, port=port)

    def _name(self, expr: str) -> str:
        """The metric that a question is about, "" where it is about none."""
        return next((word for word in re.findall(r"\w+", expr) if word in self.names), "")

    def _answer(self, request: Request, name: str, manner: Manner) -> dict[str, Any]:
        expr, form = request.form["query"], request.form
        newest = request.path.endswith("/query")
        times = self._newest_times(expr, float(form["time"])) if newest else self._grid(form)
        if expr.startswith("count("):
            return _matrix([{"metric": {}, "values": [[t, str(len(PODS))] for t in times]}], {})
        series = [
            {
                "metric": {"__name__": name, "pod": pod},
                "values": [[t, repr(value(name, pod, t))] for t in times],
            }
            for pod in PODS
        ]
        return _matrix(*manner.change(series, newest))

    def _newest_times(self, expr: str, time_s: float) -> list[int]:
        match = re.search(r"\[(\d+)ms\]", expr)
        lookback_s = int(match.group(1)) / 1000 if match else 300
        last = int(time_s // SCRAPE_S * SCRAPE_S)
        return [t for t in range(last - 300, last + 1, SCRAPE_S) if t > time_s - lookback_s] or [last]

    def _grid(self, form: Mapping[str, str]) -> list[int]:
        start, end, step = (int(float(form[key])) for key in ("start", "end", "step"))
        return list(range(start, end + 1, step))


def _matrix(series: list[Series], more: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": series}, **more}
