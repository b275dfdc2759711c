"""Remote write 1.0 on the wire: time series written by a kernel from label bytes that are kept per row.

A request of protocol 1.0 is nothing but its time series one behind the other (``WriteRequest.timeseries``, field 1), so
any slice between two of them is a request, too. Layout: prometheus.io/docs/specs/prw/remote_write_spec; varints and
tags: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]

# The NaN that ends a series (prometheus/model/value: StaleNaN). As bits only: float arithmetic would change them.
STALE_BITS = 0x7FF0000000000002

_TIMESERIES = 0x0A  # WriteRequest.timeseries, and TimeSeries.labels: field 1, bytes follow
_SAMPLES = 0x12  # TimeSeries.samples: field 2, bytes follow
_VALUE = 0x09  # Sample.value: field 1, eight bytes follow
_TIMESTAMP = 0x10  # Sample.timestamp: field 2, a varint follows
_ROOM_BYTES = 1 + 5 + 2 + 9 + 11  # of a time series beside its labels, at most


@dataclass(frozen=True, slots=True)
class Encoded:
    """Time series of one sample each: the i-th ends before ``data[ends[i]]`` and has its sample at ``times_ms[i]``."""

    data: Bytes
    ends: Ints
    times_ms: Ints

    @property
    def samples(self) -> int:
        """How many."""
        return len(self.ends)


@kernel
def varint_bytes(n: np.uint64) -> int:
    """Length of a varint."""
    length = 1
    while n >= np.uint64(128):
        n >>= np.uint64(7)
        length += 1
    return length


@kernel
def put_varint(out: Bytes, at: int, n: np.uint64) -> int:
    """Write a varint to out[at:], return the position after it."""
    while n >= np.uint64(128):
        out[at] = np.uint8((n & np.uint64(127)) | np.uint64(128))
        n >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(n)
    return at + 1


@kernel
def get_varint(data: Bytes, at: int) -> tuple[int, int]:
    """(the varint at a position, the position after it); for lengths, which are never negative."""
    value, shift = 0, 0
    while data[at] >= 128:
        value |= (int(data[at]) & 127) << shift
        shift += 7
        at += 1
    return value | (int(data[at]) << shift), at + 1


@kernel
def put_bytes(out: Bytes, at: int, data: Bytes, start: int, end: int) -> int:
    """Copy data[start:end] to out[at:], return the position after it. Unsigned indices make it whole vectors."""
    source, target = np.uint64(start), np.uint64(at)
    for i in range(np.uint64(end - start)):
        out[target + i] = data[source + i]
    return at + end - start


@kernel
def _put_word(out: Bytes, at: int, word: np.uint64) -> int:
    """Write eight bytes, the lowest first."""
    for i in range(8):
        out[at + i] = np.uint8((word >> np.uint64(8 * i)) & np.uint64(255))
    return at + 8


@kernel
def _put_sample(out: Bytes, at: int, bits: np.uint64, time_ms: np.uint64) -> int:
    """Write a sample; fields that are zero are left out, as protobuf does."""
    length = (9 if bits != np.uint64(0) else 0) + (1 + varint_bytes(time_ms) if time_ms != np.uint64(0) else 0)
    out[at], out[at + 1] = _SAMPLES, length
    at += 2
    if bits != np.uint64(0):
        out[at] = _VALUE
        at = _put_word(out, at + 1, bits)
    if time_ms != np.uint64(0):
        out[at] = _TIMESTAMP
        at = put_varint(out, at + 1, time_ms)
    return at


@kernel
def _put_all(
    out: Bytes, ends: Ints, name: Bytes, blob: Bytes, start: Ints, cut: Ints, end: Ints, rows: Ints, bits: Words,
    times_ms: Ints,
) -> int:  # fmt: skip
    """One time series per row; returns the bytes written."""
    at = 0
    for i in range(len(rows)):
        row = rows[i]
        time_ms = np.uint64(times_ms[i])
        sample = 2 + (9 if bits[i] != np.uint64(0) else 0)
        sample += 1 + varint_bytes(time_ms) if time_ms != np.uint64(0) else 0
        out[at] = _TIMESERIES
        at = put_varint(out, at + 1, np.uint64(end[row] - start[row] + len(name) + sample))
        at = put_bytes(out, at, blob, start[row], cut[row])
        at = put_bytes(out, at, name, 0, len(name))
        at = put_bytes(out, at, blob, cut[row], end[row])
        at = _put_sample(out, at, bits[i], time_ms)
        ends[i] = at
    return at


@kernel
def _label_bytes(start: Ints, end: Ints, rows: Ints) -> int:
    total = 0
    for row in rows:
        total += end[row] - start[row]
    return total


def encode(
    name: bytes, blob: Bytes, start: Ints, cut: Ints, end: Ints, rows: Ints, bits: Words, times_ms: Ints
) -> Encoded:
    """Time series of protocol 1.0, one per row in the order given.

    Shapes: ``rows``, ``bits`` (float64 as its bits), ``times_ms`` (n,). Row r has the label fields
    ``blob[start[r]:end[r]]``; ``name``, the field of ``__name__``, goes in at ``cut[r]``. All rows must have labels.
    100,000 series take about 0.02 CPU s.
    """
    room = int(_label_bytes(start, end, rows)) + len(rows) * (len(name) + _ROOM_BYTES)
    out, ends = np.empty(room, np.uint8), np.empty(len(rows), np.int64)
    used = _put_all(out, ends, np.frombuffer(name, np.uint8), blob, start, cut, end, rows, bits, times_ms)
    return Encoded(out[:used], ends, times_ms)


@kernel
def _find_ends(data: Bytes, ends: Ints) -> int:
    at = found = 0
    while at < len(data):
        length, at = get_varint(data, at + 1)
        at += length
        ends[found] = at
        found += 1
    return found


def series_ends(data: bytes, samples: int) -> Ints:
    """Where each of so many time series of a request of ours ends."""
    ends = np.empty(samples, np.int64)
    found = _find_ends(np.frombuffer(data, np.uint8), ends)
    return ends[:found]
