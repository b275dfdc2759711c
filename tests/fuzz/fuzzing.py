"""`make fuzz`: every fuzz target in turn for FUZZ_SECONDS each, and a table of what came of it.

python tests/fuzz/fuzzing.py [--seconds 60] [--found FOLDER] [TARGET ...]

Ends with 1 when something was found; the inputs lie in the folder of findings then, and belong into the corpus once
they are mended. Needs atheris (the extra `fuzz`).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
_MOST_MEMORY_MB = 3000
_SLOWEST_INPUT_S = 20
_PATIENCE_S = 300  # beyond its time: a target compiles its kernels first
_HEAD = (
    "target",
    "seconds",
    "inputs tried",
    "branches at first",
    "branches at the end",
    "new in the corpus",
    "findings",
)
_DONE = re.compile(r"Done (\d+) runs")
_LAST = re.compile(r"^#(\d+)\s", re.MULTILINE)
_COVERED = re.compile(r"\bcov: (\d+)")
_ADDED = re.compile(r"stat::new_units_added:\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a target did: `inputs` tried, branches reached at first and at the end, and files with what was found."""

    name: str
    seconds: float
    inputs: int
    covered_first: int
    covered: int
    added: int
    findings: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: 0 when nothing was found, 1 when something was, 2 when it can't be run."""
    sys.path.insert(0, str(HERE.parent))
    from fuzz.targets import TARGETS

    parser = _flags(list(TARGETS))
    flags = parser.parse_args(arguments)
    unknown = [name for name in flags.targets if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are: {', '.join(TARGETS)}")
    if find_spec("atheris") is None:
        print("atheris is needed: pip install 'anomaly-exporter[fuzz]'", file=sys.stderr)  # noqa: T201
        return 2
    flags.found.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in flags.targets or TARGETS:
        outcomes.append(run_target(name, flags.seconds, flags.found, TARGETS[name].longest_bytes))
        print(table(outcomes[-1:]) if len(outcomes) == 1 else _line(outcomes[-1]), flush=True)  # noqa: T201
    print(_line(_total(outcomes)))  # noqa: T201
    return 1 if any(one.findings for one in outcomes) else 0


def run_target(name: str, seconds: int, found: Path, longest_bytes: int) -> Outcome:
    """Fuzz one target in a process of its own, from its corpus on."""
    began, before = time.monotonic(), set(found.iterdir())
    with tempfile.TemporaryDirectory(prefix="fuzz-") as fresh:
        command = [
            sys.executable, str(HERE / "one_target.py"), name, f"-max_total_time={seconds}",
            f"-max_len={longest_bytes}", f"-rss_limit_mb={_MOST_MEMORY_MB}", f"-timeout={_SLOWEST_INPUT_S}",
            f"-report_slow_units={_SLOWEST_INPUT_S}", "-print_final_stats=1", f"-artifact_prefix={found}/{name}-",
            fresh, str(HERE / "corpus" / name),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=seconds + _PATIENCE_S, check=False)
    told = (done.stdout + done.stderr).decode("utf-8", "replace")
    findings = tuple(sorted(path.name for path in set(found.iterdir()) - before))
    (found / f"{name}.log").write_text(told[-200_000:], "utf-8")
    if done.returncode and not findings:
        findings = (f"ended with {done.returncode}, see {name}.log",)
    return read_log(name, told, time.monotonic() - began, findings)


def read_log(name: str, told: str, seconds: float, findings: tuple[str, ...]) -> Outcome:
    """The numbers of libFuzzer's output."""
    covered = [int(number) for number in _COVERED.findall(told)] or [0]
    tried = [int(number) for number in _DONE.findall(told) or _LAST.findall(told)] or [0]
    added = [int(number) for number in _ADDED.findall(told)] or [0]
    return Outcome(name, seconds, tried[-1], covered[0], max(covered), added[-1], findings)


def table(outcomes: Sequence[Outcome]) -> str:
    """As Markdown."""
    return "\n".join([f"| {' | '.join(_HEAD)} |", "| --- |" + " ---: |" * (len(_HEAD) - 1), *map(_line, outcomes)])


def _line(one: Outcome) -> str:
    cells = [one.name, f"{one.seconds:.0f}", f"{one.inputs:,}", str(one.covered_first), str(one.covered)]
    return f"| {' | '.join([*cells, str(one.added), ', '.join(one.findings) or '0'])} |"


def _total(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        "all", sum(one.seconds for one in outcomes), sum(one.inputs for one in outcomes),
        sum(one.covered_first for one in outcomes), sum(one.covered for one in outcomes),
        sum(one.added for one in outcomes), tuple(each for one in outcomes for each in one.findings),
    )  # fmt: skip


def _flags(names: list[str]) -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python tests/fuzz/fuzzing.py", description=__doc__, formatter_class=form)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: %(default)s)")
    parser.add_argument("--found", type=Path, default=Path(".fuzz"), help="folder of findings and logs")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of: {', '.join(names)}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
