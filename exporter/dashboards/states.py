"""Series by state, which several dashboards show: the colours of the states and a panel."""

from __future__ import annotations

from exporter.dashboards.panels import Json, bargauge, fixed, override
from exporter.dashboards.promql import own

COLORS = {
    "ok": "green",
    "warming": "blue",
    "constant": "purple",
    "sparse": "yellow",
    "absent": "orange",
    "failed": "red",
}
MEANINGS = (
    "ok: judged. warming: not enough history yet. constant: has never moved. sparse: too few samples. "
    "absent: no more samples. failed: no model could give a verdict."
)


def colored() -> list[Json]:
    """Overrides that give each state its colour."""
    return [override(state, color=fixed(color)) for state, color in COLORS.items()]


def by_state(title: str) -> Json:
    """Watched series of the chosen tenants and queries by state; replicas count once."""
    expr = f"sum by (state) (max by (tenant, query, state) ({own('series')}))"
    return bargauge(
        title, MEANINGS, expr, "{{state}}", unit="short", decimals=0, overrides=colored(), color=fixed("blue")
    )
