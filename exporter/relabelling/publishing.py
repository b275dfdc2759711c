"""From the labels of a source series to those that are published of it, or to the reason why it is not watched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.names import (
    LABEL_LIMIT,
    LABEL_NAME_LENGTH_LIMIT,
    LABEL_VALUE_LENGTH_LIMIT,
    RELABELLED_AWAY,
)
from exporter.relabelling.engine import Relabeller
from exporter.relabelling.rule import Rule

METRIC_NAME = "__name__"


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """What the published labels of one series may be: how many, and bytes of a name and of a value. 0 is no limit."""

    labels: int = 0
    name_bytes: int = 0
    value_bytes: int = 0

    @property
    def harmless_bytes(self) -> int:
        """A text that holds all labels and is no longer than this has no name and no value that is too long."""
        return min([limit for limit in (self.name_bytes, self.value_bytes) if limit], default=1 << 62)

    def broken(self, labels: Mapping[str, str]) -> str:
        """The limit that labels break, as its key is called; empty when they are within all of them."""
        if self.labels and len(labels) > self.labels:
            return LABEL_LIMIT
        if self.name_bytes and any(_longer(name, self.name_bytes) for name in labels):
            return LABEL_NAME_LENGTH_LIMIT
        if self.value_bytes and any(_longer(value, self.value_bytes) for value in labels.values()):
            return LABEL_VALUE_LENGTH_LIMIT
        return ""


def _longer(text: str, most_bytes: int) -> bool:
    if len(text) * 4 <= most_bytes:
        return False
    return len(text) > most_bytes or len(text.encode("utf-8", "replace")) > most_bytes


class Relabelling:
    """What is published of a series: rules, then labels that are dropped, then limits. Safe between threads."""

    def __init__(self, rules: Iterable[Rule] = (), drop: Iterable[str] = (), limits: LabelLimits | None = None) -> None:
        """Raises PatternError for a rule with a regex that RE2 does not take."""
        self._rules = tuple(rules)
        self._relabeller = Relabeller(self._rules)
        self._drop = frozenset(drop)
        self._limits = limits or LabelLimits()
        self.changes = bool(self._rules or self._drop)
        self._harmless_bytes = 0 if self.changes else self._limits.harmless_bytes

    def publish(self, labels: dict[str, str], text_bytes: int = 1 << 62) -> dict[str, str] | str:
        """The labels to publish of a series, without its name, or why it is not watched (a name of `names.REFUSALS`).

        Rules see the name of the series as `__name__`; what they do to it does not matter. `text_bytes`: how long the
        text was that these labels were read from, where that is known: a short one has no long labels.
        """
        if self.changes:
            made = self._relabeller.apply(labels) if self._rules else labels
            if made is None:
                return RELABELLED_AWAY
            labels = {name: value for name, value in made.items() if name not in self._drop and name != METRIC_NAME}
        elif METRIC_NAME in labels:
            labels = {name: value for name, value in labels.items() if name != METRIC_NAME}
        if text_bytes > self._harmless_bytes or len(labels) > (self._limits.labels or text_bytes):
            return self._limits.broken(labels) or labels
        return labels

    def untouched(self, labels: Mapping[str, str]) -> dict[str, str] | None:
        """Those of published labels that the source series must have as they are, too; None where nothing is certain.

        A label that a rule may have set need not be one of the source.
        """
        written = [rule.written() for rule in self._rules]
        if None in written:
            return None
        return {name: value for name, value in labels.items() if name not in written}
