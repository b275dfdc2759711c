"""The shipped rules: valid, unit-tested on both conventions of window edges, and in step with names and documents."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from exporter import names
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.selfmetrics import SelfMetrics

ROOT = Path(__file__).parents[1]
RULE_FILES = sorted((ROOT / "rules").glob("*.yml"))
TEST_FILES = sorted((ROOT / "rules" / "tests").glob("*.yml"))
ALERTS = {
    "AnomalyDetected",
    "AnomalyShift",
    "AnomalyStale",
    "AnomalyShareHigh",
    "AnomalySeriesAbsent",
    "AnomalyExporterDown",
    "AnomalyVerdictsStale",
    "AnomalySourceFailing",
}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert shutil.which("promtool"), "promtool is not on PATH: install Debian's package prometheus"
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)


def rules() -> Iterator[dict[str, Any]]:
    for file in RULE_FILES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def records() -> dict[str, dict[str, Any]]:
    return {rule["record"]: rule for rule in rules() if "record" in rule}


def unit_tests() -> Iterator[dict[str, Any]]:
    for file in TEST_FILES:
        yield from yaml.safe_load(file.read_text())["tests"]


def documented_metrics() -> set[str]:
    """Names in the first column of the tables of docs/metrics.md."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    return set(re.findall(r"^\| `([a-z0-9_:]+)`", text, flags=re.MULTILINE))


def published_metrics() -> set[str]:
    return {family.name for family in names.FAMILIES.values()}


def texts_of(rule: dict[str, Any]) -> str:
    return "\n".join([rule["expr"], *rule.get("annotations", {}).values()])


def left_open(file: Path, folder: Path) -> None:
    """Copy a rule file with every range a millisecond shorter.

    On a server with closed windows (2.42) that selects exactly what the full range selects on one with left-open
    windows (3.x), because samples lie on whole milliseconds.
    """

    def shorter(text: str) -> str:
        return re.sub(r"\[(\d+)m(:\d+s)?\]", lambda m: f"[{int(m[1]) - 1}m59s999ms{m[2] or ''}]", text)

    content = yaml.safe_load(file.read_text())
    for rule in (rule for group in content["groups"] for rule in group["rules"]):
        rule["expr"] = shorter(rule["expr"])
        if "description" in rule.get("annotations", {}):
            rule["annotations"]["description"] = shorter(rule["annotations"]["description"])
    (folder / file.name).write_text(yaml.safe_dump(content))


def test_rule_files_are_valid() -> None:
    done = promtool("check", "rules", *RULE_FILES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.stem)
def test_unit_tests_hold_with_the_servers_own_windows(file: Path) -> None:
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.stem)
def test_unit_tests_hold_with_windows_without_their_left_edge(file: Path, tmp_path: Path) -> None:
    for rule_file in RULE_FILES:
        left_open(rule_file, tmp_path)
    (tmp_path / "tests").mkdir()
    shutil.copy(file, tmp_path / "tests")
    assert "59s999ms" in (tmp_path / "anomaly-alerts.yml").read_text()
    done = promtool("test", "rules", tmp_path / "tests" / file.name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "rules" / "anomaly-alerts.yml", tmp_path)
    text = (ROOT / "rules" / "tests" / "detected.yml").read_text().replace("above its band", "below its band")
    (tmp_path / "tests" / "detected.yml").write_text(text)
    assert promtool("test", "rules", tmp_path / "tests" / "detected.yml").returncode == 1


def test_alert_names_are_the_public_ones() -> None:
    assert set(alerts()) == ALERTS


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_has_a_firing_and_a_silent_case_with_texts(alert: str) -> None:
    cases = [case for test in unit_tests() for case in test.get("alert_rule_test", []) if case["alertname"] == alert]
    expected = [found for case in cases for found in case["exp_alerts"]]
    assert expected
    assert any(not case["exp_alerts"] for case in cases)
    assert all({"summary", "description"} <= set(found["exp_annotations"]) for found in expected)


@pytest.mark.parametrize("record", sorted(records()))
def test_every_recording_rule_is_seen_with_samples(record: str) -> None:
    cases = [case for test in unit_tests() for case in test.get("promql_expr_test", [])]
    assert any(case["expr"] == record and case["exp_samples"] for case in cases)


@pytest.mark.parametrize("record", sorted(records()))
def test_recorded_names_say_level_metric_and_operations(record: str) -> None:
    level, metric, operations = record.split(":")
    grouping = re.search(r"by \(([^)]*)\)", records()[record]["expr"])
    assert level == ("_".join(re.split(r",\s*", grouping[1])) if grouping else "series")
    assert metric.replace("verdict_age", "verdict_timestamp") in published_metrics() | documented_metrics()
    assert operations


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_says_severity_summary_and_description(alert: str) -> None:
    rule = alerts()[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description"} <= set(rule["annotations"])


def test_rules_name_only_metrics_that_exist() -> None:
    known = published_metrics() | documented_metrics()
    for rule in rules():
        used = set(re.findall(r"\banomaly_\w+", texts_of(rule)))
        assert used <= known, rule
        assert used or "up{" in rule["expr"]


def test_no_rule_selects_on_the_size_of_a_value() -> None:
    for rule in rules():
        assert not re.search(r"anomaly_(value|expected|lower|upper)\b[^,)]*\s*(==|!=|[<>]=?)", rule["expr"]), rule


def test_no_rule_uses_functions_that_differ_between_servers() -> None:
    for rule in rules():
        assert not re.search(r"holt_winters|smoothing|quantile_over_time|count_over_time", texts_of(rule)), rule


def test_published_metrics_are_documented() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert published_metrics() <= documented_metrics()
    for family in names.VMANOMALY_FAMILIES.values():
        assert f"`{family.name}`" in text
    for label in (names.LABEL_QUERY, names.LABEL_MODEL, names.LABEL_TENANT, names.LABEL_FOR):
        assert f"`{label}`" in text
    for state in names.STATES:
        assert f"`{state}`" in text


def test_documented_metrics_exist() -> None:
    others = documented_metrics() - published_metrics() - set(records())
    assert others
    assert all(name.startswith(f"{names.SELF_PREFIX}_") for name in others)


def test_documented_self_metrics_are_those_of_the_registry() -> None:
    registry = CollectorRegistry()
    SelfMetrics(registry)
    WriteMetrics(registry)
    ending = {"counter": "_total", "info": "_info"}
    collected = {family.name + ending.get(family.type, "") for family in registry.collect()}
    registered = {name for name in collected if name.startswith(names.SELF_PREFIX)}
    assert documented_metrics() - published_metrics() - set(records()) == registered


def test_recording_rules_are_documented() -> None:
    assert set(records()) <= documented_metrics()


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_has_its_section_in_the_documents(alert: str) -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), flags=re.MULTILINE)
    assert alert in headings
