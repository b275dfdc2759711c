"""Which verdict was published: late samples, scrapes of earlier cycles, other offsets; and what reading may cost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from support.watched import DAY, NOW, Watched, huge, rhythm

from exporter.explain.matching import match
from exporter.explain.publication import Publication
from exporter.explain.question import ExplainError
from exporter.explain.recording import MOST_POINTS, record


def publication(watched: Watched, kind: str, time_s: int) -> Publication:
    known = watched.unit.known(watched.labels(kind))
    assert known is not None
    return Publication(watched.published()[kind], known.value, float(time_s))


def test_a_scrape_that_shows_an_earlier_cycle_is_explained_by_that_cycle() -> None:
    watched = Watched({"a": rhythm})
    then_s = watched.run(3)
    told = publication(watched, "a", then_s)
    now_s = watched.run(2, then_s + 60)
    cycles = [now_s - 120, now_s - 60, now_s]
    found = match(watched.query, watched.recorded("a", now_s, 3), cycles, told)
    assert found.equal
    assert found.replayed.cycle_s == then_s
    assert found.replayed.value == told.value


def test_what_has_the_time_of_its_sample_is_explained_by_the_cycle_after_it() -> None:
    watched = Watched({"a": rhythm})
    cycle_s = watched.run(3)
    told = replace(publication(watched, "a", cycle_s), time_s=cycle_s - 30.0)
    before = [cycle_s - 180, cycle_s - 120, cycle_s - 60]
    recorded = watched.recorded("a", cycle_s, 4)
    assert match(watched.query, recorded, before, told).equal is False
    found = match(watched.query, recorded, before, told, later=[cycle_s])
    assert found.equal
    assert (found.replayed.cycle_s, found.replayed.value) == (cycle_s, told.value)


def test_a_sample_that_came_after_its_cycle_is_left_out() -> None:
    watched = Watched({"a": rhythm})
    time_s = watched.run(3)
    told = publication(watched, "a", time_s)
    watched.store.put(watched.labels("a"), time_s - 1, 99.0)
    found = match(watched.query, watched.recorded("a", time_s), [time_s], told)
    assert found.equal
    assert found.replayed.value == told.value != 99.0


def test_what_can_not_be_reproduced_is_said() -> None:
    watched = Watched({"a": rhythm})
    time_s = watched.run(3)
    told = publication(watched, "a", time_s)
    for time_ms in [t for t in watched.store.series[(("__name__", "m"), ("kind", "a"))] if t < (NOW - 2 * DAY) * 1000]:
        del watched.store.series[(("__name__", "m"), ("kind", "a"))][time_ms]
    found = match(watched.query, watched.recorded("a", time_s), [time_s], told)
    assert found.equal is False
    assert found.replayed.value == told.value
    assert match(watched.query, watched.recorded("a", time_s), [time_s], Publication()).equal is None


def test_an_unknown_offset_is_found_by_what_was_published() -> None:
    def jumped(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return huge(times, rng) + 700.0 * (np.abs(times - NOW + 3.9 * DAY) < 3600)

    watched = Watched({"a": jumped})
    for hour in range(73):
        watched.run(1, NOW - 3 * DAY + hour * 3600)
    time_s = watched.run(1, NOW + 600)
    told = publication(watched, "a", time_s)
    found = match(watched.query, watched.recorded("a", time_s), [time_s], told)
    assert found.equal
    known = watched.unit.known(watched.labels("a"))
    assert known is not None
    assert found.replayed.offset == known.offset


def test_reading_has_its_limits() -> None:
    watched = Watched({"a": rhythm})
    labels, window = watched.labels("a"), watched.query.window_s // watched.query.step_s
    assert record(watched.store, watched.query, labels, [NOW], 1).whole
    once = record(watched.store, watched.query, labels, [NOW], int(0.7 * MOST_POINTS / window))
    assert not once.whole
    assert once.grid_ms[0] >= (NOW - 3.1 * DAY) * 1000
    before = len(watched.store.reads)
    with pytest.raises(ExplainError, match="can't be narrowed to one series") as caught:
        record(watched.store, watched.query, labels, [NOW], 2 * MOST_POINTS // window)
    assert caught.value.status == 422
    assert len(watched.store.reads) == before


def test_the_samples_that_were_read_are_those_of_the_one_series() -> None:
    watched = Watched({"a": rhythm, "b": huge})
    recorded = watched.recorded("a", NOW)
    assert recorded.newest_ms[-1] == (NOW - 62) * 1000
    assert float(np.max(recorded.grid)) < 1e6
    columns = recorded.columns(NOW // 300 - 3, NOW // 300 + 2, 300)
    assert [math.isnan(x) for x in columns] == [False, False, False, True, True, True]
