"""A real Prometheus with days of history that goes on scraping a small shop, for tests of the whole program."""

from __future__ import annotations

import json
import math
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

DAY_S = 86_400
GOODS = ("tea", "coffee", "salt", "rice", "oil", "soap")
HISTORY_DAYS = 2.5
SCRAPE_S = 3  # a series is missing after 2.5 of these: a busy machine must not make it so
SPACING_S = 60  # of the history


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(true: Callable[[], object], what: str, patience_s: float = 180) -> None:
    """Look again and again until it is so; fail after a long while."""
    deadline_s = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {patience_s:.0f} s in vain: {what}")
        time.sleep(0.05)


def sales(index: int, time_s: float) -> float:
    """A daily rhythm with noise; the same for the same moment."""
    noise = random.Random(f"{index} {time_s:.0f}").gauss(0, 0.5)
    return round(20 + 3 * index + 5 * math.sin(time_s * 2 * math.pi / DAY_S + index) + noise, 6)


def labels_of(good: str) -> dict[str, str]:
    """The labels of a series of ``sales`` in Prometheus, without its name."""
    return {"good": good, "job": "shop", "instance": "shop-1"}


@dataclass
class Shop:
    """What the shop's own /metrics says. ``closed`` goods have no line; ``prices`` override the usual value."""

    closed: set[str] = field(default_factory=set)
    prices: dict[str, float] = field(default_factory=dict)

    def text(self, time_s: float) -> str:
        """The exposition at a time. ``visits`` is a counter whose name does not say so."""
        lines = ["# TYPE sales gauge"]
        for i, good in enumerate(GOODS):
            if good not in self.closed:
                lines.append(f'sales{{good="{good}"}} {self.prices.get(good, sales(i, time_s))}')
        lines += ["# TYPE visits counter", f"visits {int(time_s) % 10**6}"]
        lines += ["# TYPE requests_total counter", f'requests_total{{code="200"}} {int(time_s) % 10**6}', ""]
        return "\n".join(lines)


@dataclass(frozen=True)
class RunningPrometheus:
    """``url`` of the server; ``exporter_port`` is scraped as job anomaly-exporter, whoever listens there."""

    url: str
    shop: Shop
    exporter_port: int

    def ask(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each series that an expression has now."""
        answer = requests.post(f"{self.url}/api/v1/query", data={"query": expr}, timeout=30).json()
        assert answer["status"] == "success", answer
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]


def _history(now_s: int) -> str:
    lines = ["# TYPE sales gauge"]
    for i, good in enumerate(GOODS):
        labels = ",".join(f'{name}="{value}"' for name, value in labels_of(good).items())
        start_s = now_s - int(HISTORY_DAYS * DAY_S)
        lines += [f"sales{{{labels}}} {sales(i, t)} {t}" for t in range(start_s, now_s, SPACING_S)]
    return "\n".join([*lines, "# EOF", ""])


def _scrape_config(shop_port: int, exporter_port: int) -> str:
    config = {
        "global": {"scrape_interval": f"{SCRAPE_S}s"},
        "scrape_configs": [
            {
                "job_name": "shop",
                "static_configs": [{"targets": [f"127.0.0.1:{shop_port}"], "labels": {"instance": "shop-1"}}],
            },
            {
                "job_name": "anomaly-exporter",
                "honor_labels": True,
                "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}],
            },
        ],
    }
    return json.dumps(config)  # JSON is YAML


@contextmanager
def _selling(shop: Shop) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = shop.text(time.time()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@contextmanager
def running_prometheus(folder: Path) -> Iterator[RunningPrometheus]:
    """Backfill, start, wait until it answers and has scraped the shop; ended by its id."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.fail("prometheus and promtool are needed: apt-get install prometheus")
    (folder / "history.txt").write_text(_history(int(time.time())))
    backfill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=486h"]
    subprocess.run([*backfill, folder / "history.txt", folder / "data"], check=True, capture_output=True)
    shop, exporter_port, port = Shop(), free_port(), free_port()
    server = RunningPrometheus(f"http://127.0.0.1:{port}", shop, exporter_port)
    with _selling(shop) as shop_port, (folder / "log").open("wb") as log:
        (folder / "prometheus.yml").write_text(_scrape_config(shop_port, exporter_port))
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(lambda: _scraped(server, process, folder / "log"), "prometheus scrapes the shop")
            yield server
        finally:
            process.terminate()
            process.wait(30)


def _scraped(server: RunningPrometheus, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        if not requests.get(f"{server.url}/-/ready", timeout=5).ok:
            return False
        return len(server.ask('sales and on() (up{job="shop"} == 1)')) == len(GOODS)
    except requests.ConnectionError:
        return False
