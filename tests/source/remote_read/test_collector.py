"""Frames in, batches out, beside the slow twin: labels, cells, counts, and everything that is no stream of frames."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import xor_chunks as naive

from exporter.errors import SourceError, SourceGarbled, SourceUnavailable
from exporter.series import SeriesTable
from exporter.source.jsonscan import scan_json
from exporter.source.remote_read.collector import Collector
from exporter.source.remote_read.labels import KEEP_ALL, Kept, kept
from exporter.source.scan import scan_answer

STEP_S = 60
START_S, END_S = 1_700_000_040, 1_700_000_040 + 9 * STEP_S
LOW_MS = (START_S - STEP_S) * 1000

Series = tuple[dict[str, str], list[naive.Samples]]


def collect(body: bytes, piece: int = 1 << 18, rows: int = 64, keep: Kept = KEEP_ALL, **settings: int) -> list[Any]:
    """All batches of a body that comes in pieces; the last one is always there."""
    collector = Collector("here", START_S, END_S, STEP_S, rows, keep, **settings)
    batches = []
    for at in range(0, len(body), piece):
        batches += collector.take(body[at : at + piece])
    return [*batches, *collector.finish()]


def flat(batches: list[Any]) -> dict[str, list[tuple[int, int]]]:
    """Label JSON -> (time, bits)."""
    found: dict[str, list[tuple[int, int]]] = {}
    for batch in batches:
        bits = batch.value.view(np.uint64).tolist()
        for i in range(batch.series):
            span = slice(batch.first[i], batch.first[i + 1])
            samples = list(zip(batch.time_ms.tolist()[span], bits[span], strict=True))
            found.setdefault(batch.label_bytes(i).decode(), []).extend(samples)
    return found


def expected(series: list[Series]) -> dict[str, list[tuple[int, int]]]:
    found = {}
    for labels, chunks in series:
        cells = naive.cells([s for chunk in chunks for s in chunk], LOW_MS, STEP_S * 1000, 10)
        name = json.dumps(labels, separators=(",", ":"), ensure_ascii=False)
        if cells:
            found[name] = [(LOW_MS + (c + 1) * STEP_S * 1000, cells[c][1]) for c in sorted(cells)]
    return found


def body_of(series: list[Series]) -> bytes:
    """A frame for each chunk, as a server does when a series is long."""
    return b"".join(
        naive.frame(naive.series_message(labels, [naive.encode(chunk)]))
        for labels, chunks in series
        for chunk in chunks
    )


samples = st.lists(
    st.tuples(st.integers(LOW_MS - 100_000, END_S * 1000 + 100_000), st.integers(0, (1 << 64) - 1)),
    min_size=1,
    max_size=12,
).map(sorted)
label_texts = st.text(st.characters(codec="utf-8", exclude_characters="\x08\x0c"), max_size=20)
many_series = st.lists(
    st.tuples(st.dictionaries(label_texts, label_texts, max_size=4), st.lists(samples, min_size=1, max_size=4)),
    max_size=6, unique_by=lambda one: json.dumps(one[0], sort_keys=True),
)  # fmt: skip


@given(many_series, st.sampled_from([1, 7, 100, 1 << 18]), st.integers(1, 7))
def test_any_series_in_any_pieces(series: list[Series], piece: int, rows: int) -> None:
    batches = collect(body_of(series), piece, rows)
    assert flat(batches) == expected(series)
    assert all(batch.series <= rows for batch in batches)


@given(many_series)
def test_the_row_is_that_of_the_query_api(series: list[Series]) -> None:
    """Whether or not the bytes of the labels are the same, the series is."""
    batches = collect(body_of(series))
    named = [json.loads(name) for name in flat(batches)]
    result = [{"metric": labels, "value": [1, "1"]} for labels in named]
    answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
    table = SeriesTable()
    for batch in [*batches, scan_answer(json.dumps(answer, separators=(",", ":")).encode()).batch]:
        table.admit(batch, table.find(batch))
    without_names = {json.dumps({k: v for k, v in one.items() if k != "__name__"}, sort_keys=True) for one in named}
    assert table.live == len(without_names)


def test_the_hash_is_that_of_the_query_api() -> None:
    labels = {"__name__": "up", "a": 'x"y\\z\n\t\r\x01\x1f', "snow": "☃"}
    (batch,) = collect(body_of([(labels, [[(END_S * 1000, 1)]])]))
    result = [{"metric": labels, "value": [1, "1"]}]
    answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
    text = json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode()
    scanned = scan_answer(text)
    assert scanned.fast
    assert batch.label_hash.tolist() == scanned.batch.label_hash.tolist()
    assert batch.label_hash.tolist() == scan_json(text).batch.label_hash.tolist()


def test_frames_of_one_series_need_not_follow_one_another() -> None:
    first, second = [(LOW_MS + 1, 1), (LOW_MS + 60_001, 2)], [(LOW_MS + 2, 3), (LOW_MS + 120_001, 4)]
    mixed = body_of([({"a": "1"}, [second]), ({"a": "2"}, [first]), ({"a": "1"}, [first])])
    assert flat(collect(mixed)) == expected([({"a": "1"}, [second, first]), ({"a": "2"}, [first])])


def test_several_series_in_a_frame_survive_a_lack_of_rows_and_of_room() -> None:
    series: list[Series] = [({"a": "x" * 30_000 + str(i)}, [[(LOW_MS + 1 + i, i)]]) for i in range(9)]
    message = b"".join(naive.series_message(labels, [naive.encode(chunks[0])]) for labels, chunks in series)
    batches = collect(naive.frame(message), rows=2)
    assert [batch.series for batch in batches] == [2, 2, 2, 2, 1]
    assert flat(batches) == expected(series)


def test_histograms_and_unknown_encodings_are_counted_and_passed_over() -> None:
    good = naive.encode([(LOW_MS + 1, 5)])
    other = [(naive.HISTOGRAM, b"\0\x07abc"), (naive.FLOAT_HISTOGRAM, b"\0\x05"), (9, b"\1\0zz"), (0, b"")]
    collector = Collector("here", START_S, END_S, STEP_S, 8)
    message = naive.series_message({"a": "1"}, [*other, good])
    only_histograms = naive.series_message({"a": "2"}, other[:1])
    assert list(collector.take(naive.frame(message) + naive.frame(only_histograms))) == []
    (batch,) = collector.finish()
    assert (batch.histograms, collector.foreign) == (7 + 5 + 7, 256 + 1)
    assert flat([batch]) == expected([({"a": "1"}, [[(LOW_MS + 1, 5)]])])


def test_only_the_labels_to_keep_are_kept() -> None:
    labels = {"__name__": "up", "job": "a", "replica": "0", "rep": "1", "zone": ""}
    body = body_of([(labels, [[(LOW_MS + 1, 5)]])])
    assert list(flat(collect(body, keep=kept(frozenset(["__name__", "job", "rep"]))))) == [
        '{"__name__":"up","job":"a","rep":"1"}'
    ]
    assert list(flat(collect(body, keep=kept(frozenset(["none"]))))) == ["{}"]


def test_labels_that_are_no_text_become_replacement_characters() -> None:
    body = naive.frame(naive.series_message({"a": b"x\xff\xe2\x98y"}, [naive.encode([(LOW_MS + 1, 5)])]))
    body += body_of([({"b": "☃"}, [[(LOW_MS + 1, 6)]])])
    assert list(flat(collect(body))) == ['{"a":"x���y"}', '{"b":"☃"}']


def test_fields_of_later_versions_are_stepped_over() -> None:
    chunk = naive.uvarint(3 << 3) + b"\1" + b"\x4d\0\0\0\0" + b"\x51" + bytes(8)  # type, then a fixed32 and a fixed64
    data = naive.encode([(LOW_MS + 1, 5)])
    chunk += naive.uvarint(4 << 3 | 2) + naive.uvarint(len(data)) + data
    series = b"\x7a\3abc" + b"\x12" + naive.uvarint(len(chunk)) + chunk + b"\x0a\6\x0a\1a\x12\1b"
    message = b"\x78\7" + b"\x0a" + naive.uvarint(len(series)) + series + b"\x10\1"
    assert flat(collect(naive.frame(message))) == expected([({"a": "b"}, [[(LOW_MS + 1, 5)]])])


GOOD = body_of([({"a": "1"}, [[(LOW_MS + 1, 5), (LOW_MS + 60_001, 6)]])])
MESSAGE = naive.series_message({"a": "1"}, [naive.encode([(LOW_MS + 1, 5)])])
BAD_CHUNK = naive.series_message({"a": "1"}, [b"\0\x09" + naive.encode([(LOW_MS + 1, 5)])[2:]])

FAULTS = {
    "the last frame is cut": (GOOD + GOOD[:-1], SourceUnavailable, "ended within a frame"),
    "a length alone": (GOOD + b"\x85", SourceUnavailable, "ended within a frame"),
    "a wrong checksum": (GOOD + GOOD[:3] + b"\0" + GOOD[4:], SourceGarbled, "checksum is wrong"),
    "a byte turned over": (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), SourceGarbled, "checksum is wrong"),
    "a length without end": (b"\xff" * 11, SourceGarbled, "length is no number"),
    "a length beyond 64 bits": (b"\xff" * 9 + b"\x02", SourceGarbled, "length is no number"),
    "an enormous length": (b"\xff" * 9 + b"\x01" + GOOD, SourceGarbled, "more than 10,000 bytes"),
    "a frame that is too large": (naive.frame(bytes(10_001)), SourceGarbled, "more than 10,000 bytes"),
    "an error text in the middle": (GOOD + b"expanding series: context canceled\n" * 4, SourceGarbled, "checksum"),
    "no protobuf": (naive.frame(b"\xff\xff\xff"), SourceGarbled, "no ChunkedReadResponse"),
    "a series longer than its frame": (naive.frame(b"\x0a\x7f" + b"a"), SourceGarbled, "no ChunkedReadResponse"),
    "a label longer than its series": (naive.frame(b"\x0a\3\x0a\x7fa"), SourceGarbled, "no ChunkedReadResponse"),
    "a name longer than its label": (naive.frame(b"\x0a\5\x0a\3\x0a\x7fa"), SourceGarbled, "no ChunkedReadResponse"),
    "a chunk longer than its series": (naive.frame(b"\x0a\3\x12\x7fa"), SourceGarbled, "no ChunkedReadResponse"),
    "data longer than its chunk": (naive.frame(b"\x0a\5\x12\3\x22\x7fa"), SourceGarbled, "no ChunkedReadResponse"),
    "a group": (naive.frame(b"\x0b\x0c"), SourceGarbled, "no ChunkedReadResponse"),
    "a field that is cut": (naive.frame(MESSAGE + b"\x11\0"), SourceGarbled, "no ChunkedReadResponse"),
    "a chunk that ends too early": (naive.frame(BAD_CHUNK), SourceGarbled, "XOR chunk"),
    "a chunk without a count": (naive.frame(naive.series_message({}, [b"\1"])), SourceGarbled, "XOR chunk"),
}


@pytest.mark.parametrize("piece", [1, 1 << 18])
@pytest.mark.parametrize("name", FAULTS)
def test_what_is_no_stream_of_frames_is_an_error(name: str, piece: int) -> None:
    body, kind, words = FAULTS[name]
    with pytest.raises(kind, match=words) as caught:
        collect(body, piece, frame_bytes=10_000)
    assert str(caught.value).startswith("here")


@settings(max_examples=300)
@given(st.binary(max_size=60), st.booleans())
def test_noise_is_an_error_or_no_sample(noise: bytes, framed: bool) -> None:
    try:
        batches = collect(naive.frame(noise) if framed else noise, 13)
    except SourceError:
        return
    assert all(batch.series == 0 for batch in batches)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_message_never_reads_beyond_its_frame(data: st.DataObject) -> None:
    """The checksum is right, as of a server that is wrong itself: an error, or samples in their place."""
    message = bytearray(
        naive.series_message({"a": "1", "b": "2"}, [naive.encode([(LOW_MS + 1 + i, i) for i in range(5)])])
    )
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        (batch,) = collect(naive.frame(bytes(message)))
    except SourceGarbled:
        return
    assert ((batch.time_ms >= START_S * 1000) & (batch.time_ms <= END_S * 1000)).all()
    assert (np.diff(batch.first) > 0).all()


def test_the_memory_is_that_of_one_batch_however_long_the_stream() -> None:
    collector = Collector("here", START_S, END_S, STEP_S, rows=4)
    frame = GOOD * 1000
    for _ in range(50):
        assert list(collector.take(frame)) == []
    assert len(collector._buffer) <= 1 << 20
    assert [batch.series for batch in collector.finish()] == [1]
    assert collector.samples == 100_000
