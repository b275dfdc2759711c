"""The command: flags that are wrong, files as input, what is said about gaps, and what is left after a stop."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.backtests import config_text
from support.loopback import ServerAt, stay_silent

from exporter.backtest.asking import Options
from exporter.backtest.command import backtest
from exporter.backtest.faults import BacktestError
from exporter.errors import AnomalyExporterError, ConfigError

DAY = 86_400
STEP = 300
END = 1_760_000_100 // STEP * STEP


def samples(days: float, *, seed: int = 1, step_s: int = STEP) -> list[tuple[int, float]]:
    """A rhythm with noise until END, and an outage of an hour five hours before it."""
    rng = np.random.default_rng(seed)
    times = np.arange(END - int(days * DAY), END + 1, step_s)
    values = 50 + 10 * np.sin(2 * np.pi * times / DAY) + rng.normal(0, 0.5, len(times))
    values[(times > END - 5 * 3600) & (times <= END - 4 * 3600)] = 0
    return list(zip(times.tolist(), values.tolist(), strict=True))


def csv_file(path: Path, days: float = 5, series: int = 3, **more: int) -> str:
    rows = [f"{t},{v!r},h{i}" for i in range(series) for t, v in samples(days, seed=i, **more)]
    path.write_text("\n".join(["timestamp,value,host", *rows, ""]))
    return str(path)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    (tmp_path / "c.yml").write_text(config_text("http://127.0.0.1:1"))
    return Options(str(tmp_path / "c.yml"))


def done(options: Options) -> tuple[int, str]:
    said: list[str] = []
    return backtest(options, said.append), "\n".join(said)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"queries": ("cpu",)}, r"--query cpu: no such query in .*c.yml; there are load"),
        ({"tenant": "a"}, r"--tenant a: no such tenant in .*c.yml; there are none"),
        ({"start": "1d", "end": "2d"}, r"--from \(.*\) is not before --to \(.*\): swap them"),
        ({"start": "1d", "end": "1d"}, "is not before --to"),
        ({"end": "2100-01-01T00:00:00Z"}, r"--to \(2100-01-01 00:00Z\) is in the future"),
        ({"start": "2y", "end": "1d"}, "a year at a time is the most"),
        ({"start": "yesterday"}, "--from: 'yesterday' is not a moment: a time such as"),
        ({"end": "2026-13-01T00:00:00Z"}, "--to: '2026-13-01T00:00:00Z' is no date that exists"),
        ({"start": "2026-01-01T00:01:00Z", "end": "2026-01-01T00:04:00Z"}, "no step of 5m of query load ends between"),
        ({"budget": "few"}, "--budget: 'few' is no budget: such as 2/week"),
        ({"write": ("csv:x",)}, "--write csv:x: is not openmetrics:FILE or remote"),
        ({"write": ("openmetrics:",)}, "--write openmetrics: needs a file"),
        ({"write": ("remote",)}, "--write remote: the config has no remote_write"),
        ({"write": ("openmetrics:/nowhere/x",)}, "/nowhere/x: there is no directory /nowhere"),
        ({"json_file": "/usr"}, "/usr: is a directory"),
        ({"html_file": "a.html", "json_file": "a.html"}, "two flags name the same file"),
        ({"incidents": "a.csv", "incidents_from_alerts": "ALERTS"}, "one of them is enough"),
        ({"incidents": "none.csv"}, "none.csv: can't be read"),
        ({"input": "none.csv"}, "none.csv: can't be read"),
        ({"input": "x.csv", "incidents_from_alerts": "ALERTS"}, "--input reads a file: use --incidents"),
        ({"incidents_from_alerts": "rate(x[5m])"}, "is no selector such as ALERTS"),
    ],
)  # fmt: skip
def test_wrong_flags_are_told_before_anything_is_done(options, more, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BacktestError, match=words):
        backtest(replace(options, **more), print)
    assert [path.name for path in tmp_path.iterdir()] == ["c.yml"]


def test_a_target_that_is_the_config_is_refused(options):
    with pytest.raises(BacktestError, match="two flags name the same file"):
        backtest(replace(options, html_file=options.config_file), print)
    assert Path(options.config_file).read_text() == config_text("http://127.0.0.1:1")


def test_a_bad_config_is_told_as_everywhere(options):
    Path(options.config_file).write_text("queries: []\n")
    with pytest.raises(ConfigError):
        backtest(options, print)


def test_a_file_is_about_one_query(options, tmp_path):
    Path(options.config_file).write_text(config_text("http://p:1", rest="  - {name: cpu, expr: cpu}\n"))
    file = csv_file(tmp_path / "a.csv")
    with pytest.raises(BacktestError, match="the config has 2: choose one with --query"):
        backtest(replace(options, input=file), print)
    code, said = done(replace(options, input=file, queries=("cpu",)))
    assert code == 0
    assert "cpu: 3 series" in said


def test_a_file_from_end_to_end(options, tmp_path):
    file = csv_file(tmp_path / "a.csv")
    incidents = tmp_path / "i.csv"
    outage, other = f"{END - 5 * 3600},{END - 4 * 3600}", f"{END - 9 * 3600},{END - 8 * 3600}"
    incidents.write_text(f'start,end,labels\n{outage},\n{other},host="h1"\n{other},host="h7"\n')
    code, said = done(replace(options, input=file, start=str(END - 2 * DAY), incidents=str(incidents),
                              budget="1/week", json_file=str(tmp_path / "r.json")))  # fmt: skip
    assert code == 0, said
    made = json.loads((tmp_path / "r.json").read_text())
    (query,) = made["queries"]
    fallen = [one for one in query["episodes"] if one["start"] == END - 5 * 3600 + STEP]
    assert len(fallen) == 3
    assert {(one["direction"], one["value"]) for one in fallen} == {("below", 0.0)}
    assert all(one["end"] - one["start"] >= 3600 / 2 for one in fallen)
    found = query["incidents"]
    assert (found["incidents"], found["hits"], found["worst_delay_s"]) == (3, 1, 300.0)
    assert "1 of 3 hit, delay 5m (median), 5m (worst)" in said
    assert "1 incidents are about no series of any query (line 4)" in said
    assert "of the window of 2d" not in said
    assert query["samples"] == 3 * 577
    assert made["budget"]["asked"] == "1/week"


@pytest.mark.parametrize(
    ("days", "start_days", "words"),
    [
        (3, 2, r"note: of the window of 2d before --from only 1d are there: the first days are warming up"),
        (1, 2, r"note: the oldest sample is of .*Z, 1d after --from: the server keeps no more"),
    ],
)
def test_missing_history_is_told(options, tmp_path, days, start_days, words):
    file = csv_file(tmp_path / "a.csv", days)
    _, said = done(replace(options, input=file, start=str(END - start_days * DAY)))
    assert re.search(words, said), said


def test_an_old_end_is_told(options, tmp_path):
    _, said = done(replace(options, input=csv_file(tmp_path / "a.csv"), start=str(END - DAY), end=str(END + 7200)))
    assert "note: the newest sample is of 2025-10-09 08:55Z, 2h before --to" in said


def test_a_file_without_flags_is_judged_from_its_first_sample_on(options, tmp_path):
    """Gaps, NaN and infinities are no samples, a series too young has no verdict, and nothing fails."""
    rows = [f"{t},{v!r},a" for t, v in samples(4)]
    rows[-300:-200] = [row.replace(row.split(",")[1], "NaN") for row in rows[-300:-200]]
    rows += [f"{END - STEP},5,young", f"{END},+Inf,young"]
    (tmp_path / "a.csv").write_text("\n".join(["timestamp,value,host", *rows, ""]))
    code, said = done(replace(options, input=str(tmp_path / "a.csv"), json_file=str(tmp_path / "r.json")))
    assert code == 0
    assert "101 samples of the file are empty, NaN or infinite: they are gaps" in said
    assert "1 of 2 series had no verdict" in said
    (query,) = json.loads((tmp_path / "r.json").read_text())["queries"]
    assert 24 < 1153 - 100 - query["samples"] < 40  # all but those before the first verdict


def test_coarse_judges_less_and_says_so(options, tmp_path):
    Path(options.config_file).write_text(config_text("http://p:1").replace("interval: 5m", "interval: 1m"))
    file = csv_file(tmp_path / "a.csv", series=1, step_s=60)
    counts = []
    for coarse in (False, True):
        _, said = done(
            replace(options, input=file, start=str(END - DAY), coarse=coarse, json_file=str(tmp_path / "r.json"))
        )
        counts.append(json.loads((tmp_path / "r.json").read_text())["queries"][0]["samples"])
        assert ("--coarse: each step of 5m is judged once" in said) is coarse
    assert counts == [1440, 289]


def test_a_server_that_is_not_there_fails_its_queries_and_no_more(options, tmp_path):
    code, said = done(replace(options, start="1d", json_file=str(tmp_path / "r.json")))
    assert code == 1
    assert "load: FAILED: " in said
    assert json.loads((tmp_path / "r.json").read_text())["failed"][0]["query"] == "load"


def test_a_disk_that_fails_loses_nothing(options, tmp_path):
    """What was there before a report stays there until the new one is whole."""
    (tmp_path / "r.json").write_text("old")
    (tmp_path / "r.html").mkdir()
    with pytest.raises(AnomalyExporterError):
        done(replace(options, input=csv_file(tmp_path / "a.csv"), html_file=str(tmp_path / "r.html"),
                     json_file=str(tmp_path / "r.json")))  # fmt: skip
    assert (tmp_path / "r.json").read_text() == "old"


def started(*words: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "exporter.cli", "backtest", *words], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_as_in_a_terminal,
    )  # fmt: skip


def _as_in_a_terminal() -> None:
    """A suite that runs in the background ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_while_a_server_is_silent(tmp_path):
    server = ServerAt(stay_silent)
    try:
        (tmp_path / "c.yml").write_text(config_text(server.url))
        process = started(
            "--config.file=c.yml", "--from=1d", "--write=openmetrics:out.om", "--html=r.html", folder=tmp_path
        )
        line = process.stderr.readline()
        assert line == "load: reading\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        server.close()
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert [path.name for path in tmp_path.iterdir()] == ["c.yml"]


def test_ctrl_c_amid_the_work(tmp_path):
    """Many series at short steps would take long; what was begun is gone, and the threads end soon."""
    (tmp_path / "c.yml").write_text(config_text("http://p:1"))
    times = np.arange(END - 12 * DAY, END, STEP)
    rng = np.random.default_rng(1)
    with (tmp_path / "a.csv").open("w") as file:
        file.write("timestamp,value,host\n")
        for i in range(200):
            file.writelines(f"{t},{v:.3f},h{i}\n" for t, v in zip(times, rng.normal(0, 1, len(times)), strict=True))
    process = started(
        "--config.file=c.yml", "--input=a.csv", "--json=r.json", "--write=openmetrics:o.om", folder=tmp_path
    )
    assert process.stderr.readline() == "load: reading\n"
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "c.yml"]


def test_the_flags_of_the_command_line(tmp_path):
    (tmp_path / "c.yml").write_text(config_text("http://p:1"))
    csv_file(tmp_path / "a.csv", 3, 1)
    process = started("--config.file=c.yml", "--input=a.csv", "--query=load", f"--from={END - DAY}", f"--to={END}",
                      "--budget=1/day", "--json=r.json", "--html=r.html", "--write=openmetrics:o.om", "--coarse",
                      folder=tmp_path)  # fmt: skip
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.index("load: 1 series") > 0
    assert math.isclose((tmp_path / "r.html").stat().st_size, 5e6, rel_tol=0.3)
    assert (tmp_path / "o.om").read_text().endswith("# EOF\n")


def test_wrong_words_are_a_usage_error(tmp_path):
    process = started("--from", folder=tmp_path)
    assert process.communicate(timeout=60)[1].count("usage:") == 1
    assert process.returncode == 2
