"""Numbers, times and labels of a report as people read them, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.backtest.episodes import Episode
from exporter.backtest.span import shown_time
from exporter.config.durations import format_duration
from exporter.publish import style

_LONGEST_LABELS = 300
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\t": r"\t", "\r": r"\r"})


def labels_text(labels: Mapping[str, str], most: int = _LONGEST_LABELS) -> str:
    """Labels as PromQL writes them, on one line, shortened; what can't be printed, and what turns the direction of
    writing, is shown as its code."""
    pairs = (
        f'{visible(name)}="{visible(value[: most + 1].translate(_ESCAPES))}"' for name, value in sorted(labels.items())
    )
    text = "{" + ", ".join(pairs) + "}"
    return text if len(text) <= most else text[: most - 1] + "…"


def visible(text: str) -> str:
    """Text in which nothing hides."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def number_text(number: float | None) -> str:
    """A number as the front page writes it, or a dash."""
    return "-" if number is None or number != number else style.number_text(number)


def band_text(one: Episode) -> str:
    """The band of an episode's worst sample."""
    if one.lower is None and one.upper is None:
        return "no edge"
    if one.lower is None:
        return f"up to {number_text(one.upper)}"
    if one.upper is None:
        return f"from {number_text(one.lower)}"
    return f"{number_text(one.lower)} to {number_text(one.upper)}"


def lasting(start_s: float, end_s: float | None) -> str:
    """How long something fired."""
    return "still firing" if end_s is None else format_duration(round(end_s - start_s) * 1000)


def rate_text(rate: float | None) -> str:
    """A rate, with as many digits as it deserves."""
    return "-" if rate is None else f"{rate:.2g}" if rate < 10 else f"{rate:.0f}"


def time_text(time_s: float) -> str:
    """A moment, in UTC."""
    return shown_time(time_s)
