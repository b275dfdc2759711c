"""The actions of `relabel_configs`, one after the other, on the labels of one series.

Semantics: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config; where those words
leave something open, a real Prometheus was asked (tests/relabelling).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

from exporter.relabelling.pattern import Pattern
from exporter.relabelling.rule import Rule
from exporter.relabelling.template import Template

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_REMEMBERED = 4096  # values of a rule: most labels come again and again
_REMEMBERED_CHARS = 256  # of a value: long ones are looked at each time

T = TypeVar("T")


class Workpiece:
    """The labels of a series on their way through the rules: no empty values, the original ones first, by name.

    The order only shows where two labels are mapped to one name: the later one wins.
    """

    __slots__ = ("_set", "values")

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.values = {name: labels[name] for name in sorted(labels) if labels[name]}
        self._set: set[str] = set()

    def put(self, name: str, value: str) -> None:
        """Set a label; an empty value removes it."""
        if not value:
            self.remove(name)
            return
        if name not in self._set:
            self._set.add(name)
            self.values.pop(name, None)
        self.values[name] = value

    def remove(self, name: str) -> None:
        """Remove a label; one that is not there is no error."""
        self.values.pop(name, None)
        self._set.discard(name)


Step = Callable[[Workpiece], bool]  # False: the series is dropped


class Relabeller:
    """Rules, compiled. Safe between threads. Raises PatternError for a regex that RE2 does not take."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._steps = tuple(_STEPS[rule.action](rule) for rule in rules)

    def apply(self, labels: Mapping[str, str]) -> dict[str, str] | None:
        """The labels that the rules make of these; None when they drop the series."""
        work = Workpiece(labels)
        for step in self._steps:
            if not step(work):
                return None
        return work.values


def _remembering(find: Callable[[str], T]) -> Callable[[str], T]:
    """The same function of a text, which remembers what it has found for short ones."""
    known = lru_cache(_REMEMBERED)(find)
    return lambda text: known(text) if len(text) <= _REMEMBERED_CHARS else find(text)


def _source(rule: Rule) -> Callable[[Workpiece], str]:
    """What the rule looks at: values of labels, joined."""
    names, separator = rule.source_labels, rule.separator
    if len(names) == 1:
        only = names[0]
        return lambda work: work.values.get(only, "")
    return lambda work: separator.join([work.values.get(name, "") for name in names])


def _replace(rule: Rule) -> Step:
    source, pattern = _source(rule), Pattern(rule.regex)
    target, replacement = Template(rule.target_label, pattern), Template(rule.replacement, pattern)

    def find(value: str) -> tuple[str, str] | None:
        match = pattern.match(value)
        if match is None:
            return None
        name = target.expand(match)
        return (name, replacement.expand(match)) if _LABEL_NAME.fullmatch(name) else None

    found = _remembering(find)

    def step(work: Workpiece) -> bool:
        change = found(source(work))
        if change is not None:
            work.put(*change)
        return True

    return step


def _keep(rule: Rule, *, matching: bool = True) -> Step:
    source, matches = _source(rule), _remembering(Pattern(rule.regex).matches)
    return lambda work: matches(source(work)) is matching


def _drop(rule: Rule) -> Step:
    return _keep(rule, matching=False)


def _keep_equal(rule: Rule, *, equal: bool = True) -> Step:
    source, target = _source(rule), rule.target_label
    return lambda work: (work.values.get(target, "") == source(work)) is equal


def _drop_equal(rule: Rule) -> Step:
    return _keep_equal(rule, equal=False)


def _computed(rule: Rule, compute: Callable[[str], str]) -> Step:
    """A step that sets the target label to something made of the source."""
    source, target, computed = _source(rule), rule.target_label, _remembering(compute)

    def step(work: Workpiece) -> bool:
        work.put(target, computed(source(work)))
        return True

    return step


def _hashmod(rule: Rule) -> Step:
    def compute(value: str) -> str:
        digest = hashlib.md5(value.encode("utf-8", "replace"), usedforsecurity=False).digest()
        return str(int.from_bytes(digest[8:], "big") % rule.modulus)

    return _computed(rule, compute)


def _lowercase(rule: Rule) -> Step:
    return _computed(rule, lower)


def _uppercase(rule: Rule) -> Step:
    return _computed(rule, upper)


def lower(text: str) -> str:
    """Each character by itself in lower case, as Go's strings.ToLower: no final sigma; the dotted I loses its dot."""
    return text.lower() if text.isascii() else "".join(sign.lower()[:1] for sign in text)


def upper(text: str) -> str:
    """Each character by itself in upper case, as Go's strings.ToUpper: what would become several stays one.

    Greek letters with a small iota below have a capital of one character: Unicode's title case.
    """
    if text.isascii():
        return text.upper()
    cases = ((sign, sign.upper(), sign.title()) for sign in text)
    return "".join(big if len(big) == 1 else title if len(title) == 1 else sign for sign, big, title in cases)


def _labelmap(rule: Rule) -> Step:
    pattern = Pattern(rule.regex)
    replacement = Template(rule.replacement, pattern)

    def find(name: str) -> str | None:
        match = pattern.match(name)
        return None if match is None else replacement.expand(match)

    found = _remembering(find)

    def step(work: Workpiece) -> bool:
        for name, value in list(work.values.items()):
            target = found(name)
            if target is not None:
                work.put(target, value)
        return True

    return step


def _labeldrop(rule: Rule, *, matching: bool = True) -> Step:
    matches = _remembering(Pattern(rule.regex).matches)

    def step(work: Workpiece) -> bool:
        for name in [name for name in work.values if matches(name) is matching]:
            work.remove(name)
        return True

    return step


def _labelkeep(rule: Rule) -> Step:
    return _labeldrop(rule, matching=False)


_STEPS: dict[str, Callable[[Rule], Step]] = {
    "replace": _replace,
    "keep": _keep,
    "drop": _drop,
    "keepequal": _keep_equal,
    "dropequal": _drop_equal,
    "hashmod": _hashmod,
    "labelmap": _labelmap,
    "labeldrop": _labeldrop,
    "labelkeep": _labelkeep,
    "lowercase": _lowercase,
    "uppercase": _uppercase,
}
