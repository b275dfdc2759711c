"""The decoder of streamed remote read beside its slow twin and protobuf's own classes."""

from __future__ import annotations

import json

import numpy as np
from fuzz.choices import Choices, damaged
from google.protobuf.message import DecodeError
from naive import xor_chunks as naive

from exporter.errors import SourceError
from exporter.source.remote_read.collector import Collector

STEP_S, COLUMNS = 60, 10
START_S = 1_700_000_040
END_S = START_S + (COLUMNS - 1) * STEP_S
LOW_MS = (START_S - STEP_S) * 1000
_TOKENS = (
    b"\x00",
    b"\xff",
    b"\x0a\x00",
    b"\x12\x00",
    b"\x80\x80\x01",
    b"\x7f",
    b"\xff" * 9 + b"\x01",
    b"\x0a\x03\x0a\x01a",
)

Found = dict[str, list[tuple[int, int]]]
Series = tuple[dict[str, str], list[naive.Samples]]


def check(data: bytes) -> None:
    """One input: frames of some series in pieces, their messages or the body damaged, or the bytes as they are."""
    choices = Choices(data)
    kind, piece, rows = choices.below(8), choices.pick((1 << 18, 1, 7, 100)), 1 + choices.below(7)
    if kind == 0:
        return _survives(choices.rest(), piece, rows)
    if kind == 1:
        return _damaged_message(choices.rest(), piece)
    series = _many_series(choices)
    messages = [naive.series_message(labels, [naive.encode(chunk)]) for labels, chunks in series for chunk in chunks]
    if kind == 2:
        return _survives(damaged(choices, b"".join(map(naive.frame, messages)), _TOKENS), piece, rows)
    if kind == 3:
        return _damaged_message(damaged(choices, b"".join(messages), _TOKENS), piece)
    assert collected(b"".join(map(naive.frame, messages)), piece, rows) == _expected(series)
    return None


def collected(body: bytes, piece: int, rows: int) -> Found:
    """Label JSON -> (time, bits) of all batches of a body that comes in pieces. Raises SourceError."""
    collector = Collector("here", START_S, END_S, STEP_S, rows)
    batches = []
    for at in range(0, len(body), piece):
        batches += collector.take(body[at : at + piece])
    found: Found = {}
    for batch in [*batches, *collector.finish()]:
        assert batch.series <= rows
        bits = batch.value.view(np.uint64).tolist()
        for i in range(batch.series):
            span = slice(batch.first[i], batch.first[i + 1])
            own = list(zip(batch.time_ms.tolist()[span], bits[span], strict=True))
            found.setdefault(batch.label_bytes(i).decode(), []).extend(own)
    return found


def _survives(body: bytes, piece: int, rows: int) -> None:
    """An error of ours, or samples in their place."""
    try:
        found = collected(body, piece, rows)
    except SourceError:
        return
    times = [time_ms for samples in found.values() for time_ms, _ in samples]
    assert all(START_S * 1000 <= time_ms <= END_S * 1000 for time_ms in times)


def _damaged_message(message: bytes, piece: int) -> None:
    """A frame whose checksum is right but whose message may be anything: what we take, protobuf takes, and it means
    the same."""
    try:
        found = collected(naive.frame(message), piece, 64)
    except SourceError:
        return
    try:
        parsed = naive.MESSAGES["ChunkedReadResponse"].FromString(message)
    except DecodeError:
        return  # protobuf checks what we step over: numbers of fields, wire types of unknown ones
    wanted: dict[str, dict[int, tuple[int, int]]] = {}
    for series in parsed.chunked_series:
        name = _spelt({label.name: label.value for label in series.labels})
        if name is None or len({label.name for label in series.labels}) < len(series.labels):
            return
        own = [sample for chunk in series.chunks if chunk.type == naive.XOR for sample in naive.decode(chunk.data)]
        cells = naive.cells(own, LOW_MS, STEP_S * 1000, COLUMNS)
        if name in wanted and cells:
            return  # one series in two pieces: the twin of cells is asked elsewhere
        wanted[name] = cells or wanted.get(name, {})
    assert found == {name: _on_grid(cells) for name, cells in wanted.items() if cells}


def _spelt(labels: dict[bytes, bytes]) -> str | None:
    """Labels as JSON; None where a text is no UTF-8 or would be escaped in more than one way."""
    try:
        texts = {name.decode(): value.decode() for name, value in labels.items()}
    except UnicodeDecodeError:
        return None
    if any(c in text for pair in texts.items() for text in pair for c in "\x08\x0c"):
        return None
    return json.dumps(texts, separators=(",", ":"), ensure_ascii=False)


def _on_grid(cells: dict[int, tuple[int, int]]) -> list[tuple[int, int]]:
    return [(LOW_MS + (column + 1) * STEP_S * 1000, cells[column][1]) for column in sorted(cells)]


def _expected(series: list[Series]) -> Found:
    found: Found = {}
    for labels, chunks in series:
        cells = naive.cells([sample for chunk in chunks for sample in chunk], LOW_MS, STEP_S * 1000, COLUMNS)
        name = _spelt({name.encode(): value.encode() for name, value in labels.items()})
        if cells and name:
            found[name] = _on_grid(cells)
    return found


def _many_series(choices: Choices) -> list[Series]:
    """Series whose labels differ and need one way of escaping only."""
    series: dict[str, Series] = {}
    for _ in range(choices.below(5)):
        labels = {_label(choices): _label(choices) for _ in range(choices.below(4))}
        chunks = [_samples(choices) for _ in range(1 + choices.below(3))]
        series[json.dumps(labels, sort_keys=True)] = labels, chunks
    return list(series.values())


def _label(choices: Choices) -> str:
    return choices.text(6).replace("\x08", "b").replace("\x0c", "f")


def _samples(choices: Choices) -> naive.Samples:
    """Samples ascending in time, in and beside the span; values of all kinds of bits."""
    time_ms, samples = LOW_MS - 1000 + choices.below(100_000), []
    for _ in range(1 + choices.below(12)):
        kind = choices.below(4)
        bits = naive.bits_of(float(choices.below(100))) if kind else int.from_bytes(choices.raw(8), "little")
        samples.append((time_ms, naive.STALE_BITS if kind == 3 and choices.rarely() else bits))
        time_ms += choices.pick((15_000, 60_000, 1, 60_001, choices.below(1 << 21)))
    return samples
