"""Intervals that steps do not divide and steps that intervals do not divide, and series that come and go."""

from __future__ import annotations

import numpy as np
import pytest
from support.watched import DAY, NOW, Watched, rhythm

GRIDS = [(420, 300), (45, 60), (60, 45), (90, 60), (3600, 300), (50, 300)]  # interval, step


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(("interval_s", "step_s"), GRIDS)
def test_a_step_need_not_divide_the_interval_nor_the_other_way_round(interval_s: int, step_s: int, plain: bool) -> None:
    """Every cycle judges, a spike is seen by the cycle after it, and a restart knows the same to the bit."""
    window_s = 2 * DAY // step_s * step_s
    watched = Watched({"a": rhythm, "b": rhythm}, plain=plain, days=2.5, interval_s=interval_s, step_s=step_s,
                      window_s=window_s)  # fmt: skip
    start_s = NOW // interval_s * interval_s
    for cycle in range(12):
        watched.run(1, start_s + cycle * interval_s)
        receipt = watched.unit.last
        assert (receipt.judged, receipt.states["ok"]) == (2, 2), cycle
        assert not receipt.remarks["future"] + receipt.remarks["too_old"]
    last_s = start_s + 12 * interval_s
    watched.store.put(watched.labels("a"), last_s - 2, 500.0)
    watched.store.put(watched.labels("b"), last_s - 2, 50.0)
    assert watched.unit.run_cycle(last_s).judged == 2
    verdicts = watched.published()
    assert verdicts["a"]["robust_band"].score > 1
    watched.page.drop("m")
    assert not watched.fresh_unit().run_cycle(last_s).error
    if plain or step_s % interval_s == 0 or interval_s % step_s == 0:
        assert watched.published() == verdicts


def test_no_verdict_of_a_dead_series_lives_on_however_fast_they_change() -> None:
    """A new set of series every ten minutes, for hours: what is shown are those of now, memory is that of the most."""
    watched = Watched({"a": rhythm}, days=2.5, window_s=2 * DAY, absent_for_s=600)
    rng, rows = np.random.default_rng(5), []
    times = np.arange(NOW - 2.2 * DAY, NOW, 300.0)
    for cycle in range(240):
        time_s, generation = NOW + 60 * cycle, cycle // 10
        for i in range(6):
            labels = watched.labels(f"{generation}-{i}")
            if cycle % 10 == 0:  # its past is known to the server
                watched.store.put(labels, times, rhythm(times, rng))
            watched.store.put(labels, time_s - 2.0, rhythm(np.array([time_s - 2.0]), rng))
        assert not watched.unit.run_cycle(time_s).error
        now = {f"{generation}-{i}" for i in range(6)}
        late = {f"{generation - 1}-{i}" for i in range(6)} if cycle % 10 < 6 else set()
        assert set(watched.published()) - {"a"} <= now | late, cycle
        rows.append(watched.unit._table.rows)
    assert max(rows) < 100  # of 150 in all: those that are gone linger for a while, and make room
    assert watched.unit._window.window_bytes < 2_000_000
