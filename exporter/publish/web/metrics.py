"""Metrics about the web server itself."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge

from exporter.names import SELF_PREFIX

# Why a connection or a request was turned away.
REFUSALS = (
    "authentication", "busy", "client_certificate", "connection_limit", "malformed", "rate_limit", "timeout", "tls",
    "too_large",
)  # fmt: skip


class WebMetrics:
    """All metrics of the web server, in one registry; methods may be called from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(f"{SELF_PREFIX}_web_connections", "Connections that are open now.", registry=registry)
        self.max_connections = Gauge(
            f"{SELF_PREFIX}_web_max_connections", "Connections that may be open at once.", registry=registry
        )
        self.refused = Counter(
            f"{SELF_PREFIX}_web_refused", "Connections and requests that were turned away, or given up on.",
            ("reason",), registry=registry,
        )  # fmt: skip
        for reason in REFUSALS:
            self.refused.labels(reason)
        self.config_ok = Gauge(
            f"{SELF_PREFIX}_web_config_last_reload_successful",
            "Whether the web config and its files could be used when they last changed; 1 without a web config.",
            registry=registry,
        )
        self.config_time = Gauge(
            f"{SELF_PREFIX}_web_config_last_reload_success_timestamp_seconds",
            "When the web config in force was read, 0 without a web config.",
            registry=registry,
        )
        self.config_failures = Counter(
            f"{SELF_PREFIX}_web_config_reload_failures",
            "Times that a changed web config or one of its files could not be used.",
            registry=registry,
        )
        self.config_ok.set(1)

    def reloaded(self, *, ok: bool) -> None:
        """The web config was read, or could not be and the old one stays in force."""
        self.config_ok.set(ok)
        if ok:
            self.config_time.set(time.time())
        else:
            self.config_failures.inc()
