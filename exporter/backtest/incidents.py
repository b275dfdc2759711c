"""What really happened: incidents from a CSV, from the history of `ALERTS`, and which of them the alerts have met.

An incident is hit when an alert of its series fires at any moment of it, edges included; a single alert or a storm that
meets no incident is false. The delay of a hit is from the incident's start to the alert's, 0 where that is earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.backtest.alerting import Alerts, Firings
from exporter.backtest.walking import Walk
from exporter.publish.label_text import exported_labels

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ALERTS_OWN = frozenset(("__name__", "alertname", "alertstate", "severity"))
_SPLIT = 2.5  # usual spacings without a sample end a firing
_LEAST_SPLIT_S = 300.0  # as long as Prometheus itself looks back
_USUAL_S = 60.0


@dataclass(frozen=True, slots=True)
class Incident:
    """From start to end (unix seconds), of a query, a tenant and series with these labels; empty means any.

    `loose`: of the labels only those count that the series of a query have at all; they come from an alert, which may
    have more. `where` is its place in its file.
    """

    start_s: float
    end_s: float
    query: str = ""
    tenant: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    loose: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class Met:
    """How the alerts of one query did: the incidents that are about it, which of them were hit, after how many
    seconds (NaN for a miss), and which single alerts and storms met none."""

    incidents: tuple[Incident, ...]
    hit: Mask
    delay_s: F64
    false_single: Mask
    false_storms: Mask

    @property
    def hits(self) -> int:
        """Incidents hit."""
        return int(self.hit.sum())

    @property
    def misses(self) -> int:
        """Incidents that no alert met."""
        return len(self.incidents) - self.hits

    @property
    def false_alerts(self) -> int:
        """Single alerts and storms that met no incident."""
        return int(self.false_single.sum() + self.false_storms.sum())

    def median_delay_s(self) -> float | None:
        """Of the hits; None without one."""
        return float(np.median(self.delay_s[self.hit])) if self.hits else None

    def worst_delay_s(self) -> float | None:
        """Of the hits; None without one."""
        return float(self.delay_s[self.hit].max()) if self.hits else None


def meet(walk: Walk, alerts: Alerts, groups: npt.NDArray[np.int64], incidents: Sequence[Incident]) -> Met:
    """Compare the alerts of a query with the incidents that are about it and lie in the span, if only in part.

    Cost: incidents times alerts.
    """
    about = tuple(one for one in incidents if _is_about(walk, one))
    matcher = _Matcher(walk)
    hit, delay_s = np.zeros(len(about), np.bool_), np.full(len(about), np.nan)
    met, met_storms = np.zeros(len(alerts.single), np.bool_), np.zeros(len(alerts.storms.firings), np.bool_)
    for number, incident in enumerate(about):  # some thousand at most
        rows = matcher.rows(incident)
        of_group = np.zeros(int(groups.max(initial=-1)) + 1, np.bool_)
        of_group[groups[rows]] = True
        own = _overlapping(walk, alerts.single, incident) & rows[alerts.single.row]
        storm = _overlapping(walk, alerts.storms.firings, incident) & of_group[alerts.storms.firings.row]
        met, met_storms = met | own, met_storms | storm
        begun = np.concatenate([alerts.single.start[own], alerts.storms.firings.start[storm]])
        if len(begun):
            hit[number] = True
            delay_s[number] = max(0.0, float(begun.min() * walk.grid.interval_s - incident.start_s))
    return Met(about, hit, delay_s, ~met, ~met_storms)


def _is_about(walk: Walk, incident: Incident) -> bool:
    grid = walk.grid
    within = incident.end_s >= grid.first * grid.step_s and incident.start_s <= grid.end * grid.interval_s
    return within and incident.query in ("", walk.query.name) and incident.tenant in ("", walk.tenant)


def _overlapping(walk: Walk, firings: Firings, incident: Incident) -> Mask:
    """Which firings (n,) hold an evaluation of an incident, or begin between two as it does."""
    interval_s = walk.grid.interval_s
    overlapping: Mask = (firings.start * interval_s <= incident.end_s) & (firings.end * interval_s > incident.start_s)
    return overlapping


class _Matcher:
    """Which series have the labels of an incident; looked up once for each set of labels."""

    def __init__(self, walk: Walk) -> None:
        added = {"query": walk.query.name} | ({"tenant": walk.tenant} if walk.tenant else {})
        self._labels = [{**dict(exported_labels(labels, added)), **labels} for labels in walk.labels]
        self._names = {name for labels in self._labels for name in labels}
        self._known: dict[tuple[tuple[tuple[str, str], ...], bool], Mask] = {}

    def rows(self, incident: Incident) -> Mask:
        """The series (rows,) that it is about."""
        key = incident.labels, incident.loose
        if key not in self._known:
            wanted = [pair for pair in incident.labels if not incident.loose or pair[0] in self._names]
            # A loop over series: once for each set of labels that incidents name.
            alike = [all(labels.get(name, "") == text for name, text in wanted) for labels in self._labels]
            self._known[key] = np.array(alike, np.bool_)
        return self._known[key]


def strangers(walks: Iterable[Walk], incidents: Sequence[Incident]) -> list[Incident]:
    """Incidents that are about no series of any query: a name may be misspelt."""
    matchers = [(walk, _Matcher(walk)) for walk in walks]
    return [
        one
        for one in incidents
        if not any(
            one.query in ("", walk.query.name) and one.tenant in ("", walk.tenant) and matcher.rows(one).any()
            for walk, matcher in matchers
        )
    ]


def of_alerts(labels: Mapping[str, str], times_s: F64, where: str) -> list[Incident]:
    """The incidents that a firing series of `ALERTS` tells of: its samples at times (n,), ascending."""
    named = {name: text for name, text in labels.items() if name not in ALERTS_OWN and text}
    query, tenant = named.pop("query", ""), named.pop("tenant", "")
    named.pop("model", None)
    spacing_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else _USUAL_S
    cut = np.flatnonzero(np.diff(times_s) > max(_SPLIT * spacing_s, _LEAST_SPLIT_S)) + 1
    return [
        Incident(float(part[0]), float(part[-1]), query, tenant, tuple(sorted(named.items())), True, where)
        for part in np.split(times_s, cut)
        if len(part)
    ]
