"""The recording rules: how much is anomalous, per tenant, query and model and by labels, and what the exporter sees."""

from __future__ import annotations

from collections.abc import Iterator

from exporter import names
from exporter.config import CONSENSUS, Config
from exporter.config.per_tenant import rule_queries
from exporter.names import FAMILIES, LABEL_MODEL, LABEL_TENANT, SCORE, recorded
from exporter.rules.expressions import UNIT, Look, by
from exporter.rules.rule import Group, RecordingRule
from exporter.rules.scope import EVERYTHING, Scope

_LOOKBACK = "15m"  # that of the names; an alert may look back further
_SCORE = FAMILIES[SCORE].name
_CONSENSUS = Look(CONSENSUS, 900)
_ONSETS_PER_DAY = 288  # times that the five minutes of onset_count5m fit into a day


def recording_groups(config: Config | None) -> tuple[Group, ...]:
    """The groups of recording rules; one more per `group_by` of the config."""
    groups = [Group("anomaly-recording", _NOTE, (*_shares(), *_of_tenants(), *_of_exporter()))]
    for labels, scope in _groupings(config):
        note = f"The same by {', '.join(labels)}, for the queries that group by it."
        groups.append(Group(f"anomaly-recording-{'-'.join(labels)}", note, tuple(_shares(labels, scope))))
    groups.append(Group("anomaly-consensus", _CONSENSUS_NOTE, tuple(_consensus(config))))
    return tuple(groups)


_NOTE = """\
"Anomalous" is looked up over 15 minutes, because the score marks the onset of an anomaly, not its whole length.
Shares and counts are built with `> bool`: a group in which nothing is anomalous is 0 and not missing, and a series
whose value is exactly 0 counts like any other. Counts of the exporter itself use `max`: two replicas report the same
series, not twice as many. An episode begins when a series is anomalous that was not for 15 minutes; those that begin
within 5 minutes, averaged over the day, make the episodes of a day."""

_CONSENSUS_NOTE = """\
What all models of a query (two or more) call anomalous: the series with the lowest of their scores, and the share.
Nothing else needs this group; leave it out where nobody looks at it."""


def _groupings(config: Config | None) -> list[tuple[tuple[str, ...], Scope]]:
    """The label sets by which queries of the config group, and the queries."""
    named: dict[tuple[str, ...], list[str]] = {}
    for query in rule_queries(config) if config else ():
        if query.alert.group_by:
            named.setdefault(query.alert.group_by, []).append(query.name)
    return [(labels, Scope(tuple(sorted(queries)), others=False)) for labels, queries in named.items()]


def _shares(labels: tuple[str, ...] = (), scope: Scope = EVERYTHING) -> Iterator[RecordingRule]:
    level = (*UNIT, LABEL_MODEL, *labels)
    score, group = _SCORE + scope.selector(), by(*level)
    seen = f"max_over_time({score}[{_LOOKBACK}])"
    onsets = recorded(level, names.ONSET_COUNT)
    for operations, expr in (
        (names.WORST, f"max {group} ({score})"),
        (names.JUDGED_COUNT, f"count {group} ({seen})"),
        (names.ANOMALOUS_COUNT, f"sum {group} ({seen} > bool 1)"),
        (names.ANOMALOUS_SHARE, f"{recorded(level, names.ANOMALOUS_COUNT)}\n/\n{recorded(level, names.JUDGED_COUNT)}"),
        # Both windows begin at the same moment, so the first holds every anomaly that the second does.
        (names.ONSET_COUNT, f"sum {group} (max_over_time({score}[20m]) > bool 1)\n-\n"
                            f"sum {group} (max_over_time({score}[{_LOOKBACK}] offset 5m) > bool 1)"),
        (names.EPISODES_PER_DAY, f"avg_over_time({onsets}[1d]) * {_ONSETS_PER_DAY}"),
    ):  # fmt: skip
        yield RecordingRule(recorded(level, operations), expr)


def _of_tenants() -> Iterator[RecordingRule]:
    """The share over all queries of a tenant, from what is recorded per query."""
    level, unit = (LABEL_TENANT, LABEL_MODEL), (*UNIT, LABEL_MODEL)
    anomalous, judged = (recorded(unit, each) for each in (names.ANOMALOUS_COUNT, names.JUDGED_COUNT))
    yield RecordingRule(
        recorded(level, names.ANOMALOUS_SHARE), f"sum {by(*level)} ({anomalous})\n/\nsum {by(*level)} ({judged})"
    )


def _of_exporter() -> Iterator[RecordingRule]:
    unit = by(*UNIT)
    yield RecordingRule(names.RECORDED_ABSENT, f"count {unit} ({FAMILIES[names.ABSENT].name})")
    yield RecordingRule(names.RECORDED_STATES, f"max {by(*UNIT, 'state')} ({names.SELF_SERIES})")
    # The freshest replica counts: as long as one of them judges, the query is watched. 0: never judged, no age.
    yield RecordingRule(names.RECORDED_VERDICT_AGE, f"time() - max {unit} ({names.SELF_VERDICT_TIME} > 0)")


def _consensus(config: Config | None) -> Iterator[RecordingRule]:
    yield RecordingRule(names.RECORDED_CONSENSUS, _CONSENSUS.detected(""))
    for labels, scope in ((), EVERYTHING), *_groupings(config):
        level = (*UNIT, *labels)
        expr = f"avg {by(*level)} ({_CONSENSUS.anomalous(scope.selector())})"
        yield RecordingRule(recorded(level, names.CONSENSUS_SHARE), expr)
