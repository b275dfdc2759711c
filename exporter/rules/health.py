"""The alerts about the exporter itself: what can't be seen because of it, or because of its source."""

from __future__ import annotations

from collections.abc import Iterator

from exporter import names
from exporter.config import Config, Links
from exporter.rules.annotations import Annotations
from exporter.rules.expressions import UNIT, by, in_words, indented
from exporter.rules.rule import AlertRule, Group
from exporter.rules.scope import Scope, scopes

MIN_UNWATCHABLE_SHARE = 0.25
_UNWATCHABLE = "sparse|failed"
_FOR_S = 300
_UNWATCHABLE_FOR_S = 3600
_LEAST_AGE_S = 900
_SLACK_S = 300
_CRITICAL, _WARNING = "critical", "warning"

_NOTE = """\
About the exporter itself. Queries that are judged every 6 minutes or less often need the rules that are written from
the config: 900 seconds are too few for them. A series is unwatchable when it has too few samples (sparse), no model
gives a verdict (failed) or a limit keeps it out (shed). Warming series are new and not counted; nor are absent ones,
which have an alert of their own."""


def health_group(config: Config | None) -> Group:
    """The alerts about the exporter; with a config, how old verdicts may be follows from the interval of the query."""
    words = Annotations(config.links if config else Links())
    ages = scopes(config.queries if config else (), lambda query: age_limit_s(query.interval_s), _LEAST_AGE_S)
    rules = (_down(words), *(_verdicts(*each, words) for each in ages), _source(words), _unwatchable(words))
    return Group("anomaly-exporter", _NOTE, rules)


def age_limit_s(interval_s: int) -> int:
    """How old the newest judged sample may be: a quarter of an hour, or two intervals and a little."""
    return max(_LEAST_AGE_S, 2 * interval_s + _SLACK_S)


def _down(words: Annotations) -> AlertRule:
    up = f'up{{job="{names.JOB}"}}'
    annotations = words.of_exporter(names.ALERT_DOWN, "down", "up")
    return AlertRule(names.ALERT_DOWN, f"{up} == 0 or absent({up})", _CRITICAL, annotations, _FOR_S)


def _verdicts(limit_s: int, scope: Scope, words: Annotations) -> AlertRule:
    newest = f"max {by(*UNIT)} ({names.SELF_VERDICT_TIME}{scope.selector()})"
    annotations = words.of_exporter(names.ALERT_VERDICTS, "verdicts", "query", limit_words=in_words(limit_s))
    # 0 stands for "nothing judged yet".
    return AlertRule(
        names.ALERT_VERDICTS, f"time() - {newest} > {limit_s}", _WARNING, annotations, _FOR_S, query=scope.label
    )


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
