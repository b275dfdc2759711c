"""Every fuzz target: its oracle, and the packages whose branches guide the fuzzer.

Modules that hold kernels are never instrumented: numba compiles their functions from the bytecode.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import exporter

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Target:
    """`oracle` is a module of fuzz.oracles whose `check` takes bytes and raises for a finding; `packages` are
    instrumented beside the exporter."""

    oracle: str
    packages: tuple[str, ...] = ()
    longest_bytes: int = 2048


TARGETS: Mapping[str, Target] = {
    "scanner": Target("scanner"),
    "stream": Target("stream", ("naive",)),
    "configs": Target("configs", ("yaml",)),
    "durations": Target("durations", longest_bytes=64),
    "exposition": Target("exposition", ("prometheus_client",)),
    "remote_writing": Target("remote_writing"),
    "numbers": Target("numbers", ("naive",), 128),
    "questions": Target("questions", longest_bytes=512),
    "relabelling": Target("relabelling", ("naive",), 256),
    "backtest_files": Target("backtest_files", longest_bytes=1024),
}


def with_kernels() -> Iterator[str]:
    """Names of the exporter's modules that numba compiles something of."""
    home = Path(exporter.__file__).parent
    for path in home.rglob("*.py"):
        source = path.read_text("utf-8")
        if "exporter.kernels" in source or "numba" in source:
            yield ".".join(path.relative_to(home.parent).with_suffix("").parts)


def check_of(target: Target) -> Callable[[bytes], None]:
    """The function that takes one input of a target and raises for a finding."""
    return cast("Callable[[bytes], None]", importlib.import_module(f"fuzz.oracles.{target.oracle}").check)


def corpus_of(name: str) -> list[Path]:
    """The files of a target's corpus, in the order of their names."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
