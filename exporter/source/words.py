"""Eight bytes of text at a time: loading them as a word, finding a character in it, reading it as digits."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from exporter.kernels import kernel
from exporter.samples import Bytes

_1, _4, _8, _10, _16, _32, _56 = (np.uint64(n) for n in (1, 4, 8, 10, 16, 32, 56))
_EACH = np.uint64(0x0101010101010101)  # times a character: that character in all eight bytes
_TOPS = np.uint64(0x8080808080808080)
_HIGH_HALVES = np.uint64(0xF0F0F0F0F0F0F0F0)
_SIXES = np.uint64(0x0606060606060606)
_THREES = np.uint64(0x3333333333333333)
_ZEROS = np.uint64(0x3030303030303030)  # the character 0, eight times
_PAIRS = np.uint64(0x000000FF000000FF)
_SUM_ODD, _SUM_EVEN = np.uint64(0x000F424000000064), np.uint64(0x0000271000000001)  # 10^6 and 10^2, 10^4 and 1

QUOTES, BACKSLASHES, COMMAS, DOTS = (np.uint64(ord(c)) * _EACH for c in '"\\,.')
TENS = np.array([10**power for power in range(16)], np.uint64)


def _define_word_at(typing_context: Any, buf: Any, at: Any) -> Any:
    """(buf, at): eight bytes in one load; numba alone would index and widen them one by one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(pointer, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(buf, types.int64), generate


word_at: Any = intrinsic(_define_word_at)  # word_at(buf, at): the bytes at..at+7, which must exist, little-endian


@kernel
def part_word(buf: Bytes, at: int, end: int) -> np.uint64:
    """Fewer than eight bytes as a word, filled up with zero bytes."""
    word = np.uint64(0)
    for i in range(end - 1, at - 1, -1):
        word = word << _8 | np.uint64(buf[i])
    return word


@kernel
def _load(buf: Bytes, at: int) -> np.uint64:
    """``word_at`` that may reach beyond the buffer (of 8 bytes or more), where it finds zero bytes."""
    inside = min(at, len(buf) - 8)
    return np.uint64(word_at(buf, inside) >> np.uint64(8 * (at - inside)))


@kernel
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
            below = (marks - _1) & ~marks & _EACH  # one bit for each byte up to the first marked one
            at += np.int64((below * _EACH) >> _56) - 1  # type: ignore[assignment]  # int() would keep it unsigned
            return at if at < end else end
        at += 8
    return end


@kernel
def _is_digits(word: np.uint64) -> bool:
    """Whether all eight bytes are ASCII digits."""
    return bool(((word & _HIGH_HALVES) | (((word + _SIXES) & _HIGH_HALVES) >> _4)) == _THREES)


@kernel
def _eight_digits(word: np.uint64) -> np.uint64:
    """Eight ASCII digits as a number: neighbours are joined to pairs, then all pairs by two multiplications."""
    word -= _ZEROS
    word = word * _10 + (word >> _8)
    return ((word & _PAIRS) * _SUM_ODD + ((word >> _16) & _PAIRS) * _SUM_EVEN) >> _32


@kernel
def read_digits(buf: Bytes, at: int, end: int) -> tuple[np.uint64, bool]:
    """``buf[at:end]`` as a whole number, and whether it is 1 to 16 ASCII digits and nothing else."""
    count = end - at
    if count < 1 or count > 16:
        return np.uint64(0), False
    number, digits = np.uint64(0), True
    if count > 8:
        word = _load(buf, at)
        number, digits = _eight_digits(word), _is_digits(word)
        count -= 8
    room = np.uint64(64 - 8 * count)
    word = _load(buf, end - count) << room | (_ZEROS & ((_1 << room) - _1))
    return number * TENS[np.uint64(count)] + _eight_digits(word), digits and _is_digits(word)
