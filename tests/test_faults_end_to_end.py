"""Each way in which a metrics server can fail, seen from outside: one query meets it, the operator reads what it is,
and every other query goes on as if nothing were."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.faulty_answers import FAULTS, LIMITS
from support.inside import Records, Sight, look, running_app
from support.loopback import ServerAt
from support.market import PODS, Market, value
from support.odd_answers import ODD
from support.process import config_text
from support.servers import free_port, wait_until

from exporter.app import App
from exporter.source.faults import REASONS

FAMILIES = ("anomaly_score", "anomaly_expected", "anomaly_lower", "anomaly_upper", "anomaly_value")
EVERYTHING = {(pod, model) for pod in PODS for model in ("robust_band", "shesd")}
START = "global: {interval: 2s, step: 5m, window: 2d}\n"
HEALTHY = ("healthy", "healthy_too")
ALL = (*HEALTHY, *FAULTS, *ODD)


@dataclass
class Story:
    """One exporter through a bad time, a good one, and the bad one again; ``url`` is that of the server."""

    url: str
    records: Records
    bad: Sight
    good: Sight
    bad_again: Sight

    def plain(self, text: str) -> str:
        """A message with API in place of the URL."""
        return re.sub(re.escape(self.url) + r"/api/v1/query(_range)?", "API", text)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """All queries in one exporter at once: nothing could be less quiet for the healthy ones."""
    market = Market(
        ALL, {name: fault.respond for name, fault in FAULTS.items()}, {name: odd.manner for name, odd in ODD.items()}
    )
    server, records = market.serve(), Records()
    logging.getLogger("exporter").addHandler(records)
    logging.getLogger("exporter").setLevel(logging.INFO)
    config = tmp_path_factory.mktemp("faults") / "config.yml"
    config.write_text(config_text(server.url, {name: f"expr: {name}" for name in ALL}, more=LIMITS, start=START))
    try:
        with running_app(config) as app:
            yield live_through(app, market, server, records)
    finally:
        server.close()
        logging.getLogger("exporter").removeHandler(records)


def live_through(app: App, market: Market, server: ServerAt, records: Records) -> Story:
    wait_until(lambda: all(unit.counted for unit in app.units.values()), "every query has met its fault")
    wait_for_healthy(app, 2)
    bad = look(app)
    market.raging = False
    wait_until(lambda: all(unit.last and not unit.last.error for unit in app.units.values()), "all recover")
    good = look(app)
    market.raging = True
    wait_until(lambda: all(app.units[name].last.error for name in FAULTS), "all meet their fault again")
    wait_for_healthy(app, 2)
    return Story(server.url, records, bad, good, look(app))


def wait_for_healthy(app: App, cycles: int) -> None:
    """Wait until the healthy queries have been judged so many times more."""
    for name in HEALTHY:
        unit = app.units[name]
        start_s = unit.last_good.time_s if unit.last_good else 0
        wait_until(lambda u=unit, s=start_s: u.last_good and u.last_good.time_s >= s + 2 * cycles, f"{name} goes on")


# --- what the operator sees -------------------------------------------------------------------------------------------


def test_the_table_covers_what_it_should() -> None:
    assert len(FAULTS) + len(ODD) >= 40
    assert {fault.reason for fault in FAULTS.values()} <= set(REASONS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_from_the_start_is_told_on_every_channel(story: Story, name: str) -> None:
    fault, receipt = FAULTS[name], story.bad.receipts[name]
    if fault.text:
        assert story.plain(receipt.error) == fault.text
    assert receipt.reason == fault.reason
    assert receipt.error in story.bad.landing
    assert receipt.error in story.records.of(name)
    assert story.bad.number("source_errors_total", query=name, reason=fault.reason) >= 1
    assert story.bad.number("cycles_total", query=name, outcome="failed") >= 1
    assert story.bad.number("cycles_total", query=name, outcome="ok") == 0
    assert story.bad.published(name) == set()
    assert receipt.error.isprintable()
    assert len(receipt.error) < 1000


@pytest.mark.parametrize("name", FAULTS)
def test_a_query_recovers_by_itself(story: Story, name: str) -> None:
    assert story.good.receipts[name].error == ""
    for family in FAMILIES:
        assert story.good.published(name, family) == EVERYTHING
    assert "recovered" in story.records.of(name)
    assert story.good.number("series", query=name, state="ok") == len(PODS)
    assert story.bad.receipts[name].error not in story.good.landing


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_later_on_is_told_and_the_last_verdicts_stay_for_a_while(story: Story, name: str) -> None:
    receipt = story.bad_again.receipts[name]
    assert receipt.reason == FAULTS[name].reason
    assert receipt.error in story.bad_again.landing
    assert story.bad_again.published(name) == EVERYTHING
    assert story.bad_again.number("source_errors_total", query=name, reason=receipt.reason) > story.bad.number(
        "source_errors_total", query=name, reason=receipt.reason
    )


def test_the_same_error_is_logged_once_not_every_cycle(story: Story) -> None:
    for name, fault in FAULTS.items():
        told = [story.plain(text) for text in story.records.of(name, logging.ERROR)]
        assert 2 <= len(told) <= 4, (name, fault, told)  # twice; which request meets it first may change its words


@pytest.mark.parametrize("moment", ["bad", "good", "bad_again"])
@pytest.mark.parametrize("name", HEALTHY)
def test_the_healthy_queries_go_on(story: Story, name: str, moment: str) -> None:
    sight: Sight = getattr(story, moment)
    for family in FAMILIES:
        assert sight.published(name, family) == EVERYTHING
    assert sight.receipts[name].error == ""
    assert sight.number("cycles_total", query=name, outcome="failed") == 0
    assert sight.number("cycles_total", query=name, outcome="ok") >= 2
    assert sight.number("series", query=name, state="ok") == len(PODS)
    assert story.records.of(name, logging.ERROR) == []


def test_the_source_counts_as_up_while_one_query_can_be_read(story: Story) -> None:
    assert story.bad.number("source_up", tenant="") == 1
    assert story.bad.number("source_requests_total", tenant="", outcome="ok") > 0
    assert story.bad.number("source_requests_total", tenant="", outcome="garbled") > 0


# --- odd answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_counted_and_what_is_good_in_it_is_judged(story: Story, name: str) -> None:
    odd = ODD[name]
    for sight in (story.bad, story.good, story.bad_again):
        assert sight.receipts[name].error == ""
        for family in FAMILIES:
            assert sight.published(name, family) == {pair for pair in EVERYTHING if pair[0] in odd.pods}
        for kind in odd.kinds:
            assert sight.number("source_warnings_total", query=name, kind=kind) >= 1
    found = {
        labels["kind"]
        for labels, count in story.good.page["anomaly_exporter_source_warnings_total"]
        if labels["query"] == name and count
    }
    assert found == set(odd.kinds)
    assert sum(bool(odd.log) and odd.log in text for text in story.records.of(name)) == bool(odd.log)


@pytest.mark.parametrize(
    "name", [*HEALTHY, "odd_unsorted", "odd_duplicate", "odd_future", "odd_spelling", "odd_packed"]
)
def test_the_published_value_is_the_newest_sample(story: Story, name: str) -> None:
    newest_s = story.good.number("verdict_timestamp_seconds", query=name)
    values = {labels["pod"]: found for labels, found in story.good.page["anomaly_value"] if labels["query"] == name}
    for pod in PODS:  # the page and the time are taken one after the other: a cycle may lie between
        assert values[pod] in {value(name, pod, newest_s + late_s) for late_s in (-5, 0, 5)}


@pytest.mark.parametrize(("name", "lowest"), [("odd_huge", 100), ("odd_zero", 1)])
def test_a_value_far_out_scores_and_its_neighbours_do_not(story: Story, name: str, lowest: float) -> None:
    scores = [(labels, score) for labels, score in story.good.page["anomaly_score"] if labels["query"] == name]
    assert all(score >= lowest for labels, score in scores if labels["pod"] == "b")
    assert all(score < 2 for labels, score in scores if labels["pod"] != "b")


def test_an_unusual_spelling_is_read_by_the_json_parser(story: Story) -> None:
    assert story.good.number("source_fallback_scans_total", query="odd_spelling") > 0
    assert story.good.number("source_fallback_scans_total", query="odd_packed") == 0


def test_an_answer_without_series_is_no_error(story: Story) -> None:
    assert story.good.number("source_series", query="odd_nothing") == 0
    assert story.good.number("cycles_total", query="odd_nothing", outcome="failed") == 0


# --- the whole server -------------------------------------------------------------------------------------------------


def test_a_server_that_is_refused_for_a_while(tmp_path: Path) -> None:
    """Started before its server: waits, says so, and begins when the server does."""
    market, port = Market(HEALTHY), free_port()
    config = tmp_path / "config.yml"
    config.write_text(config_text(f"http://127.0.0.1:{port}", {name: f"expr: {name}" for name in HEALTHY}, more=LIMITS))
    with running_app(config) as app:
        wait_until(lambda: all(unit.counted for unit in app.units.values()), "refused")
        ready, words = app.ready()
        assert not ready
        assert words == (
            f"no query could be read yet: http://127.0.0.1:{port}/api/v1/query: connection refused. "
            "Is the server running, and is the port right?"
        )
        assert look(app).number("source_up", tenant="") == 0
        server = market.serve(port)
        try:
            wait_until(lambda: app.ready()[0], "ready when the server is")
            wait_until(lambda: all(unit.last_good for unit in app.units.values()), "both")
            wait_until(lambda: look(app).number("source_up", tenant="") == 1, "it is counted")
            sight = look(app)
            assert sight.published("healthy") == sight.published("healthy_too") == EVERYTHING
            assert sight.number("source_up", tenant="") == 1
        finally:
            server.close()


def test_many_queries_that_hang_do_not_hold_up_a_healthy_one(tmp_path: Path) -> None:
    over = threading.Event()
    hanging = tuple(f"hanging_{i}" for i in range(12))
    market = Market((*HEALTHY, *hanging), dict.fromkeys(hanging, lambda request, connection: over.wait(60)))
    server = market.serve()
    config = tmp_path / "config.yml"
    patient = "  timeout: 30s\n  max_in_flight: 16\n"
    config.write_text(config_text(server.url, {name: f"expr: {name}" for name in HEALTHY}, more=patient))
    try:
        with running_app(config) as app:
            wait_until(lambda: app.ready()[0], "the healthy ones alone")
            config.write_text(config_text(server.url, {name: f"expr: {name}" for name in market.names}, more=patient))
            app.reload()
            wait_for_healthy(app, 3)
            assert all(app.units[name].last is None for name in hanging)  # they still wait for their first answer
            over.set()
    finally:
        over.set()
        server.close()
