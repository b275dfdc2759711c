"""Relabelling beside its slow twin, and what is published of a series: never a name that is none, never a crash."""

from __future__ import annotations

from fuzz.choices import Choices
from naive.relabelling import relabel

from exporter.names import REFUSALS
from exporter.relabelling.engine import Relabeller
from exporter.relabelling.pattern import Pattern, PatternError
from exporter.relabelling.publishing import LabelLimits, Relabelling
from exporter.relabelling.rule import ACTIONS, Rule

_NAMES = ("a", "b", "job", "pod", "__name__", "__meta_x", "A", "x1", "no_such")
_TARGETS = ("a", "b", "new", "job", "$1", "${1}_x", "x_$1", "1bad", "", "$$")
_REPLACEMENTS = ("$1", "${1}", "$2", "$0", "$$", "${name}", "$1x", "${1}x", "_", "v", "", "$1-$2", "$", "${", "$name")
_ATOMS = ("a", "b", ".", "[a-c]", "[^a]", r"\d", r"\w", "-", "x", r"\.", "é", "(?i:A)")
_TIMES = ("", "", "", "*", "+", "?", "*?", "{1,3}")


def check(data: bytes) -> None:
    """One input: rules and labels; or any text as a regular expression."""
    choices = Choices(data)
    if choices.below(8) == 7:
        return _any_pattern(choices.text(12), choices.text(8))
    rules = [_rule(choices) for _ in range(1 + choices.below(4))]
    labels = {choices.pick(_NAMES): _value(choices) for _ in range(choices.below(6))}
    wanted = relabel(rules, labels)
    assert Relabeller(rules).apply(labels) == wanted
    _published(choices, rules, labels, wanted)
    return None


def _published(choices: Choices, rules: list[Rule], labels: dict[str, str], wanted: dict[str, str] | None) -> None:
    """The labels without the name and those that are dropped, or the reason why there are none."""
    drop, most = choices.pick(((), ("pod",), ("a", "new"))), choices.below(4)
    found = Relabelling(rules, drop, LabelLimits(labels=most, value_bytes=choices.below(9))).publish(dict(labels))
    if isinstance(found, str):
        assert found in REFUSALS
        return
    assert wanted is not None
    assert found == {name: value for name, value in wanted.items() if name not in ("__name__", *drop)}
    assert not most or len(found) <= most


def _any_pattern(regex: str, text: str) -> None:
    """Taken or refused in words; what is taken never fails."""
    try:
        pattern = Pattern(regex)
    except PatternError as error:
        return _said(error)
    match = pattern.match(text)
    assert (match is not None) == pattern.matches(text)
    assert match is None or match.group(0).decode("utf-8", "replace") == text
    return None


def _said(error: PatternError) -> None:
    """A refusal says why."""
    assert str(error)


def _rule(choices: Choices) -> Rule:
    action = choices.pick(ACTIONS)
    names = tuple(choices.some(3, lambda: choices.pick(_NAMES)))
    separator = choices.pick((";", "", "-", "\n"))
    if action == "replace":
        return Rule(action, names, separator, _regex(choices), 0, choices.pick(_TARGETS), choices.pick(_REPLACEMENTS))
    if action in ("keep", "drop", "labeldrop", "labelkeep"):
        return Rule(action, names, separator, _regex(choices))
    if action == "labelmap":
        return Rule(action, regex=_regex(choices), replacement=choices.pick(("$1", "m_$1", "fixed", "")))
    return Rule(action, names, separator, modulus=1 + choices.below(1 << 64), target_label=choices.pick(("a", "new")))


def _regex(choices: Choices) -> str:
    """Branches of atoms; only atoms are repeated, as engines differ in what is left of an empty repetition."""
    return "|".join(_branch(choices, may_name=place == 0) for place in range(1 + choices.below(3)))


def _branch(choices: Choices, *, may_name: bool) -> str:
    pieces = []
    for _ in range(choices.below(4)):
        atoms = "".join(choices.pick(_ATOMS) + choices.pick(_TIMES) for _ in range(1 + choices.below(3)))
        named = may_name and not any("(?P<name>" in piece for piece in pieces)
        pieces.append(choices.pick((atoms, f"({atoms})", f"(?:{atoms})", f"(?P<name>{atoms})" if named else atoms)))
    return "".join(pieces)


def _value(choices: Choices) -> str:
    return choices.word("abcx-.1A\n", 8)
