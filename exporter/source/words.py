"""Eight bytes of text at a time: loading them as a word, finding a character in it, reading it as digits."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from exporter.kernels import leaf
from exporter.samples import Bytes

_8, _10, _16, _32 = (np.uint64(n) for n in (8, 10, 16, 32))
_EACH = np.uint64(0x0101010101010101)  # times a character: that character in all eight bytes
_TOPS = np.uint64(0x8080808080808080)
_BEYOND_NINE = np.uint64(0x7676767676767676)
_ZEROS = np.uint64(0x3030303030303030)  # the character 0, eight times
_PAIRS = np.uint64(0x000000FF000000FF)
_SUM_ODD, _SUM_EVEN = np.uint64(0x000F424000000064), np.uint64(0x0000271000000001)  # 10^6 and 10^2, 10^4 and 1

QUOTES, BACKSLASHES, COMMAS = (np.uint64(ord(c)) * _EACH for c in '"\\,')
TENS = np.array([10**power for power in range(20)], np.uint64)


def _define_word_at(typing_context: Any, buf: Any, at: Any) -> Any:
    """(buf, at): eight bytes in one load; numba alone would index and widen them one by one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(pointer, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(buf, types.int64), generate


def _define_zero_bytes(typing_context: Any, marks: Any) -> Any:
    """(marks): the bytes below the lowest set bit, 8 when there is none; one instruction and a shift."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.lshr(zeros, ir.Constant(ir.IntType(64), 3))

    return types.int64(types.uint64), generate


_zero_bytes: Any = intrinsic(_define_zero_bytes)
word_at: Any = intrinsic(_define_word_at)  # word_at(buf, at): the bytes at..at+7, which must exist, little-endian


@leaf
def part_word(buf: Bytes, at: int, end: int) -> np.uint64:
    """Fewer than eight bytes as a word, filled up with zero bytes."""
    word = np.uint64(0)
    for i in range(end - 1, at - 1, -1):
        word = word << _8 | np.uint64(buf[i])
    return word


@leaf
def _load(buf: Bytes, at: int) -> np.uint64:
    """``word_at`` that may reach beyond the buffer (of 8 bytes or more), where it finds zero bytes."""
    inside = min(at, len(buf) - 8)
    return np.uint64(word_at(buf, inside) >> np.uint64(8 * (at - inside)))


@leaf
def find_either(buf: Bytes, at: int, end: int, these: np.uint64, those: np.uint64) -> int:
    """Position of the first byte in ``buf[at:end]`` that is one of two characters, or ``end``.

    A character is given eight times over, as QUOTES is. A byte of x ^ these is zero where the character stands, and
    the subtraction marks the top bit of the first such byte (marks above it may be wrong, they are not used).
    """
    while at < end:
        word = _load(buf, at)
        x, y = word ^ these, word ^ those
        marks = (((x - _EACH) & ~x) | ((y - _EACH) & ~y)) & _TOPS
        if marks != np.uint64(0):
            at += _zero_bytes(marks)
            return at if at < end else end
        at += 8
    return end


@leaf
def read_run(buf: Bytes, at: int, number: np.uint64) -> tuple[np.uint64, int]:
    """Append the decimal digits that stand from ``at`` on to a number: (the number, position after the digits).

    The number wraps round beyond 19 digits. Subtracting the character 0 leaves 0-9 in bytes that are digits; adding
    0x76 sets the top bit of the first byte that is none. The digits are moved to the end of the word, where zero
    bytes before them are leading zeros, and neighbours are joined to pairs, then all pairs by two multiplications.
    """
    digits = 8
    while digits == 8 and at < len(buf):
        word = _load(buf, at) ^ _ZEROS
        marks = ((word + _BEYOND_NINE) | word) & _TOPS
        digits = _zero_bytes(marks)
        half = np.uint64(32 - 4 * digits)  # in two steps, for a shift by all 64 bits is undefined
        word = word << half << half
        word = word * _10 + (word >> _8)
        eight = ((word & _PAIRS) * _SUM_ODD + ((word >> _16) & _PAIRS) * _SUM_EVEN) >> _32
        number = number * TENS[np.uint64(digits)] + eight
        at += digits
    return number, at
