"""What a client wants to be sent: text format or OpenMetrics, compressed or not; and the page in parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporter.publish.exposition import Piece
from exporter.publish.packing import gzip_stream

_OPENMETRICS_VERSIONS = ("", "0.0.1", "1.0.0")
_PART_BYTES = 65_536


def _offers(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """(value, parameters, q) of each entry of an Accept header; an unreadable q counts as 0."""
    for entry in header.lower().split(","):
        value, *rest = (part.strip() for part in entry.split(";"))
        parameters = {name.strip(): text.strip(' "') for name, _, text in (part.partition("=") for part in rest)}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if value:
            yield value, parameters, quality


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header likes OpenMetrics 1.0.0 at least as much as the text format."""
    openmetrics, text = 0.0, 0.0
    for value, parameters, quality in _offers(accept):
        if value == "application/openmetrics-text" and parameters.get("version", "") in _OPENMETRICS_VERSIONS:
            openmetrics = max(openmetrics, quality)
        elif value in ("text/plain", "text/*"):
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def wants_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header takes gzip."""
    qualities = {value: quality for value, _, quality in _offers(accept_encoding)}
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def cut_pieces(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The text of the pieces, as it is written, in parts small enough for a client that fetches them slowly."""
    for piece in pieces:
        for text in piece.written():
            yield from _cut(text)


def zip_pieces(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The pieces as one gzip stream; what was compressed for a scrape before is not compressed again."""
    for part in gzip_stream(piece.packed() for piece in pieces):
        yield from _cut(part)


def _cut(text: bytes) -> Iterator[bytes]:
    for at in range(0, len(text), _PART_BYTES):
        yield text[at : at + _PART_BYTES]
