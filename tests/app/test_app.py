"""The whole program as a process beside a real Prometheus: what it serves while nobody disturbs it."""

from __future__ import annotations

import gzip
import http.client
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from support.process import ANSWER_S, Exporter, config_file, config_text, parsed, running_exporter
from support.servers import wait_until
from support.shop import GOODS, SALES, TOTAL, RunningPrometheus, labels_of

FAMILIES = ("anomaly_score", "anomaly_expected", "anomaly_lower", "anomaly_upper", "anomaly_value")
MODELS = ("robust_band", "shesd")
AUTH = "  basic_auth: {username: reader, password: swordfish}\n"


@pytest.fixture(scope="module")
def steady(prometheus: RunningPrometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """An exporter that nobody disturbs, scraped by the Prometheus it reads."""
    config = config_file(tmp_path_factory.mktemp("steady"), config_text(prometheus.url, SALES | TOTAL, more=AUTH))
    with running_exporter(config, address=f"127.0.0.1:{prometheus.exporter_port}") as exporter:
        wait_until(exporter.ready, "first verdicts; kernels may have to be compiled for them", 300)
        wait_until(lambda: len(exporter.samples("anomaly_score")) == 2 * (len(GOODS) + 1), "all of them are published")
        yield exporter


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_text_page_carries_every_series_of_every_query_and_model(steady: Exporter) -> None:
    answer = steady.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    page = parsed(answer.text)
    sales = {(good, model) for good in GOODS for model in MODELS}
    for family in FAMILIES:
        of_sales = [labels for labels, _ in page[family] if labels["query"] == "sales"]
        assert {(labels["good"], labels["model"]) for labels in of_sales} == sales
        assert all(labels_of(labels["good"]).items() <= labels.items() for labels in of_sales)
        of_total = [labels for labels, _ in page[family] if labels["query"] == "total"]
        assert of_total == [{"job": "shop", "query": "total", "model": model} for model in MODELS]
    assert "anomaly_exporter_build_info" in page
    assert "process_cpu_seconds_total" in page


def test_the_openmetrics_page_says_the_same_and_ends_as_it_must(steady: Exporter) -> None:
    answer = steady.get("/metrics", Accept="application/openmetrics-text; version=1.0.0, text/plain; q=0.5")
    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("\n# EOF\n")
    assert answer.text.count("# EOF") == 1
    found = {family.name: family for family in openmetrics_families(answer.text)}
    text = parsed(steady.get("/metrics").text)
    for family in FAMILIES:
        assert found[family].type == "gauge"
        assert [s.labels for s in found[family].samples] == [labels for labels, _ in text[family]]
    assert found["anomaly_exporter_cycles"].type == "counter"


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_packed_when_asked_and_only_then(steady: Exporter, accept: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(steady.url).netloc, timeout=ANSWER_S)
    connection.request("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"anomaly_score{" in gzip.decompress(answer.read())
    connection.close()
    assert "Content-Encoding" not in steady.get("/metrics", Accept=accept, Accept_Encoding="identity").headers


def test_promtool_reads_the_page(steady: Exporter) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=steady.get("/metrics").content, capture_output=True)
    words = (done.stdout + done.stderr).decode()
    assert done.returncode in (0, 3), words  # 3: remarks on names, no error
    assert "error while" not in words
    # The exporter's own metrics follow the naming rules; nothing may be said about them.
    assert [line for line in words.splitlines() if line.startswith("anomaly_exporter")] == []


def test_the_real_prometheus_answers_results_with_the_labels_of_the_source(
    steady: Exporter, prometheus: RunningPrometheus
) -> None:
    wait_until(lambda: len(prometheus.ask("anomaly_score")) == 2 * (len(GOODS) + 1), "scraped results")
    for family in FAMILIES:
        found = [labels for labels, _ in prometheus.ask(f'{family}{{query="sales"}}')]
        wanted = [
            {"__name__": family, **labels_of(good), "query": "sales", "model": model}
            for good in GOODS
            for model in MODELS
        ]
        assert sorted(map(str, map(sorted, map(dict.items, found)))) == sorted(
            map(str, map(sorted, map(dict.items, wanted)))
        )
        assert len(prometheus.ask(f'{family}{{query="total"}}')) == 2
    assert prometheus.ask('up{job="anomaly-exporter"}')[0][1] == 1
    assert prometheus.ask("scrape_samples_post_metric_relabeling - scrape_samples_scraped != 0") == []


def test_the_published_value_is_a_sample_of_the_source_to_the_bit(
    steady: Exporter, prometheus: RunningPrometheus
) -> None:
    steady.wait_for_cycles("sales", 1)
    published = {labels["good"]: value for labels, value in steady.samples("anomaly_value", query="sales")}
    form = {"query": "sales[5m]"}
    answer = requests.post(f"{prometheus.url}/api/v1/query", data=form, timeout=30).json()
    for series in answer["data"]["result"]:
        assert published[series["metric"]["good"]] in {float(text) for _, text in series["values"]}


def test_a_dip_to_zero_is_seen_by_the_first_cycle_after_its_scrape(
    steady: Exporter, prometheus: RunningPrometheus
) -> None:
    prometheus.shop.prices["salt"] = 0.0
    try:
        wait_until(lambda: dict_of(prometheus, "sales")["salt"] == 0.0, "prometheus has the dip")
        dipped_s = dict_of(prometheus, "timestamp(sales)")["salt"]
        wait_until(lambda: steady.number("verdict_timestamp_seconds", query="sales") >= dipped_s, "it is judged")
        for model in MODELS:
            scores = {labels["good"]: value for labels, value in steady.samples("anomaly_score", model=model)
                      if labels["query"] == "sales"}  # fmt: skip
            assert scores["salt"] > 3
            # Now and then a usual sample is just outside its band; that says nothing here.
            assert max(value for good, value in scores.items() if good != "salt") < 2
        wait_until(lambda: prometheus.ask('anomaly_score{good="salt"} > 1'), "prometheus has the score")
        assert steady.number("series_anomalous", query="sales", model="shesd") >= 1
        assert "salt" in steady.get("/").text
    finally:
        del prometheus.shop.prices["salt"]


def dict_of(prometheus: RunningPrometheus, expr: str) -> dict[str, float]:
    return {labels["good"]: value for labels, value in prometheus.ask(expr)}


def test_a_series_that_vanishes_is_absent_and_comes_back(steady: Exporter, prometheus: RunningPrometheus) -> None:
    prometheus.shop.closed.add("oil")
    try:
        wait_until(lambda: steady.number("series", query="sales", state="absent") == 1, "oil is absent")
        ((labels, _),) = steady.samples("anomaly_absent_seconds")
        assert labels == {**labels_of("oil"), "query": "sales"}
        assert "oil" not in {labels["good"] for labels, _ in steady.samples("anomaly_score", query="sales")}
        assert steady.number("series", query="sales", state="ok") == len(GOODS) - 1
    finally:
        prometheus.shop.closed.remove("oil")
    wait_until(lambda: not steady.samples("anomaly_absent_seconds"), "oil is back")
    assert "oil" in {labels["good"] for labels, _ in steady.samples("anomaly_score", query="sales")}


# --- the other endpoints ----------------------------------------------------------------------------------------------


def test_healthy_and_ready(steady: Exporter) -> None:
    assert steady.get("/-/healthy").status_code == 200
    assert steady.get("/-/ready").status_code == 200


def test_reloading_over_http_is_off_unless_asked_for(steady: Exporter) -> None:
    answer = requests.post(f"{steady.url}/-/reload", timeout=ANSWER_S)
    assert answer.status_code == 403
    assert "--web.enable-lifecycle" in answer.text


def test_the_config_in_force_is_shown_without_its_secrets(steady: Exporter) -> None:
    text = steady.get("/config").text
    assert "reader" in text
    assert "<secret>" in text
    assert "sum by (job) (sales)" in text
    for everything in (text, steady.get("/").text, steady.get("/metrics").text, steady.log):
        assert "swordfish" not in everything


def test_the_page_for_people_shows_queries_and_states(steady: Exporter) -> None:
    answer = steady.get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    for word in ("sales", "sum by (job) (sales)", "tea"):
        assert word in answer.text


def test_many_readers_at_once_while_cycles_run(steady: Exporter) -> None:
    """Pages are made from what a cycle may just be changing."""
    paths = ["/metrics", "/", "/config", "/-/ready"] * 40
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(steady.get, paths))
    assert {answer.status_code for answer in answers} == {200}
    assert all("anomaly_score{" in answer.text for answer in answers[::4])
    assert "Traceback" not in steady.log
