"""What a running exporter says of made series, cycle by cycle, beside what their replay says."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np

from exporter.config.schema import Query
from exporter.judging import Judging, horizon
from exporter.replay import History, Replay, Replayed
from exporter.samples import SampleBatch
from exporter.series import SeriesTable
from exporter.verdict import Bands
from exporter.window import Window

DAY = 86_400
FIRST_S = 19_700 * DAY  # a midnight that all intervals of these tests divide
HASHES = (0, 1, 7, 2**32 - 1, 12_345, 59)
PARTS = tuple(field.name for field in fields(Bands))
MODELS = ("robust_band", "shesd")


class Hashes(SeriesTable):
    """A table that only knows the rows' hashes."""

    def __init__(self, hashes: tuple[int, ...]) -> None:
        super().__init__()
        self._hashes = hashes

    def stable_hash(self, row: int) -> int:
        return self._hashes[row]


def query(**settings: object) -> Query:
    return Query("m", "m", **({"interval_s": 300, "step_s": 300, "window_s": 3 * DAY} | settings))


def nothing(shape: tuple[int, int]) -> Bands:
    return Bands(*(np.full(shape, np.nan) for _ in PARTS))


def write(window: Window, rows: np.ndarray, time_s: int, value: np.ndarray, new: np.ndarray) -> None:
    """The newest samples of some rows, as an answer brings them; `new` marks those met for the first time."""
    count = len(rows)
    batch = SampleBatch(
        body=np.empty(0, np.uint8), label_start=np.zeros(count, np.int64), label_end=np.zeros(count, np.int64),
        label_hash=np.zeros(count, np.uint64), first=np.arange(count + 1), time_ms=np.full(count, time_s * 1000),
        value=value,
    )  # fmt: skip
    window.place(rows, batch, new)
    window.write_newest(rows, batch)


def live_all(asked: Query, values: np.ndarray, first_cycle: int, hashes: tuple[int, ...]) -> Replayed:
    """What window and judging publish about series (rows, cycles) at each cycle: NaN where that is nothing new."""
    rows = np.arange(len(values))
    window = Window(asked.window_s // asked.step_s, horizon(asked.step_s), asked.step_s)
    judging = Judging(asked, Hashes(hashes), window)
    window.grow(len(rows))
    judging.admit(rows)
    found = {name: nothing(values.shape) for name in judging.bands}
    signals = {name: np.full(values.shape, np.nan) for name in judging.signals}
    for k, sample in enumerate(values.T):
        time_s = (first_cycle + k) * asked.interval_s
        window.advance(window.column_of(time_s))
        present = np.flatnonzero(~np.isnan(sample))
        write(window, present, time_s, sample[present], np.isnan(values[present, :k]).all(axis=1))
        judging.update(time_s, np.full(len(rows), math.inf))
        told = np.intersect1d(present, judging.current)
        for name, bands in judging.bands.items():
            for part in PARTS:
                getattr(found[name], part)[told, k] = getattr(bands, part)[told]
        for name, signal in judging.signals.items():
            signals[name][told, k] = signal.score[told]
    return Replayed(found, signals)


def live(asked: Query, values: np.ndarray, first_cycle: int, hashes: tuple[int, ...]) -> dict[str, Bands]:
    """The same, of the models only."""
    return live_all(asked, values, first_cycle, hashes).bands


def replayed(asked: Query, values: np.ndarray, first_cycle: int, hashes: tuple[int, ...]) -> dict[str, Bands]:
    replay = Replay(asked)
    each = [replay.run(History(row, first_cycle, one)) for row, one in zip(values, hashes, strict=True)]
    return {name: Bands(*(np.stack([getattr(one[name], part) for one in each]) for part in PARTS)) for name in each[0]}


def check_same(asked: Query, values: np.ndarray, first_s: int = FIRST_S) -> dict[str, Bands]:
    """Live and replayed verdicts have the same bits; returns them."""
    first_cycle, hashes = first_s // asked.interval_s, HASHES[: len(values)]
    wanted, found = (how(asked, values, first_cycle, hashes) for how in (live, replayed))
    for name, bands in wanted.items():
        for part in PARTS:
            was, now = getattr(bands, part), getattr(found[name], part)
            off = (was != now) & ~(np.isnan(was) & np.isnan(now))
            assert not off.any(), (name, part, np.argwhere(off)[:5], was[off][:5], now[off][:5])
    return found


def series(days: float, interval_s: int, seed: int = 0) -> np.ndarray:
    """Six series by cycle: a rhythm, one with gaps, with bursts, counts, a level shift, a late start; spikes in all."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(days * DAY // interval_s)) * interval_s
    rhythm = 50 + 10 * np.sin(2 * np.pi * t / DAY)
    rows = rhythm + rng.normal(0, 1, (6, len(t)))
    rows[1, rng.random(len(t)) < 0.3] = np.nan
    rows[1, (t > 1.4 * DAY) & (t < 1.9 * DAY)] = np.nan
    rows[2, t % DAY < 1800] += 40
    rows[3] = rng.poisson(0.3, len(t))
    rows[4, t > 2.2 * DAY] += 30
    rows[5, t < 0.6 * DAY] = np.nan
    rows[:, rng.random(len(t)) < 0.003] += 25
    return rows


def share_judged(found: dict[str, Bands], values: np.ndarray) -> float:
    """Smallest share of the samples that have a score, over the models."""
    present = ~np.isnan(values)
    return min(float((~np.isnan(bands.score))[present].mean()) for bands in found.values())
