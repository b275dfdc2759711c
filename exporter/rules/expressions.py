"""The PromQL of the rules about scores."""

from __future__ import annotations

from dataclasses import dataclass

from exporter import names
from exporter.config import CONSENSUS
from exporter.config.durations import format_duration
from exporter.names import EXPECTED, FAMILIES, LABEL_MODEL, LABEL_QUERY, LABEL_TENANT, SCORE, VALUE

UNIT = (LABEL_TENANT, LABEL_QUERY)
_SIGNS = {"above": ">", "below": "<"}
# What an alert overwrites is kept under another name. Without that, two series that differ only there would be the
# same alert, for which Prometheus drops them all.
_OVERWRITTEN = ("severity", "alertname")


@dataclass(frozen=True, slots=True)
class Look:
    """How scores are looked at: of a model or all of them (``consensus``), over which time, on which side of the band
    (empty: on the sides that the query watches)."""

    model: str
    lookback_s: int
    side: str = ""

    @property
    def score(self) -> str:
        """The name of the score: as published, or as recorded for one side."""
        return names.directed(self.side) if self.side else FAMILIES[SCORE].name

    @property
    def range(self) -> str:
        """The look-back as PromQL writes it."""
        return duration(self.lookback_s)

    def matchers(self) -> tuple[str, ...]:
        """The matcher of the model, where it is one."""
        return () if self.model == CONSENSUS else (f'{LABEL_MODEL}="{self.model}"',)

    def worst(self, selector: str) -> str:
        """The worst score of each series within the look-back; of a consensus, that of its most lenient model."""
        newest = f"max_over_time({self.score}{selector}[{self.range}])"
        return newest if self.model != CONSENSUS else f"min without ({LABEL_MODEL}) ({newest})"

    def anomalous(self, selector: str) -> str:
        """1 for each series that is anomalous, 0 for the others."""
        if self.model != CONSENSUS:
            return f"{self.worst(selector)} > bool 1"
        count = f"count without ({LABEL_MODEL}) (max_over_time({self.score}{selector}[{self.range}]))"
        return f"({self.worst(selector)} > bool 1) * ({count} > bool 1)"

    def moment(self, selector: str) -> str:
        """The series that are outside at one moment. What is recorded for a side lags behind the values, so it is told
        from the values themselves."""
        score, value, expected = (FAMILIES[key].name + selector for key in (SCORE, VALUE, EXPECTED))
        return f"{score} > 1" + (f" and {value} {_SIGNS[self.side]} {expected}" if self.side else "")

    def detected(self, selector: str) -> str:
        """The anomalous series with their worst score."""
        if self.model != CONSENSUS:
            return f"{self.worst(selector)} > 1"
        count = f"count without ({LABEL_MODEL}) (max_over_time({self.score}{selector}[{self.range}]))"
        return f"{self.worst(selector)} > 1\nand\n{count} > 1"


def duration(duration_s: int) -> str:
    """Seconds as PromQL and rule files write a duration."""
    return format_duration(duration_s * 1000)


def in_words(duration_s: int) -> str:
    """Seconds as one says them: ``15 minutes``."""
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if duration_s % size == 0 and duration_s >= size:
            count = duration_s // size
            return f"{count} {word}s" if count > 1 else word
    return f"{duration_s} seconds"


def by(*labels: str) -> str:
    """``by (tenant, query)`` with these labels."""
    return f"by ({', '.join(labels)})"


def indented(expr: str, by_spaces: int = 2) -> str:
    """An expression further to the right."""
    return "\n".join((" " * by_spaces + line).rstrip() for line in expr.splitlines())


def keeping_labels(expr: str) -> str:
    """Series of the source with the labels that an alert overwrites kept as ``series_<name>``."""
    for label in _OVERWRITTEN:
        expr = f'label_replace(\n{indented(expr)},\n  "series_{label}", "$1", "{label}", "(?s)(.+)"\n)'
    return expr


def one_sided(side: str, selector: str) -> str:
    """The score where the value lies on one side of the expected one, 0 elsewhere and where no value is published."""
    score, value, expected = (FAMILIES[key].name + selector for key in (SCORE, VALUE, EXPECTED))
    return f"{score} * ({value} {_SIGNS[side]} bool {expected})\nor\n{score} * 0"
