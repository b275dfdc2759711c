"""Which pictures of the dashboards there are: what is chosen in each, and how long before now it begins."""

from __future__ import annotations

import time
from pathlib import Path

from support.drawing import draw
from support.grafana import Choice, Json
from support.png import shrink
from support.stage import HOUR_S, Stage

from exporter.dashboards.writing import dashboards

SHOP = 'instance="demo-app",job="demo",region="eu",service="web",tenant="shop"'
CHOICES: dict[str, tuple[Choice, float]] = {
    "anomaly-overview": ({}, 6 * HOUR_S),
    "anomaly-series": ({"query": "requests", "series": SHOP}, 6 * HOUR_S),
    "anomaly-incident": ({"label": ["tenant", "query", "region", "service"]}, 1.5 * HOUR_S),
    "anomaly-exporter": ({}, 0.25 * HOUR_S),
}


def picture_name(uid: str) -> str:
    """The file of a dashboard's picture."""
    return f"dashboard-{uid.removeprefix('anomaly-')}.png"


def draw_all(stage: Stage, output: Path, scratch: Path) -> dict[str, Json]:
    """A picture of each dashboard in the folder; the reports by uid."""
    reports = {}
    for dashboard in dashboards():
        choice, span_s = CHOICES[dashboard["uid"]]
        now, picture = time.time(), output / picture_name(dashboard["uid"])
        reports[dashboard["uid"]] = draw(dashboard, choice, stage.url, (now - span_s, now), picture, scratch)
        shrink(picture)
    return reports


def faults(report: Json) -> list[str]:
    """What went wrong in a picture: panels that could not be drawn, and queries without data."""
    return [f"{panel['title']}: {panel['errors'] or panel['empty']}" for panel in report["panels"] if _faulty(panel)]


def _faulty(panel: Json) -> bool:
    return bool(panel["errors"] or panel["empty"])
