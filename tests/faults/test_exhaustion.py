"""No more file handles, no more memory: the cycles that need them fail and say so, then all goes on."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.outcomes import Failed
from support.market import PODS, Market
from support.process import Exporter, config_text, running_exporter
from support.servers import wait_until
from support.watched import NOW, Watched

START = "global: {interval: 1s, step: 5m, window: 2d}\n"


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    server = Market(("m",)).serve()
    config = tmp_path / "config.yml"
    config.write_text(config_text(server.url, {"m": "expr: m"}, start=START))
    with running_exporter(config) as running:
        wait_until(running.ready, "verdicts")
        yield running
    server.close()


def limit(exporter: Exporter, kind: int, most: int) -> None:
    """A limit of the running process, which can be raised again."""
    hard = resource.prlimit(exporter.process.pid, kind)[1]
    resource.prlimit(exporter.process.pid, kind, (most, hard))


def failed(exporter: Exporter) -> str:
    """The last line of its log that tells an error."""
    lines = [line for line in exporter.log.splitlines() if "level=error" in line]
    return lines[-1] if lines else ""


def test_without_free_file_handles_cycles_fail_and_come_back(exporter: Exporter) -> None:
    lines = len(exporter.log.splitlines())
    assert failed(exporter) == ""
    limit(exporter, resource.RLIMIT_NOFILE, 5)  # fewer than it has: what is open stays open
    try:
        wait_until(lambda: "too many open files" in failed(exporter), "it is told")
        start_s, cpu_s = time.monotonic(), cpu_of(exporter)
        with pytest.raises(Failed):
            wait_until(lambda: exporter.process.poll() is not None, "it ends", 3)
        assert len(exporter.log.splitlines()) - lines < 60
        assert cpu_of(exporter) - cpu_s < 0.8 * (time.monotonic() - start_s)
    finally:
        limit(exporter, resource.RLIMIT_NOFILE, 1024)
    exporter.wait_for_cycles("m", 2)
    assert len(exporter.samples("anomaly_score", query="m")) == 2 * len(PODS)


def cpu_of(exporter: Exporter) -> float:
    """CPU seconds that the process has taken."""
    fields = Path(f"/proc/{exporter.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_query_that_finds_no_memory_fails_alone() -> None:
    """Wherever in a cycle it is missing: nothing is half done, and the next one is as if nothing had been."""
    struck, steady = Watched(), Watched()
    for minute in range(8):
        struck.store.fail = MemoryError() if minute in (0, 3, 4) else None
        time_s = NOW + 60 * minute
        for watched in (struck, steady):
            watched._put(time_s - 60, time_s)
            receipt = watched.unit.run_cycle(time_s)
            assert receipt.reason == ("memory" if watched is struck and minute in (0, 3, 4) else "")
    assert struck.published() == steady.published()
    assert struck.published()
