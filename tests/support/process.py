"""The exporter as an operator runs it: a process of its own, seen over HTTP, its log and its exit status only."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families
from support.servers import wait_until

ANSWER_S = 20.0  # for a page: what could hold it up takes a minute here, and a busy machine some seconds
END_S = 20.0  # for the end that is promised within 5 seconds: a busy machine may be four times slower
GLOBAL = "global: {interval: 2s, step: 5m, window: 2d}\n"


def config_text(source: str, queries: Mapping[str, str], *, more: str = "", start: str = GLOBAL) -> str:
    """A config: ``queries`` maps names to the YAML of what follows the name, ``more`` belongs to the source."""
    lines = "".join(f"  - {{name: {name}, {rest}}}\n" for name, rest in queries.items())
    return f'{start}source:\n  url: "{source}"\n{more}queries:\n{lines}'


def config_file(folder: Path, text: str) -> Path:
    """A config as a file of a folder."""
    file = folder / "config.yml"
    file.write_text(text)
    return file


def parsed(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Sample name -> [(labels, value)] of a page in the text format."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


class Exporter:
    """A running exporter: what it serves, what it logs, and its end."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        wait_until(lambda: self._port() or process.poll() is not None, "the exporter listens")
        assert process.poll() is None, self.log
        self.url = f"http://127.0.0.1:{self._port()}"

    def _port(self) -> int:
        match = re.search(r"msg=started .*port=(\d+)\s", self.log)
        return int(match.group(1)) if match else 0

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text("utf-8", "replace")

    def get(self, path: str, **headers: str) -> requests.Response:
        """GET with no headers but these (underscores stand for hyphens). Must answer while others have to wait."""
        given = {"Accept": None, "Accept-Encoding": None} | {k.replace("_", "-"): v for k, v in headers.items()}
        return requests.get(self.url + path, headers=given, timeout=ANSWER_S)

    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of the samples of this name that carry these labels."""
        found = parsed(self.get("/metrics").text).get(name, [])
        return [(have, value) for have, value in found if labels.items() <= have.items()]

    def number(self, name: str, **labels: str) -> float:
        """The value of the one sample of the exporter's own metric with these labels."""
        ((_, value),) = self.samples(f"anomaly_exporter_{name}", **labels)
        return value

    def ready(self) -> bool:
        """Whether /-/ready says so."""
        return self.get("/-/ready").status_code == 200

    def wait_for_cycles(self, query: str, more: int = 2) -> None:
        """Wait until so many more cycles of a query have gone well."""
        start = self.number("cycles_total", query=query, outcome="ok")
        wait_until(
            lambda: self.number("cycles_total", query=query, outcome="ok") >= start + more,
            f"{query} goes on\n{self.log}",
        )

    def end(self) -> tuple[int, float]:
        """SIGTERM; returns the exit status and the seconds it took."""
        start_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60), time.monotonic() - start_s


def command(config: Path, *flags: str, address: str = "127.0.0.1:0") -> list[str]:
    """The command line of ``run``."""
    words = [sys.executable, "-m", "exporter.cli", "run", f"--config.file={config}"]
    return [*words, f"--web.listen-address={address}", *flags]


@contextmanager
def running_exporter(config: Path, *flags: str, address: str = "127.0.0.1:0") -> Iterator[Exporter]:
    """Start an exporter and wait until it listens; whatever happens, it is gone afterwards."""
    log = config.with_suffix(f".{time.monotonic_ns()}.log")
    with log.open("wb") as out:
        process = subprocess.Popen(command(config, *flags, address=address), stdout=out, stderr=out)
        try:
            yield Exporter(process, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(120)
