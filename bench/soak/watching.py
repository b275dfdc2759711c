"""What is looked at all the time: memory, threads, handles and the exporter's own counters, across its restarts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import requests

from bench.speed.clocks import cpu_of, memory_bytes
from bench.speed.live import self_metrics
from exporter.demo.stack import Server

_WARM_SHARE = 0.25  # of the time counts as warming up
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Look:
    """One process at one moment: `at_s` since the start of the soak."""

    at_s: float
    rss_bytes: int
    threads: int
    handles: int


@dataclass(slots=True)
class Watcher:
    """Looks at the exporter; counters go on where a restart sets them back to 0."""

    url: str
    looks: list[Look] = field(default_factory=list)
    grown: Counter[str] = field(default_factory=Counter)
    last: dict[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0
    _cpu_before: tuple[int, float] = (0, 0.0)

    def look(self, at_s: float, exporter: Server) -> None:
        """Take note. A page that can't be had (the exporter is starting) is left out."""
        pid = exporter.process.pid
        used_s = cpu_of(pid)
        self.cpu_s += used_s - (self._cpu_before[1] if self._cpu_before[0] == pid else 0.0)
        self._cpu_before = pid, used_s
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
        threads = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Threads:"))
        handles = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        self.looks.append(Look(at_s, memory_bytes(pid), threads, handles))
        try:
            now = self_metrics(requests.get(f"{self.url}/metrics", timeout=_TIMEOUT_S).text)
        except requests.RequestException:
            return
        for key, value in now.items():
            if "_total" in key:
                before = self.last.get(key, 0.0)
                self.grown[key] += value - before if value >= before else value  # type: ignore[assignment]
        self.last = now

    def cycles(self, outcome: str) -> int:
        """Cycles of this outcome so far."""
        return round(self.grown[f"anomaly_exporter_cycles_total {outcome}"])

    def warm(self) -> list[Look]:
        """The looks after the first quarter of the time."""
        end_s = self.looks[-1].at_s
        return [look for look in self.looks if look.at_s >= _WARM_SHARE * end_s]


def slope_per_hour(looks: list[Look]) -> float:
    """Bytes of memory an hour, by least squares over the looks; 0 for fewer than two."""
    if len(looks) < 2:
        return 0.0
    hours = np.array([look.at_s for look in looks]) / 3600
    return float(np.polyfit(hours, [look.rss_bytes for look in looks], 1)[0])
