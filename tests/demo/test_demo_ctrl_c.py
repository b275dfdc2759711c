"""Ctrl-C and SIGTERM in each phase of the real command's run: exit status 130, no process, no port, no file."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from leftovers import open_ports, processes_naming

from exporter.demo import DemoOptions, configs, run

PLAY = """
import sys
from pathlib import Path
from exporter.demo import DemoOptions, run
sys.exit(run(DemoOptions(scratch_dir=Path(sys.argv[1]))))
"""

PHASES = [
    ("two weeks of", signal.SIGINT),
    ("importing", signal.SIGINT),
    ("starting Alertmanager", signal.SIGTERM),
    ("starting the exporter", signal.SIGINT),
    ("waiting until Prometheus", signal.SIGINT),
    ("now: vanished", signal.SIGTERM),
    ("fires:", signal.SIGINT),
]


@contextmanager
def playing(scratch: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo as the leader of a process group of its own, as a shell starts it."""
    command = [sys.executable, "-u", "-c", PLAY, str(scratch)]
    environ = {**os.environ, **configs.python_path()}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], marker: str) -> str:
    assert process.stdout
    heard = ""
    for line in process.stdout:
        heard += line
        if marker in line:
            return heard
    raise AssertionError(f"never said {marker!r}:\n{heard}")


def used_ports(scratch: Path) -> set[int]:
    """All ports that the demo has written into its config of Prometheus so far."""
    files = list(scratch.glob("*/prometheus.yml"))
    if not files:
        return set()
    config = yaml.safe_load(files[0].read_text())
    groups = [job["static_configs"] for job in (*config["scrape_configs"], *config["alerting"]["alertmanagers"])]
    return {int(target.split(":")[1]) for group in groups for one in group for target in one["targets"]}


@pytest.mark.parametrize(("marker", "number"), PHASES, ids=[marker for marker, _ in PHASES])
def test_a_signal_leaves_nothing(marker: str, number: signal.Signals, tmp_path: Path) -> None:
    with playing(tmp_path) as process:
        read_until(process, marker)
        ports = used_ports(tmp_path)
        os.killpg(process.pid, number)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "nothing is left running" in rest
    assert "Traceback" not in rest
    assert processes_naming(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert open_ports(ports) == set()


def test_an_impatient_second_ctrl_c_leaves_nothing_either(tmp_path: Path) -> None:
    with playing(tmp_path) as process:
        read_until(process, "starting the exporter")
        for _ in range(5):
            os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert processes_naming(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_without_prometheus_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(DemoOptions(scratch_dir=tmp_path)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("anomaly-exporter demo: the demo needs prometheus and promtool and alertmanager")
    assert "apt-get install prometheus prometheus-alertmanager" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_directory_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(DemoOptions(scratch_dir=tmp_path / "nowhere")) == 1
    assert "nowhere" in capsys.readouterr().err


def test_a_prometheus_that_can_not_start_is_told_with_its_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    for name in configs.RULE_FILES:
        (rules / name).write_text("groups: [{name: broken, rules: [{record: x, expr: 'sum('}]}]\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert run(DemoOptions(scratch_dir=scratch, rules_dir=rules)) == 1
    said = capsys.readouterr().err
    assert "prometheus ended by itself (exit status" in said
    assert "parse error" in said
    assert list(scratch.iterdir()) == []
    assert processes_naming(scratch) == []
