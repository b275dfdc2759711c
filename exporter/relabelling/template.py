"""Templates such as `${1}_$name`, filled in from a match as Go's regexp.Expand does it.

https://pkg.go.dev/regexp#Regexp.Expand: a name without braces is as long as it can be (`$1x` is `${1x}`), `$$` is a
dollar sign, a name or number without a group is empty; a dollar sign before anything else stands for itself.
"""

from __future__ import annotations

import unicodedata

from exporter.relabelling.pattern import Match, Pattern

_MOST_INDEX = 10**8  # Go takes longer numbers for names
_NOTHING = -1

Part = bytes | int


class Template:
    """A template for the matches of one pattern."""

    def __init__(self, text: str, pattern: Pattern) -> None:
        self._parts = tuple(_merged(_parts(text, pattern)))

    def expand(self, match: Match) -> str:
        """The text for a match."""
        filled = (part if isinstance(part, bytes) else match.group(part) for part in self._parts)
        return b"".join(filled).decode("utf-8", "replace")


def _merged(parts: list[Part]) -> list[Part]:
    """Without what is always empty."""
    return [part for part in parts if part not in (b"", _NOTHING)]


def _parts(text: str, pattern: Pattern) -> list[Part]:
    parts: list[Part] = []
    while text:
        before, dollar, text = text.partition("$")
        parts.append(before.encode("utf-8", "replace"))
        if not dollar:
            break
        if text.startswith("$"):
            parts.append(b"$")
            text = text[1:]
            continue
        name, length = _name(text)
        parts.append(_group(name, pattern) if name else b"$")
        text = text[length:]
    return parts


def _name(text: str) -> tuple[str, int]:
    """The name at the beginning of a text, in braces or bare, and how much it takes; empty where there is none."""
    start = 1 if text.startswith("{") else 0
    end = start
    while end < len(text) and _is_word(text[end]):
        end += 1
    if end == start:
        return "", 0
    if start and text[end : end + 1] != "}":
        return "", 0
    return text[start:end], end + start


def _is_word(sign: str) -> bool:
    return sign == "_" or unicodedata.category(sign)[0] == "L" or unicodedata.category(sign) == "Nd"


def _group(name: str, pattern: Pattern) -> int:
    """The index of the group of a name or number."""
    is_number = name.isascii() and name.isdigit() and (name == "0" or name[0] != "0")
    if is_number and len(name) <= len(str(_MOST_INDEX)) and int(name) // 10 < _MOST_INDEX:
        return int(name)
    return pattern.names.get(name, _NOTHING)
