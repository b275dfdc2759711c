"""Real servers, and targets for them to scrape, of a test's own: on free loopback ports, ended by their ids."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

_FIRST_PORT = 15_000  # above the ports that servers are known by
_CHANCE = random.SystemRandom()  # two runs of the tests at once, or one with a seed, do not choose alike
PAGE_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def free_port() -> int:
    """A loopback port that nobody listens on, and that nobody is given by chance until the caller uses it.

    It lies below those that the system gives to connections, and to servers that do not mind which.
    """
    while True:
        port = _CHANCE.randrange(_FIRST_PORT, _first_given_port())
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _first_given_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    except OSError:  # no Linux: what others begin with, or lower than that
        return 32_768


def wait_until(true: Callable[[], object], what: str, patience_s: float = 300) -> None:
    """Look again and again until it is so; fail after a long while."""
    deadline_s = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {patience_s:.0f} s in vain: {what}")
        time.sleep(0.05)


def make_blocks(folder: Path, text: str, longest: str = "486h") -> None:
    """OpenMetrics text as blocks of ``folder/data``, the data directory of `prometheus_in`."""
    (folder / "samples.txt").write_text(text)
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", f"--max-block-duration={longest}"]
    made = subprocess.run([*command, folder / "samples.txt", folder / "data"], capture_output=True, check=False)
    assert made.returncode == 0, (made.stdout[-2000:] + made.stderr[-2000:]).decode("utf-8", "replace")


@contextmanager
def prometheus_in(folder: Path, config: Mapping[str, Any], *flags: str, path: str = "") -> Iterator[str]:
    """The URL of a ready Prometheus with this config (JSON is YAML) and the data of a folder; ``path`` ends its URL."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.fail("prometheus and promtool are needed: apt-get install prometheus")
    (folder / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address={address}", "--log.level=warn", *flags]
    with running_server(command, folder / "prometheus.log", f"http://{address}{path}") as url:
        yield url


@contextmanager
def alertmanager_in(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """The URL of a ready Alertmanager with this config, alone."""
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if not binary:
        pytest.fail("alertmanager is needed: apt-get install prometheus-alertmanager")
    (folder / "alertmanager.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    command = [binary, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/alerts"]
    command += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with running_server(command, folder / "alertmanager.log", f"http://{address}") as url:
        yield url


@contextmanager
def running_server(command: list[str], log: Path, url: str, ready: str = "/-/ready") -> Iterator[str]:
    """Start a server and wait until a path of it says that it is ready; a test that meets its end shows its log."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            wait_until(lambda: _ready(process, url + ready, log), f"{command[0]} is ready")
            yield url
        finally:
            process.terminate()
            process.wait(120)


def _ready(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text("utf-8", "replace")
    try:
        return requests.get(url, timeout=5).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def ask(url: str, expr: str, **form: float) -> list[dict[str, Any]]:
    """What an expression has now, or over a span: the series of the answer."""
    endpoint = "query_range" if form else "query"
    answer = requests.post(f"{url}/api/v1/{endpoint}", data={"query": expr, **form}, timeout=60).json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port of an HTTP server with this handler."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def answering(answer: Callable[[str], tuple[int, Mapping[str, str], bytes]]) -> Iterator[int]:
    """The port of an HTTP server that answers a GET of each path with this status, these headers, this body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with listening(Handler) as port:
        yield port


@contextmanager
def target_showing(page: Callable[[float], str | bytes]) -> Iterator[int]:
    """The port of a target whose page is made of the time (unix seconds) it is asked at."""

    def answer(_path: str) -> tuple[int, Mapping[str, str], bytes]:
        made = page(time.time())
        return 200, {"Content-Type": PAGE_TYPE}, made.encode() if isinstance(made, str) else made

    with answering(answer) as port:
        yield port


def scrape_of(job: str, port: int, instance: str = "", **more: object) -> dict[str, Any]:
    """A scrape config of a target on this machine."""
    named = {"labels": {"instance": instance}} if instance else {}
    return {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"], **named}], **more}
