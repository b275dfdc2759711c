"""The past of series that relabelling makes the same: the verdicts of one series that never changed its labels."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.store import Store

from exporter.backtest.cycles import EveryCycle
from exporter.config import Query
from exporter.past import Past, Slice
from exporter.relabelling.rule import Rule

DAY = 86_400
STEP = 1800
FIRST_S = 19_700 * DAY
COLUMNS = 5 * 48
SINCE = 3 * 48
NOW_S = FIRST_S + (COLUMNS - 1) * STEP
ASKED = {"interval_s": STEP, "step_s": STEP, "window_s": 2 * DAY}
LIVES = (70, 141, 190, COLUMNS)  # columns in which the pods end, one of them as the verdicts begin


def stored(*, pods: bool) -> Store:
    """Two apps with a rhythm; with pods, a new one takes over in each of LIVES, and a third app that is dropped."""
    store, rng = Store(step_s=STEP), np.random.default_rng(4)
    times = FIRST_S + np.arange(COLUMNS) * STEP
    for app in ("a", "b"):
        values = 50 + 10 * np.sin(2 * np.pi * times / DAY) + rng.normal(0, 1, COLUMNS)
        start = 0
        for pod, end in enumerate(LIVES if pods else (COLUMNS,)):
            labels = {"__name__": "m", "app": app} | ({"pod": f"{app}-{pod}"} if pods else {})
            store.put(labels, times[start:end], values[start:end])
            start = end
    if pods:
        store.put({"__name__": "m", "app": "c", "pod": "c-0"}, times, values)
        store.put({"__name__": "m", "app": "a", "pod": "beside"}, times, values)  # all the time, beside the others
    return store


def slices(past: Past, store: Store) -> list[Slice]:
    first, found = FIRST_S // STEP, []
    past.load(store, first + SINCE, NOW_S)
    while past.next_column < first + COLUMNS:
        found.append(past.advance(store, min(past.next_column + 30, first + COLUMNS) - 1, lambda _judged: None))
    return found


def joined(past: Past, found: list[Slice]) -> dict[str, np.ndarray]:
    order = np.argsort([past.labels(row)["app"] for row in range(past.series)])
    scores = {name: np.concatenate([each.bands[name].score for each in found], axis=1) for name in found[0].bands}
    return {name: part[order] for name, part in scores.items()} | {
        "value": np.concatenate([each.value for each in found], axis=1)[order]
    }


@pytest.mark.parametrize("every_cycle", [False, True])
def test_pods_one_after_the_other_are_judged_as_one_series(pool: ThreadPoolExecutor, *, every_cycle: bool) -> None:
    stop = threading.Event()

    def past_of(query: Query, store: Store) -> Past:
        return EveryCycle(query, store, pool, stop) if every_cycle else Past(query, pool, stop)

    one, many = stored(pods=False), stored(pods=True)
    del many.series[tuple(sorted({"__name__": "m", "app": "a", "pod": "beside"}.items()))]
    relabelled = Query("m", "m", relabel_configs=(Rule("drop", source_labels=("app",), regex="c"),),
                       drop_labels=("pod",), **ASKED)  # fmt: skip
    whole, parts = past_of(Query("m", "m", **ASKED), one), past_of(relabelled, many)
    expected, found = joined(whole, slices(whole, one)), joined(parts, slices(parts, many))
    assert [parts.labels(row) for row in range(parts.series)] == [{"app": "a"}, {"app": "b"}]
    for name, wanted in expected.items():
        np.testing.assert_array_equal(found[name], wanted, name)
    assert np.isfinite(found["robust_band"]).mean() > 0.9


def test_a_series_beside_the_watched_one_gives_nothing(pool: ThreadPoolExecutor) -> None:
    query = Query("m", "m", drop_labels=("pod",), **ASKED)
    with_rival, alone = stored(pods=True), stored(pods=True)
    del alone.series[tuple(sorted({"__name__": "m", "app": "a", "pod": "beside"}.items()))]
    found = []
    for store in (with_rival, alone):
        past = Past(query, pool, threading.Event())
        found.append(joined(past, slices(past, store))["value"][0])
    np.testing.assert_array_equal(found[0], found[1])
