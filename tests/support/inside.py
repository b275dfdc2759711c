"""An exporter within the process of the test: started and stopped, its receipts, its pages, its log."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from support.process import parsed
from support.servers import wait_until

from exporter.app import App
from exporter.unit import Receipt


@contextmanager
def running_app(config: Path) -> Iterator[App]:
    """Start it on a port of its own; whatever happens, it is stopped afterwards."""
    app = App(str(config))
    app.start("127.0.0.1:0", lifecycle=False)
    try:
        yield app
    finally:
        app.stop()


@dataclass
class Sight:
    """What is to be seen at one moment of a running exporter."""

    receipts: dict[str, Receipt]
    landing: str
    page: dict[str, list[tuple[dict[str, str], float]]]

    def published(self, query: str, family: str = "anomaly_score") -> set[tuple[str, str]]:
        """(pod, model) of a query's results."""
        return {(labels["pod"], labels["model"]) for labels, _ in self.page.get(family, []) if labels["query"] == query}

    def number(self, name: str, **labels: str) -> float:
        """The value of the one sample with these labels."""
        ((_, found),) = [pair for pair in self.page[f"anomaly_exporter_{name}"] if labels.items() <= pair[0].items()]
        return found


def look(app: App) -> Sight:
    """What there is to be seen, once no error has become another one while one looked."""
    url, seen = f"http://127.0.0.1:{app.port}", []

    def nothing_changed() -> bool:
        receipts = _receipts(app)
        landing = html.unescape(requests.get(url + "/", timeout=60).text)
        seen[:] = [Sight(receipts, landing, parsed(requests.get(url + "/metrics", timeout=60).text))]
        return {name: one.error for name, one in _receipts(app).items()} == {
            name: one.error for name, one in receipts.items()
        }

    wait_until(nothing_changed, "a moment of rest")
    return seen[0]


def _receipts(app: App) -> dict[str, Receipt]:
    return {name: unit.last for name, unit in app.units.items() if unit.last}


class Records(logging.Handler):
    """Keeps what the program logs."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    def of(self, query: str, level: int = logging.INFO) -> list[str]:
        """The messages about a query, from a level on."""
        about = [record for record in self.kept if getattr(record, "query", "") == query]
        return [record.getMessage() for record in about if record.levelno >= level]
