"""The inhibit rules in a real Alertmanager: a storm mutes the single alerts of its own group and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml
from support.rule_texts import ROOT
from support.servers import alertmanager_in, wait_until

from exporter.config import parse
from exporter.rules.writing import INHIBIT_FILE, files

MADE = Path(__file__).parent / "made" / "config.yml"
Labels = dict[str, str]


def storm(query: str, **labels: str) -> Labels:
    return {"alertname": "AnomalyShareHigh", "query": query, "severity": "critical", **labels}


def single(query: str, **labels: str) -> Labels:
    return {"alertname": "AnomalyDetected", "query": query, "model": "robust_band", "severity": "warning", **labels}


def stale(query: str, **labels: str) -> Labels:
    return {"alertname": "AnomalyVerdictsStale", "query": query, **labels}


def failing(**labels: str) -> Labels:
    return {"alertname": "AnomalySourceFailing", "job": "anomaly-exporter", "instance": "a:9899", **labels}


@contextmanager
def running_alertmanager(folder: Path, inhibiting: str) -> Iterator[str]:
    """Start it with these inhibit rules; ended by its id."""
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]} | yaml.safe_load(inhibiting)
    with alertmanager_in(folder, config) as url:
        yield url


def expect_muted(url: str, wanted: list[Labels], *alerts: Labels) -> None:
    """Of these alerts those that are wanted are inhibited once all have been sent, and no others."""
    sent = requests.post(f"{url}/api/v2/alerts", json=[{"labels": alert} for alert in alerts], timeout=60)
    assert sent.ok, sent.text
    wait_until(lambda: len(_seen(url, alerts)) == len(alerts), "alertmanager has the alerts")
    # Whoever works out the state learns of an alert a moment after it can be seen.
    wait_until(lambda: all(one in _muted(url, alerts) for one in wanted), f"muted: {wanted}")
    assert _muted(url, alerts) == wanted


def _muted(url: str, alerts: tuple[Labels, ...]) -> list[Labels]:
    states = {_key(labels): bool(by) for labels, by in _seen(url, alerts)}
    return [alert for alert in alerts if states[_key(alert)]]


def _seen(url: str, alerts: tuple[Labels, ...]) -> list[tuple[Labels, list[str]]]:
    found = requests.get(f"{url}/api/v2/alerts", timeout=60).json()
    keys = {_key(alert) for alert in alerts}
    return [(one["labels"], one["status"]["inhibitedBy"]) for one in found if _key(one["labels"]) in keys]


def _key(labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_alertmanager(tmp_path_factory.mktemp("shipped"), files(None, "prometheus")[INHIBIT_FILE]) as url:
        yield url


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    written = files(parse(MADE.read_text(), "c.yml", {}), "prometheus")[INHIBIT_FILE]
    with running_alertmanager(tmp_path_factory.mktemp("made"), written) as url:
        yield url


def test_a_storm_mutes_the_single_alerts_of_its_tenant_and_query(shipped: str) -> None:
    inside = [single("q", tenant="a", i=str(i)) for i in range(3)]
    outside = [
        single("q", tenant="b", i="0"), single("other", tenant="a", i="0"), single("q", i="0"),
        {"alertname": "AnomalySeriesAbsent", "query": "q", "tenant": "a", "i": "0"},
    ]  # fmt: skip
    expect_muted(shipped, inside, storm("q", tenant="a"), *inside, *outside)


def test_without_tenants_a_storm_mutes_as_well(shipped: str) -> None:
    inside = single("plain", i="0")
    expect_muted(shipped, [inside], storm("plain"), inside, single("plain", i="0", tenant="t"))


def test_without_a_storm_nothing_is_muted(shipped: str) -> None:
    expect_muted(shipped, [], single("calm", i="0"), single("calm", i="1"))


def test_a_failing_source_mutes_stale_verdicts_of_what_fails(shipped: str) -> None:
    alerts = [failing(tenant="down"), failing(tenant="up", query="broken", reason="timeout")]
    inside = [stale("any", tenant="down"), stale("broken", tenant="up")]
    expect_muted(shipped, inside, *alerts, *inside, stale("fine", tenant="up"), stale("any", tenant="other"))


def test_a_storm_in_a_zone_mutes_that_zone_only(made: str) -> None:
    inside = [single("zoned", zone="eu", i="0", tenant="t"), single("zoned", zone="eu", i="1", tenant="t")]
    outside = [single("zoned", zone="us", i="0", tenant="t"), single("zoned", i="0", tenant="t")]
    expect_muted(made, inside, storm("zoned", zone="eu", tenant="t"), *inside, *outside)


def test_a_storm_over_all_zones_mutes_series_that_have_a_zone(made: str) -> None:
    inside = [single("usual", zone="eu", i="0"), single("usual", i="0"), single("both_models", zone="eu")]
    expect_muted(made, inside, storm("usual"), storm("both_models"), *inside)


def test_the_example_config_has_the_shipped_rules() -> None:
    example = yaml.safe_load((ROOT / "deploy" / "alertmanager.yml").read_text())
    shipped = yaml.safe_load(files(None, "prometheus")[INHIBIT_FILE])
    assert example["inhibit_rules"] == shipped["inhibit_rules"]


@pytest.mark.parametrize(
    ("alert", "group_by"),
    [("AnomalyShareHigh", ["alertname", "tenant"]), ("AnomalyDetected", ["alertname", "tenant", "query"])],
)
def test_the_example_config_groups_storms_of_a_tenant(alert: str, group_by: list[str]) -> None:
    route = yaml.safe_load((ROOT / "deploy" / "alertmanager.yml").read_text())["route"]
    chosen = [each for each in route["routes"] if f'alertname="{alert}"' in each["matchers"]] or [route]
    assert chosen[0]["group_by"] == group_by
