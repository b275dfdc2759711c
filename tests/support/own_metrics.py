"""The metrics of the exporter about itself, as its registries hold them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.selfmetrics import SelfMetrics
from exporter.publish.web import WebMetrics


def registered() -> set[str]:
    """Their names as they are scraped, those of the process and of Python left away."""
    registry = CollectorRegistry()
    SelfMetrics(registry)
    WriteMetrics(registry)
    WebMetrics(registry)
    ending = {"counter": "_total", "info": "_info"}
    return {family.name + ending.get(family.type, "") for family in registry.collect()}
