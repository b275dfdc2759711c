"""CRC-32C, the checksum of a streamed frame (polynomial of Castagnoli et al. 1993, as in RFC 3720, appendix B.4).

Eight bytes a step by eight tables (Kounavis and Berry, "A Systematic Approach to Building High Performance
Software-based CRC Generators", 2005).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.samples import Bytes
from exporter.source.words import word_at

_REVERSED_POLYNOMIAL = 0x82F63B78
_ALL_ONES, _BYTE = np.uint64(0xFFFFFFFF), np.uint64(0xFF)
_8, _16, _24, _32, _40, _48, _56 = (np.uint64(n) for n in range(8, 57, 8))


def _make_tables() -> npt.NDArray[np.uint64]:
    """(8, 256): what a byte does to the checksum when 0...7 more bytes follow it in the same step."""
    tables = np.zeros((8, 256), np.uint64)
    for byte in range(256):
        rest = byte
        for _ in range(8):
            rest = rest >> 1 ^ (_REVERSED_POLYNOMIAL if rest & 1 else 0)
        tables[0, byte] = rest
    for more in range(1, 8):
        before = tables[more - 1]
        tables[more] = before >> _8 ^ tables[0][(before & _BYTE).astype(np.int64)]
    return tables


_TABLES = _make_tables()


@kernel
def crc32c(buf: Bytes, start: int, end: int) -> np.uint64:
    """The CRC-32C of ``buf[start:end]`` in the low 32 bits. About 1 ns a byte; raises nothing."""
    crc, at = _ALL_ONES, start
    while end - at >= 8:
        w = word_at(buf, at) ^ crc
        crc = (
            _TABLES[7, w & _BYTE] ^ _TABLES[6, w >> _8 & _BYTE] ^ _TABLES[5, w >> _16 & _BYTE]
            ^ _TABLES[4, w >> _24 & _BYTE] ^ _TABLES[3, w >> _32 & _BYTE] ^ _TABLES[2, w >> _40 & _BYTE]
            ^ _TABLES[1, w >> _48 & _BYTE] ^ _TABLES[0, w >> _56]
        )  # fmt: skip
        at += 8
    for i in range(at, end):
        crc = crc >> _8 ^ _TABLES[0, (crc ^ np.uint64(buf[i])) & _BYTE]
    return np.uint64(crc ^ _ALL_ONES)
