"""Labels as the text exposition spells them, kept per row so that a kernel can copy them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from exporter.kernels import leaf

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Labels: TypeAlias = tuple[tuple[str, str], ...]

Cell = TypeVar("Cell", np.uint8, np.int32, np.int64, np.uint32)

_NO_TEXT = -1
_LEAST_BLOB_BYTES = 4096
_LEAST_ROWS = 64
_KEPT_LABELS = 4096
_LEAST_WASTE_BYTES = 65536  # compacting for less than this is not worth the copy
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_UNFIT = re.compile(r"^[0-9]|[^a-zA-Z0-9_]")


def exported_labels(source: Mapping[str, str], added: Mapping[str, str]) -> Labels:
    """The labels of a published series: those of its source series and ours, sorted by name.

    ``__name__`` and empty values are left out. A source label whose name is taken becomes ``exported_<name>``, again
    and again until the name is free. Names that only Prometheus 3 allows get underscores for the characters that do
    not fit, as Prometheus escapes them for older readers; plain names have the first claim on a name.
    """
    taken = {name: value for name, value in added.items() if value}
    kept = {name: value for name, value in source.items() if value and name != "__name__"}
    for name in sorted(kept, key=lambda name: (_claim(name, taken), name)):
        taken[_free_name(_UNFIT.sub("_", name) or "_", taken)] = kept[name]
    return tuple(sorted(taken.items()))


def _claim(name: str, added: Mapping[str, str]) -> int:
    """Who chooses a name first: 0 a plain name, 1 one that collides with an added label, 2 one that must be escaped."""
    if not _PLAIN_NAME.fullmatch(name):
        return 2
    return 1 if name in added else 0


def _free_name(name: str, taken: Mapping[str, str]) -> str:
    while name in taken:
        name = "exported_" + name
    return name


@lru_cache(_KEPT_LABELS)
def escaped_label(name: str, value: str) -> str:
    """``name="value"`` with the value escaped. Most labels come again and again: they are kept."""
    return f'{name}="{value.translate(_LABEL_ESCAPES)}"'


def escaped_help(text: str, *, openmetrics: bool) -> str:
    """HELP text escaped; OpenMetrics escapes quotes in it too."""
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return escaped.replace('"', r"\"") if openmetrics else escaped


def label_text(labels: Iterable[tuple[str, str]]) -> bytes:
    """``{name="value",...} `` in the order given, escaped; only the blank when there are no labels.

    The blank ends the text because the value follows. What UTF-8 can't encode (a lone surrogate) becomes ``?``.
    """
    pairs = ",".join(escaped_label(name, value) for name, value in labels)
    text = "{" + pairs + "} " if pairs else " "
    return text.encode("utf-8", "replace")


def _place_of(name: str, labels: Labels) -> int:
    """Where in the text of these sorted labels one of this name would stand: behind the comma before it, or before
    the closing brace; 0 where there are no labels."""
    before = 0
    while before < len(labels) and labels[before][0] < name:
        before += 1
    if before == 0:
        return 1 if labels else 0
    return len(label_text(labels[:before])) - (1 if before < len(labels) else 2)


@dataclass(frozen=True, slots=True)
class Texts:
    """The label texts of some rows as they are now, whatever becomes of the rows later.

    Text i is ``blob[start[i]:end[i]]``, or none where start is -1; the extra label belongs at ``start + place``.
    ``share`` (n,) is a hash of the text, the same in every process.
    """

    blob: Bytes
    start: Ints
    end: Ints
    place: npt.NDArray[np.int32]
    share: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.start)

    def part(self, chosen: slice | Ints) -> Texts:
        """Those of some of the rows."""
        return Texts(self.blob, self.start[chosen], self.end[chosen], self.place[chosen], self.share[chosen])


class LabelText:
    """The label text of every row in one growing byte array.

    For one thread at a time, but `texts` may be read by others. Memory follows the rows alive: text of dropped and
    changed rows is reclaimed once it is more than half of the array. ``extra`` names a label that is added when lines
    are written (`lines.Lines`), so that the text of a series is kept once whatever that label says.
    """

    def __init__(self, extra: str = "") -> None:
        self._extra = extra
        self._blob: Bytes = np.empty(_LEAST_BLOB_BYTES, np.uint8)
        self._start: Ints = np.full(_LEAST_ROWS, _NO_TEXT, np.int64)
        self._end: Ints = np.full(_LEAST_ROWS, _NO_TEXT, np.int64)
        self._place = np.zeros(_LEAST_ROWS, np.int32)
        self._share = np.zeros(_LEAST_ROWS, np.uint32)
        self._used_bytes = 0
        self._live_bytes = 0

    @property
    def rows(self) -> int:
        """Rows there is room for."""
        return len(self._start)

    @property
    def held_bytes(self) -> int:
        """Memory held by the texts and their index."""
        index = self._start, self._end, self._place, self._share
        return int(self._blob.nbytes + sum(array.nbytes for array in index))

    def set_row(self, row: int, labels: Iterable[tuple[str, str]]) -> None:
        """Give a row (0 and up) its labels, sorted by name here; replaces those it had."""
        own = tuple(sorted(labels))
        text = label_text(own)
        self.drop_row(row)
        self._reserve(row, len(text))
        start = self._used_bytes
        self._used_bytes += len(text)
        self._live_bytes += len(text)
        self._blob[start : self._used_bytes] = np.frombuffer(text, np.uint8)
        self._start[row], self._end[row] = start, self._used_bytes
        self._place[row] = _place_of(self._extra, own) if self._extra else 0
        self._share[row] = zlib.crc32(text)

    def drop_row(self, row: int) -> None:
        """Forget a row's labels; a row that has none is no error."""
        if row < 0:
            raise IndexError(f"row {row} is negative")
        if row < len(self._start) and self._start[row] != _NO_TEXT:
            self._live_bytes -= int(self._end[row] - self._start[row])
            self._start[row] = self._end[row] = _NO_TEXT

    def text(self, row: int) -> str:
        """``{name="value",...}`` of a row without the extra label; empty for a row without labels."""
        if row >= len(self._start) or self._start[row] == _NO_TEXT:
            return ""
        return self._blob[self._start[row] : self._end[row]].tobytes().decode("utf-8").rstrip(" ")

    def texts(self, rows: Ints) -> Texts:
        """The texts of rows (n,) as they are now. Raises IndexError for a row that it has never heard of."""
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self._start)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} are not within the {len(self._start)} rows known")
        return Texts(self._blob, self._start, self._end, self._place, self._share).part(rows)

    def _reserve(self, row: int, text_bytes: int) -> None:
        if row >= len(self._start):
            rows = max(len(self._start) + len(self._start) // 2, row + 1)
            self._start, self._end, self._place, self._share = (  # all of them or, without the memory for that, none
                _grown(self._start, rows, _NO_TEXT), _grown(self._end, rows, _NO_TEXT),
                _grown(self._place, rows, 0), _grown(self._share, rows, 0),
            )  # fmt: skip
        if self._used_bytes - self._live_bytes > self._live_bytes + _LEAST_WASTE_BYTES:
            self._compact(text_bytes)
        if self._used_bytes + text_bytes > len(self._blob):
            longer = np.empty(2 * len(self._blob) + text_bytes, np.uint8)  # what is not written yet takes no memory
            longer[: self._used_bytes] = self._blob[: self._used_bytes]
            self._blob = longer

    def _compact(self, text_bytes: int) -> None:
        """Into a new array: whoever reads the old one goes on reading it."""
        packed = np.empty(max(_LEAST_BLOB_BYTES, 3 * self._live_bytes // 2 + text_bytes), np.uint8)
        self._used_bytes = int(_pack(packed, self._blob, self._start, self._end))
        self._blob = packed


def _grown(array: npt.NDArray[Cell], size: int, filler: int) -> npt.NDArray[Cell]:
    """A longer copy of an array."""
    longer = np.full(size, filler, array.dtype)
    longer[: len(array)] = array
    return longer


@leaf
def copy_bytes(out: Bytes, at: int, text: Bytes, start: int, end: int) -> int:
    """Copy text[start:end] to out[at:], return the position after it.

    Unsigned indices spare the test for negative ones; only then does the compiler copy whole vectors (20 times faster).
    """
    source, target = np.uint64(start), np.uint64(at)
    for i in range(np.uint64(end - start)):
        out[target + i] = text[source + i]
    return at + end - start


@leaf
def _pack(packed: Bytes, blob: Bytes, start: Ints, end: Ints) -> int:
    """Copy the live texts one behind the other, move the index along, return the bytes used."""
    at = 0
    for row in range(len(start)):
        if start[row] < 0:
            continue
        after = copy_bytes(packed, at, blob, start[row], end[row])
        start[row], end[row] = at, after
        at = after
    return at
