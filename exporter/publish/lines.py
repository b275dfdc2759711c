"""Lines of the text exposition: what a cycle publishes of one family, written when somebody asks for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel, leaf
from exporter.numtext import NUMBER_BYTES, write_digits, write_number
from exporter.publish.label_text import Bytes, Ints, LabelText, Texts, copy_bytes
from exporter.publish.packing import Packed, pack

_BLOCK = 4096  # lines written at once: they stay in the processor's cache until they are packed or sent
_COMMA, _OPEN, _CLOSE, _NEWLINE = b",{}\n"


@dataclass(frozen=True, slots=True)
class Shard:
    """The `index`-th (from 1) of `of` equal shares of the series."""

    index: int = 1
    of: int = 1


WHOLE = Shard()


class Lines:
    """The lines of one family and some rows: values (n,) beside the rows' label texts, a gap (NaN) has none.

    Nothing is written before it is asked for. What was packed is kept, for one division into shards at a time. May be
    read from any thread; the arrays must not change any more.
    """

    def __init__(
        self, name: bytes, texts: Texts, values: npt.NDArray[np.floating], significant: int = 0, extra: bytes = b""
    ) -> None:
        """``significant`` rounds to so many digits, 0 writes the exact value; ``extra`` is a label to be added, as it
        is written (``name="value"``). Raises ValueError when rows and values do not match."""
        if len(texts) != len(values):
            raise ValueError(f"{len(texts)} rows, but {len(values)} values")
        self._name = np.frombuffer(name, np.uint8)
        self._extra = np.frombuffer(extra, np.uint8)
        self._texts = texts
        self._values = np.asarray(values, np.float64)
        self._significant = significant
        self._lock = threading.Lock()
        self._packed: dict[Shard, Packed] = {}

    def __bool__(self) -> bool:
        """Whether there is a line."""
        return not bool(np.isnan(self._values).all())

    def written(self, shard: Shard = WHOLE) -> Iterator[bytes]:
        """The lines of a shard, some thousand at a time."""
        texts, values = self._of(shard)
        for start in range(0, len(values), _BLOCK):
            part = slice(start, start + _BLOCK)
            yield self._write(texts.part(part), values[part])

    def packed(self, shard: Shard = WHOLE) -> Packed:
        """The lines of a shard, compressed."""
        with self._lock:
            if any(known.of != shard.of for known in self._packed):
                self._packed.clear()
            if shard not in self._packed:
                self._packed[shard] = pack(self.written(shard))
            return self._packed[shard]

    def _of(self, shard: Shard) -> tuple[Texts, npt.NDArray[np.float64]]:
        if shard.of == 1:
            return self._texts, self._values
        own = np.flatnonzero(self._texts.share % shard.of == shard.index - 1)
        return self._texts.part(own), self._values[own]

    def _write(self, texts: Texts, values: npt.NDArray[np.float64]) -> bytes:
        least = len(self._name) + len(self._extra) + 2 + NUMBER_BYTES + 1
        room = int(np.sum(texts.end - texts.start)) + len(texts) * least
        out = np.empty(room, np.uint8)
        used = _write_lines(
            out, self._name, self._extra, texts.blob, texts.start, texts.end, texts.place, values, self._significant
        )
        return out[:used].tobytes()


def render_rows(
    name: bytes, labels: LabelText, rows: Ints, values: npt.NDArray[np.floating], significant: int = 0
) -> bytes:
    """The exposition lines of one family, one per row in the order given.

    Shapes: ``rows`` and ``values`` (n,); values[i] belongs to rows[i]. A gap (NaN) and a row without labels have no
    line. ``significant`` rounds to so many digits; 0 writes the exact value. Raises IndexError for a row that the
    label text has never heard of. 100,000 lines take about 0.02 CPU s.
    """
    return b"".join(Lines(name, labels.texts(rows), values, significant).written())


@kernel
def _write_lines(
    out: Bytes,
    name: Bytes,
    extra: Bytes,
    blob: Bytes,
    start: Ints,
    end: Ints,
    place: npt.NDArray[np.int32],
    values: npt.NDArray[np.float64],
    significant: int,
) -> int:
    """One line for each row that has labels and a value; returns the bytes written."""
    at = 0
    for i in range(len(start)):
        value = values[i]
        if np.isnan(value) or start[i] < 0:
            continue
        at = copy_bytes(out, at, name, 0, len(name))
        if len(extra) == 0:
            at = copy_bytes(out, at, blob, start[i], end[i])
        else:
            at = _copy_with(out, at, extra, blob, start[i], start[i] + place[i], end[i])
        at = write_digits(out, at, value, significant) if significant > 0 else write_number(out, at, value)
        out[at] = _NEWLINE
        at += 1
    return at


@leaf
def _copy_with(out: Bytes, at: int, extra: Bytes, blob: Bytes, start: int, place: int, end: int) -> int:
    """Copy a label text with one more label at its place, return the position after it."""
    alone, last = place == start, blob[place] == _CLOSE
    at = copy_bytes(out, at, blob, start, place)
    if alone or last:
        out[at] = _OPEN if alone else _COMMA
        at += 1
    at = copy_bytes(out, at, extra, 0, len(extra))
    if alone or not last:
        out[at] = _CLOSE if alone else _COMMA
        at += 1
    return copy_bytes(out, at, blob, place, end)
