"""The past: two weeks of every series as OpenMetrics text, and its import as blocks of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from exporter.demo.signals import DAY_S
from exporter.demo.world import TARGET_LABELS, World

STEP_S = 300
SPAN_S = 14 * DAY_S + 3600  # a little more than the window, so that its first day is whole
LONGEST_BLOCK = "486h"  # promtool reads the text once per block: with blocks of two hours that is 168 times


def grid(now_s: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The times of the history: multiples of its step up to now. Later samples would make live ones too old."""
    last = int(now_s // STEP_S) * STEP_S
    return np.arange(last - SPAN_S, last + 1, STEP_S, dtype=np.float64)


def chunks(world: World, now_s: float) -> Iterator[str]:
    """The history as OpenMetrics text, one series after another, metric by metric."""
    times = grid(now_s)
    stamps = [f" {t:.0f}\n" for t in times]
    for metric, members in groupby(enumerate(world.series), key=lambda pair: pair[1].metric):
        yield f"# TYPE {metric} gauge\n"
        for index, series in members:
            prefix = series.text(TARGET_LABELS) + " "
            points = zip(world.values(index, times).tolist(), stamps, strict=True)
            yield "".join([f"{prefix}{x:.6g}{stamp}" for x, stamp in points if x == x])
    yield "# EOF\n"


def write(world: World, now_s: float, path: Path, checkpoint: Callable[[], None]) -> int:
    """Write the history to a file, calling ``checkpoint`` after each series; the number of bytes written."""
    with path.open("w", encoding="ascii") as file:
        for text in chunks(world, now_s):
            file.write(text)
            checkpoint()
    return path.stat().st_size


def import_command(promtool: str, text: Path, data: Path) -> list[str]:
    """The command that turns the text into blocks."""
    into_blocks = ["tsdb", "create-blocks-from", "--quiet", f"--max-block-duration={LONGEST_BLOCK}", "openmetrics"]
    return [promtool, *into_blocks, str(text), str(data)]
