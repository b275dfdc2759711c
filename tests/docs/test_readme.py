"""The README keeps its word: the short config, the alert as it is rendered, the figures as they were measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.documents import ROOT, blocks, page, rows, section
from support.rule_texts import promtool

from exporter import names
from exporter.config import parse

README = page("README.md")
BENCHMARKS = page("BENCHMARKS.md")


def test_the_config_has_twelve_lines() -> None:
    text = next(block.text for block in blocks(README) if block.language == "yaml")
    assert len(text.splitlines()) == 12
    config = parse(text, "README.md", {})
    assert [query.name for query in config.queries] == ["http_requests", "memory"]


def test_its_picture_and_its_two_commands_come_first() -> None:
    head = README.partition("\n## ")[0]
    assert "docs/img/dashboard-series.png" in head
    assert [line.split("#")[0].strip() for line in blocks(head)[0].text.splitlines()] == ["make demo", "make test"]


# --- the alert --------------------------------------------------------------------------------------------------------

# What the exporter said in the run that the text is from.
RESULTS = {"score": 7.16540834, "value": 3189.54, "expected": 739.093018, "lower": 488.620861, "upper": 1081.24295}
LABELS = {"instance": "demo-app", "job": "demo", "region": "eu", "service": "web", "tenant": "shop"}
EXPORTER = "127.0.0.1:34769"
_TIMES = re.compile(r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC|at=\d+\.\d{3}")


def shown() -> dict[str, str]:
    """The annotations in the README, by name."""
    table = section(README, "## The alert you get").partition("\nWhat to take from it")[0]
    return {cells[0]: cells[1].strip("`") for cells in rows(table) if cells[0] != "annotation"}


def unit_test(expected: dict[str, str]) -> dict[str, Any]:
    """A test for promtool in which the results of that run appear; no sample lies on the edge of a window."""
    labels = {**LABELS, "query": "requests", "model": "robust_band"}
    series = [(names.FAMILIES[key].name, labels, value) for key, value in RESULTS.items()]
    verdict = {"query": "requests", "tenant": "", "job": names.JOB, "instance": EXPORTER}
    series.append((names.SELF_VERDICT_TIME, verdict, 1795366960.529))
    alert = {"exp_labels": {**labels, "severity": "warning"}, "exp_annotations": expected}
    return {
        "rule_files": [str(ROOT / "rules" / "anomaly-alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m7ms",
                "input_series": [
                    {"series": f"{name}{{{_matchers(own)}}}", "values": f"_ {value}x3"} for name, own, value in series
                ],
                "alert_rule_test": [
                    {"alertname": names.ALERT_DETECTED, "eval_time": "2m", "exp_alerts": [alert]},
                ],
            }
        ],
    }


def _matchers(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items() if value)


def rendered(folder: Path) -> dict[str, str]:
    """What the shipped rule makes of those results: as promtool says it got it where something else was expected."""
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(unit_test({"summary": "?"})))
    done = promtool("test", "rules", file)
    got = re.search(r"got:\[(.*)\]", done.stdout + done.stderr, re.DOTALL)
    assert got, done.stdout + done.stderr
    annotations = re.search(r"Annotations:(\{.*\})", got[1], re.DOTALL)
    assert annotations, got[1]
    return {name: json.loads(f'"{text}"') for name, text in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', annotations[1])}


def test_the_alert_is_word_for_word_what_the_shipped_rule_renders(tmp_path: Path) -> None:
    made = rendered(tmp_path)
    assert set(shown()) == {"summary", "description", "explain_url", "runbook_url"}
    for name, words in shown().items():
        assert _TIMES.sub("TIME", words) == _TIMES.sub("TIME", made[name]), name


def test_the_table_below_names_the_numbers_of_the_alert() -> None:
    told = section(README, "## The alert you get")
    description = shown()["description"]
    for number in ("3189.54", "739.093", "488.621", "1081.24", "7.17"):
        assert number in description
        assert number in told.partition("| | where it stands |")[2]


# --- figures ----------------------------------------------------------------------------------------------------------


def measured() -> dict[str, list[list[str]]]:
    """The tables of quality by set, a row per detector; each begins with its header."""
    part = BENCHMARKS.partition("<!-- quality: written")[2].partition("<!-- quality: end")[0]
    return {
        found[1]: list(rows(found[2].partition(f"\n{found[1]}: ")[0]))
        for found in re.finditer(r"^### (\w+)\n(.*?)(?=^### |\Z)", part, re.MULTILINE | re.DOTALL)
    }


def figure(name: str, detector: str, column: str) -> str:
    header, *found = measured()[name]
    return next(row for row in found if row[0] == detector)[header.index(column)]


def spread(detectors: tuple[str, ...], column: str, digits: int) -> str:
    values = [float(figure(name, each, column)) for name in measured() for each in detectors]
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def test_there_are_six_sets() -> None:
    assert len(measured()) == 6
    assert "six labelled sets" in README


@pytest.mark.parametrize(
    ("detectors", "column", "digits", "before"),
    [
        (("robust_band", "robust_band_5m"), "false/week", 2, "and "),
        (("grafana_adaptive",), "event F1", 3, "on the six sets is "),
        (("grafana_robust",), "event F1", 3, "(adaptive) and "),
        (("robust_band_5m",), "event F1", 3, "of the default config here "),
    ],
)
def test_figures_of_quality_are_those_of_the_benchmarks(
    detectors: tuple[str, ...], column: str, digits: int, before: str
) -> None:
    assert before + spread(detectors, column, digits) in " ".join(README.split())


def test_figures_of_speed_are_rows_of_the_benchmarks() -> None:
    table = section(README, "## Limits and costs").partition("|  | at | exporter |")[2]
    quoted = [cells for cells in rows(table) if len(cells) == 5]
    assert len(quoted) == 5
    known = [cells[:5] for cells in rows(BENCHMARKS.partition("<!-- speed: written")[2])]
    for cells in quoted:
        same = [row for row in known if row[0] == cells[0]]
        assert cells in known, f"README.md has {cells}, BENCHMARKS.md {same}"


def test_versions_and_commands_that_it_speaks_of() -> None:
    assert "Prometheus 2.42" in README
    assert promtool("--version").stdout.startswith("promtool, version 2.42")
