"""The whole program beside a real Prometheus: how it starts, and what it says until it is ready."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from support.loopback import Relay
from support.process import command, config_file, config_text, running_exporter
from support.servers import wait_until
from support.shop import GOODS, SALES, TOTAL, RunningPrometheus


def test_not_ready_before_the_first_verdicts_but_scrapes_answer(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with (
        Relay(prometheus.url, trouble="sales") as relay,
        running_exporter(config_file(tmp_path, config_text(relay.url, SALES | TOTAL))) as exporter,
    ):
        assert relay.reached.wait(120)
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
        running_exporter(config_file(tmp_path, config_text(relay.url, SALES | TOTAL))) as exporter,
    ):
        assert relay.reached.wait(120)
        exporter.wait_for_cycles("sales", 3)
        assert {labels["query"] for labels, _ in exporter.samples("anomaly_score")} == {"sales"}
        assert exporter.get("/-/ready").text == "waiting for the first verdicts of 1 of 2 queries\n"
        relay.released.set()
        wait_until(exporter.ready, "the slow one too")


def test_ready_with_one_query_that_can_not_work(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    broken = {"broken": "expr: sales * on (job) sales"}  # many-to-many
    with running_exporter(config_file(tmp_path, config_text(prometheus.url, SALES | broken))) as exporter:
        wait_until(exporter.ready, "ready all the same")
        wait_until(lambda: exporter.number("cycles_total", query="broken", outcome="failed") >= 1, "it is counted")
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
        running_exporter(config_file(tmp_path, config_text("http://127.0.0.1:9", SALES))) as exporter,
    ):
        unused.close()
        wait_until(lambda: exporter.number("cycles_total", query="sales", outcome="failed") >= 1, "a failed cycle")
        ready = exporter.get("/-/ready")
        assert ready.status_code == 503
        assert "connection refused. Is the server running, and is the port right?" in ready.text
        assert exporter.number("source_up", tenant="") == 0


def test_a_port_in_use_is_said_and_nothing_starts(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    config = config_file(tmp_path, config_text(prometheus.url, SALES))
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
    config = config_file(tmp_path, config_text(prometheus.url, SALES | TOTAL))
    pages = []
    for _ in range(2):
        with running_exporter(config) as exporter:
            wait_until(exporter.ready, "first verdicts")
            pages.append(exporter.samples("anomaly_expected"))
            wait_until(lambda: exporter.number("cycles_total", query="sales", outcome="ok") >= 1, "it is counted")
            assert exporter.number("gaps_filled_total", query="sales") >= 576  # the whole window
            assert exporter.end()[0] == 0
    assert [labels for labels, _ in pages[0]] == [labels for labels, _ in pages[1]]
    for (labels, before), (_, after) in zip(*pages, strict=True):
        assert after == pytest.approx(before, rel=0.2), labels
