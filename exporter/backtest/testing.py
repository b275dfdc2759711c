"""From a walk to what is reported of it: alerts, episodes, storms, incidents met, a sensitivity for the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.backtest.alerting import Alerts, alerts_of
from exporter.backtest.budget import Budget, Proposal, propose
from exporter.backtest.episodes import Episode, Storm, groups_of, storms, worst_first
from exporter.backtest.incidents import Incident, Met, meet
from exporter.backtest.slow import Slow, slow_alerts
from exporter.backtest.span import Grid, shown_time
from exporter.backtest.walking import Walk
from exporter.config.durations import format_duration

MOST_EPISODES = 10_000
MOST_STORMS = 1_000
_LATE_S = 600


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted of each query beside its alerts."""

    incidents: tuple[Incident, ...] | None = None
    budget: Budget | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tested:
    """One query of one tenant, backtested. `episodes` are the worst MOST_EPISODES, `storms` the first MOST_STORMS,
    `slow` the alerts of its slow signals."""

    walk: Walk
    alerts: Alerts
    episodes: tuple[Episode, ...]
    storms: tuple[Storm, ...]
    slow: tuple[Slow, ...]
    met: Met | None
    proposal: Proposal | None
    remarks: tuple[str, ...]

    @property
    def per_week(self) -> float:
        """Single alerts a week."""
        return len(self.alerts.single) / self.walk.grid.weeks

    @property
    def per_series_week(self) -> float | None:
        """Single alerts per series and week; None where nothing was judged."""
        weeks = self.walk.series_weeks
        return len(self.alerts.single) / weeks if weeks else None

    @property
    def pages_per_week(self) -> float:
        """Storms, and single alerts outside them, a week."""
        return self.alerts.pages / self.walk.grid.weeks


@dataclass(frozen=True, slots=True)
class Failed:
    """One query of one tenant that could not be backtested, and why."""

    key: str
    error: str


def tested(walk: Walk, asked: Asked) -> Tested:
    """The alerts of a walk, compared with what is asked."""
    groups, group_labels = groups_of(walk)
    alerts = alerts_of(walk.query, walk.grid, walk.points, walk.present, groups)
    return Tested(
        walk,
        alerts,
        tuple(worst_first(walk, alerts, MOST_EPISODES)),
        tuple(storms(walk, alerts, group_labels)[:MOST_STORMS]),
        slow_alerts(walk),
        meet(walk, alerts, groups, asked.incidents) if asked.incidents is not None else None,
        propose(walk, groups, asked.budget) if asked.budget is not None else None,
        (*asked.remarks, *_remarks(walk)),
    )


def _remarks(walk: Walk) -> Iterator[str]:
    """What a reader of the numbers should know."""
    query, grid, seen = walk.query, walk.grid, walk.seen
    if seen.oldest_ms is None or seen.newest_ms is None:
        yield "no samples at all: is the expr right, and did these series exist then?"
        return
    yield from _missing(grid, query.window_s, seen.oldest_ms / 1000, seen.newest_ms / 1000)
    silent = int((walk.judged == 0).sum())
    if silent:
        yield f"{silent:,} of {len(walk.judged):,} series had no verdict: too young, too sparse, or only before --from"
    if seen.not_finite:
        yield f"{seen.not_finite:,} samples are NaN or infinite: they are gaps"
    if seen.partial:
        yield "the server says that its answers are partial: data is missing"
    yield from (f"the server says: {words}" for words in seen.words)
    if query.interval_s < grid.step_s:
        step, interval = (format_duration(each * 1000) for each in (query.step_s, query.interval_s))
        yield (
            f"--coarse: each step of {step} is judged once, by its last sample; live a verdict follows every "
            f"{interval}, and what happens between may alert, too"
        )
    if not query.alert.enabled:
        yield "alert.enabled is false: no rule is written for it; these are the alerts that it would send"
    if not walk.kept.whole:
        yield "too many verdicts to keep them for charts: take fewer queries or a shorter span"


def _missing(grid: Grid, window_s: int, oldest_s: float, newest_s: float) -> Iterator[str]:
    """What lies outside of the samples."""
    start_s, end_s = grid.first * grid.step_s, grid.last * grid.step_s
    late_s = max(_LATE_S, 2 * grid.step_s)
    if oldest_s > start_s + late_s:
        yield (
            f"the oldest sample is of {shown_time(oldest_s)}, {_days(oldest_s - start_s)} after --from: the server "
            "keeps no more, or the series are younger; nothing was judged before, the first days after are warming up"
        )
    elif oldest_s > start_s - window_s + late_s:
        yield (
            f"of the window of {_days(window_s)} before --from only {_days(max(0.0, start_s - oldest_s))} are there: "
            "the first days are warming up, with fewer alerts or other ones than with a whole window"
        )
    if newest_s < end_s - late_s:
        yield f"the newest sample is of {shown_time(newest_s)}, {_days(end_s - newest_s)} before --to"


def _days(duration_s: float) -> str:
    """A length of time, roughly."""
    return format_duration(round(duration_s / 60) * 60_000)


def sensitivities(found: Sequence[Tested]) -> dict[str, float]:
    """The sensitivities to be set, by query; of several tenants the least sensitive one holds for the query."""
    wanted: dict[str, float] = {}
    for one in found:
        proposal = one.proposal
        if proposal is not None and proposal.changes and proposal.sensitivity is not None:
            name = one.walk.query.name
            wanted[name] = max(wanted.get(name, 0.0), proposal.sensitivity)
    return wanted


def totals(found: Sequence[Tested]) -> Mapping[str, float]:
    """Sums over all queries."""
    return {
        "series": sum(len(one.walk.labels) for one in found),
        "samples": sum(int(one.walk.judged.sum()) for one in found),
        "alerts": sum(len(one.alerts.single) for one in found),
        "storms": sum(len(one.alerts.storms.firings) for one in found),
        "pages": sum(one.alerts.pages for one in found),
        "slow_alerts": sum(each.alerts for one in found for each in one.slow),
    }
