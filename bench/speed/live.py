"""The real exporter beside a real Prometheus at their real pace: late cycles, memory, CPU per cycle. Prints a table.

Fills a Prometheus with history, lets it scrape made-up series and the exporter's results, and watches for some minutes.

    python -m bench.speed.live [--series 10000] [--minutes 15] [--days 7] [--interval 1m]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import requests
from prometheus_client.parser import text_string_to_metric_families

from bench.speed import madeup
from bench.speed.clocks import cpu_of, memory_bytes
from bench.speed.report import SpeedError, text
from bench.speed.server import programs, write_blocks
from exporter.demo.stack import Server, Stack, answers, free_ports
from exporter.demo.stop import Stopped, listening
from exporter.errors import DemoError

_ROWS_A_FILE = 2000
_FIRST_SCRAPE_S = 70


class Target:
    """An application that exposes the series live; its text is made before it is asked for."""

    def __init__(self, series: int) -> None:
        self._names = [madeup.exposition(own) for own in madeup.labels(series)]
        self._text = b""
        self.refresh()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer._text
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def refresh(self) -> None:
        """New values for now."""
        now = madeup.values([int(time.time())], len(self._names))[:, 0].tolist()
        self._text = "".join(f"{name} {x:.8g}\n" for name, x in zip(self._names, now, strict=True)).encode()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True, slots=True)
class Seen:
    """What stood on the clocks and on the exporter's own page at one moment."""

    exporter_s: float
    prometheus_s: float
    metrics: dict[str, float]

    @classmethod
    def now(cls, url: str, exporter: Server, prometheus: Server) -> Self:
        """Look."""
        metrics = self_metrics(requests.get(url + "/metrics", timeout=60).text)
        return cls(cpu_of(exporter.process.pid), cpu_of(prometheus.process.pid), metrics)


def self_metrics(page: str) -> dict[str, float]:
    """The exporter's own metrics, summed over labels but for outcome and state."""
    found: dict[str, float] = {}
    own = "".join(line + "\n" for line in page.splitlines() if "anomaly_exporter_" in line)
    for family in text_string_to_metric_families(own):
        for sample in family.samples:
            word = sample.labels.get("outcome") or sample.labels.get("state") or ""
            key = f"{sample.name} {word}".strip()
            found[key] = found.get(key, 0.0) + sample.value
    return found


def configure(folder: Path, prometheus: int, exporter: int, target: int, days: int, interval: str) -> None:
    """Write both configs. History has no job and instance, so the live series drop theirs."""
    (folder / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: {interval}, evaluation_interval: {interval}}}
scrape_configs:
  - job_name: bench
    static_configs: [{{targets: ["127.0.0.1:{target}"]}}]
    metric_relabel_configs: [{{regex: "job|instance", action: labeldrop}}]
  - job_name: anomaly-exporter
    honor_labels: true
    static_configs: [{{targets: ["127.0.0.1:{exporter}"]}}]
""",
        "ascii",
    )
    (folder / "anomaly-exporter.yml").write_text(
        f"""
global: {{interval: {interval}, step: 5m, window: {days}d}}
source: {{url: "http://127.0.0.1:{prometheus}"}}
queries:
  - name: bench
    expr: {madeup.METRIC}
""",
        "ascii",
    )


def start_prometheus(stack: Stack, folder: Path, port: int) -> Server:
    """The server with its history, answering."""
    command = [
        programs()[0],
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=400d",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server = stack.start("prometheus", command)
    with requests.Session() as session:
        stack.wait_for(server, lambda: answers(session, f"http://127.0.0.1:{port}/-/ready"), 300, "answer")
    return server


def start_exporter(stack: Stack, folder: Path, port: int) -> tuple[Server, str]:
    """The exporter with its first verdicts, and how long they took."""
    command = [sys.executable, "-m", "exporter.cli", "run", f"--config.file={folder / 'anomaly-exporter.yml'}"]
    started = time.monotonic()
    exporter = stack.start("exporter", [*command, f"--web.listen-address=127.0.0.1:{port}"])
    with requests.Session() as session:
        stack.wait_for(exporter, lambda: answers(session, f"http://127.0.0.1:{port}/-/ready"), 900, "verdicts")
    return exporter, f"{time.monotonic() - started:.1f} s, {cpu_of(exporter.process.pid):.1f} CPU s"


def watch(stack: Stack, target: Target, minutes: float) -> None:
    """Let time pass, with new values every few seconds."""
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        target.refresh()
        stack.check()
        stack.stop.wait(5)


def run(series: int, minutes: float, days: int, interval: str) -> None:
    """Set everything up, watch it for a while, print what it cost."""
    with (
        listening() as stop,
        tempfile.TemporaryDirectory(prefix="bench-live-") as name,
        Stack(Path(name), stop) as stack,
    ):
        folder, target = Path(name), Target(series)
        prometheus_port, exporter_port = free_ports(2)
        configure(folder, prometheus_port, exporter_port, target.port, days, interval)
        print("writing history", file=sys.stderr)
        write_blocks(stack, folder, madeup.METRIC, series, days, int(time.time()), _ROWS_A_FILE)
        prometheus = start_prometheus(stack, folder, prometheus_port)
        target.refresh()
        stop.wait(_FIRST_SCRAPE_S)
        target.refresh()
        exporter, ready = start_exporter(stack, folder, exporter_port)
        print(f"ready after {ready}; watching for {minutes:g} minutes", file=sys.stderr)
        url = f"http://127.0.0.1:{exporter_port}"
        before = Seen.now(url, exporter, prometheus)
        watch(stack, target, minutes)
        after = Seen.now(url, exporter, prometheus)
        watched = f"{after.metrics['anomaly_exporter_series ok']:.0f} of {series}, window {days} d at 5 m"
        rows = [("series watched", watched), ("start to first verdicts", ready)]
        rows += spent(before, after, minutes)
        rows += memory(after, exporter, prometheus)
        print(text([list(row) for row in rows]))
        target.close()


def spent(before: Seen, after: Seen, minutes: float) -> list[tuple[str, str]]:
    """Cycles and CPU seconds between two looks. SpeedError when there was no cycle."""

    def grown(key: str) -> float:
        return after.metrics.get(key, 0.0) - before.metrics.get(key, 0.0)

    cycles = grown("anomaly_exporter_cycles_total ok")
    if cycles == 0:
        raise SpeedError("no cycle ended well in the time measured")
    bad = ", ".join(f"{grown(f'anomaly_exporter_cycles_total {word}'):.0f}" for word in ("failed", "late", "skipped"))
    own_s, server_s = after.exporter_s - before.exporter_s, after.prometheus_s - before.prometheus_s
    return [
        ("cycles in the time measured", f"{cycles:.0f} ok in {minutes:g} minutes"),
        ("failed, late, skipped", bad),
        ("exporter, CPU s a cycle (all threads, scrapes included)", f"{own_s / cycles:.3f}"),
        ("of it the cycle itself", f"{grown('anomaly_exporter_cycle_cpu_seconds_total') / cycles:.3f}"),
        ("Prometheus, CPU s a cycle (scraping the series and us, queries)", f"{server_s / cycles:.3f}"),
    ]


def memory(after: Seen, exporter: Server, prometheus: Server) -> list[tuple[str, str]]:
    """Memory of both."""
    own, most = (memory_bytes(exporter.process.pid, key) / 2**20 for key in ("VmRSS", "VmHWM"))
    return [
        ("exporter memory now / at most", f"{own:.0f} / {most:.0f} MiB"),
        ("of it windows", f"{after.metrics['anomaly_exporter_window_bytes'] / 2**20:.0f} MiB"),
        ("Prometheus memory", f"{memory_bytes(prometheus.process.pid) / 2**20:.0f} MiB"),
    ]


def main() -> int:
    """Read the flags and run: 0, or 2 with the reason on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--interval", default="1m")
    flags = parser.parse_args()
    try:
        run(flags.series, flags.minutes, flags.days, flags.interval)
    except (SpeedError, DemoError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except Stopped:
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
