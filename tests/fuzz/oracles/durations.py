"""Durations beside a reader written from Prometheus' documentation, and back."""

from __future__ import annotations

from fuzz.choices import Choices

from exporter.config.durations import format_duration, parse_duration_ms

_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_ORDER = ("y", "w", "d", "h", "m", "s", "ms")
_MOST_DIGITS = 12
_LONGEST_MS = 9_223_372_036_854  # 64 bits of nanoseconds


def check(data: bytes) -> None:
    """One input: letters and digits, or a number of milliseconds."""
    choices = Choices(data)
    if choices.flip():
        milliseconds = choices.below(_LONGEST_MS + 1)
        assert parse_duration_ms(format_duration(milliseconds)) == milliseconds
        return
    text = choices.word("0123456789ywdhms", 16) if choices.flip() else choices.rest().decode("utf-8", "replace")
    found = parse_duration_ms(text)
    assert found == slow_duration_ms(text)
    if found is not None:
        assert parse_duration_ms(format_duration(found)) == found


def slow_duration_ms(text: str) -> int | None:
    """The same letter by letter: "0", or numbers with units, each unit at most once and the larger ones first,
    292 years at most."""
    if text == "0":
        return 0
    total, number, place, at = 0, "", -1, 0
    while at < len(text):
        if text[at] in "0123456789":
            number += text[at]
            at += 1
            continue
        unit = "ms" if text.startswith("ms", at) else text[at]
        if not 0 < len(number) <= _MOST_DIGITS or unit not in _ORDER or _ORDER.index(unit) <= place:
            return None
        total, place = total + int(number) * _MS[unit], _ORDER.index(unit)
        number, at = "", at + len(unit)
    return None if number or place < 0 or total > _LONGEST_MS else total
