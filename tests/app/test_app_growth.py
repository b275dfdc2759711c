"""The whole program beside a real Prometheus: what many reloads leave behind is nothing."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from pathlib import Path

import requests
from support.inside import running_app
from support.process import config_file, config_text
from support.servers import wait_until
from support.shop import SALES, TOTAL, RunningPrometheus

from exporter.app import App

KEPT = ("exporter.", "requests.", "urllib3.", "threading", "prometheus_client.", "apscheduler.")
RELOADS = 4


def kept() -> Counter[str]:
    """How many objects of our own and of our servers' clients are alive, by type."""
    gc.collect()
    types = (type(one) for one in gc.get_objects())
    return Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in types if str(kind.__module__).startswith(KEPT))


def alone() -> bool:
    """Whether there is one unit with one window."""
    found = kept()
    return found["exporter.unit.Unit"] == found["exporter.window.Window"] == 1


def more_than(before: Counter[str]) -> Counter[str]:
    """What is alive beyond that."""
    return kept() - before


def reload_often(app: App, config: Path, texts: tuple[str, str]) -> None:
    """Change a query and change it back, so many times, with verdicts between; the second text is in force then."""
    for _ in range(RELOADS):
        for text in texts:
            config.write_text(text)
            app.reload()
            wait_until(lambda: app.ready()[0], "verdicts of the changed config")
            assert requests.get(f"http://127.0.0.1:{app.port}/metrics", timeout=30).ok


def test_reloads_leave_no_units_clients_metrics_or_threads(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    texts = (
        config_text(prometheus.url, {"sales": "expr: 'sales{good=~\"tea|salt\"}'"} | TOTAL),
        config_text(prometheus.url, SALES),
    )
    config = config_file(tmp_path, texts[1])
    with running_app(config) as app:
        reload_often(app, config, texts)
        wait_until(alone, "the units of before are gone")  # one may have been in a cycle
        before, threads = kept(), threading.active_count()
        reload_often(app, config, texts)
        wait_until(lambda: not more_than(before), "what was made for the reloads is gone")
        wait_until(lambda: threading.active_count() <= threads, "their threads have ended")
