"""CPU seconds and memory of this process and of others, as Linux accounts them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SETTLED_S = 0.002  # CPU seconds in a tenth of a second under which a process counts as idle
PATIENCE_S = 5.0


def cpu_of(pid: int) -> float:
    """CPU seconds that a process of ours has used, all threads, in nanosecond steps. OSError when it is gone.

    The clock's number is made of the process id as in Linux' include/linux/posix-timers_types.h (CPUCLOCK_SCHED).
    """
    return time.clock_gettime((~pid << 3) | 2)


def own_cpu_s() -> float:
    """CPU seconds of this process, all threads."""
    return time.process_time()


def memory_bytes(pid: int | str, key: str = "VmRSS") -> int:
    """Resident memory of a process (its id, or "self"): now (``VmRSS``), or the most it ever was (``VmHWM``)."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


def median_cpu_s(work: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of a call in this process, after one that compiles and warms up."""
    work()
    return statistics.median(_timed(work, None)[0] for _ in range(repeats))


def forget_peak() -> None:
    """Let the most memory that this process ever used (``VmHWM``) count from here."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds on the client's and on the server's side of the same work."""

    client_s: float
    server_s: float

    @property
    def total_s(self) -> float:
        """Both together."""
        return self.client_s + self.server_s


def side_by_side(work: Callable[[], object], server: int, repeats: int) -> Spent:
    """Median CPU seconds of a call here and in the server (a process id), after one to warm up."""
    work()
    settle(server)
    spent = [_timed(work, server) for _ in range(repeats)]
    return Spent(statistics.median(own for own, _ in spent), statistics.median(theirs for _, theirs in spent))


def settle(*pids: int) -> None:
    """Wait, some seconds at most, until processes are idle: a server tidies up after its answer."""
    deadline = time.monotonic() + PATIENCE_S
    before = -1.0
    while time.monotonic() < deadline:
        now = sum(cpu_of(pid) for pid in pids)
        if now - before < SETTLED_S:
            return
        before = now
        time.sleep(0.1)


def _timed(work: Callable[[], object], server: int | None) -> tuple[float, float]:
    """CPU seconds here and there. The own clock stops before the server gets its time to tidy up."""
    theirs = cpu_of(server) if server is not None else 0.0
    start = own_cpu_s()
    work()
    own = own_cpu_s() - start
    if server is None:
        return own, 0.0
    settle(server)
    return own, cpu_of(server) - theirs


def machine() -> str:
    """The processor, and how busy the machine is beside us."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "processor unknown")
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
