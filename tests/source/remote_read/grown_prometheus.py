"""A real Prometheus with blocks made by promtool and a head filled by remote write, so with stale markers too."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cramjam
import requests
from naive import xor_chunks as naive
from support.servers import prometheus_in


@contextmanager
def running(folder: Path, **config: object) -> Iterator[str]:
    """The URL of a Prometheus on the data of a folder; it takes remote writes, late ones too."""
    late = {"storage": {"tsdb": {"out_of_order_time_window": "12h"}}}
    with prometheus_in(folder, {**config, **late}, "--web.enable-remote-write-receiver") as url:
        yield url


def push(url: str, series: list[tuple[dict[str, str], naive.Samples]]) -> None:
    """Remote write of (milliseconds, bits of the value), so that NaN payloads survive."""
    request = b""
    for labels, samples in series:
        content = b""
        for name, value in sorted(labels.items()):
            content += _span(1, _span(1, name.encode()) + _span(2, value.encode()))
        for ms, bits in samples:  # by hand: protobuf's Python floats may lose the payload of a NaN
            content += _span(2, b"\x09" + struct.pack("<Q", bits) + b"\x10" + naive.uvarint(ms))
        request += _span(1, content)
    answer = requests.post(
        f"{url}/api/v1/write",
        data=bytes(cramjam.snappy.compress_raw(request)),
        headers={"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                 "X-Prometheus-Remote-Write-Version": "0.1.0"},
        timeout=30,
    )  # fmt: skip
    assert answer.status_code in (200, 204), answer.text


def _span(field: int, content: bytes) -> bytes:
    return naive.uvarint(field << 3 | 2) + naive.uvarint(len(content)) + content
