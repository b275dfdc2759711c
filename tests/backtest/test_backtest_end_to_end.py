"""A backtest of a real Prometheus: what it says, and what another Prometheus says of the scores that it writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests
from support.backtests import config_text, openmetrics
from support.servers import make_blocks, prometheus_in

from exporter.backtest.span import shown_time
from exporter.config import parse
from exporter.rules.alerts import series_groups

DAY = 86_400
STEP = 300
END = 1_740_000_000  # long ago, as of any clock
SERIES = 8
JUDGED = 2 * DAY
HOSTILE = 'a"b\\c <b>\u202e'
ALERT = "    alert: {min_series: 3, min_share: 0.3, lookback: 15m}\n"


def labels_of(i: int) -> dict[str, str]:
    return {"host": f"h{i}", "odd": HOSTILE} if i % 2 else {"host": f"h{i}"}


def label_text(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())


def load(i: int) -> list[tuple[int, float]]:
    """A rhythm with noise every minute; outages of all series at once, and of some alone; NaN and gaps."""
    rng = np.random.default_rng(i)
    times = np.arange(END - 5 * DAY, END + 1, 60)
    values = 50 + 10 * np.sin(2 * np.pi * times / DAY + i) + rng.normal(0, 1, len(times))
    age_s = END - times
    values[(age_s < 30 * 3600) & (age_s > 29 * 3600)] = 0
    values[(age_s < (4 + 2 * i) * 3600) & (age_s > (4 + 2 * i) * 3600 - 700)] += 40
    values[rng.random(len(times)) < 0.001] = np.nan
    kept = ~((age_s < 16 * 3600) & (age_s > 15 * 3600) & (i == 3))
    return list(zip(times[kept].tolist(), np.round(values[kept], 4).tolist(), strict=True))


def history() -> str:
    text = openmetrics({label_text(labels_of(i)): load(i) for i in range(SERIES)})
    firing = [END - 30 * 3600 + 60 * k for k in range(70)] + [END - 40 * 3600 + 60 * k for k in range(5)]
    alerts = [f'ALERTS{{alertname="Slow",alertstate="firing",host="h1"}} 1 {t}' for t in sorted(firing)]
    return text.replace("# EOF\n", "\n".join(["# TYPE ALERTS gauge", *alerts, "# EOF", ""])).replace(" nan ", " NaN ")


@contextmanager
def prometheus(folder: Path, text: str) -> Iterator[str]:
    """A server with these samples."""
    folder.mkdir()
    make_blocks(folder, text)
    settings = {"storage": {"tsdb": {"out_of_order_time_window": "30d"}}}
    with prometheus_in(
        folder, settings, "--storage.tsdb.retention.time=20y", "--web.enable-remote-write-receiver"
    ) as url:
        yield url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("backtest") / "source", history()) as url:
        yield url


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    usual = ("--config.file=c.yml", f"--from={END - JUDGED}", f"--to={END}")
    return subprocess.run(
        [sys.executable, "-m", "exporter.cli", "backtest", *usual, *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def ask(url: str, expr: str, step_s: int) -> dict[tuple[tuple[str, str], ...], dict[int, float]]:
    """The answer over the judged time: by labels, time -> value."""
    form = {"query": expr, "start": END - JUDGED, "end": END, "step": step_s}
    answer = requests.post(f"{url}/api/v1/query_range", data=form, timeout=60).json()
    assert answer["status"] == "success", answer
    return {tuple(sorted(one["metric"].items())): {int(t): float(v) for t, v in one["values"]}
            for one in answer["data"]["result"]}  # fmt: skip


def as_later(expr: str) -> str:
    """An expression with its ranges a millisecond shorter: up to Prometheus 2 a range holds its left edge."""
    return re.sub(r"\[(\d+)m\]", lambda found: f"[{60_000 * int(found[1]) - 1}ms]", expr)


def expressions() -> dict[str, str]:
    """The expressions of the shipped rules for this config."""
    config = parse(config_text("http://p:1", ALERT), "c.yml")
    return {
        rule.alert: as_later(rule.expr)
        for group in series_groups(config) for rule in group.rules if hasattr(rule, "alert")
    }  # fmt: skip


def intervals(times: dict[int, float], step_s: int) -> set[tuple[int, int | None]]:
    """From when to when an expression is true; None where it still is."""
    moments = sorted(times)
    starts = [t for t in moments if t - step_s not in times]
    ends = [t + step_s for t in moments if t + step_s not in times]
    return {(start, None if end > END else end) for start, end in zip(starts, ends, strict=True)}


@pytest.mark.parametrize("interval", ["5m", "1m"])
def test_another_prometheus_raises_the_same_alerts_on_what_is_written(server, tmp_path, interval):
    text = config_text(server, ALERT).replace("interval: 5m", f"interval: {interval}")
    (tmp_path / "c.yml").write_text(text)
    done = command(tmp_path, "--json=r.json", "--write=openmetrics:scores.om")
    assert done.returncode == 0, done.stderr
    (query,) = json.loads((tmp_path / "r.json").read_text())["queries"]
    assert query["series"] == SERIES
    assert query["samples"] > 0.98 * SERIES * JUDGED / {"5m": 300, "1m": 60}[interval]
    with prometheus(tmp_path / "other", (tmp_path / "scores.om").read_text()) as other:
        step_s = {"5m": 300, "1m": 60}[interval]
        expr = expressions()
        found = ask(other, expr["AnomalyDetected"], step_s)
        wanted = {
            ("host", dict(key)["host"], each) for key, times in found.items() for each in intervals(times, step_s)
        }
        have = {("host", one["series"]["host"], (one["start"], one["end"])) for one in query["episodes"]}
        assert have == wanted
        assert len(have) >= SERIES
        (storm,) = ask(other, expr["AnomalyShareHigh"], step_s).values()
        assert {(one["start"], one["end"]) for one in query["storm_list"]} == intervals(storm, step_s)
        scores = ask(other, 'anomaly_score{model="robust_band",host="h1"}', step_s)
        ((key, of_one),) = scores.items()
        assert dict(key) == labels_of(1) | {"__name__": "anomaly_score", "query": "load", "model": "robust_band"}
        worst = max((one for one in query["episodes"] if one["series"]["host"] == "h1"), key=lambda one: one["score"])
        assert of_one[worst["peak"]] == worst["score"]
        for family in ("value", "expected", "lower", "upper"):
            ((_, band),) = ask(other, f'anomaly_{family}{{model="robust_band",host="h1"}}', step_s).items()
            assert band[worst["peak"]] == worst[family]


def test_alerts_of_the_server_are_incidents(server, tmp_path):
    (tmp_path / "c.yml").write_text(config_text(server, ALERT))
    done = command(tmp_path, "--incidents-from-alerts", 'ALERTS{alertname="Slow"}')
    assert done.returncode == 0, done.stderr
    assert "incidents  1 of 2 hit, delay 5m (median), 5m (worst)" in done.stdout
    assert f"missed {shown_time(END - 40 * 3600)} to " in done.stdout
    none = command(tmp_path, "--incidents-from-alerts", 'ALERTS{alertname="Fast"}')
    assert none.returncode == 1
    assert 'no alert of ALERTS{alertname="Fast"} fired between --from and --to' in none.stderr


def test_results_go_by_remote_write(server, tmp_path):
    """In the order of time, so that the very server that is read takes them."""
    target = f"remote_write:\n  - {{url: '{server}/api/v1/write'}}\n"
    (tmp_path / "c.yml").write_text(config_text(server, ALERT, target))
    done = command(tmp_path, "--write=remote", "--write=openmetrics:scores.om")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "scores.om").read_text().splitlines()
    written = [line for line in lines if line.startswith('anomaly_score{host="h0",') and 'model="shesd"' in line]
    assert f"delivered {sum(not line.startswith('#') for line in lines):,} samples by remote write" in done.stdout
    ((_, have),) = ask(server, 'anomaly_score{host="h0",model="shesd"}', STEP).items()
    assert have == {int(line.rpartition(" ")[2]): float(line.split(" ")[-2]) for line in written}


def test_a_receiver_that_refuses_is_told(server, tmp_path):
    target = f"remote_write:\n  - {{url: '{server}/api/v1/nothing'}}\n"
    (tmp_path / "c.yml").write_text(config_text(server, "", target))
    done = command(tmp_path, "--write=remote")
    assert done.returncode == 1
    assert "were refused or not delivered: does it take samples that are this old?" in done.stdout
    assert "delivered 0 samples" in done.stdout


def test_an_answer_without_a_series(server, tmp_path):
    (tmp_path / "c.yml").write_text(config_text(server).replace("expr: load", "expr: nothing_of_that_name"))
    done = command(tmp_path, "--html=r.html", "--budget=1/week")
    assert done.returncode == 0, done.stderr
    assert "load: 0 series, 0 samples judged" in done.stdout
    assert "note: no samples at all: is the expr right" in done.stdout
    assert "no samples at all" in (tmp_path / "r.html").read_text()


def test_a_server_that_keeps_less_than_is_asked_for(server, tmp_path):
    (tmp_path / "c.yml").write_text(config_text(server))
    done = command(tmp_path, f"--from={END - 20 * DAY}")
    assert done.returncode == 0, done.stderr
    oldest = shown_time(END - 5 * DAY)
    assert f"note: the oldest sample is of {oldest}, 15d after --from: the server keeps no more" in done.stdout


def test_a_refused_expression_fails_its_query_and_not_the_others(server, tmp_path):
    text = config_text(server, rest="  - {name: bad, expr: no_such_function(load)}\n")
    (tmp_path / "c.yml").write_text(text)
    done = command(tmp_path, "--json=r.json")
    assert done.returncode == 1
    made = json.loads((tmp_path / "r.json").read_text())
    assert [one["query"] for one in made["queries"]] == ["load"]
    assert "bad: FAILED: " in done.stdout
