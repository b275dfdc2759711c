"""Alertmanager's inhibit rules: what a storm, or a failing source, makes no news of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from exporter import names
from exporter.config import Alert, Config
from exporter.config.per_tenant import rule_queries
from exporter.names import LABEL_QUERY, LABEL_TENANT
from exporter.rules.expressions import UNIT
from exporter.rules.scope import Scope, scopes


@dataclass(frozen=True, slots=True)
class Inhibition:
    """Alerts that match ``source`` mute those that match ``target`` and have the same values of the labels ``equal``
    (a missing one is equal to a missing one)."""

    note: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    equal: tuple[str, ...]


def inhibitions(config: Config | None) -> tuple[Inhibition, ...]:
    """All inhibit rules; one about storms for each way in which queries group."""
    return (*_storms(config), *_FAILING)


def _storms(config: Config | None) -> Iterator[Inhibition]:
    """A missing label equals a missing label only, so a storm by zone and one over all zones need a rule each."""
    usual = config.alert if config else Alert()
    queries = rule_queries(config) if config else ()
    for labels, scope in scopes(queries, lambda query: query.alert.group_by, usual.group_by):
        by_label = f" The same, by {', '.join(labels)}." if labels else ""
        yield Inhibition(
            "When many series of a query are anomalous at once, that one alert says it all." + by_label,
            (_named(names.ALERT_SHARE), *_of(scope)),
            (_named(names.ALERT_DETECTED), *_of(scope)),
            (*UNIT, *labels),
        )


def _named(alert: str) -> str:
    return f'alertname="{alert}"'


def _of(scope: Scope) -> tuple[str, ...]:
    matchers = scope.selector()
    return (matchers[1:-1],) if matchers else ()


# While nothing can be read, of the whole source or for one query, stale verdicts are no news.
_FAILING = (
    Inhibition(
        "While nothing can be read from the source of a tenant, stale verdicts are no news.",
        (_named(names.ALERT_SOURCE), f'{LABEL_QUERY}=""'),
        (_named(names.ALERT_VERDICTS),),
        (LABEL_TENANT,),
    ),
    Inhibition(
        "The same, for one query.",
        (_named(names.ALERT_SOURCE),),
        (_named(names.ALERT_VERDICTS),),
        UNIT,
    ),
)
