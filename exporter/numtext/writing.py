"""Numbers to text: the shortest that reads back as the same number, or so many digits.

Follows Giulietti, "The Schubfach way to render doubles" (2020): the shortest decimal in the rounding interval, and of
the shortest the one nearest to the number.
"""

from __future__ import annotations

import numpy as np

from exporter.kernels import leaf
from exporter.numtext.words import (
    HIDDEN,
    INTEGER_TENS,
    Bytes,
    bits_of,
    byte_at,
    leading_zeros,
    multiply,
    power_table,
    set_byte,
    signed,
)

_0, _1, _2, _4, _10, _40, _52, _100 = (np.uint64(n) for n in (0, 1, 2, 4, 10, 40, 52, 100))
NUMBER_BYTES = 32  # room that a written number needs at most
_MIN_WRITE, _MAX_WRITE = -292, 324
_TEN4, _TEN8 = np.uint64(10**4), np.uint64(10**8)
_FRACTION = np.uint64((1 << 52) - 1)
_PAIRS = np.frombuffer("".join(f"{pair:02d}" for pair in range(100)).encode(), np.uint8)
_WRITE_POWERS = power_table(_MIN_WRITE, _MAX_WRITE, round_up=True)


@leaf
def _scaled(high: np.uint64, low: np.uint64, c: np.uint64) -> np.uint64:
    """The top word of c times a 128-bit power, rounded to odd so that later comparisons stay exact."""
    carry, _ = multiply(low, c)
    top, rest = multiply(high, c)
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
    c = (fraction | HIDDEN) if normal else fraction
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
    least = ((64 - leading_zeros(digits | _1)) * 1233) >> 12  # log10(2) in 4096ths, right up to 64 bits
    return least + int(digits >= INTEGER_TENS[np.uint64(least)] or least == 0)


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
        set_byte(out, at, 48 + signed(digits % _10))
    return at + count


@leaf
def _put_scientific(out: Bytes, at: int, digits: np.uint64, count: int, exponent: int) -> int:
    """d.ddde±xx with at least two digits of exponent."""
    _put_integer(out, at + 1, digits, count)
    set_byte(out, at, byte_at(out, at + 1))
    set_byte(out, at + 1, 46)
    at += count + 1 if count > 1 else 1
    set_byte(out, at, 101)
    set_byte(out, at + 1, 45 if exponent < 0 else 43)
    exponent = abs(exponent)
    return _put_integer(out, at + 2, np.uint64(exponent), 3 if exponent > 99 else 2)


@leaf
def _put_zeros(out: Bytes, at: int, count: int) -> int:
    for i in range(at, at + count):
        set_byte(out, i, 48)
    return at + count


@leaf
def _put_positional(out: Bytes, at: int, digits: np.uint64, count: int, exponent: int) -> int:
    """Plain digits; ``exponent`` is that of the first digit."""
    whole = exponent + 1  # digits before the point
    if whole >= count:
        return _put_zeros(out, _put_integer(out, at, digits, count), whole - count)
    if whole <= 0:
        set_byte(out, at, 48)
        set_byte(out, at + 1, 46)
        return _put_integer(out, _put_zeros(out, at + 2, -whole), digits, count)
    end = _put_integer(out, at + 1, digits, count)
    for i in range(at, at + whole):  # the digits before the point move one to the left
        set_byte(out, i, byte_at(out, i + 1))
    set_byte(out, at + whole, 46)
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
        set_byte(out, at + i, word[i])
    return at + len(word)


@leaf
def _put_sign_or_word(out: Bytes, at: int, x: float) -> tuple[int, bool]:
    """Write NaN, +Inf, -Inf, 0 and -0 whole (True), or only the minus sign of other numbers (False)."""
    if np.isnan(x):
        return _put_ascii(out, at, b"NaN"), True
    if np.isinf(x):
        return _put_ascii(out, at, b"-Inf" if x < 0 else b"+Inf"), True
    if np.signbit(x):
        set_byte(out, at, 45)
        at += 1
    if x == 0:
        set_byte(out, at, 48)
        return at + 1, True
    return at, False


@leaf
def _digits_of(x: float) -> tuple[np.uint64, int]:
    """(digits, power of ten) of the shortest decimal that reads back as x, which is finite, positive and not 0."""
    if x < 9007199254740992.0:
        whole = np.uint64(x)
        if np.float64(whole) == x:
            return whole, 0
    bits = bits_of(x)
    return _shortest(bits & _FRACTION, signed(bits >> _52))


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
    unit = INTEGER_TENS[drop]
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
