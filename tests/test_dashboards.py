"""The shipped dashboards: valid JSON, one data source variable, expressions that parse and name what is published."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import names

ROOT = Path(__file__).parents[1]
DASHBOARDS = sorted((ROOT / "grafana").glob("*.json"))
PANEL_TYPES = {"timeseries", "stat", "table", "bargauge", "text"}
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# What a user may have chosen; the empty filter is the usual case, and `.*` is what "All" becomes.
CHOICES = [
    {"tenant": ".*", "query": ".*", "model": "robust_band", "filter": "", "series": 'query="q",service="cart"'},
    {"tenant": "team-a|team-b", "query": "q", "model": "shesd", "filter": 'job=~"web.*"', "series": 'series="none"'},
]


def load(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text())
    assert isinstance(content, dict)
    return content


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def targets(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in panels(dashboard):
        yield from panel.get("targets", [])


def variables(dashboard: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Expressions of all panels, and the selector or expression inside each variable's query."""
    found = [target["expr"] for target in targets(dashboard)]
    for variable in variables(dashboard).values():
        if variable["type"] == "query":
            inner = re.fullmatch(r"label_values\((.*), \w+\)|query_result\((.*)\)", variable["query"])
            assert inner, variable["query"]
            found.append(inner[1] or inner[2])
    return found


def filled_in(expression: str, choice: dict[str, str]) -> str:
    known = {**choice, "__rate_interval": "5m", "__range": "6h"}
    return re.sub(r"\$\{(\w+)(?::raw)?\}|\$(\w+)", lambda match: known[match[1] or match[2]], expression)


@pytest.fixture(params=DASHBOARDS, ids=lambda file: file.stem)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


def test_there_is_a_dashboard_of_series() -> None:
    found = {load(file)["uid"]: load(file)["title"] for file in DASHBOARDS}
    assert found["anomaly-series"] == "Anomaly: series"


def test_panel_ids_are_unique(dashboard: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in panels(dashboard)]
    assert len(ids) == len(set(ids))


def test_target_letters_are_unique_in_a_panel(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert len(letters) == len(set(letters)), panel["title"]


def test_panels_do_not_overlap_and_stay_on_the_grid(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(dashboard):
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_panels_are_of_drawable_types_and_described(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        assert panel["type"] in PANEL_TYPES
        assert panel["type"] == "text" or panel["description"], panel["title"]


def test_numbers_have_units(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        assert panel["type"] == "text" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_all_data_comes_from_the_chosen_data_source(dashboard: dict[str, Any]) -> None:
    chosen = variables(dashboard)["datasource"]
    assert (chosen["type"], chosen["query"]) == ("datasource", "prometheus")
    for panel in panels(dashboard):
        assert panel["type"] == "text" or panel["datasource"] == DATA_SOURCE
    assert all(target["datasource"] == DATA_SOURCE for target in targets(dashboard))
    assert all(v["datasource"] == DATA_SOURCE for v in variables(dashboard).values() if v["type"] == "query")


def test_all_tenants_is_a_choice_that_also_matches_no_tenant(dashboard: dict[str, Any]) -> None:
    tenant = variables(dashboard)["tenant"]
    assert (tenant["includeAll"], tenant["allValue"], tenant["current"]["value"]) == (True, ".*", "$__all")
    for expression in expressions(dashboard):
        assert not re.search(r"tenant\s*(=\"|!)", expression)


def test_every_variable_used_exists(dashboard: dict[str, Any]) -> None:
    known = {*variables(dashboard), "__rate_interval", "__range"}
    for expression in expressions(dashboard):
        used = {brace or plain for brace, plain in re.findall(r"\$\{(\w+)(?::raw)?\}|\$(\w+)", expression)}
        assert used <= known, expression


@pytest.mark.parametrize("choice", CHOICES, ids=["all tenants", "two tenants"])
def test_every_expression_parses(dashboard: dict[str, Any], choice: dict[str, str], tmp_path: Path) -> None:
    assert shutil.which("promtool"), "promtool is not on PATH: install Debian's package prometheus"
    rules = [{"record": f"r{i}", "expr": filled_in(e, choice)} for i, e in enumerate(expressions(dashboard))]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_expressions_name_only_metrics_that_exist(dashboard: dict[str, Any]) -> None:
    documented = (ROOT / "docs" / "metrics.md").read_text()
    published = {family.name for family in names.FAMILIES.values()}
    for expression in expressions(dashboard):
        used = set(re.findall(r"\banomaly_\w+", expression))
        assert used or "label_replace" in expression
        assert all(name in published or f"`{name}`" in documented for name in used), expression


def test_no_expression_drops_a_value_of_zero(dashboard: dict[str, Any]) -> None:
    for expression in expressions(dashboard):
        assert not re.search(r"anomaly_(value|expected|lower|upper)\{[^}]*\}\s*([<>]=?|[!=]=)", expression), expression


def series_panel(title: str) -> dict[str, Any]:
    dashboard = load(ROOT / "grafana" / "anomaly-series.json")
    return next(panel for panel in panels(dashboard) if panel["title"] == title)


def test_the_band_is_filled_between_its_edges() -> None:
    panel = series_panel("Value and band")
    legends = {target["legendFormat"] for target in panel["targets"]}
    fills = {
        override["matcher"]["options"]: {item["id"]: item["value"] for item in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    }
    assert {"value", "expected", "lower", "upper"} <= legends
    assert set(fills) <= legends
    assert fills["upper"]["custom.fillBelowTo"] == "lower"


def test_the_score_has_a_line_at_the_edge_of_the_band() -> None:
    defaults = series_panel("Score")["fieldConfig"]["defaults"]
    assert defaults["custom"]["thresholdsStyle"]["mode"] == "line"
    assert defaults["thresholds"]["steps"][1]["value"] == 1


def test_provisioning_loads_the_dashboards_from_where_compose_puts_them() -> None:
    providers = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/anomaly.yml").read_text())["providers"]
    sources = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    mounts = yaml.safe_load((ROOT / "deploy/docker-compose.yml").read_text())["services"]["grafana"]["volumes"]
    folder = providers[0]["options"]["path"]
    assert {f"../grafana/{file.name}:{folder}/{file.name}:ro" for file in DASHBOARDS} <= set(mounts)
    assert [source["type"] for source in sources] == ["prometheus"]


def test_the_picture_is_small() -> None:
    picture = (ROOT / "docs/img/dashboard-series.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 300_000
