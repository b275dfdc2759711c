"""Prometheus' XOR chunks, decoded straight into the cells of one series.

A chunk is a 16-bit count of samples and a bit stream (Pelkonen et al., "Gorilla", VLDB 2015, section 4.1, with
Prometheus' own field widths): the first time as a zigzag varint, the first value as 64 bits; then a first distance as
a varint; from the third sample on the change of the distance in 0, 14, 17, 20 or 64 bits. Values are xored with the
one before, and the bits between its leading and trailing zeros are kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from exporter.kernels import kernel
from exporter.samples import Bytes
from exporter.source.remote_read.varint import read_varint, signed

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

SLACK = 32  # bytes that must exist in the buffer after a chunk: the reader looks that far beyond what it then uses
NO_TIME = np.iinfo(np.int64).min  # of a cell without a sample

_STALE = np.uint64(0x7FF0000000000002)  # the NaN that Prometheus writes where a series ends
_BROKEN = -1  # position of a stream that can't be right
_1, _2, _4, _5, _6, _8, _11, _63 = (np.uint64(n) for n in (1, 2, 4, 5, 6, 8, 11, 63))
_MOST_WIDTH = np.uint64(64)


def _define_big_word_at(typing_context: Any, buf: Any, at: Any) -> Any:
    """(buf, at): eight bytes in one load, the first one highest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(pointer, ir.IntType(64).as_pointer()))
        word.align = 1
        return builder.bswap(word)

    return types.uint64(buf, types.int64), generate


_big_word_at: Any = intrinsic(_define_big_word_at)


@kernel
def _peek(buf: Bytes, bit: int) -> np.uint64:
    """The 64 bits from a bit position on."""
    at, shift = bit >> 3, np.uint64(bit & 7)
    return np.uint64(_big_word_at(buf, at) << shift | np.uint64(buf[at + 8]) >> (_8 - shift))


@kernel
def _read_signed(word: np.uint64, width: np.uint64) -> int:
    """The top ``width`` bits of a word as a number from -(2^(width-1) - 1) to 2^(width-1)."""
    number = np.int64(word >> (_MOST_WIDTH - width))
    half = np.int64(_1 << (width - _1))
    return number - 2 * half if number > half else number  # type: ignore[return-value]


@kernel
def _read_change(buf: Bytes, bit: int) -> tuple[int, int]:
    """The change of the distance between samples: (milliseconds, position after it)."""
    word = _peek(buf, bit)
    if word >> _63 == 0:
        return 0, bit + 1
    kind = word >> np.uint64(60)
    if kind < 12:  # 10
        return _read_signed(word << _2, np.uint64(14)), bit + 16
    if kind < 14:  # 110
        return _read_signed(word << np.uint64(3), np.uint64(17)), bit + 20
    if kind == 14:  # 1110
        return _read_signed(word << _4, np.uint64(20)), bit + 24
    return np.int64(_peek(buf, bit + 4)), bit + 68  # type: ignore[return-value]


@kernel
def _read_value(
    buf: Bytes, bit: int, value: np.uint64, width: np.uint64, trailing: np.uint64
) -> tuple[int, np.uint64, np.uint64, np.uint64]:
    """The next value after ``value``: (position after it, value, and the width and trailing zeros of its change)."""
    word = _peek(buf, bit)
    if word >> _63 == 0:
        return bit + 1, value, width, trailing
    bit += 2
    if word >> np.uint64(62) == 3:
        leading = word << _2 >> np.uint64(59)
        width = word << np.uint64(7) >> np.uint64(58)
        width = _MOST_WIDTH if width == 0 else width
        if leading + width > _MOST_WIDTH:
            return _BROKEN, value, width, trailing
        trailing = _MOST_WIDTH - leading - width
        bit += 11
    return bit + np.int64(width), value ^ _peek(buf, bit) >> (_MOST_WIDTH - width) << trailing, width, trailing  # type: ignore[return-value]


@kernel
def _put(cell: int, ms: int, value: np.uint64, cell_ms: I64, cell_bits: U64) -> None:
    """Keep the latest sample of a cell, and of two at the same time the one seen first."""
    if ms > cell_ms[cell] and value != _STALE:
        cell_ms[cell] = ms
        cell_bits[cell] = value


@kernel
def _read_second(buf: Bytes, at: int, end: int, more: bool) -> tuple[int, int]:
    """The first distance: (milliseconds, bit position after it); without a second sample (0, the end)."""
    if not more:
        return 0, 8 * end
    distance, after = read_varint(buf, at, end)
    return np.int64(distance), 8 * after if after > 0 else _BROKEN  # type: ignore[return-value]


@kernel
def decode_chunk(
    buf: Bytes, start: int, end: int, low_ms: int, step_ms: int, cell_ms: I64, cell_bits: U64
) -> bool:  # fmt: skip
    """Put the samples of the chunk ``buf[start:end]`` into the cells of its series; False when it is no such chunk.

    Cell k holds the last sample in (low_ms + k * step_ms, low_ms + (k + 1) * step_ms]: its time in ``cell_ms`` (n,),
    NO_TIME without one, and its float64 as bits in ``cell_bits`` (n,). Samples beyond the cells and stale markers are
    passed over; chunks may come in any order and overlap. The buffer must go on for SLACK bytes after ``end``.
    About 10 ns a sample.
    """
    count = np.int64(buf[start]) << 8 | np.int64(buf[start + 1]) if end - start >= 2 else -1
    if count <= 0:
        return bool(count == 0)
    first, at = read_varint(buf, start + 2, end)
    if at < 0 or at + 8 > end:
        return False
    ms, value, last_bit = signed(first), _big_word_at(buf, at), 8 * end
    distance, bit = _read_second(buf, at + 8, end, bool(count > 1))
    width, trailing = _MOST_WIDTH, np.uint64(0)
    high_ms, cell, edge_ms = low_ms + step_ms * len(cell_ms), 0, low_ms + step_ms
    for i in range(count):
        if i > 1:
            change, bit = _read_change(buf, bit)
            distance += change
        if i > 0:
            if bit < 0 or bit > last_bit:
                return False
            ms += distance
            bit, value, width, trailing = _read_value(buf, bit, value, width, trailing)
        if bit < 0 or bit > last_bit:
            return False
        if ms <= low_ms or ms > high_ms:
            continue
        if ms > edge_ms or ms <= edge_ms - step_ms:  # a division only where a cell is left
            cell = (ms - low_ms - 1) // step_ms
            edge_ms = low_ms + (cell + 1) * step_ms
        _put(cell, ms, value, cell_ms, cell_bits)
    return True
