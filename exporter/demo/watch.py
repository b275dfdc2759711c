"""What the servers say: rows judged, events seen, alerts firing; read as a user would read it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import requests

from exporter import names
from exporter.demo.signals import Floats
from exporter.demo.world import TARGET_LABELS, VANISH, Event, Row
from exporter.errors import DemoError

RESULTS = tuple(
    names.FAMILIES[key].name for key in (names.SCORE, names.EXPECTED, names.LOWER, names.UPPER, names.VALUE)
)
SCORE, EXPECTED, LOWER, UPPER, VALUE = RESULTS
ABSENT = names.FAMILIES[names.ABSENT].name
VERDICT_TIME = f"{names.SELF_PREFIX}_verdict_timestamp_seconds"
MODELS = ("robust_band", "shesd")
ALERTING_MODEL = MODELS[0]  # the shipped alert looks at this one
EXPORTER_JOB = "anomaly-exporter"
TIMEOUT_S = 30.0  # a laptop that starts all of this at once may be slow
MILLISECOND_S = 1e-3


@dataclass(frozen=True, slots=True)
class Track:
    """The stored samples of one series: labels (with ``__name__``), times in unix seconds and values, both (n,)."""

    labels: Mapping[str, str]
    times_s: Floats
    values: Floats


@dataclass(slots=True)
class Finding:
    """What became of one event. Times are seconds after it became visible in Prometheus; NaN: not (yet)."""

    event: Event
    row: Row
    visible_s: float = math.nan  # unix time of the first scrape that shows it
    seen_after_s: float = math.nan
    cycles: int = 0  # verdicts on samples that show the event, up to the one that saw it
    score: float = math.nan  # the highest
    value: float = math.nan
    expected: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    absent_s: float = math.nan
    alert: str = ""
    fired_after_s: float = math.nan

    @property
    def seen(self) -> bool:
        """Whether the exporter's result in Prometheus shows the event."""
        return not math.isnan(self.seen_after_s)


class Api:
    """Prometheus and Alertmanager, asked for JSON. Errors of the servers become DemoError with their words."""

    def __init__(self, session: requests.Session, prometheus_url: str, alertmanager_url: str) -> None:
        self.session = session
        self.prometheus_url = prometheus_url
        self.alertmanager_url = alertmanager_url

    def samples(self, expr: str) -> list[Track]:
        """Evaluate an expression now: a range selector gives its raw samples, any other one sample per series."""
        found = self._get(f"{self.prometheus_url}/api/v1/query", {"query": expr})["data"]["result"]
        return [_track(series) for series in found]

    def alerts(self) -> list[Mapping[str, str]]:
        """The label sets of the alerts that Alertmanager holds as active."""
        found = self._get(f"{self.alertmanager_url}/api/v2/alerts", {"active": "true"})
        return [alert["labels"] for alert in found]

    def _get(self, url: str, params: Mapping[str, str]) -> Any:
        try:
            answer = self.session.get(url, params=params, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise DemoError(f"{url} does not answer: {error}") from error
        if answer.status_code != 200:
            raise DemoError(f"{url} answers {answer.status_code}: {answer.text[:300]}")
        return answer.json()


def selector(metric: str, row: Row, model: str | None = None) -> str:
    """The selector of one result of a row."""
    labels = {**dict(row.labels), names.LABEL_QUERY: row.query, **({names.LABEL_MODEL: model} if model else {})}
    return f"{metric}{{{','.join(f'{name}={chr(34)}{value}{chr(34)}' for name, value in sorted(labels.items()))}}}"


def unjudged(api: Api, rows: Iterable[Row]) -> list[tuple[Row, str, str]]:
    """The (row, result metric, model) that Prometheus does not have with exactly the labels of the source."""
    have = {_result_key(track.labels) for track in api.samples(f'{{__name__=~"{"|".join(RESULTS)}"}}')}
    wanted = [(row, metric, model) for row in rows for metric in RESULTS for model in MODELS]
    return [(row, metric, model) for row, metric, model in wanted if (metric, row, model) not in have]


def high_scores(api: Api, rows: Iterable[Row], since_s: float) -> list[tuple[Row, str, float]]:
    """(row, model, highest score) of the rows that scored above 1 since a moment, highest first."""
    asked, found = set(rows), []
    for track in api.samples(f"{SCORE}{_since(since_s)}"):
        _, row, model = _result_key(track.labels)
        highest = float(np.max(track.values[track.times_s >= since_s], initial=0))
        if row in asked and highest > 1:
            found.append((row, model, highest))
    return sorted(found, key=lambda item: -item[2])


def alerts_of(alerts: Iterable[Mapping[str, str]], row: Row) -> list[str]:
    """The names of the alerts about one row."""
    return sorted({labels.get("alertname", "?") for labels in alerts if _matches(labels, row)})


def first_told(telling_s: Floats, verdict: Track, visible_s: float) -> float:
    """The first scrape of ``telling_s`` whose page held verdicts on samples from ``visible_s`` on; NaN: none."""
    judged_s = dict(zip(verdict.times_s.tolist(), verdict.values.tolist(), strict=True))
    told = (t for t in telling_s.tolist() if judged_s.get(t, 0.0) >= visible_s - MILLISECOND_S)
    return min(told, default=math.nan)


def verdicts_between(verdict: Track, visible_s: float, seen_s: float) -> int:
    """How many verdicts were made on samples from ``visible_s`` on, until the scrape at ``seen_s``."""
    known = verdict.values[verdict.times_s <= seen_s]
    return len(np.unique(known[known >= visible_s - MILLISECOND_S]))


@dataclass(slots=True)
class Watcher:
    """Follows the events from their start to their alerts."""

    api: Api
    started_s: float
    findings: list[Finding]
    alerts: list[Mapping[str, str]] = field(default_factory=list)

    def look(self, now_s: float) -> None:
        """Bring all findings up to date."""
        self.alerts = self.api.alerts()
        visible_s = self._first_scrape()
        if math.isnan(visible_s):
            return
        for finding in self.findings:
            finding.visible_s = visible_s
            self._look_at(finding)
            self._look_for_alert(finding, now_s)

    def done(self) -> bool:
        """Whether every event was seen and fires."""
        return all(finding.seen and finding.alert for finding in self.findings)

    def _first_scrape(self) -> float:
        scrapes = self.api.samples(f'up{{job="{TARGET_LABELS["job"]}"}}{_since(self.started_s)}')
        after = [t for track in scrapes for t in track.times_s if t >= self.started_s]
        return min(after, default=math.nan)

    def _look_at(self, finding: Finding) -> None:
        verdict_s = self._one(f'{VERDICT_TIME}{{query="{finding.row.query}"}}')
        metric = ABSENT if finding.event.kind == VANISH else SCORE
        result = self._one(selector(metric, finding.row, None if metric == ABSENT else ALERTING_MODEL))
        if verdict_s is None or result is None:
            return
        telling = result.times_s[(result.values > 1) | (metric == ABSENT)]
        seen_s = first_told(telling, verdict_s, finding.visible_s)
        if not math.isnan(seen_s):
            finding.seen_after_s = seen_s - finding.visible_s
            finding.cycles = verdicts_between(verdict_s, finding.visible_s, seen_s)
            self._fill(finding, result, seen_s)

    def _fill(self, finding: Finding, result: Track, seen_s: float) -> None:
        late = result.times_s >= seen_s
        if finding.event.kind == VANISH:
            finding.absent_s = float(result.values[late][-1])
            return
        worst = int(np.argmax(np.where(late, result.values, -1)))
        finding.score = float(result.values[worst])
        at_s = float(result.times_s[worst])
        finding.value = self._at(VALUE, finding.row, at_s)
        finding.expected = self._at(EXPECTED, finding.row, at_s)
        finding.lower, finding.upper = (self._at(metric, finding.row, at_s) for metric in (LOWER, UPPER))

    def _look_for_alert(self, finding: Finding, now_s: float) -> None:
        fired = alerts_of(self.alerts, finding.row)
        if fired and not finding.alert:
            finding.alert = fired[0]
            finding.fired_after_s = max(0.0, now_s - finding.visible_s)

    def _one(self, instant: str) -> Track | None:
        found = self.api.samples(f"{instant}{_since(self.started_s)}")
        return found[0] if found else None

    def _at(self, metric: str, row: Row, time_s: float) -> float:
        found = self._one(selector(metric, row, ALERTING_MODEL))
        if found is None:
            return math.nan
        same = found.values[found.times_s == time_s]
        return float(same[0]) if same.size else math.nan


def _track(series: Mapping[str, Any]) -> Track:
    pairs = series["values"] if "values" in series else [series["value"]]
    times = np.array([float(t) for t, _ in pairs])
    return Track(series["metric"], times, np.array([float(text) for _, text in pairs]))


def _since(start_s: float) -> str:
    return f"[{math.ceil(time.time() - start_s) + 1}s]"


def _matches(labels: Mapping[str, str], row: Row) -> bool:
    return labels.get(names.LABEL_QUERY) == row.query and dict(row.labels).items() <= labels.items()


def _result_key(labels: Mapping[str, str]) -> tuple[str, Row, str]:
    # what an expression returns has no job and no instance, so Prometheus adds those of the exporter's own scrape
    added = {"__name__", names.LABEL_QUERY, names.LABEL_MODEL}
    if labels.get("job") == EXPORTER_JOB:
        added |= {"job", "instance"}
    kept = tuple(sorted((name, value) for name, value in labels.items() if name not in added))
    return labels["__name__"], Row(labels.get(names.LABEL_QUERY, ""), kept), labels.get(names.LABEL_MODEL, "")
