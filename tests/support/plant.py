"""A plant that is watched from end to end: a real Prometheus with days of its history that goes on scraping it, the
exporter, the rules as it writes them, and a real Alertmanager with the shipped config that tells a pager.

Only times differ from what is shipped: intervals (below), `quickened`, and `rules_written`.
"""

from __future__ import annotations

import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml
from support.pager import Pager, answering_pager
from support.process import Exporter, config_text, running_exporter
from support.rule_texts import ROOT
from support.servers import (
    alertmanager_in,
    ask,
    free_port,
    make_blocks,
    prometheus_in,
    scrape_of,
    target_showing,
    wait_until,
)

from exporter import names
from exporter.config.durations import format_duration, parse_duration_ms
from exporter.publish.label_text import label_text

DAY_S = 86_400
STEP_S = 300
SCRAPE_S = 3  # a series is missing after 2.5 of these: a busy machine must not make it so
INTERVAL_S = 2
EVALUATION_S = 1
LOOKBACK_S = 60
ABSENT_FOR_S = 30
DOWN_FOR_S = 5  # shipped: 5 minutes, and no setting
HISTORY_S = int(3.1 * DAY_S)
HOSTILE = """"><script>document.title='hacked'</script>\\ {{ $value }} %s ' & \u202e\nline"""

Key = tuple[str, str]  # name of a metric, value of its label
PATHS = [("requests", f"/{i}") for i in range(30)]
QUEUES = [("depth", name) for name in ("mail", "orders", HOSTILE, "returns", "search", "stock")]
LABEL = {"requests": "path", "depth": "queue"}


# --- what is watched --------------------------------------------------------------------------------------------------


def usual(key: Key, time_s: float) -> float:
    """A daily rhythm, and noise that is the same for the whole of a step and never far out."""
    index = (PATHS + QUEUES).index(key)
    noise = random.Random(f"{index} {time_s // STEP_S:.0f}").uniform(-0.5, 0.5)
    return round(30 + index + 5 * math.sin(time_s * 2 * math.pi / DAY_S + index) + noise, 6)


def labels_of(key: Key) -> dict[str, str]:
    """The labels of a series in Prometheus, without its name."""
    return {LABEL[key[0]]: key[1], "instance": "plant-1", "job": "plant"}


@dataclass
class Plant:
    """The scraped target: ``held`` replaces values, ``closed`` series have no line."""

    held: dict[Key, float] = field(default_factory=dict)
    closed: frozenset[Key] = frozenset()

    def page(self, time_s: float) -> bytes:
        """What it says at a time."""
        held, closed = self.held, self.closed
        lines = []
        for key in (key for key in PATHS + QUEUES if key not in closed):
            sample = held.get(key, usual(key, time_s))
            lines.append(key[0].encode() + label_text([(LABEL[key[0]], key[1])]) + f"{sample}".encode())
        return b"\n".join([b"# TYPE requests gauge", b"# TYPE depth gauge", *lines, b""])


def history(now_s: int) -> str:
    lines = []
    for name in LABEL:
        lines.append(f"# TYPE {name} gauge")
        for key in (key for key in PATHS + QUEUES if key[0] == name):
            series = name + label_text(sorted(labels_of(key).items())).decode()
            lines += [f"{series}{usual(key, t)} {t}" for t in range(now_s - HISTORY_S, now_s, STEP_S)]
    return "\n".join([*lines, "# EOF", ""])


# --- who watches ------------------------------------------------------------------------------------------------------


def shipped_alertmanager() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "alertmanager.yml").read_text())
    return config


def quickened(receiver: str) -> dict[str, Any]:
    """The shipped config of Alertmanager with another receiver and shorter waits: `group_wait` a fifth, so the first
    notification comes earlier by the rest; `group_interval`, for what comes later in a group, 5 seconds."""
    config = shipped_alertmanager()
    for route in (config["route"], *config["route"]["routes"]):
        route["group_wait"] = format_duration(parse_duration_ms(route["group_wait"]) // 5)
    config["route"]["group_interval"] = "5s"
    (config["receivers"][0]["webhook_configs"][0]["url"],) = (receiver,)
    return config


def group_wait_s(**labels: str) -> float:
    """How long the shipped config holds back a first notification."""
    route = shipped_alertmanager()["route"]
    storm = route["routes"][0]
    mine = storm if labels["alertname"] == names.ALERT_SHARE else route
    return parse_duration_ms(mine["group_wait"]) / 1000


def rules_written(config: Path, folder: Path) -> None:
    """The rules as the product writes them. Replaced in the text: how long the exporter must be down."""
    command = [sys.executable, "-m", "exporter.cli", "rules", f"--config.file={config}", f"--output={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    file = folder / "anomaly-alerts.yml"
    text, replaced = re.subn(
        rf"(- alert: {names.ALERT_DOWN}\n.*?for: )5m\n", rf"\g<1>{DOWN_FOR_S}s\n", file.read_text(), flags=re.DOTALL
    )
    assert replaced == 1
    file.write_text(text)
    shipped = shipped_alertmanager()["inhibit_rules"]
    assert yaml.safe_load((folder / "alertmanager-inhibit.yml").read_text())["inhibit_rules"] == shipped


def config_for(source: str) -> str:
    start = f"global: {{interval: {INTERVAL_S}s, step: {STEP_S}s, window: 3d}}\n"
    start += f"alert: {{lookback: {LOOKBACK_S}s}}\nlinks: {{grafana: 'https://grafana.example.org'}}\n"
    return config_text(source, {name: f"expr: {name}" for name in LABEL}, start=start)


@dataclass
class World:
    """Everything that runs."""

    plant: Plant
    pager: Pager
    prometheus: str
    alertmanager: str
    exporter: Exporter
    folder: Path


@contextmanager
def running_world(folder: Path) -> Iterator[World]:
    make_blocks(folder, history(int(time.time())))
    plant, port = Plant(), free_port()
    with (
        answering_pager() as pager,
        alertmanager_in(folder, quickened(pager.url)) as alertmanager,
        target_showing(plant.page) as target,
        prometheus_in(folder, prometheus_config(alertmanager, target, port), "--web.enable-lifecycle") as prometheus,
    ):
        scraped = " or ".join(f"count_over_time({name}[{6 * SCRAPE_S}s]) >= 4" for name in LABEL)
        wait_until(lambda: count(prometheus, f"count({scraped})") == len(PATHS + QUEUES), "the plant is scraped")
        (folder / "exporter.yml").write_text(config_for(prometheus))
        with running_exporter(folder / "exporter.yml", address=f"127.0.0.1:{port}") as exporter:
            world = World(plant, pager, prometheus, alertmanager, exporter, folder)
            begin_alerting(world)
            yield world


def prometheus_config(alertmanager: str, target: int, exporter: int) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{EVALUATION_S}s"},
        "rule_files": ["rules/anomaly-*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [urlsplit(alertmanager).netloc]}]}]},
        "scrape_configs": [
            scrape_of("plant", target, "plant-1"),
            scrape_of(names.JOB, exporter, honor_labels=True),
        ],
    }


def begin_alerting(world: World) -> None:
    """Load the rules once there is something to see, so that none of them is about the start."""
    scores = f"count(anomaly_score{{model='robust_band'}} and on() (up{{job='{names.JOB}'}} == 1))"
    wait_until(lambda: count(world.prometheus, scores) == len(PATHS + QUEUES), f"all are judged\n{world.exporter.log}")
    rules_written(world.folder / "exporter.yml", world.folder / "rules")
    assert requests.post(f"{world.prometheus}/-/reload", timeout=30).status_code == 200
    wait_until(lambda: healths(world.prometheus) == {"ok"}, "all rules are evaluated")


def count(prometheus: str, expr: str) -> float:
    found = ask(prometheus, expr)
    return float(found[0]["value"][1]) if found else 0


def healths(prometheus: str) -> set[str]:
    groups = requests.get(f"{prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]
    return {rule["health"] for group in groups for rule in group["rules"]}
