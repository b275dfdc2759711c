from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import answers as naive

from exporter.errors import SourceGarbled
from exporter.source.labels import canonical_labels, hash_spans
from exporter.source.scan import hash_bytes, parse_labels

SEEDS = st.integers(0, 2**64 - 1)


def hashed(data: bytes, seed: int, start: int = 0, end: int | None = None) -> int:
    buf = np.frombuffer(data + b"12345678", np.uint8)
    return int(hash_bytes(buf, start, len(data) if end is None else end, np.uint64(seed)))


@given(st.binary(max_size=70), SEEDS)
def test_the_hash_is_that_of_its_slow_twin(data: bytes, seed: int) -> None:
    assert hashed(data, seed) == naive.hash_bytes(data, seed)


@given(st.binary(max_size=40), st.binary(max_size=20), st.binary(max_size=20), SEEDS)
def test_the_hash_depends_on_the_bytes_and_not_on_their_place(
    data: bytes, before: bytes, after: bytes, seed: int
) -> None:
    moved = before + data + after
    assert hashed(moved, seed, len(before), len(before) + len(data)) == hashed(data, seed)


@given(st.binary(max_size=40), st.binary(max_size=40), SEEDS)
def test_other_bytes_have_another_hash(one: bytes, other: bytes, seed: int) -> None:
    assert (hashed(one, seed) == hashed(other, seed)) == (one == other)


def test_one_bit_of_the_text_or_the_seed_changes_about_half_of_the_hash() -> None:
    text = bytes(range(48, 98))
    base = hashed(text, 7)
    flipped = [text[:i] + bytes([text[i] ^ 1 << b]) + text[i + 1 :] for i in range(len(text)) for b in range(8)]
    changes = [(hashed(each, 7) ^ base).bit_count() for each in flipped]
    changes += [(hashed(text, 7 ^ 1 << bit) ^ base).bit_count() for bit in range(64)]
    assert min(changes) > 10
    assert 28 < sum(changes) / len(changes) < 36


def test_zero_bytes_count() -> None:
    hashes = {hashed(bytes(count), 3) for count in range(100)}
    assert len(hashes) == 100


def test_a_hundred_thousand_similar_label_sets_do_not_collide() -> None:
    texts = [f'{{"__name__":"m","pod":"web-{i}"}}'.encode() for i in range(100_000)]
    ends = np.cumsum([len(text) for text in texts])
    starts = np.concatenate(([0], ends[:-1]))
    hashes = hash_spans(np.frombuffer(b"".join(texts), np.uint8), starts, ends, np.uint64(11))
    assert len(np.unique(hashes)) == 100_000
    assert len(np.unique(hashes & np.uint64(0xFFFFF))) > 0.94 * 2**20 * (1 - np.exp(-100_000 / 2**20))


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=5))
def test_labels_survive_json_in_any_spelling(labels: dict[str, str]) -> None:
    clean = {name: value for name, value in labels.items() if "\ufffd" not in name + value}
    for raw in (json.dumps(clean).encode(), canonical_labels(clean)):
        assert parse_labels(raw) == clean


def test_canonical_labels_have_one_spelling() -> None:
    assert canonical_labels({"b": "☃\n", "a": '"'}) == '{"a":"\\"","b":"☃\\n"}'.encode()


def test_what_is_no_text_becomes_the_replacement_character() -> None:
    assert parse_labels(b'{"a":"x\xffy"}') == {"a": "x\ufffdy"}
    assert parse_labels(b'{"a":"x\\ud800y"}') == {"a": "x\ufffdy"}
    assert parse_labels(b'{"a":"\\ud83d\\ude00"}') == {"a": "😀"}


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'{"a":1}', b'{"a":null}', b'{"a":{}}', b'"a"', b'{"a":"b"}x']
)
def test_other_things_are_no_labels(raw: bytes) -> None:
    with pytest.raises(SourceGarbled, match="no label set"):
        parse_labels(raw)
