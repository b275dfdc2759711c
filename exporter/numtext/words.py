"""Words of 64 bits, their products of 128, and powers of ten in 128 bits: what reading and writing numbers share."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from exporter.kernels import leaf

Bytes: TypeAlias = npt.NDArray[np.uint8]

_0, _32, _52 = (np.uint64(n) for n in (0, 32, 52))
_LOW32 = np.uint64(0xFFFFFFFF)
HIDDEN = np.uint64(1 << 52)  # the bit of a float64's significand that is not stored
INTEGER_TENS = np.array([10**power for power in range(20)], np.uint64)


def _power_bits(power: int, *, round_up: bool) -> int:
    """The 128 leading bits of 10**power (the same as those of 5**power), cut off or rounded up."""
    five: int = 5 ** abs(power)
    if power < 0:
        return (1 << (five.bit_length() + 127)) // five + 1  # never exact, so this is the ceiling
    excess = five.bit_length() - 128
    if excess <= 0:
        return five << -excess
    return (five >> excess) + int(round_up)


def power_table(low: int, high: int, *, round_up: bool) -> npt.NDArray[np.uint64]:
    """Rows (high word, low word) of ``_power_bits`` for low..high."""
    bits = [_power_bits(power, round_up=round_up) for power in range(low, high + 1)]
    return np.array([(b >> 64, b & (2**64 - 1)) for b in bits], np.uint64)


@leaf
def multiply(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """(high, low) words of the 128-bit product."""
    a0, a1, b0, b1 = a & _LOW32, a >> _32, b & _LOW32, b >> _32
    low, cross = a0 * b0, a1 * b0
    middle = (low >> _32) + (cross & _LOW32) + a0 * b1
    return a1 * b1 + (cross >> _32) + (middle >> _32), a * b


@leaf
def signed(n: np.uint64 | np.uint8) -> int:
    """As a signed integer: numba turns uint64 mixed with int64 into float64."""
    return np.int64(n)  # type: ignore[return-value]  # int() would keep it unsigned


@leaf
def byte_at(buf: Bytes, at: int) -> int:
    """The byte at a position that is not negative; the unsigned index spares numba's test for that."""
    return signed(buf[np.uint64(at)])


@leaf
def set_byte(out: Bytes, at: int, byte: int) -> None:
    """Set the byte at a position that is not negative."""
    out[np.uint64(at)] = byte


@leaf
def bits_of(x: float) -> np.uint64:
    """The IEEE 754 bits."""
    return np.float64(x).view(np.uint64)


@leaf
def from_bits(bits: np.uint64) -> float:
    """The float64 with these IEEE 754 bits."""
    return np.uint64(bits).view(np.float64)


@leaf
def leading_zeros(w: np.uint64) -> int:
    """Leading zero bits of a word that is not 0."""
    exponent = signed(bits_of(np.float64(w)) >> _52) - 1023
    if exponent > 63 or (w >> np.uint64(exponent)) == _0:
        exponent -= 1  # the conversion to float64 rounded up to the next power of two
    return 63 - exponent
