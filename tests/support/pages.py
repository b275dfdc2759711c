"""A page of results with the exporter's own metrics, made as the program makes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from prometheus_client import CollectorRegistry

from exporter.names import FAMILIES
from exporter.publish.exposition import Page
from exporter.publish.label_text import LabelText, exported_labels
from exporter.publish.lines import render_rows
from exporter.publish.selfmetrics import SelfMetrics
from exporter.publish.web import Landing, Routes, WebServer

ADDED = {"query": "q", "model": "shesd"}


def page_of(sources: Sequence[Mapping[str, str]], numbers: Mapping[str, Sequence[float]]) -> Page:
    """Results of one query: the labels of the source series, and the numbers of each by the key of a family."""
    registry = CollectorRegistry()
    SelfMetrics(registry, ["timeout"]).register_unit("", "q", ["shesd"], 60)
    text, page = LabelText(), Page(registry)
    for row, source in enumerate(sources):
        text.set_row(row, exported_labels(source, ADDED))
    rows = np.arange(len(sources))
    for key, values in numbers.items():
        page.put("/q", key, render_rows(FAMILIES[key].name.encode(), text, rows, np.array(values, float)))
    return page


@contextmanager
def served(page: Page) -> Iterator[int]:
    """The port of the exporter's own web server with this page."""
    routes = Routes(
        lambda openmetrics, shard: page.pieces(FAMILIES, openmetrics, shard),
        lambda: (True, "ready"), None, str, lambda: Landing("", [], [], []),
    )  # fmt: skip
    server = WebServer("127.0.0.1:0", routes)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()
