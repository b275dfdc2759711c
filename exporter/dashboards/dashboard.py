"""A dashboard of its parts: what all have in common, the places of the panels, links and annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from exporter.dashboards.panels import SOURCE, Json
from exporter.names import DASHBOARD_SERIES

TAG: Final = "anomaly-exporter"
# What Grafana 10 writes; later ones (13 is the newest known) read it.
SCHEMA_VERSION = 38

Row = tuple[int, Sequence[tuple[int, Json]]]  # height, and the panels with their widths


def dashboard(
    uid: str, title: str, description: str, variables: Sequence[Json], rows: Sequence[Row], *, hours: int = 6,
    annotations: Sequence[Json] = (), links: Sequence[Json] = (),
) -> Json:  # fmt: skip
    """A whole dashboard; panels are numbered and laid out row by row."""
    return {
        "title": title,
        "uid": uid,
        "description": description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": f"now-{hours}h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": list(annotations)},
        "links": [*links, _others()],
        "id": None,
        "templating": {"list": list(variables)},
        "panels": list(_laid_out(rows)),
    }


def _laid_out(rows: Sequence[Row]) -> Iterator[Json]:
    number, top = 0, 0
    for height, panels in rows:
        left = 0
        for width, panel in panels:
            number += 1
            yield {"id": number, **panel, "gridPos": {"x": left, "y": top, "w": width, "h": height}}
            left += width
        top += height


def annotation(name: str, expr: str, text: str, *, color: str = "red") -> Json:
    """Marks on all charts while an expression has a result."""
    return {
        "name": name, "datasource": dict(SOURCE), "enable": True, "hide": False, "iconColor": color, "expr": expr,
        "titleFormat": name, "textFormat": text, "step": "60s", "useValueForTime": False,
    }  # fmt: skip


def link(title: str, url: str, *, tooltip: str, blank: bool = True) -> Json:
    """A link at the top of a dashboard."""
    return {
        "title": title, "type": "link", "icon": "external link", "url": url, "tooltip": tooltip, "tags": [],
        "asDropdown": False, "targetBlank": blank, "includeVars": False, "keepTime": False,
    }  # fmt: skip


def _others() -> Json:
    return {
        "title": "Anomaly dashboards", "type": "dashboards", "icon": "external link", "url": "", "tooltip": "",
        "tags": [TAG], "asDropdown": True, "targetBlank": False, "includeVars": True, "keepTime": True,
    }  # fmt: skip


# Labels of a value are written as matchers are (`a="b", c="d"`), so they choose the very series on the other dashboard.
# Its tenant is among them where it has one; to name it by itself would choose nothing where it has none.
def to_series() -> Json:
    """From a value to its series."""
    chosen = "var-query=${__field.labels.query:percentencode}&var-model=${__field.labels.model:percentencode}"
    url = f"/d/{DASHBOARD_SERIES}?${{datasource:queryparam}}&{chosen}&var-series=${{__field.labels:percentencode}}"
    return {"title": "This series in its band", "url": url + "&${__url_time_range}", "targetBlank": False}


def row_to_query(title: str = "Series of this query") -> Json:
    """From a row of a table to the series of its query, worst first."""
    chosen = "var-query=${__data.fields.query:percentencode}&${tenant:queryparam}&${model:queryparam}"
    url = f"/d/{DASHBOARD_SERIES}?${{datasource:queryparam}}&{chosen}&${{__url_time_range}}"
    return {"title": title, "url": url, "targetBlank": False}
