"""Verdicts of a walk: every cycle as a replay of all samples gives it, and none that knows of what came later."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from support.store import Store

from exporter.backtest.cycles import EveryCycle
from exporter.config.schema import Query
from exporter.past import Past, Slice, Stopped
from exporter.replay import Histories, Replay

DAY = 86_400
STEP, INTERVAL = 1800, 600
EVERY = STEP // INTERVAL
FIRST_S = 19_700 * DAY
CYCLES = 4 * DAY // INTERVAL
SINCE = 3 * DAY // INTERVAL  # the first cycle to be judged; a window of two days lies before it
ASKED = Query("m", "m", interval_s=INTERVAL, step_s=STEP, window_s=2 * DAY, signals=("stale",))


def made_values() -> np.ndarray:
    """By cycle (k is at FIRST_S + (k + 1) intervals): a rhythm; gaps of cycles and of columns; a late start; a step."""
    rng = np.random.default_rng(4)
    t = np.arange(CYCLES) * INTERVAL
    values = 50 + 10 * np.sin(2 * np.pi * t / DAY) + rng.normal(0, 1, (5, CYCLES))
    values[1, rng.random(CYCLES) < 0.4] = np.nan
    values[2, : SINCE + 20] = np.nan
    values[3, SINCE + 50 :] += 30
    values[4, SINCE + 30] = np.inf
    return values


def store_of(values: np.ndarray, step_s: int) -> Store:
    store = Store(step_s=step_s)
    for i, row in enumerate(values):
        known = ~np.isnan(row)
        store.put({"__name__": "m", "i": str(i)}, FIRST_S + (np.flatnonzero(known) + 1) * INTERVAL, row[known])
    return store


def walked(query: Query, values: np.ndarray, pool: ThreadPoolExecutor, most: int = 1000) -> tuple[Past, list[Slice]]:
    past = EveryCycle(query, store_of(values, INTERVAL), pool, threading.Event())
    coarse = store_of(values, STEP)
    first = (FIRST_S + SINCE * INTERVAL) // STEP + 1
    last = (FIRST_S + values.shape[1] * INTERVAL) // STEP
    past.load(coarse, first, last * STEP)
    found = []
    while past.next_column <= last:
        found.append(past.advance(coarse, min(last, past.next_column + most - 1), lambda share: None))
    return past, found


def joined(past: Past, slices: list[Slice], model: str) -> dict[str, np.ndarray]:
    order = [int(past.labels(row)["i"]) for row in range(past.series)]
    out = {}
    for part in ("score", "expected", "lower", "upper"):
        arrays = [getattr(one.bands[model], part) for one in slices]
        full = np.full((past.series, sum(each.shape[1] for each in arrays)), np.nan)
        at = 0
        for each in arrays:
            full[np.array(order)[: len(each)], at : at + each.shape[1]] = each
            at += each.shape[1]
        out[part] = full
    return out


def replayed(query: Query, values: np.ndarray, past: Past) -> dict[str, dict[str, np.ndarray]]:
    hashes = np.zeros(len(values), np.int64)
    for row in range(past.series):
        hashes[int(past.labels(row)["i"])] = past._table.stable_hash(row)
    found = Replay(query).run_all(Histories(values, FIRST_S // INTERVAL + 1, hashes), SINCE)
    return {
        name: {part: getattr(bands, part) for part in ("score", "expected", "lower", "upper")}
        for name, bands in found.bands.items()
    }


@pytest.mark.parametrize("most", [1000, 7])
def test_each_cycle_has_the_verdict_of_a_replay_of_all(pool, most):
    values = made_values()
    past, slices = walked(ASKED, values, pool, most)
    times = np.concatenate([one.times_ms for one in slices])
    assert (times == (FIRST_S + (np.arange(SINCE, CYCLES) + 1) * INTERVAL) * 1000).all()
    for model, wanted in replayed(ASKED, values, past).items():
        have = joined(past, slices, model)
        assert (~np.isnan(wanted["score"])).sum() > 400
        for part, matrix in wanted.items():
            # A window is kept as float32, the samples of a replay of all are not.
            np.testing.assert_allclose(have[part], matrix, rtol=2e-4, atol=1e-3, err_msg=f"{model} {part} {most}")


@pytest.mark.parametrize("cut", [5, 40, 100])
def test_nothing_that_comes_later_changes_a_verdict(pool, cut):
    """Cut off the future of some series, and put another one there: what was said before is the same to the bit."""
    values = made_values()
    other = values.copy()
    at = SINCE + cut // EVERY * EVERY
    other[::2, at:] = np.nan
    other[1::2, at:] += 1000
    past, slices = walked(ASKED, values, pool)
    again, changed = walked(ASKED, other, pool)
    known = [int(again.labels(row)["i"]) for row in range(again.series)]
    for model in ("robust_band", "shesd"):
        before, after = joined(past, slices, model), np.full((5, CYCLES - SINCE), np.nan)
        after[known] = joined(again, changed, model)["score"][known] if len(known) == 5 else after[known]
        if len(known) == 5:
            np.testing.assert_array_equal(after[:, : at - SINCE], before["score"][:, : at - SINCE])
            assert not np.array_equal(after, before["score"], equal_nan=True)
        else:  # the series that starts late has never been there
            assert 2 not in known
            assert np.isnan(before["score"][2, : at - SINCE]).all()


def test_a_stop_ends_it(pool):
    stop = threading.Event()
    stop.set()
    past = EveryCycle(ASKED, store_of(made_values(), INTERVAL), pool, stop)
    with pytest.raises(Stopped):
        past.load(store_of(made_values(), STEP), (FIRST_S + SINCE * INTERVAL) // STEP + 1, FIRST_S)


def test_one_cycle_to_a_column_is_the_past_itself(pool):
    """Where interval and step are one, both walks say the same to the bit."""
    query = replace(ASKED, interval_s=STEP)
    values = made_values()[:, EVERY - 1 :: EVERY]
    store = Store(step_s=STEP)
    for i, row in enumerate(values):
        known = np.isfinite(row)
        store.put({"i": str(i)}, FIRST_S + (np.flatnonzero(known) + 1) * STEP, row[known])
    first, last = (FIRST_S + SINCE * INTERVAL) // STEP + 1, (FIRST_S + CYCLES * INTERVAL) // STEP
    scores = []
    for past in (Past(query, pool, threading.Event()), EveryCycle(query, store, pool, threading.Event())):
        past.load(store, first, last * STEP)
        scores.append(past.advance(store, last, lambda share: None).bands["robust_band"].score)
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (~np.isnan(scores[0])).any()
