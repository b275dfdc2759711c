"""Query answers read by the JSON parser: slower than the byte scanner, but any layout will do."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

import numpy as np

from exporter.config.secret import hide
from exporter.numtext import time_ms
from exporter.samples import SampleBatch
from exporter.source.answer import Answer, Body, Envelope, garbled, open_envelope, plain_text
from exporter.source.labels import PROCESS_SEED, canonical_labels, check_labels, hash_spans

_NOT_A_DECIMAL = re.compile(r"[^0-9a-zA-Z.+-]")  # float() would let blanks, underscores and foreign digits pass


def scan_json(body: Body, origin: str = "the metrics server") -> Answer:
    """Read a vector, matrix or scalar answer. A scalar is one series without labels.

    The labels of the batch are re-serialised in one canonical spelling. Series without a float sample are left out;
    native-histogram samples are counted. Raises SourceGarbled, its text starting with ``origin``, when the body is
    not JSON, not a successful answer, or of another result type.
    """
    envelope = open_envelope(_parse(body, origin), origin)
    builder = _Builder()
    try:
        _collect(envelope, builder, origin)
    except (TypeError, ValueError) as error:
        raise garbled(origin, f"answered samples that can't be read: {plain_text(str(error))}") from error
    return Answer(builder.batch(), envelope.warnings, envelope.infos, envelope.partial, fast=False)


def _parse(body: Body, origin: str) -> object:
    if not body:
        raise garbled(origin, "answered 200 with an empty body")
    text = body.decode("utf-8", "replace")
    try:
        parsed: object = json.loads(text, parse_float=str, strict=False)
    except (ValueError, RecursionError) as error:
        start = plain_text(hide(text[:4096])[:80])
        what = f"answered {len(body)} bytes that are not JSON ({error}); they start with: {start}"
        raise garbled(origin, what) from error
    return parsed


def _collect(envelope: Envelope, builder: _Builder, origin: str) -> None:
    result = envelope.result
    if envelope.kind == "scalar" and isinstance(result, list):
        builder.add({}, [result], 0)
        return
    if envelope.kind not in ("vector", "matrix") or not isinstance(result, list):
        raise garbled(
            origin, f"answered a result of type {plain_text(envelope.kind, 40)}; series of numbers are needed"
        )
    for series in result:
        if not isinstance(series, dict) or "metric" not in series:
            raise ValueError(f"a series is {series!r}")
        if envelope.kind == "matrix":
            builder.add(series["metric"], series.get("values", []), len(series.get("histograms", ())))
        else:
            builder.add(series["metric"], [series["value"]] if "value" in series else [], "histogram" in series)


@dataclass(slots=True)
class _Builder:
    """Gathers series into the flat arrays of a SampleBatch."""

    labels: bytearray = field(default_factory=bytearray)
    label_end: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    histograms: int = 0

    def add(self, metric: object, samples: list[list[object]], histograms: int) -> None:
        self.histograms += histograms
        labels = check_labels(metric)
        if labels is None:
            raise TypeError(f"labels are {metric!r}")
        if not samples:
            return
        self.times += [_time(time) for time, _ in samples]
        self.values += _values([str(value) for _, value in samples])
        self.labels += canonical_labels(labels)
        self.label_end.append(len(self.labels))
        self.last.append(len(self.times))

    def batch(self) -> SampleBatch:
        body = np.frombuffer(bytes(self.labels), np.uint8)
        label_end = np.array(self.label_end, np.int64)
        label_start = np.concatenate(([0], label_end))[:-1].astype(np.int64)
        values = np.array(self.values, np.float64)
        return SampleBatch(
            body=body,
            label_start=label_start,
            label_end=label_end,
            label_hash=hash_spans(body, label_start, label_end, PROCESS_SEED),
            first=np.array([0, *self.last], np.int64),
            time_ms=np.array(self.times, np.int64),
            value=values,
            histograms=self.histograms,
        )


def _time(seconds: object) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, int | str):
        raise TypeError(f"a sample's time is {seconds!r}")
    return time_ms(str(seconds))


def _values(texts: list[str]) -> list[float]:
    odd = _NOT_A_DECIMAL.search("".join(texts))
    if odd:
        raise ValueError(f"a sample's value holds {odd.group()!r}")
    return [float(text) for text in texts]
