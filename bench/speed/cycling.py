"""Whole cycles of an exporter process: beside a real Prometheus that it reads and that scrapes it, and without one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.speed import madeup, server
from bench.speed.clocks import cpu_of, memory_bytes, settle
from bench.speed.report import SpeedError

Tell = Callable[[str], None]

INTERVAL_S = 60
WARM_CYCLES = 2  # Prometheus meets the series of the page once: not part of the cycle
_PAGES_ONLY = 3  # scrapes without a cycle between them
_PATIENCE_S = 180.0
_END_S = 30.0
_LOOK_S = 0.2  # between two looks for a scrape: each costs the exporter a little


@dataclass(frozen=True, slots=True)
class Cycles:
    """Means over the measured cycles, CPU seconds: of the exporter process and of the server, in all, and of it for a
    scrape; the exporter's own cycle with and without a column that closes; the memory after them, the most that they
    took, and the most that the first cycle took, which reads the window and fits all series."""

    exporter_s: float
    server_s: float
    scrape_exporter_s: float
    scrape_server_s: float
    plain_s: float
    closing_s: float
    start_s: float
    start_peak_bytes: int
    rss_bytes: int
    peak_bytes: int
    window_bytes: int
    remark: str = ""


class Exporter:
    """The measured process (`subject.py`), to be used in a ``with`` block."""

    def __init__(self, series: int, url: str, log: Path, interval_s: int = INTERVAL_S) -> None:
        self.series = series
        self._log = log
        with log.open("wb") as out:
            flags = [f"--series={series}", f"--url={url}", f"--interval-s={interval_s}"]
            command = [sys.executable, "-m", "bench.speed.subject", *flags]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out)
        self.port = int(self._answer()["port"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def say(self, *words: str | int) -> dict[str, Any]:
        """Send a line, wait for its answer. SpeedError with the end of the log when the process ends instead."""
        if self._process.stdin is not None:
            self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
            self._process.stdin.flush()
        return self._answer()

    def cycle(self, time_s: int) -> dict[str, Any]:
        """Run a cycle; its receipt. SpeedError when it went wrong or judged nothing."""
        self.say("prepare", time_s)
        receipt = self.say("cycle", time_s)
        if receipt["error"] or receipt["judged"] < self.series:
            why = receipt["error"] or f"{receipt['judged']} of {self.series} series judged"
            raise SpeedError(f"the measured cycle went wrong: {why}")
        return receipt

    def begin(self, time_s: int) -> tuple[float, int]:
        """The first cycle, which reads the whole window and fits all series: its CPU seconds, and the most memory that
        the process took."""
        spent_s = float(self.cycle(time_s)["process_cpu_s"])
        peak_bytes = memory_bytes(self.pid, "VmHWM")
        self.say("forget")
        return spent_s, peak_bytes

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise SpeedError(f"the measured exporter ended:\n{self._log.read_text('utf-8', 'replace')[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def beside_prometheus(
    prometheus: server.Prometheus,
    series: int,
    cycles: int,
    scrape_interval_s: int,
    end_s: int,
    tell: Tell,
) -> Cycles:
    """Cycles up to `end_s`, a minute apart in their data and a scrape apart in time. The samples must be there."""
    first_s = end_s - (cycles + WARM_CYCLES) * INTERVAL_S
    with Exporter(series, prometheus.url, prometheus.folder / "subject.log") as exporter:
        start = exporter.begin(first_s)
        server.scrape(prometheus, exporter.port, scrape_interval_s)
        try:
            for number in range(1, WARM_CYCLES + 1):
                exporter.cycle(first_s + number * INTERVAL_S)
                _after_scrape(exporter, prometheus)
            return _measure(exporter, prometheus, first_s + WARM_CYCLES * INTERVAL_S, cycles, start, tell)
        finally:
            server.stop_scraping(prometheus)


def alone(series: int, cycles: int, folder: Path, tell: Tell, interval_s: int = INTERVAL_S) -> Cycles:
    """Cycles of a process that reads from within itself: no server, no HTTP, nobody scrapes."""
    first_s = int(time.time()) // madeup.STEP_S * madeup.STEP_S - (cycles + 1) * interval_s
    with Exporter(series, "", folder / "subject.log", interval_s) as exporter:
        start = exporter.begin(first_s)
        tell(f"{cycles} cycles of {series} series from within, every {interval_s} s")
        receipts = [exporter.cycle(first_s + number * interval_s) for number in range(1, cycles + 1)]
        own = [float(receipt["process_cpu_s"]) for receipt in receipts]
        tell(f"{', '.join(f'{spent_s:.3g}' for spent_s in own)} CPU s, {memory_bytes(exporter.pid) / 1e9:.2f} GB; "
             f"the first cycle {start[0]:.3g} CPU s, {start[1] / 1e9:.2f} GB")  # fmt: skip
        return Cycles(sum(own) / cycles, 0.0, 0.0, 0.0, *_by_kind(receipts), *start, *_memory(exporter, receipts))


def _measure(
    exporter: Exporter,
    prometheus: server.Prometheus,
    first_s: int,
    cycles: int,
    start: tuple[float, int],
    tell: Tell,
) -> Cycles:
    """The cycles that count, each followed by one scrape; then scrapes of a page that stays as it is."""
    before, scraped = _both(exporter, prometheus), exporter.say("scrapes")["scrapes"]
    receipts = []
    tell(f"{cycles} cycles of {exporter.series} series beside Prometheus")
    for number in range(1, cycles + 1):
        receipts.append(exporter.cycle(first_s + number * INTERVAL_S))
        _after_scrape(exporter, prometheus)
    after, scrapes = _both(exporter, prometheus), exporter.say("scrapes")["scrapes"] - scraped
    for _ in range(_PAGES_ONLY):
        _after_scrape(exporter, prometheus)
    idle = _both(exporter, prometheus)
    remark = "" if scrapes == cycles else f"{scrapes} scrapes in {cycles} cycles: the machine was too slow for its pace"
    return Cycles(
        (after[0] - before[0]) / cycles,
        (after[1] - before[1]) / cycles,
        (idle[0] - after[0]) / _PAGES_ONLY,
        (idle[1] - after[1]) / _PAGES_ONLY,
        *_by_kind(receipts),
        *start,
        *_memory(exporter, receipts),
        remark,
    )


def _both(exporter: Exporter, prometheus: server.Prometheus) -> tuple[float, float]:
    return cpu_of(exporter.pid), cpu_of(prometheus.pid)


def _after_scrape(exporter: Exporter, prometheus: server.Prometheus) -> None:
    """Wait for the next scrape and until both have digested it. SpeedError when none comes."""
    seen = exporter.say("scrapes")["scrapes"]
    deadline = time.monotonic() + _PATIENCE_S
    while exporter.say("scrapes")["scrapes"] == seen:
        if time.monotonic() > deadline:
            raise SpeedError("Prometheus does not scrape the measured exporter")
        time.sleep(_LOOK_S)
    settle(exporter.pid, prometheus.pid)


def _by_kind(receipts: list[dict[str, Any]]) -> tuple[float, float]:
    """Mean CPU seconds of cycles within a column, and of those that open a new one."""
    opening = [float(one["process_cpu_s"]) for one in receipts if one["time_s"] % madeup.STEP_S == INTERVAL_S]
    within = [float(one["process_cpu_s"]) for one in receipts if one["time_s"] % madeup.STEP_S != INTERVAL_S]
    return sum(within) / max(len(within), 1), sum(opening) / max(len(opening), 1)


def _memory(exporter: Exporter, receipts: list[dict[str, Any]]) -> tuple[int, int, int]:
    window_bytes = int(receipts[-1]["window_bytes"])
    return memory_bytes(exporter.pid), memory_bytes(exporter.pid, "VmHWM"), window_bytes
