"""The slow, obvious twins of the answer scanner: json and Decimal for answers, whole integers for the hash."""

from __future__ import annotations

import json
import struct
from decimal import ROUND_HALF_UP, Decimal

from exporter.samples import SampleBatch
from exporter.source.labels import parse_labels

Series = tuple[dict[str, str], list[tuple[int, bytes]]]  # labels, (milliseconds, the value's IEEE bytes)


def read_answer(body: bytes) -> list[Series]:
    """Labels and samples of a vector or matrix answer; series without a float sample are left out."""
    result = json.loads(body, parse_float=Decimal)["data"]["result"]
    series = []
    for each in result:
        samples = each.get("values") or ([each["value"]] if "value" in each else [])
        if samples:
            series.append((each["metric"], [(milliseconds(t), bits(float(v))) for t, v in samples]))
    return series


def milliseconds(seconds: int | Decimal) -> int:
    """Seconds as whole milliseconds, halves away from zero."""
    return int((Decimal(seconds) * 1000).to_integral_value(ROUND_HALF_UP))


def bits(value: float) -> bytes:
    """A number's IEEE bytes, so that -0.0 differs from 0.0; all NaNs are one."""
    return struct.pack("<d", value) if value == value else b"NaN"


def flatten(batch: SampleBatch) -> list[Series]:
    """A batch in the same form."""
    out = []
    for i in range(batch.series):
        rows = range(batch.first[i], batch.first[i + 1])
        samples = [(int(batch.time_ms[row]), bits(float(batch.value[row]))) for row in rows]
        out.append((parse_labels(batch.label_bytes(i)), samples))
    return out


_WORD = 2**64


def hash_bytes(data: bytes, seed: int) -> int:
    """``exporter.source.labels.hash_bytes`` in Python's own integers."""
    odd_1, odd_2, odd_3 = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93
    key_1 = (seed * odd_1) % _WORD ^ odd_2
    key_2 = ((seed ^ seed >> 32) * odd_3) % _WORD ^ odd_1
    state = seed ^ (len(data) * odd_2) % _WORD
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        state = _fold((_word(data[at : at + 8]) ^ key_1) * (_word(data[at + 8 : at + 16]) ^ state))
    rest = data[whole:]
    first, last = (rest[:8], rest[8:]) if len(rest) >= 8 else (b"", rest)
    state = _fold((_word(first) ^ key_2) * (_word(last) ^ state))
    return _fold((state ^ odd_3) * (key_1 ^ key_2))


def _word(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _fold(product: int) -> int:
    return product % _WORD ^ product // _WORD
