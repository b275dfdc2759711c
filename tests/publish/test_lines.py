"""Lines that are written when somebody asks for them."""

from __future__ import annotations

import gzip
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import exposition as naive

from exporter.publish.label_text import LabelText, escaped_label
from exporter.publish.lines import WHOLE, Lines, Shard
from exporter.publish.packing import gzip_stream

names = st.sampled_from(["a", "job", "model_", "m", "n", "zone", "mo"])
label_sets = st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=4)


def lines(sets: list[dict[str, str]], values: list[float], model: str = "") -> Lines:
    text = LabelText("model")
    for row, labels in enumerate(sets):
        text.set_row(row, labels.items())
    extra = escaped_label("model", model).encode() if model else b""
    return Lines(b"m", text.texts(np.arange(len(sets))), np.array(values), 0, extra)


@settings(deadline=None)
@given(st.lists(label_sets, min_size=1, max_size=8), st.sampled_from(["", "shesd", 'q"\\']))
def test_an_extra_label_stands_in_its_order(sets: list[dict[str, str]], model: str) -> None:
    values = [float(row) for row in range(len(sets))]
    wanted = [{**labels, "model": model} if model else labels for labels in sets]
    written = b"".join(lines(sets, values, model).written())
    assert written == naive.rows("m", dict(enumerate(wanted)), list(enumerate(values)))


def test_what_becomes_of_the_rows_later_does_not_matter() -> None:
    text = LabelText("model")
    for row in range(3000):
        text.set_row(row, [("pod", f"{row:050d}")])
    before = Lines(b"m", text.texts(np.arange(3000)), np.ones(3000))
    wanted = b"".join(before.written())
    for turn in range(5):  # enough for the array to be packed anew
        for row in range(3000):
            text.set_row(row, [("pod", f"{row + turn:060d}")])
    assert b"".join(before.written()) == wanted


@settings(deadline=None)
@given(st.integers(1, 7))
def test_every_series_is_in_one_shard_and_stays_there(of: int) -> None:
    sets = [{"pod": f"p{i}"} for i in range(200)]
    score, lower = lines(sets, [1.0] * 200, "shesd"), lines(sets[::-1], [2.0] * 200)
    shards = [b"".join(score.written(Shard(index, of))).splitlines() for index in range(1, of + 1)]
    assert sorted(line for shard in shards for line in shard) == sorted(b"".join(score.written()).splitlines())
    for index, shard in enumerate(shards, 1):
        pods = {line.split(b'"')[3] for line in shard}
        assert {line.split(b'"')[1] for line in b"".join(lower.written(Shard(index, of))).splitlines()} == pods
    if of > 1:
        assert max(map(len, shards)) < 200


def test_what_was_packed_is_kept() -> None:
    some = lines([{"pod": f"p{i}"} for i in range(5000)], [float(i) for i in range(5000)])
    first = some.packed()
    assert some.packed() is first
    assert gzip.decompress(b"".join(gzip_stream([first]))) == b"".join(some.written())
    half = some.packed(Shard(1, 2))
    assert some.packed(Shard(1, 2)) is half
    assert some.packed(Shard(2, 2)) is not half
    assert some.packed(Shard(1, 2)) is half  # shards of one division are kept side by side
    assert some.packed(WHOLE) == first


def test_gaps_only_are_no_lines() -> None:
    assert not lines([{"a": "x"}], [math.nan])
    assert not lines([], [])
    assert lines([{"a": "x"}, {}], [math.nan, 0.0])


def test_rows_and_values_must_match() -> None:
    with pytest.raises(ValueError, match="1 rows, but 2 values"):
        lines([{"a": "x"}], [1.0, 2.0])
