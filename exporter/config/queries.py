"""Reading the times of a config and its queries."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from exporter.config.alerting import AlertBlock, fitted, read_alert
from exporter.config.document import Mapping
from exporter.config.durations import format_duration
from exporter.config.expression import expression_fault
from exporter.config.limits import OuterLimits, read_limits
from exporter.config.reading import Block, Fault, Reader, Spot, attempt
from exporter.config.relabelling import NO_LABELS, NO_NAMES, NO_RULES, Labels, drop_labels, external_labels, read_rules
from exporter.config.schema import DAY_S, DEFAULT_MODELS, SENSITIVITIES, Direction, Publish, Query, Tenant
from exporter.config.values import (
    alternatives,
    any_number,
    boolean,
    choice,
    duration_s,
    list_of,
    number,
    text,
)
from exporter.models.settings import ModelSettings, RobustBandSettings, Seasonal, ShesdSettings, Signal
from exporter.relabelling.rule import Rule

YEAR_S = 365 * DAY_S
MAX_STEP_S = 3600
MIN_WINDOW_S = 2 * DAY_S
MIN_SHIFT_WINDOW_S = 3 * DAY_S  # a day of means between the first day, which has no season, and the last
# Memory and fit time grow with it; a year of 5-minute samples is just beyond.
MAX_WINDOW_STEPS = 100_000
MODEL_NAMES = ("robust_band", "shesd")
PUBLISHED: tuple[Publish, ...] = ("all", "score", "anomalous")

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}", re.ASCII)
_EITHER: tuple[Direction, ...] = ("both", "above", "below")
_SEASONS: tuple[Seasonal, ...] = ("median", "stl")
_SIGNALS: tuple[Signal, ...] = ("shift", "stale")

T = TypeVar("T", Tenant, Query)


@dataclass(frozen=True, slots=True)
class Times:
    """Interval, step and window that hold for a query, in seconds."""

    interval_s: int = 60
    step_s: int = 300
    window_s: int = 14 * DAY_S
    sound: bool = True  # False: something in the global block was bad, so relations to it prove nothing


@dataclass(frozen=True, slots=True)
class Global:
    """The block `global`: the times that hold for every query, and the labels of what leaves by remote write."""

    times: Times = Times()
    external_labels: Labels = NO_LABELS


def read_global(spot: Spot) -> Global:
    """What holds for the whole file."""
    block = spot.block("global")
    times = read_times(block, Times())
    times = replace(times, sound=block.usable("interval", "step", "window"))
    return Global(times, block.get("external_labels", external_labels, NO_LABELS))


def read_times(block: Block, outer: Times) -> Times:
    """The times of a block, ``outer`` where it has none; relations are checked where the block has a say in them."""
    times = Times(
        block.get("interval", duration_s(1, DAY_S), outer.interval_s),
        block.get("step", _step, outer.step_s),
        block.get("window", duration_s(MIN_WINDOW_S, YEAR_S), outer.window_s),
    )
    if not outer.sound:
        return times
    if (key := _spokesman(block, "interval", "step")) and times.step_s % times.interval_s:
        interval, step = format_duration(times.interval_s * 1000), format_duration(times.step_s * 1000)
        block.blame(key, f"interval {interval} does not divide step {step}", allowed="step = interval times 1, 2, 3...")
    if key := _spokesman(block, "window", "step"):
        _check_window(block, key, times)
    return times


def _spokesman(block: Block, *keys: str) -> str:
    """The key to blame when these don't fit each other: the first one the block itself sets; none if one is bad."""
    given = [key for key in keys if key in block.given(*keys)]
    return given[0] if given and block.usable(*keys) else ""


def _step(spot: Spot) -> int:
    step_s = duration_s(1, MAX_STEP_S)(spot)
    if DAY_S % step_s:
        raise spot.fault("does not divide a day", allowed="such as 15s, 1m, 5m, 15m, 1h")
    return step_s


def _check_window(block: Block, key: str, times: Times) -> None:
    window, step = format_duration(times.window_s * 1000), format_duration(times.step_s * 1000)
    if times.window_s % times.step_s:
        block.blame(key, f"window {window} is not a multiple of step {step}", allowed="whole days fit every step")
    elif times.window_s // times.step_s > MAX_WINDOW_STEPS:
        longest = format_duration(min(YEAR_S, MAX_WINDOW_STEPS * times.step_s) // DAY_S * DAY_S * 1000)
        message = f"window {window} holds {times.window_s // times.step_s} steps of {step}"
        allowed = f"at most {MAX_WINDOW_STEPS} steps: a window up to {longest}, or a longer step"
        if MAX_WINDOW_STEPS * times.step_s < MIN_WINDOW_S:
            allowed = f"at most {MAX_WINDOW_STEPS} steps: a longer step"
        block.blame(key, message, allowed=allowed)


def unique(spot: Spot, read: Reader[T], key: str) -> tuple[T, ...]:
    """A list of blocks whose ``key`` may occur once; a repeated one is noted with the line of the first."""
    items: list[T] = []
    first_lines: dict[str, int] = {}
    for index, node in enumerate(spot.listing().items):
        below = spot.item(index, node)
        item = attempt(below, read)
        if item is None:
            continue
        items.append(item)
        if isinstance(node, Mapping) and getattr(item, key):
            _refuse_repeated(below.below(key, node.entries[key].node), getattr(item, key), key, first_lines)
    return tuple(items)


def _refuse_repeated(place: Spot, name: str, key: str, first_lines: dict[str, int]) -> None:
    if name in first_lines:
        message = f"the {key} is used twice, first at line {first_lines[name]}"
        place.tell(place.fault(message, allowed=f"each {key} once"))
    first_lines.setdefault(name, place.node.mark.line)


@dataclass(frozen=True, slots=True)
class OuterQuery:
    """What a query has where it says nothing itself: what the file says for all queries."""

    times: Times
    limits: OuterLimits
    publish: Publish
    alert: AlertBlock
    detectability: bool
    relabel_configs: tuple[Rule, ...] = ()


def read_query(outer: OuterQuery) -> Reader[Query]:
    """One query of a file that says ``outer``."""

    def read(spot: Spot) -> Query:
        block = spot.block("queries")
        times = read_times(block, outer.times)
        query = Query(
            name=block.need("name", query_name, ""),
            expr=block.need("expr", expression, ""),
            models=block.get("models", read_models, DEFAULT_MODELS),
            sensitivity=block.get("sensitivity", sensitivity, 1.0),
            signals=block.get("signals", read_signals, ()),
            direction=block.get("direction", choice(*_EITHER), "both"),
            min_deviation=block.get("min_deviation", number(0, math.inf), 0.0),
            min_relative_deviation=block.get("min_relative_deviation", number(0, math.inf), 0.0),
            data_range=block.get("data_range", data_range, (-math.inf, math.inf)),
            min_history_s=block.get("min_history", duration_s(0, YEAR_S), 0),
            absent_for_s=block.get("absent_for", duration_s(0, YEAR_S), DAY_S),
            interval_s=times.interval_s,
            step_s=times.step_s,
            window_s=times.window_s,
            limits=block.get("limits", read_limits(outer.limits), outer.limits.limits),
            publish=block.get("publish", choice(*PUBLISHED), outer.publish),
            detectability=block.get("detectability", boolean, outer.detectability),
            relabel_configs=(*outer.relabel_configs, *block.get("relabel_configs", read_rules, NO_RULES)),
            drop_labels=block.get("drop_labels", drop_labels, NO_NAMES),
        )
        if block.usable("window"):
            _check_history(block, query)
        own = block.get("alert", read_alert(outer.alert), AlertBlock(outer.alert.alert))
        return replace(query, alert=fitted(block, query, own, outer.alert))

    return read


def _check_history(block: Block, query: Query) -> None:
    """Whether the window holds the history that the query asks for."""
    window = format_duration(query.window_s * 1000)
    if block.has("min_history") and query.min_history_s > query.window_s:
        block.blame("min_history", f"longer than the window {window}", allowed=f"at most {window}")
    if "shift" in query.signals and query.window_s < MIN_SHIFT_WINDOW_S:
        allowed = f"shift with a window of at least {format_duration(MIN_SHIFT_WINDOW_S * 1000)}"
        block.blame("signals", f"shift with a window of {window}", allowed=allowed)


def query_name(spot: Spot) -> str:
    """The name of a query."""
    value = text(spot)
    if not _NAME.fullmatch(value):
        raise spot.fault("not a name", allowed="up to 64 letters, digits and underscores, no digit first")
    return value


def expression(spot: Spot) -> str:
    """A PromQL expression whose brackets and quotes are closed."""
    value = text(spot).strip()
    if fault := expression_fault(value):
        raise spot.fault(fault, allowed="a PromQL expression")
    return value


def read_signals(spot: Spot) -> tuple[Signal, ...]:
    """The slow signals of a query, each at most once."""
    signals: list[Signal] = []
    for index, node in enumerate(spot.listing().items):
        below = spot.item(index, node)
        signal = attempt(below, choice(*_SIGNALS))
        if signal in signals:
            below.tell(below.fault(f"the signal {signal} is listed twice", value="", allowed="each signal once"))
        elif signal is not None:
            signals.append(signal)
    return tuple(signals)


def sensitivity(spot: Spot) -> float:
    """A factor on the threshold, by word or number."""
    value = spot.expanded()
    if value in SENSITIVITIES:
        return SENSITIVITIES[value]
    allowed = "high, normal, low, or a number from 0.1 to 10"
    try:
        return number(0.1, 10)(spot)
    except Fault as fault:
        message = "out of range" if fault.message == "out of range" else "not a choice"
        raise spot.fault(message, allowed=allowed) from None


def data_range(spot: Spot) -> tuple[float, float]:
    """Smallest and largest value that can be."""
    allowed = "[low, high] with low < high; .inf for no limit"
    items = spot.listing().items
    if len(items) != 2:
        raise spot.fault(f"holds {len(items)} values, not 2", allowed=allowed)
    ends = list_of(any_number)(spot)
    if len(ends) != len(items):
        raise Fault(spot.node.mark, spot.path, "")
    if not ends[0] < ends[1]:
        raise spot.fault("low is not below high", allowed=allowed)
    return ends[0], ends[1]


def read_models(spot: Spot) -> tuple[ModelSettings, ...]:
    """The models of a query, each at most once, at least one."""
    if not spot.listing().items:
        raise spot.fault("no models", allowed=f"at least one of {', '.join(MODEL_NAMES)}")
    models: dict[str, ModelSettings] = {}
    for index, node in enumerate(spot.listing().items):
        below = spot.item(index, node)
        model = attempt(below, read_model)
        if model is not None and model.name in models:
            below.tell(below.fault(f"the model {model.name} is listed twice", value="", allowed="each model once"))
        elif model is not None:
            models[model.name] = model
    if len(models) != len(spot.listing().items):
        raise Fault(spot.node.mark, spot.path, "")  # told above; nothing else should be held against what is left
    return tuple(models.values())


def read_model(spot: Spot) -> ModelSettings:
    """A model by its name, or as a block with a name and options."""
    if not isinstance(spot.node, Mapping):
        return _with_defaults(model_name(spot))
    entry = spot.node.entries.get("name")
    if entry is None:
        raise spot.fault("a model without a name", allowed=f"`name:` {alternatives(MODEL_NAMES)}")
    name = model_name(spot.below("name", entry.node))
    block = spot.block(name)
    return RobustBandSettings() if name == RobustBandSettings.name else _read_shesd(block)


def model_name(spot: Spot) -> Literal["robust_band", "shesd"]:
    """The name of a model."""
    return choice(RobustBandSettings.name, ShesdSettings.name)(spot)  # type: ignore[return-value]


def _with_defaults(name: str) -> ModelSettings:
    return RobustBandSettings() if name == RobustBandSettings.name else ShesdSettings()


def _read_shesd(block: Block) -> ShesdSettings:
    default = ShesdSettings()
    return ShesdSettings(
        alpha=block.get("alpha", number(0, 0.5, above_low=True), default.alpha),
        max_anoms=block.get("max_anoms", number(0, 0.49, above_low=True), default.max_anoms),
        seasonal=block.get("seasonal", choice(*_SEASONS), default.seasonal),
    )
