"""`anomaly-exporter plan` against a real Prometheus with a few hundred series, as a user types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.crowd import Crowd, running_crowd
from support.loopback import Relay, http
from support.process import config_text

SERIES = 300
COLUMNS = 576  # 2 days of 5 minutes
START = "global: {interval: 30s, step: 5m, window: 2d}\n"
OUT_OF_ORDER = json.dumps({"storage": {"tsdb": {"out_of_order_time_window": "30m"}}})


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    with running_crowd(tmp_path_factory.mktemp("crowd"), SERIES) as running:
        yield running


class Plan:
    """What the command printed, wrote and returned."""

    def __init__(self, folder: Path, source: str, queries: Mapping[str, str], *, start: str = START, more: str = "",
                 json_file: Path | None = None) -> None:  # fmt: skip
        config, self.file = folder / "config.yml", json_file or folder / "plan.json"
        config.write_text(config_text(source, queries, start=start, more=more))
        words = [sys.executable, "-m", "exporter.cli", "plan", f"--config.file={config}", "--json", str(self.file)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        self.status, self.lines, self.errors = done.returncode, done.stdout.splitlines(), done.stderr

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.file.read_text()))

    def query(self, name: str) -> dict[str, Any]:
        (found,) = [query for query in self.document["queries"] if query["query"] == name]
        return dict(found)

    def row(self, name: str) -> list[str]:
        (found,) = [line for line in self.lines if re.match(rf"\S+ +{name}\b", line) and not line.endswith(":")]
        return re.split(r" {2,}", found)


def test_it_counts_series_points_samples_and_output(crowd: Crowd, tmp_path: Path) -> None:
    queries = {
        "plain": "expr: load",
        "rate": "expr: 'sum by (job) (rate(load[1m]))', models: [robust_band], signals: [shift, stale], window: 3d",
        "sum": "expr: 'load + on (i) load{job=~\"c.*\"}', direction: above, publish: all",
    }
    plan = Plan(tmp_path, crowd.url, queries)
    assert (plan.status, plan.errors) == (0, "")
    assert plan.document["ok"]
    plain, rate, added = plan.query("plain"), plan.query("rate"), plan.query("sum")
    assert (plain["series"], plain["points"], plain["output_series"]) == (SERIES, SERIES * COLUMNS, SERIES * 10)
    # Raw samples of one and a half intervals; how many that are follows from the last five minutes of a young server.
    assert plain["samples_per_hour"] == plain["touched_per_hour"]
    assert 120 * SERIES * 45 * 3 / 300 <= plain["samples_per_hour"] <= 120 * SERIES * 45 / 3
    assert (rate["series"], rate["points"], rate["output_series"]) == (1, 864, 5 + 2)
    assert rate["samples_per_hour"] == 120
    assert rate["touched_per_hour"] >= SERIES * 3 * 120 / 5  # a minute of the raw samples of all series
    assert rate["start_touched"] == rate["touched_per_hour"] / 120 * 864
    assert (added["series"], added["output_series"]) == (SERIES, SERIES * 8)
    assert (added["samples_per_hour"], added["touched_per_hour"]) == (SERIES * 120, 2 * SERIES * 120)
    total = plan.document["total"]
    assert total["points"] == 2 * SERIES * COLUMNS + 864
    assert total["memory_bytes"] == sum(query["memory_bytes"] for query in plan.document["queries"])


def test_the_table_is_what_the_json_says(crowd: Crowd, tmp_path: Path) -> None:
    plan = Plan(tmp_path, crowd.url, {"plain": "expr: load"})
    assert re.split(r" {2,}", plan.lines[1])[:6] == ["tenant", "query", "every", "series", "points", "memory"]
    plain, row = plan.query("plain"), plan.row("plain")
    assert row[:5] == ["-", "plain", "30s", str(SERIES), f"{SERIES * COLUMNS:,}"]
    assert row[5] == f"{plain['memory_bytes'] / 2**20:,.1f} MiB"
    assert row[6:9] == [f"{plain[name]:,}" for name in ("samples_per_hour", "touched_per_hour", "output_series")]
    assert row[9] == "0.0"
    assert float(row[10]) == pytest.approx(plain["exporter_cpu_s_per_cycle"], abs=0.001)
    assert len(row) == 13
    total = re.split(r" {2,}", next(line for line in plan.lines if line.startswith("total")))
    assert total[1:] == [*row[3:10], *row[11:]]
    told = "\n".join(plan.lines)
    assert re.search(r"^at the start: 172,800 points of windows from [\d,]+ samples, about", told, re.M)
    assert re.search(r"^to scrape or receive the results: about [\d.]+ CPU s an hour in the servers$", told, re.M)


@pytest.mark.parametrize(
    ("limits", "told"),
    [("max_series: 100", "300 series, max_series is 100; 200 would not be watched"),
     ("max_points: 115300", "300 series, max_points 115,300 is room for 200 series of 576 points; "
      "100 would not be watched")],
)  # fmt: skip
def test_over_a_limit_it_refuses_and_counts_what_would_be_left(
    crowd: Crowd, tmp_path: Path, limits: str, told: str
) -> None:
    plan = Plan(tmp_path, crowd.url, {"fine": "expr: load", "many": f"expr: load, limits: {{{limits}}}"})
    assert (plan.status, plan.errors) == (1, "")
    assert plan.row("many")[-1] == "OVER LIMIT"
    assert f"many: error: over the limit: {told}" in plan.lines
    assert plan.query("fine")["over"] == ""
    many = plan.query("many")
    assert many["series"] == many["most_series"] < SERIES == many["series"] + many["shed"]
    assert many["points"] == many["series"] * COLUMNS
    assert not plan.document["ok"]


def test_near_a_limit_it_warns(crowd: Crowd, tmp_path: Path) -> None:
    plan = Plan(tmp_path, crowd.url, {"near": "expr: load, limits: {max_series: 310}"})
    assert plan.status == 0
    assert "near: 300 series are near the limit: max_series is 310" in plan.lines


def test_a_query_that_fails_is_named_and_the_others_are_planned(crowd: Crowd, tmp_path: Path) -> None:
    plan = Plan(tmp_path, crowd.url, {"bad": "expr: nonsense(load)", "good": "expr: load", "none": "expr: loads"})
    assert plan.status == 1
    assert plan.row("bad")[-1] == "FAILED"
    assert 'unknown function with name "nonsense"' in plan.query("bad")["error"]
    assert plan.query("good")["series"] == SERIES
    none = plan.query("none")
    assert (none["series"], none["memory_bytes"], none["exporter_cpu_s_per_hour"]) == (0, 0, 0)
    assert none["warnings"] == ["no series now"]


def test_nothing_but_queries_without_series_is_no_failure(crowd: Crowd, tmp_path: Path) -> None:
    plan = Plan(tmp_path, crowd.url, {"none": "expr: loads"})
    assert (plan.status, plan.errors) == (0, "")
    assert plan.document["total"]["points"] == 0


def test_a_server_that_refuses_to_look_behind_still_gives_a_plan(crowd: Crowd, tmp_path: Path) -> None:
    refusal = http(422, '{"status":"error","errorType":"execution","error":"no"}')
    with Relay(crowd.url, trouble="count_over_time", way=lambda _, connection: connection.sendall(refusal)) as relay:
        plan = Plan(tmp_path, relay.url, {"plain": "expr: load", "rate": "expr: 'rate(load[1m])'"})
    assert plan.status == 0, plan.lines
    assert plan.query("plain")["samples_per_hour"] == SERIES * 120  # one each, as nothing better is known


def test_a_query_timeout_is_told_to_the_server_and_kept(crowd: Crowd, tmp_path: Path) -> None:
    with Relay(crowd.url, trouble="load") as relay:
        plan = Plan(
            tmp_path, relay.url, {"slow": "expr: load, limits: {query_timeout: 200ms}", "quick": "expr: vector(1)"}
        )
        asked = [request.form for request in relay.requests]
    assert plan.status == 1
    assert "slow: error: " in "\n".join(plan.lines)
    assert plan.query("quick")["error"] == ""
    timeouts = {form["query"]: form["timeout"] for form in asked if "timeout" in form}
    assert timeouts["count(vector(1))"] == "30.000"
    assert {text for query, text in timeouts.items() if "load" in query} == {"0.200"}


def test_an_unwritable_json_file_fails(crowd: Crowd, tmp_path: Path) -> None:
    plan = Plan(tmp_path, crowd.url, {"plain": "expr: load"}, json_file=tmp_path / "no" / "plan.json")
    assert plan.status == 1
    assert plan.lines[-1] == f"error: can't write {plan.file}: no such file or directory"


def test_a_receiver_that_takes_nothing_out_of_order_is_told(
    crowd: Crowd, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The window can be seen where the receiver is a Prometheus; another one says nothing."""
    with running_crowd(tmp_path_factory.mktemp("ordered"), 2, storage=OUT_OF_ORDER) as ordered:
        start = (
            f"{START}remote_write:\n  - {{url: '{crowd.url}/api/v1/write?token=hunter2', name: plain}}\n"
            f"  - {{url: '{ordered.url}/api/v1/write', name: ordered}}\n"
            "  - {url: 'http://127.0.0.1:9/api/v1/push', name: push}\n"
            "  - {url: 'http://127.0.0.1:9/api/v1/write', name: gone}\n"
        )
        plan = Plan(tmp_path, crowd.url, {"plain": "expr: load"}, start=start)
    assert plan.status == 0
    (told,) = [line for line in plan.lines if line.startswith("warning: remote_write")]
    assert told.startswith("warning: remote_write plain: the receiver takes no samples out of order")
    assert plan.document["warnings"] == [told.removeprefix("warning: ")]
    # 10 families of 300 series to four targets, every 30 s or every scrape that was seen
    assert 0 < plan.query("plain")["written_per_s"] <= 4 * SERIES * 10 / 30
    assert "hunter2" not in "\n".join(plan.lines)
