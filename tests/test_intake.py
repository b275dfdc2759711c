"""What an update asks for: whole windows, looks back, gaps; and which series of an answer get through."""

from __future__ import annotations

import numpy as np
import pytest
from support.store import Store

from exporter.config import Query
from exporter.errors import SourceUnavailable
from exporter.intake import Intake, _repeated_rows
from exporter.series import REJECTED, SeriesTable
from exporter.window import Window

NOW = 1_700_006_400  # a multiple of the step


def intake(*, plain: bool = True, interval_s: int = 60) -> tuple[Intake, Store, Window]:
    query = Query("q", "q", interval_s=interval_s, step_s=300, window_s=2 * 86_400)
    store = Store(plain=plain, step_s=300)
    window = Window(576, 14, 300)
    return Intake(query, store, SeriesTable(), window), store, window


def put(store: Store, time_s: float, value: float = 1.0) -> None:
    store.put({"a": "1"}, time_s, value)


def reads(store: Store) -> list[tuple[str, int, int]]:
    found, store.reads = store.reads, []
    return found


def test_the_first_update_reads_the_whole_ring_and_looks_back_as_far_as_the_server():
    made, store, _ = intake()
    put(store, NOW - 10)
    made.update(NOW)
    assert reads(store) == [("newest", NOW, 300), ("range", NOW - 590 * 300, NOW - 300)]
    assert made.loaded


@pytest.mark.parametrize("plain", [True, False])
def test_a_steady_rhythm_needs_one_read_a_cycle(plain):
    made, store, _ = intake(plain=plain)
    put(store, NOW - 10, 0.5)
    made.update(NOW)
    reads(store)
    for cycle in range(1, 12):
        put(store, NOW + 60 * cycle - 10, cycle)
        made.update(NOW + 60 * cycle)
        assert [read[0] for read in reads(store)] == ["newest"]


def test_a_short_absence_is_covered_by_looking_back_further():
    made, store, _ = intake()
    made.update(NOW)
    reads(store)
    made.update(NOW + 240)
    assert reads(store) == [("newest", NOW + 240, 270)]


def test_a_long_absence_of_a_plain_selector_is_filled_by_a_range_read():
    made, store, _ = intake()
    made.update(NOW)
    reads(store)
    made.update(NOW + 3600 + 60)
    assert reads(store) == [("newest", NOW + 3660, 90), ("range", NOW + 300, NOW + 3600)]


def test_an_expression_misses_what_was_not_evaluated_on_the_grid():
    made, store, _ = intake(plain=False)
    made.update(NOW)
    reads(store)
    made.update(NOW + 360)  # the cycle at NOW + 300 was skipped
    assert reads(store) == [("newest", NOW + 360, 90), ("range", NOW + 300, NOW + 300)]


def test_what_failed_is_asked_for_again():
    made, store, _ = intake()
    made.update(NOW)
    store.fail = SourceUnavailable("down", reason="refused_connection")
    for cycle in range(1, 10):
        with pytest.raises(SourceUnavailable):
            made.update(NOW + 60 * cycle)
    store.fail = None
    reads(store)
    made.update(NOW + 600)
    assert reads(store)[1] == ("range", NOW + 300, NOW + 300)


def test_an_absence_longer_than_the_window_reads_the_window_once():
    made, store, _ = intake()
    made.update(NOW)
    reads(store)
    later = NOW + 30 * 86_400
    made.update(later)
    assert reads(store)[1] == ("range", later - 590 * 300, later - 300)


def test_the_second_mention_of_a_row_is_refused():
    rows = np.array([3, 1, 3, -2, 3, 0])
    assert _repeated_rows(rows, np.zeros(4, np.bool_)) == 2
    assert rows.tolist() == [3, 1, REJECTED, -2, REJECTED, 0]


def test_series_named_twice_in_an_answer_are_counted_and_read_once():
    made, store, window = intake()
    store.mentions = 2
    put(store, NOW - 10, 5.0)
    taken = made.update(NOW)
    assert taken.remarks["duplicate"] == 1
    assert window.last_value[0] == 5.0


def test_values_that_did_not_change_are_asked_about_before_they_count_as_repeated():
    made, store, window = intake(plain=False)
    put(store, NOW - 10, 1.0)
    made.update(NOW)
    reads(store)
    put(store, NOW + 50, 1.0)
    assert not made.update(NOW + 60).repeated
    assert ("repeats", NOW + 60, NOW) in reads(store)
    store.stuck = True
    assert made.update(NOW + 120).repeated
    assert window.last_ms[0] == (NOW + 60) * 1000
