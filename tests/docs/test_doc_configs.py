"""Every YAML block of the documents is accepted by the tool that it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.documents import NAMES, blocks, page
from support.rule_texts import promtool

from exporter.config import parse
from exporter.config.web import load_web

# What a top-level key says of whose file the block is. One of ours without `source` would be a fragment: there is none.
OURS = {"source"}
PROMETHEUS = {"scrape_configs", "rule_files"}
WEB = {"tls_server_config", "basic_auth_users"}
RULES = {"groups"}
VMANOMALY = {"schedulers", "models", "reader", "writer"}
EXAMPLES = [(name, block.text) for name in NAMES for block in blocks(page(name)) if block.language in ("yaml", "yml")]
IDS = [f"{name}: {text.splitlines()[0]}" for name, text in EXAMPLES]
ENVIRON = {"MIMIR_PASSWORD": "a", "CLIENT_SECRET": "b", "API_KEY": "c", "REPLICA": "a"}


def keys(text: str) -> set[str]:
    content: Any = yaml.safe_load(text)
    assert isinstance(content, dict)
    return set(content)


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=IDS)
def test_an_example_is_good(name: str, text: str, tmp_path: Path) -> None:
    found = keys(text)
    file = tmp_path / "example.yml"
    file.write_text(text)
    if found & OURS:
        parse(text, name, ENVIRON)
    elif found & WEB:
        load_web(str(file), ENVIRON)
    elif found & PROMETHEUS:
        done = promtool("check", "config", "--syntax-only", file)
        assert done.returncode == 0, done.stdout + done.stderr
    elif found & RULES:
        done = promtool("check", "rules", file)
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        assert found == VMANOMALY  # nothing here can read it, but it is YAML and has the four parts


def test_all_kinds_are_there() -> None:
    for kind in (OURS, PROMETHEUS, WEB, RULES, VMANOMALY):
        assert any(keys(text) & kind for _, text in EXAMPLES)


def test_the_config_of_vmanomaly_and_its_counterpart_agree() -> None:
    before, after = [yaml.safe_load(text) for name, text in EXAMPLES if name == "docs/migration-vmanomaly.md"]
    expressions = {name: query["expr"] for name, query in before["reader"]["queries"].items()}
    config = parse(yaml.safe_dump(after), "after.yml", {})
    assert {query.name: query.expr for query in config.queries} == expressions
    errors, requests = config.queries
    assert (errors.direction, errors.min_deviation, list(errors.data_range)) == ("above", 0.01, [0, 1])
    assert requests.publish == "score"


def test_the_tagged_rules_of_grafana_and_the_queries_agree() -> None:
    before, after = [yaml.safe_load(text) for name, text in EXAMPLES if name == "docs/migration-grafana-rules.md"]
    rules = before["groups"][0]["rules"]
    config = parse(yaml.safe_dump(after), "after.yml", {})
    assert [(query.name, query.expr) for query in config.queries] == [
        (rule["labels"]["anomaly_name"], rule["expr"]) for rule in rules
    ]
