"""The head of an HTTP/1.x request, strictly: what is odd is refused, as nobody who may ask sends it (RFC 9112)."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from exporter.publish.web.limits import MOST_BODY_BYTES

_LINE = re.compile(rb"(?P<method>[A-Z]{1,16}) (?P<target>[\x21-\x7e]{1,16384}) HTTP/1\.(?P<minor>[0-9])")
_FIELD = re.compile(rb"(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(?P<value>[\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_MOST_FIELDS = 100
_ONCE = ("host", "content-length", "authorization")  # two of them can be read in two ways
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)


class Refusal(Exception):
    """The request can't be answered: status and words for it; the connection ends with it."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head. ``path`` is unquoted, ``query`` is as it came; ``fields`` have lower-case names, values of one
    name joined by commas; ``body_bytes`` follow it."""

    method: str
    path: str
    query: str
    minor: int
    fields: Mapping[str, str]
    body_bytes: int

    @property
    def lasting(self) -> bool:
        """Whether the client may send another request on this connection."""
        tokens = {token.strip() for token in self.fields.get("connection", "").lower().split(",")}
        return self.minor >= 1 and "close" not in tokens

    def environ(self) -> dict[str, str]:
        """The request as WSGI describes it, as far as the application looks at it."""
        named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.fields.items()
                 if "_" not in name}  # fmt: skip
        return {**named, "REQUEST_METHOD": self.method, "PATH_INFO": self.path, "QUERY_STRING": self.query}


def parse_head(text: bytes) -> Head:
    """The head that ends with the blank line of ``text``; line ends are CRLF, a single empty line may come before.

    Raises Refusal.
    """
    first, *rest = text.removeprefix(b"\r\n").removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "This is no HTTP/1.1 request.")
    fields = _fields(rest)
    minor = int(line["minor"])
    if minor >= 1 and "host" not in fields:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The request has no Host header.")
    path, query = _target(line["target"].decode("ascii"))
    return Head(line["method"].decode("ascii"), path, query, minor, fields, _body_bytes(fields))


def _fields(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > _MOST_FIELDS:
        raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"More than {_MOST_FIELDS} headers.")
    fields: dict[str, str] = {}
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "A header is not of the form `name: value`.")
        name, value = found["name"].decode("ascii").lower(), found["value"].decode("latin-1")
        if name in _ONCE and name in fields:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"The header {name} is given twice.")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _target(target: str) -> tuple[str, str]:
    """(path, query string) of a target in origin form (`/path?query`) or absolute form (`http://host/path?query`)."""
    if not target.startswith("/"):
        found = re.match(r"https?://[^/?#]*", target, re.IGNORECASE)
        if found is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "The target is no path.")
        target = target[found.end() :]
        target = target if target.startswith("/") else f"/{target}"
    path, _, query = target.partition("?")
    return urllib.parse.unquote(path, "latin-1"), query


def _body_bytes(fields: Mapping[str, str]) -> int:
    if "transfer-encoding" in fields:
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, "A body in chunks is not taken; no endpoint reads one.")
    given = fields.get("content-length", "0")
    if not _LENGTH.fullmatch(given):
        raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length is no number.")
    if int(given) > MOST_BODY_BYTES:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body may have up to {MOST_BODY_BYTES} bytes.")
    return int(given)
