"""The request of a streamed remote read: Prometheus' ReadRequest, written by hand, in snappy's block format."""

from __future__ import annotations

import cramjam

from exporter.source.remote_read.matchers import Matcher

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
}
MEDIA_TYPE = "application/x-streamed-protobuf"  # of the answer

_STREAMED_XOR_CHUNKS = 1
_VARINT, _SPAN = 0, 2


def read_request(matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> bytes:
    """The body that asks for all samples with start_ms <= time <= end_ms of the series that match, as XOR chunks.

    Field numbers: prompb/remote.proto and prompb/types.proto of Prometheus.
    """
    told = b"".join(_span(3, _matcher(matcher)) for matcher in matchers)
    query = _number(1, start_ms) + _number(2, end_ms) + told
    return bytes(cramjam.snappy.compress_raw(_span(1, query) + _span(2, _varint(_STREAMED_XOR_CHUNKS))))


def _matcher(matcher: Matcher) -> bytes:
    return _number(1, matcher.type) + _span(2, matcher.name.encode()) + _span(3, matcher.value)


def _number(field: int, value: int) -> bytes:
    """An int64 or enum field; negative numbers are written as their two's complement in 64 bits."""
    return _varint(field << 3 | _VARINT) + _varint(value % (1 << 64))


def _span(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _SPAN) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
