"""What the application looks at of a request that h11 has read, and what is refused beyond what h11 refuses."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import h11

from exporter.publish.web.limits import MOST_BODY_BYTES, MOST_HEAD_BYTES

_MOST_FIELDS = 100
_QUOTED = re.compile(r":? (?:bytearray\()?b['\"]")  # where h11 begins to repeat what came, which may be a password


class Refusal(Exception):
    """The request can't be answered: status and words for it; the connection ends with it."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head. ``path`` is unquoted, ``query`` is as it came; ``fields`` have lower-case names, values of one
    name joined by commas."""

    method: str
    path: str
    query: str
    fields: Mapping[str, str]

    def environ(self) -> dict[str, str]:
        """The request as WSGI describes it, as far as the application looks at it."""
        named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.fields.items()
                 if "_" not in name}  # fmt: skip
        return {**named, "REQUEST_METHOD": self.method, "PATH_INFO": self.path, "QUERY_STRING": self.query}


def read_head(request: h11.Request) -> Head:
    """The head of a request. Raises Refusal, also for a body that is announced and would be too large."""
    if not request.http_version.startswith(b"1."):
        raise Refusal(HTTPStatus.BAD_REQUEST, "This is no HTTP/1.1 request.")
    fields = _fields(request)
    path, query = _target(request.target.decode("ascii"))
    if "transfer-encoding" in fields and "content-length" in fields:  # a proxy may believe the other one
        raise Refusal(HTTPStatus.BAD_REQUEST, "Both Transfer-Encoding and Content-Length are given.")
    if int(fields.get("content-length", "0")) > MOST_BODY_BYTES:
        raise too_large_body()
    return Head(request.method.decode("ascii"), path, query, fields)


def refusal_of(error: h11.RemoteProtocolError) -> Refusal:
    """How a request that h11 can't read is refused: in its words, without what the client sent."""
    if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        words = f"A request's head may have up to {MOST_HEAD_BYTES} bytes."
    else:
        words = f"This is no HTTP/1.1 request: {_QUOTED.split(str(error))[0]}."
    return Refusal(HTTPStatus(error.error_status_hint), words)


def too_large_body() -> Refusal:
    """The refusal of a body that no endpoint would read."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body may have up to {MOST_BODY_BYTES} bytes.")


def _fields(request: h11.Request) -> dict[str, str]:
    if len(request.headers) > _MOST_FIELDS:
        raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"More than {_MOST_FIELDS} headers.")
    fields: dict[str, str] = {}
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        if name == "authorization" and name in fields:  # which of two counts is a matter of opinion
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
