"""The whole program beside a real Prometheus: it ends in time whatever it is at, and answers until then."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from support.loopback import Relay, drip, stay_silent
from support.process import ANSWER_S, END_S, config_file, config_text, running_exporter
from support.rule_texts import ROOT
from support.servers import wait_until
from support.shop import SALES, TOTAL, RunningPrometheus

from exporter.app import FLUSH_PATIENCE_S, STOP_PATIENCE_S, App
from exporter.models import rows as model_rows
from exporter.publish.web import WebLimits

# Long to fit: the classic form of S-H-ESD on many copies of the goods.
COPIES = " or ".join(f'label_replace(sales, "copy", "{i}", "", "")' for i in range(90))
SLOW_FIT = {"slow": f"expr: '{COPIES}', models: [{{name: shesd, seasonal: stl}}]"}


def test_what_each_part_may_take_is_less_than_what_is_promised_for_the_end() -> None:
    """The other tests of this file see real ends, on a machine that may be busy."""
    parts_s = STOP_PATIENCE_S + max(FLUSH_PATIENCE_S, WebLimits().stop_patience_s)  # the last two at the same time
    assert "SIGTERM ends it within 5 seconds" in (ROOT / "docs" / "operations.md").read_text()
    assert parts_s <= 4.5  # and a little for everything else


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_at_once_when_idle(prometheus: RunningPrometheus, tmp_path: Path, number: signal.Signals) -> None:
    idle = "global: {interval: 5m, step: 5m, window: 2d}\n"
    config = config_file(tmp_path, config_text(prometheus.url, SALES | TOTAL, start=idle))
    with running_exporter(config) as exporter, requests.Session() as scraper:
        wait_until(exporter.ready, "first verdicts")
        scraper.get(f"{exporter.url}/metrics", timeout=ANSWER_S)  # its connection stays open
        exporter.process.send_signal(number)
        assert exporter.process.wait(END_S) == 0
        assert "msg=stopped" in exporter.log
        assert "Traceback" not in exporter.log


@pytest.mark.parametrize("way", [drip, stay_silent])
def test_ends_within_5_s_while_the_source_is_slow(prometheus: RunningPrometheus, tmp_path: Path, way) -> None:
    with (
        Relay(prometheus.url, trouble="sum by", way=way) as relay,
        running_exporter(config_file(tmp_path, config_text(relay.url, SALES | TOTAL))) as exporter,
        requests.Session() as scraper,
    ):
        assert relay.reached.wait(120)
        scraper.get(f"{exporter.url}/metrics", timeout=ANSWER_S)
        status, took_s = exporter.end()
        assert (status, took_s < END_S) == (0, True), f"{took_s:.1f} s\n{exporter.log}"
        assert "Traceback" not in exporter.log


def test_ends_within_5_s_while_the_source_is_silent_and_a_reader_dawdles(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    with (
        Relay(prometheus.url, trouble="sum by", way=stay_silent) as relay,
        running_exporter(config_file(tmp_path, config_text(relay.url, SALES | TOTAL))) as exporter,
        socket.create_connection(("127.0.0.1", int(exporter.url.rpartition(":")[2]))) as dawdler,
    ):
        dawdler.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")  # and never the rest
        assert relay.reached.wait(120)
        assert exporter.get("/-/healthy").status_code == 200
        status, took_s = exporter.end()
        assert (status, took_s < END_S) == (0, True), f"{took_s:.1f} s\n{exporter.log}"


def test_ends_within_5_s_while_an_explanation_waits_for_the_source(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    """It reads its window ahead by threads of a pool, which Python joins at the end of a process, however long."""
    with (
        Relay(prometheus.url, way=stay_silent) as relay,
        running_exporter(config_file(tmp_path, config_text(relay.url, SALES))) as exporter,
    ):
        wait_until(exporter.ready, "first verdicts")
        relay.trouble = "[299999ms]"  # how whole windows are read; the cycles go on
        page = f"{exporter.url}/explain?query=sales&series=%7Bgood%3D%22tea%22%7D"
        asked = threading.Thread(target=_ask, args=(page,))
        asked.start()
        assert relay.reached.wait(60)
        status, took_s = exporter.end()
        asked.join(60)
        assert (status, took_s < END_S) == (0, True), f"{took_s:.1f} s\n{exporter.log}"


def test_kernels_that_nobody_else_may_use_are_gone_with_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running_exporter(config_file(tmp_path, config_text("http://127.0.0.1:9", SALES))) as exporter:
        assert list(tmp_path.glob("anomaly-exporter-kernels-*"))
        assert exporter.end()[0] == 0
    assert not list(tmp_path.glob("anomaly-exporter-kernels-*"))


def _ask(url: str) -> None:
    with suppress(requests.RequestException):  # it ends with the exporter
        requests.get(url, timeout=60)


def test_ends_within_5_s_in_the_middle_of_a_fit_and_scrapes_answer_meanwhile(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    with (
        Relay(prometheus.url, watched="label_replace") as relay,
        running_exporter(config_file(tmp_path, config_text(relay.url, SALES | SLOW_FIT))) as exporter,
    ):
        assert relay.served.wait(180)  # the newest samples have come; fits follow
        exporter.wait_for_cycles("sales", 2)  # other queries are judged beside the fit
        with requests.Session() as scraper:
            for _ in range(5):
                assert "anomaly_score{" in scraper.get(f"{exporter.url}/metrics", timeout=ANSWER_S).text
                assert scraper.get(f"{exporter.url}/", timeout=ANSWER_S).status_code == 200
                assert exporter.number("cycles_total", query="slow", outcome="ok") == 0  # still at it
            status, took_s = exporter.end()
        assert (status, took_s < END_S) == (0, True), f"{took_s:.1f} s\n{exporter.log}"
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
    app = App(str(config_file(tmp_path, config_text(prometheus.url, SALES))))
    app.start("127.0.0.1:0", lifecycle=True)
    try:
        assert held.wait(180)  # kernels may have to be compiled for what comes before
        url = f"http://127.0.0.1:{app.port}"
        for path in ("/metrics", "/", "/-/healthy", "/config"):
            assert requests.get(url + path, timeout=ANSWER_S).status_code == 200
        assert requests.post(f"{url}/-/reload", timeout=ANSWER_S).status_code == 200
        assert app.units["sales"].last is None  # all of that during the fit
        go_on.set()
        wait_until(lambda: app.ready()[0], "verdicts after the fit")
        assert requests.get(f"{url}/-/ready", timeout=ANSWER_S).status_code == 200
    finally:
        go_on.set()
        assert app.stop()
