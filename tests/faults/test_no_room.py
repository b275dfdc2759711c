"""More series than there is memory for: the cycle fails and says so, kernels never write beyond what there is."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.process import parsed
from support.store import Store

from exporter import names
from exporter.config import Query
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.unit import Receipt, Unit

DAY_S = 86_400
NOW = 19_700 * DAY_S + 43_200
WINDOW_S = 14 * DAY_S
FEW, MANY = 100, 3000
WINDOW_BYTES = MANY * (WINDOW_S // 300) * 4


class ShortOfMemory(UnitPage):
    """A page that finds no memory for its next rows."""

    short = False

    def admit(self, rows) -> None:
        if self.short:
            raise MemoryError
        super().admit(rows)


def made(store: Store) -> tuple[Unit, ShortOfMemory, Page]:
    query = Query("m", "m", window_s=WINDOW_S)
    models = [model.name for model in query.models]
    shown = Page()
    page = ShortOfMemory(shown, "m", added_labels("m", "", vmanomaly=False), models, names.FAMILIES)
    return Unit("", query, store, page), page, shown


def put(store: Store, series: int, time_s: int) -> None:
    for i in range(series):
        store.put({"__name__": "m", "i": str(i)}, time_s - 3, 5.0 + i)


def told(receipt: Receipt) -> str:
    watched = sum(receipt.states.values())
    return f"{receipt.reason or 'ok'} {receipt.series} {receipt.judged} {watched}"


def tell(receipt: Receipt) -> None:
    sys.stdout.write(told(receipt) + "\n")
    sys.stdout.flush()


def starve() -> None:
    """Writes what became of each cycle: a few series, too many for the memory, those again, and room for them."""
    store = Store(plain=True, step_s=300)
    unit, _, _ = made(store)
    put(store, FEW, NOW)
    tell(unit.run_cycle(NOW))
    used_bytes = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    few = store.series
    store.series = dict(few)
    put(store, MANY, NOW + 60)
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + WINDOW_BYTES * 9 // 10, resource.RLIM_INFINITY))
    for minute in (1, 2, 3):
        tell(unit.run_cycle(NOW + 60 * minute))
    many, store.series = store.series, few
    put(store, FEW, NOW + 240)
    tell(unit.run_cycle(NOW + 240))
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.series = many
    put(store, MANY, NOW + 300)
    tell(unit.run_cycle(NOW + 300))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of the address space is Linux'")
def test_too_many_newcomers_are_no_crash_and_are_taken_in_when_there_is_room() -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    script = "import runpy, sys; runpy.run_path(sys.argv[1])['starve']()"
    done = subprocess.run(
        [sys.executable, "-c", script, __file__], env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    few, many = f"ok {FEW} {FEW} {FEW}", f"ok {MANY} {MANY} {MANY}"
    assert done.stdout.splitlines() == [few, *["memory 0 0 0"] * 3, few, many]


def test_a_unit_that_could_not_take_in_all_of_its_new_rows_starts_over() -> None:
    store = Store(plain=True, step_s=300)
    unit, page, shown = made(store)
    times = np.arange(NOW - 2 * DAY_S, NOW + 180, 60) - 3
    store.put({"i": "0"}, times, np.sin(times))
    assert told(unit.run_cycle(NOW)) == "ok 1 1 1"
    store.put({"i": "1"}, times, np.cos(times))
    page.short = True
    assert unit.run_cycle(NOW + 60).reason == "memory"
    page.short = False
    assert told(unit.run_cycle(NOW + 120)) == "ok 2 2 2"
    text = b"".join(shown.chunks(names.FAMILIES, False)).decode()
    assert {labels["i"] for labels, _ in parsed(text)["anomaly_score"]} == {"0", "1"}
