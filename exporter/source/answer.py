"""What a query's answer is once read, and the checks of the JSON envelope around its samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from exporter.config.secret import hide
from exporter.errors import SourceGarbled
from exporter.samples import SampleBatch

Body: TypeAlias = bytes | bytearray

TEXT_LIMIT = 300  # characters of a server's words that are shown
_NOTES_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """The samples of one query answer and what the server said about them.

    ``warnings`` and ``infos`` are the server's own words (at most 20, each trimmed); ``partial``: the server says
    that data is missing; ``fast``: read by the byte scanner rather than by a JSON parser.
    """

    batch: SampleBatch
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    partial: bool = False
    fast: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """The JSON around the samples: the result's type and content, and the server's remarks."""

    kind: str
    result: object
    warnings: tuple[str, ...]
    infos: tuple[str, ...]
    partial: bool


def plain_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """A server's words for a log line: control characters and runs of blanks become one blank, then trimmed.

    Secrets of ours that the server repeats are taken out.
    """
    shown = " ".join("".join(c if c.isprintable() else " " for c in hide(text)[: 8 * limit]).split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def open_envelope(answer: object, origin: str) -> Envelope:
    """Check a parsed query answer. Raises SourceGarbled unless it is a success that carries data."""
    if not isinstance(answer, dict):
        raise garbled(origin, "answered JSON that is no object; is it the API of a Prometheus-like server?")
    if answer.get("status") != "success":
        words = plain_text(str(answer.get("error", answer.get("status", "no status"))))
        raise garbled(origin, f"answered 200 but not success: {words}")
    data = answer.get("data")
    if not isinstance(data, dict) or "result" not in data:
        raise garbled(origin, "answered success without data")
    return Envelope(
        kind=str(data.get("resultType")),
        result=data["result"],
        warnings=_notes(answer, "warnings"),
        infos=_notes(answer, "infos"),
        partial=answer.get("isPartial") is True,
    )


def garbled(origin: str, what: str) -> SourceGarbled:
    """The error for a 200 whose body is not what the API promises."""
    return SourceGarbled(f"{origin} {what}", reason="garbled")


def _notes(answer: Mapping[str, object], key: str) -> tuple[str, ...]:
    notes = answer.get(key)
    if not isinstance(notes, list):
        return ()
    return tuple(plain_text(str(note)) for note in notes[:_NOTES_LIMIT])
