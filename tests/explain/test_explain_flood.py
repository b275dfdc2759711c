"""A hundred different explanations at once: few reach the source, the rest is told to come back, scrapes go on."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.answering import answered
from support.documents import page
from support.loopback import LoopbackServer, Request, http
from support.process import Exporter, config_text, running_exporter
from support.servers import wait_until

from exporter.explain.gate import AT_ONCE, BURST, COME_BACK_S, INTERVAL_S, MOST_WAITING, PATIENCE_S, Gate
from exporter.explain.question import ExplainError
from exporter.publish.web import Routes

ASKED = 100
START = "global: {interval: 1h, step: 1h, window: 2d}\n"  # after the first cycle there is none for long


class Source:
    """Has no series; counts what it is asked, and how much of it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.at_once = self.most = 0
        self.server = LoopbackServer(self._respond)

    @property
    def asked(self) -> int:
        return len(self.server.requests)

    def _respond(self, request: Request, connection: socket.socket) -> None:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.02)  # as a server that has something to do
        with self._lock:
            self.at_once -= 1
        kind = b"vector" if request.path.endswith("/query") else b"matrix"
        connection.sendall(http(200, b'{"status":"success","data":{"resultType":"%b","result":[]}}' % kind))


def explain(exporter: Exporter, number: int) -> requests.Response:
    asked = {"query": "q", "series": f'{{pod="p{number}"}}', "at": f"{number + 1}m"}
    return requests.get(f"{exporter.url}/explain", params=asked, timeout=60)


def test_a_flood_of_explanations_is_kept_from_the_source(tmp_path: Path) -> None:
    source = Source()
    (tmp_path / "config.yml").write_text(config_text(source.server.url, {"q": "expr: sum by (pod) (m)"}, start=START))
    try:
        with running_exporter(tmp_path / "config.yml") as exporter:
            wait_until(lambda: exporter.samples("anomaly_exporter_cycles_total", outcome="ok")[0][1], "the first cycle")
            wait_until(lambda: time.time() % 3600 < 3540, "the second one does not come soon")
            before = source.asked
            assert explain(exporter, 1000).status_code == 404
            each = source.asked - before
            source.most, before, start_s = 0, source.asked, time.monotonic()
            with ThreadPoolExecutor(ASKED) as pool:
                answers = [pool.submit(explain, exporter, number) for number in range(ASKED)]
                pages = [exporter.get("/metrics") for _ in range(5)]
                told = [answer.result() for answer in answers]
            passed_s = time.monotonic() - start_s
    finally:
        source.server.close()
    assert {page.status_code for page in pages} == {200}
    assert {answer.status_code for answer in told} == {404, 429}
    busy = [answer for answer in told if answer.status_code == 429]
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in busy)
    assert all("try again in" in answer.text for answer in busy)
    assert each >= 1
    assert source.asked - before <= each * (BURST + passed_s / INTERVAL_S)
    assert source.most <= AT_ONCE
    assert len(busy) >= ASKED - BURST - passed_s / INTERVAL_S - MOST_WAITING


def test_the_rate_holds_also_for_one_after_the_other() -> None:
    gate = Gate()
    for _ in range(BURST):
        gate.spend()
    with pytest.raises(ExplainError, match="try again in 1 seconds") as caught:
        _spend_all(gate)
    assert (caught.value.status, caught.value.busy_s) == (429, 1)


def _spend_all(gate: Gate) -> None:
    for _ in range(BURST):  # more than come while this runs
        gate.spend()


def test_places_are_given_back_whatever_happens() -> None:
    gate = Gate(patience_s=0.01)
    for _ in range(3 * (AT_ONCE + MOST_WAITING)):
        with pytest.raises(RuntimeError), gate.passed():
            raise RuntimeError("oops")
    with gate.passed(), gate.passed(), pytest.raises(ExplainError), gate.passed():
        pass
    with gate.passed():
        pass


def test_who_comes_when_as_many_wait_as_may_is_told_so_at_once() -> None:
    gate, go, refused = Gate(patience_s=600), threading.Event(), list[int]()

    def ask() -> None:
        try:
            with gate.passed():
                go.wait(60)
        except ExplainError as error:
            refused.append(error.busy_s)

    with ThreadPoolExecutor(AT_ONCE + MOST_WAITING + 3) as pool:
        try:
            for _ in range(AT_ONCE + MOST_WAITING + 3):
                pool.submit(ask)
            wait_until(lambda: len(refused) == 3, "three are too many")
        finally:
            go.set()
    assert refused == [COME_BACK_S] * 3


def test_the_document_has_these_numbers() -> None:
    places = f"{AT_ONCE} at once, {MOST_WAITING} waiting for up to {PATIENCE_S:g} s"
    assert f"{places}; {BURST} at once that ask the source, then two a second" in page("docs/web-security.md")
    assert INTERVAL_S == 1 / 2


def test_explanations_can_be_switched_off(tmp_path: Path) -> None:
    source = Source()
    (tmp_path / "config.yml").write_text(config_text(source.server.url, {"q": "expr: m"}, start=START))
    try:
        with running_exporter(tmp_path / "config.yml", "--no-web.enable-explain") as exporter:
            answer = explain(exporter, 1)
            assert (answer.status_code, answer.text) == (404, "Explanations are off.\n")
            assert "/explain" not in exporter.get("/").text
    finally:
        source.server.close()
    off = Routes(lambda openmetrics, shard: [], lambda: (True, ""), None, str, lambda: None)  # type: ignore[arg-type]
    assert answered(off, "/explain", "query=q")[0] == "404 Not Found"
