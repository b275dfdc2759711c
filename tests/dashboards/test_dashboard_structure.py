"""What every dashboard has to be: well-formed, described, laid out, of one data source, of metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from support.grafana import ALL, OWN, Choice, Json, filled_in, panels, prepared, targets, timed, used, variables

from exporter import names
from exporter.dashboards.writing import dashboards
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.selfmetrics import SelfMetrics

ROOT = Path(__file__).parents[2]
UIDS = (names.DASHBOARD_OVERVIEW, names.DASHBOARD_SERIES, names.DASHBOARD_INCIDENT, names.DASHBOARD_EXPORTER)
PANEL_TYPES = {"timeseries", "stat", "table", "bargauge", "text"}
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
OF_THE_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}
# What a user may have chosen; the empty filter is the usual case, and `.*` is what "All" becomes.
CHOICES: list[Choice] = [
    {"series": 'query="q",service="cart"', "job": "j"},
    {"tenant": ["team-a", "b.c"], "query": "q", "model": ALL, "filter": 'job=~"web.*"', "series": 'series="none"',
     "label": ["zone"], "job": "j", "instance": ["a:1", "b:1"]},
    {"tenant": "", "query": "q", "series": 'a="x\\"y",b="\\n"', "filter": "", "job": ""},
]  # fmt: skip


@pytest.fixture(params=dashboards(), ids=UIDS)
def dashboard(request: pytest.FixtureRequest) -> Json:
    return request.param


def drawn(dashboard: Json) -> list[Json]:
    return [panel for panel in panels(dashboard) if panel["type"] != "text"]


def asked_by_variables(dashboard: Json) -> list[str]:
    """The selector or expression inside each variable's query."""
    found = []
    for variable in variables(dashboard).values():
        if variable["type"] == "query" and variable["query"] != "label_names()":
            inner = re.fullmatch(r"label_values\((.*), \w+\)|query_result\((.*)\)", variable["query"])
            assert inner, variable["query"]
            found.append(inner[1] or inner[2])
    return found


def expressions(dashboard: Json) -> list[str]:
    annotations = [one["expr"] for one in dashboard["annotations"]["list"]]
    return [target["expr"] for _, target in targets(dashboard)] + asked_by_variables(dashboard) + annotations


def choice_of(dashboard: Json, choice: Choice) -> Choice:
    """A single value where the dashboard takes one only."""
    known = variables(dashboard)
    return {
        name: value[0] if isinstance(value, list) and not known[name].get("multi") else value
        for name, value in choice.items()
        if name in known and (value != ALL or known[name]["includeAll"])
    }


def test_uids_are_those_that_alerts_link_to() -> None:
    assert tuple(one["uid"] for one in dashboards()) == UIDS
    assert UIDS == ("anomaly-overview", "anomaly-series", "anomaly-incident", "anomaly-exporter")


def test_titles_differ() -> None:
    assert len({one["title"] for one in dashboards()}) == len(UIDS)


def test_panel_ids_are_unique(dashboard: Json) -> None:
    ids = [panel["id"] for panel in panels(dashboard)]
    assert len(ids) == len(set(ids))


def test_panel_titles_are_unique(dashboard: Json) -> None:
    titles = [(panel["title"], panel["type"]) for panel in panels(dashboard)]
    assert len(titles) == len(set(titles))


def test_target_letters_are_unique_in_a_panel(dashboard: Json) -> None:
    for panel in drawn(dashboard):
        letters = [target["refId"] for target in panel["targets"]]
        assert letters
        assert len(letters) == len(set(letters)), panel["title"]


def test_panels_fill_the_grid_and_do_not_overlap(dashboard: Json) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(dashboard):
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    height = max(y for _, y in taken) + 1
    assert taken == {(x, y) for x in range(24) for y in range(height)}


def test_panels_are_of_drawable_types_and_described(dashboard: Json) -> None:
    assert {panel["type"] for panel in panels(dashboard)} <= PANEL_TYPES
    assert all(panel["description"].endswith(".") for panel in drawn(dashboard))


def test_numbers_have_units(dashboard: Json) -> None:
    for panel in drawn(dashboard):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        if panel["type"] == "table":
            units = [override["properties"] for override in panel["fieldConfig"]["overrides"]]
            named = [one for each in units for one in each if one["id"] == "unit" and one["value"]]
            assert len(named) >= len(panel["targets"]), panel["title"]


def test_overrides_are_about_fields_that_there_are(dashboard: Json) -> None:
    for panel in drawn(dashboard):
        legends = {target["legendFormat"] for target in panel["targets"]}
        if any("{{" in legend or legend == "__auto" for legend in legends):
            continue
        named = [o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"] if o["matcher"]["id"] == "byName"]
        assert set(named) <= legends, panel["title"]


def test_all_data_comes_from_the_chosen_data_source(dashboard: Json) -> None:
    chosen = variables(dashboard)["datasource"]
    assert (chosen["type"], chosen["query"]) == ("datasource", "prometheus")
    assert sum(variable["type"] == "datasource" for variable in variables(dashboard).values()) == 1
    assert all(panel["datasource"] == DATA_SOURCE for panel in drawn(dashboard))
    assert all(target["datasource"] == DATA_SOURCE for _, target in targets(dashboard))
    assert all(v["datasource"] == DATA_SOURCE for v in variables(dashboard).values() if v["type"] == "query")
    assert all(one["datasource"] == DATA_SOURCE for one in dashboard["annotations"]["list"])


def test_all_tenants_is_a_choice_that_also_matches_no_tenant(dashboard: Json) -> None:
    tenant = variables(dashboard)["tenant"]
    assert (tenant["includeAll"], tenant["allValue"], tenant["current"]["value"]) == (True, ".*", ALL)
    for expression in expressions(dashboard):
        assert not re.search(r"tenant\s*=\"", expression)


def test_every_variable_used_exists_and_every_variable_is_used(dashboard: Json) -> None:
    known = variables(dashboard)
    text = json.dumps(dashboard["panels"]) + json.dumps(dashboard["links"]) + " ".join(expressions(dashboard))
    for expression in expressions(dashboard):
        assert used(expression) <= {*known, *OWN}, expression
    assert used(text) >= {*known} - {"datasource"}


def test_a_variable_asks_only_by_those_before_it(dashboard: Json) -> None:
    before: set[str] = set()
    for name, variable in variables(dashboard).items():
        assert used(variable["query"]) <= before | {"__range"}, name
        before.add(name)


@pytest.mark.parametrize("choice", CHOICES, ids=["first", "several", "none"])
def test_every_expression_parses(dashboard: Json, choice: Choice, tmp_path: Path) -> None:
    own = choice_of(dashboard, choice)
    ready = [filled_in(one, dashboard, own) for one in expressions(prepared(dashboard, own))]
    filled = [timed(one, range_s=3600, interval_s=60) for one in ready]
    rules = [{"record": f"r{i}", "expr": one} for i, one in enumerate(filled)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_expressions_name_only_metrics_that_exist(dashboard: Json) -> None:
    known = {family.name for family in names.FAMILIES.values()} | own_metrics() | OF_PROMETHEUS | OF_THE_PROCESS
    for expression in expressions(dashboard):
        plain = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
        metrics = set(re.findall(r"\b(?:anomaly|process|scrape)_\w+|\bup\b", plain))
        patterns = re.findall(r'__name__=~"([^"]*)"', expression)
        assert metrics or patterns, expression
        assert metrics <= known, expression
        assert all(any(re.fullmatch(pattern, name) for name in known) for pattern in patterns), expression


def own_metrics() -> set[str]:
    """The samples that the exporter's own metrics have, remote write included."""
    registry = CollectorRegistry()
    SelfMetrics(registry)
    WriteMetrics(registry)
    return {sample for metric in registry.collect() for sample in sample_names(metric.name, metric.type)}


def sample_names(name: str, kind: str) -> set[str]:
    return {name, f"{name}_total"} if kind == "counter" else {name, f"{name}_bucket"}


def test_no_expression_drops_a_value_of_zero(dashboard: Json) -> None:
    for expression in expressions(dashboard):
        assert not re.search(r"anomaly_(value|expected|lower|upper)\{[^}]*\}\s*([<>]=?|[!=]=)", expression), expression


def test_dashboards_link_to_each_other_with_time_and_variables(dashboard: Json) -> None:
    (others,) = [link for link in dashboard["links"] if link["type"] == "dashboards"]
    assert others["tags"] == dashboard["tags"]
    assert (others["includeVars"], others["keepTime"]) == (True, True)


def test_links_lead_to_dashboards_and_variables_that_there_are(dashboard: Json) -> None:
    by_uid = {one["uid"]: one for one in dashboards()}
    for url in re.findall(r'"url": "(/d/[^"]*)"', json.dumps(dashboard["panels"])):
        uid, _, query = url.removeprefix("/d/").partition("?")
        names_ = {name.removeprefix("var-") for name in re.findall(r"(var-\w+)=", query)}
        names_ |= set(re.findall(r"\$\{(\w+):queryparam\}", query))
        assert names_ <= set(variables(by_uid[uid])), url
        assert "${__url_time_range}" in query


def test_annotations_come_from_the_score_or_the_process(dashboard: Json) -> None:
    (annotation,) = dashboard["annotations"]["list"]
    assert re.search(r"anomaly_score|process_start_time", annotation["expr"])


def panel_of(uid: str, title: str) -> Json:
    (found,) = [one for each in dashboards() if each["uid"] == uid for one in panels(each) if one["title"] == title]
    return found


def test_the_band_is_filled_between_its_edges() -> None:
    panel = panel_of("anomaly-series", "Value and band")
    legends = {target["legendFormat"] for target in panel["targets"]}
    fills = {
        override["matcher"]["options"]: {item["id"]: item["value"] for item in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    }
    assert {"value", "expected", "lower", "upper"} <= legends
    assert set(fills) <= legends
    assert fills["upper"]["custom.fillBelowTo"] == "lower"
    assert fills["upper"]["custom.fillOpacity"] > 0


@pytest.mark.parametrize(("uid", "title"), [("anomaly-series", "Score"), ("anomaly-incident", "Scores")])
def test_scores_have_a_line_at_the_edge_of_the_band(uid: str, title: str) -> None:
    defaults = panel_of(uid, title)["fieldConfig"]["defaults"]
    assert defaults["custom"]["thresholdsStyle"]["mode"] == "dashed"
    assert defaults["thresholds"]["steps"][1] == {"color": "red", "value": 1}


def test_charts_one_above_the_other_have_axes_of_one_width() -> None:
    for uid, titles in (
        ("anomaly-series", ("Value and band", "Score")),
        ("anomaly-incident", ("Anomalous series by query", "Scores", "Distance from expected")),
    ):
        widths = {panel_of(uid, title)["fieldConfig"]["defaults"]["custom"]["axisWidth"] for title in titles}
        assert len(widths) == 1


def test_rows_of_tables_are_merged_without_the_names_of_metrics(dashboard: Json) -> None:
    for panel in drawn(dashboard):
        if panel["type"] == "table":
            kinds = [one["id"] for one in panel["transformations"]]
            assert kinds == ["filterFieldsByName", "merge", "organize", "sortBy"]
            assert panel["transformations"][0]["options"]["exclude"]["names"] == ["Time", "__name__"]


def test_lines_do_not_cross_gaps(dashboard: Json) -> None:
    for panel in drawn(dashboard):
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False


def test_provisioning_loads_the_dashboards_from_where_compose_puts_them() -> None:
    providers = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/anomaly.yml").read_text())["providers"]
    sources = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    mounts = yaml.safe_load((ROOT / "deploy/docker-compose.yml").read_text())["services"]["grafana"]["volumes"]
    folder = providers[0]["options"]["path"]
    assert {f"../grafana/{uid}.json:{folder}/{uid}.json:ro" for uid in UIDS} <= set(mounts)
    assert [source["type"] for source in sources] == ["prometheus"]
