"""Gzip of a page whose parts were compressed before: each part once, then joined to a single stream.

A part is a run of deflate blocks that ends on a byte and looks back at nothing outside itself (RFC 1951), so that
parts in any order are one valid deflate stream. A gzip member (RFC 1952) around it needs the CRC of the whole, which
follows from those of the parts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from isal import isal_zlib  # a page costs a quarter of what it does with zlib, and is smaller

_LEVEL = 1
_RAW_BITS = -15
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, no time, unknown system
_LAST_BLOCK = b"\x03\x00"  # an empty block that says it is the last
_POLYNOMIAL = 0xEDB88320  # of CRC-32, the highest bit is that of x^0
_ONE, _X_TO_8 = 1 << 31, 1 << 23
_MOST_LENGTH_BITS = 64


@dataclass(frozen=True, slots=True)
class Packed:
    """A compressed part, and the CRC-32 and length of what it was made from."""

    data: bytes
    crc: int
    text_bytes: int


def pack(texts: Iterable[bytes]) -> Packed:
    """The texts as one part."""
    packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_BITS)
    data, crc, text_bytes = [], 0, 0
    for text in texts:
        data.append(packer.compress(text))
        crc = isal_zlib.crc32(text, crc)
        text_bytes += len(text)
    data.append(packer.flush(isal_zlib.Z_FULL_FLUSH))
    return Packed(b"".join(data), crc, text_bytes)


def gzip_stream(parts: Iterable[Packed]) -> Iterator[bytes]:
    """The parts, one behind the other, as one gzip member."""
    yield _HEADER
    crc = text_bytes = 0
    for part in parts:
        yield part.data
        crc = joined_crc(crc, part.crc, part.text_bytes)
        text_bytes += part.text_bytes
    yield _LAST_BLOCK + struct.pack("<II", crc, text_bytes & 0xFFFFFFFF)


def joined_crc(crc: int, next_crc: int, next_bytes: int) -> int:
    """CRC-32 of two texts, one behind the other, from the CRC of each and the length of the second.

    Appending n bytes multiplies the first one's remainder by x^(8n); the rest of the checksum is linear.
    """
    return _times(crc, _power_of_x8(next_bytes)) ^ next_crc


def _power_of_x8(exponent: int) -> int:
    """x^(8 exponent) modulo the polynomial."""
    result, place = _ONE, 0
    while exponent >> place:
        if exponent >> place & 1:
            result = _times(result, _POWERS[place])
        place += 1
    return result


def _times(a: int, b: int) -> int:
    """Product of two polynomials over GF(2), modulo that of CRC-32."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def _squares() -> list[int]:
    """x^8 squared again and again: enough powers for any length."""
    powers = [_X_TO_8]
    while len(powers) < _MOST_LENGTH_BITS:
        powers.append(_times(powers[-1], powers[-1]))
    return powers


_POWERS = _squares()
