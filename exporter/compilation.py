"""Compiles the kernels at a chosen time, by sending made-up series down the line.

An image with a read-only file system compiles all of them at build time. Everybody else pays at the first start, for
what a first verdict needs: numba compiles one kernel at a time in a process, so several processes share that.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exporter import names
from exporter.config import Query
from exporter.crew import processors
from exporter.judging import horizon
from exporter.kernels import COMPILED
from exporter.models.floors import summarise
from exporter.models.rows import ModelRows, model_rows
from exporter.models.settings import ModelSettings, RobustBandSettings, ShesdSettings, Signal
from exporter.publish.exposition import Page
from exporter.publish.remote_write.labels import LabelBytes, name_field
from exporter.publish.remote_write.version2 import to_version_2
from exporter.publish.remote_write.wire import encode, series_ends
from exporter.publish.unit_page import UnitPage
from exporter.source.remote_read import collector
from exporter.source.scan import Answer, scan_answer
from exporter.unit import Unit

_LOOK_S = 0.05
_STEP_S = 300
_NOW_S = 1_700_000_100
_COLUMN = _NOW_S // _STEP_S

log = logging.getLogger(__name__)


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
        # As an answer is read: for `bytes`, which can't be written to, the kernels would be compiled once more.
        return scan_answer(bytearray(json.dumps(body, separators=(",", ":")).encode()))


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
    query = _query((RobustBandSettings(), ShesdSettings()), ("shift", "stale"))
    for plain, series in itertools.product((True, False), (1, 2)):
        _run_cycles(query, _MadeUp(series, plain=plain), 8)
    _mark()


def _query(models: tuple[ModelSettings, ...], signals: tuple[Signal, ...] = ()) -> Query:
    return Query("made_up", "made_up", models, window_s=2 * 86_400, signals=signals)


def _run_cycles(query: Query, reader: _MadeUp, cycles: int) -> None:
    page = Page(None)
    unit_page = UnitPage(page, "made_up", {"query": "made_up"}, [one.name for one in query.models], names.FAMILIES)
    unit = Unit("", query, reader, unit_page)
    for cycle in range(cycles):
        receipt = unit.run_cycle(_NOW_S + cycle * query.interval_s)
        if receipt.error:
            raise RuntimeError(receipt.error)
        page.chunks(names.FAMILIES, openmetrics=False)


# --- at the first start -----------------------------------------------------------------------------------------------


def _compile_reading() -> None:
    """Everything but `robust_band`, which takes longer than all the rest."""
    _run_cycles(_query((ShesdSettings(),)), _MadeUp(2, plain=True), 8)


def _compile_judgement() -> None:
    """The judgement of `robust_band`."""
    model, rows = _robust_band()
    ring = _wave()
    model.open(rows, _COLUMN, ring, np.zeros(len(rows)))
    model.judge(rows, np.zeros(len(rows)))
    model.absorb(rows, _COLUMN, ring)


def _compile_fit() -> None:
    """The fit of `robust_band`."""
    model, rows = _robust_band()
    values, offset = _wave(), np.zeros(len(rows))
    model.fit(rows, values, offset, summarise(np.sort(values, axis=1), offset), np.full(len(rows), _COLUMN))


def _robust_band() -> tuple[ModelRows, npt.NDArray[np.int64]]:
    model = model_rows(RobustBandSettings(), _STEP_S, horizon(_STEP_S), 1.0, 60)
    model.grow(2)
    return model, np.arange(2)


def _wave() -> npt.NDArray[np.float32]:
    places = np.arange(2 * 86_400 // _STEP_S)
    return np.tile(np.sin(places / 46) + places % 7, (2, 1)).astype(np.float32)


# One more than the usual two processors: whichever is through first takes its share of the rest.
_PARTS: dict[str, Callable[[], None]] = {
    "reading": _compile_reading,
    "fit": _compile_fit,
    "judgement": _compile_judgement,
}


def _marker() -> Path:
    """Says that the kernels of a first verdict are in the cache. The cache's path tells versions apart."""
    return Path(os.environ["NUMBA_CACHE_DIR"]) / COMPILED


def _mark() -> None:
    try:
        _marker().touch()
    except OSError as error:
        log.info("no note that the kernels are compiled", extra={"error": str(error)})


def prepare(stop: threading.Event) -> None:
    """Compile what a first verdict needs in some processes at once, unless it has been compiled before or there is
    nothing to be gained. Returns when that has ended, or has been given up because `stop` was set.

    Whatever goes wrong costs time only: what is missing is compiled when it is needed.
    """
    folder = _marker().parent
    if _marker().exists() or processors() < 2 or not os.access(folder, os.W_OK):
        return
    log.info("compiling the numeric kernels; the next start finds them", extra={"cache": str(folder)})
    children = [_spawn(part) for part in _PARTS]
    while any(child.poll() is None for child in children):
        if stop.wait(_LOOK_S):
            for child in children:
                child.terminate()
    if all(child.returncode == 0 for child in children):
        _mark()


def _spawn(part: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-m", "exporter.compilation", part, str(os.getpid())]
    return subprocess.Popen(command, stdin=quiet, stdout=quiet)  # noqa: S603 -- this program itself


def _end_with(parent: int) -> None:
    """A program that was killed can't end its children: they look for themselves."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    _PARTS[sys.argv[1]]()
