"""A metrics server in memory that answers the questions of our reader as each kind of server was seen to answer."""

from __future__ import annotations

import bisect
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peer_answers import success
from peer_refusals import of
from support.loopback import Request, http

Samples = Sequence[tuple[int, float]]  # milliseconds, value; ascending
Found = list[tuple[int, float]]

_RANGED = re.compile(r"(count\()?last_over_time\((\w+)\[(\d+)ms\]\)\)?")
_RAW = re.compile(r"(\w+)\[(\d+)ms\]")
_VICTORIAMETRICS_POINTS = 50


@dataclass
class Peer:
    """Series ``m`` by instance, and whether targets are ``up``.

    ``left_open``: a range excludes its left edge (Prometheus 3, Cortex, VictoriaMetrics), else it includes both.
    ``shifts``: the grid of a longer range query is moved to multiples of the step (VictoriaMetrics).
    ``reaches_s``: a query begins no earlier than this time, without a word (``max_query_lookback``). ``most_length_s``:
    longer range queries are refused (Cortex' ``max_query_length``). ``up_since_s``: None, there is no ``up`` at all.
    ``shows_after_s``: how old a sample is when it is first seen (VictoriaMetrics, of a new series).
    """

    series: Mapping[str, Samples] = field(default_factory=dict)
    left_open: bool = True
    shifts: bool = False
    reaches_s: int = 0
    most_length_s: int = 0
    up_since_s: int | None = 0
    shows_after_s: float = 0.0
    requests: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, connection: socket.socket) -> None:
        self.requests.append(request)
        if not request.path.endswith(("/query", "/query_range")):
            connection.sendall(http(404, "404 page not found\n"))
        else:
            connection.sendall(self._span(request.form) if "start" in request.form else self._instant(request.form))

    def asked(self, text: str) -> int:
        """How many questions hold a text."""
        return sum(text in request.form.get("query", "") for request in self.requests)

    # -- range queries -------------------------------------------------------------------------------------------------

    def _span(self, form: dict[str, str]) -> bytes:
        start, end, step = (float(form[name]) for name in ("start", "end", "step"))
        if self.most_length_s and end - start > self.most_length_s:
            lengths = f"(query length: {end - start:.0f}s, limit: {self.most_length_s}s)"
            told = f"the query time range exceeds the limit {lengths}"
            return http(400, of("bad_data", told))
        if self.shifts and (end - start) // step > _VICTORIAMETRICS_POINTS:
            start, end = start // step * step, end // step * step
        if end < self.reaches_s:
            return http(200, success("matrix", []))
        times = _times(max(start, self.reaches_s), end, step)
        return http(200, success("matrix", self._matrix(form["query"], times)))

    def _matrix(self, expr: str, times: list[float]) -> list[dict[str, Any]]:
        if expr == "vector(1)":
            return [{"metric": {}, "values": [[time, "1"] for time in times]}] if times else []
        found = _RANGED.fullmatch(expr)
        assert found, expr
        values = {name: self._last(samples, times, int(found[3])) for name, samples in self.series.items()}
        if found[1]:
            counted = [[time, str(sum(time in of_one for of_one in values.values()))] for time in times]
            counted = [point for point in counted if point[1] != "0"]
            return [{"metric": {}, "values": counted}] if counted else []
        return [
            {"metric": {"instance": name}, "values": [[time, repr(value)] for time, value in of_one.items()]}
            for name, of_one in values.items()
            if of_one
        ]

    def _last(self, samples: Samples, times: list[float], range_ms: int) -> dict[float, float]:
        """last_over_time at each time."""
        found = {time: self._within(samples, round(time * 1000), range_ms) for time in times}
        return {time: inside[-1][1] for time, inside in found.items() if inside}

    def _within(self, samples: Samples, at_ms: int, range_ms: int) -> Found:
        low = max(at_ms - range_ms + self.left_open, self.reaches_s * 1000)
        first = bisect.bisect_left(samples, low, key=_time_of)
        return list(samples[first : bisect.bisect_right(samples, at_ms, key=_time_of)])

    # -- instant queries -----------------------------------------------------------------------------------------------

    def _instant(self, form: dict[str, str]) -> bytes:
        expr, at = form["query"], float(form["time"])
        if expr == "count(up)":
            up = self.up_since_s is not None and at >= max(self.up_since_s, self.reaches_s)
            return http(200, success("vector", [{"metric": {}, "value": [at, "3"]}] if up else []))
        if _RANGED.fullmatch(expr):
            result = [{"metric": one["metric"], "value": one["values"][0]} for one in self._matrix(expr, [at])]
            return http(200, success("vector", result))
        if expr == "1":
            return http(200, success("scalar", [at, "1"]))
        found = _RAW.fullmatch(expr)
        if not found:  # what `plan` looks behind an expression for
            return http(422, of("execution", "this server knows no such expression"))
        seen_ms = round((at - self.shows_after_s) * 1000)
        whole = {name: self._within(samples, round(at * 1000), int(found[2])) for name, samples in self.series.items()}
        inside = {name: [point for point in points if point[0] <= seen_ms] for name, points in whole.items()}
        result = [
            {"metric": {"instance": name}, "values": [[time / 1000, repr(value)] for time, value in points]}
            for name, points in inside.items()
            if points
        ]
        return http(200, success("matrix", result))


def _time_of(sample: tuple[int, float]) -> int:
    return sample[0]


def _times(start: float, end: float, step: float) -> list[float]:
    return [start + step * index for index in range(int((end - start) // step) + 1)] if end >= start else []


def every(spacing_s: float, start_s: float, end_s: float, value: Callable[[float], float] = lambda s: s) -> Found:
    """Samples at equal distances; the value is made of the time in seconds."""
    count = int((end_s - start_s) // spacing_s) + 1
    times = [start_s + spacing_s * index for index in range(count)]
    return [(round(time * 1000), value(time)) for time in times]
