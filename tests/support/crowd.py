"""A real Prometheus with some hundred series of two days and more, which it goes on scraping."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from support.shop import free_port, wait_until

DAY_S = 86_400
SCRAPE_S = 3
_SPACING_S = 300
_LEAST_S = 2.2 * DAY_S


@dataclass
class Crowd:
    """``url`` of the server; ``people`` are the numbers of the series ``load{i="..."}`` that are scraped."""

    url: str
    people: set[int] = field(default_factory=set)

    def text(self, time_s: float) -> str:
        """What the scraped target says."""
        lines = [f'load{{i="{i}"}} {_load(i, time_s)}' for i in sorted(self.people)]
        return "\n".join(["# TYPE load gauge", *lines, ""])

    def count(self) -> int:
        """Series of ``load`` that the server has now."""
        form = {"query": "count(load)"}
        found = requests.post(f"{self.url}/api/v1/query", data=form, timeout=30).json()["data"]["result"]
        return int(found[0]["value"][1]) if found else 0


def _load(i: int, time_s: float) -> float:
    noise = random.Random(f"{i} {time_s:.0f}").gauss(0, 0.5)
    return round(20 + 5 * math.sin(time_s * 2 * math.pi / DAY_S + i) + noise, 4)


def _history(series: int, now_s: int) -> str:
    lines = ["# TYPE load gauge"]
    for i in range(series):
        name = f'load{{i="{i}",instance="one",job="crowd"}}'
        lines += [f"{name} {_load(i, t)} {t}" for t in range(now_s - int(_LEAST_S), now_s, _SPACING_S)]
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def _target(crowd: Crowd) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = crowd.text(time.time()).encode()
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
def running_crowd(folder: Path, series: int, *flags: str, storage: str = "") -> Iterator[Crowd]:
    """Backfill, start, wait until all series are scraped; ended by its id. `storage` goes into the server's config."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.fail("prometheus and promtool are needed: apt-get install prometheus")
    (folder / "history.txt").write_text(_history(series, int(time.time())))
    backfill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=486h"]
    subprocess.run([*backfill, folder / "history.txt", folder / "data"], check=True, capture_output=True)
    port = free_port()
    crowd = Crowd(f"http://127.0.0.1:{port}", set(range(series)))
    with _target(crowd) as target, (folder / "log").open("wb") as log:
        config = {
            "global": {"scrape_interval": f"{SCRAPE_S}s"},
            "scrape_configs": [
                {"job_name": "crowd",
                 "static_configs": [{"targets": [f"127.0.0.1:{target}"], "labels": {"instance": "one"}}]},
            ],
        }  # fmt: skip
        (folder / "prometheus.yml").write_text(json.dumps({**config, **json.loads(storage or "{}")}))
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", *flags]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(lambda: _scraped(crowd, process, folder / "log"), "prometheus scrapes the crowd")
            yield crowd
        finally:
            process.terminate()
            process.wait(30)


def _scraped(crowd: Crowd, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        if not requests.get(f"{crowd.url}/-/ready", timeout=5).ok:
            return False
        form = {"query": "count(count_over_time(load[12s]) >= 3)"}
        found = requests.post(f"{crowd.url}/api/v1/query", data=form, timeout=30).json()["data"]["result"]
        return bool(found) and int(found[0]["value"][1]) == len(crowd.people)
    except requests.ConnectionError:
        return False
