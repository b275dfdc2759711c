"""Compiles all kernels at a chosen time, by sending a made-up series down the whole line.

An image with a read-only file system runs this at build time; everybody else pays for it at the first start.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from exporter import names
from exporter.config import Query
from exporter.models.settings import RobustBandSettings, ShesdSettings
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage
from exporter.source.scan import Answer, scan_answer
from exporter.unit import Unit

_STEP_S = 300
_NOW_S = 1_700_000_100


class _MadeUp:
    """A reader whose server is a sine."""

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """One series over the whole range."""
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
        result = [{"metric": {"__name__": "made_up"}, **samples}]
        body = {"status": "success", "data": {"resultType": kind, "result": result}}
        return scan_answer(json.dumps(body, separators=(",", ":")).encode())


def compile_kernels() -> None:
    """Run three cycles over made-up series, which compiles whatever is not compiled yet. Takes about a minute cold."""
    for plain in (True, False):
        query = Query("made_up", "made_up", (RobustBandSettings(), ShesdSettings()), window_s=2 * 86_400)
        page = UnitPage(Page(None), "made_up", {}, ["robust_band", "shesd"], names.FAMILIES)
        unit = Unit("", query, _MadeUp(plain=plain), page)
        for cycle in range(8):
            receipt = unit.run_cycle(_NOW_S + cycle * query.interval_s)
            if receipt.error:
                raise RuntimeError(receipt.error)
