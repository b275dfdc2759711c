"""CPU seconds to render a page of 100,000 rows x 4 gauges, beside prometheus_client with as many children.

Usage: python -m bench.speed_render [rows]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.names import EXPECTED, FAMILIES, LOWER, SCORE, UPPER
from exporter.publish.exposition import LabelText, Page, exported_labels, render_rows
from exporter.publish.web import cut_pieces, zip_pieces

GAUGES = (SCORE, EXPECTED, LOWER, UPPER)
REPEATS = 5
SIGNIFICANT = 9
TARGET_S = 0.08


def source_labels(row: int) -> dict[str, str]:
    """About 150 bytes of labels, as an HTTP service in Kubernetes has them."""
    return {
        "instance": f"10.{row % 200}.{row // 200 % 250}.{row % 7}:8080",
        "job": f"service-{row % 40}",
        "method": ("GET", "POST", "PUT")[row % 3],
        "namespace": f"team-{row % 12}",
        "pod": f"service-{row % 40}-{row * 2654435761 % 2**32:08x}",
        "status": ("200", "404", "500")[row % 3],
    }


def cpu_s(work: Callable[[], object]) -> list[float]:
    """CPU seconds of each of five runs, after one to warm up."""
    work()
    taken = []
    for _ in range(REPEATS):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return taken


def client_registry(labels: list[dict[str, str]], values: np.ndarray) -> CollectorRegistry:
    """The same page in prometheus_client."""
    registry = CollectorRegistry()
    for g, key in enumerate(GAUGES):
        gauge = Gauge(FAMILIES[key].name, FAMILIES[key].help, sorted(labels[0]), registry=registry)
        for row, own in enumerate(labels):
            gauge.labels(**own).set(values[g, row])
    return registry


def check(page: bytes, rows: int) -> None:
    """prometheus_client's parser finds every sample."""
    samples = sum(len(family.samples) for family in text_string_to_metric_families(page.decode()))
    assert samples == rows * len(GAUGES), samples


def main() -> None:
    """Measure and print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    values = np.random.default_rng(2).lognormal(3, 2, (len(GAUGES), rows))
    labels = [dict(exported_labels(source_labels(row), {"query": "http", "model": "shesd"})) for row in range(rows)]
    text, index, page = LabelText(), np.arange(rows), Page()
    begin = time.process_time()
    for row, own in enumerate(labels):
        text.set_row(row, tuple(own.items()))
    set_s = time.process_time() - begin

    def ours(significant: int) -> list[bytes]:
        for g, key in enumerate(GAUGES):
            page.put("http", key, render_rows(FAMILIES[key].name.encode(), text, index, values[g], significant))
        return page.chunks(FAMILIES, openmetrics=False)

    body = b"".join(ours(SIGNIFICANT))
    check(body, rows)
    nine, exact = cpu_s(lambda: ours(SIGNIFICANT)), cpu_s(lambda: ours(0))
    zipped = cpu_s(lambda: sum(map(len, zip_pieces(cut_pieces([body])))))
    registry = client_registry(labels, values)
    theirs = cpu_s(lambda: generate_latest(registry))
    print(f"{rows} rows x {len(GAUGES)} gauges, {len(body) / 1e6:.1f} MB, CPU s, {REPEATS} runs, target {TARGET_S}")
    print(f"{'renderer':<38} {'median':>7} {'least':>7} {'most':>7}")
    table = {"ours, 9 digits": nine, "ours, exact": exact, "prometheus_client": theirs, "gzip of ours": zipped}
    for name, taken in table.items():
        print(f"{name:<38} {statistics.median(taken):7.3f} {min(taken):7.3f} {max(taken):7.3f}")
    print(f"{'(once per new row: labels, all rows)':<38} {set_s:7.3f}")


if __name__ == "__main__":
    main()
