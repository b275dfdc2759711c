"""Bytes read as choices: what hypothesis, atheris and a file of the corpus give becomes structured input.

Any bytes are some input, the same bytes always the same one; where they end, every further choice is the first one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

NASTY = (
    *('"', "\\", "\n", "\r\n", "\t", "\x00", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\ufffd"),
    *("{}", '"}],', "# HELP x", "<b>&amp;", "a=1,b", "日本語 ü", "\U0001f600", " ", "=", ",", "'", "`", "${PW}"),
)


class Choices:
    """Takes choices from the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return len(self._data) - self._at

    def raw(self, count: int) -> bytes:
        """The next bytes, fewer where there are no more."""
        taken = self._data[self._at : self._at + max(0, count)]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        return self.raw(self.left)

    def below(self, limit: int) -> int:
        """A number from 0 on that is less than the limit (1 and up)."""
        size = max(1, ((limit - 1).bit_length() + 7) // 8)
        return int.from_bytes(self.raw(size), "little") % limit

    def between(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return low + self.below(high - low + 1)

    def flip(self) -> bool:
        """Yes or no."""
        return bool(self.below(2))

    def rarely(self) -> bool:
        """Yes in one of eight cases."""
        return self.below(8) == 7

    def pick(self, options: Sequence[T]) -> T:
        """One of some options."""
        return options[self.below(len(options))]

    def some(self, most: int, make: Callable[[], T]) -> list[T]:
        """So many things at most; none is made without a byte of its own."""
        return [make() for _ in range(min(self.between(0, most), self.left))]

    def double(self) -> float:
        """Any float64 at all."""
        return struct.unpack("<d", self.raw(8).ljust(8, b"\0"))[0]  # type: ignore[no-any-return]

    def text(self, most: int = 8) -> str:
        """Text with hostile bits in it; never a lone surrogate."""
        return "".join(self.some(most, self._piece))

    def word(self, alphabet: str, most: int) -> str:
        """A text of these characters."""
        return "".join(self.some(most, lambda: self.pick(alphabet)))

    def _piece(self) -> str:
        kind = self.below(8)
        if kind < 4:
            return chr(self.between(0x20, 0x7E))
        if kind < 7:
            return self.pick(NASTY)
        code = self.below(0x110000)
        return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def damaged(choices: Choices, body: bytes, tokens: Sequence[bytes], most: int = 4) -> bytes:
    """The body with some stretches cut out, doubled, or replaced by a token."""
    for _ in range(choices.below(most + 1)):
        at = choices.below(len(body) + 1)
        cut = choices.below(9)
        kind = choices.below(4)
        if kind == 0:
            new = b""
        elif kind == 1:
            new, cut = body[at : at + choices.below(33)], 0
        elif kind == 2:
            new = choices.pick(tokens)
        else:
            new = choices.raw(choices.below(4))
        body = body[:at] + new + body[at + cut :]
    return body
