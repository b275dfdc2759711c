"""Every query of every panel, run on a real Prometheus that two exporters fill, with the variables filled in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from support.grafana import (
    ALL,
    Choice,
    Json,
    field_labels,
    filled_in,
    options,
    prepared,
    timed,
    variables,
)
from support.stage import STEP_S as STAGE_STEP_S
from support.stage import TENANTS, WELL, Stage, opened_stage

from exporter.dashboards.writing import dashboards

OVERVIEW, SERIES, INCIDENT, EXPORTER = dashboards()
SHOP = 'instance="demo-app",job="demo",region="eu",service="web",tenant="shop"'
LABELS = ["tenant", "query", "service"]
SPAN_S, STEP_S = 6 * 3600, 60
# Queries of the exporter's dashboard that have no result on a healthy day: errors, and drops of remote write.
NOTHING_IS_GOOD = {("Source errors", "A"), ("Remote write", "D")}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with opened_stage(tmp_path_factory.mktemp("stage")) as opened:
        yield opened


def results(stage: Stage, target: Json, span_s: int = SPAN_S) -> list[Any]:
    """What Prometheus answers to a query of a panel; fails with its words if it refuses."""
    now = time.time() // STEP_S * STEP_S
    interval_s = STEP_S if span_s > 3600 else 5
    form: dict[str, Any] = {"query": timed(target["expr"], range_s=span_s, interval_s=interval_s)}
    kind = "query" if target["instant"] else "query_range"
    form |= (
        {"time": time.time()} if target["instant"] else {"start": now - span_s, "end": now + STEP_S, "step": interval_s}
    )
    answer = requests.post(f"{stage.url}/api/v1/{kind}", data=form, timeout=60).json()
    assert answer["status"] == "success", (form["query"], answer.get("error"))
    assert not answer.get("warnings"), answer
    result: list[Any] = answer["data"]["result"]
    return result


def empty_panels(stage: Stage, dashboard: Json, choice: Choice, span_s: int = SPAN_S) -> set[tuple[str, str]]:
    """(title, letter) of the queries without any result."""
    ready = prepared(dashboard, choice)
    return {
        (panel["title"], target["refId"])
        for panel in ready["panels"]
        for target in panel.get("targets", [])
        if not results(stage, target, span_s)
    }


def panel_of(dashboard: Json, choice: Choice, title: str) -> Json:
    """The first panel of that title."""
    return next(panel for panel in prepared(dashboard, choice)["panels"] if panel["title"] == title)


def value(stage: Stage, dashboard: Json, choice: Choice, title: str, span_s: int = SPAN_S) -> float:
    """The number of a stat panel."""
    panel = panel_of(dashboard, choice, title)
    assert panel["type"] == "stat"
    (result,) = results(stage, panel["targets"][0], span_s)
    return float(result["value"][1])


def numbers(stage: Stage, panel: Json, label: str, span_s: int = 3600) -> dict[str, float]:
    """The first column of a table by a label."""
    return {one["metric"][label]: float(one["value"][1]) for one in results(stage, panel["targets"][0], span_s)}


@pytest.mark.parametrize("tenant", [ALL, ["payments"], ["payments", "team-a"]], ids=str)
def test_the_overview_has_data(stage: Stage, tenant: Any) -> None:
    assert empty_panels(stage, OVERVIEW, {"tenant": tenant}) == set()


def test_the_overview_of_series_without_a_tenant_has_data(stage: Stage) -> None:
    """Three sums over all tenants, of which perhaps none is anomalous."""
    quiet = {("Anomalous series by tenant and query", "A"), ("Share of series that are anomalous", "A")}
    assert empty_panels(stage, OVERVIEW, {"tenant": ""}) <= quiet
    assert value(stage, OVERVIEW, {"tenant": ""}, "Judged") == 3


def test_the_overview_of_one_query_by_a_filter_has_data(stage: Stage) -> None:
    choice = {"query": ["requests"], "filter": 'region=~"e.*"', "tenant": ["payments", "shop"], "model": ALL}
    assert empty_panels(stage, OVERVIEW, choice) == set()
    assert value(stage, OVERVIEW, choice, "Judged") == 4


def test_any_model_counts_a_series_once(stage: Stage) -> None:
    assert value(stage, OVERVIEW, {"model": ALL}, "Judged") == value(stage, OVERVIEW, {}, "Judged")


def test_the_overview_counts_what_the_exporters_count(stage: Stage) -> None:
    watched = stage.ask("sum(anomaly_exporter_series)")[0][1]
    assert value(stage, OVERVIEW, {}, "Series watched") == watched
    assert value(stage, OVERVIEW, {"tenant": ["team-a"], "query": ["team_cpu"]}, "Judged") == 12
    assert value(stage, OVERVIEW, {}, "Absent") >= 1


def test_the_series_has_data(stage: Stage) -> None:
    assert empty_panels(stage, SERIES, {"query": "requests", "series": SHOP}) == set()


def test_a_series_without_a_tenant_has_data(stage: Stage) -> None:
    choice = {"query": "all_traffic", "series": 'region="eu"', "tenant": ""}
    empty = empty_panels(stage, SERIES, choice)
    assert empty <= {("Slow signals", "A"), ("Slow signals", "B"), ("Value and band", "E")}


def test_the_state_of_a_series_that_is_gone(stage: Stage) -> None:
    gone = {"query": "queue", "series": 'queue="orders",tenant="shop"'}
    assert value(stage, SERIES, gone, "State") == 3
    assert (
        value(stage, SERIES, {"query": "requests", "series": 'region="us",service="web",tenant="search"'}, "State") == 1
    )


def test_episodes_are_counted(stage: Stage) -> None:
    choice = {"query": "requests", "series": SHOP}
    flag = f'max_over_time(anomaly_score{{query="requests",model="robust_band",{SHOP}}}[15m]) > bool 1'
    (course,) = results(stage, {"expr": flag, "instant": False})
    states = [text for _, text in course["values"]]
    begun = sum((before, now) == ("0", "1") for before, now in pairwise(["0", *states]))
    assert begun >= 2
    assert value(stage, SERIES, choice, "Episodes") == begun
    assert value(stage, SERIES, choice, "Worst score") > 1


def test_the_series_of_an_alerts_link_is_the_one(stage: Stage) -> None:
    """Alerts give the labels without query, model and tenant, and these as variables of their own."""
    linked = {"query": "team_cpu", "tenant": "team-b", "model": "shesd", "series": 'exported_tenant="shop",node="a"'}
    ready = prepared(SERIES, linked)
    (band,) = [panel for panel in ready["panels"] if panel["title"] == "Value and band"]
    (found,) = results(stage, band["targets"][3])
    assert found["metric"]["tenant"] == "team-b"


@pytest.mark.parametrize(
    ("dashboard", "title"),
    [(OVERVIEW, "Worst ten"), (INCIDENT, "Worst ten of the range"), (SERIES, "Worst series of the query")],
    ids=["overview", "incident", "series"],
)
def test_every_bar_leads_to_its_very_series(stage: Stage, dashboard: Json, title: str) -> None:
    bars = results(stage, panel_of(dashboard, {"query": "requests"}, title)["targets"][0])
    assert len(bars) >= 8
    for labels in (bar["metric"] for bar in bars):
        linked = {"query": labels["query"], "model": labels["model"], "series": field_labels(labels)}
        assert len(results(stage, panel_of(SERIES, linked, "Score")["targets"][0])) == 1, labels


def test_the_incident_has_data(stage: Stage) -> None:
    assert empty_panels(stage, INCIDENT, {"label": LABELS}) == set()


def test_the_incident_shows_what_is_shared(stage: Stage) -> None:
    choice = {"label": ["tenant", "nonsense"], "query": ["requests", "latency", "queue"]}
    hit = numbers(stage, panel_of(INCIDENT, choice, "By tenant"), "value")
    assert hit["payments"] == max(hit.values())
    assert {*numbers(stage, panel_of(INCIDENT, choice, "By nonsense"), "value")} == {"(without)"}


def test_onsets_are_when_it_happened(stage: Stage) -> None:
    choice = {"query": ["requests"], "tenant": ["payments"], "filter": 'service="web"'}
    began = numbers(stage, panel_of(INCIDENT, choice, "Onset times"), "region")
    struck = [(event.start_s, stage.world.series[event.series]) for event in stage.world.events]
    starts = {
        series.labels["region"]: start_s
        for start_s, series in struck
        if start_s > stage.started_s - 3600 and series.labels.get("service") == "web" and "region" in series.labels
    }
    assert sorted(began) == sorted(starts) == ["ap", "eu", "us"]
    late_s = sorted(began[region] / 1000 - start_s for region, start_s in starts.items())
    assert 0 <= late_s[1] <= 2 * STAGE_STEP_S, late_s  # by chance one may have left its band before


def test_the_exporters_have_data(stage: Stage) -> None:
    assert empty_panels(stage, EXPORTER, {}, 600) == set()


def test_one_exporter_by_its_instance(stage: Stage) -> None:
    assert value(stage, EXPORTER, {}, "Exporters up", 600) == 2
    assert value(stage, EXPORTER, {"instance": [WELL]}, "Exporters up", 600) == 1
    well = {"instance": [WELL]}
    assert empty_panels(stage, EXPORTER, well, 600) == NOTHING_IS_GOOD


def test_annotations_can_be_asked(stage: Stage) -> None:
    for dashboard in (OVERVIEW, SERIES, INCIDENT, EXPORTER):
        for one in dashboard["annotations"]["list"]:
            expr = filled_in(one["expr"], dashboard, {"query": "requests", "series": SHOP})
            found = results(stage, {"expr": expr, "instant": False})
            assert found or one["name"] == "Restart"


def test_variables_offer_what_there_is(stage: Stage) -> None:
    def offered(dashboard: Json, name: str, **choice: Any) -> list[str]:
        return options(variables(dashboard)[name], dashboard, choice, stage.ask, SPAN_S)

    assert {*offered(OVERVIEW, "tenant")} == {"", "shop", "payments", "search", *TENANTS} - {""}
    assert offered(OVERVIEW, "query", tenant=["team-a"]) == ["team_cpu", "team_errors"]
    assert offered(SERIES, "model", query="requests") == ["robust_band", "shesd"]
    assert offered(EXPORTER, "job") == ["anomaly-exporter"]
    assert len(offered(EXPORTER, "instance", job="anomaly-exporter")) == 2
    series = offered(SERIES, "series", query="requests")
    assert len(series) == len({*series}) == 18
    assert SHOP in series
    assert offered(SERIES, "series", query="nothing") == ['series="none"']


def test_the_owner_of_a_series_is_a_configured_tenant_or_nobody(stage: Stage) -> None:
    def owner(**choice: Any) -> list[str]:
        return options(variables(SERIES)["owner"], SERIES, choice, stage.ask, SPAN_S)

    assert owner(query="requests", series=SHOP) == []
    assert owner(query="all_traffic", series='region="eu"') == []
    assert owner(query="team_cpu", tenant="team-b", series='node="a"') == ["team-b"]


@pytest.mark.parametrize(
    ("query", "tenant", "series"),
    [("requests", ALL, SHOP), ("requests", ALL, f'model="robust_band", query="requests", {SHOP}'),
     ("all_traffic", "", 'region="eu"'), ("team_cpu", "team-b", 'node="a",exported_tenant="shop"')],
    ids=["alert", "bar", "no tenant", "tenant"],
)  # fmt: skip
def test_explain_opens_the_explanation_of_the_series(stage: Stage, query: str, tenant: str, series: str) -> None:
    choice: dict[str, Any] = {"query": query, "tenant": tenant, "series": series, "exporter": "x"}
    for name in ("labels", "owner"):
        choice[name] = "".join(options(variables(SERIES)[name], SERIES, choice, stage.ask, SPAN_S))
    (link,) = [one for one in SERIES["links"] if one["title"] == "Explain"]
    url = filled_in(link["url"], SERIES, choice).replace("${__to:date:seconds}", str(int(time.time())))
    asked = urlsplit(url)
    exporter = stage.sick if choice["owner"] else stage.well
    page = requests.get(f"{exporter.url}{asked.path}?{asked.query}", timeout=60)
    assert page.status_code == 200, page.text[-3000:]
    assert choice["owner"] == ("team-b" if query == "team_cpu" else "")
    assert "expected" in page.text
