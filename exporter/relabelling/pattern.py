r"""Regular expressions as Prometheus' relabelling has them: RE2, anchored at both ends, the dot takes line breaks too.

The engine is RE2 itself, in C++; Go's package regexp, which Prometheus uses, has the same syntax and takes the same
match, but for a few things: https://github.com/google/re2/wiki/Syntax. `\C` (any byte) is refused here as it is in Go;
`(?<name>...)` is taken by both from Go 1.22 on. Prometheus 2 lets the dot take no line break, 3 does (`(?s:...)`).
"""

from __future__ import annotations

import re2

Span = tuple[int, int]


class PatternError(ValueError):
    """A regular expression that RE2 does not take; the text says why."""


class Match:
    """Where a pattern has met a text, and its groups as UTF-8."""

    __slots__ = ("_spans", "_text")

    def __init__(self, text: bytes, spans: list[Span]) -> None:
        self._text = text
        self._spans = spans

    def group(self, index: int) -> bytes:
        """The text of a group; empty where it took no part in the match, or there is no such group."""
        if index >= len(self._spans) or self._spans[index][0] < 0:
            return b""
        start, end = self._spans[index]
        return self._text[start:end]


class Pattern:
    """A compiled regular expression, anchored at both ends. Safe between threads; matching takes linear time."""

    def __init__(self, text: str) -> None:
        """Raises PatternError."""
        if _any_byte(text):
            raise PatternError(r"\C is not supported")
        raw = text.encode("utf-8", "replace")
        try:
            # Anchored as Prometheus does it, by text: an unbalanced `a)|(b` means there what it means here.
            self._compiled = _compiled(b"^(?s:" + raw + b")$")
        except re2.error as error:
            raise PatternError(_reason(raw, error)) from None
        self.names: dict[str, int] = {_text(name): index for name, index in self._compiled.groupindex.items()}
        self._groups = range(self._compiled.groups + 1)

    def matches(self, text: str) -> bool:
        """Whether the whole text is matched."""
        return self._compiled.search(text.encode("utf-8", "replace")) is not None

    def match(self, text: str) -> Match | None:
        """The match with the whole text, None where there is none."""
        raw = text.encode("utf-8", "replace")
        found = self._compiled.search(raw)
        return None if found is None else Match(raw, [found.span(index) for index in self._groups])


def _any_byte(text: str) -> bool:
    r"""Whether `\C` stands there as an operator: not escaped itself, not within ``\Q...\E``."""
    at = 0
    while (at := text.find("\\", at)) >= 0:
        escaped = text[at + 1 : at + 2]
        if escaped == "C":
            return True
        if escaped == "Q":
            end = text.find(r"\E", at + 2)
            at = len(text) if end < 0 else end
        at += 2
    return False


def _compiled(raw: bytes) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(raw, options)


def _reason(raw: bytes, error: Exception) -> str:
    """What RE2 says, of the pattern as it was given if it can't be compiled without our anchors either."""
    try:
        _compiled(raw)
    except re2.error as of_given:
        error = of_given
    return _text(error.args[0]) if error.args and error.args[0] else "not a regular expression of RE2"


def _text(raw: str | bytes) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
