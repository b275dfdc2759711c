"""Heads of requests: nothing that a client sends does anything but be read or refused."""

from __future__ import annotations

from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.publish.web.head import Head, Refusal, read_head, refusal_of

LINE = b"GET /metrics?a=b%20c HTTP/1.1\r\n"


def parsed(text: bytes) -> Head:
    """The head that h11 finds in these bytes. Raises Refusal, also where it finds none yet."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(text)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise refusal_of(error) from None
    if not isinstance(event, h11.Request):
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "no end yet")
    return read_head(event)


def test_a_usual_head() -> None:
    head = parsed(LINE + b"Host: x\r\nAccept:\t text/plain \r\nAccept: */*\r\nX_Y: z\r\nContent-Length: 3\r\n\r\n")
    assert (head.method, head.path, head.query) == ("GET", "/metrics", "a=b%20c")
    assert dict(head.fields) == {"host": "x", "accept": "text/plain, */*", "x_y": "z", "content-length": "3"}
    environ = head.environ()
    assert environ["HTTP_ACCEPT"] == "text/plain, */*"
    assert "HTTP_X_Y" not in environ  # would look like X-Y
    assert (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("GET", "/metrics", "a=b%20c")


@pytest.mark.parametrize(("target", "path", "query"), [
    ("/", "/", ""), ("/?", "/", ""), ("/a?b?c", "/a", "b?c"), ("/%2F%41", "//A", ""), ("http://h/a?b", "/a", "b"),
    ("HTTPS://u:p@h:1?b", "/", "b"), ("//h/a", "//h/a", ""), ("/..%2f..", "/../..", ""), ("/%zz", "/%zz", ""),
])  # fmt: skip
def test_targets(target: str, path: str, query: str) -> None:
    head = parsed(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    assert (head.path, head.query) == (path, query)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    for text in (noise + b"\r\n\r\n", LINE + noise + b"\r\n\r\n", b"GET " + noise + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
        outcome = outcome_of(text)
        if isinstance(outcome, Refusal):
            assert 400 <= outcome.status <= 501
            assert outcome.words.isascii()
            assert outcome.words.isprintable()
        else:
            told = "".join(outcome.fields.values()) + outcome.query
            assert not {"\r", "\n", "\x00"}.intersection(told)


def outcome_of(text: bytes) -> Head | Refusal:
    try:
        return parsed(text)
    except Refusal as refusal:
        return refusal


NAMES = st.text("abcXYZ019-_", min_size=1, max_size=12).map(lambda name: f"h{name}")
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)


@given(st.dictionaries(NAMES.map(str.lower), VALUES, max_size=20))
def test_what_is_written_is_read(fields: dict[str, str]) -> None:
    fields = {"host": "x"} | {name: value for name, value in fields.items() if name != "host"}
    lines = "".join(f"{name.title()}: {value}\r\n" for name, value in fields.items())
    assert dict(parsed(LINE + lines.encode() + b"\r\n").fields) == fields
