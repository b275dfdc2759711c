"""Remote write by protobuf's own classes, made from descriptors as the two specifications give them."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Kinds = descriptor_pb2.FieldDescriptorProto

# package -> message -> (field, number, type or message, repeated)
MESSAGES: dict[str, dict[str, tuple[tuple[str, int, str, bool], ...]]] = {
    "prometheus": {
        "Label": (("name", 1, "STRING", False), ("value", 2, "STRING", False)),
        "Sample": (("value", 1, "DOUBLE", False), ("timestamp", 2, "INT64", False)),
        "TimeSeries": (("labels", 1, "Label", True), ("samples", 2, "Sample", True)),
        "WriteRequest": (("timeseries", 1, "TimeSeries", True),),
    },
    "io.prometheus.write.v2": {
        "Sample": (("value", 1, "DOUBLE", False), ("timestamp", 2, "INT64", False)),
        "Metadata": (("type", 1, "INT32", False), ("help_ref", 3, "UINT32", False), ("unit_ref", 4, "UINT32", False)),
        "TimeSeries": (
            ("labels_refs", 1, "UINT32", True),
            ("samples", 2, "Sample", True),
            ("metadata", 5, "Metadata", False),
        ),
        "Request": (("symbols", 4, "STRING", True), ("timeseries", 5, "TimeSeries", True)),
    },
}


def classes(package: str) -> dict[str, Any]:
    """The message classes of a package by name."""
    messages = MESSAGES[package]
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = Kinds.LABEL_REPEATED if repeated else Kinds.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if kind in messages:
                made.type, made.type_name = Kinds.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                made.type = Kinds.Type.Value(f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


WRITE_REQUEST = classes("prometheus")["WriteRequest"]
REQUEST_2 = classes("io.prometheus.write.v2")["Request"]


class Written(NamedTuple):
    """A sample as a receiver sees it; the value is its bits, so that NaN can be compared."""

    labels: tuple[tuple[str, str], ...]
    bits: int
    time_ms: int

    @property
    def value(self) -> float:
        return struct.unpack("<d", struct.pack("<Q", self.bits))[0]


def bits_of(value: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def encode(samples: list[Written]) -> bytes:
    """The twin of ``wire.encode``: labels as given, sorted by name."""
    request = WRITE_REQUEST()
    for sample in samples:
        series = request.timeseries.add()
        for name, value in sorted(sample.labels):
            series.labels.add(name=name, value=value)
        series.samples.add(value=sample.value, timestamp=sample.time_ms)
    return request.SerializeToString()


def decode(raw: bytes) -> list[Written]:
    """The samples of a request of protocol 1.0, in its order."""
    request = WRITE_REQUEST.FromString(raw)
    return [
        Written(tuple((label.name, label.value) for label in series.labels), bits_of(sample.value), sample.timestamp)
        for series in request.timeseries
        for sample in series.samples
    ]


def decode_2(raw: bytes) -> list[Written]:
    """The samples of a request of protocol 2.0, in its order; its table must be as the specification wants it."""
    request = REQUEST_2.FromString(raw)
    assert request.symbols[0] == ""
    assert len(set(request.symbols)) == len(request.symbols)
    found = []
    for series in request.timeseries:
        assert series.metadata.type == 2
        texts = [request.symbols[ref] for ref in series.labels_refs]
        labels = tuple(zip(texts[::2], texts[1::2], strict=True))
        found += [Written(labels, bits_of(sample.value), sample.timestamp) for sample in series.samples]
    return found
