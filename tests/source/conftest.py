"""A raw-socket server that can misbehave in any way, and a real Prometheus with known samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import requests
from support.loopback import LoopbackServer, RealPrometheus, Respond
from support.servers import make_blocks, prometheus_in

from exporter.source.client import Client


@pytest.fixture
def serve() -> Iterator[Callable[[Respond], LoopbackServer]]:
    servers: list[LoopbackServer] = []

    def start(respond: Respond) -> LoopbackServer:
        servers.append(LoopbackServer(respond))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture
def client_of(session: requests.Session) -> Callable[..., Client]:
    """A client of a URL, with waits short enough for tests."""

    def make(url: str, **settings: object) -> Client:
        return Client(url, session, **{"backoff_s": 0.01, "timeout_s": 10.0, **settings})  # type: ignore[arg-type]

    return make


def _samples(start_s: int) -> str:
    """OpenMetrics text of an hour.

    ``steady``: 3 series, every 15 s, value = seconds since the start. ``gappy``: every 15 s, but for minutes 20-39.
    ``odd``: values that are hard to spell. ``seldom``: every 400 s at 7.25 s past.
    """
    lines = ["# TYPE steady gauge"]
    for pod in "abc":
        lines += [f'steady{{pod="{pod}",path="/x\\"y\\\\z"}} {i} {start_s + i}' for i in range(0, 3600, 15)]
    lines += ["# TYPE gappy gauge"]
    lines += [f"gappy {i} {start_s + i}" for i in range(0, 3600, 15) if not 1200 <= i < 2400]
    lines += ["# TYPE odd gauge"]
    for i, value in enumerate(
        ("0.1", "1e300", "-5e-324", "NaN", "+Inf", "-Inf", "123456789012345678", "1.7976931348623157e308")
    ):
        lines += [f'odd{{i="{i}",snow="☃ <&>"}} {value} {start_s + 1800}']
    lines += ["# TYPE seldom gauge"]
    lines += [f"seldom {i} {start_s + i + 7.25}" for i in range(0, 3600, 400)]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="session")
def real_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    start_s = int(time.time()) // 3600 * 3600 - 6 * 3600
    make_blocks(folder, _samples(start_s), longest="2h")
    with prometheus_in(folder, {}) as url:
        yield RealPrometheus(url, start_s)
