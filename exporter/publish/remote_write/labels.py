"""Label fields of each row as remote write sends them: checked once, kept as bytes for the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from exporter.kernels import kernel
from exporter.publish.remote_write.wire import Bytes, Ints, put_bytes

# Why a series can't be sent; the words of samples_dropped_total{reason}.
FAULTS = ("invalid_name", "invalid_utf8", "empty_label", "duplicate_label")

_NAME = "__name__"
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_KEPT_FIELDS = 4096  # most labels recur; names of pods come and go
_NONE, _REFUSED = -1, -2  # in place of a start
_LEAST_BYTES, _LEAST_ROWS = 4096, 64
_LEAST_WASTE_BYTES = 65536  # compacting for less than this is not worth the copy


class LabelFault(ValueError):
    """Labels that a receiver would refuse, or store though nobody could ask for them; ``reason`` is one of FAULTS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def varint(n: int) -> bytes:
    """A number that is not negative in groups of seven bits, the lowest first."""
    groups = bytearray()
    while n >= 128:
        groups.append(n & 127 | 128)
        n >>= 7
    return bytes([*groups, n])


@lru_cache(_KEPT_FIELDS)
def label_field(name: str, value: str) -> bytes:
    """A label as field 1 of a time series. Raises LabelFault. Most labels come again and again: they are kept."""
    if not name or not value:
        raise LabelFault("empty_label")
    if not _LABEL_NAME.fullmatch(name):
        raise LabelFault("invalid_name")
    try:
        raw_name, raw_value = name.encode(), value.encode()
    except UnicodeEncodeError:
        raise LabelFault("invalid_utf8") from None
    label = b"\x0a" + varint(len(raw_name)) + raw_name + b"\x12" + varint(len(raw_value)) + raw_value
    return b"\x0a" + varint(len(label)) + label


def name_field(metric: str) -> bytes:
    """The field of ``__name__``. Raises LabelFault."""
    if not _METRIC_NAME.fullmatch(metric):
        raise LabelFault("empty_label" if not metric else "invalid_name")
    return label_field(_NAME, metric)


def label_fields(labels: Iterable[tuple[str, str]]) -> tuple[bytes, int]:
    """(the fields sorted by name, where among them ``__name__`` belongs). Raises LabelFault.

    Sorted by bytes as the protocol wants it, so capital letters stand before ``__name__``.
    """
    ordered = sorted(labels)
    names = [name for name, _ in ordered]
    if len({_NAME, *names}) <= len(names):
        raise LabelFault("duplicate_label")
    fields = [label_field(name, value) for name, value in ordered]
    cut = sum(len(field) for name, field in zip(names, fields, strict=True) if name < _NAME)
    return b"".join(fields), cut


@kernel
def _pack(packed: Bytes, blob: Bytes, start: Ints, cut: Ints, end: Ints) -> int:
    """Copy the live fields one behind the other, move the index along, return the bytes used."""
    at = 0
    for row in range(len(start)):
        if start[row] < 0:
            continue
        after = put_bytes(packed, at, blob, start[row], end[row])
        cut[row] += at - start[row]
        start[row], end[row] = at, after
        at = after
    return at


class LabelBytes:
    """The label fields of every row in one growing byte array. For one thread at a time.

    Memory follows the rows alive: bytes of dropped rows are reclaimed once they are more than half of the array.
    """

    def __init__(self) -> None:
        self._blob: Bytes = np.empty(_LEAST_BYTES, np.uint8)
        self._start: Ints = np.full(_LEAST_ROWS, _NONE, np.int64)
        self._cut: Ints = np.zeros(_LEAST_ROWS, np.int64)
        self._end: Ints = np.full(_LEAST_ROWS, _NONE, np.int64)
        self._used_bytes = 0
        self._live_bytes = 0
        self._refused: dict[int, str] = {}

    @property
    def refused(self) -> dict[int, str]:
        """Why each row whose labels can't be sent can't."""
        return self._refused

    @property
    def held_bytes(self) -> int:
        """Memory held by the fields and their index."""
        return int(self._blob.nbytes + 3 * self._start.nbytes)

    def set_row(self, row: int, labels: Iterable[tuple[str, str]]) -> None:
        """Give a row (0 and up) its labels, without ``__name__``; ones that can't be sent are noted in ``refused``."""
        self.drop_row(row)
        try:
            fields, cut = label_fields(labels)
        except LabelFault as fault:
            self._reserve(row, 0)
            self._refused[row] = fault.reason
            self._start[row] = _REFUSED
            return
        self._reserve(row, len(fields))
        at = self._used_bytes
        self._used_bytes += len(fields)
        self._live_bytes += len(fields)
        self._blob[at : self._used_bytes] = np.frombuffer(fields, np.uint8)
        self._start[row], self._cut[row], self._end[row] = at, at + cut, self._used_bytes

    def drop_row(self, row: int) -> None:
        """Forget a row's labels; a row that has none is no error."""
        self._refused.pop(row, None)
        if row < len(self._start):
            if self._start[row] >= 0:
                self._live_bytes -= int(self._end[row] - self._start[row])
            self._start[row] = self._end[row] = _NONE

    def fields(self, row: int) -> bytes:
        """The fields of a row; empty where it has none."""
        if row >= len(self._start) or self._start[row] < 0:
            return b""
        return self._blob[self._start[row] : self._end[row]].tobytes()

    def arrays(self) -> tuple[Bytes, Ints, Ints, Ints]:
        """(blob, start, cut, end) as ``wire.encode`` takes them; start is negative for a row that can't be sent."""
        return self._blob, self._start, self._cut, self._end

    def _reserve(self, row: int, more_bytes: int) -> None:
        if row >= len(self._start):
            rows = max(2 * len(self._start), row + 1) - len(self._start)
            start, end = np.full(rows, _NONE, np.int64), np.full(rows, _NONE, np.int64)
            self._start, self._cut, self._end = (  # where there is no memory for all of them none is longer
                np.concatenate([self._start, start]),
                np.concatenate([self._cut, np.zeros(rows, np.int64)]),
                np.concatenate([self._end, end]),
            )
        if self._used_bytes - self._live_bytes > self._live_bytes + _LEAST_WASTE_BYTES:
            packed = np.empty(max(_LEAST_BYTES, 3 * self._live_bytes // 2 + more_bytes), np.uint8)
            self._used_bytes = int(_pack(packed, self._blob, self._start, self._cut, self._end))
            self._blob = packed
        if self._used_bytes + more_bytes > len(self._blob):
            room = np.empty(len(self._blob) + more_bytes, np.uint8)
            self._blob = np.concatenate([self._blob, room])
