"""The explanation as JSON, for programs: every number in full, nothing in words only. docs/explain.md has the keys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np

from exporter.explain import words
from exporter.explain.explainer import Edge, Explanation
from exporter.explain.replaying import Numbers
from exporter.explain.timeline import Timeline

Json: TypeAlias = str | int | float | bool | Mapping[str, "Json"] | list["Json"] | None


def explanation_json(told: Explanation) -> str:
    """One JSON object; a number that is missing or not finite is null."""
    return json.dumps(_document(told), ensure_ascii=False, allow_nan=False, indent=1)


def _document(told: Explanation) -> Json:
    return {
        "query": told.query.name, "tenant": told.tenant, "model": told.model, "labels": dict(told.labels),
        "expr": told.query.expr, "read_as": told.expr, "asked_at": _time(told.asked_s), "cycle": _time(told.cycle_s),
        "fitted": _time(told.fit_s), "state": told.state, "shed": told.shed, "headline": words.headline(told),
        "sentences": [*words.sentences(told)], "remarks": [*told.remarks],
        "judged": {"time": _time(told.judged_s), "value": _number(told.value), "last_sample": _time(told.last_s),
                   "since": _time(told.since_s)},
        "verdicts": {model: _numbers(numbers) for model, numbers in told.numbers.items()},
        "model_verdict": _numbers(told.of_model),
        "signals": {name: _number(score) for name, score in told.signals.items()},
        "would_alert": {"above": _edge(told.above), "below": _edge(told.below)},
        "detectable": {"up": _number(told.above.ratio), "down": _number(told.below.ratio)},
        "contributions": _contributions(told), "basis": _basis(told), "policy": _policy(told),
        "window": {"first_sample": _time(told.first_s), "samples": told.valid, "offset": _number(told.offset)},
        "beside": _farness(told), "published": _published(told),
        "config": {"hash": told.config_hash, "exporters": [*told.other_hashes]},
        "timeline": _timeline(told.timeline),
    }  # fmt: skip


def _number(x: float) -> Json:
    return float(x) if math.isfinite(x) else None


def _time(time_s: float) -> Json:
    if not math.isfinite(time_s):
        return None
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _numbers(numbers: Numbers) -> Json:
    parts = {name: _number(getattr(numbers, name)) for name in ("score", "expected", "lower", "upper")}
    return {**parts}


def _edge(edge: Edge) -> Json:
    return {"value": _number(edge.value), "ratio": _number(edge.ratio)}


def _contributions(told: Explanation) -> Json:
    found = told.contributions
    if found is None:
        return None
    views: dict[str, Json] = {
        view.name: {
            "residual": _number(view.residual), "tail": _number(view.tail), "novelty": _number(view.novelty),
            "usual": [*map(_number, view.usual)], "record": [*map(_number, view.record)],
        }
        for view in found.views
    }  # fmt: skip
    return {"score": _number(found.score), "evidence": _number(found.evidence), "threshold": _number(found.threshold),
            "parts": {name: _number(part) for name, part in found.parts.items()}, "views": views}  # fmt: skip


def _basis(told: Explanation) -> Json:
    if told.basis is None:
        return None
    base, offset = told.basis, told.offset
    return {
        "season": _number(base.season + offset), "off_season": _number(base.off_season),
        "level": _number(base.level + offset), "median": _number(base.median + offset), "floor": _number(base.floor),
        "spread": _number(base.spread), "record_weight": _number(base.record_weight),
    }  # fmt: skip


def _policy(told: Explanation) -> Json:
    query = told.query
    return {
        "direction": query.direction, "sensitivity": query.sensitivity, "min_deviation": query.min_deviation,
        "min_relative_deviation": query.min_relative_deviation, "data_range": [*map(_number, query.data_range)],
        "min_history_seconds": query.min_history_s,
    }  # fmt: skip


def _farness(told: Explanation) -> Json:
    found = told.farness
    if found is None:
        return None
    return {"distance": _number(found.distance), "days": found.days, "days_further": found.further,
            "largest_at_this_hour": _number(found.most_here), "largest": _number(found.most)}  # fmt: skip


def _published(told: Explanation) -> Json:
    if not told.published:
        return None
    return {
        "where": told.published.where, "time": _time(told.published.time_s), "value": _number(told.published.value),
        "verdicts": {model: _numbers(numbers) for model, numbers in told.published.numbers.items()},
        "equal": told.reproduced, "words": words.agreement(told),
    }  # fmt: skip


def _timeline(timeline: Timeline) -> Json:
    arrays = {name: getattr(timeline, name) for name in ("value", "score", "expected", "lower", "upper")}
    columns: dict[str, Json] = {name: [*map(_number, array.tolist())] for name, array in arrays.items()}
    return {"time": [*map(int, np.asarray(timeline.times_s).tolist())], **columns}
