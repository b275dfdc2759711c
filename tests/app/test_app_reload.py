"""The whole program beside a real Prometheus: what a reload of the config keeps, changes and refuses."""

from __future__ import annotations

import signal
from pathlib import Path

import requests
from support.loopback import Relay
from support.process import Exporter, config_file, config_text, running_exporter
from support.servers import wait_until
from support.shop import GOODS, SALES, TOTAL, RunningPrometheus


def reload(exporter: Exporter, method: str = "POST") -> requests.Response:
    return requests.request(method, f"{exporter.url}/-/reload", timeout=60)


def test_reload_keeps_adds_and_removes_queries(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with Relay(prometheus.url) as relay:
        config = config_file(tmp_path, config_text(relay.url, SALES | TOTAL))
        with running_exporter(config, "--web.enable-lifecycle") as exporter:
            exporter.wait_for_cycles("sales", 1)
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
        config = config_file(tmp_path, config_text(relay.url, SALES))
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
        config = config_file(tmp_path, config_text(first.url, SALES))
        with running_exporter(config, "--web.enable-lifecycle") as exporter:
            wait_until(exporter.ready, "first verdicts")
            config.write_text(config_text(second.url, SALES))
            assert reload(exporter).status_code == 200
            wait_until(exporter.ready, "verdicts from the second")
            assert second.asked("query_range", "sales") == 2
            asked = first.asked("query", "sales")
            exporter.wait_for_cycles("sales", 2)
            assert first.asked("query", "sales") == asked


def test_reload_as_somebody_else_reads_the_window_anew_with_another_password_it_stays(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    """A gateway shows each user, or each value of a header, series of his own."""

    def asking(user: str, password: str, org: str) -> str:
        more = f"  basic_auth: {{username: {user}, password: {password}}}\n"
        return config_text(relay.url, SALES, more=more + f"  http_headers: {{X-Scope-OrgID: {{values: [{org}]}}}}\n")

    with Relay(prometheus.url) as relay:
        config = config_file(tmp_path, asking("a", "old", "one"))
        with running_exporter(config, "--web.enable-lifecycle") as exporter:
            wait_until(exporter.ready, "first verdicts")
            asked = [relay.asked("query_range", "last_over_time(sales[")]
            for words in (("a", "new", "one"), ("a", "new", "two"), ("b", "new", "two")):
                config.write_text(asking(*words))
                assert reload(exporter).status_code == 200
                exporter.wait_for_cycles("sales", 2)
                asked.append(relay.asked("query_range", "last_over_time(sales["))
            assert asked == [2, 2, 4, 6]


def test_a_changed_query_is_judged_at_once_however_long_the_interval(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    seldom = "global: {interval: 5m, step: 5m, window: 2d}\n"
    config = config_file(tmp_path, config_text(prometheus.url, SALES, start=seldom))
    with running_exporter(config, "--web.enable-lifecycle") as exporter:
        wait_until(exporter.ready, "first verdicts")
        config.write_text(config_text(prometheus.url, {"sales": "expr: sales, models: [shesd]"}, start=seldom))
        assert reload(exporter).status_code == 200
        wait_until(lambda: exporter.samples("anomaly_score", model="shesd"), "published again")


def test_a_broken_config_is_refused_and_the_old_one_goes_on(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    good = config_text(prometheus.url, SALES)
    config = config_file(tmp_path, good)
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
        told = exporter.log.count("config not reloaded")
        exporter.process.send_signal(signal.SIGHUP)
        wait_until(lambda: exporter.log.count("config not reloaded") > told, "the signal is answered in the log")
        exporter.wait_for_cycles("sales", 2)

        config.write_text(good)
        assert reload(exporter).status_code == 200
        assert exporter.number("config_last_reload_successful") == 1
        assert exporter.number("config_last_reload_success_timestamp_seconds") > loaded_s


def test_sighup_reloads_without_the_lifecycle_flag(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with Relay(prometheus.url) as relay:
        config = config_file(tmp_path, config_text(relay.url, SALES))
        with running_exporter(config) as exporter:
            wait_until(exporter.ready, "first verdicts")
            config.write_text(config_text(relay.url, SALES | TOTAL))
            exporter.process.send_signal(signal.SIGHUP)
            wait_until(lambda: exporter.samples("anomaly_score", query="total"), "the new query is published")
            wait_until(lambda: "config reloaded" in exporter.log, "it is told")
            assert relay.asked("query_range", "last_over_time(sales[") == 2
            assert exporter.end()[0] == 0


def test_reload_in_the_middle_of_a_window_read(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with Relay(prometheus.url, trouble="sum by") as relay:
        config = config_file(tmp_path, config_text(relay.url, SALES | TOTAL))
        with running_exporter(config, "--web.enable-lifecycle") as exporter:
            assert relay.reached.wait(120)
            config.write_text(config_text(relay.url, SALES | {"mean": "expr: avg by (job) (sales)"}))
            assert reload(exporter).status_code == 200
            wait_until(exporter.ready, "the new queries are ready while the old read hangs")
            relay.released.set()
            exporter.wait_for_cycles("mean", 3)
            assert {labels["query"] for labels, _ in exporter.samples("anomaly_score")} == {"sales", "mean"}
            assert exporter.samples("anomaly_exporter_cycles_total", query="total") == []
            assert "Traceback" not in exporter.log
