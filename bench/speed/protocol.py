"""Remote write 1.0 by protobuf's own classes: the naive way to encode, and how the bench fills a Prometheus.

Message layout: prometheus.io/docs/specs/prw/remote_write_spec (WriteRequest, TimeSeries, Label, Sample).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cramjam
import requests
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

from bench.speed.madeup import F64, Labels
from bench.speed.report import SpeedError

_MESSAGES = {
    "Label": (("name", 1, "STRING"), ("value", 2, "STRING")),
    "Sample": (("value", 1, "DOUBLE"), ("timestamp", 2, "INT64")),
    "TimeSeries": (("labels", 1, "Label"), ("samples", 2, "Sample")),
    "WriteRequest": (("timeseries", 1, "TimeSeries"),),
}
_SERIES_A_REQUEST = 5000
_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def _classes() -> dict[str, Any]:
    """The message classes, made from their descriptors: no generated file, no protoc."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="bench_remote.proto", package="bench", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            if kind in _MESSAGES:
                message.field.add(name=field, number=number, label=kinds.LABEL_REPEATED, type=kinds.TYPE_MESSAGE,
                                  type_name=f".bench.{kind}")  # fmt: skip
            else:
                plain = kinds.Type.Value(f"TYPE_{kind}")
                message.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL, type=plain)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"bench.{name}")) for name in _MESSAGES}


_CLASSES = _classes()


def encode(names: Sequence[Labels], times_ms: Sequence[int], values: F64) -> bytes:
    """A compressed request: values (series, times) of all series at the same times."""
    request = _CLASSES["WriteRequest"]()
    for own, row in zip(names, values.tolist(), strict=True):
        series = request.timeseries.add()
        for name, value in own:
            series.labels.add(name=name, value=value)
        for at, sample in zip(times_ms, row, strict=True):
            series.samples.add(value=sample, timestamp=at)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def decoded(body: bytes) -> Any:
    """The message of a compressed request."""
    return _CLASSES["WriteRequest"].FromString(bytes(cramjam.snappy.decompress_raw(body)))


def push(url: str, names: Sequence[Labels], times_ms: Sequence[int], values: F64) -> None:
    """Write samples into a Prometheus that was started with its receiver; SpeedError when it refuses."""
    for start in range(0, len(names), _SERIES_A_REQUEST):
        part = slice(start, start + _SERIES_A_REQUEST)
        send(url, encode(names[part], times_ms, values[part]))


def send(url: str, body: bytes) -> None:
    """POST one request; SpeedError when it is refused."""
    answer = requests.post(f"{url}/api/v1/write", data=body, headers=_HEADERS, timeout=60)
    if answer.status_code // 100 != 2:
        raise SpeedError(f"Prometheus refused samples: HTTP {answer.status_code}: {answer.text[:200]}")
