"""A real Prometheus with some hundred series of two days and more, which it goes on scraping."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.servers import ask, make_blocks, prometheus_in, scrape_of, target_showing, wait_until

DAY_S = 86_400
SCRAPE_S = 3
_SPACING_S = 300
_LEAST_S = 2.2 * DAY_S


@dataclass
class Crowd:
    """``url`` of the server; ``people`` are the numbers of the series ``load{i="..."}`` that are scraped."""

    url: str
    people: set[int] = field(default_factory=set)

    def text(self, time_s: float) -> str:
        """What the scraped target says."""
        lines = [f'load{{i="{i}"}} {_load(i, time_s)}' for i in sorted(self.people)]
        return "\n".join(["# TYPE load gauge", *lines, ""])

    def count(self) -> int:
        """Series of ``load`` that the server has now."""
        found = ask(self.url, "count(load)")
        return int(found[0]["value"][1]) if found else 0


def _load(i: int, time_s: float) -> float:
    noise = random.Random(f"{i} {time_s:.0f}").gauss(0, 0.5)
    return round(20 + 5 * math.sin(time_s * 2 * math.pi / DAY_S + i) + noise, 4)


def _history(series: int, now_s: int) -> str:
    lines = ["# TYPE load gauge"]
    for i in range(series):
        name = f'load{{i="{i}",instance="one",job="crowd"}}'
        lines += [f"{name} {_load(i, t)} {t}" for t in range(now_s - int(_LEAST_S), now_s, _SPACING_S)]
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def running_crowd(folder: Path, series: int, *flags: str, storage: str = "") -> Iterator[Crowd]:
    """Backfill, start, wait until all series are scraped; ended by its id. `storage` goes into the server's config."""
    make_blocks(folder, _history(series, int(time.time())))
    crowd = Crowd("", set(range(series)))
    with target_showing(crowd.text) as port:
        scraping = {
            "global": {"scrape_interval": f"{SCRAPE_S}s"}, "scrape_configs": [scrape_of("crowd", port, "one")],
        }  # fmt: skip
        with prometheus_in(folder, {**scraping, **json.loads(storage or "{}")}, *flags) as url:
            crowd.url = url
            scraped = "count(count_over_time(load[12s]) >= 3)"
            wait_until(lambda: [one["value"][1] for one in ask(url, scraped)] == [str(series)], "the crowd is scraped")
            yield crowd
