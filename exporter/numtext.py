"""Numbers to text and back, exactly, as numba kernels over byte arrays.

Reading follows Lemire, "Number parsing at a gigabyte per second" (2021), with the proof of Mushtak and Lemire,
"Fast number parsing without fallback" (2022): the decimal significand times a 128-bit power of five decides the
nearest float64. Writing follows Giulietti, "The Schubfach way to render doubles" (2020): the shortest decimal in
the rounding interval, and of the shortest the one nearest to the number.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from exporter.kernels import leaf

Bytes: TypeAlias = npt.NDArray[np.uint8]

EXACT = 0
SLOW = 1
MALFORMED = 2

NUMBER_BYTES = 32  # room that a written number needs at most

_MIN_READ, _MAX_READ = -342, 308  # beyond these powers of ten a 19-digit significand is 0 or infinite
_MIN_WRITE, _MAX_WRITE = -292, 324
_KEPT_DIGITS = 19  # what always fits 64 bits
_FAST_TIME_DIGITS = 15
_EXPONENT_CAP = 1_000_000_000
_MAX_INT64 = 2**63 - 1

_0, _1, _2, _3, _4, _5, _6, _7, _8, _10 = (np.uint64(n) for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10))
_16, _24, _32, _40, _48, _52, _56, _63, _100 = (np.uint64(n) for n in (16, 24, 32, 40, 48, 52, 56, 63, 100))
_EIGHT_1, _EIGHT_48, _EIGHT_118, _EIGHT_128 = (np.uint64(n * 0x0101010101010101) for n in (1, 48, 118, 128))
_EVEN_BYTES, _EVEN_PAIRS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_TEN4, _TEN8 = np.uint64(10**4), np.uint64(10**8)
_LOW32 = np.uint64(0xFFFFFFFF)
_NEEDS_LOW_PRODUCT = np.uint64(0x1FF)
_HIDDEN = np.uint64(1 << 52)
_FRACTION = np.uint64((1 << 52) - 1)
_EVEN = np.uint64(2**64 - 2)
_EXACT_INTEGER = np.uint64(1 << 53)
_EXACT_POWER = 22  # 5**22 is below 2**53
_EXACT_TENS = np.array([float(10**power) for power in range(_EXACT_POWER + 1)])
_INFINITE_BITS = np.uint64(0x7FF << 52)

_PAIRS = np.frombuffer("".join(f"{pair:02d}" for pair in range(100)).encode(), np.uint8)
_INTEGER_TENS = np.array([10**power for power in range(20)], np.uint64)


def _power_bits(power: int, *, round_up: bool) -> int:
    """The 128 leading bits of 10**power (the same as those of 5**power), cut off or rounded up."""
    five: int = 5 ** abs(power)
    if power < 0:
        return (1 << (five.bit_length() + 127)) // five + 1  # never exact, so this is the ceiling
    excess = five.bit_length() - 128
    if excess <= 0:
        return five << -excess
    return (five >> excess) + int(round_up)


def _power_table(low: int, high: int, *, round_up: bool) -> npt.NDArray[np.uint64]:
    """Rows (high word, low word) of ``_power_bits`` for low..high."""
    bits = [_power_bits(power, round_up=round_up) for power in range(low, high + 1)]
    return np.array([(b >> 64, b & (2**64 - 1)) for b in bits], np.uint64)


_READ_POWERS = _power_table(_MIN_READ, _MAX_READ, round_up=False)
_WRITE_POWERS = _power_table(_MIN_WRITE, _MAX_WRITE, round_up=True)


# --- 128-bit arithmetic -------------------------------------------------------------------------------------------


@leaf
def _multiply(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """(high, low) words of the 128-bit product."""
    a0, a1, b0, b1 = a & _LOW32, a >> _32, b & _LOW32, b >> _32
    low, cross = a0 * b0, a1 * b0
    middle = (low >> _32) + (cross & _LOW32) + a0 * b1
    return a1 * b1 + (cross >> _32) + (middle >> _32), a * b


@leaf
def _signed(n: np.uint64 | np.uint8) -> int:
    """As a signed integer: numba turns uint64 mixed with int64 into float64."""
    return np.int64(n)  # type: ignore[return-value]  # int() would keep it unsigned


@leaf
def _byte(buf: Bytes, at: int) -> int:
    """The byte at a position that is not negative; the unsigned index spares numba's test for that."""
    return _signed(buf[np.uint64(at)])


@leaf
def _set(out: Bytes, at: int, byte: int) -> None:
    """Set the byte at a position that is not negative."""
    out[np.uint64(at)] = byte


@leaf
def _bits_of(x: float) -> np.uint64:
    """The IEEE 754 bits."""
    return np.float64(x).view(np.uint64)


@leaf
def _from_bits(bits: np.uint64) -> float:
    """The float64 with these IEEE 754 bits."""
    return np.uint64(bits).view(np.float64)


@leaf
def _leading_zeros(w: np.uint64) -> int:
    """Leading zero bits of a word that is not 0."""
    exponent = _signed(_bits_of(np.float64(w)) >> _52) - 1023
    if exponent > 63 or (w >> np.uint64(exponent)) == _0:
        exponent -= 1  # the conversion to float64 rounded up to the next power of two
    return 63 - exponent


# --- reading ------------------------------------------------------------------------------------------------------


@leaf
def _decimal_product(w: np.uint64, power: int) -> tuple[np.uint64, np.uint64]:
    """The leading 128 bits of w * 5**power; the low half of the power enters only where it can matter."""
    row = power - _MIN_READ
    high, low = _multiply(w, _READ_POWERS[row, 0])
    if (high & _NEEDS_LOW_PRODUCT) == _NEEDS_LOW_PRODUCT:
        carry, _ = _multiply(w, _READ_POWERS[row, 1])
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
    bits = (np.uint64(exponent) << _52) + (mantissa - _HIDDEN)
    return min(bits, _INFINITE_BITS)


@leaf
def _nearest_bits(w: np.uint64, power: int) -> np.uint64:
    """Bits of the float64 nearest to w * 10**power, ties to even; w is not 0."""
    if power < _MIN_READ:
        return _0
    if power > _MAX_READ:
        return _INFINITE_BITS
    zeros = _leading_zeros(w)
    high, low = _decimal_product(w << np.uint64(zeros), power)
    upper = high >> _63
    shift = upper + np.uint64(9)
    mantissa = high >> shift
    exponent = ((217706 * power) >> 16) + 63 + _signed(upper) - zeros + 1023
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
    return _from_bits(_nearest_bits(w, power))


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
    return _signed((((lowest - _1) & _EIGHT_1) * _EIGHT_1) >> _56)


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
        w = w * _INTEGER_TENS[np.uint64(run)] + _value_of_eight(word << half << half)
        at += run
    while run == 8 and at < end and 48 <= _byte(buf, at) <= 57:
        w = w * _10 + np.uint64(_byte(buf, at) - 48)
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
        digit = _byte(buf, at) - 48
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
    negative = at < end and _byte(buf, at) == 45
    if at < end and (_byte(buf, at) == 45 or _byte(buf, at) == 43):
        at += 1
    first, value = at, 0
    while at < end and 48 <= _byte(buf, at) <= 57:
        value = min(value * 10 + _byte(buf, at) - 48, _EXPONENT_CAP)
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
        if (_byte(buf, start + i) | 32) != word[i]:
            return False
    return True


@leaf
def _parse_word(buf: Bytes, start: int, at: int, end: int) -> tuple[float, int]:
    """NaN (without sign) and Inf, Infinity (with or without), as Go reads them; the sign ends before ``at``."""
    if at == start and _is_word(buf, at, end, b"nan"):
        return np.nan, EXACT
    if _is_word(buf, at, end, b"inf") or _is_word(buf, at, end, b"infinity"):
        return -np.inf if _byte(buf, start) == 45 else np.inf, EXACT
    return np.nan, MALFORMED


@leaf
def _short_significand(buf: Bytes, at: int, end: int) -> tuple[int, np.uint64, int, int]:
    """(position after the digits, significand, power of ten, number of digits); right up to 19 digits."""
    first = at
    at, w = _plain_digits(buf, at, end, _0)
    if at == end or _byte(buf, at) != 46:
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
    if at < end and _byte(buf, at) == 46:
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
    if digits > 0 and at < end and (_byte(buf, at) | 32) == 101:
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
    if at < end and (_byte(buf, at) == 45 or _byte(buf, at) == 43):
        at += 1
    if at >= end:
        return np.nan, MALFORMED
    if _byte(buf, at) > 57:
        return _parse_word(buf, start, at, end)
    w, power, cut, well_formed = _take_decimal(buf, at, end)
    if not well_formed:
        return np.nan, MALFORMED
    value = nearest(w, power)
    if cut and value != nearest(w + _1, power):
        return np.nan, SLOW
    return -value if _byte(buf, start) == 45 else value, EXACT


@leaf
def _take_fraction_ms(buf: Bytes, at: int, end: int) -> tuple[int, int]:
    """(position after the decimals that start at ``at``, milliseconds rounded half up); position -1: no digit."""
    first, ms, unit = at, 0, 100
    while at < end and 48 <= _byte(buf, at) <= 57:
        digit = _byte(buf, at) - 48
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
    at = start + (start < end and _byte(buf, start) == 45)
    first, ms = at, 0
    at, seconds = _plain_digits(buf, at, end, _0)
    digits = at - first
    if digits == 0 or (digits > 1 and _byte(buf, first) == 48):
        return 0, MALFORMED
    if at < end and _byte(buf, at) == 46:
        at, ms = _take_fraction_ms(buf, at + 1, end)
    exponent = 0 <= at < end and (_byte(buf, at) | 32) == 101
    if exponent:
        at, _ = _take_exponent(buf, at, end)
    if at != end:
        return 0, MALFORMED
    if exponent or digits > _FAST_TIME_DIGITS:
        return 0, SLOW
    total = _signed(seconds) * 1000 + ms
    return -total if _byte(buf, start) == 45 else total, EXACT


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


# --- writing ------------------------------------------------------------------------------------------------------


@leaf
def _scaled(high: np.uint64, low: np.uint64, c: np.uint64) -> np.uint64:
    """The top word of c times a 128-bit power, rounded to odd so that later comparisons stay exact."""
    carry, _ = _multiply(low, c)
    top, rest = _multiply(high, c)
    rest += carry
    if rest < carry:
        top += _1
    return top | np.uint64(rest > _1)


@leaf
def _pick(lower: np.uint64, vb: np.uint64, upper: np.uint64, k: int) -> tuple[np.uint64, int]:
    """The shortest decimal between lower and upper, nearest to vb (all in quarters of 10**k)."""
    s = vb >> _2
    if s >= _10:
        tens = s // _10
        below, above = lower <= _40 * tens, _40 * tens + _40 <= upper
        if below != above:
            return tens + np.uint64(above), k + 1
    below, above = lower <= _4 * s, _4 * s + _4 <= upper
    if below != above:
        return s + np.uint64(above), k
    half = _4 * s + _2
    return s + np.uint64(vb > half or (vb == half and (s & _1) == _1)), k


@leaf
def _shortest(fraction: np.uint64, biased: int) -> tuple[np.uint64, int]:
    """(digits, power of ten) of the shortest decimal that reads back as the finite number with these fields."""
    normal = biased > 0
    c = (fraction | _HIDDEN) if normal else fraction
    q = (biased if normal else 1) - 1075
    closer = fraction == _0 and biased > 1  # the neighbour below a power of two is only half as far away
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    shift = np.uint64(q + ((-k * 1741647) >> 19) + 1)
    high, low = _WRITE_POWERS[-k - _MIN_WRITE, 0], _WRITE_POWERS[-k - _MIN_WRITE, 1]
    odd = c & _1
    lower = _scaled(high, low, (_4 * c - (_1 if closer else _2)) << shift) + odd
    upper = _scaled(high, low, (_4 * c + _2) << shift) - odd
    return _pick(lower, _scaled(high, low, (_4 * c) << shift), upper, k)


@leaf
def _count_digits(digits: np.uint64) -> int:
    """How many decimal digits the integer has (0 has one)."""
    least = ((64 - _leading_zeros(digits | _1)) * 1233) >> 12  # log10(2) in 4096ths, right up to 64 bits
    return least + int(digits >= _INTEGER_TENS[np.uint64(least)] or least == 0)


@leaf
def _put_integer(out: Bytes, at: int, digits: np.uint64, count: int) -> int:
    """Write the last ``count`` decimal digits of an integer, two at a time."""
    last = at + count
    while last - at >= 2:
        rest = digits // _100
        pair = _2 * (digits - rest * _100)
        last -= 2
        out[np.uint64(last)] = _PAIRS[pair]
        out[np.uint64(last + 1)] = _PAIRS[pair + _1]
        digits = rest
    if last > at:
        _set(out, at, 48 + _signed(digits % _10))
    return at + count


@leaf
def _put_scientific(out: Bytes, at: int, digits: np.uint64, count: int, exponent: int) -> int:
    """d.ddde±xx with at least two digits of exponent."""
    _put_integer(out, at + 1, digits, count)
    _set(out, at, _byte(out, at + 1))
    _set(out, at + 1, 46)
    at += count + 1 if count > 1 else 1
    _set(out, at, 101)
    _set(out, at + 1, 45 if exponent < 0 else 43)
    exponent = abs(exponent)
    return _put_integer(out, at + 2, np.uint64(exponent), 3 if exponent > 99 else 2)


@leaf
def _put_zeros(out: Bytes, at: int, count: int) -> int:
    for i in range(at, at + count):
        _set(out, i, 48)
    return at + count


@leaf
def _put_positional(out: Bytes, at: int, digits: np.uint64, count: int, exponent: int) -> int:
    """Plain digits; ``exponent`` is that of the first digit."""
    whole = exponent + 1  # digits before the point
    if whole >= count:
        return _put_zeros(out, _put_integer(out, at, digits, count), whole - count)
    if whole <= 0:
        _set(out, at, 48)
        _set(out, at + 1, 46)
        return _put_integer(out, _put_zeros(out, at + 2, -whole), digits, count)
    end = _put_integer(out, at + 1, digits, count)
    for i in range(at, at + whole):  # the digits before the point move one to the left
        _set(out, i, _byte(out, i + 1))
    _set(out, at + whole, 46)
    return end


@leaf
def _without_zeros(digits: np.uint64, power: int) -> tuple[np.uint64, int]:
    """Drop trailing zeros, eight at once where there are many; digits is not 0."""
    if digits % _TEN8 == _0:
        digits //= _TEN8
        power += 8
    if digits % _TEN4 == _0:
        digits //= _TEN4
        power += 4
    while digits % _10 == _0:
        digits //= _10
        power += 1
    return digits, power


@leaf
def _put_decimal(out: Bytes, at: int, digits: np.uint64, power: int) -> int:
    """Write digits * 10**power in the form that Python's repr chooses, without a trailing ``.0``."""
    digits, power = _without_zeros(digits, power)
    count = _count_digits(digits)
    exponent = power + count - 1
    if exponent < -4 or exponent >= 16:
        return _put_scientific(out, at, digits, count, exponent)
    return _put_positional(out, at, digits, count, exponent)


@leaf
def _put_ascii(out: Bytes, at: int, word: bytes) -> int:
    for i in range(len(word)):
        _set(out, at + i, word[i])
    return at + len(word)


@leaf
def _put_sign_or_word(out: Bytes, at: int, x: float) -> tuple[int, bool]:
    """Write NaN, +Inf, -Inf, 0 and -0 whole (True), or only the minus sign of other numbers (False)."""
    if np.isnan(x):
        return _put_ascii(out, at, b"NaN"), True
    if np.isinf(x):
        return _put_ascii(out, at, b"-Inf" if x < 0 else b"+Inf"), True
    if np.signbit(x):
        _set(out, at, 45)
        at += 1
    if x == 0:
        _set(out, at, 48)
        return at + 1, True
    return at, False


@leaf
def _digits_of(x: float) -> tuple[np.uint64, int]:
    """(digits, power of ten) of the shortest decimal that reads back as x, which is finite, positive and not 0."""
    if x < 9007199254740992.0:
        whole = np.uint64(x)
        if np.float64(whole) == x:
            return whole, 0
    bits = _bits_of(x)
    return _shortest(bits & _FRACTION, _signed(bits >> _52))


@leaf
def write_number(out: Bytes, at: int, x: float) -> int:
    """Write x so that it reads back as exactly x; returns the position after it.

    The text is that of Python's repr (shortest digits, exponents such as 1e+21 and 1e-05) with integers as integers,
    and NaN, +Inf, -Inf as Prometheus writes them. Needs room for NUMBER_BYTES. Raises nothing; about 50 ns.
    """
    x = float(x)
    at, done = _put_sign_or_word(out, at, x)
    if done:
        return at
    digits, power = _digits_of(abs(x))
    return _put_decimal(out, at, digits, power)


@leaf
def _round_digits(digits: np.uint64, power: int, significant: int) -> tuple[np.uint64, int]:
    """Round to so many significant digits, ties to even."""
    drop = _count_digits(digits) - significant
    if drop <= 0:
        return digits, power
    unit = _INTEGER_TENS[drop]
    kept = digits // unit
    rest = digits - kept * unit
    half = unit // _2
    if rest > half or (rest == half and (kept & _1) == _1):
        kept += _1
    return kept, power + drop


@leaf
def write_digits(out: Bytes, at: int, x: float, significant: int) -> int:
    """Write x rounded to ``significant`` digits (at least 1; 17 and more change nothing), trailing zeros dropped.

    What is rounded, ties to even, is the text that ``write_number`` would write: the number as a reader sees it.
    Otherwise like ``write_number``.
    """
    x = float(x)
    at, done = _put_sign_or_word(out, at, x)
    if done:
        return at
    digits, power = _digits_of(abs(x))
    digits, power = _round_digits(digits, power, significant)
    return _put_decimal(out, at, digits, power)
