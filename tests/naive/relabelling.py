"""Relabelling after Prometheus' documentation, slowly: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config

Regular expressions by Python's own engine, so only those in which it agrees with RE2 (no nested repetition); letters
in another case for ASCII only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from exporter.relabelling.rule import Rule

Labels = dict[str, str]
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))", re.ASCII)


def relabel(rules: Sequence[Rule], labels: Mapping[str, str]) -> Labels | None:
    """The labels after all rules, None for a series that is dropped."""
    original = {name: labels[name] for name in sorted(labels) if labels[name]}
    added: Labels = {}
    for rule in rules:
        if not _apply(rule, original, added):
            return None
    return {**original, **added}


def _apply(rule: Rule, original: Labels, added: Labels) -> bool:
    """One rule; False drops the series. Names that are set stand in `added`, in the order in which they were."""
    if rule.action in ("labeldrop", "labelkeep", "labelmap"):
        _apply_to_names(rule, original, added)
        return True
    now = {**{name: value for name, value in original.items() if name not in added}, **added}
    source = rule.separator.join(now.get(name, "") for name in rule.source_labels)
    regex = re.compile(f"(?:{rule.regex})", re.DOTALL)
    match = regex.fullmatch(source)
    if rule.action == "keep":
        return match is not None
    if rule.action == "drop":
        return match is None
    if rule.action in ("keepequal", "dropequal"):
        return (now.get(rule.target_label, "") == source) is (rule.action == "keepequal")
    if rule.action == "replace" and match is not None:
        target = _expanded(rule.target_label, match)
        if _LABEL_NAME.fullmatch(target):
            _set(target, _expanded(rule.replacement, match), original, added)
    elif rule.action == "hashmod":
        digest = hashlib.md5(source.encode(), usedforsecurity=False).digest()
        _set(rule.target_label, str(int.from_bytes(digest[8:], "big") % rule.modulus), original, added)
    elif rule.action in ("lowercase", "uppercase"):
        _set(rule.target_label, source.lower() if rule.action == "lowercase" else source.upper(), original, added)
    return True


def _apply_to_names(rule: Rule, original: Labels, added: Labels) -> None:
    """A rule that looks at the names of labels."""
    now = {**{name: value for name, value in original.items() if name not in added}, **added}
    regex = re.compile(f"(?:{rule.regex})", re.DOTALL)
    for name, value in now.items():
        match = regex.fullmatch(name)
        if rule.action == "labelmap":
            if match:
                _set(_expanded(rule.replacement, match), value, original, added)
        elif (match is None) is (rule.action == "labelkeep"):
            _set(name, "", original, added)


def _set(name: str, value: str, original: Labels, added: Labels) -> None:
    """A label without a value is none."""
    if value:
        added[name] = value
    else:
        added.pop(name, None)
        original.pop(name, None)


def _expanded(template: str, match: re.Match[str]) -> str:
    """`$1`, `${name}` and `$$` filled in; what is no group is empty."""

    def of(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        if name.isdigit() and (name == "0" or name[0] != "0"):
            return (match[int(name)] or "") if int(name) <= (match.re.groups) else ""
        return (match[name] or "") if name in match.re.groupindex else ""

    return _REFERENCE.sub(of, template)
