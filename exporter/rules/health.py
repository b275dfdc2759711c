"""The alerts about the exporter itself: what can't be seen because of it, or because of its source."""

from __future__ import annotations

from collections.abc import Iterator

from exporter import names
from exporter.config import Config, Links
from exporter.rules.annotations import Annotations
from exporter.rules.expressions import UNIT, by, indented
from exporter.rules.rule import AlertRule, Group

MIN_UNWATCHABLE_SHARE = 0.25
_UNWATCHABLE = "sparse|failed"
_FOR_S = 300
_UNWATCHABLE_FOR_S = 3600
_LEAST_AGE_S = 900
_SLACK_S = 300
_CRITICAL, _WARNING = "critical", "warning"

_NOTE = """\
About the exporter itself. Verdicts are stale after a quarter of an hour, or after two intervals of their query and a
little more. A series is unwatchable when it has too few samples (sparse), no model
gives a verdict (failed) or a limit keeps it out (shed). Warming series are new and not counted; nor are absent ones,
which have an alert of their own."""


def health_group(config: Config | None) -> Group:
    """The alerts about the exporter; the config has the links for their texts."""
    words = Annotations(config.links if config else Links())
    rules = (_down(words), _verdicts(words), _source(words), _unwatchable(words))
    return Group("anomaly-exporter", _NOTE, rules)


def _down(words: Annotations) -> AlertRule:
    up = f'up{{job="{names.JOB}"}}'
    annotations = words.of_exporter(names.ALERT_DOWN, "down", "up")
    return AlertRule(names.ALERT_DOWN, f"{up} == 0 or absent({up})", _CRITICAL, annotations, _FOR_S)


def _verdicts(words: Annotations) -> AlertRule:
    newest = f"max {by(*UNIT)} ({names.SELF_VERDICT_TIME})"  # 0 stands for "nothing judged yet"
    expr = f"time() - {newest}\n>\n{_oldest(f'max {by(*UNIT)} ({names.SELF_QUERY_INTERVAL})')}"
    of_query = _oldest(f"max({names.SELF_QUERY_INTERVAL}{{query=%q,tenant=%q}})")
    annotations = words.of_exporter(names.ALERT_VERDICTS, "verdicts", "query", limit=of_query)
    return AlertRule(names.ALERT_VERDICTS, expr, _WARNING, annotations, _FOR_S)


def _oldest(interval: str) -> str:
    """How old the newest judged sample may be: a quarter of an hour, or two intervals and a little."""
    return f"clamp_min(2 * {interval} + {_SLACK_S}, {_LEAST_AGE_S})"


def _source(words: Annotations) -> AlertRule:
    # `increase` extrapolates a little, hence 2.5 for "at least three errors".
    errors = f"sum {by('job', 'instance', *UNIT, 'reason')} (increase({names.SELF_SOURCE_ERRORS}[30m])) > 2.5"
    down = f"{names.SELF_SOURCE_UP} == 0"
    failing = f"{errors}\nunless on (job, instance, tenant)\n{down}"
    expr = f"{down}\nor\n{indented(failing)}"
    annotations = words.of_exporter(names.ALERT_SOURCE, "source", "instance")
    return AlertRule(names.ALERT_SOURCE, expr, _WARNING, annotations, _FOR_S)


def _unwatchable(words: Annotations) -> AlertRule:
    counted, missed = ("\n".join(_count(states)) for states in ('state!="absent"', f'state=~"{_UNWATCHABLE}"'))
    expr = f"(\n{indented(missed)}\n)\n/\n(\n{indented(counted)}\n)\n>= {MIN_UNWATCHABLE_SHARE:g}"
    annotations = words.of_exporter(names.ALERT_UNWATCHABLE, "unwatchable", "query")
    return AlertRule(names.ALERT_UNWATCHABLE, expr, _WARNING, annotations, _UNWATCHABLE_FOR_S)


def _count(states: str) -> Iterator[str]:
    """Series in these states and those that are shed; replicas see the same series, so the larger count holds."""
    unit = by(*UNIT)
    yield f"sum {unit} (max {by(*UNIT, 'state')} ({names.SELF_SERIES}{{{states}}}))"
    yield f"+\nmax {unit} ({names.SELF_SERIES_SHED})"
