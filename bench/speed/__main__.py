"""Measure what the exporter costs beside a real Prometheus and beside the naive ways, and print a table.

python -m bench.speed [--scale 10k|100k|1m] [--json FILE] [--write BENCHMARKS.md]

Minutes on two cores: about 5 at 10k, 15 at 100k. Targets are for 100k series, here in proportion to the scale; what
stands in brackets is a stretch. Ratio: how many times better than the naive way, in the same run. A run of minutes with
the real exporter at its real pace is python -m bench.speed.live.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
from pathlib import Path

from bench.speed.clocks import machine
from bench.speed.measuring import measure
from bench.speed.plan import Plan, parse_scale, size_text
from bench.speed.report import Row, SpeedError, cells, check_marks, remarks, text, write_json, write_markdown
from bench.speed.server import programs
from exporter.demo.stack import Stack
from exporter.demo.stop import Stopped, listening
from exporter.errors import DemoError
from exporter.heap import bound_heap


def main(arguments: list[str] | None = None) -> int:
    """Run the command: 0 when everything was measured, 2 when it can't be, with the reason on standard error."""
    flags = _flags().parse_args(arguments)
    bound_heap()  # as the command does: windows are read here
    started = time.monotonic()
    try:
        if flags.write:
            check_marks(flags.write)
        programs()
        plan = Plan.of(flags.scale)
        rows = _measured(plan, started)
        remark = _remark((time.monotonic() - started) / 60)
        print("\n".join(["", text(cells(rows)), "", *remarks(rows), "", remark]))
        if flags.json:
            write_json(flags.json, rows, size_text(plan.series), size_text(plan.served))
        if flags.write:
            write_markdown(flags.write, rows, remark)
    except (SpeedError, DemoError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except Stopped:
        return 2
    return 0


def _measured(plan: Plan, started: float) -> list[Row]:
    def tell(what: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {what}", file=sys.stderr, flush=True)

    with listening() as stop, tempfile.TemporaryDirectory(prefix="bench-speed-") as name:
        folder = Path(name)
        with Stack(folder, stop) as stack:
            return list(measure(plan, stack, folder, tell))


def _remark(wall_minutes: float) -> str:
    day = datetime.datetime.now(tz=datetime.UTC).date()
    return f"{day}, {machine()}, {wall_minutes:.1f} minutes. CPU seconds of one core unless said; medians."


def _scale(text: str) -> int:
    try:
        return parse_scale(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no scale; allowed: 10k, 100k, 1m, or a number") from None


def _flags() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__, formatter_class=form)
    parser.add_argument("--scale", type=_scale, default=parse_scale("10k"), help="10k, 100k, 1m, or so many series")
    parser.add_argument("--json", type=Path, help="write the measures to this file, as a flat list")
    parser.add_argument("--write", type=Path, help="put the table into this Markdown file, between its marks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
