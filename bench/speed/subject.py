"""The exporter that is measured: one unit, its page and its web server, in a process of its own.

It obeys words on standard input, one a line, and answers each with a line of JSON:

    prepare TIME_S      make up the newest samples, where there is no server to ask
    cycle TIME_S        run the cycle of that time; answers with the receipt
    forget              let the most memory ever used count from here
    scrapes             how often /metrics was asked for
    profile             from now on profile the cycles
    costs               the costliest functions since then, as text

Alone: python -m bench.speed.subject --series 100000 --cycles 10 [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import pstats
import sys
import time
from typing import Any

from bench.speed import madeup
from bench.speed.clocks import forget_peak, memory_bytes, own_cpu_s
from bench.speed.synthetic import Source
from exporter import names
from exporter.config.schema import DAY_S, HttpConfig, Query
from exporter.crew import Crew
from exporter.heap import bound_heap
from exporter.publish.exposition import Page, Piece
from exporter.publish.lines import WHOLE, Shard
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.publish.web import Landing, Routes, WebServer
from exporter.source.client import Client
from exporter.source.reader import Reader
from exporter.source.session import open_session
from exporter.unit import Receipt, Unit

_SHOWN_FUNCTIONS = 40
_TOLD = ("time_s", "error", "judged", "fitted", "window_bytes")


def make_reader(url: str, expr: str) -> Reader:
    """A reader of the real server with the exporter's own session and defaults."""
    session = open_session(HttpConfig(), user_agent="anomaly-exporter-bench", timeout_s=120)
    return Reader(Client(url, session, timeout_s=120), expr, madeup.STEP_S)


class Subject:
    """A unit over `series` made-up series: windows of 7 days at 5 minutes, an interval of a minute, both models."""

    def __init__(self, series: int, url: str, interval_s: int = 60, threads: int = 1) -> None:
        self.query = Query("bench", madeup.METRIC, window_s=7 * DAY_S, step_s=madeup.STEP_S, interval_s=interval_s)
        self.source = Source(series, make_reader(url, madeup.METRIC) if url else None)
        self.page = Page()
        models = [model.name for model in self.query.models]
        unit_page = UnitPage(self.page, "bench", added_labels("bench", "", vmanomaly=False), models, names.FAMILIES)
        self.unit = Unit("", self.query, self.source, unit_page, Crew(threads))
        self.scrapes = 0
        self._profile: cProfile.Profile | None = None

    def metrics(self, openmetrics: bool, shard: Shard = WHOLE) -> list[Piece]:
        """The page, counted."""
        self.scrapes += 1
        return self.page.pieces(names.FAMILIES, openmetrics, shard)

    def cycle(self, time_s: int) -> Receipt:
        """Run one cycle, profiled where that was asked for."""
        if self._profile is None:
            return self.unit.run_cycle(time_s)
        with self._profile:
            return self.unit.run_cycle(time_s)

    def profile(self) -> None:
        """Profile the cycles from now on."""
        self._profile = cProfile.Profile(time.thread_time)

    def costs(self) -> str:
        """The costliest functions, by their own CPU time; kernels count where they are called."""
        if self._profile is None:
            return ""
        out = io.StringIO()
        pstats.Stats(self._profile, stream=out).sort_stats("tottime").print_stats(_SHOWN_FUNCTIONS)
        return out.getvalue()


def obey(subject: Subject, word: str, argument: str) -> dict[str, Any]:
    """Do what one line says."""
    match word:
        case "prepare":
            subject.source.prepare(int(argument))
            return {}
        case "cycle":
            start = own_cpu_s()
            receipt = subject.cycle(int(argument))
            return {name: getattr(receipt, name) for name in _TOLD} | {"process_cpu_s": own_cpu_s() - start}
        case "forget":
            forget_peak()
            return {}
        case "scrapes":
            return {"scrapes": subject.scrapes}
        case "profile":
            subject.profile()
            return {}
        case "costs":
            return {"text": subject.costs()}
    raise ValueError(f"unknown word: {word}")


def serve(subject: Subject) -> None:
    """Serve the page and obey standard input until it ends."""
    routes = Routes(subject.metrics, lambda: (True, "ready"), None, lambda: "", lambda: Landing("bench", [], [], []))
    web = WebServer("127.0.0.1:0", routes)
    web.start()
    print(json.dumps({"port": web.port}), flush=True)
    for line in sys.stdin:
        word, _, argument = line.strip().partition(" ")
        print(json.dumps(obey(subject, word, argument)), flush=True)
    web.stop()


def run_alone(subject: Subject, cycles: int, interval_s: int, *, profiled: bool) -> None:
    """Some cycles without a server, printed one a line, then where their CPU went."""
    first_s = int(time.time()) // madeup.STEP_S * madeup.STEP_S - madeup.STEP_S
    for number in range(cycles + 1):
        at = first_s + number * interval_s
        subject.source.prepare(at)
        if number == 1:
            forget_peak()
        if number == 1 and profiled:
            subject.profile()
        before_s = own_cpu_s()
        receipt = subject.cycle(at)
        spent_s = own_cpu_s() - before_s
        page_mb = sum(len(text) for piece in subject.metrics(openmetrics=False) for text in piece.written()) / 1e6
        print(f"{'start' if number == 0 else 'cycle'} {spent_s:.3f} CPU s, {receipt.wall_s:.3f} s, "
              f"{receipt.judged} judged, {receipt.fitted} fitted, {page_mb:.1f} MB {receipt.error}; memory "
              f"{memory_bytes('self') / 1e6:.0f} MB, at most {memory_bytes('self', 'VmHWM') / 1e6:.0f} MB, windows "
              f"{receipt.window_bytes / 1e6:.0f} MB", flush=True)  # fmt: skip
    print(subject.costs())


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--interval-s", type=int, default=60)
    parser.add_argument("--url", default="", help="the Prometheus to read the newest samples from; none: made up")
    parser.add_argument("--cycles", type=int, default=0, help="run so many alone instead of obeying standard input")
    parser.add_argument("--threads", type=int, default=1, help="fits side by side; CPU seconds are of all")
    parser.add_argument("--profile", action="store_true")
    flags = parser.parse_args()
    bound_heap()  # as the command does
    subject = Subject(flags.series, flags.url, flags.interval_s, flags.threads)
    if flags.cycles:
        run_alone(subject, flags.cycles, flags.interval_s, profiled=flags.profile)
    else:
        serve(subject)


if __name__ == "__main__":
    main()
