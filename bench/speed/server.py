"""The real Prometheus that everything is measured against: started here, filled, told whom to scrape."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from bench.speed import madeup, protocol
from bench.speed.report import SpeedError
from exporter.demo.stack import Server, Stack, answers, free_ports

_HOW_TO_GET = (
    "python -m bench.speed needs {missing}, not found on PATH. Debian, Ubuntu: apt-get install prometheus; elsewhere: "
    "https://prometheus.io/download/"
)
_GAP_S = 2400  # between the end of the blocks and now: written into the head, as live samples are


@dataclass(slots=True)
class Prometheus:
    """A running server: ``url``, its process, and up to when `bench_window` has samples."""

    url: str
    folder: Path
    process: Server
    fed_s: int

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.process.pid


def programs() -> tuple[str, str]:
    """Paths of prometheus and promtool. SpeedError that says how to get what is missing."""
    found = {name: shutil.which(name) for name in ("prometheus", "promtool")}
    missing = " and ".join(name for name, path in found.items() if path is None)
    if missing:
        raise SpeedError(_HOW_TO_GET.format(missing=missing))
    return str(found["prometheus"]), str(found["promtool"])


def start(stack: Stack, folder: Path, history_series: int, end_s: int) -> Prometheus:
    """Start a Prometheus that holds a week of `bench_window` until `end_s`, all but its last 40 minutes as a block."""
    write_blocks(stack, folder, madeup.WINDOW_METRIC, history_series, 7, end_s - _GAP_S)
    (port,) = free_ports(1)
    config = folder / "prometheus.yml"
    config.write_text("{}\n", "ascii")
    server = stack.start(
        "prometheus",
        [
            programs()[0],
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=400d",
            "--web.enable-remote-write-receiver",
            "--web.enable-lifecycle",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
    )
    url = f"http://127.0.0.1:{port}"
    with requests.Session() as session:
        stack.wait_for(server, lambda: answers(session, f"{url}/-/ready"), 120, "answer")
    times = list(range(end_s - _GAP_S + 60, end_s + 1, 60))
    feed(url, history_series, times, madeup.WINDOW_METRIC)
    return Prometheus(url, folder, server, end_s)


def feed(url: str, series: int, times_s: list[int], metric: str = madeup.METRIC) -> None:
    """Write the made-up samples of some times into the head."""
    values = madeup.values(times_s, series)
    protocol.push(url, madeup.labels(series, metric), [at * 1000 for at in times_s], values)


def feed_until_now(server: Prometheus, series: int) -> None:
    """Write what `bench_window` has had since it was last fed: a sample every minute of the clock."""
    times = list(range(server.fed_s + 60, int(time.time()) + 1, 60))
    if times:
        feed(server.url, series, times, madeup.WINDOW_METRIC)
        server.fed_s = times[-1]


def scrape(server: Prometheus, port: int, interval_s: int) -> None:
    """Let it scrape a port of this machine from now on."""
    (server.folder / "prometheus.yml").write_text(
        f"""
scrape_configs:
  - job_name: anomaly-exporter
    honor_labels: true
    scrape_interval: {interval_s}s
    scrape_timeout: {interval_s}s
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
""",
        "ascii",
    )
    _reload(server)


def stop_scraping(server: Prometheus) -> None:
    """Scrape nobody any more."""
    (server.folder / "prometheus.yml").write_text("{}\n", "ascii")
    _reload(server)


def _reload(server: Prometheus) -> None:
    answer = requests.post(f"{server.url}/-/reload", timeout=60)
    if answer.status_code != 200:
        raise SpeedError(f"Prometheus did not take its config: {answer.text[:200]}")
    time.sleep(0.1)


def write_blocks(
    stack: Stack, folder: Path, metric: str, series: int, days: int, end_s: int, rows_a_file: int = 1000
) -> None:
    """History until `end_s` as blocks of weeks, some series a file: promtool reads a file once for each block."""
    _, promtool = programs()
    end_s = end_s // madeup.STEP_S * madeup.STEP_S
    times = list(range(end_s - days * madeup.DAY_S, end_s + 1, madeup.STEP_S))
    names, text = madeup.labels(series, metric), folder / "history.txt"
    create = [promtool, "tsdb", "create-blocks-from", "--quiet", "--max-block-duration=384h", "openmetrics"]
    for start in range(0, series, rows_a_file):
        rows = madeup.values(times, min(rows_a_file, series - start), start)
        with text.open("w", encoding="ascii") as file:
            file.write(f"# TYPE {metric} gauge\n")
            for own, row in zip(names[start : start + rows_a_file], rows.tolist(), strict=True):
                name = madeup.exposition(own)
                file.writelines(f"{name} {x:.8g} {t}\n" for t, x in zip(times, row, strict=True))
            file.write("# EOF\n")
        stack.run("promtool", [*create, str(text), str(folder / "data")])
    text.unlink()
