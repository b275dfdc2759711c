"""One unit with a store and a page of its own, taken from cycle to cycle."""

from __future__ import annotations

import math

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from support.store import Store

from exporter import names
from exporter.config import Query
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.unit import Unit

DAY = 86_400
NOW = 19_700 * DAY + 43_200  # a noon


class Stand:
    """A unit with its store and page; series follow a daily rhythm with noise."""

    def __init__(self, series: int = 4, *, plain: bool = True, days: float = 4, seed: int = 1, **query) -> None:
        settings = {"interval_s": 60, "step_s": 300, "window_s": 3 * DAY} | query
        self.query = Query("m", "m", **settings)
        self.rng = np.random.default_rng(seed)
        self.store = Store(plain=plain, step_s=self.query.step_s)
        self.page = Page(None)
        self.unit = self.fresh_unit()
        times = np.arange(NOW - days * DAY, NOW, self.query.step_s)
        for i in range(series):
            self.store.put(self.labels(i), times, self.usual(times))

    def fresh_unit(self) -> Unit:
        models = [model.name for model in self.query.models]
        page = UnitPage(self.page, "m", added_labels("m", "", vmanomaly=False), models, names.FAMILIES)
        return Unit("", self.query, self.store, page)

    @staticmethod
    def labels(i: int) -> dict[str, str]:
        return {"__name__": "m", "i": str(i)}

    def usual(self, times) -> np.ndarray:
        times = np.atleast_1d(times)
        return 20 + 5 * np.sin(times * 2 * math.pi / DAY) + self.rng.normal(size=len(times)) * 0.5

    def cycle(self, minute: int, values: dict[int, float | None] | None = None, series: int = 4, delay_s: int = 3):
        """Put each series' sample of this minute (None: no sample) and run the cycle."""
        time_s = NOW + 60 * minute
        for i in range(series):
            value = (values or {}).get(i, self.usual(time_s)[0])
            if value is not None:
                self.store.put(self.labels(i), time_s - delay_s, value)
        return self.unit.run_cycle(time_s)

    def published(self, family: str, model: str = "robust_band") -> dict[str, float]:
        """Series number -> value, as a scraper reads it."""
        text = b"".join(self.page.chunks(names.FAMILIES, False)).decode()
        return {
            sample.labels["i"]: sample.value
            for metric in text_string_to_metric_families(text)
            for sample in metric.samples
            if sample.name == family and sample.labels.get("model", model) == model
        }
