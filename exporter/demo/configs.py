"""What the demo's servers are told: their configs and command lines."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import exporter
from exporter.demo.history import STEP_S
from exporter.demo.stack import Binaries
from exporter.demo.watch import EXPORTER_JOB, MODELS
from exporter.demo.world import QUERIES, TARGET_LABELS
from exporter.errors import DemoError

SCRAPE_S = 5
INTERVAL_S = 15
RULE_FILES = ("anomaly-recording.yml", "anomaly-alerts.yml")


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports of the three servers."""

    prometheus: int
    alertmanager: int
    exporter: int


def rules_dir(named: Path | None = None) -> Path:
    """The directory of the rules: as named, else those in the installed package, else those beside it (a checkout)."""
    package = Path(exporter.__file__).parent
    places = [named] if named else [package / "shipped" / "rules", package.parent / "rules"]
    for place in places:
        if all((place / name).is_file() for name in RULE_FILES):
            return place
    raise DemoError(f"no rules ({', '.join(RULE_FILES)}) in {' or '.join(str(place) for place in places)}")


def prometheus_config(ports: Ports, target_port: int, rules: Path) -> dict[str, Any]:
    """Scrape the application and the exporter, run the shipped rules, send alerts."""
    application = {"targets": [f"127.0.0.1:{target_port}"], "labels": {"instance": TARGET_LABELS["instance"]}}
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "scrape_timeout": f"{SCRAPE_S}s", "evaluation_interval": "5s"},
        "rule_files": [str((rules / name).resolve()) for name in RULE_FILES],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports.alertmanager}"]}]}]},
        "scrape_configs": [
            {"job_name": TARGET_LABELS["job"], "static_configs": [application]},
            {
                "job_name": EXPORTER_JOB,
                "honor_labels": True,  # the results carry job and instance of the series they are about
                "static_configs": [{"targets": [f"127.0.0.1:{ports.exporter}"]}],
            },
        ],
    }


def alertmanager_config() -> dict[str, Any]:
    """Everything to a receiver that sends nothing: the alerts are looked at, not delivered."""
    return {"route": {"receiver": "demo"}, "receivers": [{"name": "demo"}]}


def exporter_config(prometheus_url: str) -> dict[str, Any]:
    """Watch every query with both models."""
    queries = [
        {"name": query.name, "expr": query.expr, "models": list(MODELS), "data_range": [0, float("inf")]}
        for query in QUERIES
    ]
    window = {"interval": f"{INTERVAL_S}s", "step": f"{STEP_S // 60}m", "window": "14d"}
    return {"global": window, "source": {"url": prometheus_url}, "queries": queries}


def prometheus_command(binaries: Binaries, scratch: Path, ports: Ports) -> list[str]:
    """Prometheus on the imported history, which it must neither drop nor compact."""
    return [
        binaries.prometheus,
        f"--config.file={scratch / 'prometheus.yml'}",
        f"--storage.tsdb.path={scratch / 'data'}",
        "--storage.tsdb.retention.time=90d",
        f"--web.listen-address=127.0.0.1:{ports.prometheus}",
        f"--web.external-url=http://127.0.0.1:{ports.prometheus}",
        "--log.level=warn",
    ]


def alertmanager_command(binaries: Binaries, scratch: Path, ports: Ports) -> list[str]:
    """A single Alertmanager without a cluster."""
    return [
        binaries.alertmanager,
        f"--config.file={scratch / 'alertmanager.yml'}",
        f"--storage.path={scratch / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{ports.alertmanager}",
        f"--web.external-url=http://127.0.0.1:{ports.alertmanager}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]


def exporter_command(scratch: Path, ports: Ports) -> list[str]:
    """The exporter as a user would start it."""
    listen = f"127.0.0.1:{ports.exporter}"
    config = str(scratch / "exporter.yml")
    return [sys.executable, "-m", "exporter.cli", "run", "--config.file", config, "--web.listen-address", listen]


def compile_command() -> list[str]:
    """Compile the numeric kernels, which takes about a minute at the first time and next to nothing later."""
    return [sys.executable, "-m", "exporter.cli", "compile"]


def python_path() -> dict[str, str]:
    """The environment in which the started Python finds this very package, installed or not."""
    here = str(Path(exporter.__file__).parent.parent)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}
