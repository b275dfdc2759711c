"""The example configs and manifests: each is accepted by the tool it is for, and they agree with each other."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
OURS = ["anomaly-exporter.yml", "anomaly-exporter-mimir.yml"]
PORT = 9899


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    assert shutil.which(str(command[0])), f"{command[0]} is missing: install prometheus, prometheus-alertmanager"
    env = {**os.environ, **environment}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=env)


def manifests() -> dict[str, dict[str, Any]]:
    return {item["kind"]: item for item in yaml.safe_load_all((DEPLOY / "kubernetes.yml").read_text())}


def container() -> dict[str, Any]:
    (found,) = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def compose() -> dict[str, Any]:
    services = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]
    assert isinstance(services, dict)
    return services


def unit() -> configparser.ConfigParser:
    class Repeating(dict[str, Any]):
        """A key that occurs twice keeps both lines."""

        def __setitem__(self, key: str, value: Any) -> None:
            super().__setitem__(key, [*self[key], *value] if key in self and isinstance(value, list) else value)

    parser = configparser.ConfigParser(interpolation=None, strict=False, dict_type=Repeating)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "anomaly-exporter.service")
    return parser


def dockerfile() -> list[str]:
    """Its instructions, one per item."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_prometheus_accepts_its_config_with_the_shipped_rules(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "prometheus.yml", tmp_path)
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    done = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout


def test_the_scrape_job_is_the_one_the_rules_expect() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    (job,) = [job for job in jobs if job["job_name"] == "anomaly-exporter"]
    assert job["honor_labels"] is True
    assert job["static_configs"] == [{"targets": [f"anomaly-exporter:{PORT}"]}]
    assert 'up{job="anomaly-exporter"}' in (ROOT / "rules" / "anomaly-alerts.yml").read_text()


def test_alertmanager_accepts_its_config() -> None:
    done = run("amtool", "check-config", DEPLOY / "alertmanager.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanager_mutes_only_alerts_that_exist() -> None:
    known = set(re.findall(r"alert: (\w+)", (ROOT / "rules" / "anomaly-alerts.yml").read_text()))
    named = set(re.findall(r'alertname="(\w+)"', (DEPLOY / "alertmanager.yml").read_text()))
    assert named
    assert named <= known


@pytest.mark.parametrize("name", OURS)
def test_our_own_example_is_a_valid_config(name: str) -> None:
    from exporter.config import load

    config = load(str(DEPLOY / name), {"MIMIR_PASSWORD": "x"})
    assert len(config.queries) == 3
    assert bool(config.tenants) == ("mimir" in name)


def test_the_config_in_the_kubernetes_manifest_is_valid() -> None:
    from exporter.config import parse

    text = manifests()["ConfigMap"]["data"]["anomaly-exporter.yml"]
    assert parse(text, "kubernetes.yml", {}).queries[0].name == "container_cpu"


@pytest.mark.parametrize("name", OURS)
def test_the_expressions_of_our_examples_are_promql(name: str, tmp_path: Path) -> None:
    queries = yaml.safe_load((DEPLOY / name).read_text())["queries"]
    rules = [{"record": query["name"], "expr": query["expr"]} for query in queries]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "ours", "rules": rules}]}))
    done = run("promtool", "check", "rules", tmp_path / "rules.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_systemd_unit_is_well_formed(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd here")
    text = (DEPLOY / "anomaly-exporter.service").read_text()
    here = text.replace("/opt/anomaly-exporter/bin/anomaly-exporter", "/bin/true")
    (tmp_path / "anomaly-exporter.service").write_text(here)
    done = run("systemd-analyze", "verify", tmp_path / "anomaly-exporter.service")
    assert "anomaly-exporter.service" not in done.stderr, done.stderr


def test_the_systemd_unit_reloads_and_stops_as_the_program_does() -> None:
    service = unit()["Service"]
    assert service["ExecStart"].endswith("run --config.file=/etc/anomaly-exporter/anomaly-exporter.yml")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (service["DynamicUser"], service["ProtectSystem"]) == ("yes", "strict")


def test_the_systemd_unit_lets_numba_make_machine_code() -> None:
    service = unit()["Service"]
    assert "MemoryDenyWriteExecute" not in service
    assert service["CacheDirectory"] == "anomaly-exporter"
    assert "XDG_CACHE_HOME=%C" in service["Environment"]


def test_compose_mounts_files_that_exist() -> None:
    mounts = [mount for service in compose().values() for mount in service["volumes"]]
    sources = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]
    assert len(sources) >= 5
    assert all((DEPLOY / source).exists() for source in sources)


def test_compose_runs_the_exporter_read_only_and_without_privileges() -> None:
    service = compose()["anomaly-exporter"]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 -- inside the container
    assert service["cap_drop"] == ["ALL"]
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]


def test_compose_services_have_the_names_that_the_configs_use() -> None:
    texts = "".join((DEPLOY / name).read_text() for name in ("prometheus.yml", "anomaly-exporter.yml"))
    sources = (ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text()
    for host in re.findall(r"(?:http://|\[\")([a-z-]+):\d+", texts + sources):
        assert host in compose() or host == "localhost"


def test_kubernetes_has_the_parts_that_belong_together() -> None:
    found = manifests()
    assert set(found) == {"ServiceAccount", "ConfigMap", "Deployment", "Service"}
    pod = found["Deployment"]["spec"]["template"]
    assert found["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert found["Deployment"]["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == {m["name"] for m in container()["volumeMounts"]}


def test_kubernetes_pod_is_not_root_and_can_write_only_to_tmp() -> None:
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [mount["mountPath"] for mount in container()["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["/tmp"]  # noqa: S108


def test_kubernetes_probes_ask_the_right_endpoints() -> None:
    paths = {probe: container()[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/-/healthy", "liveness": "/-/healthy", "readiness": "/-/ready"}
    assert container()["ports"] == [{"name": "http", "containerPort": PORT}]
    assert set(container()["resources"]["requests"]) == {"cpu", "memory"}


def test_kubernetes_mounts_the_config_where_the_command_reads_it() -> None:
    (flag,) = [argument for argument in container()["args"] if argument.startswith("--config.file=")]
    folder = Path(flag.removeprefix("--config.file=")).parent
    (mount,) = [mount for mount in container()["volumeMounts"] if mount["name"] == "config"]
    assert Path(mount["mountPath"]) == folder
    assert Path(flag).name in manifests()["ConfigMap"]["data"]


def test_the_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    (user,) = [line.split()[1] for line in dockerfile() if line.startswith("USER")]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert manifests()["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == int(
        user.split(":")[0]
    )


def test_the_image_listens_and_is_checked_on_our_port() -> None:
    assert f"EXPOSE {PORT}" in dockerfile()
    (check,) = [line for line in dockerfile() if line.startswith("HEALTHCHECK")]
    assert f"http://127.0.0.1:{PORT}/-/healthy" in check
    command = json.loads(check[check.index("CMD") + 3 :])
    compile(command[2], "healthcheck", "exec")


def test_the_image_copies_only_what_exists_and_is_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [line.split()[1:-1] for line in dockerfile() if line.startswith("COPY") and "--from" not in line]
    sources = {word for words in copies for word in words if not word.startswith("--")}
    assert sources <= allowed
    assert all((ROOT / source).exists() for source in sources)


def test_both_stages_compile_and_run_kernels_for_the_same_processor() -> None:
    settings = [line for line in dockerfile() if line.startswith("ENV")]
    assert len(settings) == 2
    assert all("NUMBA_CPU_NAME=generic" in line and "NUMBA_CACHE_DIR=/opt/kernels" in line for line in settings)
    assert "RUN /opt/venv/bin/anomaly-exporter compile" in dockerfile()


@pytest.fixture
def fake_program(tmp_path: Path) -> Path:
    """A folder with a program called anomaly-exporter that prints its cache folder and arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "anomaly-exporter"
    program.write_text('#!/bin/sh\necho "$NUMBA_CACHE_DIR $*"\n')
    program.chmod(0o755)
    return folder


def enter(fake_program: Path, baked: Path, tmp: Path) -> subprocess.CompletedProcess[str]:
    path = f"{fake_program}:{os.environ['PATH']}"
    script = DEPLOY / "entrypoint.sh"
    return run("sh", script, "run", "--x=a b", PATH=path, NUMBA_CACHE_DIR=str(baked), TMPDIR=str(tmp))


def test_the_entrypoint_gives_numba_a_writable_copy_of_the_kernels(fake_program: Path, tmp_path: Path) -> None:
    baked, tmp = tmp_path / "baked", tmp_path / "tmp"
    (baked / "sub").mkdir(parents=True)
    tmp.mkdir()
    (baked / "sub" / "kernel.nbi").write_bytes(b"code")
    for _restart in range(2):
        done = enter(fake_program, baked, tmp)
        assert done.stdout == f"{tmp}/kernels run --x=a b\n", done.stderr
    assert [path.name for path in tmp.iterdir()] == ["kernels"]
    assert (tmp / "kernels" / "sub" / "kernel.nbi").read_bytes() == b"code"


def test_the_entrypoint_says_what_is_missing_without_a_writable_folder(fake_program: Path, tmp_path: Path) -> None:
    (tmp_path / "baked").mkdir()
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()
    done = enter(fake_program, tmp_path / "baked", not_a_folder)
    assert done.returncode == 1
    assert f"can't write to {not_a_folder}; mount a tmpfs or an emptyDir there" in done.stderr
    assert not done.stdout


def test_the_license_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_healthcheck_command_fails_where_nothing_listens() -> None:
    (check,) = [line for line in dockerfile() if line.startswith("HEALTHCHECK")]
    code = json.loads(check[check.index("CMD") + 3 :])[2].replace(str(PORT), "9")
    done = run(sys.executable, "-c", code)
    assert done.returncode != 0
