"""The explanation for a terminal: 80 columns, colour only where somebody looks."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from exporter.explain import words
from exporter.explain.explainer import Explanation
from exporter.explain.question import ExplainError
from exporter.explain.recording import without_name
from exporter.explain.timeline import DAY_S, Timeline
from exporter.publish.explain_link import selector_text
from exporter.publish.style import visible

_WIDTH = 80
_NAMES = 14  # columns for the names of rows
_BARS = "▁▂▃▄▅▆▇█"
_LONGEST_LABELS = 1200
_BAR = 20
_RED, _GREEN, _BOLD, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"


def explanation_text(told: Explanation, *, colour: bool = False) -> str:
    """Some screens of text, lines of at most 80 columns."""
    return "\n".join(_lines(told, colour=colour)) + "\n"


def error_text(error: ExplainError) -> str:
    """What is wrong, and the series that may have been meant."""
    candidates = (f"  {_shown(selector_text(without_name(labels)))}" for labels in error.candidates)
    return "\n".join([f"anomaly-exporter: {visible(str(error))}", *candidates])


def width() -> int:
    """Columns of the terminal, 80 at most."""
    return min(_WIDTH, max(40, shutil.get_terminal_size((_WIDTH, 24)).columns))


def _lines(told: Explanation, *, colour: bool) -> Iterator[str]:
    yield _painted(words.headline(told), told, colour=colour)
    owner = f"{told.tenant} / " if told.tenant else ""
    series = f"{told.query.name} {selector_text(without_name(told.labels))}"
    yield from _wrapped(_shown(f"{owner}{series}"))
    yield from _wrapped(f"{words.judged(told)}; {_others(told)}")
    yield ""
    for sentence in words.sentences(told):
        yield from _wrapped(sentence)
    for remark in told.remarks:
        yield from _wrapped(f"({visible(remark)})")
    yield from _sparks(told)
    yield from _table("What makes up the score", _share_rows(told))
    if not math.isnan(told.verdict.score):
        rows = [*words.basis(told), *(("policy", line) for line in words.policy(told))]
        yield from _table("What it rests on", rows)
    comparison = (("replay", words.agreement(told)), ("config", words.hashes(told)), ("read as", told.expr))
    yield from _table("Is this what was published?", [(name, visible(text)) for name, text in comparison])


def _painted(text: str, told: Explanation, *, colour: bool) -> str:
    if not colour:
        return text
    tint = _RED if told.verdict.score > 1 else _GREEN if told.verdict.score <= 1 else ""
    return f"{_BOLD}{tint}{text}{_PLAIN}"


def _shown(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _LONGEST_LABELS else f"{text[: _LONGEST_LABELS - 1]}…"


def _others(told: Explanation) -> str:
    scores = {name: numbers.score for name, numbers in told.numbers.items() if name != told.model} | dict(told.signals)
    shown = [f"{name} {score:.3g}" for name, score in scores.items() if not math.isnan(score)]
    return f"state {told.state or 'none'}" + (f"; beside it: {', '.join(shown)}" if shown else "")


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_on_hyphens=False) or [""]


def _table(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield ""
        yield title
    for name, text in rows:
        yield from textwrap.wrap(
            text, _WIDTH, initial_indent=f"  {name:{_NAMES}}", subsequent_indent=" " * (_NAMES + 2),
            break_on_hyphens=False,
        )  # fmt: skip


def _share_rows(told: Explanation) -> list[tuple[str, str]]:
    parts = words.shares(told)
    most = max((abs(share) for _, _, share in parts), default=1.0)
    rows = [(name, f"{share:+8.3g}  {'█' * max(1, round(_BAR * abs(share) / most)):{_BAR}}  {meaning}")
            for name, meaning, share in parts]  # fmt: skip
    return [*rows, ("score", f"{told.of_model.score:8.3g}")] if rows else []


# --- small pictures ---------------------------------------------------------------------------------------------------


def _sparks(told: Explanation) -> Iterator[str]:
    """The value and the score over window and last day, a line of blocks each."""
    for name, part in (("window", told.timeline), ("last day", _last_day(told.timeline))):
        if np.isfinite(part.value).any():
            yield ""
            yield f"  {name:{_NAMES}}{_spark(part.value)}"
            yield f"  {'score':{_NAMES}}{_spark(part.score, low=0.0, least=1.6)}"


def _last_day(timeline: Timeline) -> Timeline:
    return timeline.since(float(timeline.times_s[-1]) - DAY_S) if len(timeline.times_s) else timeline


def _spark(values: np.typing.NDArray[np.float64], low: float | None = None, least: float = 0.0) -> str:
    """The largest of each of some parts as a block; a part without any is blank."""
    parts = np.array_split(values, min(len(values), _WIDTH - _NAMES - 2))
    tops = [float(np.nanmax(part)) if np.isfinite(part).any() else math.nan for part in parts]
    known = [top for top in tops if math.isfinite(top)]
    if not known:
        return ""
    bottom = min(known) if low is None else low
    span = max(max(known) - bottom, least)
    return "".join(" " if math.isnan(top) else _BARS[_level(top - bottom, span)] for top in tops)


def _level(height: float, span: float) -> int:
    return min(len(_BARS) - 1, int(height / span * len(_BARS))) if span > 0 else 0
