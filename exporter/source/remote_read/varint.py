"""Protobuf's wire format as far as a remote-read answer needs it: varints, spans, and values to step over.

Positions count bytes of a buffer; a negative position is one of the two below. Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import numpy as np

from exporter.kernels import kernel
from exporter.samples import Bytes

SHORT = -1  # the buffer ends before the value does
BROKEN = -2  # no continuation makes a value of it

_LONGEST = 10  # bytes of a 64-bit varint
_7, _LOW_BITS, _MORE, _1 = np.uint64(7), np.uint64(0x7F), np.uint64(0x80), np.uint64(1)
_VARINT, _EIGHT_BYTES, _SPAN, _FOUR_BYTES = 0, 1, 2, 5


@kernel
def read_varint(buf: Bytes, at: int, end: int) -> tuple[np.uint64, int]:
    """The varint at ``at``: (value, position after it). Position SHORT or BROKEN (beyond 64 bits) without one."""
    value, shift = np.uint64(0), np.uint64(0)
    for i in range(at, min(end, at + _LONGEST)):
        byte = np.uint64(buf[i])
        if i == at + _LONGEST - 1 and byte > _1:
            return value, BROKEN
        value |= (byte & _LOW_BITS) << shift
        if byte < _MORE:
            return value, i + 1
        shift += _7
    return value, SHORT  # the tenth byte always decides


@kernel
def signed(value: np.uint64) -> int:
    """A zigzag-encoded number: 0, 1, 2, 3 mean 0, -1, 1, -2."""
    return np.int64(value >> _1) ^ -np.int64(value & _1)  # type: ignore[return-value]


@kernel
def read_span(buf: Bytes, at: int, end: int) -> tuple[int, int]:
    """A length and that many bytes: (their start, their end); (BROKEN, BROKEN) unless all lie before ``end``."""
    length, start = read_varint(buf, at, end)
    if start < 0 or length > np.uint64(end - start):
        return BROKEN, BROKEN
    return start, start + np.int64(length)  # type: ignore[return-value]


@kernel
def skip_value(buf: Bytes, at: int, end: int, tag: np.uint64) -> int:
    """The position after the value of a field with this tag, or a negative one. Groups, long gone, are BROKEN."""
    wire = np.int64(tag & _7)
    if wire == _VARINT:
        return read_varint(buf, at, end)[1]
    if wire == _SPAN:
        return read_span(buf, at, end)[1]
    if wire != _EIGHT_BYTES and wire != _FOUR_BYTES:
        return BROKEN
    after = at + (8 if wire == _EIGHT_BYTES else 4)
    return after if after <= end else BROKEN
