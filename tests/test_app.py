"""The whole program as a process beside a real Prometheus: what it serves, how it reloads, how it ends."""

from __future__ import annotations

import gzip
import http.client
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from support.loopback import Relay, drip, stay_silent
from support.process import Exporter, command, config_text, parsed, running_exporter
from support.servers import wait_until
from support.shop import GOODS, RunningPrometheus, labels_of, running_prometheus

from exporter.app import App
from exporter.models import rows as model_rows

FAMILIES = ("anomaly_score", "anomaly_expected", "anomaly_lower", "anomaly_upper", "anomaly_value")
MODELS = ("robust_band", "shesd")
SALES = {"sales": "expr: sales"}
TOTAL = {"total": "expr: sum by (job) (sales)"}
AUTH = "  basic_auth: {username: reader, password: swordfish}\n"
# Long to fit: the classic form of S-H-ESD on many copies of the goods.
COPIES = " or ".join(f'label_replace(sales, "copy", "{i}", "", "")' for i in range(90))
SLOW_FIT = {"slow": f"expr: '{COPIES}', models: [{{name: shesd, seasonal: stl}}]"}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    with running_prometheus(tmp_path_factory.mktemp("shop")) as server:
        yield server


@pytest.fixture(scope="module")
def steady(prometheus: RunningPrometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """An exporter that nobody disturbs, scraped by the Prometheus it reads."""
    config = tmp_path_factory.mktemp("steady") / "config.yml"
    config.write_text(config_text(prometheus.url, SALES | TOTAL, more=AUTH))
    with running_exporter(config, address=f"127.0.0.1:{prometheus.exporter_port}") as exporter:
        wait_until(exporter.ready, "first verdicts; kernels may have to be compiled for them", 300)
        wait_until(lambda: len(exporter.samples("anomaly_score")) == 2 * (len(GOODS) + 1), "all of them are published")
        yield exporter


def write(folder: Path, text: str) -> Path:
    file = folder / "config.yml"
    file.write_text(text)
    return file


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
    connection = http.client.HTTPConnection(urlsplit(steady.url).netloc, timeout=5)
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
    wait_until(lambda: len(prometheus.ask('anomaly_score{query="sales"}')) == 2 * len(GOODS), "scraped results")
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


def test_a_dip_to_zero_is_seen_within_two_cycles_of_its_scrape(steady: Exporter, prometheus: RunningPrometheus) -> None:
    prometheus.shop.prices["salt"] = 0.0
    try:
        wait_until(lambda: dict_of(prometheus, "sales")["salt"] == 0.0, "prometheus has the dip")
        cycles = steady.number("cycles_total", query="sales", outcome="ok")
        steady.wait_for_cycles("sales", 2)
        assert steady.number("cycles_total", query="sales", outcome="ok") >= cycles + 2
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
        wait_until(lambda: steady.samples("anomaly_absent_seconds"), "oil is absent")
        ((labels, _),) = steady.samples("anomaly_absent_seconds")
        assert labels == {**labels_of("oil"), "query": "sales"}
        assert "oil" not in {labels["good"] for labels, _ in steady.samples("anomaly_score", query="sales")}
        assert steady.number("series", query="sales", state="absent") == 1
    finally:
        prometheus.shop.closed.remove("oil")
    wait_until(lambda: not steady.samples("anomaly_absent_seconds"), "oil is back")
    assert "oil" in {labels["good"] for labels, _ in steady.samples("anomaly_score", query="sales")}


# --- the other endpoints ----------------------------------------------------------------------------------------------


def test_healthy_and_ready(steady: Exporter) -> None:
    assert steady.get("/-/healthy").status_code == 200
    assert steady.get("/-/ready").status_code == 200


def test_reloading_over_http_is_off_unless_asked_for(steady: Exporter) -> None:
    answer = requests.post(f"{steady.url}/-/reload", timeout=5)
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


# --- the start --------------------------------------------------------------------------------------------------------


def test_not_ready_before_the_first_verdicts_but_scrapes_answer(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with (
        Relay(prometheus.url, trouble="sales") as relay,
        running_exporter(write(tmp_path, config_text(relay.url, SALES | TOTAL))) as exporter,
    ):
        assert relay.reached.wait(30)
        for _ in range(3):  # a window read is under way and stays so
            ready = exporter.get("/-/ready")
            assert (ready.status_code, ready.text) == (503, "waiting for the first verdicts of 2 of 2 queries\n")
            assert exporter.get("/-/healthy").status_code == 200
            assert exporter.samples("anomaly_score") == []
            assert exporter.number("cycles_total", query="sales", outcome="ok") == 0
            assert exporter.get("/").status_code == 200
        relay.released.set()
        wait_until(exporter.ready, "first verdicts")
        assert len(exporter.samples("anomaly_score", query="sales")) == 2 * len(GOODS)


def test_one_slow_query_does_not_hold_up_another(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with (
        Relay(prometheus.url, trouble="sum by") as relay,
        running_exporter(write(tmp_path, config_text(relay.url, SALES | TOTAL))) as exporter,
    ):
        assert relay.reached.wait(30)
        exporter.wait_for_cycles("sales", 3)
        assert {labels["query"] for labels, _ in exporter.samples("anomaly_score")} == {"sales"}
        assert exporter.get("/-/ready").text == "waiting for the first verdicts of 1 of 2 queries\n"
        relay.released.set()
        wait_until(exporter.ready, "the slow one too")


def test_ready_with_one_query_that_can_not_work(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    broken = {"broken": "expr: sales * on (job) sales"}  # many-to-many
    with running_exporter(write(tmp_path, config_text(prometheus.url, SALES | broken))) as exporter:
        wait_until(exporter.ready, "ready all the same")
        assert len(exporter.samples("anomaly_score", query="sales")) == 2 * len(GOODS)
        assert exporter.number("source_errors_total", query="broken", reason="bad_query") >= 1
        assert "found duplicate series" in exporter.get("/").text
        assert "found duplicate series" in exporter.log
        assert exporter.log.count("found duplicate series") == 1  # said once, not every cycle
        exporter.wait_for_cycles("sales", 2)
        assert exporter.log.count("found duplicate series") == 1


def test_never_ready_when_no_query_works(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as unused,
        running_exporter(write(tmp_path, config_text("http://127.0.0.1:9", SALES))) as exporter,
    ):
        unused.close()
        wait_until(lambda: exporter.number("cycles_total", query="sales", outcome="failed") >= 1, "a failed cycle")
        ready = exporter.get("/-/ready")
        assert ready.status_code == 503
        assert "connection refused. Is the server running, and is the port right?" in ready.text
        assert exporter.number("source_up", tenant="") == 0


def test_a_port_in_use_is_said_and_nothing_starts(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    config = write(tmp_path, config_text(prometheus.url, SALES))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(command(config, address=address), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"can't listen on {address}: another process listens there" in done.stderr
    assert "--web.listen-address" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_restart_reads_its_window_again_and_publishes_the_same_series(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    config = write(tmp_path, config_text(prometheus.url, SALES | TOTAL))
    pages = []
    for _ in range(2):
        with running_exporter(config) as exporter:
            wait_until(exporter.ready, "first verdicts")
            pages.append(exporter.samples("anomaly_expected"))
            assert exporter.number("gaps_filled_total", query="sales") >= 576  # the whole window
            assert exporter.end()[0] == 0
    assert [labels for labels, _ in pages[0]] == [labels for labels, _ in pages[1]]
    for (labels, before), (_, after) in zip(*pages, strict=True):
        assert after == pytest.approx(before, rel=0.2), labels


# --- reload -----------------------------------------------------------------------------------------------------------


def reload(exporter: Exporter, method: str = "POST") -> requests.Response:
    return requests.request(method, f"{exporter.url}/-/reload", timeout=10)


def test_reload_keeps_adds_and_removes_queries(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with Relay(prometheus.url) as relay:
        config = write(tmp_path, config_text(relay.url, SALES | TOTAL))
        with running_exporter(config, "--web.enable-lifecycle") as exporter:
            wait_until(exporter.ready, "first verdicts")
            assert relay.asked("query_range", "last_over_time(sales[") == 2  # the count and the window
            filled = exporter.number("gaps_filled_total", query="sales")

            more = {"mean": "expr: avg by (job) (sales)"}
            config.write_text(config_text(relay.url, SALES | more, more="  timeout: 20s\n"))
            answer = reload(exporter)
            assert (answer.status_code, answer.text) == (200, "The config was reloaded.\n")
            assert "avg by (job) (sales)" in exporter.get("/config").text
            assert {labels["query"] for labels, _ in exporter.samples("anomaly_score")} <= {"sales", "mean"}
            assert len(exporter.samples("anomaly_score", query="sales")) == 2 * len(GOODS)  # at no moment away
            assert exporter.samples("anomaly_exporter_cycles_total", query="total") == []
            wait_until(lambda: exporter.samples("anomaly_score", query="mean"), "the new query is published")

            exporter.wait_for_cycles("sales", 2)
            assert relay.asked("query_range", "last_over_time(sales[") == 2
            assert exporter.number("gaps_filled_total", query="sales") == filled
            assert exporter.number("config_last_reload_successful") == 1
            assert exporter.samples("anomaly_score", query="total") == []


def test_reload_makes_a_changed_query_anew(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with Relay(prometheus.url) as relay:
        config = write(tmp_path, config_text(relay.url, SALES))
        with running_exporter(config, "--web.enable-lifecycle") as exporter:
            wait_until(exporter.ready, "first verdicts")
            config.write_text(config_text(relay.url, {"sales": "expr: 'sales{good=~\"tea|salt\"}', models: [shesd]"}))
            assert reload(exporter, "PUT").status_code == 200
            wait_until(lambda: exporter.samples("anomaly_score"), "published again")
            found = {(labels["good"], labels["model"]) for labels, _ in exporter.samples("anomaly_score")}
            assert found == {("tea", "shesd"), ("salt", "shesd")}
            assert relay.asked("query_range", "tea|salt") == 2
            assert exporter.samples("anomaly_exporter_fits_total", model="robust_band") == []


def test_reload_to_another_server_reads_the_window_there(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with Relay(prometheus.url) as first, Relay(prometheus.url) as second:
        config = write(tmp_path, config_text(first.url, SALES))
        with running_exporter(config, "--web.enable-lifecycle") as exporter:
            wait_until(exporter.ready, "first verdicts")
            config.write_text(config_text(second.url, SALES))
            assert reload(exporter).status_code == 200
            wait_until(exporter.ready, "verdicts from the second")
            assert second.asked("query_range", "sales") == 2
            asked = first.asked("query", "sales")
            exporter.wait_for_cycles("sales", 2)
            assert first.asked("query", "sales") == asked


def test_a_broken_config_is_refused_and_the_old_one_goes_on(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    good = config_text(prometheus.url, SALES)
    config = write(tmp_path, good)
    with running_exporter(config, "--web.enable-lifecycle") as exporter:
        wait_until(exporter.ready, "first verdicts")
        loaded_s = exporter.number("config_last_reload_success_timestamp_seconds")
        config.write_text(good.replace("2s", "7s") + "  - {name: sales, expr: up, direction: sideways}\n")
        answer = reload(exporter)
        assert answer.status_code == 500
        assert "The config was not reloaded, the old one stays" in answer.text
        for word in (f"{config}:1:", f"{config}:6:", "sideways"):
            assert word in answer.text
        assert exporter.number("config_last_reload_successful") == 0
        assert exporter.number("config_last_reload_success_timestamp_seconds") == loaded_s
        exporter.wait_for_cycles("sales", 2)
        assert len(exporter.samples("anomaly_score")) == 2 * len(GOODS)
        assert "sideways" not in exporter.get("/config").text

        config.unlink()
        assert reload(exporter).status_code == 500
        exporter.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "config not reloaded" in exporter.log, "the signal is answered in the log")
        exporter.wait_for_cycles("sales", 2)

        config.write_text(good)
        assert reload(exporter).status_code == 200
        assert exporter.number("config_last_reload_successful") == 1
        assert exporter.number("config_last_reload_success_timestamp_seconds") > loaded_s


def test_sighup_reloads_without_the_lifecycle_flag(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with Relay(prometheus.url) as relay:
        config = write(tmp_path, config_text(relay.url, SALES))
        with running_exporter(config) as exporter:
            wait_until(exporter.ready, "first verdicts")
            config.write_text(config_text(relay.url, SALES | TOTAL))
            exporter.process.send_signal(signal.SIGHUP)
            wait_until(lambda: exporter.samples("anomaly_score", query="total"), "the new query is published")
            assert "config reloaded" in exporter.log
            assert relay.asked("query_range", "last_over_time(sales[") == 2
            assert exporter.end()[0] == 0


def test_reload_in_the_middle_of_a_window_read(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with Relay(prometheus.url, trouble="sum by") as relay:
        config = write(tmp_path, config_text(relay.url, SALES | TOTAL))
        with running_exporter(config, "--web.enable-lifecycle") as exporter:
            assert relay.reached.wait(30)
            config.write_text(config_text(relay.url, SALES | {"mean": "expr: avg by (job) (sales)"}))
            assert reload(exporter).status_code == 200
            wait_until(exporter.ready, "the new queries are ready while the old read hangs")
            relay.released.set()
            exporter.wait_for_cycles("mean", 3)
            assert {labels["query"] for labels, _ in exporter.samples("anomaly_score")} == {"sales", "mean"}
            assert exporter.samples("anomaly_exporter_cycles_total", query="total") == []
            assert "Traceback" not in exporter.log


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_at_once_when_idle(prometheus: RunningPrometheus, tmp_path: Path, number: signal.Signals) -> None:
    idle = "global: {interval: 5m, step: 5m, window: 2d}\n"
    config = write(tmp_path, config_text(prometheus.url, SALES | TOTAL, start=idle))
    with running_exporter(config) as exporter, requests.Session() as scraper:
        wait_until(exporter.ready, "first verdicts")
        scraper.get(f"{exporter.url}/metrics", timeout=5)  # its connection stays open
        exporter.process.send_signal(number)
        assert exporter.process.wait(5) == 0
        assert "msg=stopped" in exporter.log
        assert "Traceback" not in exporter.log


@pytest.mark.parametrize("way", [drip, stay_silent])
def test_ends_within_5_s_while_the_source_is_slow(prometheus: RunningPrometheus, tmp_path: Path, way) -> None:
    with (
        Relay(prometheus.url, trouble="sum by", way=way) as relay,
        running_exporter(write(tmp_path, config_text(relay.url, SALES | TOTAL))) as exporter,
        requests.Session() as scraper,
    ):
        assert relay.reached.wait(30)
        scraper.get(f"{exporter.url}/metrics", timeout=5)
        status, took_s = exporter.end()
        assert (status, took_s < 5) == (0, True), f"{took_s:.1f} s\n{exporter.log}"
        assert "Traceback" not in exporter.log


def test_ends_within_5_s_while_the_source_is_silent_and_a_reader_dawdles(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    with (
        Relay(prometheus.url, trouble="sum by", way=stay_silent) as relay,
        running_exporter(write(tmp_path, config_text(relay.url, SALES | TOTAL))) as exporter,
        socket.create_connection(("127.0.0.1", int(exporter.url.rpartition(":")[2]))) as dawdler,
    ):
        dawdler.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")  # and never the rest
        assert relay.reached.wait(30)
        assert exporter.get("/-/healthy").status_code == 200
        status, took_s = exporter.end()
        assert (status, took_s < 5) == (0, True), f"{took_s:.1f} s\n{exporter.log}"


def test_ends_within_5_s_in_the_middle_of_a_fit_and_scrapes_answer_meanwhile(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    with (
        Relay(prometheus.url, watched="label_replace") as relay,
        running_exporter(write(tmp_path, config_text(relay.url, SALES | SLOW_FIT))) as exporter,
    ):
        assert relay.served.wait(180)  # the newest samples have come; fits follow
        exporter.wait_for_cycles("sales", 2)  # other queries are judged beside the fit
        with requests.Session() as scraper:
            for _ in range(5):
                assert "anomaly_score{" in scraper.get(f"{exporter.url}/metrics", timeout=5).text
                assert scraper.get(f"{exporter.url}/", timeout=5).status_code == 200
                assert exporter.number("cycles_total", query="slow", outcome="ok") == 0  # still at it
            status, took_s = exporter.end()
        assert (status, took_s < 5) == (0, True), f"{took_s:.1f} s\n{exporter.log}"
        assert "a cycle was abandoned" in exporter.log


def test_a_scrape_never_waits_for_a_fit(
    prometheus: RunningPrometheus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, so that a fit can be held exactly as long as the scrapes need."""
    right, held, go_on = model_rows.RobustBandRows.fit, threading.Event(), threading.Event()

    def fit_held(self, *arguments) -> None:
        held.set()
        go_on.wait(60)
        right(self, *arguments)

    monkeypatch.setattr(model_rows.RobustBandRows, "fit", fit_held)
    app = App(str(write(tmp_path, config_text(prometheus.url, SALES))))
    app.start("127.0.0.1:0", lifecycle=True)
    try:
        assert held.wait(60)
        url = f"http://127.0.0.1:{app.port}"
        for path in ("/metrics", "/", "/-/healthy", "/config"):
            assert requests.get(url + path, timeout=5).status_code == 200
        assert requests.post(f"{url}/-/reload", timeout=5).status_code == 200
        assert app.units["sales"].last is None  # all of that during the fit
        go_on.set()
        wait_until(lambda: requests.get(f"{url}/-/ready", timeout=5).status_code == 200, "verdicts after the fit")
    finally:
        go_on.set()
        assert app.stop()
