"""What a real Prometheus makes of the texts: hostile label values in words and in links, and links that lead there."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.servers import prometheus_in, scrape_of, target_showing, wait_until

from exporter import names
from exporter.config import parse
from exporter.explain.question import parse_selector
from exporter.publish.label_text import exported_labels, label_text
from exporter.rules.writing import files

HOSTILE = [
    'quo"ted \\ back\\\\slash',
    "line\nend\r\ttab",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "\u202egnp.exe\u2066 right to left",
    "control \x01\x1b[31m\x7f and \u0085",
    '{{ .Labels }} {{ query "up" }} $value %s %[2]s %!d(MISSING)',
    "a&b=c#d?e+f%20/..;`'",
    "日本語 é 🔥 \u200b\ufeff",
    "x" * 10_000,
    ",}]",
]
SOURCES = [{"path": value, "job": "web", "instance": "web:80"} for value in HOSTILE]
SOURCES += [
    {"query": "theirs", "model": "theirs", "tenant": "theirs", "job": "web", "instance": "web:80"},
    {"severity": "theirs", "alertname": "Theirs", "job": "web", "instance": "web:80"},
    {"summed": "over everything"},  # gets job and instance of the scrape
    {},
]
VALUES = {"anomaly_score": 4.5, "anomaly_value": 12.5, "anomaly_expected": 5, "anomaly_lower": 4, "anomaly_upper": 6}
ADDED = {"query": "requests", "model": "robust_band", "tenant": "team-a"}
CONFIG = """\
source: {url: http://p}
tenants: [{id: team-a}]
links: {grafana: 'https://grafana.example/x'}
queries: [{name: requests, expr: up}]
"""


def page() -> bytes:
    """What an exporter would say that finds all of these series anomalous."""
    verdict = label_text(sorted({"query": "requests", "tenant": "team-a"}.items()))
    lines = [names.SELF_VERDICT_TIME.encode() + verdict + b"1700000000.125"]
    for source in SOURCES:
        text = label_text(exported_labels(source, ADDED))
        lines += [name.encode() + text + str(value).encode() for name, value in VALUES.items()]
    return b"\n".join([*lines, b""])


@pytest.fixture(scope="module")
def target() -> Iterator[int]:
    with target_showing(lambda _time_s: page()) as port:
        yield port


@pytest.fixture(scope="module")
def prometheus(target: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    for name, content in files(parse(CONFIG, "c.yml", {}), "prometheus").items():
        (folder / name).write_text(content)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["anomaly-*.yml"],
        "scrape_configs": [scrape_of("anomaly-exporter", target, honor_labels=True)],
    }
    with prometheus_in(folder, config, "--web.external-url=http://prom.example/p", path="/p") as url:
        # The first evaluation may see no past yet; from the second on the texts stay as they are.
        wait_until(lambda: _fires(url), "the alerts fire")
        yield url


def _fires(url: str) -> bool:
    asked = ask(url, f'count(count_over_time(ALERTS{{alertname="{names.ALERT_DETECTED}"}}[1m]) >= 5)')
    return asked == [({}, float(len(SOURCES)))]


def ask(url: str, expr: str) -> list[tuple[dict[str, str], float]]:
    found = requests.post(f"{url}/api/v1/query", data={"query": expr}, timeout=10).json()
    assert found["status"] == "success", found
    return [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]


def alerts(url: str, name: str) -> list[dict[str, Any]]:
    found = requests.get(f"{url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
    return [alert for alert in found if alert["labels"]["alertname"] == name]


def published(source: dict[str, str], target: int) -> dict[str, str]:
    """The labels of a series in Prometheus; those of the scrape where it has none."""
    return {"job": "anomaly-exporter", "instance": f"127.0.0.1:{target}"} | dict(exported_labels(source, ADDED))


def alert_about(url: str, source: dict[str, str], target: int) -> dict[str, str]:
    """The annotations of the alert about a series."""
    labels = published(source, target)
    kept = {f"series_{name}": labels.pop(name) for name in ("severity", "alertname") if name in labels}
    wanted = labels | kept | {"alertname": names.ALERT_DETECTED, "severity": "warning"}
    (found,) = [alert for alert in alerts(url, names.ALERT_DETECTED) if alert["labels"] == wanted]
    annotations: dict[str, str] = found["annotations"]
    return annotations


IDS = [next(iter(source.values()), "none")[:12].encode("unicode_escape").decode() for source in SOURCES]
each_source = pytest.mark.parametrize("source", SOURCES, ids=IDS)


def test_no_rule_fails(prometheus: str) -> None:
    groups = requests.get(f"{prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}


@each_source
def test_the_words_are_right_and_of_printable_text(prometheus: str, target: int, source: dict[str, str]) -> None:
    texts = alert_about(prometheus, source, target)
    assert texts["description"].startswith("Value 12.5, above its band (4 to 6), expected 5. Anomalous since 20")
    assert texts["summary"].startswith("Anomaly in requests of tenant team-a {")
    assert texts["summary"].endswith(", score 4.5 (1 is the edge of the band)")
    for text in texts.values():
        assert text.isprintable()
        assert "<error" not in text
        assert "<no value>" not in text
        assert "MISSING)" not in text or "MISSING)" in source.get("path", "")
    assert len(texts["description"]) < 2500
    assert len(texts["summary"]) < 400


@each_source
def test_the_explanation_is_that_of_the_source_series_when_it_was_outside(
    prometheus: str, target: int, source: dict[str, str]
) -> None:
    link = urllib.parse.urlsplit(alert_about(prometheus, source, target)["explain_url"])
    asked = dict(urllib.parse.parse_qsl(link.query, strict_parsing=True))
    assert (link.scheme, link.netloc, link.path) == ("http", f"127.0.0.1:{target}", "/explain")
    assert {name: asked[name] for name in ("query", "tenant", "model")} == ADDED
    # A time at which the verdict was published: at that of the judged sample another one was in force.
    assert len(ask(prometheus, f'anomaly_score{{query="requests"}} @ {asked["at"]} > 1')) == len(SOURCES)
    short = {name: value for name, value in exported_labels(source, {}) if len(value) <= 1000}
    renamed = {f"exported_{name}" if name in ADDED else name: value for name, value in short.items()}
    assert parse_selector(asked["series"]) == renamed
    assert len(link.query) < 8000


@each_source
def test_the_graph_shows_the_band_of_the_series(prometheus: str, target: int, source: dict[str, str]) -> None:
    link = urllib.parse.urlsplit(alert_about(prometheus, source, target)["graph"])
    expr = dict(urllib.parse.parse_qsl(link.query))["g0.expr"]
    assert (link.netloc, link.path) == ("prom.example", "/p/graph")
    found = {metric.pop("__name__"): value for metric, value in ask(prometheus, expr) if metric}
    assert found == {name: value for name, value in VALUES.items() if name != "anomaly_score"}


@each_source
def test_the_dashboard_shows_the_series(prometheus: str, target: int, source: dict[str, str]) -> None:
    link = urllib.parse.urlsplit(alert_about(prometheus, source, target)["dashboard_url"])
    asked = dict(urllib.parse.parse_qsl(link.query, strict_parsing=True))
    assert (link.scheme, link.netloc, link.path) == ("https", "grafana.example", "/x/d/anomaly-series")
    assert {name: asked[f"var-{name}"] for name in ADDED} == ADDED
    assert 0 < int(asked["to"]) - int(asked["from"]) == 7 * 3_600_000
    chosen = ask(prometheus, f'anomaly_score{{query="requests",{asked["var-series"]}}}')
    assert published(source, target) in [{k: v for k, v in metric.items() if k != "__name__"} for metric, _ in chosen]


def test_the_runbook_is_on_the_exporter(prometheus: str, target: int) -> None:
    for alert in alerts(prometheus, names.ALERT_DETECTED):
        assert alert["annotations"]["runbook_url"] == f"http://127.0.0.1:{target}/runbooks/AnomalyDetected"


def test_the_storm_is_told_with_its_worst_series(prometheus: str, target: int) -> None:
    (storm,) = alerts(prometheus, names.ALERT_SHARE)
    texts = storm["annotations"]
    assert storm["labels"] == {
        "alertname": names.ALERT_SHARE, "query": "requests", "tenant": "team-a", "severity": "critical",
    }  # fmt: skip
    count = len(SOURCES)
    assert texts["description"].startswith(f"{count} of {count} series were outside their bands within the last 16 min")
    assert f"Above their expected value now: {count}." in texts["description"]
    assert texts["description"].count(" score 4.5.") == 3
    assert texts["explain_url"].startswith(
        f"http://127.0.0.1:{target}/explain?query=requests&tenant=team-a&model=robust"
    )
    assert texts["dashboard_url"].startswith(
        "https://grafana.example/x/d/anomaly-incident?var-query=requests&var-tenant="
    )
    assert all(text.isprintable() for text in texts.values())
