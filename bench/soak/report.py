"""What a soak found, as a Markdown table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from bench.soak.verdicts import Judge
from bench.soak.watching import Look, Watcher, slope_per_hour
from bench.speed.clocks import machine

_MIB = 2**20


def table(watcher: Watcher, judge: Judge, met: Counter[str], series: int, seed: int) -> str:
    """All rows."""
    rows = [*_what(watcher, met, series, seed), *_drift(watcher), *_cycles(watcher), *_verdicts(judge)]
    return "\n".join(["| | |", "| --- | ---: |", *(f"| {name} | {text} |" for name, text in rows)])


def _what(watcher: Watcher, met: Counter[str], series: int, seed: int) -> list[tuple[str, str]]:
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(met.items()))
    return [
        ("minutes, series, seed", f"{watcher.looks[-1].at_s / 60:.1f}, {series:,}, {seed}"),
        ("machine", machine()),
        ("faults", faults or "none"),
    ]


def _drift(watcher: Watcher) -> list[tuple[str, str]]:
    warm = watcher.warm()
    return [
        ("memory at the start, after warming up, at the end, MiB", _three(watcher, lambda one: one.rss_bytes / _MIB)),
        ("its slope after warming up, MiB an hour", f"{slope_per_hour(warm) / _MIB:+.1f}"),
        ("most memory after warming up, MiB", f"{max(one.rss_bytes for one in warm) / _MIB:.0f}"),
        ("threads", _three(watcher, lambda one: one.threads)),
        ("file handles", _three(watcher, lambda one: one.handles)),
    ]


def _three(watcher: Watcher, of: Callable[[Look], float]) -> str:
    return ", ".join(f"{of(look):.0f}" for look in (watcher.looks[0], watcher.warm()[0], watcher.looks[-1]))


def _cycles(watcher: Watcher) -> list[tuple[str, str]]:
    words = ("ok", "failed", "late", "skipped")
    cycles = max(1, watcher.cycles("ok"))
    own_s = watcher.grown["anomaly_exporter_cycle_cpu_seconds_total"]
    return [
        (f"cycles: {', '.join(words)}", ", ".join(str(watcher.cycles(word)) for word in words)),
        ("CPU s a cycle, scrapes and refits included", f"{watcher.cpu_s / cycles:.3f}"),
        ("of it the cycle itself", f"{own_s / cycles:.3f}"),
        ("series in the end: ok, warming, absent", ", ".join(
            f"{watcher.last.get(f'anomaly_exporter_series {state}', 0):.0f}" for state in ("ok", "warming", "absent"))),
    ]  # fmt: skip


def _verdicts(judge: Judge) -> list[tuple[str, str]]:
    words = ("equal", "wrong", "gone", "not explained")
    told = ", ".join(str(judge.found[word]) for word in words)
    return [(f"published verdicts beside their replay: {', '.join(words)}", told)]
