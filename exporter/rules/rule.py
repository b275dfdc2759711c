"""What a rule file is made of: alert rules and recording rules, in groups that are evaluated one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AlertRule:
    """An alert rule. ``annotations`` are Go templates; ``keep_firing_for_s`` is not written where it is 0: it needs
    Prometheus 2.42.

    ``query`` is the label `query` of the alerts where the rule is about some queries only: what the series say anyway,
    but `promtool check rules` takes rules of the same name and labels for duplicates.
    """

    alert: str
    expr: str
    severity: str
    annotations: Mapping[str, str] = field(hash=False)
    for_s: int = 0
    keep_firing_for_s: int = 0
    query: str = ""


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A recording rule. Its name says level, metric and operations."""

    record: str
    expr: str


Rule = AlertRule | RecordingRule


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated in this order, every ``interval_s`` (0: as often as the server evaluates by default).

    ``note`` says in the file what they are for.
    """

    name: str
    note: str
    rules: tuple[Rule, ...]
    interval_s: int = 0
