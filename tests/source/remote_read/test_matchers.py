"""Plain selectors as matchers, and the request that carries them."""

from __future__ import annotations

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import xor_chunks as naive

from exporter.source.remote_read.matchers import (
    EQUAL,
    NOT_EQUAL,
    NOT_PATTERN,
    PATTERN,
    Matcher,
    matchers_of,
    unquoted,
)
from exporter.source.remote_read.request import read_request

NAME = "__name__"


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("up", [(EQUAL, NAME, b"up")]),
        ("job:up:rate5m", [(EQUAL, NAME, b"job:up:rate5m")]),
        (" up { } # all", [(EQUAL, NAME, b"up")]),
        ('up{job="a"}', [(EQUAL, NAME, b"up"), (EQUAL, "job", b"a")]),
        ("up{job!='a',}", [(EQUAL, NAME, b"up"), (NOT_EQUAL, "job", b"a")]),
        ('{a=~"x|y{2}", # one, two\n b!~`\\d+`}', [(PATTERN, "a", b"x|y{2}"), (NOT_PATTERN, "b", b"\\d+")]),
        ('{"my.metric", "a b"=","}', [(EQUAL, NAME, b"my.metric"), (EQUAL, "a b", b",")]),
        ('{__name__=~"node_.*",on="=~"}', [(PATTERN, NAME, b"node_.*"), (EQUAL, "on", b"=~")]),
        ('{a="# no comment"}', [(EQUAL, "a", b"# no comment")]),
        ('{a="☃"}', [(EQUAL, "a", "☃".encode())]),
    ],
)
def test_plain_selectors(expr: str, expected: list[tuple[int, str, bytes]]) -> None:
    assert matchers_of(expr) == tuple(Matcher(*each) for each in expected)


@pytest.mark.parametrize(
    "expr",
    ["sum(up)", "up[5m]", "up offset 5m", "up @ 1", "1", "", "(up)", "-up", "up{", r'{a="\q"}', r"{a='\"'}",
     r'{a="\ud800"}', r'{a="\U00110000"}', r'{a="\400"}', r'{a="\x1"}', '{a="\ud800"}', r'{"\xff"="x"}'],
)  # fmt: skip
def test_anything_else_is_not_tried(expr: str) -> None:
    assert matchers_of(expr) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"\a\b\f\n\r\t\v\\\""', b'\a\b\f\n\r\t\v\\"'),
        (r"'\'\\d'", b"'\\d"),
        (r'"\101\x42\xff"', b"AB\xff"),
        (r'"\u2603\U0001f600"', "☃😀".encode()),
        (r"`\n'\"`", rb"\n'" + b'\\"'),
        ('""', b""),
    ],
)
def test_strings_are_those_of_promql(text: str, expected: bytes) -> None:
    assert unquoted(text) == expected


MATCHERS = st.builds(Matcher, st.integers(0, 3), st.text(max_size=200), st.binary(max_size=200))
TIMES_MS = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(MATCHERS, max_size=4).map(tuple), TIMES_MS, TIMES_MS)
def test_the_request_is_what_protobuf_reads(matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> None:
    read = naive.MESSAGES["ReadRequest"]()
    read.ParseFromString(bytes(cramjam.snappy.decompress_raw(read_request(matchers, start_ms, end_ms))))
    (query,) = read.queries
    assert (query.start_timestamp_ms, query.end_timestamp_ms) == (start_ms, end_ms)
    assert tuple(Matcher(each.type, each.name, each.value) for each in query.matchers) == matchers
    assert list(read.accepted_response_types) == [1]
