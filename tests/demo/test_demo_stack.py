"""Starting, waiting for and ending programs."""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from exporter.demo.stack import Server, Stack, answers, find_binaries, free_ports
from exporter.demo.stop import Stop, Stopped
from exporter.errors import DemoError

SLEEPER = [sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('awake', flush=True); time.sleep(600)",
]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path, Stop()) as running:
        yield running


def awake(server: Server) -> bool:
    return b"awake" in server.log.read_bytes()


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def executable(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_missing_programs_are_all_named_with_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError) as caught:
        find_binaries()
    text = str(caught.value)
    assert "prometheus and promtool and alertmanager" in text
    assert "apt-get install prometheus prometheus-alertmanager" in text
    assert "https://prometheus.io/download/" in text


def test_a_named_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="/nowhere/prometheus"):
        find_binaries(prometheus="/nowhere/prometheus")


@pytest.mark.parametrize("name", ["alertmanager", "prometheus-alertmanager"])
def test_alertmanager_is_found_under_both_of_its_names(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = {one: str(executable(tmp_path / one)) for one in ("prometheus", "promtool", name)}
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_binaries()
    assert (found.prometheus, found.promtool, found.alertmanager) == tuple(made.values())


def test_promtool_beside_the_named_prometheus_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path, beside = tmp_path / "path", tmp_path / "beside"
    for folder in (on_path, beside):
        folder.mkdir()
        executable(folder / "promtool")
        executable(folder / "prometheus")
    executable(on_path / "alertmanager")
    monkeypatch.setenv("PATH", str(on_path))
    assert find_binaries().promtool == str(on_path / "promtool")
    assert find_binaries(prometheus=str(beside / "prometheus")).promtool == str(beside / "promtool")


def test_free_ports_are_distinct_and_can_be_bound() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))


def test_leaving_the_block_ends_every_program(tmp_path: Path) -> None:
    with Stack(tmp_path, Stop()) as stack:
        servers = [stack.start(f"sleeper{i}", SLEEPER) for i in range(3)]
        for server in servers:
            stack.wait_for(server, lambda: awake(server), 30, "word")  # noqa: B023 - called at once
    assert not any(alive(server.process.pid) for server in servers)
    assert {server.process.returncode for server in servers} == {-15}


def test_a_program_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("exporter.demo.stack.END_S", 0.3)
    with Stack(tmp_path, Stop()) as stack:
        server = stack.start("stubborn", STUBBORN)
        stack.wait_for(server, lambda: awake(server), 30, "word")
    assert not alive(server.process.pid)
    assert server.process.returncode == -9


def test_programs_end_when_the_block_fails(tmp_path: Path) -> None:
    started: list[Server] = []

    def fail() -> None:
        with Stack(tmp_path, Stop()) as stack:
            started.append(stack.start("sleeper", SLEEPER))
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert not alive(started[0].process.pid)


def test_a_program_has_its_own_session_so_that_ctrl_c_reaches_the_demo_alone(stack: Stack) -> None:
    server = stack.start("sleeper", SLEEPER)
    assert os.getsid(server.process.pid) == server.process.pid
    assert os.getsid(server.process.pid) != os.getsid(0)


def test_nothing_starts_after_the_end_was_asked_for(stack: Stack) -> None:
    stack.stop.ask()
    with pytest.raises(Stopped):
        stack.start("sleeper", SLEEPER)
    assert stack.servers == []


def test_a_program_that_ends_by_itself_is_told_with_the_end_of_its_log(stack: Stack) -> None:
    server = stack.start("prometheus", [sys.executable, "-c", "print('bad flag --x'); raise SystemExit(3)"])
    with pytest.raises(DemoError) as caught:
        stack.wait_for(server, lambda: False, 30, "answer")
    assert str(caught.value) == ("prometheus ended by itself (exit status 3). The end of its log:\n  | bad flag --x")
    with pytest.raises(DemoError):
        stack.check()


def test_a_program_killed_from_outside_is_told_by_the_signal(stack: Stack) -> None:
    server = stack.start("sleeper", SLEEPER)
    server.process.kill()
    server.process.wait()
    with pytest.raises(DemoError, match="by signal SIGKILL"):
        stack.check()


def test_a_program_that_never_answers_is_told_with_its_log(stack: Stack) -> None:
    server = stack.start("prometheus", SLEEPER)
    stack.wait_for(server, lambda: awake(server), 30, "word")
    with pytest.raises(DemoError, match=r"prometheus: no answer after 0 s\. The end of its log:\n  \| awake"):
        stack.wait_for(server, lambda: False, 0, "answer")


def test_waiting_ends_when_asked(stack: Stack) -> None:
    server = stack.start("sleeper", SLEEPER)
    threading.Timer(0.2, stack.stop.ask).start()
    with pytest.raises(Stopped):
        stack.wait_for(server, lambda: False, 60, "answer")


def test_only_the_end_of_a_long_log_is_shown(stack: Stack) -> None:
    server = stack.start("talker", [sys.executable, "-c", "for i in range(1000): print('line', i, 'x' * 1000)"])
    server.process.wait()
    lines = server.tail().splitlines()
    assert len(lines) == 12
    assert lines[-1].startswith("  | line 999 xxx")
    assert max(map(len, lines)) < 420


def test_a_program_that_can_not_be_started_is_told(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"/not-there can't be started: No such file or directory"):
        stack.start("it", [str(tmp_path / "not-there")])


def test_run_waits_for_the_end(stack: Stack, tmp_path: Path) -> None:
    stack.run("touch", [sys.executable, "-c", f"open({str(tmp_path / 'made')!r}, 'w')"])
    assert (tmp_path / "made").exists()
    assert stack.servers == []


def test_run_tells_the_output_of_a_failure(stack: Stack) -> None:
    with pytest.raises(DemoError, match=r"promtool failed \(exit status 1\):\n  \| no such block"):
        stack.run("promtool", [sys.executable, "-c", "raise SystemExit('no such block')"])


def test_run_ends_the_program_when_asked_to_stop(tmp_path: Path) -> None:
    stop = Stop()
    started: list[Server] = []

    def ask_when_it_runs() -> None:
        while not stack.servers:
            time.sleep(0.01)
        started.append(stack.servers[0])
        stop.ask()

    with Stack(tmp_path, stop) as stack:
        asker = threading.Thread(target=ask_when_it_runs)
        asker.start()
        with pytest.raises(Stopped):
            stack.run("sleeper", SLEEPER)
        asker.join()
    assert not alive(started[0].process.pid)


def test_the_extra_environment_reaches_the_program(stack: Stack) -> None:
    server = stack.start("env", [sys.executable, "-c", "import os; print(os.environ['DEMO_X'])"], {"DEMO_X": "42"})
    server.process.wait()
    assert server.log.read_text() == "42\n"


def test_answers_is_false_where_nobody_listens() -> None:
    with requests.Session() as session:
        assert not answers(session, f"http://127.0.0.1:{free_ports(1)[0]}/")
