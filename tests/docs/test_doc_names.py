"""The documents name metrics, keys of the config and alerts that exist."""

from __future__ import annotations

import re

import pytest
from support.documents import NAMES, ROOT, page, rows, section, spans
from support.own_metrics import registered
from support.rule_texts import rules_of

from exporter import names
from exporter.config.keys import BLOCKS

# Labels and rules of grafana/promql-anomaly-detection, parameters of vmanomaly, a variable of an example.
THEIRS = {
    "anomaly_name", "anomaly_type", "anomaly_strategy", "anomaly_score_outside_data_range", "anomaly_detection",
}  # fmt: skip


def published() -> set[str]:
    return registered() | {family.name for family in (*names.FAMILIES.values(), *names.VMANOMALY_FAMILIES.values())}


def recorded() -> set[str]:
    return {
        rule["record"] for rule in rules_of((ROOT / "rules" / "anomaly-recording.yml").read_text()) if "record" in rule
    }


@pytest.mark.parametrize("name", NAMES)
def test_metrics_exist(name: str) -> None:
    text = page(name)
    used = set(re.findall(r"(?<![\w:./-])anomaly_\w+(?![\w:]|\.py)", text))
    assert {each.removesuffix("_") for each in used} - published() - THEIRS - {"anomaly_exporter"} == set()


@pytest.mark.parametrize("name", NAMES)
def test_recorded_metrics_exist(name: str) -> None:
    used = set(re.findall(r"\b\w+:anomaly_\w+:\w+", page(name)))
    assert {
        each for each in used if "_zone:" not in each and not each.startswith("series:anomaly_score:")
    } <= recorded()


def test_the_readme_names_metrics() -> None:
    assert len(set(re.findall(r"\banomaly_\w+", page("README.md"))) & published()) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_alerts_exist(name: str) -> None:
    used = set(re.findall(r"\bAnomaly(?:Detected|S[a-z]\w+|E[a-z]\w+|V[a-z]\w+|U[a-z]\w+)\b", page(name)))
    assert used <= set(names.ALERTS)


@pytest.mark.parametrize("name", ["docs/migration-vmanomaly.md", "docs/migration-grafana-rules.md"])
def test_what_keys_become_are_keys_of_the_config(name: str) -> None:
    """In the second column of the tables a key stands as `block.key`, or alone if it is of the top of the file."""
    text = page(name)
    found: set[str] = set()
    for cells in rows(text):
        if len(cells) == 3 and cells[1] not in ("here", "`metric_names: default`"):
            found |= {word for word in re.findall(r"`([a-z_]+(?:\.[a-z_]+)?)`", cells[1]) if known_block(word)}
    assert len(found) > 5
    for word in found:
        block, _, key = word.rpartition(".")
        assert key in {each.name for each in BLOCKS[block]}, word


def known_block(word: str) -> bool:
    """Whether this names a key with its block; a bare word has to be one of a query or of the file."""
    block, dot, _ = word.rpartition(".")
    if dot:
        assert block in BLOCKS, word
        return True
    return word in {each.name for each in BLOCKS[""]}


@pytest.mark.parametrize("block", ["source", "queries", "alert", "global"])
def test_the_usual_keys_have_a_place_in_the_migration(block: str) -> None:
    said = set(spans(page("docs/migration-vmanomaly.md"))) | set(spans(page("docs/migration-grafana-rules.md")))
    assert any(word.startswith(f"{block}.") for word in said)


def test_metric_names_of_the_vmanomaly_scheme_are_as_said() -> None:
    table = section(page("docs/migration-vmanomaly.md"), "## Metrics and labels")
    said = [[cell.strip("`") for cell in cells] for cells in rows(table) if cells[0].startswith("`")]
    pairs = {(names.FAMILIES[key].name, names.VMANOMALY_FAMILIES[key].name)
             for key in (names.SCORE, names.EXPECTED, names.LOWER, names.UPPER, names.VALUE)}  # fmt: skip
    assert {(default, theirs) for _, default, theirs in said} == pairs
    assert all(first == theirs for first, _, theirs in said)
