"""The flags of the web server, as an operator uses them: `check` and `run` with a web config, good and bad."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from support.process import command, config_text
from support.servers import free_port, wait_until
from support.webserver import PASSWORD, USER, USERS, Papers, written

from exporter.cli import _parser, main

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text(config_text(NOWHERE, {"q": "expr: m"}))
    return path


def protected(folder: Path) -> Path:
    return written(folder, {"tls_server_config": Papers(folder).server(), "basic_auth_users": USERS})


# --- check --------------------------------------------------------------------------------------------------------


def test_check_says_what_the_web_config_does(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web = protected(config.parent)
    assert main(["check", f"--config.file={config}", f"--web.config.file={web}", "--syntax-only"]) == 0
    out = capsys.readouterr().out
    assert f"{web}: web config is valid: HTTPS, 1 users" in out
    assert f"{config}: 1 queries, no problems" in out
    open_ = written(config.parent, {}, "open.yml")
    assert main(["check", f"--config.file={config}", f"--web.config.file={open_}", "--syntax-only"]) == 0
    assert "plain HTTP, no users, so anybody may read" in capsys.readouterr().out


def test_check_tells_the_problems_of_both_files(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web = written(config.parent, {"basic_auth_users": {"a": "b"}, "tls_server_config": {"cert_file": "a.crt"}})
    config.write_text("source: {}\n")
    assert main(["check", f"--config.file={config}", f"--web.config.file={web}", "--syntax-only"]) == 1
    err = capsys.readouterr().err
    for words in ("basic_auth_users.a: not a bcrypt hash", "tls_server_config.key_file: missing", "source.url: missing",
                  "queries: missing"):  # fmt: skip
        assert words in err


def test_check_opens_the_files_that_the_web_config_names(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web = protected(config.parent)
    (config.parent / "server.key").unlink()
    assert main(["check", f"--config.file={config}", f"--web.config.file={web}", "--syntax-only"]) == 1
    assert "tls_server_config.key_file: can't read" in capsys.readouterr().err


# --- run ----------------------------------------------------------------------------------------------------------


def test_a_bad_web_config_keeps_it_from_starting(config: Path) -> None:
    web = written(config.parent, {"tls_server_config": {"cert_file": "none.crt", "key_file": "none.key"}})
    words = command(config, f"--web.config.file={web}")
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "tls_server_config.cert_file: can't read" in done.stderr
    assert "tls_server_config.key_file: can't read" in done.stderr
    assert "2 problem(s); nothing was started" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_protected_exporter(config: Path) -> None:
    web, port = protected(config.parent), free_port()
    flags = (f"--web.config.file={web}", "--web.max-connections=20", "--web.read-timeout=5s")
    log = config.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(command(config, *flags, address=f"127.0.0.1:{port}"), stdout=out, stderr=out)
    try:
        wait_until(lambda: "msg=started" in log.read_text() or process.poll() is not None, "it has started")
        url, trust = f"https://localhost:{port}", str(config.parent / "ca.pem")
        assert requests.get(f"{url}/-/healthy", verify=trust, timeout=30).status_code == 401
        with requests.Session() as session:
            session.auth, session.verify, session.trust_env = (USER, PASSWORD), trust, False
            assert session.get(f"{url}/-/healthy", timeout=30).status_code == 200
            assert "anomaly_exporter_web_max_connections 20.0" in session.get(f"{url}/metrics", timeout=30).text
            answer = session.post(f"{url}/-/reload", timeout=30)
            assert (answer.status_code, answer.text) == (
                403, "Reloading over HTTP is off; start with --web.enable-lifecycle, or send SIGHUP.\n",
            )  # fmt: skip
        assert PASSWORD not in log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


# --- the flags ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [
    "--web.max-connections=0", "--web.max-connections=-1", "--web.max-connections=many", "--web.max-connections=1e3",
    "--web.max-connections=100001", "--web.max-connections=\u0661", "--web.max-connections=", "--web.read-timeout=0",
    "--web.read-timeout=5", "--web.read-timeout=2h", "--web.read-timeout=-5s", "--web.read-timeout=500ms",
    "--web.config", "--web.enable-explain=no",
])  # fmt: skip
def test_bad_values_of_flags(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        _parser().parse_args(["run", flag])
    assert caught.value.code == 2
    assert flag.partition("=")[0] in capsys.readouterr().err


def test_defaults_of_flags() -> None:
    given = _parser().parse_args(["run"])
    assert (given.web_config_file, given.max_connections, given.read_timeout_s, given.explain) == ("", 512, 120.0, True)
    given = _parser().parse_args(["run", "--no-web.enable-explain", "--web.read-timeout=1m30s"])
    assert (given.explain, given.read_timeout_s) == (False, 90.0)


def test_each_file_is_checked_by_itself(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "exporter.cli", "check", "--syntax-only", f"--config.file={tmp_path}/none.yml",
             f"--web.config.file={written(tmp_path, {})}"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "web config is valid" in done.stdout
    assert "can't read the config" in done.stderr
