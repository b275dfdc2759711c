"""Query answers read at memory speed: a byte scanner for the compact JSON that Prometheus itself writes.

The scanner knows one layout of the samples, ``{"metric":{...},"values":[[t,"v"],...]}`` (or ``"value":[t,"v"]``)
without blanks; on anything else it gives up and the JSON parser reads the answer. The envelope around the samples,
which is short, always goes through the JSON parser, so its key order and extra keys are free.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.errors import SourceGarbled
from exporter.kernels import kernel, leaf
from exporter.numtext import EXACT, SLOW, nearest, parse_decimal, parse_time_ms
from exporter.samples import Bytes, SampleBatch
from exporter.source.answer import Answer, Body, open_envelope
from exporter.source.jsonscan import scan_json
from exporter.source.labels import PROCESS_SEED, hash_bytes, parse_labels
from exporter.source.words import BACKSLASHES, COMMAS, QUOTES, find_either, read_run

__all__ = ["Answer", "hash_bytes", "parse_labels", "scan_answer", "scan_fast"]

_QUOTE, _COMMA, _COLON, _MINUS, _DOT, _ZERO = (np.uint8(ord(c)) for c in '",:-.0')
_OPEN, _CLOSE, _LIST, _END = (np.uint8(ord(c)) for c in "{}[]")

_DONE, _FOREIGN, _FULL = 0, 1, 2  # how a scan ends: complete, another layout, more samples than there is room for

_HEAD_BYTES = 65_536  # the result starts within these, or it is another layout
_RESULTS = ((b'"resultType":"matrix","result":[', False), (b'"resultType":"vector","result":[', True))
_METRIC, _VALUES, _VALUE = b'{"metric":', b',"values":[', b',"value":'
_LEAST_SERIES_BYTES = 24  # {"metric":{},"values":[]}
_LEAST_SAMPLE_BYTES = 7  # [0,"1"]
_USUAL_SAMPLE_BYTES = 18  # [1700000000,"12"],
_SLOW_NUMBERS = 4096  # numbers left to Python's float(); more of them than this go through the JSON parser
_KEPT_DIGITS = 19  # what always fits 64 bits
_TIME_DIGITS = 15
_NOTHING = np.uint64(0)
_MARGIN = 4  # the scanner looks this far beyond a position it has checked


def scan_answer(body: Body, origin: str = "the metrics server") -> Answer:
    """Read the answer of a query (vector, matrix or scalar) into flat arrays.

    Series without a float sample are left out, native-histogram samples are counted. Costs about 0.05 CPU seconds
    a million samples, and fifty times that when the JSON parser has to read them. Raises SourceGarbled, its text
    starting with ``origin``, when the body is not a successful answer made of series of numbers.
    """
    return scan_fast(body) or scan_json(body, origin)


def scan_fast(body: Body) -> Answer | None:
    """Read an answer in the layout Prometheus writes; None when it is anything else, faulty answers included."""
    found = _find_result(body)
    if found is None:
        return None
    start, vector = found
    scanned = _scan_result(np.frombuffer(memoryview(body).toreadonly(), np.uint8), start, vector)
    if scanned is None:
        return None
    batch, end = scanned
    return _with_envelope(body, start, end, batch)


def _find_result(body: Body) -> tuple[int, bool] | None:
    """Where the first series would start, and whether the answer says it is a vector."""
    for mark, vector in _RESULTS:
        at = body.find(mark, 0, _HEAD_BYTES)
        if at >= 0:
            return at + len(mark), vector
    return None


def _with_envelope(body: Body, start: int, end: int, batch: SampleBatch) -> Answer | None:
    """Let the JSON parser read what stands around the samples.

    They are replaced by a null: when it comes back as the only element of the result, the scanned bytes were
    indeed the result's.
    """
    try:
        text = (bytes(body[:start]) + b"null" + bytes(body[end:])).decode("utf-8", "replace")
        envelope = open_envelope(json.loads(text), "")
    except (ValueError, RecursionError, SourceGarbled):
        return None
    if envelope.result != [None]:
        return None
    return Answer(batch, envelope.warnings, envelope.infos, envelope.partial, fast=True)


@dataclass(frozen=True, slots=True)
class _Arrays:
    """Room for a scan's output; pages that are not written cost nothing."""

    label_start: npt.NDArray[np.int64]
    label_end: npt.NDArray[np.int64]
    label_hash: npt.NDArray[np.uint64]
    first: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    slow: npt.NDArray[np.int64]  # rows (sample, start, end) of the numbers left to float()

    @classmethod
    def allocate(cls, series: int, samples: int) -> _Arrays:
        return cls(
            np.empty(series, np.int64),
            np.empty(series, np.int64),
            np.empty(series, np.uint64),
            np.zeros(series + 1, np.int64),
            np.empty(samples, np.int64),
            np.empty(samples, np.float64),
            np.empty((_SLOW_NUMBERS, 3), np.int64),
        )

    def shrink(self, series: int, samples: int) -> None:
        """Give back the room that was not used; nothing else may hold these arrays yet."""
        for array in (self.label_start, self.label_end, self.label_hash):
            array.resize(series, refcheck=False)
        self.first.resize(series + 1, refcheck=False)
        self.time_ms.resize(samples, refcheck=False)
        self.value.resize(samples, refcheck=False)


def _scan_result(body: Bytes, start: int, vector: bool) -> tuple[SampleBatch, int] | None:
    """The samples of the result whose first series starts at ``start``, and the position of its closing bracket."""
    room = len(body) - start
    series = room // _LEAST_SERIES_BYTES + 1
    for sample_bytes in (_USUAL_SAMPLE_BYTES, _LEAST_SAMPLE_BYTES):
        arrays = _Arrays.allocate(series, room // sample_bytes + 1)
        how, end, n, m, slow = _scan(
            body, start, vector, PROCESS_SEED, arrays.label_start, arrays.label_end, arrays.label_hash,
            arrays.first, arrays.time_ms, arrays.value, arrays.slow,
        )  # fmt: skip
        if how == _DONE:
            arrays.shrink(n, m)
            return _batch(body, arrays, slow), end
        if how == _FOREIGN:
            return None
    return None


def _batch(body: Bytes, arrays: _Arrays, slow: int) -> SampleBatch:
    for sample, start, end in arrays.slow[:slow]:
        arrays.value[sample] = float(body[start:end].tobytes())
    return SampleBatch(
        body, arrays.label_start, arrays.label_end, arrays.label_hash, arrays.first, arrays.time_ms, arrays.value
    )


# --- the kernels; positions are trusted up to `stop`, which lies _MARGIN before the end of the body -----------------


@leaf
def _starts(body: Bytes, at: int, text: bytes) -> bool:
    """Whether the text stands at this position."""
    if at + len(text) > len(body):
        return False
    for i in range(len(text)):  # noqa: SIM110  # numba has no all() over a generator
        if body[np.uint64(at + i)] != text[i]:
            return False
    return True


@leaf
def _string_end(body: Bytes, at: int, stop: int) -> int:
    """Position of the quote that closes the string whose first character is at ``at``; -1 when none does."""
    while at < stop:
        at = find_either(body, at, stop, QUOTES, BACKSLASHES)
        if at < stop and body[np.uint64(at)] == _QUOTE:
            return at
        at += 2
    return -1


@leaf
def _labels_end(body: Bytes, at: int, stop: int) -> int:
    """Position after the object of strings that starts at ``at``; -1 when it is anything else."""
    if at >= stop or body[at] != _OPEN:
        return -1
    if body[at + 1] == _CLOSE:
        return at + 2
    while body[at + 1] == _QUOTE:
        at = _string_end(body, at + 2, stop)
        if at < 0 or body[at + 1] != _COLON or body[at + 2] != _QUOTE:
            return -1
        at = _string_end(body, at + 3, stop)
        if at < 0:
            return -1
        at += 1
        if body[at] == _CLOSE:
            return at + 1
        if body[at] != _COMMA:
            return -1
    return -1


@leaf
def _time(body: Bytes, at: int, stop: int) -> tuple[int, int]:
    """Read the time of a sample up to its comma: (milliseconds, position of the comma); position -1: not a time."""
    seconds, comma = read_run(body, at, _NOTHING)
    if 0 < comma - at <= _TIME_DIGITS and comma < stop and body[comma] == _COMMA and body[at] != _ZERO:
        return np.int64(seconds) * 1000, comma  # type: ignore[return-value]  # int() would keep it unsigned
    comma = find_either(body, at, stop, COMMAS, COMMAS)
    ms, status = parse_time_ms(body, at, comma)
    return ms, comma if status == EXACT and comma < stop else -1


@leaf
def _number(body: Bytes, at: int, stop: int) -> tuple[float, int, int]:
    """Read the number of a sample up to its quote: (value, position of the quote, status as of ``parse_decimal``)."""
    first = at + (body[at] == _MINUS)
    digits, quote = read_run(body, first, _NOTHING)
    count, decimals = quote - first, 0
    if count > 0 and quote < stop and body[quote] == _DOT:
        point = quote
        digits, quote = read_run(body, point + 1, digits)
        decimals = quote - point - 1
        count = count + decimals if decimals > 0 else 0
    if 0 < count <= _KEPT_DIGITS and quote < stop and body[quote] == _QUOTE:
        value = nearest(digits, -decimals)
        return -value if first > at else value, quote, EXACT
    quote = find_either(body, at, stop, QUOTES, QUOTES)
    value, status = parse_decimal(body, at, quote)
    return value, quote, status


@leaf
def _sample(body: Bytes, at: int, stop: int) -> tuple[int, int, float, int, int]:
    """Read ``[t,"v"]``: (position after it, milliseconds, value, start of the value's text, its status).

    Position -1: not such a sample. Status SLOW: the value is left to float().
    """
    if at >= stop or body[at] != _LIST:
        return -1, 0, 0.0, 0, 0
    ms, comma = _time(body, at + 1, stop)
    if comma < 0 or body[comma + 1] != _QUOTE:
        return -1, 0, 0.0, 0, 0
    value, quote, status = _number(body, comma + 2, stop)
    if quote >= stop or (status != EXACT and status != SLOW) or body[quote + 1] != _END:
        return -1, 0, 0.0, 0, 0
    return quote + 2, ms, value, comma + 2, status


@leaf
def _samples(
    body: Bytes, at: int, stop: int, only_one: bool, m: int,
    time_ms: npt.NDArray[np.int64], value: npt.NDArray[np.float64], slow: npt.NDArray[np.int64], slow_count: int,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Read samples from ``at`` on into rows m...: (how it ended, position after them, m, slow_count)."""
    while True:
        if m == len(value):
            return _FULL, at, m, slow_count
        end, ms, number, start, status = _sample(body, at, stop)
        if end < 0 or (status == SLOW and slow_count == len(slow)):
            return _FOREIGN, at, m, slow_count
        if status == SLOW:
            slow[slow_count, 0], slow[slow_count, 1], slow[slow_count, 2] = m, start, end - 2
            slow_count += 1
        time_ms[m], value[m] = ms, number
        m += 1
        if only_one or body[end] != _COMMA:
            return _DONE, end, m, slow_count
        at = end + 1


@kernel
def _scan(
    body: Bytes, at: int, vector: bool, seed: np.uint64,
    label_start: npt.NDArray[np.int64], label_end: npt.NDArray[np.int64], label_hash: npt.NDArray[np.uint64],
    first: npt.NDArray[np.int64], time_ms: npt.NDArray[np.int64], value: npt.NDArray[np.float64],
    slow: npt.NDArray[np.int64],
) -> tuple[int, int, int, int, int]:  # fmt: skip
    """Read series from ``at`` on: (how it ended, position of the bracket that closes the result, n, m, slow count)."""
    stop = len(body) - _MARGIN
    n, m, slow_count = 0, 0, 0
    opening = _VALUE if vector else _VALUES
    if at < len(body) and body[at] == _END:
        return _DONE, at, 0, 0, 0
    while _starts(body, at, _METRIC):
        labels = at + len(_METRIC)
        labels_end = _labels_end(body, labels, stop)
        if labels_end < 0 or not _starts(body, labels_end, opening):
            break
        how, at, m, slow_count = _samples(
            body, labels_end + len(opening), stop, vector, m, time_ms, value, slow, slow_count
        )
        if how == _FULL:
            return _FULL, at, n, m, slow_count
        if how == _FOREIGN or (not vector and body[at] != _END):
            break
        at += 0 if vector else 1
        label_start[n], label_end[n] = labels, labels_end
        label_hash[n] = hash_bytes(body, labels, labels_end, seed)
        n += 1
        first[n] = m
        if body[at] != _CLOSE:
            break
        if body[at + 1] == _END:
            return _DONE, at + 1, n, m, slow_count
        if body[at + 1] != _COMMA:
            break
        at += 2
    return _FOREIGN, at, n, m, slow_count
