"""The shipped rules: as generated, valid, unit-tested on both conventions of window edges, and as documented."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _jsonnet
import pytest
import yaml
from support.own_metrics import registered
from support.rule_texts import ROOT, input_times_ms, left_open, promtool, ranges_ms, rules_of, texts_of

from exporter import names
from exporter.rules.writing import FORMATS, Format, files

RULES = ROOT / "rules"
RULE_FILES = sorted(RULES.glob("anomaly-*.yml"))
TEST_FILES = sorted((RULES / "tests").glob("*.yml"))
FOLDERS: dict[Format, Path] = {"prometheus": RULES, "prometheusrule": ROOT / "deploy", "mixin": RULES / "mixin"}
LINKS = {"summary", "description", "explain_url", "runbook_url"}


def rules() -> Iterator[dict[str, Any]]:
    for file in RULE_FILES:
        yield from rules_of(file.read_text())


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


# --- the committed files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_committed_is_what_the_command_writes(kind: Format) -> None:
    for name, content in files(None, kind).items():
        assert (FOLDERS[kind] / name).read_text() == content, f"run: anomaly-exporter rules --format {kind}"


def test_rule_files_are_valid() -> None:
    done = promtool("check", "rules", *RULE_FILES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == 2


def test_all_formats_hold_the_same_rules() -> None:
    manifest = yaml.safe_load((ROOT / "deploy" / "prometheusrule.yml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    written = [group for file in (RULES / "anomaly-recording.yml", RULES / "anomaly-alerts.yml")
               for group in yaml.safe_load(file.read_text())["groups"]]  # fmt: skip
    assert manifest["spec"]["groups"] == written
    mixed = json.loads(_jsonnet.evaluate_snippet("test", _MIXIN_USER.replace("MIXIN", str(RULES / "mixin"))))
    assert mixed["rules"] + mixed["alerts"] == written


def test_a_mixin_adds_to_others() -> None:
    mixed = json.loads(_jsonnet.evaluate_snippet("test", _MIXIN_USER.replace("MIXIN", str(RULES / "mixin"))))
    assert mixed["both"][0] == "ours"
    assert len(mixed["both"]) == 1 + len(mixed["alerts"])


_MIXIN_USER = """
local mixin = import "MIXIN/mixin.libsonnet";
{
  alerts: mixin.prometheusAlerts.groups,
  rules: mixin.prometheusRules.groups,
  both: [g.name for g in ({prometheusAlerts+:: {groups+: [{name: "ours"}]}} + mixin).prometheusAlerts.groups],
}
"""


# --- unit tests of promtool -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.stem)
def test_unit_tests_hold_with_the_servers_own_windows(file: Path) -> None:
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.stem)
def test_unit_tests_hold_with_windows_without_their_left_edge(file: Path, tmp_path: Path) -> None:
    for rule_file in RULE_FILES:
        shorter = left_open(rule_file.read_text())
        assert "59s999ms" in shorter
        (tmp_path / rule_file.name).write_text(shorter)
    (tmp_path / "tests").mkdir()
    shutil.copy(file, tmp_path / "tests")
    done = promtool("test", "rules", tmp_path / "tests" / file.name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.stem)
def test_no_input_sample_of_a_unit_test_lies_on_the_edge_of_a_window(file: Path) -> None:
    # Evaluations, ranges, offsets and steps are whole seconds, so edges are, and no sample is.
    content = yaml.safe_load(file.read_text())
    lengths_ms = {length for rule_file in RULE_FILES for length in ranges_ms(rule_file.read_text())}
    assert re.fullmatch(r"\d+[sm]", content["evaluation_interval"])
    assert lengths_ms
    assert all(length % 1000 == 0 for length in lengths_ms)
    for test in content["tests"]:
        times = input_times_ms(test)
        assert times, test["name"]
        assert all(time % 1000 for time in times), test["name"]


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(RULES / "anomaly-alerts.yml", tmp_path)
    text = (RULES / "tests" / "detected.yml").read_text().replace("above its band", "below its band")
    (tmp_path / "tests" / "detected.yml").write_text(text)
    assert promtool("test", "rules", tmp_path / "tests" / "detected.yml").returncode == 1


@pytest.mark.parametrize("alert", names.ALERTS)
def test_every_alert_has_a_firing_and_a_silent_case_with_all_texts(alert: str) -> None:
    cases = [case for test in unit_tests() for case in test.get("alert_rule_test", []) if case["alertname"] == alert]
    expected = [found for case in cases for found in case["exp_alerts"]]
    assert expected
    assert any(not case["exp_alerts"] for case in cases)
    assert all(set(found["exp_annotations"]) >= LINKS for found in expected)
    assert any(all(found["exp_annotations"][link].startswith("http://") for link in ("explain_url", "runbook_url"))
               for found in expected)  # fmt: skip


@pytest.mark.parametrize("record", sorted(records()))
def test_every_recording_rule_is_seen_with_samples(record: str) -> None:
    cases = [case for test in unit_tests() for case in test.get("promql_expr_test", [])]
    assert any(case["expr"] == record and case["exp_samples"] for case in cases)


# --- names and words --------------------------------------------------------------------------------------------------


def test_alert_names_are_the_public_ones() -> None:
    assert set(alerts()) == set(names.ALERTS)
    assert len(set(names.ALERTS)) == len(names.ALERTS)


@pytest.mark.parametrize("record", sorted(records()))
def test_recorded_names_say_level_metric_and_operations(record: str) -> None:
    level, metric, operations = record.split(":")
    inner = [name for name in records() if name in records()[record]["expr"] and name != record]
    groupings = re.findall(r"by \(([^)]*)\)", records()[record]["expr"])
    if groupings:
        assert level == "_".join(re.split(r",\s*", groupings[0]))
    elif inner:
        assert {name.split(":")[0] for name in inner} == {level}
    else:
        assert level == "series"
    assert metric.replace("verdict_age", "verdict_timestamp") in published_metrics() | documented_metrics()
    assert operations


@pytest.mark.parametrize("alert", names.ALERTS)
def test_every_alert_says_severity_and_has_its_texts(alert: str) -> None:
    rule = alerts()[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) >= LINKS
    assert "dashboard_url" not in rule["annotations"]  # no Grafana is known by default
    about_series = "label_replace" in rule["expr"] or alert == names.ALERT_SHARE
    assert ("graph" in rule["annotations"]) == about_series


def test_rules_name_only_metrics_that_exist() -> None:
    known = published_metrics() | documented_metrics()
    for rule in rules():
        used = set(re.findall(r"(?<![\w:])anomaly_\w+", texts_of(rule)))
        assert used <= known, rule
        assert used or "up{" in rule["expr"] or re.search(r"\w:anomaly_", rule["expr"])


def test_rules_read_only_what_is_recorded() -> None:
    read = {name for rule in rules() for name in re.findall(r"\w+:anomaly_\w+:\w+", texts_of(rule))}
    assert read
    assert read <= set(records())


def test_no_rule_selects_on_the_size_of_a_value() -> None:
    on_size = re.compile(r"anomaly_(value|expected|lower|upper)\b[^,)]*\s*(==|!=|[<>]=?)\s*[-\d]")
    for rule in rules():
        assert not on_size.search(texts_of(rule)), rule


def test_no_rule_uses_functions_that_differ_between_servers() -> None:
    for rule in rules():
        assert not re.search(r"holt_winters|smoothing|quantile_over_time|count_over_time", texts_of(rule)), rule


def test_self_metrics_that_rules_read_are_those_of_the_registry() -> None:
    registered = self_metrics()
    read = {names.SELF_SERIES, names.SELF_SERIES_SHED, names.SELF_VERDICT_TIME, names.SELF_SOURCE_UP}
    assert read | {names.SELF_SOURCE_ERRORS} <= registered


def self_metrics() -> set[str]:
    return {name for name in registered() if name.startswith(names.SELF_PREFIX)}


# --- documents --------------------------------------------------------------------------------------------------------


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
    assert documented_metrics() - published_metrics() - set(records()) == self_metrics()


def test_recording_rules_are_documented() -> None:
    assert set(records()) <= documented_metrics()


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {page.stem for page in (ROOT / "docs" / "runbooks").iterdir()} == set(names.ALERTS)


@pytest.mark.parametrize("alert", names.ALERTS)
def test_every_runbook_says_what_to_do(alert: str) -> None:
    page = (ROOT / "docs" / "runbooks" / f"{alert}.md").read_text()
    headings = re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE)
    wanted = ["What it means", "First checks", "Typical causes", "Tune or silence", "How it resolves"]
    assert headings[0] == alert
    assert [heading for heading in headings if heading in wanted] == wanted
    assert f"*{alerts()[alert]['labels']['severity']}*" in page


def test_the_page_of_alerts_lists_all_with_their_severity() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text()
    listed = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \|", text, flags=re.MULTILINE)
    severities = {alert: rule["labels"]["severity"] for alert, rule in alerts().items()}
    assert {(alert, page, severity) for alert, page, severity in listed} == {
        (alert, alert, severity) for alert, severity in severities.items()
    }
