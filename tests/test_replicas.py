"""Replicas of one query that started at different moments, or missed cycles, write the same numbers to the bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from support.replicas import Observant, Replica, by_key, differing
from support.watched import DAY, NOW, SERIES, Make

from exporter.config import Query

INTERVAL_S, CYCLES = 60, 150
STARTS = {"first": 0, "late": 37, "column": 85, "last": 118}
# The families that ask more of a query: signals, detectability, and bands of anomalous series only.
EVERYTHING = {"signals": ("shift", "stale"), "detectability": True, "publish": "anomalous"}


def slow(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sample every five cycles only: it stays the newest one for a while."""
    values = SERIES["rhythm"](times, rng)
    values[np.arange(len(times)) % 5 != 0] = np.nan
    return values


def irregular(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = SERIES["rhythm"](times, rng)
    values[rng.random(len(times)) < 0.7] = np.nan
    return values


def born(level: float, spread: float) -> Make:
    """A series that begins while replicas are running."""

    def make(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        values = level + spread * np.sin(2 * np.pi * times / DAY) + rng.normal(0, spread / 10, len(times))
        values[times < NOW + 120] = np.nan
        return values

    return make


USUAL: Mapping[str, Make] = {
    **SERIES, "slow": slow, "irregular": irregular, "broken": SERIES["rhythm"], "young": born(50, 10),
}  # fmt: skip
# Centred by what was there when the series was met: float32 then holds other last digits (docs/operations.md).
LARGE_LEVELS: Mapping[str, Make] = {"large": born(2e5, 1e4), "huge": born(1e8, 10)}


def run(
    kinds: Mapping[str, Make],
    *,
    plain: bool = True,
    missed: float = 0.0,
    starts: Mapping[str, int] = STARTS,
    cycles: int = CYCLES,
    away: range = range(0),
    **settings,
) -> dict[str, dict]:
    """What each replica has written. `missed` is the share of cycles that the late one has no time for,
    `away` the cycles without a sample of any series."""
    rng = np.random.default_rng(3)
    query = Query("m", "m", interval_s=INTERVAL_S, step_s=300, window_s=2 * DAY, min_history_s=3600, **settings)
    store, replicas = Observant(plain=plain, step_s=300), dict[str, Replica]()
    times = np.arange(NOW - 2.2 * DAY, NOW + cycles * INTERVAL_S, INTERVAL_S) - 2.0
    made = {kind: make(times, np.random.default_rng(seed)) for seed, (kind, make) in enumerate(kinds.items())}
    before_s = 0.0
    for cycle in range(cycles):
        time_s = NOW + cycle * INTERVAL_S
        for kind, values in made.items():
            kept = (times > before_s) & (times <= time_s) & ~np.isnan(values)
            shown = values[kept].copy()
            if kind == "broken" and rng.random() < 0.2:
                shown[-1:] = np.nan  # what an application shows that divides by zero
            if cycle not in away:
                store.put({"__name__": "m", "kind": kind}, times[kept], shown)
        before_s = time_s
        for name, start in starts.items():
            if cycle == start:
                replicas[name] = Replica(query, store)
            if cycle >= start and not (name == "late" and cycle > start and rng.random() < missed):
                replicas[name].run_cycle(time_s)
    return {name: by_key(replica.tape.samples) for name, replica in replicas.items()}


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("missed", [0.0, 0.2])
def test_the_moment_of_the_start_does_not_show(settings: dict, missed: float) -> None:
    written = run(USUAL, missed=missed, **settings)
    for name, start in STARTS.items():
        both = written["first"].keys() & written[name].keys()
        assert len(both) > 20 * (CYCLES - start)
        assert not differing(written["first"], written[name], "kind")


def test_nothing_is_missing_but_what_came_before_the_start() -> None:
    """Once a replica has met its first samples it writes what the others write, and nothing else."""
    written = run({kind: SERIES[kind] for kind in ("rhythm", "counts", "stepping")})
    for name, start in STARTS.items():
        since_ms = (NOW + start * INTERVAL_S) * 1000
        first = {key for key in written["first"] if key[1] > since_ms}
        assert first == {key for key in written[name] if key[1] > since_ms} != set()


def test_an_expression_has_the_same_value_whoever_asks() -> None:
    written = run(USUAL, plain=False, **EVERYTHING)
    for name in STARTS:
        assert not differing(written["first"], written[name], "kind")


def test_after_an_outage_of_everything_all_windows_are_still_there() -> None:
    """More series than may be missing when others are present; one replica starts while all are away."""
    away = range(20, 40)
    kinds = {f"rhythm-{k}": SERIES["rhythm"] for k in range(80)}
    written = run(kinds, starts={"first": 0, "last": 30}, cycles=45, away=away)
    for tape in written.values():
        back_ms = (NOW + away.stop * INTERVAL_S - 2) * 1000
        assert {dict(labels)["kind"] for labels, time_ms in tape if time_ms == back_ms} == set(kinds)
    assert not differing(written["first"], written["last"], "kind")


def test_large_levels_agree_in_the_digits_that_are_shown() -> None:
    """The known exception: a level far above its range is centred by what was there when the series was met."""
    written = run(LARGE_LEVELS, starts={"first": 0, "last": 200}, cycles=230)
    one, other = written["first"], written["last"]
    both = sorted(one.keys() & other.keys())
    assert len(both) > 200
    values = [np.array([max(tape[key]) for key in both], np.uint64).view(np.float64) for tape in (one, other)]
    scored = np.array([dict(labels)["__name__"] == "anomaly_score" for labels, _ in both])
    assert np.abs(values[0] - values[1])[scored].max() < 1e-3
    assert np.allclose(values[0][~scored], values[1][~scored], rtol=1e-6)
