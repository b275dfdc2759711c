"""Remote write: encoding four gauges a series, snappy, and pushing them; beside protobuf's classes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cramjam
import numpy as np

from bench.speed import madeup, protocol
from bench.speed.clocks import Spent, median_cpu_s, side_by_side
from bench.speed.rendering import GAUGES
from bench.speed.report import SpeedError
from bench.speed.server import Prometheus
from exporter.names import FAMILIES
from exporter.publish.remote_write.labels import LabelBytes, name_field
from exporter.publish.remote_write.wire import Encoded, encode

_SAMPLES_A_REQUEST = 2000
_PUSH_BACK_S = 1200  # before the newest sample in the head: repeats push one second further each
_QUERY = "pushed"


@dataclass(frozen=True, slots=True)
class Written:
    """CPU seconds to encode and compress, the naive way's for the same, both sides' to push what is encoded, bytes."""

    encode_s: float
    naive_s: float
    push: Spent
    body_bytes: int


class Samples:
    """Four gauges of every series, and the label bytes that are kept between cycles."""

    def __init__(self, series: int) -> None:
        added = (("model", "shesd"), ("query", _QUERY))
        self.labels = [tuple(sorted((*own[1:], *added))) for own in madeup.labels(series)]
        self.values = np.random.default_rng(2).lognormal(3, 2, (len(GAUGES), series))
        self.names = [FAMILIES[key].name for key in GAUGES]
        self._bytes, self._rows = LabelBytes(), np.arange(series)
        for row, own in enumerate(self.labels):
            self._bytes.set_row(row, own)

    def requests(self, time_ms: int) -> list[bytes]:
        """The compressed requests of all samples, at one time."""
        times = np.full(len(self._rows), time_ms)
        found: list[bytes] = []
        for name, values in zip(self.names, self.values, strict=True):
            bits = values.view(np.uint64)
            found += _compressed(encode(name_field(name), *self._bytes.arrays(), self._rows, bits, times))
        return found

    def naive_requests(self, time_ms: int) -> list[bytes]:
        """The same by protobuf's classes."""
        found: list[bytes] = []
        for name, values in zip(self.names, self.values, strict=True):
            series = [(("__name__", name), *own) for own in self.labels]
            for start in range(0, len(series), _SAMPLES_A_REQUEST):
                part = slice(start, start + _SAMPLES_A_REQUEST)
                found.append(protocol.encode(series[part], [time_ms], values[part, None]))
        return found


def _compressed(encoded: Encoded) -> list[bytes]:
    """Slices between two time series are requests of their own."""
    edges = [0, *encoded.ends[_SAMPLES_A_REQUEST - 1 :: _SAMPLES_A_REQUEST].tolist()]
    if edges[-1] < len(encoded.data):
        edges.append(len(encoded.data))
    return [bytes(cramjam.snappy.compress_raw(encoded.data[a:b].data)) for a, b in itertools.pairwise(edges)]


def remote_write(server: Prometheus, series: int, end_s: int, repeats: int) -> Written:
    """Encode all samples, and push them into the server. SpeedError when the two ways say different things."""
    samples = Samples(series)
    _check(samples)
    time_ms = (end_s - _PUSH_BACK_S) * 1000
    encode_s = median_cpu_s(lambda: samples.requests(time_ms), repeats)
    naive_s = median_cpu_s(lambda: samples.naive_requests(time_ms), 1)
    later = itertools.count(1)
    ready = [samples.requests(time_ms + 1000 * next(later)) for _ in range(repeats + 1)]
    turn = iter(ready)

    def push() -> None:
        for body in next(turn):
            protocol.send(server.url, body)

    return Written(encode_s, naive_s, side_by_side(push, server.pid, repeats), sum(map(len, ready[0])))


def _check(samples: Samples) -> None:
    """Both ways must send the same samples (labels are sorted by ours only)."""
    for ours, theirs in zip(samples.requests(1), samples.naive_requests(1), strict=True):
        found, wanted = protocol.decoded(ours), protocol.decoded(theirs)
        for one, other in zip(found.timeseries, wanted.timeseries, strict=True):
            same = sorted((x.name, x.value) for x in one.labels) == sorted((x.name, x.value) for x in other.labels)
            if not same or list(one.samples) != list(other.samples):
                raise SpeedError("the remote-write encoder and protobuf's classes disagree")
