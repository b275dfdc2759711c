"""Slow twins of the streamed remote read: XOR chunks bit by bit, CRC-32C bit by bit, messages by Google's protobuf.

Chunks follow Pelkonen et al., "Gorilla" (VLDB 2015), section 4.1, with Prometheus' field widths.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

STALE_BITS = 0x7FF0000000000002
XOR, HISTOGRAM, FLOAT_HISTOGRAM = 1, 2, 3

Samples = list[tuple[int, int]]  # (milliseconds, the bits of a float64)


def bits_of(value: float) -> int:
    return struct.unpack(">Q", struct.pack(">d", value))[0]


def value_of(bits: int) -> float:
    return struct.unpack(">d", struct.pack(">Q", bits))[0]


# --- chunks -----------------------------------------------------------------------------------------------------------


def _bits(number: int, width: int) -> str:
    return format(number % (1 << width), f"0{width}b")


def uvarint(number: int) -> bytes:
    out = []
    while number > 127:
        out.append(number % 128 + 128)
        number //= 128
    return bytes([*out, number])


def varint(number: int) -> bytes:
    return uvarint(2 * number if number >= 0 else -2 * number - 1)


def _byte_bits(data: bytes) -> str:
    return "".join(_bits(byte, 8) for byte in data)


def _change(change: int) -> str:
    if change == 0:
        return "0"
    for prefix, width in (("10", 14), ("110", 17), ("1110", 20)):
        if -(1 << width - 1) < change <= 1 << width - 1:
            return prefix + _bits(change, width)
    return "1111" + _bits(change, 64)


def encode(samples: Samples) -> bytes:
    """The chunk of samples in any order of times, each distance within 63 bits."""
    stream, window = "", None
    for i, (ms, value) in enumerate(samples):
        if i == 0:
            stream += _byte_bits(varint(ms)) + _bits(value, 64)
            continue
        before_ms, before = samples[i - 1]
        if i == 1:
            stream += _byte_bits(uvarint((ms - before_ms) % (1 << 64)))
        else:
            stream += _change(ms - 2 * before_ms + samples[i - 2][0])
        xored = value ^ before
        if xored == 0:
            stream += "0"
            continue
        text = _bits(xored, 64)
        leading, trailing = min(31, len(text) - len(text.lstrip("0"))), len(text) - len(text.rstrip("0"))
        if window and leading >= window[0] and trailing >= window[1]:
            stream += "10" + text[window[0] : 64 - window[1]]
        else:
            window = leading, trailing
            stream += "11" + _bits(leading, 5) + _bits(64 - leading - trailing, 6) + text[leading : 64 - trailing]
    stream += "0" * (-len(stream) % 8)
    data = bytes(int(stream[i : i + 8], 2) for i in range(0, len(stream), 8))
    return struct.pack(">H", len(samples)) + data


class _Reader:
    """A string of bits, read from the left."""

    def __init__(self, data: bytes) -> None:
        self.text = _byte_bits(data)

    def take(self, width: int) -> int:
        if width > len(self.text):
            raise EOFError
        taken, self.text = self.text[:width], self.text[width:]
        return int(taken, 2) if taken else 0

    def uvarint(self) -> int:
        number = 0
        for i in range(10):
            byte = self.take(8)
            number |= (byte & 127) << 7 * i
            if byte < 128:
                if number >= 1 << 64:
                    break
                return number
        raise ValueError("a varint beyond 64 bits")

    def change(self) -> int:
        for width in (0, 14, 17, 20):
            if self.take(1) == 0:
                number = self.take(width)
                return number - (1 << width) if width and number > 1 << width - 1 else number
        number = self.take(64)
        return number - (1 << 64) if number >= 1 << 63 else number


def decode(chunk: bytes) -> Samples:
    """The samples of a chunk. EOFError when it ends too early, ValueError when it contradicts itself."""
    if len(chunk) < 2:
        raise EOFError
    reader, samples = _Reader(chunk[2:]), []
    distance, leading, width = 0, 0, 64
    for i in range(struct.unpack(">H", chunk[:2])[0]):
        if i == 0:
            raw = reader.uvarint()
            samples.append((raw // 2 if raw % 2 == 0 else -(raw // 2) - 1, reader.take(64)))
            continue
        distance = reader.uvarint() if i == 1 else distance + reader.change()
        ms, value = samples[-1]
        if reader.take(1):
            if reader.take(1):
                leading, width = reader.take(5), reader.take(6) or 64
                if leading + width > 64:
                    raise ValueError("more bits than a value has")
            value ^= reader.take(width) << 64 - leading - width
        samples.append((_wrapped(ms + distance), value))
    return samples


def _wrapped(ms: int) -> int:
    """As 64-bit arithmetic has it."""
    return (ms + (1 << 63)) % (1 << 64) - (1 << 63)


def cells(samples: Iterable[tuple[int, int]], low_ms: int, step_ms: int, columns: int) -> dict[int, tuple[int, int]]:
    """Column -> the last sample in (low + column * step, low + (column + 1) * step], the first of two at one time."""
    found: dict[int, tuple[int, int]] = {}
    for ms, value in samples:
        column = -((low_ms - ms) // step_ms) - 1
        if 0 <= column < columns and value != STALE_BITS and (column not in found or ms > found[column][0]):
            found[column] = ms, value
    return found


# --- frames -----------------------------------------------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def frame(message: bytes) -> bytes:
    return uvarint(len(message)) + struct.pack(">I", crc32c(message)) + message


_STRING, _BYTES, _INT64, _INT32, _MESSAGE = 9, 12, 3, 5, 11
_MESSAGES = {
    "Label": [("name", 1, _BYTES, ""), ("value", 2, _BYTES, "")],  # bytes: a test may want what is no UTF-8
    "Chunk": [("min_time_ms", 1, _INT64, ""), ("max_time_ms", 2, _INT64, ""), ("type", 3, _INT32, ""),
              ("data", 4, _BYTES, "")],
    "ChunkedSeries": [("labels", 1, _MESSAGE, "Label"), ("chunks", 2, _MESSAGE, "Chunk")],
    "ChunkedReadResponse": [("chunked_series", 1, _MESSAGE, "ChunkedSeries"), ("query_index", 2, _INT64, "")],
    "LabelMatcher": [("type", 1, _INT32, ""), ("name", 2, _STRING, ""), ("value", 3, _BYTES, "")],
    "Query": [("start_timestamp_ms", 1, _INT64, ""), ("end_timestamp_ms", 2, _INT64, ""),
              ("matchers", 3, _MESSAGE, "LabelMatcher")],
    "ReadRequest": [("queries", 1, _MESSAGE, "Query"), ("accepted_response_types", 2, -_INT32, "")],
    "Sample": [("value", 1, 1, ""), ("timestamp", 2, _INT64, "")],
    "TimeSeries": [("labels", 1, _MESSAGE, "Label"), ("samples", 2, _MESSAGE, "Sample")],
    "WriteRequest": [("timeseries", 1, _MESSAGE, "TimeSeries")],
}  # fmt: skip


def _message_classes() -> dict[str, type]:
    """The messages of prompb/remote.proto and prompb/types.proto; messages and negative types are repeated."""
    file = descriptor_pb2.FileDescriptorProto(name="twin.proto", package="twin", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in fields:
            repeated = kind in (_MESSAGE, -_INT32)
            message.field.add(
                name=field, number=number, type=abs(kind), label=3 if repeated else 1,
                type_name=f".twin.{of}" if of else None,
            )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"twin.{name}")) for name in _MESSAGES}


MESSAGES = _message_classes()


def series_message(labels: dict, chunks: Iterable[bytes | tuple[int, bytes]]) -> bytes:
    """A ChunkedReadResponse of one series. Chunks are XOR, or (encoding, data)."""
    response = MESSAGES["ChunkedReadResponse"]()
    series = response.chunked_series.add()
    for name, value in labels.items():
        series.labels.add(name=_raw(name), value=_raw(value))
    for chunk in chunks:
        kind, data = chunk if isinstance(chunk, tuple) else (XOR, chunk)
        series.chunks.add(min_time_ms=1, max_time_ms=2, type=kind, data=data)
    return response.SerializeToString()


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
