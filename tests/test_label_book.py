"""Texts of rows: found both ways, as a dict and a list would."""

from __future__ import annotations

import sys
import threading
import zlib
from concurrent.futures import Executor
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import label_book
from exporter.label_book import LabelBook


def put(book: LabelBook, *texts: bytes) -> None:
    for text in texts:
        book.put(book.rows, text)


def test_a_row_is_found_by_its_text_and_a_text_by_its_row() -> None:
    book = LabelBook()
    put(book, b"{}", b'{"a":"1"}')
    assert (book.rows, book.live) == (2, 2)
    assert [book.find(text) for text in (b"{}", b'{"a":"1"}', b'{"a":"2"}')] == [0, 1, None]
    assert (book.text(1), book.crc(1)) == (b'{"a":"1"}', zlib.crc32(b'{"a":"1"}'))


def test_a_row_that_was_dropped_is_free_and_can_be_given_again() -> None:
    book = LabelBook()
    put(book, b"one", b"two")
    assert book.drop(0)
    assert not book.drop(0)
    assert (book.find(b"one"), book.text(0), book.crc(0), book.live, book.rows) == (None, b"", 0, 1, 2)
    book.put(0, b"three")
    assert (book.find(b"three"), book.find(b"two"), book.text(0)) == (0, 1, b"three")


def test_free_rows_at_the_end_are_cut_off() -> None:
    book = LabelBook()
    put(book, b"one", b"two", b"three", b"four")
    for row in (1, 3, 2):
        book.drop(row)
    book.cut_end()
    assert (book.rows, book.live, book.find(b"one")) == (1, 1, 0)
    put(book, b"five")
    assert (book.find(b"five"), book.text(1)) == (1, b"five")
    book.drop(0)
    book.drop(1)
    book.cut_end()
    assert (book.rows, book.find(b"five")) == (0, None)


def test_without_memory_for_a_text_nothing_changes() -> None:
    """As far as it can be seen: the array of rows may have room for one more."""

    class Full(bytearray):
        def __iadd__(self, text: object) -> Full:
            raise MemoryError

    book = LabelBook()
    put(book, b"one")
    kept, starts = book._texts
    book._texts = Full(kept), starts
    with pytest.raises(MemoryError):
        book.put(1, b"two")
    assert (book.rows, book.live, book.find(b"two"), book.text(0)) == (1, 1, None, b"one")
    book._texts = kept, starts
    put(book, b"two")
    assert [book.find(text) for text in (b"one", b"two")] == [0, 1]


def test_texts_with_the_same_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_book, "_hash_of", len)
    book = LabelBook()
    twins = (b"plumless", b"buckeroo")
    put(book, *twins)
    assert [book.find(text) for text in twins] == [0, 1]
    book.drop(0)
    assert [book.find(text) for text in twins] == [None, 1]


def test_text_of_dropped_rows_is_reclaimed() -> None:
    book = LabelBook()
    put(book, b"kept")
    for number in range(3000):
        text = b"%d" % number * 50
        row = book.rows if number == 0 else 1
        book.put(row, text)
        assert book.find(text) == 1
        book.drop(1)
    assert len(book._texts[0]) < 200_000
    assert (book.text(0), book.find(b"kept"), book.live) == (b"kept", 0, 1)


@pytest.mark.parametrize("letters", ["ab", "abcdefgh"])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_it_agrees_with_a_dict(letters: str, data: st.DataObject) -> None:
    """Crowded: eight homes for all."""
    with mock.patch.object(label_book, "_hash_of", lambda text: zlib.crc32(text) % 8):
        _agree_with_a_dict(data, texts=st.text(letters, min_size=1, max_size=4).map(str.encode))


def _agree_with_a_dict(data: st.DataObject, texts: st.SearchStrategy[bytes]) -> None:
    book, rows = LabelBook(), dict[bytes, int]()
    free = list[int]()
    for text in data.draw(st.lists(texts, max_size=120)):
        assert book.find(text) == rows.get(text)
        if text in rows:
            free.append(rows.pop(text))
            assert book.drop(free[-1])
        else:
            rows[text] = free.pop() if free else book.rows
            book.put(rows[text], text)
        assert book.live == len(rows)
    assert all(book.find(text) == row and book.text(row) == text for text, row in rows.items())


def test_many_texts_stay_findable_through_growing_and_churn() -> None:
    book = LabelBook()
    texts = [b'{"pod":"%d"}' % number for number in range(5000)]
    put(book, *texts)
    for row in range(0, 5000, 3):
        book.drop(row)
    assert [book.find(text) for text in texts] == [None if row % 3 == 0 else row for row in range(5000)]
    for row in range(0, 5000, 3):
        book.put(row, texts[row])
    assert [book.find(text) for text in texts] == list(range(5000))


def test_another_thread_reads_whole_texts_while_rows_come_and_go(
    pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages read while a cycle drops and admits: what is gone is empty, nothing is garbled."""
    monkeypatch.setattr(label_book, "_LEAST_WASTE_BYTES", -(1 << 30))  # packed anew with every row that is dropped
    book, stop, seen = LabelBook(), threading.Event(), set[bytes]()
    texts = [b"{%d}" % number * 30 for number in range(120)]
    put(book, *texts)
    whole = {b"", *texts}

    def read() -> None:
        while not stop.is_set():
            seen.update(book.text(row) for row in range(120))

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reader = pool.submit(read)
        for _ in range(100):
            for row in range(20, 120):
                book.drop(row)
            book.cut_end()
            put(book, *texts[20:])
    finally:
        stop.set()
        reader.result(60)
        sys.setswitchinterval(interval_s)
    assert seen <= whole
    assert len(seen) > 20
