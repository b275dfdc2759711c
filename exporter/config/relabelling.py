"""Reading `relabel_configs`, `drop_labels` and `external_labels`: what Prometheus takes is taken, what it refuses not.

Nothing in `relabel_configs` is taken from the environment: `$1` and `${name}` are the groups of the regex there.
"""

from __future__ import annotations

import re

from exporter.config.reading import Block, Spot, attempt
from exporter.config.values import alternatives, line, list_of
from exporter.names import LABEL_MODEL, LABEL_QUERY
from exporter.relabelling.pattern import Pattern, PatternError
from exporter.relabelling.publishing import METRIC_NAME
from exporter.relabelling.rule import ACTIONS, ANYTHING, FIRST_GROUP, SEPARATOR, Action, Rule

Labels = tuple[tuple[str, str], ...]

NO_RULES: tuple[Rule, ...] = ()
NO_NAMES: tuple[str, ...] = ()
NO_LABELS: Labels = ()

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_NAME_ALLOWED = "letters, digits and underscores, no digit first"
_REPLICA = "__replica__"  # by which Mimir and Cortex tell the two of an HA pair apart, and which they remove
_EXTERNAL_ALLOWED = f"{_NAME_ALLOWED}, no two underscores first but in {_REPLICA}"
# As Prometheus checks it: names with groups of the regex in them.
_NAME_TEMPLATE = re.compile(r"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+", re.ASCII)
_TEMPLATE_ALLOWED = f"{_NAME_ALLOWED}, and groups such as $1 or ${{name}}"
_REGEX_ALLOWED = "RE2 syntax, https://github.com/google/re2/wiki/Syntax"
_MOST_REGEX_CHARS = 65_536
_MOST_MODULUS = 2**64 - 1
_WITH_TARGET = ("replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal")
_COMPARING = ("keepequal", "dropequal")
_OF_NAMES = ("labeldrop", "labelkeep")


def read_rules(spot: Spot) -> tuple[Rule, ...]:
    """Rules in their order; a bad one is noted and left out."""
    return list_of(read_rule)(spot)


def read_rule(spot: Spot) -> Rule:
    """One rule."""
    block = spot.block("relabel_configs")
    rule = Rule(
        action=block.get("action", read_action, "replace"),
        source_labels=block.get("source_labels", list_of(label_name), NO_NAMES),
        separator=block.get("separator", verbatim, SEPARATOR),
        regex=block.get("regex", regex, ANYTHING),
        modulus=block.get("modulus", modulus, 0),
        target_label=block.get("target_label", verbatim, ""),
        replacement=block.get("replacement", verbatim, FIRST_GROUP),
    )
    if block.usable("action"):
        _check_target(block, rule)
        _check_others(block, rule)
    return rule


def verbatim(spot: Spot) -> str:
    """A text just as it stands, numbers and words like `true` included; may be empty."""
    return spot.scalar().text


def read_action(spot: Spot) -> Action:
    """The name of an action, in capitals or not."""
    value = verbatim(spot).lower()
    for action in ACTIONS:
        if value == action:
            return action
    raise spot.fault("not an action", allowed=alternatives(ACTIONS))


def regex(spot: Spot) -> str:
    """A regular expression that RE2 takes."""
    value = verbatim(spot)
    if len(value) > _MOST_REGEX_CHARS:
        raise spot.fault("a regular expression that is too long", allowed=f"up to {_MOST_REGEX_CHARS} characters")
    try:
        Pattern(value)
    except PatternError as error:
        raise spot.fault(f"not a regular expression, {error}", allowed=_REGEX_ALLOWED) from None
    return value


def modulus(spot: Spot) -> int:
    """What hashes are taken modulo of."""
    value = verbatim(spot)
    if not re.fullmatch(r"[0-9]{1,20}", value, re.ASCII) or int(value) > _MOST_MODULUS:
        raise spot.fault("not a whole number", allowed=f"a whole number from 1 to {_MOST_MODULUS}")
    return int(value)


def label_name(spot: Spot) -> str:
    """The name of a label of the source; since Prometheus 3 any text can be one."""
    value = verbatim(spot)
    if not value.strip():
        raise spot.fault("empty", value="", allowed="the name of a label")
    return value


def drop_labels(spot: Spot) -> tuple[str, ...]:
    """Names of labels that are not published."""
    names = list_of(label_name)(spot)
    for index, name in enumerate(names):
        if name == METRIC_NAME:
            below = spot.item(index, spot.listing().items[index])
            below.tell(below.fault("is never published", allowed="labels beside the name"))
    return names


def external_labels(spot: Spot) -> Labels:
    """Labels by name, with values from the environment where they say so; sorted."""
    found: dict[str, str] = {}
    for name, entry in spot.mapping().entries.items():
        below = spot.below(name, entry.node)
        if not _NAME.fullmatch(name) or (name.startswith("__") and name != _REPLICA):
            below.tell(below.fault("not a label name", value=name, allowed=_EXTERNAL_ALLOWED))
        elif name in (LABEL_QUERY, LABEL_MODEL):
            below.tell(below.fault(f"the exporter sets {name} itself", value="", allowed="other labels"))
        value = attempt(below, line)
        if value is not None:
            found[name] = value
    return tuple(sorted(found.items()))


# -- what goes together, as Prometheus checks it -----------------------------------------------------------------------


def _check_target(block: Block, rule: Rule) -> None:
    if rule.action in _WITH_TARGET and not rule.target_label:
        if block.usable("target_label"):
            block.note(block.spot.node.mark, "target_label", f"missing for the action {rule.action}",
                       allowed="such as `target_label: service`")  # fmt: skip
        return
    template = rule.action == "replace" and "$" in rule.target_label
    allowed, form = (_TEMPLATE_ALLOWED, _NAME_TEMPLATE) if template else (_NAME_ALLOWED, _NAME)
    if rule.action in _WITH_TARGET and not form.fullmatch(rule.target_label):
        block.blame("target_label", f"not a label name for the action {rule.action}", allowed=allowed)


def _check_others(block: Block, rule: Rule) -> None:
    action = rule.action
    if action == "hashmod" and rule.modulus == 0 and block.usable("modulus"):
        block.note(block.spot.node.mark, "modulus", "missing for the action hashmod, or 0", allowed="1 or more")
    if action == "labelmap" and not _NAME_TEMPLATE.fullmatch(rule.replacement):
        block.note(block.spot.node.mark, "replacement", "not a label name for the action labelmap",
                   value=rule.replacement, allowed=_TEMPLATE_ALLOWED)  # fmt: skip
    changed = [key for key, differs in _differences(rule).items() if differs and block.has(key)]
    for key in changed:
        if key in _unwanted(action):
            block.blame(key, f"can't be set for the action {action}", allowed=_wanted(action))


def _differences(rule: Rule) -> dict[str, bool]:
    """Which keys say something else than their defaults do."""
    usual = Rule()
    keys = ("source_labels", "separator", "regex", "modulus", "target_label", "replacement")
    return {key: getattr(rule, key) != getattr(usual, key) for key in keys}


def _unwanted(action: Action) -> tuple[str, ...]:
    if action in _COMPARING:
        return ("regex", "modulus", "separator", "replacement")
    if action in _OF_NAMES:
        return ("source_labels", "target_label", "modulus", "separator", "replacement")
    return ("replacement",) if action in ("lowercase", "uppercase") else ()


def _wanted(action: Action) -> str:
    if action in _COMPARING:
        return "source_labels and target_label"
    return "regex" if action in _OF_NAMES else "no replacement"
