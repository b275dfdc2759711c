from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exporter.kernels import kernel
from exporter.source.words import BACKSLASHES, COMMAS, QUOTES, find_either, part_word, read_run, word_at

TEXT = st.lists(
    st.sampled_from([b'"', b"\\", b",", b".", b"a", b"\x00", b"\x80", b"\xff", b"#", b"!"]), min_size=8
).map(b"".join)


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


@kernel
def words_of(buf: np.ndarray, at: int, end: int):  # type: ignore[no-untyped-def]
    return word_at(buf, at), part_word(buf, at, end)


@given(st.binary(min_size=8, max_size=40), st.data())
def test_words_are_little_endian_bytes(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 8))
    size = draw.draw(st.integers(0, 7))
    whole, part = words_of(array(data), at, at + size)
    assert int(whole) == int.from_bytes(data[at : at + 8], "little")
    assert int(part) == int.from_bytes(data[at : at + size], "little")


@given(TEXT, st.data())
def test_a_character_is_found_where_bytes_find_it(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(at, len(data)))
    for wanted, char in ((QUOTES, b'"'), (COMMAS, b","), (BACKSLASHES, b"\\")):
        found = data.find(char, at, end)
        assert find_either(array(data), at, end, wanted, wanted) == (found if found >= 0 else end)


@given(TEXT, st.data())
def test_the_first_of_two_characters_is_found(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data)))
    places = [place for place in range(at, len(data)) if data[place : place + 1] in (b'"', b"\\")]
    assert find_either(array(data), at, len(data), QUOTES, BACKSLASHES) == min(places, default=len(data))


@given(st.text("0123456789", max_size=30), st.binary(max_size=12), st.binary(max_size=12), st.integers(0, 2**64 - 1))
def test_digits_are_appended_to_a_number_up_to_the_first_other_byte(
    digits: str, before: bytes, after: bytes, number: int
) -> None:
    data = before + digits.encode() + b"".join([b"/", after])
    data += bytes(max(0, 8 - len(data)))
    got, at = read_run(array(data), len(before), np.uint64(number))
    assert at == len(before) + len(digits)
    assert int(got) == int(f"{number}{digits}") % 2**64


@given(st.binary(min_size=8, max_size=30), st.data())
def test_digits_end_where_they_end_among_any_bytes(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data)))
    run = re.compile(rb"[0-9]*").match(data, at)
    assert run is not None
    got, end = read_run(array(data), at, np.uint64(0))
    assert end == run.end()
    assert int(got) == int(run.group() or b"0") % 2**64


@given(st.text("0123456789/:.-\x00\xb0", min_size=8, max_size=30))
def test_neighbours_of_the_digits_in_ascii_are_none(text: str) -> None:
    data = text.encode("latin-1")
    run = re.compile(rb"[0-9]*").match(data)
    assert run is not None
    assert read_run(array(data), 0, np.uint64(0))[1] == run.end()
