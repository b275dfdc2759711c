"""`anomaly-exporter check` against a real Prometheus, as a user types it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.loopback import Relay, http
from support.process import config_text
from support.servers import wait_until
from support.shop import GOODS, RunningPrometheus, running_prometheus

from exporter.capacity.estimate import Output, Seen, estimate
from exporter.config import Query
from exporter.unit import Unit

COLUMNS = 576  # 2 days of 5 minutes
RAW = "looks like a counter read raw: it only ever grows; use rate({0}[5m]) or increase()"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    with running_prometheus(tmp_path_factory.mktemp("shop")) as server:
        wait_until(lambda: server.ask("visits") and server.ask("requests_total"), "the counters are scraped")
        yield server


def check(folder: Path, source: str, queries: Mapping[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    file = folder / "config.yml"
    file.write_text(config_text(source, queries, **more))
    words = [sys.executable, "-m", "exporter.cli", "check", f"--config.file={file}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def test_it_says_how_many_series_and_points_and_how_much_memory(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    done = check(tmp_path, prometheus.url, {"sales": "expr: sales", "total": "expr: sum by (job) (sales)"})
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tmp_path}/config.yml: config is valid, 2 queries"
    assert re.fullmatch(rf"source {prometheus.url}: version \d+\.\d+\.\d+\S*", lines[1])
    assert lines[2].split() == ["tenant", "query", "series", "points", "memory"]
    sales, total, everything = (re.split(r" {2,}", line) for line in lines[3:6])
    assert sales[:4] == ["-", "sales", "6", f"{6 * COLUMNS:,}"]
    assert total[:4] == ["-", "total", "1", f"{COLUMNS}"]
    assert everything[:3] == ["total", "7", f"{7 * COLUMNS:,}"]
    for row in (sales, total, everything):
        assert re.fullmatch(r"[\d.,]+ MiB", row[-1])
    assert re.match(r"the process itself takes about \d+ MiB", lines[6])
    assert len(lines) == 7


def test_the_memory_said_is_about_what_a_window_takes() -> None:
    """The window is most of it at the default 14 days, and it is counted to the byte."""
    query = Query("m", "m")
    cost = estimate(query, Seen(1000), Output())
    unit = Unit("", query, None, None)  # type: ignore[arg-type]  # never run, only measured
    unit._window.grow(1000)
    assert cost.points == 1000 * 4032
    assert unit._window.window_bytes < cost.memory_bytes < 2 * unit._window.window_bytes


def test_series_beyond_a_limit_are_told_and_are_no_failure(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    queries = {"sales": "expr: sales, limits: {max_series: 4}", "rest": "expr: sales, limits: {max_series: 7}"}
    done = check(tmp_path, prometheus.url, queries)
    assert done.returncode == 0
    assert re.search(r"^- +sales +6 +2,304 +[\d.]+ MiB +2 shed$", done.stdout, re.M)
    told = "sales: error: over the limit: 6 series, max_series is 4; 2 would not be watched"
    assert told in done.stdout.splitlines()
    assert "rest: 6 series are near the limit: max_series is 7" in done.stdout.splitlines()


def test_counters_read_raw_get_a_warning_that_names_rate(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    queries = {
        "by_name": "expr: requests_total",
        "by_metadata": "expr: visits",
        "deep": "expr: 'sum by (job) (requests_total) + 1'",
        "right": "expr: 'rate(requests_total[5m])'",
        "gauge": "expr: sales",
    }
    done = check(tmp_path, prometheus.url, queries)
    assert done.returncode == 0  # a warning, no failure: some do want it
    warnings = dict(line.split(": ", 1) for line in done.stdout.splitlines() if "use rate(" in line)
    assert warnings == {
        "by_name": "requests_total " + RAW.format("requests_total"),
        "by_metadata": "visits is a counter by its metadata; use rate(visits[5m]) or increase()",
        "deep": "requests_total " + RAW.format("requests_total"),
    }


def test_an_expression_without_series_is_a_warning(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    done = check(tmp_path, prometheus.url, {"typo": "expr: saless", "sales": "expr: sales"})
    assert done.returncode == 0
    assert "typo: no series now\n" in done.stdout
    assert "sales: " not in done.stdout.replace("config.yml: ", "")
    row = next(line for line in done.stdout.splitlines() if "typo" in line)
    assert row.split()[2:4] == ["0", "0"]


def test_a_window_that_the_server_can_not_fill_is_told(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    """Targets are scraped since a moment ago; `sales` was there for days before."""
    wait_until(lambda: prometheus.ask("sum(rate(visits[1m])) + 1"), "there are two scrapes")
    done = check(tmp_path, prometheus.url, {"old": "expr: sales", "young": "expr: 'sum(rate(visits[1m])) + 1'"})
    assert done.returncode == 0
    told = [line for line in done.stdout.splitlines() if "gave only" in line]
    assert told == [
        "young: the server gave only the last few minutes of the 2d asked: it has nothing older (its retention, or "
        "its age); the window is shortened"
    ]


def test_an_expression_the_server_refuses_fails_the_check_and_others_are_still_counted(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    done = check(
        tmp_path, prometheus.url,
        {"unknown": "expr: nonsense(sales)", "many": "expr: sales * on (job) sales", "sales": "expr: sales"},
    )  # fmt: skip
    assert done.returncode == 1
    rows = {line.split()[1]: line.split() for line in done.stdout.splitlines() if line.startswith("-")}
    assert rows["unknown"][-1] == rows["many"][-1] == "FAILED"
    assert rows["sales"][2] == str(len(GOODS))
    (unknown,) = re.findall(r"^unknown: error: (.*)$", done.stdout, re.MULTILINE)
    assert 'unknown function with name "nonsense"' in unknown
    assert unknown.endswith("Check the expr of the query.")
    (many,) = re.findall(r"^many: error: (.*)$", done.stdout, re.MULTILINE)
    assert "many-to-many matching not allowed" in many
    assert "Traceback" not in done.stderr


def test_a_wrong_prefix_is_told_with_what_to_do(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    done = check(tmp_path, f"{prometheus.url}/prometheus", {"sales": "expr: sales"})
    assert done.returncode == 1
    assert "HTTP 404" in done.stdout
    assert "Is the API under a prefix such as /prometheus? It belongs into source.url." in done.stdout


def test_each_tenant_is_asked_for_itself(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    """Prometheus knows no tenants: what counts is that each is named and asked in its own name."""
    with Relay(prometheus.url) as relay:
        start = "global: {interval: 2s, step: 5m, window: 2d}\ntenants: [{id: red}, {id: blue}]\n"
        done = check(tmp_path, relay.url, {"sales": "expr: sales", "typo": "expr: saless"}, start=start)
        asked = {request.headers.get("x-scope-orgid") for request in relay.requests}
    assert done.returncode == 0
    assert asked == {"red", "blue"}
    rows = [
        line.split()[:3] for line in done.stdout.splitlines() if line.startswith(("red", "blue")) and ": " not in line
    ]
    assert rows == [["red", "sales", "6"], ["red", "typo", "0"], ["blue", "sales", "6"], ["blue", "typo", "0"]]
    for tenant in ("red", "blue"):
        assert f"source {relay.url} as tenant {tenant}: version" in done.stdout
        assert (
            f"{tenant}/typo: no series now (an unknown tenant also answers with nothing: check the spelling)"
            in done.stdout
        )


def test_a_server_without_build_information_is_fine(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    with Relay(prometheus.url, refused={"/api/v1/status/buildinfo": http(404, "404 page not found\n")}) as relay:
        done = check(tmp_path, relay.url, {"sales": "expr: sales"})
    assert done.returncode == 0
    assert f"source {relay.url}: answers (it tells no version)\n" in done.stdout


def test_a_server_without_metadata_is_fine(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    """VictoriaMetrics and Cortex have none, or do not let everyone have it: the warning is lost, nothing else."""
    with Relay(prometheus.url, refused={"/api/v1/metadata": http(404, "404 page not found\n")}) as relay:
        done = check(tmp_path, relay.url, {"sales": "expr: sales"})
    assert done.returncode == 0, done.stdout
    assert re.search(r"sales +6 ", done.stdout)


def test_a_secret_file_that_can_not_be_read_is_named(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-token"
    done = check(
        tmp_path, prometheus.url, {"sales": "expr: sales"}, more=f"  authorization: {{credentials_file: {missing}}}\n"
    )
    assert done.returncode == 1
    assert str(missing) in done.stdout
    assert "Traceback" not in done.stderr


def test_the_slow_classic_form_is_warned_of_when_it_can_not_keep_up(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    queries = {"slow": "expr: sales, models: [{name: shesd, seasonal: stl}]", "quick": "expr: sales"}
    count = (
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"100000"]}]}}'
    )
    few = check(tmp_path, prometheus.url, queries)
    with Relay(prometheus.url, refused={"/api/v1/query": http(200, count)}) as relay:
        many = check(tmp_path, relay.url, queries)
    assert (few.returncode, many.returncode) == (0, 0)
    assert "will not keep up" not in few.stdout
    assert re.findall(r"^(\w+): seasonal: stl fits about .*; 100000 will not keep up$", many.stdout, re.M) == ["slow"]
