from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exporter.kernels import kernel
from exporter.source.words import BACKSLASHES, COMMAS, DOTS, QUOTES, find_either, part_word, read_digits, word_at

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
    for wanted, char in ((QUOTES, b'"'), (COMMAS, b","), (DOTS, b"."), (BACKSLASHES, b"\\")):
        found = data.find(char, at, end)
        assert find_either(array(data), at, end, wanted, wanted) == (found if found >= 0 else end)


@given(TEXT, st.data())
def test_the_first_of_two_characters_is_found(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data)))
    places = [place for place in range(at, len(data)) if data[place : place + 1] in (b'"', b"\\")]
    assert find_either(array(data), at, len(data), QUOTES, BACKSLASHES) == min(places, default=len(data))


@given(st.text("0123456789", min_size=1, max_size=16), st.binary(max_size=12), st.binary(max_size=12))
def test_up_to_sixteen_digits_are_read_wherever_they_stand(digits: str, before: bytes, after: bytes) -> None:
    data = before + digits.encode() + after
    data += b"x" * max(0, 8 - len(data))
    number, whole = read_digits(array(data), len(before), len(before) + len(digits))
    assert whole
    assert int(number) == int(digits)


@given(st.text("0123456789/:.-\x00\xb0 ", max_size=20))
def test_anything_but_one_to_sixteen_digits_is_told_apart(text: str) -> None:
    data = text.encode("latin-1")
    _, whole = read_digits(array(data + b"12345678"), 0, len(data))
    assert whole == (1 <= len(data) <= 16 and all(48 <= byte <= 57 for byte in data))
