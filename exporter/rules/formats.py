"""Rules as the tools read them: Prometheus' rule files, a PrometheusRule manifest, a jsonnet mixin, inhibit rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from exporter.names import JOB
from exporter.rules.expressions import duration, indented
from exporter.rules.inhibit import Inhibition
from exporter.rules.rule import AlertRule, Group, Rule

Document = dict[str, Any]


def rule_file(groups: Sequence[Group], header: str) -> str:
    """A rule file of Prometheus; also for the rulers of Mimir, Cortex and Thanos, and for vmalert."""
    return f"{_comment(header)}groups:\n{indented(_annotated(groups))}\n"


def manifest(groups: Sequence[Group], header: str) -> str:
    """A PrometheusRule for the Prometheus operator (monitoring.coreos.com/v1)."""
    head = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": JOB, "labels": {"app.kubernetes.io/name": JOB}},
    }
    return f"{_comment(header)}{_yaml(head)}spec:\n  groups:\n{indented(_annotated(groups), 4)}\n"


def mixin(alerting: Sequence[Group], recording: Sequence[Group], header: str) -> str:
    """A monitoring mixin: hidden fields `prometheusAlerts` and `prometheusRules`, to be added to others."""
    parts = (("prometheusAlerts", alerting), ("prometheusRules", recording))
    lines = [f"// {line}".rstrip() for line in header.splitlines()]
    lines.append("{")
    for field, groups in parts:
        # JSON is jsonnet, too.
        content = json.dumps([_group(group) for group in groups], indent=2, ensure_ascii=False)
        lines += [f"  {field}+:: {{", f"    groups+: {indented(content, 4).lstrip()},", "  },"]
    return "\n".join([*lines, "}", ""])


def inhibit_rules(inhibitions: Iterable[Inhibition], header: str) -> str:
    """The `inhibit_rules` of an Alertmanager's config."""
    lines = []
    for each in inhibitions:
        rule = {"source_matchers": list(each.source), "target_matchers": list(each.target), "equal": list(each.equal)}
        lines.append(f"{_comment(each.note)}{_yaml([rule])}")
    return f"{_comment(header)}inhibit_rules:\n{indented(''.join(lines).rstrip())}\n"


def _annotated(groups: Sequence[Group]) -> str:
    """The groups as items of a list, each behind its note."""
    return "\n".join(f"{_comment(group.note)}{_yaml([_group(group)])}" for group in groups).rstrip("\n")


def _group(group: Group) -> Document:
    shown: Document = {"name": group.name}
    if group.interval_s:
        shown["interval"] = duration(group.interval_s)
    return shown | {"rules": [_rule(rule) for rule in group.rules]}


def _rule(rule: Rule) -> Document:
    if not isinstance(rule, AlertRule):
        return {"record": rule.record, "expr": rule.expr}
    shown: Document = {"alert": rule.alert, "expr": rule.expr}
    for key, waited_s in (("for", rule.for_s), ("keep_firing_for", rule.keep_firing_for_s)):
        if waited_s:
            shown[key] = duration(waited_s)
    labels = {"severity": rule.severity} | ({"query": rule.query} if rule.query else {})
    return shown | {"labels": labels, "annotations": dict(rule.annotations)}


def _comment(content: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in content.splitlines())


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, lists further to the right than their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Begin a block; a list within a mapping too, which PyYAML would not indent."""
        super().increase_indent(flow, False)


def _block_text(dumper: yaml.SafeDumper, content: str) -> yaml.ScalarNode:
    style = "|" if "\n" in content else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", content, style=style)


_Dumper.add_representer(str, _block_text)


def _yaml(content: object) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 30)
