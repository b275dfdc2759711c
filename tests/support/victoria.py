"""A real VictoriaMetrics and what comes with it, of a test's own: on free loopback ports, ended by their ids."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from support.servers import free_port, running_server, scrape_of, target_showing, wait_until
from support.shop import DAY_S, GOODS, SCRAPE_S, SPACING_S, Shop, labels_of, sales

Samples = Sequence[tuple[float, str]]  # unix seconds, the value as text

NOCACHE = '  params: {nocache: "1"}\n'  # for the source of a config, as docs/servers.md has it
_HISTORY_S = int(2.2 * DAY_S)
INCIDENT = "soap"  # sold like nothing else for ten minutes,
INCIDENT_AGE_S = 7 * 3600  # so long ago


def program(name: str) -> str:
    """The path of victoria-metrics, vmagent, vmalert or vmauth."""
    found = shutil.which(name)
    if not found:
        pytest.fail(f"{name} is needed: apt-get install victoria-metrics")
    return found


@dataclass
class Server:
    """A server on a port and a data directory of its own, which can be killed and started again."""

    folder: Path
    flags: tuple[str, ...] = ()
    prefix: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """With the path that it is under."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [program("victoria-metrics"), f"-storageDataPath={self.folder}/data", "-retentionPeriod=1y"]
        command += [f"-httpListenAddr=127.0.0.1:{self.port}", "-loggerLevel=ERROR", f"-http.pathPrefix={self.prefix}"]
        with (self.folder / "victoria.log").open("ab") as out:
            self.process = subprocess.Popen([*command, *self.flags], stdout=out, stderr=out)
        wait_until(self._answers, "victoria-metrics answers")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "victoria.log").read_text("utf-8", "replace")
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def end(self, *, kill: bool = False) -> None:
        """End it, or kill it on the spot."""
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(60)
            self.process = None


@contextmanager
def victoria_in(folder: Path, *flags: str, prefix: str = "") -> Iterator[Server]:
    """A single node with the data of a folder; its API under ``prefix``."""
    folder.mkdir(exist_ok=True)
    server = Server(folder, flags, prefix)
    try:
        server.start()
        yield server
    finally:
        server.end()


@contextmanager
def scraping_in(folder: Path, scrapes: Sequence[Mapping[str, Any]], *flags: str, every_s: int = 1) -> Iterator[Server]:
    """The same with targets that it scrapes by itself."""
    folder.mkdir(exist_ok=True)
    config = {"global": {"scrape_interval": f"{every_s}s"}, "scrape_configs": scrapes}
    (folder / "scrapes.yml").write_text(json.dumps(config))
    with victoria_in(folder, f"-promscrape.config={folder}/scrapes.yml", *flags) as server:
        yield server


@contextmanager
def vmalert_in(folder: Path, rules: str, source: str, *flags: str) -> Iterator[str]:
    """The URL of a vmalert that evaluates rule files (a pattern) on a server every second, and writes there, too."""
    address = f"127.0.0.1:{free_port()}"
    command = [program("vmalert"), f"-rule={rules}", f"-datasource.url={source}", f"-remoteWrite.url={source}"]
    command += [f"-httpListenAddr={address}", "-evaluationInterval=1s", "-loggerLevel=ERROR", *flags]
    with running_server(command, folder / "vmalert.log", f"http://{address}", "/health") as url:
        yield url


@contextmanager
def vmagent_in(folder: Path, scrapes: Sequence[Mapping[str, Any]], receiver: str) -> Iterator[str]:
    """The URL of a vmagent that scrapes every second and writes to a server, the base of whose API is ``receiver``."""
    (folder / "vmagent.yml").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": scrapes}))
    address = f"127.0.0.1:{free_port()}"
    command = [program("vmagent"), f"-promscrape.config={folder}/vmagent.yml", f"-httpListenAddr={address}"]
    command += [f"-remoteWrite.url={receiver}/api/v1/write", f"-remoteWrite.tmpDataPath={folder}/vmagent"]
    with running_server(
        [*command, "-loggerLevel=ERROR"], folder / "vmagent.log", f"http://{address}", "/health"
    ) as url:
        yield url


@contextmanager
def vmauth_in(folder: Path, users: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The URL of a vmauth that knows these users."""
    (folder / "vmauth.yml").write_text(json.dumps({"users": users}))
    address = f"127.0.0.1:{free_port()}"
    command = [program("vmauth"), f"-auth.config={folder}/vmauth.yml", f"-httpListenAddr={address}"]
    with running_server([*command, "-loggerLevel=ERROR"], folder / "vmauth.log", f"http://{address}", "/health") as url:
        yield url


# --- samples ----------------------------------------------------------------------------------------------------------


def imported(url: str, series: Mapping[str, Samples]) -> None:
    """Import samples by series (as in a selector), and wait for nothing: they can be seen at once."""
    lines = (f"{name} {text} {round(time_s * 1000)}\n" for name, samples in series.items() for time_s, text in samples)
    answer = requests.post(f"{url}/api/v1/import/prometheus", data="".join(lines).encode(), timeout=60)
    assert answer.status_code == 204, answer.text
    flush(url)


def flush(url: str) -> None:
    """Make what was taken until now visible: new series are seen only some ten seconds later otherwise."""
    assert requests.get(f"{url}/internal/force_flush", timeout=60).ok


def openmetrics(series: Mapping[str, Samples]) -> str:
    """The same samples for `make_blocks`; series of one metric have to stand together."""
    lines = (f"{name} {text} {time_s:.3f}" for name, samples in series.items() for time_s, text in samples)
    return "\n".join([*lines, "# EOF", ""])


def selector(name: str, labels: Mapping[str, str]) -> str:
    """A series as it stands in an exposition."""
    return name + "{" + ",".join(f"{key}={json.dumps(value)}" for key, value in labels.items()) + "}"


def seen(url: str, expr: str, time_s: float | None = None) -> list[tuple[dict[str, str], float]]:
    """(labels, value) of each series that an expression has, as of now and not of half a minute ago."""
    more = {} if time_s is None else {"time": time_s}
    form = {"query": expr, "nocache": 1, **more}
    answer = requests.get(f"{url}/api/v1/query", params=form, timeout=60).json()
    assert answer["status"] == "success", answer
    return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]


def flushed(url: str, expr: str) -> list[tuple[dict[str, str], float]]:
    """The same with what has come this moment, also of new series."""
    flush(url)
    return seen(url, expr)


# --- the shop ---------------------------------------------------------------------------------------------------------


@dataclass
class VictoriaShop:
    """A shop that a server has the history of, and scrapes; ``exporter_port`` is scraped as job anomaly-exporter."""

    server: Server
    shop: Shop
    exporter_port: int

    @property
    def url(self) -> str:
        return self.server.url


def shop_history(now_s: int) -> dict[str, Samples]:
    """Sales of more than two days by series, with the incident."""
    times = range(now_s - _HISTORY_S, now_s, SPACING_S)
    found: dict[str, Samples] = {}
    for i, good in enumerate(GOODS):
        during = [good == INCIDENT and 0 <= t - now_s + INCIDENT_AGE_S < 600 for t in times]
        values = (300.0 if high else sales(i, t) for t, high in zip(times, during, strict=True))
        found[selector("sales", labels_of(good))] = [(t, repr(v)) for t, v in zip(times, values, strict=True)]
    return found


@contextmanager
def running_shop(folder: Path) -> Iterator[VictoriaShop]:
    """Start, import, wait until the shop is scraped."""
    shop, exporter_port = Shop(), free_port()
    with target_showing(shop.text) as port:
        scrapes = [scrape_of("shop", port, "shop-1"), scrape_of("anomaly-exporter", exporter_port, honor_labels=True)]
        # Rules see samples a second after they were taken; usually half a minute.
        with scraping_in(folder, scrapes, "-search.latencyOffset=1s", every_s=SCRAPE_S) as server:
            imported(server.url, shop_history(int(time.time())))
            scraped = "count(sales and on() up{job='shop'} == 1)"
            wait_until(lambda: [n for _, n in flushed(server.url, scraped)] == [len(GOODS)], "the shop is scraped")
            yield VictoriaShop(server, shop, exporter_port)
