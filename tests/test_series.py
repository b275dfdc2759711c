"""Rows of series: found by hash, created once, reused, never shared by two series."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.samples import SampleBatch
from exporter.series import REJECTED, SHED, UNKNOWN, SeriesTable


def batch(label_sets: list[dict[str, str]], hashes: list[int] | None = None) -> SampleBatch:
    raw = [json.dumps(labels).encode() for labels in label_sets]
    ends = np.cumsum([len(text) for text in raw]).astype(np.int64)
    marks = hashes if hashes is not None else [hash(text) & (2**64 - 1) for text in raw]
    n = len(raw)
    return SampleBatch(
        body=np.frombuffer(b"".join(raw), np.uint8),
        label_start=ends - [len(text) for text in raw] if n else ends,
        label_end=ends,
        label_hash=np.array(marks, np.uint64),
        first=np.arange(n + 1, dtype=np.int64),
        time_ms=np.zeros(n, np.int64),
        value=np.zeros(n),
    )


def rows_of(table: SeriesTable, label_sets: list[dict[str, str]]) -> list[int]:
    answer = batch(label_sets)
    rows = table.find(answer)
    table.admit(answer, rows)
    return rows.tolist()


def test_a_series_keeps_its_row():
    table = SeriesTable()
    first = rows_of(table, [{"a": "1"}, {"a": "2"}, {}])
    assert first == [0, 1, 2]
    assert rows_of(table, [{}, {"a": "2"}, {"a": "1"}]) == [2, 1, 0]
    assert (table.live, table.rows) == (3, 3)


def test_a_row_is_found_by_labels_in_any_order_with_the_name_or_without():
    table = SeriesTable()
    rows_of(table, [{"__name__": "m", "a": "1", "b": "é"}, {}])
    assert table.row_of({"b": "é", "a": "1"}) == table.row_of({"a": "1", "b": "é", "__name__": "m"}) == 0
    assert table.row_of({}) == 1
    assert table.row_of({"a": "1"}) is None
    table.forget(np.array([0]))
    assert table.row_of({"b": "é", "a": "1"}) is None


def test_unknown_series_are_reported_before_they_are_admitted():
    table = SeriesTable()
    answer = batch([{"a": "1"}])
    rows = table.find(answer)
    assert rows.tolist() == [UNKNOWN]
    assert table.admit(answer, rows).tolist() == [0]
    assert table.admit(answer, table.find(answer)).tolist() == []


def test_label_order_spacing_and_name_do_not_make_another_series():
    table = SeriesTable()
    assert rows_of(table, [{"__name__": "up", "a": "1", "b": "2"}]) == [0]
    assert rows_of(table, [{"b": "2", "a": "1"}]) == [0]
    assert table.labels(0) == {"a": "1", "b": "2"}


def test_series_that_differ_by_name_only_collide_and_are_named():
    table = SeriesTable()
    assert rows_of(table, [{"__name__": "up", "a": "1"}, {"__name__": "down", "a": "1"}]) == [0, REJECTED]
    assert [(c.wanted, c.holder) for c in table.collisions] == [('down{"a":"1"}', 'up{"a":"1"}')]
    assert rows_of(table, [{"__name__": "down", "a": "1"}]) == [REJECTED]


def test_the_refused_series_gets_the_row_once_its_rival_is_gone():
    table = SeriesTable()
    rows_of(table, [{"__name__": "up", "a": "1"}, {"__name__": "down", "a": "1"}])
    table.forget(np.array([0]))
    assert rows_of(table, [{"__name__": "down", "a": "1"}]) == [0]


def test_forgotten_rows_are_reused_and_their_labels_unknown():
    table = SeriesTable()
    rows_of(table, [{"a": str(i)} for i in range(10)])
    table.forget(np.array([3, 7]))
    assert table.live == 8
    assert table.labels(3) == {}
    assert table.find(batch([{"a": "3"}, {"a": "4"}])).tolist() == [UNKNOWN, 4]
    assert set(rows_of(table, [{"b": "x"}, {"b": "y"}])) == {3, 7}
    assert table.rows == 10


def test_colliding_slots_are_walked_over():
    table = SeriesTable()
    same_slot = [5, 5 + 1024, 5 + 2048, 5 + 1024 * 7]
    answer = batch([{"a": str(i)} for i in range(4)], same_slot)
    rows = table.find(answer)
    table.admit(answer, rows)
    assert table.find(answer).tolist() == rows.tolist() == [0, 1, 2, 3]
    table.forget(np.array([1]))
    assert table.find(answer).tolist() == [0, UNKNOWN, 2, 3]


@pytest.mark.parametrize("value", ["", "ü☃😀", '"quotes" \\ and\nlines', "\x00\x1f", "a" * 65536, "\ud800"])
def test_hostile_label_values_survive(value):
    table = SeriesTable()
    assert rows_of(table, [{"a": value}, {"a": value + "x"}]) == [0, 1]


def test_churn_does_not_grow_the_table():
    table = SeriesTable()
    rows_of(table, [{"pod": str(i)} for i in range(1000)])
    sizes = []
    for cycle in range(60):
        gone = np.arange(100) + 100 * (cycle % 10)
        table.forget(gone)
        rows_of(table, [{"pod": f"{cycle}-{i}"} for i in range(100)])
        sizes.append((table.rows, len(table._keys)))
    assert set(sizes) == {(1000, sizes[0][1])}


def test_the_stable_hash_knows_labels_only():
    one, other = SeriesTable(), SeriesTable()
    rows_of(one, [{"x": "1"}, {"a": "1", "b": "2"}])
    rows_of(other, [{"__name__": "n", "b": "2", "a": "1"}])
    assert one.stable_hash(1) == other.stable_hash(0)


def watched(table: SeriesTable, label_sets: list[dict[str, str]], most: int | None) -> set[str]:
    """The series `s` of an answer that have a row after it has been admitted with room for `most`."""
    answer = batch(label_sets, [zlib.crc32(json.dumps(labels).encode()) + 7 for labels in label_sets])
    rows = table.find(answer)
    table.admit(answer, rows, most)
    assert table.live <= (most if most is not None else table.live)
    assert all((row >= 0) == (row > SHED) for row in rows.tolist())
    return {labels["s"] for labels, row in zip(label_sets, rows.tolist(), strict=True) if row >= 0}


def first_in_turn(names: Iterable[str], most: int) -> set[str]:
    return set(
        sorted(names, key=lambda name: zlib.crc32(json.dumps({"s": name}, separators=(",", ":")).encode()))[:most]
    )


@given(st.permutations(range(30)), st.integers(0, 35))
@settings(max_examples=40)
def test_which_series_are_shed_does_not_depend_on_the_order_of_the_answer(order, most):
    names = [str(i) for i in order]
    table = SeriesTable()
    kept = watched(table, [{"s": name} for name in names], most)
    assert kept == first_in_turn(names, most)
    assert watched(table, [{"s": name} for name in reversed(names)], most) == kept  # and it stays so


def test_a_newcomer_waits_even_when_its_turn_is_lower():
    names = sorted((str(i) for i in range(20)), key=lambda name: -turn(name))
    table = SeriesTable()
    assert watched(table, [{"s": name} for name in names[:10]], 10) == set(names[:10])
    assert watched(table, [{"s": name} for name in names], 10) == set(names[:10])


def turn(name: str) -> int:
    return zlib.crc32(json.dumps({"s": name}, separators=(",", ":")).encode())


def test_the_first_in_turn_gets_the_place_that_becomes_free():
    names = [str(i) for i in range(20)]
    table = SeriesTable()
    kept = watched(table, [{"s": name} for name in names], 10)
    (gone,) = [row for row in range(10) if table.labels(row)["s"] == min(kept)]
    table.forget(np.array([gone]))
    there = [{"s": name} for name in names if name != min(kept)]
    assert watched(table, there, 10) == kept - {min(kept)} | first_in_turn(set(names) - kept, 1)


def test_a_higher_limit_takes_all_in_and_none_is_no_limit():
    names = [{"s": str(i)} for i in range(20)]
    table = SeriesTable()
    assert len(watched(table, names, 5)) == 5
    assert len(watched(table, names, 15)) == 15
    assert len(watched(table, names, None)) == 20


def test_another_spelling_of_a_watched_series_is_no_newcomer():
    """Range answers come without the metric's name where newest samples have it."""
    table = SeriesTable()
    assert watched(table, [{"__name__": "m", "s": "1"}, {"__name__": "m", "s": "2"}], 1) == first_in_turn("12", 1)
    assert watched(table, [{"s": "1"}, {"s": "2"}], 1) == first_in_turn("12", 1)


def test_another_spelling_of_a_series_that_has_waited_is_found_once_it_has_a_row():
    table = SeriesTable()
    named, plain = [{"__name__": "m", "s": "1"}, {"__name__": "m", "s": "2"}], [{"s": "1"}, {"s": "2"}]
    (first,) = watched(table, named, 1)
    assert watched(table, plain, 1) == {first}
    table.forget(np.array([0]))
    (other,) = {"1", "2"} - {first}
    rest = [labels for labels in named if labels["s"] == other]
    assert watched(table, rest, 1) == {other}
    assert watched(table, plain, 1) == {other}


def test_a_refused_series_takes_no_place():
    table = SeriesTable()
    assert rows_of(table, [{"__name__": "up", "s": "1"}]) == [0]
    answer = batch([{"__name__": "down", "s": "1"}, {"__name__": "up", "s": "2"}])
    rows = table.find(answer)
    assert table.admit(answer, rows, 2).tolist() == [1]
    assert rows.tolist() == [REJECTED, 1]


def test_waiting_series_that_come_and_go_do_not_grow_the_table():
    table = SeriesTable()
    sizes = set()
    for cycle in range(200):
        watched(table, [{"s": f"{cycle}-{i}"} for i in range(100)] + [{"s": "steady"}], 1)
        sizes.add(len(table._keys))
    assert max(sizes) <= 8192
    assert table.live == 1


def test_waiting_series_are_parsed_once(monkeypatch):
    table = SeriesTable()
    names = [{"s": str(i)} for i in range(3000)]
    watched(table, names, 10)
    parsed = []
    monkeypatch.setattr("exporter.series.SeriesTable._meet", lambda _table, raw: parsed.append(raw))
    assert len(watched(table, names, 10)) == 10
    assert parsed == []


class _Twin:
    """What the table should do, as a dict."""

    def __init__(self) -> None:
        self.row: dict[str, int] = {}

    def admit(self, names: list[str], rows: list[int]) -> None:
        for name, row in zip(names, rows, strict=True):
            assert self.row.setdefault(name, row) == row


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 300), max_size=60), st.booleans()), max_size=25))
def test_agrees_with_a_dict(steps):
    table, twin = SeriesTable(), _Twin()
    for wanted, forget in steps:
        names = [str(number) for number in sorted(wanted)]
        if forget and names:
            gone = [twin.row.pop(name) for name in names if name in twin.row]
            table.forget(np.array(gone, np.int64))
        else:
            twin.admit(names, rows_of(table, [{"s": name} for name in names]))
        assert table.live == len(twin.row)
        assert len(set(twin.row.values())) == len(twin.row)
        assert {name: table.labels(row)["s"] for name, row in twin.row.items()} == {name: name for name in twin.row}
