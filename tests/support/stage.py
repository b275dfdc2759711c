"""A real Prometheus with hours of verdicts, for dashboards: the demo's world watched by two exporters.

The first has no tenants, writes the past by remote write and goes on live. The second has two tenants, is scraped, and
is not well: one of its queries fails, and so does its remote write.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
import yaml
from support.process import Exporter, running_exporter
from support.servers import free_port, wait_until

from exporter.demo import history, target
from exporter.demo.stack import find_binaries
from exporter.demo.world import QUERIES, SHIFT, SPIKE, TARGET_LABELS, VANISH, ZERO, Event, World, build

HOUR_S, DAY_S = 3600.0, 86_400.0
STEP_S, WINDOW_DAYS = 120, 5
SCRAPE_S = 5
BACKFILL = "6h"
TENANTS = ("team-a", "team-b")
WELL, SICK = "127.0.0.1:9899", "127.0.0.1:9898"  # how the exporters are called on the dashboards
_LIVE = (
    "anomaly_absent_seconds",
    'anomaly_min_detectable_ratio{query="requests"}',
    'anomaly_min_detectable_ratio{query="all_traffic"}',
)
_TROUBLES = ("anomaly_exporter_source_errors_total", "anomaly_exporter_remote_write_samples_dropped_total")
_RARE_S = 0.6 * HOUR_S  # a series younger than this has too few samples to be judged


@dataclass(frozen=True)
class Stage:
    """``url`` of Prometheus; the exporters without and with tenants; what happens in the world."""

    url: str
    well: Exporter
    sick: Exporter
    world: World
    started_s: float

    def ask(self, expr: str, time_s: float | None = None) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each series that an expression has at a time, or now."""
        at = {} if time_s is None else {"time": f"{time_s:.3f}"}
        answer = requests.post(f"{self.url}/api/v1/query", data={"query": expr, **at}, timeout=60).json()
        assert answer["status"] == "success", answer
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]


def recent_events(world: World, now_s: float) -> list[Event]:
    """What went wrong in the hours before a time, an incident of one tenant and region at the end."""
    requests_, latency, queue = "demo_requests_per_second", "demo_request_duration_seconds", "demo_queue_length"
    shop = world.find(requests_, tenant="shop", region="eu", service="web")
    hours = [
        Event(SPIKE, shop, now_s - 4.6 * HOUR_S, now_s - 4.2 * HOUR_S, 0.9),
        Event(ZERO, shop, now_s - 2.3 * HOUR_S, now_s - 2.0 * HOUR_S),
        Event(SHIFT, world.find(latency, tenant="search", service="web", quantile="0.5"),
              now_s - 3.1 * HOUR_S, now_s - 2.4 * HOUR_S, 0.7),
        Event(VANISH, world.find(queue, tenant="shop", queue="orders"), now_s - 0.5 * HOUR_S),
        Event(VANISH, world.find(queue, tenant="shop", queue="mails"), 0, now_s - _RARE_S),
    ]  # fmt: skip
    start_s = now_s - 0.5 * HOUR_S
    struck = [i for i, one in enumerate(world.series) if one.labels.get("tenant") == "payments"]
    return hours + [_part(world, index, start_s + 120 * place) for place, index in enumerate(struck[:14])]


def _part(world: World, index: int, start_s: float) -> Event:
    """One series' part in the incident: traffic falls, the rest rises, one after the other."""
    falls = world.series[index].metric in ("demo_requests_per_second", "demo_network_bytes_per_second")
    return Event(SHIFT, index, start_s, start_s + 0.6 * HOUR_S, -0.6 if falls else 1.2)


@contextmanager
def opened_stage(folder: Path) -> Iterator[Stage]:
    """Import the past, start everything, wait until both exporters have judged and the past is written."""
    binaries, world, now_s = find_binaries(), build(7), time.time()
    world.events += recent_events(world, now_s)
    _write_history(world, now_s, folder / "history.om")
    command = history.import_command(binaries.promtool, folder / "history.om", folder / "data")
    subprocess.run(command, check=True, capture_output=True)
    ports = [free_port() for _ in range(3)]
    url = f"http://127.0.0.1:{ports[0]}"
    with ExitStack() as stack:
        application = stack.enter_context(target.serving(world))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(_prometheus_config(application, ports[1], ports[2])))
        stack.enter_context(_prometheus(binaries.prometheus, folder, ports[0]))
        (folder / "sick.yml").write_text(yaml.safe_dump(_sick_config(url)))
        (folder / "well.yml").write_text(yaml.safe_dump(_well_config(url)))
        well = stack.enter_context(
            running_exporter(folder / "well.yml", f"--backfill={BACKFILL}", address=f"127.0.0.1:{ports[1]}")
        )
        sick = stack.enter_context(running_exporter(folder / "sick.yml", address=f"127.0.0.1:{ports[2]}"))
        stage = Stage(url, well, sick, world, now_s)
        wait_until(lambda: _complete(stage), "the past is written and everything is judged")
        yield stage


def _write_history(world: World, now_s: float, path: Path) -> None:
    """As the demo's, but shorter and of finer steps: charts of some hours should be smooth."""
    times = np.arange(now_s // STEP_S * STEP_S - WINDOW_DAYS * DAY_S, now_s, STEP_S)
    stamps = [f" {t:.0f}\n" for t in times]
    with path.open("w") as file:
        for index, series in enumerate(world.series):
            prefix = series.text(TARGET_LABELS) + " "
            points = zip(world.values(index, times).tolist(), stamps, strict=True)
            if index == 0 or world.series[index - 1].metric != series.metric:
                file.write(f"# TYPE {series.metric} gauge\n")
            file.write("".join(f"{prefix}{x:.6g}{stamp}" for x, stamp in points if x == x))
        file.write("# EOF\n")


def _complete(stage: Stage) -> bool:
    written = stage.ask("min(anomaly_exporter_backfill_ratio)")
    judged = stage.ask('count by (tenant) (anomaly_score{tenant=~"team-.*"})')
    # what is not part of the past comes with the first cycles
    live = [stage.ask(selector) for selector in _LIVE]
    troubles = [stage.ask(f"rate({name}[1m]) > 0") for name in _TROUBLES]
    return written == [({}, 1.0)] and len(judged) == len(TENANTS) and all([*live, *troubles])


@contextmanager
def _prometheus(binary: str, folder: Path, port: int) -> Iterator[None]:
    command = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver", "--log.level=warn"]
    command += ["--storage.tsdb.retention.time=90d"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(lambda: _ready(port), "prometheus is ready")
            yield
        finally:
            process.terminate()
            process.wait(30)


def _ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


def _prometheus_config(application: int, well: int, sick: int) -> dict[str, Any]:
    named = [(well, WELL), (sick, SICK)]
    exporters = [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for port, name in named]
    shown = {"targets": [f"127.0.0.1:{application}"], "labels": {"instance": TARGET_LABELS["instance"]}}
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s"},
        "storage": {"tsdb": {"out_of_order_time_window": "30d"}},
        "scrape_configs": [
            {"job_name": TARGET_LABELS["job"], "static_configs": [shown]},
            {"job_name": "anomaly-exporter", "honor_labels": True, "static_configs": exporters},
        ],
    }


def _well_config(url: str) -> dict[str, Any]:
    queries = [_query(query.name, query.expr) for query in QUERIES]
    queries.append(_query("all_traffic", "sum by (region) (demo_requests_per_second)"))
    queries[0] |= {"signals": ["shift", "stale"]}
    target_ = {"name": "prometheus", "url": f"{url}/api/v1/write"}
    return _config(url, queries) | {"remote_write": [target_], "metrics_page": "self"}


def _sick_config(url: str) -> dict[str, Any]:
    queries = [_query("team_cpu", "demo_cpu_cores"), _query("team_errors", QUERIES[-1].expr)]
    queries.append(_query("broken", "demo_cpu_cores + on () demo_queue_length"))
    nowhere = {"name": "nowhere", "url": "http://127.0.0.1:9/api/v1/write", "queue_config": {"capacity": 100}}
    tenants = [{"id": tenant} for tenant in TENANTS]
    return _config(url, queries) | {"remote_write": [nowhere], "tenants": tenants}


def _query(name: str, expr: str) -> dict[str, Any]:
    return {"name": name, "expr": expr, "data_range": [0, float(np.inf)], "detectability": True}


def _config(url: str, queries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "global": {"interval": "15s", "step": f"{STEP_S}s", "window": f"{WINDOW_DAYS}d"},
        "source": {"url": url},
        "queries": queries,
    }
