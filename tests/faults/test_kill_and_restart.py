"""SIGTERM and SIGKILL at any moment, and a start again: no sample twice, none wrong in a real Prometheus."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests
from support.leftovers import MARK, marked_processes
from support.market import PODS, Market, value
from support.process import Exporter, command, config_text, running_exporter
from support.servers import ask, prometheus_in, wait_until

START = "global: {interval: 1s, step: 5m, window: 2d}\n"
ROUNDS = 5
DELIVERED = 'handler="/api/v1/write"'


def refused(url: str) -> dict[str, str]:
    """Requests that the receiver has answered with anything but success, by their line on its own page."""
    lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if DELIVERED in line and "http_requests_total" in line)
    assert found, "the receiver counts requests by another name now"
    return {name: count for name, count in found.items() if 'code="2' not in name and count != "0"}


def last_refused_s(exporter: Exporter, begun_s: float) -> float:
    """Wait until it is ready; returns when (monotonic) it was asked for the last time before."""
    asked_s = [begun_s]

    def ready() -> bool:
        now_s = time.monotonic()
        if exporter.ready():
            return True
        asked_s[0] = now_s
        return False

    wait_until(ready, "verdicts")
    return asked_s[0]


def test_no_moment_of_an_end_costs_or_doubles_a_sample(tmp_path: Path) -> None:
    """Moments are drawn over a start, the read of the window, cycles and the delivery of their results."""
    rng, server = random.Random(6), Market(("m",)).serve()
    scrape_nothing = {"scrape_configs": []}
    with prometheus_in(tmp_path, scrape_nothing, "--web.enable-remote-write-receiver") as url:
        config = tmp_path / "config.yml"
        queue = "queue_config: {batch_send_deadline: 50ms}"
        writing = f"remote_write: [{{name: p, url: '{url}/api/v1/write', {queue}}}]\n"
        config.write_text(config_text(server.url, {"m": "expr: m"}, start=START) + writing)
        try:
            for round_ in range(ROUNDS):
                begun_s = time.monotonic()
                with running_exporter(config) as exporter:
                    if round_ % 3:  # else it ends while it starts
                        last_s = last_refused_s(exporter, begun_s)
                        cycles = exporter.number("cycles_total", query="m", outcome="ok")
                        assert cycles <= 2 + time.monotonic() - last_s  # one a second: the first one brings all
                        assert len(exporter.samples("anomaly_score")) == 2 * len(PODS)
                    time.sleep(rng.uniform(0, 1.2))  # a moment of a cycle: which one is up to chance
                    if round_ % 2:
                        exporter.process.kill()
                        assert exporter.process.wait(30) == -signal.SIGKILL
                    else:
                        assert exporter.end()[0] == 0
            assert refused(url) == {}
            with running_exporter(config) as exporter:
                wait_until(exporter.ready, "verdicts")
                wait_until(lambda: len(ask(url, "anomaly_value")) == 2 * len(PODS), "they are written again")
                exporter.wait_for_cycles("m", 6)
                assert exporter.end()[0] == 0
            written = ask(url, "anomaly_value[15m]")
            assert refused(url) == {}
        finally:
            server.close()
    assert len(written) == 2 * len(PODS)
    for series in written:
        times = [time_s for time_s, _ in series["values"]]
        assert times == sorted(set(times))
        for time_s, text in series["values"]:  # the sample of its very time: none is another one's, none is made up
            assert float(text) == value("m", series["metric"]["pod"], time_s)


def test_a_kill_while_kernels_are_compiled_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that compile look for their parent themselves."""
    mark = "compiling-" + tmp_path.name
    monkeypatch.setenv(MARK, mark)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    server = Market(("m",)).serve()
    config = tmp_path / "config.yml"
    config.write_text(config_text(server.url, {"m": "expr: m"}, start=START))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command(config), stdout=log, stderr=log)
    try:
        wait_until(lambda: len(list(marked_processes(mark))) > 1 or process.poll() is not None, "it compiles")
        assert process.poll() is None, (tmp_path / "log").read_text()
        process.kill()
        process.wait(30)
        wait_until(lambda: not list(marked_processes(mark)), "all have ended")
    finally:
        process.kill()
        process.wait(30)
        server.close()
