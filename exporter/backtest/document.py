"""A backtest as JSON: what `--json` writes. docs/backtest.md describes each field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.backtest.episodes import Episode, Storm
from exporter.backtest.incidents import Incident, Met
from exporter.backtest.slow import Slow
from exporter.backtest.span import Span
from exporter.backtest.testing import Failed, Tested, totals
from exporter.config.schema import Alert

VERSION = 1


@dataclass(frozen=True, slots=True)
class Report:
    """A whole backtest: the name of the config, its hash, what was read, when it was made, and what was found."""

    config_file: str
    config_hash: str
    source: str
    made_s: float
    span: Span
    found: tuple[Tested, ...]
    failed: tuple[Failed, ...]
    remarks: tuple[str, ...] = ()
    incidents: int | None = None
    budget: str = ""
    diff: str = ""
    snippet: str = ""


def document(report: Report) -> dict[str, Any]:
    """The JSON of a report. Times are unix seconds, None stands for what there is not."""
    return {
        "version": VERSION,
        "config": {"file": report.config_file, "hash": report.config_hash},
        "source": report.source,
        "made": report.made_s,
        "from": report.span.start_s,
        "to": report.span.end_s,
        "remarks": list(report.remarks),
        "incidents": report.incidents,
        "total": dict(totals(report.found)),
        "queries": [_query(one) for one in report.found],
        "failed": [{"query": one.key, "error": one.error} for one in report.failed],
        "budget": _budget(report),
    }


def _budget(report: Report) -> dict[str, Any] | None:
    return {"asked": report.budget, "diff": report.diff, "snippet": report.snippet} if report.budget else None


def _query(one: Tested) -> dict[str, Any]:
    walk = one.walk
    return {
        "tenant": walk.tenant,
        "query": walk.query.name,
        "expr": walk.query.expr,
        "sensitivity": walk.query.sensitivity,
        "alert": _rule(walk.query.alert),
        "from": walk.grid.first * walk.grid.step_s,
        "to": walk.grid.last * walk.grid.step_s,
        "step_s": walk.grid.step_s,
        "series": len(walk.labels),
        "samples": int(walk.judged.sum()),
        "weeks": walk.grid.weeks,
        "series_weeks": walk.series_weeks,
        "alerts": len(one.alerts.single),
        "alerts_per_week": one.per_week,
        "alerts_per_series_week": one.per_series_week,
        "muted": int(one.alerts.muted.sum()),
        "storms": len(one.alerts.storms.firings),
        "pages": one.alerts.pages,
        "pages_per_week": one.pages_per_week,
        "episodes": [episode(each) for each in one.episodes],
        "episodes_left_out": len(one.alerts.single) - len(one.episodes),
        "storm_list": [storm(each) for each in one.storms],
        "storms_left_out": len(one.alerts.storms.firings) - len(one.storms),
        "slow_signals": [slow(each) for each in one.slow],
        "incidents": _met(one.met) if one.met is not None else None,
        "budget": _proposal(one),
        "remarks": list(one.remarks),
    }


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "enabled": alert.enabled, "model": alert.model, "direction": alert.direction,
        "lookback_s": alert.lookback_s, "for_s": alert.for_s, "keep_firing_for_s": alert.keep_firing_for_s,
        "min_share": alert.min_share, "min_series": alert.min_series, "group_by": list(alert.group_by),
    }  # fmt: skip


def episode(one: Episode) -> dict[str, Any]:
    """A single alert."""
    return {
        "series": dict(one.labels),
        "start": one.start_s,
        "end": one.end_s,
        "peak": one.peak_s,
        "score": _number(one.score),
        "value": _number(one.value),
        "expected": one.expected,
        "lower": one.lower,
        "upper": one.upper,
        "direction": one.direction,
        "muted": one.muted,
    }


def storm(one: Storm) -> dict[str, Any]:
    """A storm."""
    return {"group": dict(one.labels), "start": one.start_s, "end": one.end_s, "most": one.most, "of": one.of}


def slow(one: Slow) -> dict[str, Any]:
    """The alerts of a slow signal."""
    return {
        "signal": one.signal,
        "alerts": one.alerts,
        "episodes": [
            {"series": dict(each.labels), "start": each.start_s, "end": each.end_s, "peak": each.peak_s,
             "score": each.score, "value": each.value}
            for each in one.episodes
        ],
        "episodes_left_out": one.alerts - len(one.episodes),
    }  # fmt: skip


def _met(met: Met) -> dict[str, Any]:
    return {
        "incidents": len(met.incidents),
        "hits": met.hits,
        "misses": met.misses,
        "false_alerts": met.false_alerts,
        "median_delay_s": met.median_delay_s(),
        "worst_delay_s": met.worst_delay_s(),
        "missed": [incident(one) for one, hit in zip(met.incidents, met.hit, strict=True) if not hit],
    }


def incident(one: Incident) -> dict[str, Any]:
    """An incident."""
    labels: Mapping[str, str] = dict(one.labels)
    return {"start": one.start_s, "end": one.end_s, "query": one.query, "labels": dict(labels), "where": one.where}


def _proposal(one: Tested) -> dict[str, Any] | None:
    proposal = one.proposal
    if proposal is None:
        return None
    table: Sequence[tuple[float, int]] = proposal.table
    return {
        "allowed": proposal.allowed,
        "pages": proposal.pages,
        "sensitivity": proposal.sensitivity,
        "by_sensitivity": [{"sensitivity": factor, "pages": pages} for factor, pages in table],
    }


def _number(number: float) -> float | None:
    return number if math.isfinite(number) else None
