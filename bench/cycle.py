"""A whole exporter beside a whole Prometheus: CPU per cycle of each, memory, late cycles. Prints a table.

Starts a real Prometheus, fills it with history, lets it scrape made-up series and the exporter's results, and runs the
exporter for some minutes. Run: .venv/bin/python -m bench.cycle [--series 10000] [--minutes 10] [--days 7]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import requests
from prometheus_client.parser import text_string_to_metric_families

from exporter.demo.stack import Server, Stack, answers, find_binaries, free_ports
from exporter.demo.stop import Stop

STEP_S = 300
BLOCK_COLUMNS = 24  # two hours: promtool reads a file once per block, so each file holds one
DAY_S = 86_400


def values(times: np.ndarray, series: int) -> np.ndarray:
    """(times, series) values: a daily rhythm per series and noise that depends on the time only."""
    phase = np.arange(series) * 2.399963
    level = 10.0 ** (np.arange(series) % 5)
    noise = np.random.default_rng(int(times[0])).normal(size=(len(times), series)) * 0.1
    return level * (2 + np.sin(times[:, None] * 2 * np.pi / DAY_S + phase) + noise)


def labels(series: int) -> list[str]:
    """The series' names, about as long as those of a Kubernetes cluster."""
    fixed = 'bench_value{cluster="eu-west-1a",namespace="shop-'
    return [f'{fixed}{i % 40}",service="service-{i % 400}",pod="service-{i % 400}-{i:06d}"}}' for i in range(series)]


class Target:
    """An application that exposes the series live; its text is made before it is asked for."""

    def __init__(self, series: int) -> None:
        self._names = labels(series)
        self._series = series
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
        now = values(np.array([time.time()]), self._series)[0].tolist()
        self._text = "".join(f"{name} {x:.8g}\n" for name, x in zip(self._names, now, strict=True)).encode()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()


def write_history(folder: Path, series: int, days: int, promtool: str, stack: Stack) -> None:
    """Past values as blocks, two hours at a time."""
    names = labels(series)
    end = int(time.time()) // STEP_S * STEP_S
    columns = np.arange(end - days * DAY_S, end, STEP_S)
    blocks = [columns[columns // 7200 == number] for number in np.unique(columns // 7200)]
    text = folder / "history.txt"
    for done, times in enumerate(blocks):
        rows = values(times.astype(float), series).T.tolist()
        with text.open("w", encoding="ascii") as file:
            file.write("# TYPE bench_value gauge\n")
            for name, row in zip(names, rows, strict=True):
                file.write("".join(f"{name} {x:.8g} {t}\n" for t, x in zip(times.tolist(), row, strict=True)))
            file.write("# EOF\n")
        stack.run(
            "promtool",
            [promtool, "tsdb", "create-blocks-from", "--quiet", "openmetrics", str(text), str(folder / "data")],
        )
        print(f"\rhistory {100 * (done + 1) // len(blocks)} %", end="", file=sys.stderr)
    print(file=sys.stderr)
    text.unlink()


def cpu_s(server: Server) -> float:
    """CPU seconds a process has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(server: Server, key: str = "VmRSS") -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def self_metrics(url: str) -> dict[str, float]:
    """The exporter's own metrics, summed over labels but for outcome and state."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(requests.get(url + "/metrics", timeout=60).text):
        if family.name.startswith("anomaly_exporter"):
            for sample in family.samples:
                word = sample.labels.get("outcome") or sample.labels.get("state") or ""
                key = f"{sample.name} {word}".strip()
                found[key] = found.get(key, 0.0) + sample.value
    return found


def configure(folder: Path, prometheus: int, exporter: int, target: int, days: int, interval: str) -> None:
    """Write both configs."""
    (folder / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: {interval}, evaluation_interval: {interval}}}
scrape_configs:
  - job_name: bench
    static_configs: [{{targets: ["127.0.0.1:{target}"]}}]
    # history has no such labels
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
    expr: bench_value
""",
        "ascii",
    )


def run(series: int, minutes: float, days: int, interval: str) -> None:
    """Set everything up, watch it for a while, print what it cost."""
    binaries = find_binaries()
    with tempfile.TemporaryDirectory(prefix="bench-cycle-") as name, Stack(Path(name), Stop()) as stack:
        folder = Path(name)
        target = Target(series)
        write_history(folder, series, days, binaries.promtool, stack)
        prometheus_port, exporter_port = free_ports(2)
        configure(folder, prometheus_port, exporter_port, target.port, days, interval)
        prometheus = stack.start(
            "prometheus",
            [
                binaries.prometheus,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=400d",
                f"--web.listen-address=127.0.0.1:{prometheus_port}",
            ],
        )
        session = requests.Session()
        stack.wait_for(
            prometheus, lambda: answers(session, f"http://127.0.0.1:{prometheus_port}/-/ready"), 120, "answer"
        )
        target.refresh()
        time.sleep(70)  # one scrape of live samples at least
        target.refresh()
        url = f"http://127.0.0.1:{exporter_port}"
        command = [sys.executable, "-m", "exporter.cli", "run", f"--config.file={folder / 'anomaly-exporter.yml'}"]
        started = time.monotonic()
        exporter = stack.start("exporter", [*command, f"--web.listen-address=127.0.0.1:{exporter_port}"])
        stack.wait_for(exporter, lambda: answers(session, url + "/-/ready"), 600, "verdicts")
        ready_s, ready_cpu_s = time.monotonic() - started, cpu_s(exporter)
        print(f"ready after {ready_s:.1f} s, {ready_cpu_s:.1f} CPU s", file=sys.stderr)
        before = self_metrics(url)
        cpu_before = cpu_s(exporter), cpu_s(prometheus)
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            target.refresh()
            stack.check()
            time.sleep(5)
        after = self_metrics(url)
        cpu_after = cpu_s(exporter), cpu_s(prometheus)
        show(series, days, minutes, before, after, cpu_before, cpu_after, exporter, prometheus, ready_s, ready_cpu_s)
        target.close()


def show(
    series, days, minutes, before, after, cpu_before, cpu_after, exporter, prometheus, ready_s, ready_cpu_s
) -> None:
    """Print the table."""

    def grown(key: str) -> float:
        return after.get(key, 0.0) - before.get(key, 0.0)

    cycles = grown("anomaly_exporter_cycles_total ok")
    rows = [
        ("series watched", f"{after['anomaly_exporter_series ok']:.0f} of {series}, window {days} d at 5 m"),
        ("start to first verdicts", f"{ready_s:.1f} s, {ready_cpu_s:.1f} CPU s"),
        ("cycles in the time measured", f"{cycles:.0f} ok in {minutes:g} minutes"),
        (
            "failed, late, skipped",
            ", ".join(f"{grown(f'anomaly_exporter_cycles_total {k}'):.0f}" for k in ("failed", "late", "skipped")),
        ),
        ("exporter, CPU s per cycle (all threads, scrapes included)", f"{(cpu_after[0] - cpu_before[0]) / cycles:.3f}"),
        (
            "of it reading, judging, fitting, rendering",
            f"{grown('anomaly_exporter_cycle_cpu_seconds_total') / cycles:.3f}",
        ),
        ("Prometheus, CPU s per cycle (scraping, queries)", f"{(cpu_after[1] - cpu_before[1]) / cycles:.3f}"),
        ("exporter memory now / at most", f"{rss_mib(exporter):.0f} / {rss_mib(exporter, 'VmHWM'):.0f} MiB"),
        ("of it windows", f"{after['anomaly_exporter_window_bytes'] / 2**20:.0f} MiB"),
        ("Prometheus memory", f"{rss_mib(prometheus):.0f} MiB"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}")


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--interval", default="1m")
    options = parser.parse_args()
    run(options.series, options.minutes, options.days, options.interval)


if __name__ == "__main__":
    main()
