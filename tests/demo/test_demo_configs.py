"""What the servers are told, judged by the servers' own tools."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import exporter
from exporter.demo import configs
from exporter.demo.configs import Ports
from exporter.demo.stack import find_binaries
from exporter.demo.world import QUERIES
from exporter.errors import DemoError

PORTS = Ports(prometheus=19090, alertmanager=19093, exporter=19899)
URL = "http://127.0.0.1:19090"


def test_prometheus_accepts_its_config(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(configs.prometheus_config(PORTS, 18080, configs.rules_dir())))
    subprocess.run([find_binaries().promtool, "check", "config", str(path)], check=True, capture_output=True)


def test_the_results_keep_the_labels_of_their_series() -> None:
    jobs = {job["job_name"]: job for job in configs.prometheus_config(PORTS, 18080, Path())["scrape_configs"]}
    assert jobs["anomaly-exporter"]["honor_labels"] is True
    assert jobs["demo"]["static_configs"][0]["labels"] == {"instance": "demo-app"}


def test_alertmanager_accepts_its_config(tmp_path: Path) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump(configs.alertmanager_config()))
    amtool = Path(find_binaries().alertmanager).with_name("amtool")
    subprocess.run([str(amtool), "check-config", str(path)], check=True, capture_output=True)


def test_the_exporter_accepts_its_config() -> None:
    loading = pytest.importorskip("exporter.config")
    config = loading.parse(yaml.safe_dump(configs.exporter_config(URL)), "exporter.yml", {})
    assert (config.interval_s, config.step_s, config.window_s) == (15, 300, 14 * 86_400)
    assert config.source.url == URL
    assert [(query.name, query.expr) for query in config.queries] == [(query.name, query.expr) for query in QUERIES]
    assert {tuple(model.name for model in query.models) for query in config.queries} == {("robust_band", "shesd")}
    assert {query.data_range for query in config.queries} == {(0.0, float("inf"))}


def test_the_expressions_are_promql(tmp_path: Path) -> None:
    rules = [{"record": f"x:{query.name}", "expr": query.expr} for query in QUERIES]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    subprocess.run([find_binaries().promtool, "check", "rules", str(path)], check=True, capture_output=True)


@pytest.mark.parametrize("command", [configs.prometheus_command, configs.alertmanager_command])
def test_servers_listen_on_loopback_only_and_write_into_the_directory(command: object, tmp_path: Path) -> None:
    arguments = command(find_binaries(), tmp_path, PORTS)  # type: ignore[operator]
    listening = [argument for argument in arguments if "listen-address=" in argument]
    assert all(argument.endswith("listen-address=") or "127.0.0.1:" in argument for argument in listening)
    assert any(f"storage.path={tmp_path}" in a or f"tsdb.path={tmp_path}" in a for a in arguments)


def test_the_exporter_is_started_as_a_user_would(tmp_path: Path) -> None:
    arguments = configs.exporter_command(tmp_path, PORTS)
    assert arguments[:4] == [sys.executable, "-m", "exporter.cli", "run"]
    assert arguments[4:] == ["--config.file", f"{tmp_path}/exporter.yml", "--web.listen-address", "127.0.0.1:19899"]


def test_the_started_python_finds_this_package_from_anywhere(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", **configs.python_path()}
    command = [sys.executable, "-c", "import exporter; print(exporter.__file__)"]
    found = subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True).stdout
    assert found.strip() == exporter.__file__


def test_the_path_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert configs.python_path()["PYTHONPATH"].endswith(":/elsewhere")


def test_the_named_rules_are_taken(tmp_path: Path) -> None:
    for name in configs.RULE_FILES:
        (tmp_path / name).write_text("groups: []\n")
    assert configs.rules_dir(tmp_path) == tmp_path


def test_missing_rules_are_told_with_the_places_looked_at(tmp_path: Path) -> None:
    (tmp_path / configs.RULE_FILES[0]).write_text("groups: []\n")
    with pytest.raises(DemoError, match=r"no rules \(anomaly-recording.yml, anomaly-alerts.yml\) in " + str(tmp_path)):
        configs.rules_dir(tmp_path)
