"""Measure detectors on labelled data and print a table per set.

python -m bench.quality --data DIR [--sets nab ...] [--models robust_band ...] [--out FILE.json] [--write BENCHMARKS.md]
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import time
from pathlib import Path

from bench.quality.corpus import CorpusError, Set, find_sets, read_set
from bench.quality.measures import measure
from bench.quality.replaying import ALL, DETECTORS, score_set
from bench.quality.report import Measured, tables, text, write_json, write_markdown


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when everything was measured, 2 for data or flags that can't be used."""
    flags = _flags().parse_args(arguments)
    started = time.monotonic()
    results: list[Measured] = []
    try:
        for folder in find_sets(flags.data, tuple(flags.sets)):
            corpus = read_set(folder, whole=flags.whole)
            found = _measure_set(corpus, flags.models, flags.workers)
            for title, rows in tables(corpus.name, found):
                print(f"\n{title}\n{text(rows)}", flush=True)
            results += found
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 2
    remark = _remark(time.monotonic() - started, flags.workers)
    print(f"\n{remark}")
    if flags.out:
        write_json(flags.out, results)
    if flags.write:
        write_markdown(flags.write, results, remark)
    return 0


def _measure_set(corpus: Set, names: list[str], workers: int) -> list[Measured]:
    """Replay every series, then measure every detector; says on stderr how far it is."""
    scores = [dict[str, object]() for _ in corpus.series]
    started = time.monotonic()
    for done, (number, found) in enumerate(score_set(corpus, names, workers), start=1):
        scores[number] = found
        spent = time.monotonic() - started
        print(f"\r{corpus.name}: {done} of {len(scores)} series, {spent:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [Measured(corpus.name, name, measure(corpus, [one[name] for one in scores])) for name in names]


def _remark(wall_s: float, workers: int) -> str:
    day = datetime.datetime.now(tz=datetime.UTC).date()
    return f"{day}, {_machine()}, {workers} processes, {wall_s / 60:.1f} minutes."


def _machine() -> str:
    """The processor, as Linux names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per set, or one set, or NAB's")
    parser.add_argument("--sets", nargs="+", default=[], help="only these sets")
    parser.add_argument("--models", nargs="+", default=list(DETECTORS), choices=list(ALL), metavar="MODEL",
                        help="only these detectors, of: " + ", ".join(ALL))  # fmt: skip
    parser.add_argument("--out", type=Path, help="write all measures to this JSON file")
    parser.add_argument("--write", type=Path, help="put the tables into this Markdown file, between its marks")
    parser.add_argument("--whole", action="store_true", help="measure series without a test part as a whole, "
                        "in sets that have such parts")  # fmt: skip
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
