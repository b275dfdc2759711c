"""Against the JSON schemas that Grafana publishes, where somebody has them: a folder of `*.jsonschema.json` files."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support.grafana import Json, panels, targets

from exporter.dashboards.writing import dashboards

FOLDER = Path(os.environ.get("GRAFANA_SCHEMAS") or "/nonexistent")
# Types that the published schemas give as an object though anything may stand there.
_ANY = re.compile(r"(matcher/options|properties/\d+/value)$")

pytestmark = pytest.mark.skipif(
    not (FOLDER / "dashboard.jsonschema.json").is_file(),
    reason="set GRAFANA_SCHEMAS to a folder with Grafana's dashboard.jsonschema.json, table.jsonschema.json, ...",
)


@pytest.fixture(params=dashboards(), ids=lambda one: one["uid"])
def dashboard(request: pytest.FixtureRequest) -> Json:
    return request.param


def schema(name: str, definition: str) -> Json:
    """One definition. What is required is left out: Grafana itself fills in defaults."""
    content = _without_required(json.loads((FOLDER / f"{name}.jsonschema.json").read_text()))
    assert definition in content["definitions"]
    return {**content, "$ref": f"#/definitions/{definition}"}


def _without_required(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_required(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {k: _without_required(v) for k, v in node.items() if not (k == "required" and isinstance(v, list))}


def problems(name: str, definition: str, content: Json) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    found = jsonschema.Draft7Validator(schema(name, definition)).iter_errors(content)
    told = [("/".join(map(str, one.path)), one.message) for one in found]
    return [f"{path}: {message[:200]}" for path, message in told if not _ANY.search(path)]


def test_a_wrong_dashboard_would_be_noticed() -> None:
    assert problems("dashboard", "Dashboard", {"title": 1, "nonsense": True})


def test_the_dashboard_itself(dashboard: Json) -> None:
    assert problems("dashboard", "Dashboard", {**dashboard, "panels": []}) == []


def test_its_panels(dashboard: Json) -> None:
    for panel in panels(dashboard):
        assert problems("dashboard", "Panel", panel) == [], panel["title"]
        assert problems(panel["type"], "Options", panel["options"]) == [], panel["title"]
        custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom")
        if custom and panel["type"] in ("timeseries", "table"):
            assert problems(panel["type"], "FieldConfig", custom) == [], panel["title"]


def test_its_queries(dashboard: Json) -> None:
    for panel, target in targets(dashboard):
        assert problems("prometheus", "Dataquery", target) == [], panel["title"]
