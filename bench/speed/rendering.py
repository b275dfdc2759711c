"""Rendering four gauges a series, beside prometheus_client with as many children."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest

from bench.speed import madeup
from bench.speed.clocks import median_cpu_s
from bench.speed.madeup import F64
from bench.speed.report import SpeedError
from exporter.names import EXPECTED, FAMILIES, LOWER, SCORE, UPPER
from exporter.publish.exposition import Page, Plain
from exporter.publish.label_text import LabelText, exported_labels
from exporter.publish.lines import render_rows
from exporter.publish.web import zip_pieces

GAUGES = (SCORE, EXPECTED, LOWER, UPPER)
_SIGNIFICANT = 9


class Pages:
    """The same samples in our page and in a registry of prometheus_client."""

    def __init__(self, series: int) -> None:
        self._values = np.random.default_rng(2).lognormal(3, 2, (len(GAUGES), series))
        self._labels = [
            dict(exported_labels(dict(own[1:]), {"query": "http", "model": "shesd"})) for own in madeup.labels(series)
        ]
        self._text, self._rows, self._page = LabelText(), np.arange(series), Page()
        for row, own in enumerate(self._labels):
            self._text.set_row(row, own.items())

    def ours(self) -> list[bytes]:
        """The page in pieces."""
        for key, values in zip(GAUGES, self._values, strict=True):
            lines = render_rows(FAMILIES[key].name.encode(), self._text, self._rows, values, _SIGNIFICANT)
            self._page.put("http", key, lines)
        return self._page.chunks(FAMILIES, openmetrics=False)

    def zipped(self) -> Callable[[], object]:
        """Packing the page as the web server does for who asks for gzip, Prometheus among them."""
        pieces = self.ours()
        return lambda: sum(map(len, zip_pieces(map(Plain, pieces))))

    def registry(self) -> CollectorRegistry:
        """The same in prometheus_client."""
        registry = CollectorRegistry()
        for key, values in zip(GAUGES, self._values, strict=True):
            gauge = Gauge(FAMILIES[key].name, FAMILIES[key].help, sorted(self._labels[0]), registry=registry)
            _fill(gauge, self._labels, values)
        return registry


def _fill(gauge: Gauge, labels: list[dict[str, str]], values: F64) -> None:
    for own, value in zip(labels, values.tolist(), strict=True):
        gauge.labels(**own).set(value)


def render(series: int, repeats: int) -> tuple[float, float, float, int]:
    """CPU seconds of a page: ours, prometheus_client's, gzip of ours; and its bytes. SpeedError unless byte-stable."""
    pages = Pages(series)
    once = b"".join(pages.ours())
    if once != b"".join(pages.ours()) or once.count(b"\n") != len(GAUGES) * (series + 2):
        raise SpeedError("the page is not byte-stable, or lines are missing")
    ours, zipped = median_cpu_s(pages.ours, repeats), median_cpu_s(pages.zipped(), min(repeats, 3))
    registry = pages.registry()
    return ours, median_cpu_s(lambda: generate_latest(registry), 1), zipped, len(once)
