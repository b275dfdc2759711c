"""Reading the `alert:` blocks of a config, the file's and the queries' own in place of it, and its `links:`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from exporter.config.durations import format_duration
from exporter.config.reading import Block, Reader, Spot, attempt
from exporter.config.schema import CONSENSUS, DAY_S, Alert, Direction, Links, Query
from exporter.config.values import boolean, choice, duration_s, integer, line, number, text
from exporter.models.settings import RobustBandSettings, ShesdSettings

NO_WORD = Alert()
_MODELS = (RobustBandSettings.name, ShesdSettings.name, CONSENSUS)
_DIRECTIONS: tuple[Direction, ...] = ("both", "above", "below")
_LEAST_LOOKBACK_S = 60
_LONGEST_KEEP_S = 7 * DAY_S
_MOST_SERIES = 1_000_000_000
_SEVERITY = re.compile(r"[a-zA-Z0-9_.\-]{1,64}", re.ASCII)
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
# Braces would open a template within the text of an alert, blanks and quotes end a link.
_HOST = r"https?://([\w.\-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_SERVER = re.compile(_HOST + r"(/[\w.\-~:/!$&'()*+,;=%@]*)?", re.ASCII)
_PAGES = re.compile(_HOST + r"([/?#](\{alert\}|[\w.\-~:/?#!$&'()*+,;=%@])*)?", re.ASCII)
_TAKEN = ("tenant", "query", "model", "alertname", "severity")  # grouped by already, or overwritten by the alert


@dataclass(frozen=True, slots=True)
class AlertBlock:
    """An `alert:` block as read: ``alert`` with what the file says around it, and ``block`` to ask what it says itself.

    ``block`` is None where there is no such block.
    """

    alert: Alert = NO_WORD
    block: Block | None = None

    def says(self, key: str) -> bool:
        """Whether the block itself has this key, and it could be used."""
        return self.block is not None and self.block.has(key)


def read_alert(outer: AlertBlock) -> Reader[AlertBlock]:
    """An `alert:` block; a key that is not there has the value around it. A query's is completed by `fitted`."""

    def read(spot: Spot) -> AlertBlock:
        block = spot.block("alert")
        alert = Alert(
            enabled=block.get("enabled", boolean, outer.alert.enabled),
            model=block.get("model", choice(*_MODELS), outer.alert.model),
            lookback_s=block.get("lookback", duration_s(_LEAST_LOOKBACK_S, DAY_S), outer.alert.lookback_s),
            for_s=block.get("for", duration_s(0, DAY_S), outer.alert.for_s),
            keep_firing_for_s=block.get(
                "keep_firing_for", duration_s(0, _LONGEST_KEEP_S), outer.alert.keep_firing_for_s
            ),
            severity=block.get("severity", severity, outer.alert.severity),
            direction=block.get("direction", choice(*_DIRECTIONS), outer.alert.direction),
            min_share=block.get("min_share", number(0, 1, above_low=True), outer.alert.min_share),
            min_series=block.get("min_series", integer(1, _MOST_SERIES), outer.alert.min_series),
            share_severity=block.get("share_severity", severity, outer.alert.share_severity),
            group_by=block.get("group_by", label_names, outer.alert.group_by),
        )
        _check_for(block, alert)
        return AlertBlock(alert, block)

    return read


def _check_for(block: Block, alert: Alert) -> None:
    """A `for` as long as the look-back waits for what a single anomaly can never reach."""
    given = block.given("for", "lookback")
    if given and block.usable("for", "lookback") and alert.for_s >= alert.lookback_s:
        lookback = format_duration(alert.lookback_s * 1000)
        message = f"for {format_duration(alert.for_s * 1000)} is not shorter than lookback {lookback}"
        block.blame(given[0], f"{message}: a short anomaly would never alert", allowed="for shorter than lookback")


def fitted(block: Block, query: Query, own: AlertBlock, outer: AlertBlock) -> Alert:
    """The alert of a query: model and direction follow the query where neither block says them; misfits are noted."""
    model = own.alert.model if own.says("model") or outer.says("model") else _first_choice(query)
    direction = own.alert.direction if query.direction == "both" else query.direction
    if block.usable("models"):
        _check_model(block, query, own, model)
    if block.usable("direction", "publish"):
        _check_direction(block, query, own, direction)
    return replace(own.alert, model=model, direction=direction)


def _first_choice(query: Query) -> str:
    names = [model.name for model in query.models]
    return RobustBandSettings.name if RobustBandSettings.name in names else names[0]


def _check_model(block: Block, query: Query, own: AlertBlock, model: str) -> None:
    names = [each.name for each in query.models]
    if model in names or (model == CONSENSUS and len(names) > 1):
        return
    allowed = ", ".join(names) + (f" or {CONSENSUS}" if len(names) > 1 else "")
    lacking = f"the query has one model, {names[0]}" if model == CONSENSUS else "not a model of the query"
    if own.block is not None and own.says("model"):
        own.block.blame("model", lacking, allowed=allowed)
    else:  # the file says it, and this query has models of its own
        block.blame("models", f"alert.model of the file is {model}", allowed=f"an alert.model of the query: {allowed}")


def _check_direction(block: Block, query: Query, own: AlertBlock, direction: Direction) -> None:
    """An alert may narrow the direction of its query, which takes the values to tell above from below."""
    inner = own.block if own.block is not None and own.says("direction") else None
    wanted = own.alert.direction
    if inner is not None and {wanted, query.direction} == {"above", "below"}:
        message = f"the query's own direction is {query.direction}: it would never alert"
        inner.blame("direction", message, allowed=f"{query.direction}, or no such key")
    elif direction != query.direction and query.publish == "score":
        message = f"{direction} can't be told from the score alone, and publish: score leaves the values out"
        place, key = (inner, "direction") if inner is not None else (block, "alert.direction")
        place.note(place.spot.node.mark, key, message, allowed=f"direction: {direction} of the query itself")


def severity(spot: Spot) -> str:
    """A severity, as routes of Alertmanager name it."""
    value = text(spot)
    if not _SEVERITY.fullmatch(value):
        raise spot.fault("not a severity", allowed="up to 64 letters, digits and _ . -, such as warning")
    return value


def label_names(spot: Spot) -> tuple[str, ...]:
    """Names of labels to group by, each once."""
    names: list[str] = []
    for index, node in enumerate(spot.listing().items):
        below = spot.item(index, node)
        name = attempt(below, _label_name)
        if name in names:
            below.tell(below.fault(f"the label {name} is listed twice", value="", allowed="each label once"))
        elif name is not None:
            names.append(name)
    return tuple(names)


def _label_name(spot: Spot) -> str:
    value = text(spot)
    if not _LABEL.fullmatch(value):
        raise spot.fault("not a label name", allowed="letters, digits and underscores, no digit and no __ first")
    if value in _TAKEN:
        raise spot.fault(f"the alert has a label {value} of its own", allowed="other labels of the series")
    return value


def read_links(spot: Spot) -> Links:
    """The addresses that alerts link to."""
    block = spot.block("links")
    return Links(
        exporter=block.get("exporter", link(_SERVER), ""),
        grafana=block.get("grafana", link(_SERVER), ""),
        runbooks=block.get("runbooks", link(_PAGES), ""),
    )


def link(syntax: re.Pattern[str]) -> Reader[str]:
    """An HTTP URL without credentials that is safe within the templates of alert texts; no slash at its end."""
    what = ", `{alert}` in it for the alert's name" if syntax is _PAGES else " without parameters"

    def read(spot: Spot) -> str:
        value = line(spot)
        if "@" in value.partition("//")[2].partition("/")[0]:
            raise spot.fault("holds credentials", allowed="a URL without them: everybody sees the texts of alerts")
        if not syntax.fullmatch(value):
            raise spot.fault("not a URL to link to", allowed=f"http://host/path or https://host/path{what}")
        return value.rstrip("/")

    return read
