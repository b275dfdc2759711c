"""Relabelling in the whole program, beside a real Prometheus whose pods come and go."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests
from support.process import Exporter, running_exporter
from support.servers import ask, make_blocks, prometheus_in, scrape_of, target_showing, wait_until

DAY_S = 86_400
CONFIG = """\
global: {interval: 3s, step: 5m, window: 2d, external_labels: {cluster: eu1, app: never}}
source: {url: "%(url)s"}
relabel_configs:
  - {source_labels: [app], regex: secret, action: drop}
queries:
  - name: memory
    expr: memory
    relabel_configs:
      - {source_labels: [pod], regex: "(.+)-[^-]+", target_label: workload, replacement: "%(prefix)s$1"}
      - {source_labels: [app], target_label: query}
    drop_labels: [pod]
  # With an offset, because a scrape of the very moment of a cycle may be stored after it (docs/explain.md).
  - {name: average, expr: "avg by (app, pod) (memory offset 2s)", drop_labels: [pod]}
remote_write: [{url: "%(url)s/api/v1/write", queue_config: {batch_send_deadline: 100ms}}]
"""


def level(app: str, time_s: float) -> float:
    """A daily rhythm with noise, the same for every pod of an app."""
    noise = random.Random(f"{app} {time_s:.0f}").gauss(0, 0.5)
    return round(50 + 10 * math.sin(time_s * 2 * math.pi / DAY_S) + noise, 4)


@dataclass
class Cluster:
    """Pods by their app, as they are scraped; `url` is that of the Prometheus."""

    url: str
    pods: dict[str, list[str]]
    now_s: int

    def text(self, time_s: float) -> str:
        lines = [
            f'memory{{app="{app}",pod="{pod}"}} {level(app, time_s)}' for app in self.pods for pod in self.pods[app]
        ]
        return "\n".join(["# TYPE memory gauge", *lines, ""])


def _history(now_s: int) -> str:
    """api had another pod until an hour ago, db has two at once."""
    spans = [("api", "api-old", 2.4 * DAY_S, 3600), ("api", "api-new", 3600, 0), ("web", "web-1", 2.4 * DAY_S, 0),
             ("db", "db-1", 2.4 * DAY_S, 0), ("db", "db-2", 2.4 * DAY_S, 0), ("secret", "s-1", DAY_S, 0)]  # fmt: skip
    lines = ["# TYPE memory gauge"]
    for app, pod, since, until in spans:
        labels = f'{{app="{app}",pod="{pod}",job="cluster",instance="one"}}'
        times = range(now_s - int(since), now_s - until, 60)
        lines += [f"memory{labels} {level(app, at)} {at}" for at in times]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("prometheus")
    now_s = int(time.time())
    made = Cluster("", {"api": ["api-new"], "web": ["web-1"], "db": ["db-1", "db-2"], "secret": ["s-1"]}, now_s)
    make_blocks(folder, _history(now_s))
    with target_showing(made.text) as port:
        config = {"global": {"scrape_interval": "3s"}, "scrape_configs": [scrape_of("cluster", port, "one")]}
        flags = ("--web.enable-remote-write-receiver", "--enable-feature=promql-at-modifier")
        with prometheus_in(folder, config, *flags) as url:
            made.url = url
            wait_until(lambda: ask(url, "count(count_over_time(memory[15s]) >= 3) == 5"), "the pods are scraped")
            yield made


@pytest.fixture(scope="module")
def config(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exporter") / "config.yml"
    file.write_text(CONFIG % {"url": cluster.url, "prefix": ""})
    return file


@pytest.fixture(scope="module")
def exporter(config: Path) -> Iterator[Exporter]:
    with running_exporter(config) as running:
        wait_until(running.ready, f"the exporter is ready\n{running.log}")
        yield running


def scores(exporter: Exporter, query: str) -> list[dict[str, str]]:
    return [labels for labels, _ in exporter.samples("anomaly_score", query=query, model="robust_band")]


def explained(exporter: Exporter, labels: dict[str, str], query: str = "memory", **more: str) -> requests.Response:
    selector = "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"
    asked = urlencode({"query": query, "series": selector, "format": "json", **more})
    return requests.get(f"{exporter.url}/explain?{asked}", timeout=60)


def command(name: str, config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "exporter.cli", name, f"--config.file={config}", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


def test_results_have_the_labels_that_the_rules_leave(exporter: Exporter) -> None:
    usual = {"job": "cluster", "instance": "one", "query": "memory", "model": "robust_band"}
    found = sorted(scores(exporter, "memory"), key=lambda labels: labels["app"])
    assert found == [{**usual, "app": app, "workload": app, "exported_query": app} for app in ("api", "db", "web")]
    assert [labels["app"] for labels in scores(exporter, "average")] == ["api", "db", "web"]


def test_what_is_not_watched_is_counted_and_named(exporter: Exporter) -> None:
    assert exporter.number("series_refused", query="memory", reason="dropped") == 1
    assert exporter.number("series_refused", query="memory", reason="collision") == 1
    assert exporter.number("series", query="memory", state="ok") == 3
    named = [line for line in exporter.log.splitlines() if "is not watched" in line and "memory{" in line]
    assert len(named) == 1
    assert "db-1" in named[0]
    assert "db-2" in named[0]


def test_an_alert_s_labels_lead_to_the_verdict(exporter: Exporter) -> None:
    for query in ("memory", "average"):
        for labels in scores(exporter, query):
            answer = explained(exporter, labels, query)
            assert answer.status_code == 200, answer.text
            told = answer.json()
            assert told["labels"]["app"] == labels["app"]
            assert told["labels"]["pod"].startswith(labels["app"])
            assert told["published"]["where"] == "this exporter"
            if labels["app"] != "api":  # of the column in which pods changed hands either one's sample may be kept
                assert told["published"]["equal"], told["published"]
            assert any(remark.startswith("published as {") for remark in told["remarks"]), told["remarks"]


def test_the_history_goes_through_all_pods(exporter: Exporter) -> None:
    (labels,) = [labels for labels in scores(exporter, "memory") if labels["app"] == "api"]
    told = explained(exporter, labels).json()
    assert told["labels"]["pod"] == "api-new"
    assert told["state"] == "ok"
    assert told["window"]["samples"] > 500, told["window"]


def test_a_collision_is_told_where_the_verdict_is_explained(exporter: Exporter) -> None:
    remarks = {app: explained(exporter, {"app": app}).json()["remarks"] for app in ("db", "web")}
    words = "2 series of the source have become it lately, and only one at a time is watched"
    assert any(words in remark for remark in remarks["db"]), remarks
    assert not any("become it" in remark for remark in remarks["web"]), remarks


def test_labels_that_several_results_have_are_refused_with_a_choice(exporter: Exporter) -> None:
    answer = explained(exporter, {"job": "cluster"})
    assert answer.status_code == 400
    assert "3 results have these labels" in answer.json()["error"]
    assert {one["workload"] for one in answer.json()["candidates"]} == {"api", "db", "web"}


def test_its_own_labels_lead_to_a_series_too(exporter: Exporter) -> None:
    own = {"app": "web", "pod": "web-1", "job": "cluster", "instance": "one"}
    told = explained(exporter, own).json()
    assert {**told["labels"], "__name__": ""} == {**own, "__name__": ""}
    assert told["published"]["equal"]


def test_what_rules_drop_has_nothing_to_explain(exporter: Exporter) -> None:
    answer = explained(exporter, {"app": "secret", "pod": "s-1", "job": "cluster", "instance": "one"})
    assert answer.status_code == 404
    assert "is not watched: relabel_configs drop it" in answer.json()["error"]


def test_the_landing_page_links_to_explanations_that_are_there(exporter: Exporter) -> None:
    page = exporter.get("/", Accept="text/html").text
    links = [link.replace("&amp;", "&") for link in re.findall(r'href="(/explain\?query=memory[^"]*)"', page)]
    assert len(links) >= 3
    answer = requests.get(exporter.url + links[0], timeout=60)
    assert answer.status_code == 200, answer.text


def test_external_labels_are_on_what_is_written_and_nowhere_else(cluster: Cluster, exporter: Exporter) -> None:
    wait_until(lambda: len(ask(cluster.url, 'anomaly_score{query="memory",model="shesd"}')) == 3, "results are written")
    for one in ask(cluster.url, 'anomaly_score{query="memory"}'):
        assert one["metric"]["cluster"] == "eu1"
        assert one["metric"]["app"] != "never"
    assert all(labels.get("cluster") is None for labels in scores(exporter, "memory"))


def test_a_past_verdict_is_found_among_what_was_written(cluster: Cluster, config: Path, exporter: Exporter) -> None:
    wait_until(lambda: ask(cluster.url, 'anomaly_score{query="memory",app="web"} offset 10s'), "there is a past")
    (labels,) = [labels for labels in scores(exporter, "memory") if labels["app"] == "web"]
    told = explained(exporter, labels, at=f"{time.time() - 10:.3f}").json()
    assert told["published"]["where"] == "the source"
    assert told["published"]["equal"], told["published"]
    done = command("explain", config, "--query=memory", '--series={app="web",workload="web",exported_query="web"}')
    assert done.returncode == 0, done.stderr


def test_check_and_plan_count_what_is_left(config: Path, exporter: Exporter, tmp_path: Path) -> None:
    done = command("check", config)
    assert re.search(r"^-\s+memory\s+3\s", done.stdout, re.MULTILINE), done.stdout
    assert "memory: relabel_configs drop 1 of 5 series" in done.stdout
    assert "memory: 1 of 5 series would not be watched: relabelling leaves them the labels of others" in done.stdout
    command("plan", config, f"--json={tmp_path}/plan.json")
    queries = json.loads((tmp_path / "plan.json").read_text())["queries"]
    assert [query["series"] for query in queries] == [3, 3]


def test_a_new_pod_takes_over_its_row(cluster: Cluster, exporter: Exporter) -> None:
    cluster.pods["web"] = ["web-2"]
    wait_until(lambda: not ask(cluster.url, 'memory{pod="web-1"}'), "the old pod is gone")
    exporter.wait_for_cycles("memory", 6)
    wait_until(lambda: exporter.number("series_refused", query="memory", reason="collision") == 1, "it took over")
    told = explained(exporter, {"app": "web", "workload": "web", "exported_query": "web"}).json()
    assert told["labels"]["pod"] == "web-2"
    assert told["window"]["samples"] > 500, told["window"]
    assert exporter.number("series", query="memory", state="ok") == 3
    assert exporter.number("series", query="memory", state="absent") == 0
    assert len(scores(exporter, "memory")) == 3


def test_a_reload_with_other_rules_starts_the_query_anew(cluster: Cluster, config: Path, exporter: Exporter) -> None:
    before = exporter.samples("anomaly_exporter_config_info")[0][0]["hash"]
    config.write_text(CONFIG % {"url": cluster.url, "prefix": "team-"})
    exporter.process.send_signal(1)
    wait_until(lambda: exporter.samples("anomaly_exporter_config_info")[0][0]["hash"] != before, "it is reloaded")
    wanted = {"team-api", "team-web", "team-db"}
    wait_until(
        lambda: {one["workload"] for one in scores(exporter, "memory")} == wanted, "verdicts under the new rules"
    )
    assert len(scores(exporter, "average")) == 3
