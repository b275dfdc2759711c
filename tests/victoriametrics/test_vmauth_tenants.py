"""Tenants in the path behind a real vmauth: each is read from and written to its own server; who may not is told.

A single node knows no tenants; here each of two serves its API under the path of one, as a cluster does.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests
from support.process import GLOBAL, running_exporter
from support.servers import wait_until
from support.victoria import Server, flushed, imported, seen, victoria_in, vmauth_in

GOOD = "swordfish"
TENANTS = ("1", "2:7")
CONFIG = """\
{head}source:
  url: {url}/select/{{tenant}}/prometheus
  params: {{nocache: "1"}}
  basic_auth: {{username: watcher, password: {password}}}
tenants: [{tenants}]
queries: [{{name: load, expr: load}}]
remote_write:
  - url: {url}/select/{{tenant}}/prometheus/api/v1/write
    name: back
    per_tenant: true
    basic_auth: {{username: watcher, password: {password}}}
    queue_config: {{batch_send_deadline: 100ms}}
"""


@dataclass(frozen=True)
class House:
    """The URL of the vmauth, and the servers of the tenants behind it."""

    url: str
    servers: dict[str, Server]

    def config(self, folder: Path, *more: str, password: str = GOOD) -> Path:
        tenants = ", ".join(f'{{id: "{tenant}"}}' for tenant in (*TENANTS, *more))
        file = folder / "config.yml"
        file.write_text(CONFIG.format(head=GLOBAL, url=self.url, password=password, tenants=tenants))
        return file


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with ExitStack() as stack:
        servers = {}
        for place, tenant in enumerate(TENANTS):
            prefix = f"/select/{tenant}/prometheus"
            servers[tenant] = stack.enter_context(victoria_in(folder / str(place), prefix=prefix))
            imported(servers[tenant].url, {f'load{{of="{tenant}"}}': history(place)})
        routes = [
            {"src_paths": [f"/select/{tenant}/prometheus/.*"], "url_prefix": f"http://127.0.0.1:{server.port}"}
            for tenant, server in servers.items()
        ]
        user = {"username": "watcher", "password": GOOD, "url_map": routes}
        yield House(stack.enter_context(vmauth_in(folder, [user])), servers)


def history(seed: int) -> list[tuple[float, str]]:
    """Two days of a minute each, until about now."""
    noise, now_s = np.random.default_rng(seed), int(time.time())
    return [(t, f"{20 + noise.normal():.6f}") for t in range(now_s - 2 * 86_400, now_s, 60)]


def check(config: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "exporter.cli", "check", f"--config.file={config}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)


def test_each_tenant_is_read_and_written_by_its_path(house: House, tmp_path: Path) -> None:
    with running_exporter(house.config(tmp_path)) as exporter:
        wait_until(lambda: len(exporter.samples("anomaly_score")) == 4, f"scores\n{exporter.log}", 300)
        found = {(labels["tenant"], labels["of"]) for labels, _ in exporter.samples("anomaly_score")}
        assert found == {(tenant, tenant) for tenant in TENANTS}
        assert all(exporter.number("source_up", tenant=tenant) == 1 for tenant in TENANTS)
        for tenant, server in house.servers.items():
            wait_until(lambda at=server: flushed(at.url, "anomaly_score"), "results are written")
            assert {labels["tenant"] for labels, _ in seen(server.url, "anomaly_score")} == {tenant}
        lost = exporter.samples("anomaly_exporter_remote_write_samples_failed_total")
        assert sum(value for _, value in lost) == 0


def test_check_counts_the_series_of_each(house: House, tmp_path: Path) -> None:
    checked = check(house.config(tmp_path))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert re.findall(r"^ *(\S+) +load +(\d+) ", checked.stdout, re.MULTILINE) == [
        (tenant, "1") for tenant in TENANTS
    ], checked.stdout


def test_a_tenant_without_a_route_is_told_and_harms_no_other(house: House, tmp_path: Path) -> None:
    checked = check(house.config(tmp_path, "9"))
    told = checked.stdout + checked.stderr
    assert checked.returncode == 1
    assert re.search(
        r"/select/9/prometheus/api/v1/query.*HTTP 400: .*missing route for .*Check the path of source", told
    )
    counted = dict(re.findall(r"^ *(\S+) +load +(\d+) ", told, re.MULTILINE))
    assert counted == dict.fromkeys(TENANTS, "1") | {"9": "0"}


def test_bad_credentials_are_told_without_them(house: House, tmp_path: Path) -> None:
    checked = check(house.config(tmp_path, password="sesame"))
    told = checked.stdout + checked.stderr
    assert checked.returncode == 1
    assert re.search(r"HTTP 40[01]: .*auth token", told)
    assert "Check the credentials of source and, with tenants, the tenant id." in told
    assert "sesame" not in told
    assert requests.get(f"{house.url}/select/1/prometheus/api/v1/query?query=1", timeout=30).status_code == 401, told
