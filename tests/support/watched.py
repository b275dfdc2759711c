"""Some series that a unit watches, cycle by cycle, and what it publishes of them, as a scraper reads it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from support.store import Store

from exporter import names
from exporter.config import Query
from exporter.explain.recording import Recorded, record
from exporter.explain.replaying import Numbers
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.unit import Unit

DAY = 86_400
NOW = 19_700 * DAY + 43_200  # a noon
FAMILIES = ("anomaly_score", "anomaly_expected", "anomaly_lower", "anomaly_upper")
Make = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def rhythm(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A daily rhythm with noise."""
    return 50 + 10 * np.sin(2 * np.pi * times / DAY) + rng.normal(0, 1, len(times))


def huge(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same on a level of 1e8: more than a float32 holds."""
    return 1e8 + rhythm(times, rng)


def gappy(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same with a third of the samples missing, and half a day."""
    values = rhythm(times, rng)
    values[rng.random(len(times)) < 0.3] = np.nan
    values[(times > NOW - 1.9 * DAY) & (times < NOW - 1.4 * DAY)] = np.nan
    return values


def counts(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Small whole numbers, mostly 0."""
    return rng.poisson(0.4, len(times)).astype(float)


def stepping(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A new level a few hours ago, with spikes."""
    values = rhythm(times, rng) + 30.0 * (times > NOW - 5 * 3600)
    values[rng.random(len(times)) < 0.01] += 25
    return values


def tiny(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rhythm in units of 1e-9, below 0."""
    return -1e-9 * rhythm(times, rng)


SERIES: Mapping[str, Make] = {
    "rhythm": rhythm, "huge": huge, "gappy": gappy, "counts": counts, "stepping": stepping, "tiny": tiny,
}  # fmt: skip


class Watched:
    """A unit on a store with made series, one of each kind of SERIES, by the label `kind`."""

    def __init__(
        self, kinds: Mapping[str, Make] = SERIES, *, plain: bool = True, days: float = 6.5, **settings
    ) -> None:
        self.query = Query("m", "m", **({"interval_s": 60, "step_s": 300, "window_s": 3 * DAY} | settings))
        self.store = Store(plain=plain, step_s=self.query.step_s)
        self.page = Page(None)
        self.unit = self.fresh_unit()
        self._kinds = kinds
        times = np.arange(NOW - days * DAY, NOW + 12 * 3600, self.query.interval_s, dtype=float)
        self._times = times - 2.0  # scraped a little before each cycle
        self._values = {
            kind: make(times, np.random.default_rng(seed)) for seed, (kind, make) in enumerate(kinds.items())
        }
        self._put(-math.inf, NOW - self.query.interval_s)

    def fresh_unit(self) -> Unit:
        """A unit that has seen nothing yet, as after a restart."""
        models = [model.name for model in self.query.models]
        page = UnitPage(self.page, "m", added_labels("m", "", vmanomaly=False), models, names.FAMILIES)
        return Unit("", self.query, self.store, page)

    def labels(self, kind: str) -> dict[str, str]:
        """Of one of the series, with its name."""
        return {"__name__": "m", "kind": kind}

    def run(self, cycles: int, start_s: int = NOW) -> int:
        """Run so many cycles, samples coming in before each; returns the time of the last."""
        interval_s = self.query.interval_s
        for cycle in range(cycles):
            time_s = start_s + cycle * interval_s
            self._put(time_s - interval_s, time_s)
            receipt = self.unit.run_cycle(time_s)
            assert not receipt.error, receipt.error
        return time_s

    def _put(self, after_s: float, until_s: float) -> None:
        inside = (self._times > after_s) & (self._times <= until_s)
        for kind, values in self._values.items():
            kept = inside & ~np.isnan(values)
            self.store.put(self.labels(kind), self._times[kept], values[kept])

    def published(self) -> dict[str, dict[str, Numbers]]:
        """Kind -> model -> numbers, from the text of the page."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        text = b"".join(self.page.chunks(names.FAMILIES, False)).decode()
        for metric in text_string_to_metric_families(text):
            for sample in metric.samples:
                if sample.name in FAMILIES:
                    kind, model = sample.labels["kind"], sample.labels["model"]
                    found.setdefault(kind, {}).setdefault(model, {})[sample.name] = sample.value
        return {
            kind: {model: Numbers(*(parts.get(name, math.nan) for name in FAMILIES)) for model, parts in models.items()}
            for kind, models in found.items()
        }

    def recorded(self, kind: str, time_s: int, cycles: int = 1) -> Recorded:
        """The series as an explanation reads it, as of this cycle and some before it."""
        times = [time_s - back * self.query.interval_s for back in range(cycles)][::-1]
        return record(self.store, self.query, self.labels(kind), times, 1)
