"""Plausibility of a PromQL expression: brackets and quotes. The server has the last word on the rest."""

from __future__ import annotations

from collections.abc import Iterator

_CLOSES = {")": "(", "]": "[", "}": "{"}
_QUOTES = "\"'`"


def expression_fault(expr: str) -> str:
    """What is wrong with the brackets or quotes of ``expr`` (with the character, counted from 1), or ``""``."""
    opened: list[tuple[str, int]] = []
    for sign, position in _structure(expr):
        if sign in _QUOTES:
            return f"the quote at character {position} is never closed"
        if sign not in _CLOSES:
            opened.append((sign, position))
        elif not opened or opened.pop()[0] != _CLOSES[sign]:
            return f"the `{sign}` at character {position} closes nothing"
    if opened:
        sign, position = opened[-1]
        return f"the `{sign}` at character {position} is never closed"
    return ""


def _structure(expr: str) -> Iterator[tuple[str, int]]:
    """Brackets outside of quotes and comments, and the opening quote of a text that has no end; places from 1."""
    at = 0
    while at < len(expr):
        sign = expr[at]
        if sign == "#":
            at = _line_end(expr, at)
        elif sign in _QUOTES:
            end = _quote_end(expr, at)
            if end < 0:
                yield sign, at + 1
                return
            at = end
        elif sign in "()[]{}":
            yield sign, at + 1
        at += 1


def _line_end(expr: str, at: int) -> int:
    end = expr.find("\n", at)
    return len(expr) if end < 0 else end


def _quote_end(expr: str, at: int) -> int:
    """Place of the closing quote, or -1. A backslash escapes in all but backtick quotes."""
    quote = expr[at]
    at += 1
    while at < len(expr):
        if expr[at] == quote:
            return at
        at += 2 if expr[at] == "\\" and quote != "`" else 1
    return -1
