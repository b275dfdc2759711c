"""The rules on a real vmalert: all of them load, every alert fires, and its texts are whole for whatever label."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from support.rule_texts import ROOT, rules_of
from support.servers import free_port, scrape_of, target_showing, wait_until
from support.victoria import flushed, program, scraping_in, vmalert_in

from exporter import names
from exporter.config import parse
from exporter.publish.label_text import exported_labels, label_text
from exporter.rules.writing import files

ODD = [
    'quo"ted \\ back\\\\slash', "line\nend\r\ttab", "<script>alert(1)</script>", "\u202egnp.exe\u2066 right to left",
    "control \x01\x1b[31m\x7f", '{{ .Labels }} {{ query "up" }} $value %s %[2]s', "a&b=c#d?e+f%20/..;`'", "日本語 é 🔥",
    "x" * 10_000, ",}]",
]  # fmt: skip
SOURCES = [{"path": value, "job": "web", "instance": "web:80"} for value in ODD]
SOURCES += [{"severity": "theirs", "alertname": "Theirs", "alertgroup": "theirs"}, {"summed": "over everything"}]
UNITS = [{"query": "alone"}, {"query": "shared", "tenant": "team-a"}]
BAND = {"anomaly_value": 12.5, "anomaly_expected": 5, "anomaly_lower": 4, "anomaly_upper": 6}
OF_MODEL = {"anomaly_score": 4.5, **BAND}
OF_SERIES = {"anomaly_shift_score": 2, "anomaly_stale_score": 3, "anomaly_absent_seconds": 90}
CONFIG = """\
source: {url: http://p}
links: {grafana: 'https://grafana.example/x'}
alert: {group_by: [zone]}
queries: [{name: alone, expr: up}, {name: shared, expr: up}]
"""


def page(time_s: float) -> str:
    """What an exporter would say of which everything is wrong."""
    lines = []
    for unit in UNITS:
        of_unit = {
            "anomaly_exporter_verdict_timestamp_seconds": time_s - 9999, "anomaly_exporter_query_interval_seconds": 60,
            "anomaly_exporter_series_shed": 5,
        }  # fmt: skip
        lines += [line(name, unit, value) for name, value in of_unit.items()]
        lines += [line("anomaly_exporter_series", unit | {"state": state}, 9) for state in ("sparse", "failed", "ok")]
        tenant = {key: value for key, value in unit.items() if key == "tenant"}
        lines.append(line("anomaly_exporter_source_up", tenant, 0))
        for source in SOURCES:
            model = exported_labels(source, unit | {"model": "robust_band"})
            lines += [line(name, dict(model), value) for name, value in OF_MODEL.items()]
            lines += [line(name, dict(exported_labels(source, unit)), value) for name, value in OF_SERIES.items()]
    return "\n".join([*lines, ""])


def line(name: str, labels: dict[str, str], value: float) -> str:
    return name + label_text(sorted(labels.items())).decode() + str(value)


@pytest.fixture(scope="module")
def alerts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """The alerts of the rules of a config, without the time that they wait before they fire."""
    folder = tmp_path_factory.mktemp("rules")
    for name, content in files(parse(CONFIG, "c.yml", {}), "prometheus").items():
        (folder / name).write_text(re.sub(r"\n +for: \w+", "", content))
    with target_showing(page) as port:
        ours = scrape_of(names.JOB, port, honor_labels=True)
        relabelled = {"relabel_configs": [{"target_label": "job", "replacement": names.JOB}]}
        scrapes = [ours, scrape_of("dead", free_port(), "dead:80", **relabelled)]
        with scraping_in(folder / "data", scrapes, "-search.latencyOffset=0s") as server:
            wait_until(lambda: flushed(server.url, "anomaly_score"), "the page is scraped")
            with vmalert_in(folder, f"{folder}/anomaly-*.yml", server.url, *FLAGS) as url:
                wait_until(lambda: all_fire(url), f"all alerts\n{why(url)}")
                # The first evaluations may see no past yet; from then on the texts stay as they are.
                wait_until(lambda: not without_a_moment(url), f"texts with a past\n{without_a_moment(url)}")
                assert why(url) == {}
                yield firing(url)


def all_fire(url: str) -> bool:
    """Whether so many alerts fire as should, and each kind of them: the exporter that is down takes a scrape more."""
    found = firing(url)
    return len(found) >= WANTED and {alert["name"] for alert in found} >= set(names.ALERTS)


def without_a_moment(url: str) -> list[dict[str, Any]]:
    """Alerts about a verdict whose explanation does not say which."""
    judged = SINGLE - {names.ALERT_ABSENT}
    return [one for one in firing(url) if one["name"] in judged and "&at=" not in one["annotations"]["explain_url"]]


FLAGS = ("-notifier.url=http://127.0.0.1:9", "-external.url=http://vm.example/p")
SINGLE = {names.ALERT_DETECTED, names.ALERT_SHIFT, names.ALERT_STALE, names.ALERT_ABSENT}
OF_UNIT = {names.ALERT_SHARE, names.ALERT_VERDICTS, names.ALERT_UNWATCHABLE}
WANTED = len(SINGLE) * len(UNITS) * len(SOURCES) + len(OF_UNIT) * len(UNITS)


def firing(url: str) -> list[dict[str, Any]]:
    found = requests.get(f"{url}/api/v1/alerts", timeout=30).json()["data"]["alerts"] or []
    return [alert for alert in found if alert["state"] == "firing"]


def why(url: str) -> dict[str, str]:
    """What is wrong with rules, by their names."""
    groups = requests.get(f"{url}/api/v1/rules", timeout=10).json()["data"]["groups"]
    return {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")}


@pytest.mark.parametrize("file", ["rules/anomaly-alerts.yml", "rules/anomaly-recording.yml"])
def test_the_committed_files_load(file: str) -> None:
    command = [program("vmalert"), "-dryRun", f"-rule={ROOT / file}", "-datasource.url=http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(rules_of((ROOT / file).read_text()))) > 8


def test_keep_firing_for_is_younger_than_this_vmalert(tmp_path: Path) -> None:
    config = parse(CONFIG.replace("alert: {", "alert: {keep_firing_for: 5m, "), "c.yml", {})
    (tmp_path / "alerts.yml").write_text(files(config, "prometheus")["anomaly-alerts.yml"])
    command = [program("vmalert"), "-dryRun", f"-rule={tmp_path}/alerts.yml", "-datasource.url=http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "keep_firing_for" in done.stderr


def test_every_alert_fires_for_every_series_and_unit(alerts: list[dict[str, Any]]) -> None:
    told = {alert["name"]: 0 for alert in alerts}
    for alert in alerts:
        told[alert["name"]] += 1
    assert told.keys() == set(names.ALERTS)
    assert {name: told[name] for name in SINGLE} == dict.fromkeys(SINGLE, len(UNITS) * len(SOURCES))
    assert {name: told[name] for name in OF_UNIT} == dict.fromkeys(OF_UNIT, len(UNITS))
    assert told[names.ALERT_DOWN] == 1


def test_all_texts_are_whole(alerts: list[dict[str, Any]]) -> None:
    for alert in alerts:
        texts = alert["annotations"]
        assert texts["summary"]
        assert texts["description"]
        assert texts["runbook_url"].endswith(f"/runbooks/{alert['name']}")
        for name, text in texts.items():
            assert text.isprintable(), (alert["name"], name)
            assert "<no value>" not in text, (alert["name"], name)
            assert "%!" not in text, (alert["name"], name)


def test_the_words_about_a_series_are_those_of_prometheus(alerts: list[dict[str, Any]]) -> None:
    for alert in alerts:
        if alert["name"] != names.ALERT_DETECTED:
            continue
        texts = alert["annotations"]
        assert texts["description"].startswith("Value 12.5, above its band (4 to 6), expected 5. Anomalous since 20")
        whose = "shared of tenant team-a" if alert["labels"].get("tenant") else "alone"
        assert texts["summary"].startswith(f"Anomaly in {whose} {{")
        link = urlsplit(texts["graph"])
        assert (link.netloc, link.path) == ("vm.example", "/p/graph")
        assert parse_qs(link.query)["g0.expr"][0].startswith('{__name__=~"anomaly_value|')
        asked = parse_qs(urlsplit(texts["explain_url"]).query)
        assert asked["query"] == [alert["labels"]["query"]]
        assert asked.get("tenant", [""]) == [alert["labels"].get("tenant", "")]
        assert float(asked["at"][0]) > time.time() - 600


def test_what_an_alert_overwrites_is_kept(alerts: list[dict[str, Any]]) -> None:
    theirs = [alert["labels"] for alert in alerts if alert["labels"].get("series_severity") == "theirs"]
    assert len(theirs) == len(SINGLE) * len(UNITS)
    assert {labels["series_alertname"] for labels in theirs} == {"Theirs"}
    assert {labels["severity"] for labels in theirs} == {"warning"}
