"""What somebody asks /explain for: a selector and a time; read, or refused in words."""

from __future__ import annotations

import math
import re

from fuzz.choices import Choices, damaged

from exporter.explain.question import ExplainError, parse_selector, parse_time
from exporter.publish.explain_link import quoted
from exporter.source.promql import instant_selectors, is_plain_selector, ranged_selectors

NOW_S = 1_700_000_000.0
_TOKENS = (
    b"{",
    b"}",
    b'"',
    b"'",
    b"`",
    b"=",
    b"!=",
    b"=~",
    b",",
    b"\\",
    b"\\x4",
    b"\\u12",
    b"\\777",
    b" ",
    b"\n",
    b"a",
)
_TIMES = (
    "2026-01-31T12:00:00Z",
    "2026-01-31",
    "1700000000",
    "1.5",
    "2h",
    "1d12h",
    "0",
    "-1",
    "1e400",
    "9999-12-31T23:59:59+14:00",
)
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def check(data: bytes) -> None:
    """One input: labels written as a selector and read back, a damaged one, any text; or a time."""
    choices = Choices(data)
    kind = choices.below(5)
    if kind == 0:
        return _time(choices)
    if kind == 1:
        return _any(choices.rest().decode("utf-8", "replace"))
    labels = {_name(choices): choices.text(8) for _ in range(choices.below(5))}
    text = "{" + ",".join(f"{name}={quoted(value)}" for name, value in labels.items()) + "}"
    if kind == 2:
        return _any(damaged(choices, text.encode(), _TOKENS).decode("utf-8", "replace"))
    assert parse_selector(text) == {name: value for name, value in labels.items() if value}
    assert is_plain_selector(text) == bool(labels)
    return None


def _name(choices: Choices) -> str:
    return choices.pick(("a", "job", "__name__", "le", "Z_9"))


def _any(text: str) -> None:
    """Labels or a refusal; the reader of expressions never raises."""
    is_plain_selector(text)
    assert isinstance(instant_selectors(text), tuple)
    assert isinstance(ranged_selectors(text), tuple)
    try:
        labels = parse_selector(text)
    except ExplainError as error:
        return _said(error)
    assert all(isinstance(name, str) and value for name, value in labels.items())
    again = "{" + ",".join(f"{quoted(name)}={quoted(value)}" for name, value in labels.items()) + "}"
    assert parse_selector(again) == labels
    return None


def _time(choices: Choices) -> None:
    text = choices.pick(_TIMES) if choices.flip() else choices.text(12)
    if choices.flip():
        text = damaged(choices, text.encode(), (b"T", b"Z", b"-", b":", b".", b"9", b"+", b"h", b"\xd9\xa3")).decode(
            "utf-8", "replace"
        )
    try:
        found = parse_time(text, NOW_S)
    except ExplainError as error:
        return _said(error)
    assert math.isfinite(found)
    assert 0 <= found <= NOW_S + 1
    return None


def _said(error: ExplainError) -> None:
    """A refusal can be shown, whatever was asked."""
    assert str(error).isprintable()
    assert len(str(error)) < 500
