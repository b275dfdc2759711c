"""The alerts about series: about single ones, and the storm when many are anomalous at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from exporter import names
from exporter.config import Alert, Config, Links, Query
from exporter.config.per_tenant import rule_queries
from exporter.names import ABSENT, FAMILIES, SHIFT, STALE
from exporter.rules.annotations import Annotations
from exporter.rules.expressions import UNIT, Look, by, keeping_labels, one_sided
from exporter.rules.rule import AlertRule, Group, RecordingRule
from exporter.rules.scope import Scope, scopes

SLOW_LOOKBACK_S = 900  # keeps the alerts of slow signals from flapping where their score is close to 1
_ABSENT_FOR_S = 30
_WARNING = "warning"
_USUAL_INTERVAL_S = 60
_LEAST_EVALUATION_S = 5

S = TypeVar("S", "Single", "Storm")


@dataclass(frozen=True, slots=True)
class Single:
    """What a rule AnomalyDetected is made from."""

    look: Look
    for_s: int
    keep_firing_for_s: int
    severity: str


@dataclass(frozen=True, slots=True)
class Storm:
    """What a rule AnomalyShareHigh is made from."""

    look: Look
    min_share: float
    min_series: int
    keep_firing_for_s: int
    severity: str
    group_by: tuple[str, ...]


def series_groups(config: Config | None) -> tuple[Group, ...]:
    """The groups of alerts about series; without a config those for every query as it is by default."""
    queries = rule_queries(config) if config else ()
    usual = config.alert if config else Alert()
    words = Annotations(config.links if config else Links())
    singles = scopes(queries, lambda query: single_of(query.alert, _side(query)), single_of(usual, _usual_side(usual)))
    storms = scopes(queries, lambda query: storm_of(query.alert, _side(query)), storm_of(usual, _usual_side(usual)))
    made: list[tuple[Look, AlertRule]] = [(storm.look, _storm(storm, scope, queries, words)) for storm, scope in storms]
    share = [rule for look, rule in made if not look.side]
    single = [(single.look, _detected(single, scope, queries, words)) for single, scope in singles]
    plain = [rule for look, rule in single if not look.side]
    one_sided_rules = [rule for look, rule in made + single if look.side]
    groups = (
        Group("anomaly-one-sided", _ONE_SIDED_NOTE, (*_sides(queries, usual), *one_sided_rules), _often_s(queries)),
        Group("anomaly-series", _SERIES_NOTE, (*plain, *_slow_and_absent(queries, usual, words))),
        Group("anomaly-share", _SHARE_NOTE, tuple(share)),
    )
    return tuple(group for group in groups if group.rules)


_SERIES_NOTE = """\
The score marks the onset of an anomaly (a handful of samples), so the rules look back for it; a `for:` on the bare
score would lose short spikes. None of them selects on the size of a value: an outage to exactly 0 is kept.
A source series may carry a label that an alert overwrites (`severity`, `alertname`). It is kept as `series_severity`
or `series_alertname`; without that, two series that differ only there would make Prometheus drop the whole alert."""

_SHARE_NOTE = """\
In a group of its own: it must not wait for thousands of texts of the group above during the incident it reports.
It mutes the single alerts of its group by the inhibit rules of alertmanager-inhibit.yml, and looks back a minute
longer, so that it does not end before them."""

_ONE_SIDED_NOTE = """\
Queries whose bands have two sides and that alert on one of them. The score of that side is recorded first: it is 0 on
the other side. The alerts stand behind it and see the same evaluation, which is often enough to see every verdict."""


def single_of(alert: Alert, side: str) -> Single | None:
    """What makes the rule of single series; None where it is switched off."""
    if not alert.enabled:
        return None
    look = Look(alert.model, alert.lookback_s, side)
    return Single(look, alert.for_s, alert.keep_firing_for_s, alert.severity)


def storm_of(alert: Alert, side: str) -> Storm | None:
    """What makes the rule of storms; None where it is switched off."""
    if not alert.enabled:
        return None
    look = Look(alert.model, alert.storm_lookback_s, side)
    return Storm(look, alert.min_share, alert.min_series, alert.keep_firing_for_s, alert.share_severity, alert.group_by)


def _side(query: Query) -> str:
    """The side that the alert narrows its query to, empty where it takes what the query watches."""
    return "" if query.alert.direction in ("both", query.direction) else query.alert.direction


def _usual_side(usual: Alert) -> str:
    return "" if usual.direction == "both" else usual.direction


def _interval_s(queries: Iterable[Query], scope: Scope) -> int:
    """The shortest interval of the queries in a scope."""
    concerned = [query.interval_s for query in queries if (query.name in scope.queries) != scope.others]
    return min(concerned + [_USUAL_INTERVAL_S] * scope.others)


def _detected(single: Single, scope: Scope, queries: Iterable[Query], words: Annotations) -> AlertRule:
    selector = scope.selector(*single.look.matchers())
    return AlertRule(
        names.ALERT_DETECTED,
        keeping_labels(single.look.detected(selector)),
        single.severity,
        words.detected(single.look, _interval_s(queries, scope)),
        single.for_s,
        single.keep_firing_for_s,
        scope.label,
    )


def _storm(storm: Storm, scope: Scope, queries: Iterable[Query], words: Annotations) -> AlertRule:
    selector, group = scope.selector(*storm.look.matchers()), by(*UNIT, *storm.group_by)
    # Not `avg`: that adds up shares of ones and zeros, and five of fifty could be a rounding error less than a tenth.
    many = f"(sum {group} ({storm.look.anomalous(selector)}) >= {storm.min_series})"
    share = f"{many}\n/\ncount {group} ({storm.look.worst(selector)})"
    return AlertRule(
        names.ALERT_SHARE,
        f"{share}\n>= {storm.min_share:g}",
        storm.severity,
        words.storm(storm.look, storm.group_by, _interval_s(queries, scope)),
        keep_firing_for_s=storm.keep_firing_for_s,
        query=scope.label,
    )


def _sides(queries: Iterable[Query], usual: Alert) -> Iterator[RecordingRule]:
    """The recorded scores of one side."""
    usual_side = _usual_side(usual) if usual.enabled else None
    for side, scope in scopes(queries, lambda query: _side(query) if query.alert.enabled else None, usual_side):
        if side:
            yield RecordingRule(names.directed(side), one_sided(side, scope.selector()))


def _often_s(queries: Iterable[Query]) -> int:
    """How often the scores of one side must be recorded so that no verdict is missed."""
    fastest_s = min([query.interval_s for query in queries if _side(query)], default=_USUAL_INTERVAL_S)
    return max(_LEAST_EVALUATION_S, min(_USUAL_INTERVAL_S, fastest_s // 2))


def _slow_and_absent(queries: Iterable[Query], usual: Alert, words: Annotations) -> Iterator[AlertRule]:
    """The other alerts about single series. They exist only for queries that ask for them (`signals`), or for series
    that have gone missing, and are the same for every query that is not switched off."""
    for _, scope in scopes(queries, lambda query: query.alert.enabled or None, usual.enabled or None):
        selector = scope.selector()
        shift, stale, absent = (FAMILIES[key].name + selector for key in (SHIFT, STALE, ABSENT))
        looked_back = Look("", SLOW_LOOKBACK_S).range
        # Warn, do not page: nothing has broken yet.
        yield AlertRule(
            names.ALERT_SHIFT, keeping_labels(f"max_over_time({shift}[{looked_back}]) > 1"), _WARNING,
            words.slow(names.ALERT_SHIFT, "shift", SLOW_LOOKBACK_S), query=scope.label,
        )  # fmt: skip
        yield AlertRule(
            names.ALERT_STALE, keeping_labels(f"{stale} > 1"), _WARNING,
            words.slow(names.ALERT_STALE, "stale", SLOW_LOOKBACK_S), query=scope.label,
        )  # fmt: skip
        # The metric exists only for a judged series that has gone missing, so any sample of it counts, 0 seconds too.
        yield AlertRule(
            names.ALERT_ABSENT, keeping_labels(absent), _WARNING, words.absent(), _ABSENT_FOR_S, query=scope.label
        )
