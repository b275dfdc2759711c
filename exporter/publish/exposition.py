"""Text exposition of the result series: label text kept per row, lines written by a kernel, and the page they make."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest as text_of
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_of

from exporter.kernels import kernel
from exporter.names import Family
from exporter.numtext import NUMBER_BYTES, write_digits, write_number

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Labels: TypeAlias = tuple[tuple[str, str], ...]

Cell = TypeVar("Cell", np.uint8, np.int64)

_NO_TEXT = -1
_LEAST_BLOB_BYTES = 4096
_LEAST_ROWS = 64
_LEAST_WASTE_BYTES = 65536  # compacting for less than this is not worth the copy
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_UNFIT = re.compile(r"^[0-9]|[^a-zA-Z0-9_]")
_END_OF_OPENMETRICS = b"# EOF\n"


# --- labels -------------------------------------------------------------------------------------------------------


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


def label_text(labels: Iterable[tuple[str, str]]) -> bytes:
    """``{name="value",...} `` in the order given, escaped; only the blank when there are no labels.

    The blank ends the text because the value follows. What UTF-8 can't encode (a lone surrogate) becomes ``?``.
    """
    pairs = ",".join(f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in labels)
    text = "{" + pairs + "} " if pairs else " "
    return text.encode("utf-8", "replace")


class LabelText:
    """The label text of every row in one growing byte array, so that a kernel can copy it.

    For one thread at a time. Memory follows the rows alive: text of dropped and changed rows is reclaimed once it is
    more than half of the array.
    """

    def __init__(self) -> None:
        self._blob: Bytes = np.empty(_LEAST_BLOB_BYTES, np.uint8)
        self._start: Ints = np.full(_LEAST_ROWS, _NO_TEXT, np.int64)
        self._end: Ints = np.full(_LEAST_ROWS, _NO_TEXT, np.int64)
        self._used_bytes = 0
        self._live_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Memory held by the texts and their index."""
        return int(self._blob.nbytes + self._start.nbytes + self._end.nbytes)

    def set_row(self, row: int, labels: Iterable[tuple[str, str]]) -> None:
        """Give a row (0 and up) its labels, sorted by name here; replaces those it had."""
        text = label_text(sorted(labels))
        self.drop_row(row)
        self._reserve(row, len(text))
        start = self._used_bytes
        self._used_bytes += len(text)
        self._live_bytes += len(text)
        self._blob[start : self._used_bytes] = np.frombuffer(text, np.uint8)
        self._start[row], self._end[row] = start, self._used_bytes

    def drop_row(self, row: int) -> None:
        """Forget a row's labels; a row that has none is no error."""
        if row < 0:
            raise IndexError(f"row {row} is negative")
        if row < len(self._start) and self._start[row] != _NO_TEXT:
            self._live_bytes -= int(self._end[row] - self._start[row])
            self._start[row] = self._end[row] = _NO_TEXT

    def text(self, row: int) -> str:
        """``{name="value",...}`` of a row as it is published; empty for a row without labels."""
        if row >= len(self._start) or self._start[row] == _NO_TEXT:
            return ""
        return self._blob[self._start[row] : self._end[row]].tobytes().decode("utf-8").rstrip(" ")

    def arrays(self) -> tuple[Bytes, Ints, Ints]:
        """(blob, start, end): row r has the text ``blob[start[r]:end[r]]``; start is -1 for a row without labels."""
        return self._blob, self._start, self._end

    def _reserve(self, row: int, text_bytes: int) -> None:
        if row >= len(self._start):
            rows = max(2 * len(self._start), row + 1)
            self._start = _grown(self._start, rows, _NO_TEXT)
            self._end = _grown(self._end, rows, _NO_TEXT)
        if self._used_bytes - self._live_bytes > self._live_bytes + _LEAST_WASTE_BYTES:
            self._compact(text_bytes)
        if self._used_bytes + text_bytes > len(self._blob):
            self._blob = _grown(self._blob, 2 * len(self._blob) + text_bytes, 0)

    def _compact(self, text_bytes: int) -> None:
        packed = np.empty(max(_LEAST_BLOB_BYTES, 3 * self._live_bytes // 2 + text_bytes), np.uint8)
        self._used_bytes = int(_pack(packed, self._blob, self._start, self._end))
        self._blob = packed


def _grown(array: npt.NDArray[Cell], size: int, filler: int) -> npt.NDArray[Cell]:
    """A longer copy of an array."""
    longer = np.full(size, filler, array.dtype)
    longer[: len(array)] = array
    return longer


@kernel
def _copy(out: Bytes, at: int, text: Bytes, start: int, end: int) -> int:
    """Copy text[start:end] to out[at:], return the position after it.

    Unsigned indices spare the test for negative ones; only then does the compiler copy whole vectors (20 times faster).
    """
    source, target = np.uint64(start), np.uint64(at)
    for i in range(np.uint64(end - start)):
        out[target + i] = text[source + i]
    return at + end - start


@kernel
def _pack(packed: Bytes, blob: Bytes, start: Ints, end: Ints) -> int:
    """Copy the live texts one behind the other, move the index along, return the bytes used."""
    at = 0
    for row in range(len(start)):
        if start[row] < 0:
            continue
        after = _copy(packed, at, blob, start[row], end[row])
        start[row], end[row] = at, after
        at = after
    return at


# --- lines --------------------------------------------------------------------------------------------------------


@kernel
def _text_bytes(rows: Ints, start: Ints, end: Ints) -> int:
    """Length of the label texts of the rows."""
    total = 0
    for row in rows:
        total += end[row] - start[row]
    return total


@kernel
def _write_lines(
    out: Bytes,
    name: Bytes,
    blob: Bytes,
    start: Ints,
    end: Ints,
    rows: Ints,
    values: npt.NDArray[np.float64],
    significant: int,
) -> int:
    """One line for each row that has labels and a value; returns the bytes written."""
    at = 0
    for i in range(len(rows)):
        row, value = rows[i], values[i]
        if np.isnan(value) or start[row] < 0:
            continue
        at = _copy(out, at, name, 0, len(name))
        at = _copy(out, at, blob, start[row], end[row])
        at = write_digits(out, at, value, significant) if significant > 0 else write_number(out, at, value)
        out[at] = 10
        at += 1
    return at


def render_rows(
    name: bytes, labels: LabelText, rows: Ints, values: npt.NDArray[np.floating], significant: int = 0
) -> bytes:
    """The exposition lines of one family, one per row in the order given.

    Shapes: ``rows`` and ``values`` (n,); values[i] belongs to rows[i]. A gap (NaN) and a row without labels have no
    line. ``significant`` rounds to so many digits; 0 writes the exact value. Raises IndexError for a row that the
    label text has never heard of. 100,000 lines take about 0.02 CPU s.
    """
    blob, start, end = labels.arrays()
    if len(rows) != len(values):
        raise ValueError(f"{len(rows)} rows, but {len(values)} values")
    if len(rows) and (rows.min() < 0 or rows.max() >= len(start)):
        raise IndexError(f"rows {rows.min()} to {rows.max()} are not within the {len(start)} rows of the label text")
    room = int(_text_bytes(rows, start, end)) + len(rows) * (len(name) + NUMBER_BYTES + 1)
    out = np.empty(room, np.uint8)
    exact = np.asarray(values, np.float64)
    used = _write_lines(out, np.frombuffer(name, np.uint8), blob, start, end, rows, exact, significant)
    return out[:used].tobytes()


# --- the board ----------------------------------------------------------------------------------------------------


class Page:
    """The board of what is published: a unit (one tenant x query) hangs up its lines, a scrape takes them all down.

    Safe between threads; the lock is held only while references are exchanged, so a scrape waits for no cycle.
    ``registry`` holds the metrics about the exporter itself, which follow the result series.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._units: dict[str, Mapping[str, bytes]] = {}

    def put(self, unit_key: str, family: str, data: bytes) -> None:
        """Replace the lines of one family of a unit; empty data takes them off."""
        with self._lock:
            lines = {**self._units.get(unit_key, {}), family: data}
            self._units[unit_key] = {key: text for key, text in lines.items() if text}

    def replace(self, unit_key: str, lines: Mapping[str, bytes]) -> None:
        """Replace all lines of a unit (family key -> lines) at once, so that no scrape sees half a cycle."""
        kept = {key: text for key, text in lines.items() if text}
        with self._lock:
            self._units[unit_key] = kept

    def drop(self, unit_key: str) -> None:
        """Take all lines of a unit off; an unknown unit is no error."""
        with self._lock:
            self._units.pop(unit_key, None)

    def chunks(self, families: Mapping[str, Family], openmetrics: bool) -> list[bytes]:
        """The whole page in pieces, families in the order given and units in the order of their keys.

        A family without lines is left out. The order is the same on every scrape, which lets Prometheus keep its cache.
        """
        with self._lock:
            units = [self._units[key] for key in sorted(self._units)]
        pieces: list[bytes] = []
        for key, family in families.items():
            lines = [unit[key] for unit in units if key in unit]
            if lines:
                pieces += [_heading(family, openmetrics=openmetrics), *lines]
        pieces.append(self._self_metrics(openmetrics=openmetrics))
        return pieces

    def _self_metrics(self, *, openmetrics: bool) -> bytes:
        if self._registry is None:
            return _END_OF_OPENMETRICS if openmetrics else b""
        if openmetrics:
            return bytes(openmetrics_of(self._registry))  # type: ignore[no-untyped-call]  # it has no annotations
        return text_of(self._registry)


def _heading(family: Family, *, openmetrics: bool) -> bytes:
    """HELP and TYPE of a gauge; OpenMetrics escapes quotes in HELP too."""
    text = family.help.translate(_LABEL_ESCAPES if openmetrics else _HELP_ESCAPES)
    return f"# HELP {family.name} {text}\n# TYPE {family.name} gauge\n".encode()
