"""Past: slices of the past, read through a server in memory, have the verdicts that a replay of all samples gives."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from support.store import Store

from exporter.config.schema import Limits, Query
from exporter.errors import SourceUnavailable
from exporter.judging import horizon
from exporter.past import Past, PastTooLarge, Slice, Stopped
from exporter.replay import Histories, Replay, Replayed

DAY = 86_400
STEP = 1800
FIRST_S = 19_700 * DAY
COLUMNS = 6 * 48
SINCE = 3 * 48  # the first column to be judged: a window of two days and a fit's age lie before it
NOW_S = FIRST_S + (COLUMNS - 1) * STEP
ASKED = Query("m", "m", interval_s=STEP, step_s=STEP, window_s=2 * DAY, signals=("shift", "stale"))
AWAY = SourceUnavailable("away", reason="connect")


def made_values() -> np.ndarray:
    """Six series by column: a rhythm; gaps; a late start, amid what is judged; an early end; a step; an infinity."""
    rng = np.random.default_rng(4)
    t = np.arange(COLUMNS) * STEP
    values = 50 + 10 * np.sin(2 * np.pi * t / DAY) + rng.normal(0, 1, (6, COLUMNS))
    values[1, rng.random(COLUMNS) < 0.2] = np.nan
    values[2, : SINCE + 60] = np.nan
    values[3, SINCE + 30 :] = np.nan
    values[4, SINCE + 50 :] += 30
    values[5, SINCE + 20] = math.inf
    return values


def stored(values: np.ndarray) -> Store:
    store = Store(step_s=STEP)
    for i, row in enumerate(values):
        known = ~np.isnan(row)
        store.put(labels(i), FIRST_S + np.flatnonzero(known) * STEP, row[known])
    return store


def labels(i: int) -> dict[str, str]:
    return {"__name__": "m", "i": str(i)}


def all_slices(past: Past, store: Store, *, most: int, start: bool = True) -> list[Slice]:
    """All of the past, at most so many columns at a time."""
    first = FIRST_S // STEP
    if start:
        past.load(store, first + SINCE, NOW_S)
    found = []
    while past.next_column < first + COLUMNS:
        last = min(past.next_column + most, first + COLUMNS) - 1
        found.append(past.advance(store, last, lambda judged: None))
    return found


def joined(past: Past, slices: list[Slice]) -> dict[str, np.ndarray]:
    """The arrays of slices one behind the other, rows in the order of `made_values`; a series not met yet has none."""
    order = np.argsort([int(past.labels(row)["i"]) for row in range(past.series)])

    def one(parts: list[np.ndarray]) -> np.ndarray:
        full = [np.full((past.series, part.shape[1]), np.nan) for part in parts]
        for room, part in zip(full, parts, strict=True):
            room[: len(part)] = part
        return np.ascontiguousarray(np.concatenate(full, axis=1)[order])

    found = {"value": one([each.value for each in slices])}
    for name in ASKED.signals:
        found[name] = one([each.signals[name] for each in slices])
    for model in ("robust_band", "shesd"):
        for part in ("score", "expected", "lower", "upper"):
            found[f"{model} {part}"] = one([getattr(each.bands[model], part) for each in slices])
    return found


def wanted(past: Past, values: np.ndarray, asked: Query = ASKED) -> dict[str, np.ndarray]:
    """The same by a replay of all that there is."""
    hashes = {int(past.labels(row)["i"]): past._table.stable_hash(row) for row in range(past.series)}
    numbers = np.array([hashes[i] for i in range(len(values))], np.int64)
    every = asked.step_s // asked.interval_s
    whole = Replay(asked).run_all(Histories(values, FIRST_S // STEP * every, numbers, every), since=SINCE)
    return by_name(whole, np.where(whole.told(), values[:, SINCE:], np.nan))


def by_name(whole: Replayed, value: np.ndarray) -> dict[str, np.ndarray]:
    found = {"value": value, **whole.signals}
    for model, bands in whole.bands.items():
        for part in ("score", "expected", "lower", "upper"):
            found[f"{model} {part}"] = getattr(bands, part)
    return found


def check(past: Past, slices: list[Slice], values: np.ndarray, asked: Query = ASKED) -> None:
    times = np.concatenate([each.times_ms for each in slices])
    assert times.tolist() == [(FIRST_S + k * STEP) * 1000 for k in range(SINCE, COLUMNS)]
    found, expected = joined(past, slices), wanted(past, values, asked)
    for name, array in expected.items():
        off = (array != found[name]) & ~(np.isnan(array) & np.isnan(found[name]))
        assert not off.any(), (name, np.argwhere(off)[:5], array[off][:5], found[name][off][:5])
    assert (~np.isnan(found["value"])).mean() > 0.6
    assert (found["robust_band score"] > 1).any()


@pytest.mark.parametrize("most", [1000, 17, 1])
def test_slices_have_the_verdicts_of_a_replay_of_the_whole(pool: ThreadPoolExecutor, most: int) -> None:
    values = made_values()
    past = Past(ASKED, pool, threading.Event())
    check(past, all_slices(past, stored(values), most=most), values)


def test_a_shorter_interval_only_changes_when_series_are_fitted(pool: ThreadPoolExecutor) -> None:
    asked = replace(ASKED, interval_s=60)
    values = made_values()
    past = Past(asked, pool, threading.Event())
    check(past, all_slices(past, stored(values), most=100), values, asked)


def test_a_read_that_fails_is_made_again_as_if_nothing_had_been(pool: ThreadPoolExecutor) -> None:
    values, store = made_values(), stored(made_values())
    past = Past(ASKED, pool, threading.Event())
    store.fail = AWAY
    with pytest.raises(SourceUnavailable):
        all_slices(past, store, most=50)
    store.fail = None
    past.load(store, FIRST_S // STEP + SINCE, NOW_S)
    slices = [past.advance(store, FIRST_S // STEP + SINCE + 19, lambda judged: None)]
    store.fail = AWAY
    with pytest.raises(SourceUnavailable):
        past.advance(store, FIRST_S // STEP + SINCE + 39, lambda judged: None)
    store.fail = None
    slices += all_slices(past, store, most=50, start=False)
    check(past, slices, values)


def test_a_stop_ends_it(pool: ThreadPoolExecutor) -> None:
    stop, store = threading.Event(), stored(made_values())
    past = Past(ASKED, pool, stop)
    past.load(store, FIRST_S // STEP + SINCE, NOW_S)
    stop.set()
    with pytest.raises(Stopped):
        past.advance(store, FIRST_S // STEP + COLUMNS - 1, lambda judged: None)


def test_it_tells_how_many_columns_are_judged(pool: ThreadPoolExecutor) -> None:
    store, told = stored(np.repeat(made_values(), 60, axis=0)), []
    past = Past(ASKED, pool, threading.Event())
    past.load(store, FIRST_S // STEP + SINCE, NOW_S)
    found = past.advance(store, FIRST_S // STEP + COLUMNS - 1, told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == len(found.times_ms)


def test_more_series_than_memory_is_meant_for_are_refused(pool: ThreadPoolExecutor) -> None:
    past = Past(ASKED, pool, threading.Event(), most_cells=4 * (96 + horizon(STEP)))
    with pytest.raises(PastTooLarge, match="more than 4 series with 100 points each"):
        past.load(stored(made_values()), FIRST_S // STEP + SINCE, NOW_S)


def test_under_a_limit_the_series_of_now_come_first(pool: ThreadPoolExecutor) -> None:
    past = Past(replace(ASKED, limits=Limits(max_series=5)), pool, threading.Event())
    slices = all_slices(past, stored(made_values()), most=100)
    assert sorted(past.labels(row)["i"] for row in range(past.series)) == ["0", "1", "2", "4", "5"]
    assert all(len(each.value) == 5 for each in slices)


def test_a_level_far_above_its_noise_keeps_its_digits(pool: ThreadPoolExecutor) -> None:
    values = 1e9 + made_values()[:1]
    values[0, SINCE + 70] += 60
    past = Past(ASKED, pool, threading.Event())
    found = joined(past, all_slices(past, stored(values), most=30))
    close = np.isclose(found["robust_band expected"], wanted(past, values)["robust_band expected"], rtol=0, atol=0.1)
    assert close.mean() > 0.97
    assert found["value"][0, 70] == values[0, SINCE + 70]
