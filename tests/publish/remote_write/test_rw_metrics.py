"""Metrics of remote write: documented, complete, gone with their target."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry
from support.writing import Stand

from exporter.publish.remote_write.metrics import DROPS, WriteMetrics

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")


def published(registry: CollectorRegistry) -> set[str]:
    suffix = {"counter": "_total"}
    return {metric.name + suffix.get(metric.type, "") for metric in registry.collect()}


def test_the_page_lists_these_metrics_and_no_others():
    registry = CollectorRegistry()
    WriteMetrics(registry)
    assert set(re.findall(r"^\| `(anomaly_exporter_remote_write_\w+)`", PAGE, re.M)) == published(registry)
    row = next(line for line in PAGE.splitlines() if "remote_write_samples_dropped_total" in line)
    assert all(f"`{reason}`" in row for reason in DROPS)


def test_a_removed_target_has_no_children_and_is_not_counted():
    stand = Stand("http://127.0.0.1:9/w")
    stand.metrics.remove("t")
    stand.metrics.remove("t")
    stand.metrics.drop("t", "too_old", 5)
    stand.metrics.fail("t", 5)
    stand.metrics.delivered("t", 5, 5, 5, 5.0)
    stand.metrics.took("t", 1.0)
    assert [sample for metric in stand.registry.collect() for sample in metric.samples] == []
