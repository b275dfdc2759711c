"""A real Prometheus with days of history that goes on scraping a small shop, for tests of the whole program."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.servers import ask, free_port, make_blocks, prometheus_in, scrape_of, target_showing, wait_until

DAY_S = 86_400
GOODS = ("tea", "coffee", "salt", "rice", "oil", "soap")
HISTORY_DAYS = 2.5
# Two queries for a config: each good, and all of them together.
SALES = {"sales": "expr: sales"}
TOTAL = {"total": "expr: sum by (job) (sales)"}
SCRAPE_S = 3  # a series is missing after 2.5 of these: a busy machine must not make it so
SPACING_S = 60  # of the history


def sales(index: int, time_s: float) -> float:
    """A daily rhythm with noise; the same for the same moment."""
    noise = random.Random(f"{index} {time_s:.0f}").gauss(0, 0.5)
    return round(20 + 3 * index + 5 * math.sin(time_s * 2 * math.pi / DAY_S + index) + noise, 6)


def labels_of(good: str) -> dict[str, str]:
    """The labels of a series of ``sales`` in Prometheus, without its name."""
    return {"good": good, "job": "shop", "instance": "shop-1"}


@dataclass
class Shop:
    """What the shop's own /metrics says. ``closed`` goods have no line; ``prices`` override the usual value."""

    closed: set[str] = field(default_factory=set)
    prices: dict[str, float] = field(default_factory=dict)

    def text(self, time_s: float) -> str:
        """The exposition at a time. ``visits`` is a counter whose name does not say so."""
        lines = ["# TYPE sales gauge"]
        for i, good in enumerate(GOODS):
            if good not in self.closed:
                lines.append(f'sales{{good="{good}"}} {self.prices.get(good, sales(i, time_s))}')
        lines += ["# TYPE visits counter", f"visits {int(time_s) % 10**6}"]
        lines += ["# TYPE requests_total counter", f'requests_total{{code="200"}} {int(time_s) % 10**6}', ""]
        return "\n".join(lines)


@dataclass(frozen=True)
class RunningPrometheus:
    """``url`` of the server; ``exporter_port`` is scraped as job anomaly-exporter, whoever listens there."""

    url: str
    shop: Shop
    exporter_port: int

    def ask(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each series that an expression has now."""
        return [(one["metric"], float(one["value"][1])) for one in ask(self.url, expr)]


def _history(now_s: int) -> str:
    lines = ["# TYPE sales gauge"]
    for i, good in enumerate(GOODS):
        labels = ",".join(f'{name}="{value}"' for name, value in labels_of(good).items())
        start_s = now_s - int(HISTORY_DAYS * DAY_S)
        lines += [f"sales{{{labels}}} {sales(i, t)} {t}" for t in range(start_s, now_s, SPACING_S)]
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def running_prometheus(folder: Path) -> Iterator[RunningPrometheus]:
    """Backfill, start, wait until it answers and has scraped the shop; ended by its id."""
    make_blocks(folder, _history(int(time.time())))
    shop, exporter_port = Shop(), free_port()
    with target_showing(shop.text) as shop_port:
        config = {
            "global": {"scrape_interval": f"{SCRAPE_S}s"},
            "scrape_configs": [
                scrape_of("shop", shop_port, "shop-1"),
                scrape_of("anomaly-exporter", exporter_port, honor_labels=True),
            ],
        }
        with prometheus_in(folder, config, "--web.enable-remote-write-receiver") as url:
            server = RunningPrometheus(url, shop, exporter_port)
            wait_until(
                lambda: len(server.ask('sales and on() (up{job="shop"} == 1)')) == len(GOODS),
                "prometheus scrapes the shop",
            )
            yield server
