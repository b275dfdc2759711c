"""`make soak`: run the exporter beside a real Prometheus with churn, reloads and faults, and say what it did to it.

python -m bench.soak [--minutes 30] [--series 10000] [--interval 15] [--seed 1] [--no-kill]

Prints drift of memory, threads and handles, late and skipped cycles, CPU, and published verdicts that a replay by
`explain` does not give. Ends with 1 when one of those is wrong. The faults follow from the seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.soak import plan
from bench.soak.report import table
from bench.soak.stage import Stage
from bench.soak.verdicts import Judge
from bench.soak.watching import Watcher
from bench.speed.report import SpeedError
from bench.speed.server import programs
from exporter.config import parse
from exporter.demo.stack import Stack
from exporter.demo.stop import Stopped, listening
from exporter.errors import DemoError

_COMPARED = 12  # scores after each fault
_SETTLED_CYCLES = 3  # that have gone well since a fault: what is published is of now again
_SETTLE_INTERVALS = 30


@dataclass(slots=True)
class Soak:
    """A soak under way."""

    stage: Stage
    watcher: Watcher
    judge: Judge
    interval_s: int
    started: float = field(default_factory=time.monotonic)
    met: Counter[str] = field(default_factory=Counter)

    @property
    def at_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def look(self) -> None:
        """Note how the exporter is doing."""
        self.watcher.look(self.at_s, self.stage.exporter)

    def run(self, seconds: float, faults: Iterable[plan.Fault], *, kill: bool) -> None:
        """Calm and faults in turn until the time is over, the verdicts compared after each."""
        self.look()
        if kill:  # first of all: drift of memory is that of one process
            self.strike(plan.Fault(plan.KILLED, 0, 0))
        for fault in faults:
            if self.at_s + fault.calm_s + fault.lasts_s >= seconds:
                break
            self.stage.wait(fault.calm_s, self.look)
            self.strike(fault)
        self.stage.wait(max(0.0, seconds - self.at_s), self.look)
        self.compare()
        self.look()

    def strike(self, fault: plan.Fault) -> None:
        """Let it go wrong for its time, put it right, wait until cycles go well, compare."""
        print(f"{self.at_s:6.0f} s  {fault.kind} for {fault.lasts_s:.0f} s", file=sys.stderr, flush=True)
        self.met[fault.kind] += 1
        self.stage.begin(fault.kind)
        self.stage.wait(fault.lasts_s, self.look)
        self.stage.mend(fault.kind)
        self.compare()

    def compare(self) -> None:
        """Wait until cycles have gone well and been scraped, then compare some verdicts."""
        before = self.watcher.cycles("ok")
        for _ in range(2 * _SETTLE_INTERVALS):
            self.stage.wait(self.interval_s / 2, self.look)
            if self.watcher.cycles("ok") >= before + _SETTLED_CYCLES:
                self.judge.compare(_COMPARED)
                return
        raise SpeedError(f"no {_SETTLED_CYCLES} cycles went well within {_SETTLE_INTERVALS} intervals after a fault")


def main(arguments: list[str] | None = None) -> int:
    """Run the command: 0 when all is well, 1 when a verdict was wrong, 2 when it can't be run."""
    flags = _flags().parse_args(arguments)
    try:
        programs()
        with (
            listening() as stop,
            tempfile.TemporaryDirectory(prefix="soak-") as name,
            Stack(Path(name), stop) as stack,
        ):
            return _soak(flags, stack, Path(name))
    except (SpeedError, DemoError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except Stopped:
        return 2


def _soak(flags: argparse.Namespace, stack: Stack, folder: Path) -> int:
    stage = Stage(stack, folder, flags.series, flags.interval)
    try:
        judge = Judge(stage.source_url, parse(stage.config_text, "soak.yml", {}), flags.seed)
        soak = Soak(stage, Watcher(stage.url), judge, flags.interval)
        soak.run(60 * flags.minutes, plan.faults(flags.seed, flags.interval), kill=flags.kill)
    finally:
        stage.close()
    print(table(soak.watcher, judge, soak.met, flags.series, flags.seed))
    print("\n".join(judge.wrong), file=sys.stderr)
    return 1 if judge.found["wrong"] or not judge.found["equal"] else 0


def _flags() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__, formatter_class=form)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--interval", type=int, default=15, help="of scrapes and cycles, in seconds")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and of what is compared")
    parser.add_argument("--no-kill", dest="kill", action="store_false", help="do not kill the exporter at the start")
    return parser


if __name__ == "__main__":
    sys.exit(main())
