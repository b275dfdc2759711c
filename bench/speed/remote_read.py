"""CPU seconds to read a window of 1,000 series: range queries beside streamed remote read. Prints a table.

The server is a real Prometheus with blocks on disk (`prometheus` and `promtool` must be installed); its CPU time is
that of its process between the first and the last byte. Run: python -m bench.speed.remote_read
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import requests

from exporter.source.client import Client
from exporter.source.reader import Reader

STEP_S = 300
POINTS = 2016
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LONGEST_BLOCK = "486h"  # one block: promtool reads the whole text once per block


@dataclass(frozen=True)
class Read:
    """What one read took, and what it gave."""

    client_cpu_s: float
    server_cpu_s: float
    wall_s: float
    body_bytes: int
    values: npt.NDArray[np.float64]


def main() -> None:
    """Measure raw samples as dense as the step and denser ones, by both ways."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--spacing", type=int, nargs="+", default=[300, 60], help="seconds between raw samples")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{options.series} series x {POINTS} points, step {STEP_S} s; median of {options.repeats}")
    print(
        f"{'raw samples':14} {'way':>14} {'client CPU s':>13} {'server CPU s':>13} {'sum':>7} {'wall s':>7} {'MB':>7}"
    )
    for spacing_s in options.spacing:
        with (
            tempfile.TemporaryDirectory() as folder,
            server(Path(folder), options.series, spacing_s) as (url, pid, end_s),
        ):
            compare(url, pid, end_s, options, f"every {spacing_s} s")
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def compare(url: str, pid: int, end_s: int, options: argparse.Namespace, name: str) -> None:
    """Read both ways, check that they agree, then take the time."""
    ways = {"range queries": False, "remote read": True}
    firsts = {way: read(url, pid, end_s, options.series, remote) for way, remote in ways.items()}  # compiles too
    assert np.array_equal(firsts["range queries"].values, firsts["remote read"].values)
    for way, remote in ways.items():
        reads = [read(url, pid, end_s, options.series, remote) for _ in range(options.repeats)]
        client, server_, wall = (
            statistics.median(each)
            for each in zip(*((r.client_cpu_s, r.server_cpu_s, r.wall_s) for r in reads), strict=True)
        )
        print(f"{name:14} {way:>14} {client:13.3f} {server_:13.2f} {client + server_:7.2f} {wall:7.2f} "
              f"{reads[0].body_bytes / 1e6:7.1f}")  # fmt: skip


def read(url: str, pid: int, end_s: int, series: int, remote_read: bool) -> Read:
    """The whole window once, as at the start of the exporter."""
    seen: list[tuple[str, int]] = []
    with requests.Session() as session:
        client = Client(url, session, observe=lambda *each: seen.append(each))
        reader = Reader(client, "load", STEP_S, remote_read=remote_read)
        before = time.process_time(), server_cpu_s(pid), time.perf_counter()
        batches = [answer.batch for answer in reader.range(end_s - (POINTS - 1) * STEP_S, end_s, series)]
        after = time.process_time(), server_cpu_s(pid), time.perf_counter()
    assert {outcome for outcome, _ in seen} == {"ok"}, seen
    values = np.concatenate([batch.value for batch in batches])
    own_s, server_s, wall_s = (late - early for early, late in zip(before, after, strict=True))
    return Read(own_s, server_s, wall_s, sum(body_bytes for _, body_bytes in seen), np.sort(values))


def server_cpu_s(pid: int) -> float:
    """User and system time of a process (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@contextmanager
def server(folder: Path, series: int, spacing_s: int) -> Iterator[tuple[str, int, int]]:
    """A Prometheus with a week of noisy samples: its URL, process id and the newest grid time."""
    end_s = int(time.time()) // STEP_S * STEP_S - 4 * 3600
    write_history(folder / "samples.txt", series, spacing_s, end_s)
    make = [
        "promtool",
        "tsdb",
        "create-blocks-from",
        "--quiet",
        f"--max-block-duration={_LONGEST_BLOCK}",
        "openmetrics",
    ]
    subprocess.run([*make, folder / "samples.txt", folder / "data"], check=True, capture_output=True)
    (folder / "samples.txt").unlink()
    (folder / "prometheus.yml").write_text("global: {}\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address={address}", "--storage.tsdb.retention.time=60d", "--log.level=error"]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            wait_until_ready(f"http://{address}/-/ready")
            yield f"http://{address}", process.pid, end_s
        finally:
            process.terminate()


def write_history(path: Path, series: int, spacing_s: int, end_s: int) -> None:
    """Values of 6 digits around 100, as OpenMetrics text, series by series."""
    rng = np.random.default_rng(1)
    stamps = [f" {t}\n" for t in range(end_s - POINTS * STEP_S, end_s + 1, spacing_s)]
    with path.open("w") as file:
        file.write("# TYPE load gauge\n")
        for i in range(series):
            name = f'load{{instance="10.0.0.{i}:9100",job="node"}} '
            values = rng.normal(100, 15, len(stamps)).tolist()
            file.write("".join([f"{name}{v:.6g}{stamp}" for v, stamp in zip(values, stamps, strict=True)]))
        file.write("# EOF\n")


def wait_until_ready(url: str) -> None:
    """Until a server answers; a minute at most."""
    for _ in range(600):
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise TimeoutError(url)


if __name__ == "__main__":
    main()
