"""How long after its start the real exporter shows its first verdict, with compiled kernels at hand and without."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from bench.speed import madeup
from bench.speed.clocks import cpu_of
from bench.speed.report import SpeedError
from bench.speed.server import Prometheus, feed_until_now
from exporter.demo.stack import Stack, answers, free_ports

_PATIENCE_S = 300


@dataclass(frozen=True, slots=True)
class Started:
    """Seconds by the wall and of CPU until the first verdict."""

    wall_s: float
    cpu_s: float


def first_verdict(stack: Stack, server: Prometheus, series: int, cache: Path | None) -> Started:
    """Start `anomaly-exporter run` on a week of series; `cache`: an empty folder instead of the usual cache."""
    feed_until_now(server, series)
    (port,) = free_ports(1)
    config = server.folder / "anomaly-exporter.yml"
    config.write_text(_config(server.url), "ascii")
    command = [sys.executable, "-m", "exporter.cli", "run", f"--config.file={config}"]
    started = time.monotonic()
    exporter = stack.start(
        "exporter",
        [*command, f"--web.listen-address=127.0.0.1:{port}"],
        {"NUMBA_CACHE_DIR": str(cache)} if cache else None,
    )
    url = f"http://127.0.0.1:{port}"
    with requests.Session() as session:
        stack.wait_for(exporter, lambda: answers(session, f"{url}/-/ready"), _PATIENCE_S, "verdicts")
        found = Started(time.monotonic() - started, cpu_of(exporter.process.pid))
        shown = session.get(f"{url}/metrics", timeout=60).text.count("\nanomaly_score{")
    if shown < series:
        raise SpeedError(f"only {shown} verdicts for {series} series after the start")
    exporter.process.terminate()
    exporter.process.wait()
    stack.servers.remove(exporter)
    return found


def _config(url: str) -> str:
    return f"""
global: {{interval: 1m, step: 5m, window: 7d}}
source: {{url: "{url}"}}
queries:
  - name: bench
    expr: {madeup.WINDOW_METRIC}
"""
