"""Compiles all kernels at a chosen time, by sending made-up series down the whole line.

An image with a read-only file system runs this at build time; everybody else pays for it at the first start.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator

import numpy as np

from exporter import names
from exporter.config import Query
from exporter.models.settings import RobustBandSettings, ShesdSettings
from exporter.publish.exposition import Page
from exporter.publish.remote_write.labels import LabelBytes, name_field
from exporter.publish.remote_write.version2 import to_version_2
from exporter.publish.remote_write.wire import encode, series_ends
from exporter.publish.unit_page import UnitPage
from exporter.source.remote_read import collector
from exporter.source.scan import Answer, scan_answer
from exporter.unit import Unit

_STEP_S = 300
_NOW_S = 1_700_000_100


class _MadeUp:
    """A reader whose server has some equal sines."""

    def __init__(self, series: int, *, plain: bool) -> None:
        self.plain = plain
        self._series = series

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """The series over the whole range."""
        yield self._answer("matrix", list(range(start_s, end_s + 1, _STEP_S)))

    def newest(self, time_s: int, lookback_s: int) -> Answer:
        """The newest samples."""
        if self.plain:
            return self._answer("matrix", [time_s - 15, time_s])
        return self._answer("vector", [time_s])

    def repeats(self, time_s: int, since_s: int) -> bool:
        """Never."""
        return False

    def _answer(self, kind: str, times: list[int]) -> Answer:
        points = [[time, repr(10 + math.sin(time / 13_751) + time % 7 / 10)] for time in times]
        samples = {"value": points[0]} if kind == "vector" else {"values": points}
        result = [{"metric": {"__name__": "made_up", "i": str(i)}, **samples} for i in range(self._series)]
        body = {"status": "success", "data": {"resultType": kind, "result": result}}
        return scan_answer(json.dumps(body, separators=(",", ":")).encode())


def _compile_remote_write() -> None:
    labels = LabelBytes()
    for _ in range(2):  # the second time the bytes of the first are waste, and are cleared away
        labels.set_row(0, [("i", "x" * 100_000)])
    one = np.ones(1, np.int64)
    encoded = encode(name_field("made_up"), *labels.arrays(), one - 1, one.view(np.uint64), one)
    raw = encoded.data.tobytes()
    to_version_2(raw)
    series_ends(raw, encoded.samples)


def compile_kernels() -> None:
    """Run some cycles over made-up series, which compiles whatever is not compiled yet. Takes about a minute cold."""
    _compile_remote_write()
    collector.compile_kernels()
    # One series alone is another case: a column of a matrix with a single row lies in memory like a row.
    for plain, series in itertools.product((True, False), (1, 2)):
        query = Query(
            "made_up",
            "made_up",
            (RobustBandSettings(), ShesdSettings()),
            window_s=2 * 86_400,
            signals=("shift", "stale"),
        )
        page = UnitPage(Page(None), "made_up", {}, ["robust_band", "shesd"], names.FAMILIES)
        unit = Unit("", query, _MadeUp(series, plain=plain), page)
        for cycle in range(8):
            receipt = unit.run_cycle(_NOW_S + cycle * query.interval_s)
            if receipt.error:
                raise RuntimeError(receipt.error)
