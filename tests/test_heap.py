"""The C heap: few arenas however many threads there were, and large blocks that go back to the system at once."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.process import config_file, config_text, running_exporter

from exporter.heap import bound_heap

ARENA_BYTES = 64 << 20  # of addresses, of which only the beginning is used; each lies at a multiple of it
TUNABLES = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ 0 *$")

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc")

THREADS_AT_ONCE = """
import threading
import numpy as np
together = threading.Barrier(13)

def work():
    held = np.ones(10_000)
    together.wait(60)  # all of them have an array now
    together.wait(60)  # and it has been looked at

threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads:
    thread.start()
together.wait(60)
print(len(arenas(open("/proc/self/maps").read())))
together.wait(60)
"""

LARGE_BLOCKS = """
import ctypes
import numpy as np

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
for _ in range(3):
    held = np.ones(2_500_000)
    mapped_bytes = libc.mallinfo2().hblkhd
    del held
print(mapped_bytes >= 20_000_000)
"""


def arenas(maps: str) -> list[int]:
    """Where the arenas of threads begin, of the text of /proc/PID/maps: memory that may be written to and, behind it,
    addresses kept for more, both together of an arena's size."""
    found = [MAPPING.match(line) for line in maps.splitlines()]
    spans = [(int(one[1], 16), int(one[2], 16), one[3]) for one in found if one]
    return [
        low
        for (low, end, how), (more, high, kept) in itertools.pairwise(spans)
        if (low % ARENA_BYTES, high - low, more, how, kept) == (0, ARENA_BYTES, end, "rw-p", "---p")
    ]


def told_by(script: str, *, bound: bool, more: Mapping[str, str] | None = None) -> str:
    """What a script prints in a process of its own, with the heap bound or as the C library has it."""
    environ = {name: text for name, text in os.environ.items() if name not in TUNABLES} | dict(more or {})
    lines = ["import sys", f"sys.path.insert(0, {str(Path(__file__).parent)!r})", "from test_heap import arenas"]
    lines += ["from exporter.heap import bound_heap", "bound_heap()"] if bound else []
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines) + script], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_threads_share_a_few_arenas() -> None:
    assert int(told_by(THREADS_AT_ONCE, bound=True)) <= 4
    assert int(told_by(THREADS_AT_ONCE, bound=False)) > 4


def test_large_blocks_go_back_whatever_was_freed_before() -> None:
    assert told_by(LARGE_BLOCKS, bound=True) == "True"
    assert told_by(LARGE_BLOCKS, bound=False) == "False"


def test_whoever_tunes_the_heap_by_the_environment_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert int(told_by(THREADS_AT_ONCE, bound=True, more={"MALLOC_ARENA_MAX": "11"})) > 4
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=11")
    assert not bound_heap()


def test_the_running_program_keeps_to_it(tmp_path: Path) -> None:
    config = config_file(tmp_path, config_text("http://127.0.0.1:1", {"up": "expr: up", "down": "expr: 1 - up"}))
    with running_exporter(config) as exporter:
        for _ in range(20):
            assert exporter.get("/metrics").ok
        maps = Path(f"/proc/{exporter.process.pid}/maps").read_text("ascii", "replace")
        assert 1 <= len(arenas(maps)) <= 4
