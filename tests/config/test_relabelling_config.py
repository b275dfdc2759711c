"""Relabelling in the config: what is read, what promtool says of the same rules, what shows in /config and its hash."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from exporter.config import Config, Limits, content_hash, mask, parse
from exporter.errors import ConfigError
from exporter.relabelling.publishing import LabelLimits
from exporter.relabelling.rule import Rule

RULES = """\
relabel_configs:
  - {source_labels: [pod], regex: "(.+)-[a-z0-9]+", target_label: "w_$1", replacement: "${1}$$${x}"}
  - {action: HashMod, source_labels: [a, b], separator: "", modulus: 8, target_label: shard}
"""


def read(text: str, **environ: str) -> Config:
    return parse(text + "source: {url: 'http://p'}\n", "f.yml", environ)


def one(text: str) -> Config:
    return read(text + "queries: [{name: a, expr: up}]\n")


def test_the_rules_of_the_file_come_before_those_of_the_query() -> None:
    own = "queries: [{name: a, expr: up, relabel_configs: [{action: labeldrop, regex: 500}], drop_labels: [pod]}]\n"
    (query,) = read(RULES + own).queries
    assert query.relabel_configs == (
        Rule("replace", ("pod",), ";", "(.+)-[a-z0-9]+", 0, "w_$1", "${1}$$${x}"),
        Rule("hashmod", ("a", "b"), "", "(.*)", 8, "shard"),
        Rule("labeldrop", regex="500"),
    )
    assert query.drop_labels == ("pod",)


def test_nothing_in_rules_comes_from_the_environment() -> None:
    rule = "relabel_configs: [{target_label: a, replacement: '${HOME}'}]\n"
    found = read(rule + "queries: [{name: a, expr: up}]\n", HOME="/root").queries[0].relabel_configs
    assert found == (Rule(target_label="a", replacement="${HOME}"),)


def test_external_labels_may_come_from_the_environment() -> None:
    text = "global: {external_labels: {replica: '${REPLICA}', cluster: eu}}\nqueries: [{name: a, expr: up}]\n"
    assert read(text, REPLICA="b").external_labels == (("cluster", "eu"), ("replica", "b"))


def test_the_effective_config_reads_back() -> None:
    text = (
        RULES + "global: {external_labels: {c: 'x$$y'}}\nqueries:\n  - {name: a, expr: up, drop_labels: [pod, uid]}\n"
    )
    config = read(text + "  - {name: b, expr: up, limits: {label_limit: 0}}\n")
    assert parse(mask(config), "f.yml", {}) == config
    assert mask(parse(mask(config), "f.yml", {})) == mask(config)


@pytest.mark.parametrize(
    "more",
    [
        "relabel_configs: [{action: labeldrop, regex: pod}]\n",
        "relabel_configs: [{action: labelkeep, regex: pod}]\n",
        "global: {external_labels: {cluster: eu}}\n",
        "limits: {label_limit: 30}\n",
        "limits: {label_name_length_limit: 30}\n",
        "limits: {label_value_length_limit: 30}\n",
    ],
)
def test_the_hash_tells_of_a_change(more: str) -> None:
    assert content_hash(one(more)) != content_hash(one(""))


def test_limits_have_the_names_of_prometheus() -> None:
    usual = one("").queries[0].limits
    assert usual.labels == LabelLimits(128, 1024, 4096)
    text = "limits: {label_limit: 30, label_value_length_limit: 0}\n"
    own = "queries: [{name: a, expr: up, limits: {label_name_length_limit: 9}}]\n"
    assert read(text + own).queries[0].limits == Limits(
        label_limit=30, label_name_length_limit=9, label_value_length_limit=0
    )


TRIED: list[dict[str, Any]] = [
    {"target_label": "a"},
    {"source_labels": ["a"]},
    {"source_labels": [], "target_label": "a", "replacement": ""},
    {"target_label": "1a"},
    {"target_label": "a-b"},
    {"target_label": "$1"},
    {"target_label": "a$1_${name}b"},
    {"target_label": "a-$1"},
    {"target_label": "$"},
    {"target_label": "${1"},
    {"target_label": "a", "regex": "("},
    {"target_label": "a", "regex": ""},
    {"target_label": "a", "regex": 5},
    {"target_label": "a", "regex": "a)|(b"},
    {"target_label": "a", "regex": r"\C"},
    {"target_label": "a", "regex": "(?P<n>a)"},
    {"target_label": "a", "regex": "a{1001}"},
    {"target_label": "a", "regex": "(?!a)"},
    {"target_label": "a", "modulus": 7},
    {"action": "nothing", "target_label": "a"},
    {"action": "Replace", "target_label": "a"},
    {"action": "LABELDROP", "regex": "a"},
    {"action": "hashmod", "target_label": "a"},
    {"action": "hashmod", "target_label": "a", "modulus": 0},
    {"action": "hashmod", "target_label": "a", "modulus": 18446744073709551615},
    {"action": "hashmod", "target_label": "a", "modulus": -1},
    {"action": "hashmod", "target_label": "$1", "modulus": 1},
    {"action": "hashmod", "modulus": 1},
    {"action": "keep"},
    {"action": "drop", "source_labels": ["a"], "regex": "x"},
    {"action": "keepequal", "source_labels": ["a"], "target_label": "b"},
    {"action": "keepequal", "source_labels": ["a"]},
    {"action": "dropequal", "source_labels": ["a"], "target_label": "b", "separator": ","},
    {"action": "dropequal", "source_labels": ["a"], "target_label": "b", "regex": "x"},
    {"action": "labelmap"},
    {"action": "labelmap", "regex": "a(.*)", "replacement": "1$1"},
    {"action": "labelmap", "regex": "a(.*)", "replacement": ""},
    {"action": "labeldrop", "regex": "a", "source_labels": ["b"]},
    {"action": "labelkeep", "regex": "a", "target_label": "b"},
    {"action": "labelkeep", "regex": "a", "replacement": "b"},
    {"action": "lowercase", "source_labels": ["a"], "target_label": "b"},
    {"action": "lowercase", "source_labels": ["a"], "target_label": "a-b"},
    {"action": "uppercase", "source_labels": ["a"], "target_label": "b", "replacement": "c"},
    {"action": "uppercase", "source_labels": "a", "target_label": "b", "nonsense": 1},
]


@pytest.mark.parametrize("rule", TRIED, ids=json.dumps)
def test_promtool_takes_and_refuses_the_same(rule: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps({"scrape_configs": [{"job_name": "a", "metric_relabel_configs": [rule]}]}))
    done = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True, check=False)
    try:
        one(json.dumps({"relabel_configs": [rule]}).removeprefix("{").removesuffix("}") + "\n")
        ours = ""
    except ConfigError as error:
        ours = str(error)
    assert (ours == "") == (done.returncode == 0), (ours, done.stderr)
