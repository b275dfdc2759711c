"""The annotations of each alert: which texts, with which values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from exporter import names
from exporter.config import CONSENSUS, Links
from exporter.names import EXPECTED, FAMILIES, LOWER, SHIFT, STALE, UPPER, VALUE
from exporter.rules.expressions import UNIT, Look, duration, in_words
from exporter.rules.texts import go_text, text

_HOUR_S = 3600
_LEAST_STEP_S = 5
_STEPS = 60  # at which a look-back is searched for the last moment outside: the cost of a firing alert
_ONSET_RANGE_S = 6 * _HOUR_S
_ONSET_STEPS = 720
_SLOW_RANGE_S = 24 * _HOUR_S
_SLOW_STEP_S = 60

_FIXED = {
    **{key: FAMILIES[key].name for key in (VALUE, EXPECTED, LOWER, UPPER)},
    "band": "|".join(FAMILIES[key].name for key in (VALUE, EXPECTED, LOWER, UPPER)),
    "verdict_time": names.SELF_VERDICT_TIME,
    "series": names.SELF_SERIES,
    "shed": names.SELF_SERIES_SHED,
    "job": names.JOB,
    "page": names.PAGE_EXPLAIN,
}

Whose = Literal["query", "instance", "up"]  # how the texts of an alert find the address of the exporter


def told_step_s(lookback_s: int, interval_s: int) -> int:
    """Seconds between the moments at which a look-back is searched: short enough to meet every verdict, which lasts for
    an interval, and no shorter than that takes."""
    return max(_LEAST_STEP_S, min(interval_s // 2, lookback_s // _STEPS))


@dataclass(frozen=True, slots=True)
class Annotations:
    """Makes the annotations of the alerts, with links where `links` says that they lead somewhere."""

    links: Links = Links()  # noqa: RUF009 - frozen

    def detected(self, look: Look, interval_s: int) -> Mapping[str, str]:
        """Of AnomalyDetected."""
        onset_range_s = max(_ONSET_RANGE_S, 2 * look.lookback_s)
        step_s = told_step_s(look.lookback_s, interval_s)
        values = self._scored(look, step_s) | _onset(
            onset_range_s, max(2 * step_s, onset_range_s // _ONSET_STEPS), look.lookback_s
        )
        return self._of_series(names.ALERT_DETECTED, "detected", values | {"inside": "outside"})

    def slow(self, alert: str, name: Literal["shift", "stale"], lookback_s: int) -> Mapping[str, str]:
        """Of AnomalyShift and AnomalyStale. Their signals are of the series, not of a model."""
        score = FAMILIES[SHIFT if name == "shift" else STALE].name
        moment = f"{score}{{%s}} > 1"
        signal = {"score": score, "outside": f"ignoring (model) {score}{{%[2]s}} > 1", "moment": moment}
        values = self._scored(Look("", lookback_s), told_step_s(lookback_s, 60)) | _onset(
            _SLOW_RANGE_S, _SLOW_STEP_S, lookback_s
        )
        return self._of_series(alert, name, values | signal | {"inside": "within"})

    def absent(self) -> Mapping[str, str]:
        """Of AnomalySeriesAbsent."""
        alert, values = names.ALERT_ABSENT, self._values()
        return {
            **_words("absent", values),
            "graph": text("value_graph", values),
            "explain_url": text("absent_explain", values),
            **self._dashboard("series", names.DASHBOARD_SERIES),
            "runbook_url": self._runbook(alert, "query"),
        }

    def storm(self, look: Look, group_by: tuple[str, ...], interval_s: int) -> Mapping[str, str]:
        """Of AnomalyShareHigh."""
        alert = names.ALERT_SHARE
        values = self._scored(look, told_step_s(look.lookback_s, interval_s))
        values |= _grouped(look, group_by) | {"alert": alert}
        return {
            **_words("share", values),
            "graph": text("share_graph", values),
            "explain_url": text("share_explain", values),
            **self._dashboard("query", names.DASHBOARD_INCIDENT),
            "runbook_url": self._runbook(alert, "query"),
        }

    def of_exporter(self, alert: str, name: str, whose: Whose, **more: str) -> Mapping[str, str]:
        """Of an alert about the exporter; its explanation is the exporter's own front page."""
        values = self._values() | {"alert": alert} | more
        page = f"{self.links.exporter}/" if self.links.exporter else text(f"{whose}_page", values)
        return {
            **_words(name, values),
            "explain_url": page,
            **self._dashboard("query", names.DASHBOARD_EXPORTER),
            "runbook_url": self._runbook(alert, whose),
        }

    def _of_series(self, alert: str, name: str, values: dict[str, str]) -> Mapping[str, str]:
        return {
            **_words(name, values),
            "graph": text("series_graph", values),
            "explain_url": text("series_explain", values),
            **self._dashboard("series", names.DASHBOARD_SERIES),
            "runbook_url": self._runbook(alert, "query"),
        }

    def _values(self) -> dict[str, str]:
        return _FIXED | {"exporter": go_text(self.links.exporter), "grafana": self.links.grafana}

    def _scored(self, look: Look, step_s: int) -> dict[str, str]:
        return self._values() | {
            "score": look.score,
            "outside": look.moment("{%[2]s}"),
            "moment": look.moment("{%[1]s}"),
            "lookback": look.range,
            "lookback_words": in_words(look.lookback_s),
            "step": duration(step_s),
        }

    def _dashboard(self, name: str, uid: str) -> dict[str, str]:
        """Where no Grafana is known there is no link: a guessed one would lead nowhere at 3 am."""
        if not self.links.grafana:
            return {}
        return {"dashboard_url": text(f"{name}_dashboard", self._values() | {"dashboard": uid})}

    def _runbook(self, alert: str, whose: Whose) -> str:
        if self.links.runbooks:
            pages = self.links.runbooks
            return pages.replace("{alert}", alert) if "{alert}" in pages else f"{pages}/{alert}"
        path = f"{names.PAGE_RUNBOOKS}/{alert}"
        if self.links.exporter:
            return self.links.exporter + path
        return text(f"{whose}_runbook", self._values() | {"runbook": path})


def _words(name: str, values: Mapping[str, str]) -> dict[str, str]:
    return {each: text(f"{name}_{each}", values) for each in ("summary", "description")}


def _onset(range_s: int, step_s: int, lookback_s: int) -> dict[str, str]:
    """How far and how finely the beginning of an episode is looked for."""
    return {
        "onset_range": duration(range_s),
        "onset_step": duration(step_s),
        "onset_before": duration(range_s - lookback_s),
        "onset_words": in_words(range_s),
    }


def _grouped(look: Look, group_by: tuple[str, ...]) -> dict[str, str]:
    """The PromQL about one group of a storm; ``%[1]s`` in it stands for the matchers of the group."""
    selector = "{" + ",".join((*look.matchers(), "%[1]s")) + "}"
    labels = (*UNIT, *group_by)
    above = f"{FAMILIES[VALUE].name}{selector} > bool {FAMILIES[EXPECTED].name}{selector}"
    rose = text("_rose", {"rose": go_text(f"sum(({above}) and ({look.worst(selector)} > 1))")})
    return {
        "group_format": ",".join(f"{label}=%q" for label in labels),
        "group_values": "".join(f' (or $labels.{label} "")' for label in labels),
        "anomalous": go_text(look.anomalous(selector)),
        "detected": go_text(" ".join(look.detected(selector).split("\n"))),
        "rose_if_known": rose if look.model != CONSENSUS else "",  # each model expects a value of its own
    }
