"""The labels of a streamed series, spelled as the query API spells them in JSON, and which cells they own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from exporter.kernels import kernel
from exporter.samples import Bytes
from exporter.source.remote_read.varint import BROKEN, read_span, read_varint, skip_value

FULL = -3  # no room is left for the JSON of a label set

_QUOTE, _BACKSLASH, _COMMA, _COLON, _OPEN, _CLOSE = (np.uint8(ord(c)) for c in '"\\,:{}')
_NEWLINE, _RETURN, _TAB, _BLANK = (np.uint8(ord(c)) for c in "\n\r\t ")
_LETTER_N, _LETTER_R, _LETTER_T, _LETTER_U, _ZERO = (np.uint8(ord(c)) for c in "nrtu0")
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_LONGEST_ESCAPE = 6  # bytes that one byte may become
_PUNCTUATION = 16  # bytes around a name and a value, with some to spare
_SERIES_LABEL = np.uint64(1 << 3 | 2)  # ChunkedSeries.labels
_NAME, _VALUE = np.uint64(1 << 3 | 2), np.uint64(2 << 3 | 2)  # Label.name, Label.value


class Kept(NamedTuple):
    """Label names to keep, others are dropped: name i is ``names[edges[i]:edges[i + 1]]``. No edges: keep all."""

    names: Bytes
    edges: npt.NDArray[np.int64]


KEEP_ALL = Kept(np.zeros(0, np.uint8), np.zeros(0, np.int64))


def kept(names: frozenset[str]) -> Kept:
    """The names as the kernels read them."""
    texts = [name.encode() for name in sorted(names)]
    edges = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return Kept(np.array(list(b"".join(texts)), np.uint8), edges)  # writable, or the kernels would be compiled anew


@kernel
def _is_kept(buf: Bytes, start: int, end: int, keep: Kept) -> bool:
    if len(keep.edges) == 0:
        return True
    for i in range(len(keep.edges) - 1):
        low, high = keep.edges[i], keep.edges[i + 1]
        if high - low == end - start and np.array_equal(keep.names[low:high], buf[start:end]):
            return True
    return False


@kernel
def _write_control(byte: np.uint8, out: Bytes, at: int) -> int:
    """The escape of a control character, in JSON's short form where Go uses it."""
    out[at] = _BACKSLASH
    short = _LETTER_U
    if byte == _NEWLINE:
        short = _LETTER_N
    elif byte == _RETURN:
        short = _LETTER_R
    elif byte == _TAB:
        short = _LETTER_T
    out[at + 1] = short
    if short != _LETTER_U:
        return at + 2
    out[at + 2], out[at + 3] = _ZERO, _ZERO
    out[at + 4], out[at + 5] = _DIGITS[byte >> 4], _DIGITS[byte & 15]
    return at + 6


@kernel
def _write_text(buf: Bytes, start: int, end: int, out: Bytes, at: int) -> int:
    """``buf[start:end]`` as a JSON string at ``out[at]``; returns the position after it."""
    out[at] = _QUOTE
    at += 1
    for i in range(start, end):
        byte = buf[i]
        if byte < _BLANK:
            at = _write_control(byte, out, at)
            continue
        if byte in (_QUOTE, _BACKSLASH):
            out[at] = _BACKSLASH
            at += 1
        out[at] = byte
        at += 1
    out[at] = _QUOTE
    return at + 1


@kernel
def _label_spans(buf: Bytes, at: int, end: int) -> tuple[int, int, int, int]:
    """Where a Label's name and value are: (start and end of each); a negative first one when it is no Label."""
    name, name_end, value, value_end = at, at, at, at
    while at < end:
        tag, at = read_varint(buf, at, end)
        if at < 0:
            return BROKEN, 0, 0, 0
        if tag == _NAME:
            name, name_end = read_span(buf, at, end)
            at = name_end
        elif tag == _VALUE:
            value, value_end = read_span(buf, at, end)
            at = value_end
        else:
            at = skip_value(buf, at, end, tag)
        if at < 0:
            return BROKEN, 0, 0, 0
    return name, name_end, value, value_end


@kernel
def _write_label(buf: Bytes, at: int, end: int, keep: Kept, out: Bytes, to: int) -> int:
    """One Label as ``"name":"value",`` at ``out[to]``; the position after it, or ``to`` when it is not kept."""
    name, name_end, value, value_end = _label_spans(buf, at, end)
    if name < 0:
        return BROKEN
    if not _is_kept(buf, name, name_end, keep):
        return to
    if _LONGEST_ESCAPE * (name_end - name + value_end - value) + _PUNCTUATION > len(out) - to:
        return FULL
    to = _write_text(buf, name, name_end, out, to)
    out[to] = _COLON
    to = _write_text(buf, value, value_end, out, to + 1)
    out[to] = _COMMA
    return to + 1


@kernel
def write_labels(buf: Bytes, at: int, end: int, keep: Kept, out: Bytes, to: int) -> int:
    """The labels of the ChunkedSeries ``buf[at:end]`` as a JSON object at ``out[to]``, in the order they came in.

    Returns the position after it, FULL when ``out`` is too short for it, BROKEN when this is no ChunkedSeries.
    The bytes of names and values are kept as they are, apart from the escapes that JSON needs.
    """
    if len(out) - to < _PUNCTUATION:
        return FULL
    out[to] = _OPEN
    start = to + 1
    to = start
    while at < end:
        tag, at = read_varint(buf, at, end)
        if at < 0:
            return BROKEN
        if tag != _SERIES_LABEL:
            at = skip_value(buf, at, end, tag)
        else:
            label, at = read_span(buf, at, end)
            to = _write_label(buf, label, at, keep, out, to) if at > 0 else BROKEN
        if at < 0 or to < 0:
            return to if to < 0 else BROKEN
    if to > start:
        to -= 1  # the last comma
    out[to] = _CLOSE
    return to + 1
