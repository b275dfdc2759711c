"""Text to numbers, exactly.

Follows Lemire, "Number parsing at a gigabyte per second" (2021), with the proof of Mushtak and Lemire, "Fast number
parsing without fallback" (2022): the decimal significand times a 128-bit power of five decides the nearest float64.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

import numpy as np

from exporter.kernels import leaf
from exporter.numtext.words import (
    HIDDEN,
    INTEGER_TENS,
    Bytes,
    byte_at,
    from_bits,
    leading_zeros,
    multiply,
    power_table,
    signed,
)

_0, _1, _2, _3, _4, _5, _6, _7, _8, _10, _16, _24, _32, _40, _48, _52, _56, _63 = (
    np.uint64(n) for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 16, 24, 32, 40, 48, 52, 56, 63)
)

EXACT = 0
SLOW = 1
MALFORMED = 2

_MIN_READ, _MAX_READ = -342, 308  # beyond these powers of ten a 19-digit significand is 0 or infinite
_KEPT_DIGITS = 19  # what always fits 64 bits
_FAST_TIME_DIGITS = 15
_EXPONENT_CAP = 1_000_000_000
_MAX_INT64 = 2**63 - 1
_EIGHT_1, _EIGHT_48, _EIGHT_118, _EIGHT_128 = (np.uint64(n * 0x0101010101010101) for n in (1, 48, 118, 128))
_EVEN_BYTES, _EVEN_PAIRS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_NEEDS_LOW_PRODUCT = np.uint64(0x1FF)
_EVEN = np.uint64(2**64 - 2)
_EXACT_INTEGER = np.uint64(1 << 53)
_EXACT_POWER = 22  # 5**22 is below 2**53
_EXACT_TENS = np.array([float(10**power) for power in range(_EXACT_POWER + 1)])
_INFINITE_BITS = np.uint64(0x7FF << 52)
_READ_POWERS = power_table(_MIN_READ, _MAX_READ, round_up=False)


@leaf
def _decimal_product(w: np.uint64, power: int) -> tuple[np.uint64, np.uint64]:
    """The leading 128 bits of w * 5**power; the low half of the power enters only where it can matter."""
    row = power - _MIN_READ
    high, low = multiply(w, _READ_POWERS[row, 0])
    if (high & _NEEDS_LOW_PRODUCT) == _NEEDS_LOW_PRODUCT:
        carry, _ = multiply(w, _READ_POWERS[row, 1])
        low += carry
        if low < carry:
            high += _1
    return high, low


@leaf
def _subnormal_bits(mantissa: np.uint64, shift: int) -> np.uint64:
    """Bits of a number below the normal range; a carry into the hidden bit makes it the least normal one."""
    if shift >= 64:
        return _0
    mantissa >>= np.uint64(shift)
    return (mantissa + (mantissa & _1)) >> _1


@leaf
def _normal_bits(mantissa: np.uint64, exponent: int) -> np.uint64:
    """Round 54 bits to 53; a carry out of the mantissa moves on to the exponent, up to infinity, by itself."""
    mantissa = (mantissa + (mantissa & _1)) >> _1
    bits = (np.uint64(exponent) << _52) + (mantissa - HIDDEN)
    return min(bits, _INFINITE_BITS)


@leaf
def _nearest_bits(w: np.uint64, power: int) -> np.uint64:
    """Bits of the float64 nearest to w * 10**power, ties to even; w is not 0."""
    if power < _MIN_READ:
        return _0
    if power > _MAX_READ:
        return _INFINITE_BITS
    zeros = leading_zeros(w)
    high, low = _decimal_product(w << np.uint64(zeros), power)
    upper = high >> _63
    shift = upper + np.uint64(9)
    mantissa = high >> shift
    exponent = ((217706 * power) >> 16) + 63 + signed(upper) - zeros + 1023
    if exponent <= 0:
        return _subnormal_bits(mantissa, 1 - exponent)
    tie_possible = low <= _1 and -4 <= power <= 23 and (mantissa & _3) == _1
    if tie_possible and (mantissa << shift) == high:
        mantissa &= _EVEN
    return _normal_bits(mantissa, exponent)


@leaf
def nearest(w: np.uint64, power: int) -> float:
    """The float64 nearest to w * 10**power, ties to even.

    Short decimals take the way of Clinger, "How to read floating point numbers accurately" (1990), section 4.
    """
    if w == _0:
        return 0.0
    if w <= _EXACT_INTEGER and -_EXACT_POWER <= power <= 0:  # both are float64 without rounding, so is one division
        return np.float64(np.float64(w) / _EXACT_TENS[np.uint64(-power)])
    return from_bits(_nearest_bits(w, power))


@leaf
def _eight_bytes(buf: Bytes, at: int) -> np.uint64:
    """Eight bytes as a little-endian word (the compiler makes one load of it)."""
    i = np.uint64(at)
    low = np.uint64(buf[i]) | np.uint64(buf[i + _1]) << _8 | np.uint64(buf[i + _2]) << _16
    low |= np.uint64(buf[i + _3]) << _24 | np.uint64(buf[i + _4]) << _32 | np.uint64(buf[i + _5]) << _40
    return low | np.uint64(buf[i + _6]) << _48 | np.uint64(buf[i + _7]) << _56


@leaf
def _digit_run(word: np.uint64) -> int:
    """How many of the eight bytes, from the lowest on, hold 0..9."""
    beyond = (word + _EIGHT_118) | word  # the high bit of a byte is set from 10 on; carries only spoil bytes behind
    lowest = beyond & _EIGHT_128
    lowest = (lowest & (~lowest + _1)) >> _7
    return signed((((lowest - _1) & _EIGHT_1) * _EIGHT_1) >> _56)


@leaf
def _value_of_eight(word: np.uint64) -> np.uint64:
    """The number whose decimal digits are the eight bytes, lowest byte first: pairs, then fours, then all."""
    word = (word * np.uint64(10 * 2**8 + 1)) >> _8
    word = ((word & _EVEN_BYTES) * np.uint64(100 * 2**16 + 1)) >> _16
    return ((word & _EVEN_PAIRS) * np.uint64(10000 * 2**32 + 1)) >> _32


@leaf
def _plain_digits(buf: Bytes, at: int, end: int, w: np.uint64) -> tuple[int, np.uint64]:
    """(position after the digits, w with them appended); w wraps round beyond 19 digits.

    Eight bytes at a time while the buffer has them, without a branch per digit.
    """
    run = 8
    while run == 8 and at + 8 <= len(buf):
        word = _eight_bytes(buf, at) ^ _EIGHT_48
        run = min(_digit_run(word), end - at)
        half = np.uint64(32 - 4 * run)  # shifted by halves: a shift by 64 at once is undefined
        w = w * INTEGER_TENS[np.uint64(run)] + _value_of_eight(word << half << half)
        at += run
    while run == 8 and at < end and 48 <= byte_at(buf, at) <= 57:
        w = w * _10 + np.uint64(byte_at(buf, at) - 48)
        at += 1
    return at, w


@leaf
def _take_digits(
    buf: Bytes, at: int, end: int, w: np.uint64, kept: int, cut: bool
) -> tuple[int, np.uint64, int, int, bool]:
    """Read digits into w while fewer than 19 significant ones are kept.

    Returns the position after the digits, w, the count kept, how many digits w has absorbed in this call, and
    whether a digit other than 0 was cut off.
    """
    absorbed = 0
    while at < end:
        digit = byte_at(buf, at) - 48
        if digit < 0 or digit > 9:
            break
        if kept < _KEPT_DIGITS:
            w = w * _10 + np.uint64(digit)
            kept += w != _0
            absorbed += 1
        else:
            cut = cut or digit != 0
        at += 1
    return at, w, kept, absorbed, cut


@leaf
def _take_exponent(buf: Bytes, at: int, end: int) -> tuple[int, int]:
    """(position after an exponent that starts at ``at``, its value); position -1 when it is malformed."""
    at += 1
    negative = at < end and byte_at(buf, at) == 45
    if at < end and (byte_at(buf, at) == 45 or byte_at(buf, at) == 43):
        at += 1
    first, value = at, 0
    while at < end and 48 <= byte_at(buf, at) <= 57:
        value = min(value * 10 + byte_at(buf, at) - 48, _EXPONENT_CAP)
        at += 1
    if at == first:
        return -1, 0
    return at, -value if negative else value


@leaf
def _is_word(buf: Bytes, start: int, end: int, word: bytes) -> bool:
    """Whether the text is the given lower-case ASCII word in any case."""
    if end - start != len(word):
        return False
    for i in range(len(word)):  # noqa: SIM110  # numba has no all() over a generator
        if (byte_at(buf, start + i) | 32) != word[i]:
            return False
    return True


@leaf
def _parse_word(buf: Bytes, start: int, at: int, end: int) -> tuple[float, int]:
    """NaN (without sign) and Inf, Infinity (with or without), as Go reads them; the sign ends before ``at``."""
    if at == start and _is_word(buf, at, end, b"nan"):
        return np.nan, EXACT
    if _is_word(buf, at, end, b"inf") or _is_word(buf, at, end, b"infinity"):
        return -np.inf if byte_at(buf, start) == 45 else np.inf, EXACT
    return np.nan, MALFORMED


@leaf
def _short_significand(buf: Bytes, at: int, end: int) -> tuple[int, np.uint64, int, int]:
    """(position after the digits, significand, power of ten, number of digits); right up to 19 digits."""
    first = at
    at, w = _plain_digits(buf, at, end, _0)
    if at == end or byte_at(buf, at) != 46:
        return at, w, 0, at - first
    point = at
    at, w = _plain_digits(buf, at + 1, end, w)
    return at, w, point + 1 - at, at - first - 1


@leaf
def _long_significand(buf: Bytes, at: int, end: int) -> tuple[np.uint64, int, bool]:
    """(significand of the first 19 digits that count, power of ten, whether digits other than 0 were cut off)."""
    first = at
    at, w, kept, absorbed, cut = _take_digits(buf, at, end, _0, 0, False)
    power = at - first - absorbed
    if at < end and byte_at(buf, at) == 46:
        at, w, kept, absorbed, cut = _take_digits(buf, at + 1, end, w, kept, cut)
        power -= absorbed
    return w, power, cut


@leaf
def _take_decimal(buf: Bytes, at: int, end: int) -> tuple[np.uint64, int, bool, bool]:
    """(significand, power of ten, digits cut off, well-formed) of an unsigned decimal that fills at..end."""
    first, cut = at, False
    at, w, power, digits = _short_significand(buf, at, end)
    if digits > _KEPT_DIGITS:
        w, power, cut = _long_significand(buf, first, end)
    if digits > 0 and at < end and (byte_at(buf, at) | 32) == 101:
        at, exponent = _take_exponent(buf, at, end)
        power += exponent
    return w, power, cut, digits > 0 and at == end


@leaf
def parse_decimal(buf: Bytes, start: int, end: int) -> tuple[float, int]:
    """Read the number text ``buf[start:end]`` as float64.

    Returns (value, status). EXACT: the nearest float64, ties to even; overflow gives an infinity, NaN and infinities
    are read in any case. SLOW: well-formed, but more than 19 digits straddle a rounding boundary; the caller asks
    Python's ``float(text)``. MALFORMED: not a number (empty, blanks, underscores, hexadecimal). Raises nothing;
    about 10 ns for 17 digits.
    """
    at = start
    if at < end and (byte_at(buf, at) == 45 or byte_at(buf, at) == 43):
        at += 1
    if at >= end:
        return np.nan, MALFORMED
    if byte_at(buf, at) > 57:
        return _parse_word(buf, start, at, end)
    w, power, cut, well_formed = _take_decimal(buf, at, end)
    if not well_formed:
        return np.nan, MALFORMED
    value = nearest(w, power)
    if cut and value != nearest(w + _1, power):
        return np.nan, SLOW
    return -value if byte_at(buf, start) == 45 else value, EXACT


@leaf
def _take_fraction_ms(buf: Bytes, at: int, end: int) -> tuple[int, int]:
    """(position after the decimals that start at ``at``, milliseconds rounded half up); position -1: no digit."""
    first, ms, unit = at, 0, 100
    while at < end and 48 <= byte_at(buf, at) <= 57:
        digit = byte_at(buf, at) - 48
        ms += digit * unit
        if at == first + 3 and digit >= 5:
            ms += 1
        unit //= 10
        at += 1
    return at if at > first else -1, ms


@leaf
def parse_time_ms(buf: Bytes, start: int, end: int) -> tuple[int, int]:
    """Read a JSON number of seconds as whole milliseconds; further decimals are rounded half away from zero.

    Returns (milliseconds, status). SLOW: it has an exponent or more than 15 digits before the point; the caller asks
    ``time_ms``. MALFORMED: not a JSON number. Raises nothing.
    """
    at = start + (start < end and byte_at(buf, start) == 45)
    first, ms = at, 0
    at, seconds = _plain_digits(buf, at, end, _0)
    digits = at - first
    if digits == 0 or (digits > 1 and byte_at(buf, first) == 48):
        return 0, MALFORMED
    if at < end and byte_at(buf, at) == 46:
        at, ms = _take_fraction_ms(buf, at + 1, end)
    exponent = 0 <= at < end and (byte_at(buf, at) | 32) == 101
    if exponent:
        at, _ = _take_exponent(buf, at, end)
    if at != end:
        return 0, MALFORMED
    if exponent or digits > _FAST_TIME_DIGITS:
        return 0, SLOW
    total = signed(seconds) * 1000 + ms
    return -total if byte_at(buf, start) == 45 else total, EXACT


def time_ms(text: str) -> int:
    """The slow path of ``parse_time_ms``: any decimal text of seconds as milliseconds, rounded half away from zero.

    Raises ValueError when the text is no finite number or the time does not fit 64 bits.
    """
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not a time: {text[:40]!r}") from None
    if seconds == 0 or seconds.adjusted() < -4:
        return 0
    if not seconds.is_finite() or seconds.adjusted() > 18:
        raise ValueError(f"not a time: {text[:40]!r}")
    ms = int((seconds * 1000).to_integral_value(ROUND_HALF_UP))
    if abs(ms) > _MAX_INT64:
        raise ValueError(f"not a time: {text[:40]!r}")
    return ms
