"""Reading the body of an HTTP answer with a cap on its size, an end in time, and unpacking that can't explode."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import requests

from exporter.source.answer import garbled
from exporter.source.faults import too_big, translated, unavailable

_READ_BYTES = 1 << 20
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a download may take: bytes after unpacking, and time until a moment of ``time.monotonic()``."""

    body_bytes: int
    deadline_s: float
    stop: threading.Event


def read_body(response: requests.Response, bounds: Bounds, origin: str) -> bytearray:
    """The whole body, unpacked. The answer must have been requested with ``stream=True``.

    Raises SourceTooMuch as soon as the body is or declares to be beyond the cap, SourceUnavailable when it ends
    early or drips on beyond the deadline, SourceGarbled when it can't be unpacked.
    """
    body = bytearray()
    for piece in read_pieces(response, bounds, origin):
        body += piece
    return body


def read_pieces(response: requests.Response, bounds: Bounds, origin: str) -> Iterator[bytes]:
    """The body, unpacked, as it comes: in pieces of at most 1 MiB unless it is packed. Raises as ``read_body``."""
    declared = response.headers.get("Content-Length", "")
    if declared.isdigit() and int(declared) > bounds.body_bytes:
        raise too_big(origin, bounds.body_bytes)
    taken_bytes = 0
    for piece in _unpacked(response, bounds, origin):
        taken_bytes += len(piece)
        if taken_bytes > bounds.body_bytes:
            raise too_big(origin, bounds.body_bytes)
        yield piece


def read_start(response: requests.Response, bounds: Bounds, origin: str) -> bytes:
    """The first ``bounds.body_bytes`` of a body, for error pages: no check, no complaint about the rest."""
    body = bytearray()
    for piece in _unpacked(response, bounds, origin):
        body += piece
        if len(body) >= bounds.body_bytes:
            break
    return bytes(body[: bounds.body_bytes])


def _pieces(response: requests.Response, bounds: Bounds, origin: str) -> Iterator[bytes]:
    """The body as it comes over the wire."""
    declared = response.headers.get("Content-Length", "")
    missing = int(declared) if declared.isdigit() else 0
    with translated(origin):
        while piece := response.raw.read1(_READ_BYTES, decode_content=False):
            missing -= len(piece)
            yield piece
            _check_time(bounds, origin)
    if missing > 0:
        raise unavailable(origin, f"the answer ended {missing} bytes early", "connection")


def _check_time(bounds: Bounds, origin: str) -> None:
    if bounds.stop.is_set():
        raise unavailable(origin, "abandoned, because this program stops", "stopped")
    if time.monotonic() > bounds.deadline_s:
        raise unavailable(origin, "the answer came too slowly. Raise source.timeout or narrow the expr.", "timeout")


def _unpacked(response: requests.Response, bounds: Bounds, origin: str) -> Iterator[bytes]:
    """The body with its Content-Encoding undone, never more than one byte beyond the cap at a time."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    pieces = _pieces(response, bounds, origin)
    if encoding in ("", "identity"):
        return pieces
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise garbled(origin, f"answered in the encoding {encoding!r}, which was not asked for")
    return _inflated(pieces, bounds.body_bytes + 1, origin)


def _inflated(pieces: Iterator[bytes], most_bytes: int, origin: str) -> Iterator[bytes]:
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for piece in pieces:
            yield inflate.decompress(piece, most_bytes)
    except zlib.error as error:
        raise garbled(origin, f"answered gzip that can't be unpacked ({error})") from error
    if not inflate.eof:
        raise unavailable(origin, "the packed answer ended early", "connection")
