"""From what an endpoint answers to what is sent: headers, compression, lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from exporter.publish.exposition import Piece, Plain
from exporter.publish.web.negotiation import cut_pieces, wants_gzip, zip_pieces
from exporter.publish.web.routes import Environ, Response

_LEAST_GZIP_BYTES = 1024
_BATCH_BYTES = 65_536
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # of what is no page
SAFETY = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to be sent: ``first`` bytes of the body, and the parts behind them; no headers of the connection.

    ``body_bytes`` is None where the length is not known before the end. The parts take CPU time as they come.
    """

    status: HTTPStatus
    headers: Headers
    first: bytes
    rest: Iterator[bytes]
    body_bytes: int | None


def make_reply(response: Response, environ: Environ) -> Reply:
    """The reply that this client wants; the first bytes are made at once."""
    body_bytes = _plain_bytes(response.pieces)
    large = body_bytes is None or body_bytes >= _LEAST_GZIP_BYTES
    zipped = large and wants_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
    headers = _headers(response)
    if zipped:
        headers.append(("Content-Encoding", "gzip"))
        body_bytes = None
    if environ["REQUEST_METHOD"] == "HEAD":
        return Reply(response.status, headers, b"", iter(()), body_bytes)
    parts = zip_pieces(response.pieces) if zipped else cut_pieces(response.pieces)
    return Reply(response.status, headers, batch(parts), parts, body_bytes)


def batch(parts: Iterator[bytes]) -> bytes:
    """The next 64 KiB or a little more of the parts; empty at the end."""
    taken: list[bytes] = []
    size = 0
    for part in parts:
        taken.append(part)
        size += len(part)
        if size >= _BATCH_BYTES:
            break
    return taken[0] if len(taken) == 1 else b"".join(taken)


def _headers(response: Response) -> Headers:
    """Those of the response, and those of every answer that it has none of its own for."""
    own = [("Content-Type", response.content_type), ("Vary", "Accept-Encoding"), *response.headers]
    named = {name for name, _ in own}
    return own + [(name, value) for name, value in SAFETY.items() if name not in named]


def _plain_bytes(pieces: Sequence[Piece]) -> int | None:
    """Length of the pieces' text; None when it is not known before it is written."""
    texts = [piece.text for piece in pieces if isinstance(piece, Plain)]
    return sum(map(len, texts)) if len(texts) == len(pieces) else None
