"""A metrics server in memory with Prometheus' semantics, for what a real one can't show in a test's time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from exporter.errors import SourceError
from exporter.source.scan import Answer, scan_answer

Labels = tuple[tuple[str, str], ...]
LOOKBACK_S = 300


@dataclass
class Store:
    """Samples by series, read as the exporter's reader reads a query. ``fail`` makes every read raise it."""

    plain: bool = True
    step_s: int = 300
    series: dict[Labels, dict[int, float]] = field(default_factory=dict)  # time in ms -> value
    fail: SourceError | None = None
    reads: list[tuple[str, int, int]] = field(default_factory=list)
    stuck: bool = False
    mentions: int = 1  # how often each series stands in an answer

    def put(self, labels: dict[str, str], times_s, values) -> None:
        """Add samples to a series."""
        samples = self.series.setdefault(tuple(sorted(labels.items())), {})
        for time_s, value in zip(np.atleast_1d(times_s), np.atleast_1d(values), strict=True):
            samples[round(float(time_s) * 1000)] = float(value)

    def drop(self, labels: dict[str, str]) -> None:
        """Forget a series."""
        del self.series[tuple(sorted(labels.items()))]

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """Last sample of each cell, or an expression's value at each grid time.

        Two answers, the later half first: order must not matter.
        """
        self._read("range", start_s, end_s)
        middle = start_s + (end_s - start_s) // (2 * self.step_s) * self.step_s
        for low, high in ((middle + self.step_s, end_s), (start_s, middle)):
            if low <= high:
                yield self._matrix({labels: self._cells(samples, low, high) for labels, samples in self.series.items()})

    def newest(self, time_s: int, lookback_s: int) -> Answer:
        """Raw samples of the look-back for a plain selector, values at `time_s` for an expression."""
        self._read("newest", time_s, lookback_s)
        low, high = (time_s - (lookback_s if self.plain else LOOKBACK_S)) * 1000, time_s * 1000
        found = {
            labels: [(t, v) for t, v in sorted(samples.items()) if low < t <= high]
            for labels, samples in self.series.items()
        }
        if self.plain:
            return self._matrix(found)
        return self._vector({labels: (high, points[-1][1]) for labels, points in found.items() if points})

    def repeats(self, time_s: int, since_s: int) -> bool:
        """Whether nothing is newer than `since_s`."""
        self._read("repeats", time_s, since_s)
        return self.stuck

    def _read(self, *what) -> None:
        self.reads.append(what)
        if self.fail is not None:
            raise self.fail

    def _cells(self, samples: dict[int, float], low: int, high: int) -> list[tuple[int, float]]:
        return self._last_of_cells(samples, low, high) if self.plain else self._looking_back(samples, low, high)

    def _looking_back(self, samples: dict[int, float], low: int, high: int) -> list[tuple[int, float]]:
        times, found = np.array(sorted(samples)), []
        for cell in range(-(-low // self.step_s) * self.step_s, high + 1, self.step_s):
            at = int(np.searchsorted(times, cell * 1000, side="right")) - 1
            if at >= 0 and times[at] > (cell - LOOKBACK_S) * 1000:
                found.append((cell * 1000, samples[int(times[at])]))
        return found

    def _last_of_cells(self, samples: dict[int, float], low: int, high: int) -> list[tuple[int, float]]:
        cells: dict[int, float] = {}
        for t, value in sorted(samples.items()):
            cells[-(-t // (self.step_s * 1000)) * self.step_s] = value
        return [(cell * 1000, cells[cell]) for cell in sorted(cells) if low <= cell <= high]

    def _matrix(self, found) -> Answer:
        result = [
            {"metric": dict(labels), "values": [[t / 1000, _text(v)] for t, v in points]}
            for labels, points in found.items()
            if points
        ]
        return self._answer("matrix", result)

    def _vector(self, found) -> Answer:
        return self._answer(
            "vector", [{"metric": dict(labels), "value": [t / 1000, _text(v)]} for labels, (t, v) in found.items()]
        )

    def _answer(self, kind: str, result: list) -> Answer:
        body = {"status": "success", "data": {"resultType": kind, "result": result * self.mentions}}
        return scan_answer(json.dumps(body, separators=(",", ":")).encode())


def _text(value: float) -> str:
    return {float("inf"): "+Inf", float("-inf"): "-Inf"}.get(value, "NaN" if value != value else repr(value))
