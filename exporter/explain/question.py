"""What somebody asks to have explained: a query, one of its series, a model, a time; read from flags or a URL."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.config.durations import parse_duration_ms
from exporter.errors import AnomalyExporterError

Labels = Mapping[str, str]

MOST_SELECTOR_CHARS = 32_768
_MOST_LABELS = 128
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_STRING = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`"
_MATCHER = re.compile(
    rf"\s*(?P<label>[a-zA-Z_][a-zA-Z0-9_]*|{_STRING})\s*(?P<sign>=~|!~|!=|=)\s*(?P<value>{_STRING})\s*", re.DOTALL
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_SHOWN_CHARS = 80


class ExplainError(AnomalyExporterError):
    """Nothing can be explained; `status` is that of HTTP, `candidates` are series that may be meant."""

    def __init__(self, message: str, *, status: int = 400, candidates: Iterable[Labels] = (), busy_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.candidates = tuple(candidates)
        self.busy_s = busy_s


@dataclass(frozen=True, slots=True)
class Question:
    """Texts as they were given: `series` is a selector, `at` a time or nothing."""

    query: str
    series: str
    tenant: str = ""
    model: str = ""
    at: str = ""


def shorten(text: str, most: int = _SHOWN_CHARS) -> str:
    """A text from outside for a message: printable, and not longer than so many characters."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


# --- the series -------------------------------------------------------------------------------------------------------


def parse_selector(text: str) -> dict[str, str]:
    """The labels of `{a="b", c="d"}`, `name{...}` or a bare name; a label that must be empty is left out.

    Raises ExplainError for anything else: other operators, a label twice, quotes that do not end.
    """
    if len(text) > MOST_SELECTOR_CHARS:
        raise ExplainError(f"the series is longer than {MOST_SELECTOR_CHARS} characters")
    name, rest = _metric_name(text.strip())
    if not rest and name:
        return {"__name__": name}
    if not rest.startswith("{") or not rest.endswith("}"):
        raise ExplainError(f'{shorten(text)} is no series; write it like {{job="api",instance="a:80"}}')
    labels = dict(_matchers(rest[1:-1]))
    if name:
        labels["__name__"] = name
    return {label: value for label, value in labels.items() if value}


def _metric_name(text: str) -> tuple[str, str]:
    match = _NAME.match(text)
    return (match.group(), text[match.end() :].strip()) if match else ("", text)


def _matchers(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while text[at:].strip():
        match = _MATCHER.match(text, at)
        if match is None:
            raise ExplainError(f'can\'t read the series from here on: {shorten(text[at:])}; write label="value"')
        if match["sign"] != "=":
            raise ExplainError(f"one series is explained at a time: {match['sign']} can't be used, only =")
        found.append((_unquoted(match["label"]), _unquoted(match["value"])))
        at = match.end()
        if text[at : at + 1] not in ("", ","):
            raise ExplainError(f"a comma is missing before {shorten(text[at:])}")
        at += 1
    _check_once([label for label, _ in found])
    return found


def _check_once(names: list[str]) -> None:
    twice = {name for name in names if names.count(name) > 1} if len(names) <= _MOST_LABELS else set(names[:1])
    if len(names) > _MOST_LABELS:
        raise ExplainError(f"the series has more than {_MOST_LABELS} labels")
    if twice:
        raise ExplainError(f"the label {shorten(min(twice))} is given twice")


def _unquoted(text: str) -> str:
    if text[0] not in "\"'`":
        return text
    return text[1:-1] if text[0] == "`" else _ESCAPE.sub(_unescape, text[1:-1])


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code:
        number = int(code, 16)
        return chr(number) if number <= 0x10FFFF and not 0xD800 <= number < 0xE000 else "\N{REPLACEMENT CHARACTER}"
    return chr(int(match[4], 8)) if match[4] else _SIMPLE.get(match[5], match[5])


# --- the time ---------------------------------------------------------------------------------------------------------


def parse_time(text: str, now_s: float) -> float:
    """Unix seconds of an RFC 3339 time, of unix seconds, or of a duration ago such as `2h`; nothing means now.

    Raises ExplainError for anything else, and for a time in the future.
    """
    text = text.strip()
    if not text:
        return now_s
    found = _moment(text, now_s)
    if found is None or not math.isfinite(found) or found < 0:
        raise ExplainError(
            f"{shorten(text)} is no time; write unix seconds, 2026-01-31T12:00:00Z, or how long ago, such as 2h"
        )
    if found > now_s + 1:
        raise ExplainError(f"{shorten(text)} is in the future")
    return found


def _moment(text: str, now_s: float) -> float | None:
    if re.fullmatch(r"\d+(\.\d*)?", text):
        return float(text)
    duration_ms = parse_duration_ms(text)
    if duration_ms is not None:
        return now_s - duration_ms / 1000
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
