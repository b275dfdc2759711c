"""Selectors and times as people and alerts write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.explain.question import MOST_SELECTOR_CHARS, ExplainError, parse_selector, parse_time, shorten
from exporter.publish.explain_link import explain_path, selector_text

NOW = 1_700_000_000.0


@pytest.mark.parametrize(("text", "labels"), [
    ("{}", {}),
    ('{a="b"}', {"a": "b"}),
    (' { a = "b" , c=\'d\', } ', {"a": "b", "c": "d"}),
    ("m", {"__name__": "m"}),
    ('node:m{a="b"}', {"__name__": "node:m", "a": "b"}),
    ('{a="b",c=""}', {"a": "b"}),
    (r'{a="\"\\\n\t\x41\u00e9\U0001F600\101"}', {"a": '"\\\n\tAé😀A'}),
    (r"{a=`\n`}", {"a": r"\n"}),
    ('{"http.method"="GET"}', {"http.method": "GET"}),
    (r'{a="\ud800"}', {"a": "\N{REPLACEMENT CHARACTER}"}),
    ('{a="x,y}"}', {"a": "x,y}"}),
    ('{a="日本"}', {"a": "日本"}),
])  # fmt: skip
def test_selectors(text: str, labels: dict[str, str]) -> None:
    assert parse_selector(text) == labels


@pytest.mark.parametrize(("text", "words"), [
    ("", "is no series"), ("{", "is no series"), ("a b", "is no series"), ("5", "is no series"),
    ('a="b"', "is no series"), ('{a="b"', "is no series"), ('{a=b}', "can't read the series from here on"),
    ('{a="b}', "can't read"), ('{a="b\n"}', "can't read"), ('{="b"}', "can't read"), ("{a}", "can't read"),
    ('{a=~"b"}', "=~ can't be used"), ('{a!="b"}', "!= can't be used"), ('{a!~"b"}', "!~ can't be used"),
    ('{a="b" c="d"}', "a comma is missing"), ('{a="b",a="c"}', "the label a is given twice"),
    ("{" + ",".join(f'l{i}="x"' for i in range(200)) + "}", "more than 128 labels"),
    ("{" + "x" * MOST_SELECTOR_CHARS + "}", "longer than"), ('{,}', "can't read"),
])  # fmt: skip
def test_what_is_no_selector(text: str, words: str) -> None:
    with pytest.raises(ExplainError, match=words) as caught:
        parse_selector(text)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 300


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=20), max_size=6))
def test_what_is_written_is_read_back(labels: dict[str, str]) -> None:
    assert parse_selector(selector_text(labels)) == labels


def test_ten_kilobytes_are_read_quickly_enough() -> None:
    labels = {"a": '"\\' * 5000, "b": "x" * 10_000}
    assert parse_selector(selector_text(labels)) == labels
    with pytest.raises(ExplainError):
        parse_selector('{a="' + "\\" * 20_001)


def test_links() -> None:
    path = explain_path("q", {"a": "&<>\"' \u202e"}, tenant="t/1", at="5")
    assert path == "/explain?query=q&tenant=t%2F1&series=%7Ba%3D%22%26%3C%3E%5C%22%27+%E2%80%AE%22%7D&at=5"
    assert explain_path("q", {"a": "\ud800"}).endswith("%22%3F%22%7D")  # no surrogate can be sent


@pytest.mark.parametrize(("text", "time_s"), [
    ("", NOW), ("  ", NOW), ("1699999999", 1_699_999_999.0), ("1699999999.5", 1_699_999_999.5), ("0", 0.0),
    ("2h", NOW - 7200), ("1d12h", NOW - 129_600), ("0s", NOW), ("2023-11-14T22:13:20Z", NOW),
    ("2023-11-14T23:13:20+01:00", NOW), ("2023-11-14T22:13:20", NOW), ("2023-11-14", NOW - 80_000),
])  # fmt: skip
def test_times(text: str, time_s: float) -> None:
    assert parse_time(text, NOW) == time_s


@pytest.mark.parametrize("text", [
    "soon", "-5", "1e9", "nan", "inf", "9" * 400, "2023-13-01", "2h ago", "5 m", "1700000100", "2024-01-01T00:00:00Z",
    "100y", "2023-11-14T22:13:20+99:00",
])  # fmt: skip
def test_what_is_no_time_or_not_yet(text: str) -> None:
    with pytest.raises(ExplainError, match=r"is no time|is in the future") as caught:
        parse_time(text, NOW)
    assert caught.value.status == 400


def test_texts_from_outside_are_cut_and_made_visible() -> None:
    assert shorten("a\nb\u202ec") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert shorten("x" * 10_000) == "x" * 79 + "…"
