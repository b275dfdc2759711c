"""What a plain selector asks for, as matchers of the remote-read protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from exporter.source.promql import is_plain_selector

EQUAL, NOT_EQUAL, PATTERN, NOT_PATTERN = range(4)  # LabelMatcher.Type of prompb/types.proto
_TYPES = {"=": EQUAL, "!=": NOT_EQUAL, "=~": PATTERN, "!~": NOT_PATTERN}
_NAME = "__name__"

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
      | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<sign>=~|!~|!=|=|[{},])
    """,
    re.VERBOSE,
)
# Escapes as in Go's quoted strings, which PromQL takes over: letters, bytes in octal or hex, code points.
_ESCAPE = re.compile(
    r"""\\(?:(?P<letter>[abfnrtv\\"'])|(?P<octal>[0-3][0-7]{2})|x(?P<byte>[0-9a-fA-F]{2})
       |u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<unknown>.|$))""",
    re.VERBOSE,
)
_LETTERS = dict(zip("abfnrtv\\\"'", "\a\b\f\n\r\t\v\\\"'", strict=True))


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label: ``type`` is EQUAL, NOT_EQUAL, PATTERN or NOT_PATTERN; the value may be any bytes."""

    type: int
    name: str
    value: bytes


def matchers_of(expr: str) -> tuple[Matcher, ...] | None:
    """The matchers of a plain selector; None for any other expression and for strings that PromQL would refuse."""
    if not is_plain_selector(expr):
        return None
    try:
        return tuple(_matchers(_tokens(expr)))
    except ValueError:
        return None


def _tokens(expr: str) -> list[tuple[str, str]]:
    """The (kind, text) of each token but blanks and comments; the expression is known to be a selector."""
    found = _TOKEN.finditer(expr)
    return [(match.lastgroup, match.group()) for match in found if match.lastgroup is not None]


def _matchers(tokens: list[tuple[str, str]]) -> Iterator[Matcher]:
    """The metric name in front, then what is between the braces."""
    if tokens[0][0] == "word":
        yield Matcher(EQUAL, _NAME, tokens.pop(0)[1].encode())
    inside = [token for token in tokens if token[1] not in ("{", "}", ",")]
    while inside:
        name = inside.pop(0)
        if not inside or inside[0][1] not in _TYPES:  # a lone string is a quoted metric name
            yield Matcher(EQUAL, _NAME, unquoted(name[1]))
        else:
            sign, value = inside.pop(0)[1], inside.pop(0)[1]
            label = unquoted(name[1]).decode() if name[0] == "text" else name[1]
            yield Matcher(_TYPES[sign], label, unquoted(value))


def unquoted(text: str) -> bytes:
    """The bytes of a PromQL string literal. Raises ValueError for an escape that PromQL does not know."""
    inner = text[1:-1]
    if text[0] == "`":
        return inner.encode()
    return b"".join(_unescaped(inner, text[0]))


def _unescaped(inner: str, quote: str) -> Iterator[bytes]:
    at = 0
    for match in _ESCAPE.finditer(inner):
        yield inner[at : match.start()].encode()
        yield _escaped(match, quote)
        at = match.end()
    yield inner[at:].encode()


def _escaped(match: re.Match[str], quote: str) -> bytes:
    kind, text = str(match.lastgroup), match.group(str(match.lastgroup))
    if kind == "unknown" or (text in "\"'" and text != quote):
        raise ValueError(f"unknown escape {match.group()!r}")
    if kind == "letter":
        return _LETTERS[text].encode()
    if kind in ("octal", "byte"):
        return bytes([int(text, 8 if kind == "octal" else 16)])
    code = int(text, 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise ValueError(f"no character {match.group()!r}")
    return chr(code).encode()
