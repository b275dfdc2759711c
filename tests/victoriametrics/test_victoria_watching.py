"""The whole exporter on a real VictoriaMetrics: what goes wrong in a shop is seen, alerted on, explained, outlived."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from support.process import GLOBAL, Exporter, config_text, running_exporter
from support.servers import alertmanager_in, wait_until
from support.shop import GOODS, labels_of
from support.victoria import (
    INCIDENT,
    INCIDENT_AGE_S,
    NOCACHE,
    Server,
    VictoriaShop,
    flush,
    flushed,
    running_shop,
    seen,
    victoria_in,
    vmalert_in,
)

from exporter import names

SPIKE, ZERO, GONE, CLEAN = "tea", "coffee", "salt", ("rice", "oil", "soap")
QUERIES = {"sales": "expr: sales", "averaged": "expr: 'avg_over_time(sales[1m])'"}
BACKFILL_S = 8 * 3600
WRITE = "remote_write:\n  - {url: 'URL/api/v1/write', name: back, queue_config: {batch_send_deadline: 100ms}}\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaShop]:
    with running_shop(tmp_path_factory.mktemp("shop")) as running:
        yield running


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with victoria_in(tmp_path_factory.mktemp("receiver")) as server:
        yield server


@pytest.fixture(scope="module")
def config(shop: VictoriaShop, receiver: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exporter") / "config.yml"
    start = f"{GLOBAL}metrics_page: results\n{WRITE.replace('URL', receiver.url)}"
    file.write_text(config_text(shop.url, QUERIES, more=NOCACHE, start=start))
    return file


@pytest.fixture(scope="module")
def exporter(shop: VictoriaShop, config: Path) -> Iterator[Exporter]:
    flags = ("--backfill", f"{BACKFILL_S}s")
    with running_exporter(config, *flags, address=f"127.0.0.1:{shop.exporter_port}") as running:
        wait_until(running.ready, f"the exporter is ready\n{running.log}", 300)
        yield running


def run(config: Path, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "exporter.cli", command, f"--config.file={config}", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


def score(exporter: Exporter, good: str, query: str = "sales") -> float:
    ((_, value),) = exporter.samples("anomaly_score", query=query, good=good, model="robust_band")
    return value


def result(url: str, name: str, good: str, time_s: float | None = None) -> list[float]:
    """A result about a series of ``sales`` as a server has it; none, or one."""
    labels = f'query="sales",model="robust_band",good="{good}"'
    return [value for _, value in seen(url, f"{name}{{{labels}}}", time_s)]


# --- before and while it runs -----------------------------------------------------------------------------------------


def test_check_and_plan_know_it(shop: VictoriaShop, config: Path, tmp_path: Path) -> None:
    checked = run(config, "check")
    assert checked.returncode == 0, checked.stderr
    assert f"source {shop.url}: answers (it tells no version)" in checked.stdout
    rows = dict(re.findall(r"^- +(\w+) +(\d+) ", checked.stdout, re.MULTILINE))
    assert {name: rows.get(name) for name in QUERIES} == dict.fromkeys(QUERIES, "6"), checked.stdout
    planned = run(config, "plan", "--json", str(tmp_path / "plan.json"))
    assert planned.returncode == 0, planned.stderr
    found = {each["query"]: each["series"] for each in json.loads((tmp_path / "plan.json").read_text())["queries"]}
    assert found == {"sales": 6, "averaged": 6}


def test_a_spike_a_drop_to_zero_and_a_series_that_goes_are_seen_and_nothing_else(
    shop: VictoriaShop, exporter: Exporter
) -> None:
    exporter.wait_for_cycles("sales")
    assert {good: score(exporter, good) for good in GOODS if score(exporter, good) > 1} == {}
    shop.shop.prices = {SPIKE: 400.0, ZERO: 0.0}
    shop.shop.closed = {GONE}
    wait_until(lambda: score(exporter, SPIKE) > 1 and score(exporter, ZERO) > 1, "both are seen")
    wait_until(lambda: exporter.samples("anomaly_absent_seconds", query="sales", good=GONE), "the gone one is missed")
    assert exporter.samples("anomaly_score", query="sales", good=GONE) == []
    assert exporter.number("series", query="sales", state="absent") == 1
    assert {good: score(exporter, good) for good in CLEAN if score(exporter, good) > 1} == {}
    assert {value for _, value in exporter.samples("anomaly_value", query="sales", good=ZERO)} == {0.0}
    assert exporter.number("source_warnings_total", kind="truncated", query="sales") == 0
    assert "level=error" not in exporter.log


def test_what_is_scraped_from_it_is_what_it_shows(shop: VictoriaShop, exporter: Exporter) -> None:
    scraped = lambda good: max(result(shop.url, "anomaly_score", good), default=0)  # noqa: E731
    wait_until(lambda: scraped(SPIKE) > 1 and scraped(ZERO) > 1, "the scores are scraped")
    wait_until(lambda: result(shop.url, "anomaly_score", GONE) == [], "the gone one has ended there")


# --- what is written --------------------------------------------------------------------------------------------------


def test_what_is_written_has_the_judged_values_and_ends_with_its_series(
    shop: VictoriaShop, receiver: Server, exporter: Exporter
) -> None:
    flush(receiver.url)
    wait_until(lambda: result(receiver.url, "anomaly_value", SPIKE) == [400.0], "the spike is written")
    assert max(result(receiver.url, "anomaly_score", ZERO)) > 1
    # Judged moments ago, so that only a marker can have ended it.
    wait_until(lambda: result(receiver.url, "anomaly_value", GONE) == [], "the gone one is ended")
    lasted = seen(receiver.url, f'timestamp(last_over_time(anomaly_value{{good="{GONE}",query="sales"}}[5m]))')
    assert len(lasted) == 2
    ((labels, _),) = seen(receiver.url, 'anomaly_value{query="sales",model="shesd",good="rice"}')
    assert labels == {"__name__": "anomaly_value", "query": "sales", "model": "shesd"} | labels_of("rice")
    for name in ("samples_dropped_total", "samples_failed_total", "fallbacks_total"):
        assert sum(value for _, value in exporter.samples(f"anomaly_exporter_remote_write_{name}")) == 0
    written = raw(receiver.url, 'anomaly_value{query="sales",model="shesd",good="rice"}[1m]')
    judged = raw(shop.url, 'sales{good="rice"}[5m]')
    assert len(written) > 2
    assert all(math.isclose(value, judged[at], rel_tol=1e-11) for at, value in written.items())


def raw(url: str, selector: str) -> dict[float, float]:
    """The samples of one series by their times."""
    form = {"query": selector, "nocache": "1"}
    (one,) = requests.get(f"{url}/api/v1/query", params=form, timeout=60).json()["data"]["result"]
    return {time_s: float(text) for time_s, text in one["values"]}


def test_a_backfill_is_seen_in_the_past(receiver: Server, exporter: Exporter) -> None:
    wait_until(lambda: exporter.number("backfill_ratio", query="sales") == 1, f"the backfill\n{exporter.log}", 300)
    wait_until(lambda: exporter.number("remote_write_samples_pending", target="back") < 500, "it is sent")
    flush(receiver.url)
    of_one = 'anomaly_score{query="sales",model="robust_band",good="%s"}'
    ((_, count),) = seen(receiver.url, f"count_over_time({of_one % 'rice'}[{BACKFILL_S}s])", time.time() - 300)
    assert count >= BACKFILL_S // 300 - 3
    ago_s = INCIDENT_AGE_S - 1200
    ((_, worst),) = seen(receiver.url, f"max_over_time({of_one % INCIDENT}[30m])", time.time() - ago_s)
    assert worst > 1
    assert exporter.number("backfill_ratio", query="averaged") <= 1


# --- what is made of it -----------------------------------------------------------------------------------------------


def test_vmalert_tells_alertmanager_of_both_with_all_texts(
    shop: VictoriaShop, exporter: Exporter, config: Path, tmp_path: Path
) -> None:
    made = run(config, "rules", f"--output={tmp_path}")
    assert made.returncode == 0, made.stderr
    alertmanager_config = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
    with alertmanager_in(tmp_path, alertmanager_config) as alertmanager:
        flags = (f"-notifier.url={alertmanager}", "-external.url=http://vm.example")
        with vmalert_in(tmp_path, f"{tmp_path}/anomaly-*.yml", shop.url, *flags) as vmalert:
            told = lambda: alerts_in(alertmanager, names.ALERT_DETECTED, query="sales")  # noqa: E731
            wait_until(lambda: told().keys() >= {SPIKE, ZERO}, f"both are told\n{troubles(vmalert)}")
            single = told()
            assert single.keys().isdisjoint(CLEAN)
            recorded = "tenant_query_model:anomaly_score:anomalous_count15m"
            wait_until(lambda: flushed(shop.url, recorded), "rules are recorded")
            assert troubles(vmalert) == {}
    for good, direction in ((SPIKE, "above"), (ZERO, "below")):
        text = single[good]["description"]
        value = {SPIKE: "400", ZERO: "0"}[good]
        assert text.startswith(f"Value {value}, {direction} its band ("), text
        assert re.search(r"\), expected [\d.]+\. Anomalous since \d{4}-\d\d-\d\d \d\d:\d\d UTC\. Score [\d.]+ by", text)
        assert text.endswith(f'Series of sales: {{good="{good}", instance="shop-1", job="shop"}}')
        assert f'Anomaly in sales {{good="{good}", instance="shop-1", job="shop"}}, score ' in single[good]["summary"]
        assert single[good]["runbook_url"] == f"{exporter.url}/runbooks/AnomalyDetected"
        (expr,) = parse_qs(urlsplit(single[good]["graph"]).query)["g0.expr"]
        assert single[good]["graph"].startswith("http://vm.example/graph?g0.expr=%7B__name__")
        assert {labels["__name__"] for labels, _ in seen(shop.url, expr)} == {
            "anomaly_value", "anomaly_expected", "anomaly_lower", "anomaly_upper",
        }  # fmt: skip
        opened = requests.get(single[good]["explain_url"] + "&format=json", timeout=60).json()
        assert opened["labels"]["good"] == good
        assert opened["verdicts"]["robust_band"]["score"] > 1


def alerts_in(alertmanager: str, alert: str, **labels: str) -> dict[str, dict[str, str]]:
    """The annotations of the alerts of a name that an Alertmanager has, by the good they are about."""
    found = requests.get(f"{alertmanager}/api/v2/alerts", timeout=10).json()
    wanted = {"alertname": alert, **labels}.items()
    return {one["labels"].get("good", ""): one["annotations"] for one in found if wanted <= one["labels"].items()}


def troubles(vmalert: str) -> dict[str, str]:
    """What a vmalert says is wrong with its rules, by their names."""
    groups = requests.get(f"{vmalert}/api/v1/rules", timeout=10).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 15
    return {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")}


def test_explain_says_what_was_published(exporter: Exporter, config: Path) -> None:
    told = run(config, "explain", "--query=sales", f'--series={{good="{SPIKE}"}}', "--at=5s", "--json")
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer["labels"] == {"__name__": "sales"} | labels_of(SPIKE)
    assert answer["judged"]["value"] == 400.0
    assert (answer["published"]["where"], answer["published"]["equal"]) == ("the source", True)


def test_a_backtest_finds_what_was_there(config: Path, tmp_path: Path) -> None:
    words = ("--query=sales", "--from=10h", "--coarse", f"--json={tmp_path}/report.json")
    done = run(config, "backtest", *words)
    assert done.returncode == 0, done.stderr
    (query,) = json.loads((tmp_path / "report.json").read_text())["queries"]
    ago_s = time.time() - INCIDENT_AGE_S
    near = {
        one["series"]["good"]
        for one in query["episodes"]
        if one["start"] < ago_s + 900 and (one["end"] or math.inf) > ago_s - 300
    }
    assert INCIDENT in near
    assert query["series"] == len(GOODS)


def test_cycles_resume_after_it_was_killed(shop: VictoriaShop, exporter: Exporter) -> None:
    shop.shop.prices, shop.shop.closed = {}, set()
    shop.server.end(kill=True)
    wait_until(lambda: exporter.number("source_up") == 0, "its end is noticed")
    assert exporter.get("/metrics").status_code == 200
    shop.server.start()
    exporter.wait_for_cycles("sales")
    exporter.wait_for_cycles("averaged")
    assert exporter.number("source_up") == 1
    wait_until(lambda: exporter.number("series", query="sales", state="ok") == len(GOODS), "all are judged again")
