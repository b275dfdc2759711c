"""A different secret in every place that takes one; everything goes wrong; none of them is seen anywhere."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from support.loopback import LoopbackServer, Request, http
from support.planting import Plan, Yaml, secret_keys, variants
from support.process import Exporter, command
from support.servers import free_port, wait_until
from support.webserver import Papers, hashed

from exporter.config import mask, parse
from exporter.config.web import load_web
from exporter.config.web_keys import WEB_BLOCKS
from exporter.errors import ConfigError

GOOD = "good"
STEP_S = 300
QUERY: Yaml = {"name": "q", "expr": "m"}
GLOBAL: Yaml = {"interval": "10s", "step": "5m", "window": "2d"}
PATHS = ["/", "/metrics", "/config", "/runbooks", "/-/healthy", "/-/ready", "/nowhere", "/metrics?shard=9", "/explain"]


# --- by the reference of keys -----------------------------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path)


def whole(**parts: Any) -> Yaml:
    """A config with these parts (JSON is YAML)."""
    return {"source": {"url": "http://p"}, "queries": [QUERY]} | parts


def test_every_secret_key_is_planted_and_masked(plan: Plan) -> None:
    configs = [whole(source={"url": "http://p"} | variant) for variant in variants(plan, "source")]
    configs += [whole(remote_write=[{"url": "http://p"} | variant]) for variant in variants(plan, "remote_write")]
    configs += [whole(tenants=[{"id": "a"} | variant]) for variant in variants(plan, "tenants")]
    assert secret_keys() <= plan.covered, "a secret key that no config of this test has: see support/planting.py"
    assert len(plan.by_place) > 75
    for config in configs:
        read = parse(json.dumps(config), str(plan.folder / "f.yml"), plan.environ)
        assert plan.seen_in(mask(read) + repr(read) + str(read)) == []


def test_a_secret_in_the_wrong_place_is_not_told(plan: Plan) -> None:
    """Each value is put under each key of its block that it does not belong to, and spoiled in other ways."""
    for block in ("source", "remote_write", "tenants"):
        for variant in list(variants(plan, block)):
            for spoiled in _spoiled(variant):
                part = {"url": "http://p", "id": "a"} | spoiled
                config = whole(**{block: part if block == "source" else [part]})
                with pytest.raises(ConfigError) as caught:
                    parse(json.dumps(config), str(plan.folder / "f.yml"), {})
                assert plan.seen_in(str(caught.value) + repr(caught.value.problems)) == []


def _spoiled(variant: Yaml) -> Iterator[Yaml]:
    ((key, value),) = list(variant.items())[-1:]
    if isinstance(value, str) and not key.endswith("_file") and key != "url":
        yield {key: {"nested": value}}
        yield {key: [value]}
        yield {key: value + "\n\u0001"}
    if isinstance(value, dict):
        yield {key: [value]}
        yield {key: {**value, "unheard_of": 1}, "url": None}


# --- by a run ---------------------------------------------------------------------------------------------------------


class Hostile:
    """Serves one tenant well, and everybody else badly, in a different way each time; it likes to repeat what it was
    sent: headers and body come back in error messages."""

    def __init__(self) -> None:
        self.seen = 0
        self.server = LoopbackServer(self._respond)
        self.url = self.server.url

    def _respond(self, request: Request, connection: socket.socket) -> None:
        if request.headers.get("x-scope-orgid") == GOOD:
            connection.sendall(http(200, _data(request)))
            return
        self.seen += 1
        # Credentials go to who they are meant for, so the server knows them: it may say them in its errors.
        echo = " ".join(value for name, value in request.headers.items() if name not in ("host", "user-agent"))
        ways = [
            http(401, f"bad credentials {echo}".encode()),
            http(400, json.dumps({"status": "error", "errorType": "bad_data", "error": f"I got {echo}"}).encode()),
            http(500, echo.encode()),
            b"HTTP/1.1 302 Found\r\nLocation: http://localhost:9/elsewhere?echo\r\nContent-Length: 0\r\n\r\n",
            http(200, f'{{"status":"success","data":{echo}'.encode()),
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
            b"nonsense " + echo.encode() + b"\r\n\r\n",
            b"",
        ]
        connection.sendall(ways[self.seen % len(ways)])


def _data(request: Request) -> bytes:
    """One steady series."""
    form = {**request.url_form, **request.form}
    metric = {"__name__": "m", "pod": "a"}
    if request.path.endswith("/query_range"):
        start, end, step = (float(form[name]) for name in ("start", "end", "step"))
        points = [[start + i * step, str(5 + i % 7)] for i in range(int((end - start) / step) + 1)]
        data: Yaml = {"resultType": "matrix", "result": [{"metric": metric, "values": points}]}
    else:
        at = float(form.get("time", time.time()))
        data = {"resultType": "vector", "result": [{"metric": metric, "value": [at, "6"]}]}
    return json.dumps({"status": "success", "data": data}).encode()


class Case:
    """The config with all secrets, its files, and what is to be seen of it."""

    def __init__(self, folder: Path, hostile: str) -> None:
        self.plan = Plan(folder)
        self.config = folder / "config.yml"
        self.web = folder / "web.yml"
        self.shown: dict[str, str] = {}
        self.login = ("ae", self.plan.secret("web password"))
        self.web.write_text(json.dumps(self._web_config()))
        self.config.write_text(json.dumps(self._config(hostile), indent=1))

    def _web_config(self) -> Yaml:
        return {"basic_auth_users": {self.login[0]: hashed(self.login[1])}}

    def _config(self, hostile: str) -> Yaml:
        tenants = [{"id": f"t{n}", "url": hostile} | each for n, each in enumerate(variants(self.plan, "tenants"))]
        tenants += [{"id": f"odd{n}", "url": hostile} | each for n, each in enumerate(self._odd())]
        tenants.append(
            {"id": "tls", "url": hostile.replace("http:", "https:"), "bearer_token": self.plan.secret("tls")}
        )
        targets = [
            {"url": f"{hostile}/w{n}", "name": f"w{n}"} | each
            for n, each in enumerate(variants(self.plan, "remote_write"))
        ]
        source = {
            "url": hostile,
            "timeout": "5s",
            "params": {"access_token": self.plan.secret("source.params")},
            "basic_auth": {"username": "ae", "password": self.plan.secret("source.password")},
        }
        return whole(**{"global": GLOBAL}, source=source, tenants=[{"id": GOOD}, *tenants], remote_write=targets)

    def _odd(self) -> Iterator[Yaml]:
        """Files whose content can't be sent."""
        for form in ("{0}\x01{0}\n", "{0}\nX: {0}\n", "{}\u263a\n"):
            yield {"http_headers": {"X-Planted": {"files": [self.plan.file("odd header", form)]}}}
            yield {"authorization": {"credentials_file": self.plan.file("odd credentials", form)}}
            yield {"basic_auth": {"username": "ae", "password_file": self.plan.file("odd password", form)}}

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | self.plan.environ

    def look(self, what: str, text: str) -> None:
        """Keep what somebody saw."""
        self.shown[what] = self.shown.get(what, "") + text


@contextmanager
def running(case: Case, *flags: str) -> Iterator[Exporter]:
    log = case.config.parent / "run.log"
    port = free_port()
    words = command(case.config, *flags, address=f"127.0.0.1:{port}")
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, env=case.environ)
        try:
            exporter = Exporter.__new__(Exporter)  # the log is JSON here, and the port is known
            exporter.process, exporter._log, exporter.url = process, log, f"http://127.0.0.1:{port}"
            wait_until(lambda: '"msg": "started"' in exporter.log or process.poll() is not None, "it has started")
            assert process.poll() is None, exporter.log
            yield exporter
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(30)


def test_no_secret_is_seen_anywhere(tmp_path: Path) -> None:
    hostile = Hostile()
    try:
        case = Case(tmp_path, hostile.url)
        with running(case, "--log.level=debug", "--log.format=json", "--web.enable-lifecycle",
                     f"--web.config.file={case.web}") as exporter:  # fmt: skip
            _let_it_fail(case, exporter, hostile)
            _read_pages(case, exporter)
            _break_configs(case, exporter)
            exporter.process.send_signal(signal.SIGTERM)
            exporter.process.wait(60)
        case.look("log", exporter.log)
        _run_commands(case)
    finally:
        hostile.server.close()
    leaks = {what: case.plan.seen_in(text) for what, text in case.shown.items()}
    assert {what: places for what, places in leaks.items() if places} == {}
    _assert_much_was_seen(case)


def _let_it_fail(case: Case, exporter: Exporter, hostile: Hostile) -> None:
    """Until every tenant but the good one has failed, and remote write has been refused."""

    def page() -> str:
        return requests.get(f"{exporter.url}/metrics", auth=case.login, timeout=30).text

    failed = re.compile(r'^anomaly_exporter_cycles_total\{outcome="failed",.*tenant="([^"]+)"\} [1-9]', re.MULTILINE)
    tenants = {tenant["id"] for tenant in json.loads(case.config.read_text())["tenants"]} - {GOOD}
    wait_until(lambda: set(failed.findall(page())) == tenants, f"all tenants fail\n{exporter.log[-3000:]}")
    wait_until(lambda: "anomaly_score{" in page(), "the good one is judged")
    wait_until(lambda: any("/w" in request.path for request in hostile.server.requests), "results are written")


def _read_pages(case: Case, exporter: Exporter) -> None:
    for path in PATHS:
        for login in (case.login, None, ("ae", case.plan.secret("a wrong password"))):
            answer = requests.get(exporter.url + path, auth=login, timeout=30)
            case.look(f"page {path}", answer.text + str(answer.headers))
    for tenant, form in ((GOOD, "html"), (GOOD, "json"), ("t0", "html"), ("odd0", "json"), ("t20", "json")):
        asked = {"query": "q", "tenant": tenant, "series": '{pod="a"}', "format": form}
        answer = requests.get(f"{exporter.url}/explain", params=asked, auth=case.login, timeout=60)
        case.look("page /explain", answer.text + str(answer.headers))


def _break_configs(case: Case, exporter: Exporter) -> None:
    good, web = case.config.read_text(), case.web.read_text()
    secret = case.plan.secret("a broken config")
    for broken in (good.replace('"source": {', f'"source": {{"basic_auth": "u:{secret}", ', 1),
                   good.replace('"url"', f'"proxy_url": "u:{secret}@host", "url"', 1),
                   f"source: {{bearer_token: '{secret}\n", f"source: {{basic_auth: {{pasword: {secret}}}}}\n",
                   f"source: {{url: 'http://u:{secret}@p'}}\n"):  # fmt: skip
        case.config.write_text(broken)
        answer = requests.post(f"{exporter.url}/-/reload", auth=case.login, timeout=60)
        assert answer.status_code == 500
        case.look("page /-/reload", answer.text)
    exporter.process.send_signal(signal.SIGHUP)
    wait_until(lambda: exporter.log.count("config not reloaded") >= 1, "the signal is answered")
    for broken in (f"basic_auth_users: {{ae: {secret}}}", f"basic_auth_users: {{{secret}: x}}", f"{secret}: [",
                   f"tls_server_config: {{cert: {secret}, key: {secret}}}", f"basic_auth_users: {secret}"):  # fmt: skip
        case.web.write_text(broken)
        assert requests.get(f"{exporter.url}/-/healthy", auth=case.login, timeout=30).status_code == 200
    assert "web config not reloaded" in exporter.log
    case.config.write_text(good)
    case.web.write_text(web)


def _run_commands(case: Case) -> None:
    samples = case.config.parent / "samples.csv"
    now_s = int(time.time()) // STEP_S * STEP_S
    rows = [f"{now_s - 3 * 86_400 + i * STEP_S},{5 + i % 7}" for i in range(3 * 288)]
    samples.write_text("timestamp,value\n" + "\n".join(rows) + "\n")
    html = case.config.parent / "report.html"
    few = _with_few(case)  # commands ask one tenant after the other, and again where that may help
    for words in (
        ["check", f"--web.config.file={case.web}"], ["plan"], ["rules", "--output=-"],
        ["explain", "--query=q", f"--tenant={GOOD}", '--series={pod="a"}', "--json"],
        ["explain", "--query=q", "--tenant=t0", '--series={pod="a"}'],
        ["backtest", f"--tenant={GOOD}", "--query=q", f"--input={samples}", f"--html={html}", "--from=1d"],
    ):  # fmt: skip
        command_ = [sys.executable, "-m", "exporter.cli", words[0], f"--config.file={few}", *words[1:]]
        done = subprocess.run(command_, capture_output=True, text=True, timeout=300, check=False, env=case.environ)
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        case.look(f"command {words[0]}", done.stdout + done.stderr)
    if html.exists():
        case.look("command backtest", html.read_text())


def _with_few(case: Case) -> Path:
    config = json.loads(case.config.read_text())
    config["tenants"] = [each for each in config["tenants"] if each["id"] in (GOOD, "t0", "odd0")]
    config["remote_write"] = config["remote_write"][:3]
    path = case.config.with_name("few.yml")
    path.write_text(json.dumps(config))
    return path


def _assert_much_was_seen(case: Case) -> None:
    """The search would find something if there were something to find."""
    assert case.plan.seen_in(case.config.read_text())
    assert "<secret>" in case.shown["page /config"]
    assert "anomaly_score{" in case.shown["page /metrics"]
    assert case.shown["log"].count('"level": "warn"') > 20
    assert all(len(text) > 50 for text in case.shown.values()), {what: len(text) for what, text in case.shown.items()}


# --- the web config ---------------------------------------------------------------------------------------------------


def test_secrets_of_the_web_config_are_not_shown(tmp_path: Path) -> None:
    assert {(block, key.name) for block, keys in WEB_BLOCKS.items() for key in keys if key.secret} == {
        ("", "basic_auth_users"), ("tls_server_config", "key"),
    }, "a new secret key: plant it here"  # fmt: skip
    named, known = Papers(tmp_path).server(), hashed("x")
    key = (tmp_path / named["key_file"]).read_text()
    tls = {"cert": (tmp_path / named["cert_file"]).read_text(), "key": key}
    path = tmp_path / "web.yml"
    path.write_text(json.dumps({"tls_server_config": tls, "basic_auth_users": {"ae": known}}))
    config = load_web(str(path), {})
    assert known not in repr(config) + str(config)
    assert key.splitlines()[1] not in repr(config) + str(config)
