"""Prometheus durations: ``5m``, ``1h30m``, ``7d``, ``500ms``; a bare ``0`` is the only one without a unit."""

from __future__ import annotations

import re

_UNITS_MS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
# At most 12 digits a unit: no duration of use is longer.
_SYNTAX = re.compile("".join(rf"(?:([0-9]{{1,12}}){unit})?" for unit in _UNITS_MS), re.ASCII)
_LONGEST_MS = (2**63 - 1) // 10**6  # Prometheus counts nanoseconds in 64 bits: 292 years
_SHOWN = ("d", "h", "m", "s", "ms")


def parse_duration_ms(text: str) -> int | None:
    """Milliseconds of a Prometheus duration; None when the text is not one (units largest first, each once), or is
    longer than Prometheus takes."""
    if text == "0":
        return 0
    found = _SYNTAX.fullmatch(text)
    if not text or found is None:
        return None
    total_ms = sum(int(count) * size for count, size in zip(found.groups(), _UNITS_MS.values(), strict=True) if count)
    return total_ms if total_ms <= _LONGEST_MS else None


def format_duration(duration_ms: int) -> str:
    """The shortest usual spelling in days, hours, minutes, seconds, milliseconds: ``14d``, ``1h30m``, ``0s``."""
    parts = []
    rest = duration_ms
    for unit in _SHOWN:
        count, rest = divmod(rest, _UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
