"""The chunk decoder beside its bit-by-bit twin: any times and values, any damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from naive import xor_chunks as naive

from exporter.source.remote_read.castagnoli import crc32c
from exporter.source.remote_read.xor import NO_TIME, SLACK, decode_chunk

NAN_WITH_PAYLOAD, DENORMAL = 0x7FF8DEADBEEF0001, 0x0000000000000001
STEP_MS, COLUMNS = 60_000, 40
LOW_MS = 1_700_000_040_000

odd_bits = st.sampled_from(
    [0, 1 << 63, naive.STALE_BITS, NAN_WITH_PAYLOAD, DENORMAL, 0x7FF0000000000000, 0xFFF0000000000000, (1 << 64) - 1]
)
bits = odd_bits | st.integers(0, (1 << 64) - 1) | st.floats(-1000, 1000).map(naive.bits_of)
distances = st.sampled_from([0, 1, 15_000, 60_000, 300_000]) | st.integers(0, 1 << 22)
changes_of_all_widths = st.sampled_from([0, 1, -1, 8191, 8192, 8193, -8191, -8192, 65_535, 65_536, 65_537, -65_536,
                                         524_287, 524_288, 524_289, -524_288, 1 << 40])  # fmt: skip


@st.composite
def sampled(draw: st.DrawFn) -> naive.Samples:
    """Samples around the span, mostly in order: constants, gaps, and distances that change by every field width."""
    ms = LOW_MS + draw(st.integers(-10 * STEP_MS, 10 * STEP_MS))
    distance, samples = draw(distances), []
    value = draw(bits)
    for _ in range(draw(st.integers(1, 60))):
        value = draw(st.just(value) | bits)
        samples.append((ms, value))
        distance += draw(st.just(0) | changes_of_all_widths)
        ms += distance
    return samples


def decoded(
    chunk: bytes, low_ms: int = LOW_MS, step_ms: int = STEP_MS, columns: int = COLUMNS
) -> dict[int, tuple[int, int]] | None:
    """Column -> (time, bits); None when the kernel refuses."""
    cell_ms, cell_bits = np.full(columns, NO_TIME), np.zeros(columns, np.uint64)
    buf = np.frombuffer(b"\xa5" + chunk + b"\xff" * SLACK, np.uint8)
    if not decode_chunk(buf, 1, 1 + len(chunk), low_ms, step_ms, cell_ms, cell_bits):
        return None
    filled = np.flatnonzero(cell_ms != NO_TIME).tolist()
    return {column: (int(cell_ms[column]), int(cell_bits[column])) for column in filled}


@given(sampled())
def test_any_samples_come_through_to_the_bit(samples: naive.Samples) -> None:
    chunk = naive.encode(samples)
    assert naive.decode(chunk) == samples  # the twin reads what the twin writes
    assert decoded(chunk) == naive.cells(samples, LOW_MS, STEP_MS, COLUMNS)


@given(st.lists(st.tuples(st.integers(-(1 << 62), 1 << 62), bits), min_size=1, max_size=8))
@example([(1 << 62, 1), (-(1 << 62), 2)])
def test_huge_times_wrap_alike_and_fill_no_cell_by_mistake(samples: naive.Samples) -> None:
    chunk = naive.encode(samples)
    assert decoded(chunk) == naive.cells(naive.decode(chunk), LOW_MS, STEP_MS, COLUMNS)


@given(sampled(), st.integers(1, 7), st.integers(1, 3))
def test_any_step_and_width(samples: naive.Samples, step_ms: int, columns: int) -> None:
    low_ms = samples[len(samples) // 2][0] - 3
    assert decoded(naive.encode(samples), low_ms, step_ms, columns) == naive.cells(samples, low_ms, step_ms, columns)


def _expected(chunk: bytes) -> dict[int, tuple[int, int]] | None:
    try:
        return naive.cells(naive.decode(chunk), LOW_MS, STEP_MS, COLUMNS)
    except (EOFError, ValueError):
        return None


@given(sampled(), st.data())
def test_damaged_chunks_are_read_or_refused_as_the_twin_does(samples: naive.Samples, data: st.DataObject) -> None:
    chunk = bytearray(naive.encode(samples))
    for _ in range(data.draw(st.integers(1, 4))):
        chunk[data.draw(st.integers(0, len(chunk) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(chunk[: data.draw(st.integers(0, len(chunk)))])
    assert decoded(cut) == _expected(cut)


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused_as_the_twin_does(noise: bytes) -> None:
    assert decoded(noise) == _expected(noise)


def test_overlapping_chunks_in_any_order_give_the_latest_sample_of_each_cell() -> None:
    samples = [(LOW_MS + 7_000 * i + 1, i + 1) for i in range(200)]
    cell_ms, cell_bits = np.full(COLUMNS, NO_TIME), np.zeros(COLUMNS, np.uint64)
    for part in (samples[90:150], samples[140:], samples[:100], samples[90:150]):
        chunk = naive.encode(part)
        buf = np.frombuffer(chunk + bytes(SLACK), np.uint8)
        assert decode_chunk(buf, 0, len(chunk), LOW_MS, STEP_MS, cell_ms, cell_bits)
    expected = naive.cells(samples, LOW_MS, STEP_MS, COLUMNS)
    filled = np.flatnonzero(cell_ms != NO_TIME).tolist()
    assert {c: (int(cell_ms[c]), int(cell_bits[c])) for c in filled} == expected


def test_the_edges_of_a_cell_are_those_of_the_window() -> None:
    at_edges = [(LOW_MS, 1), (LOW_MS + 1, 2), (LOW_MS + STEP_MS, 3), (LOW_MS + STEP_MS + 1, 4)]
    assert decoded(naive.encode(at_edges)) == {0: (LOW_MS + STEP_MS, 3), 1: (LOW_MS + STEP_MS + 1, 4)}


def test_a_stale_marker_is_no_sample_but_another_nan_is() -> None:
    samples = [(LOW_MS + 1, 5), (LOW_MS + 2, naive.STALE_BITS), (LOW_MS + STEP_MS + 1, NAN_WITH_PAYLOAD)]
    assert decoded(naive.encode(samples)) == {0: (LOW_MS + 1, 5), 1: (LOW_MS + STEP_MS + 1, NAN_WITH_PAYLOAD)}


def test_an_empty_chunk_is_one() -> None:
    assert decoded(struct.pack(">H", 0)) == {}
    assert decoded(b"\0") is None


@given(st.binary(max_size=100), st.integers(0, 20))
@example(b"123456789", 0)
def test_the_checksum_is_that_of_the_twin(data: bytes, start: int) -> None:
    start = min(start, len(data))
    padded = np.frombuffer(data + b"\x5a" * 8, np.uint8)
    assert int(crc32c(padded, start, len(data))) == naive.crc32c(data[start:])


@pytest.mark.parametrize(("data", "crc"), [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)])
def test_known_checksums(data: bytes, crc: int) -> None:
    assert int(crc32c(np.frombuffer(data + bytes(8), np.uint8), 0, len(data))) == crc == naive.crc32c(data)
