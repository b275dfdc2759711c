"""The servers of the demo: finding the programs, starting them, waiting until they answer, ending them by id."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import requests

from exporter.demo.stop import Stop
from exporter.errors import DemoError

END_S = 8.0  # what a server gets for a clean end before it is killed
LOG_LINES = 12
FIRST_PORT, FIRST_GIVEN_PORT = 15_000, 32_768  # above those that servers are known by; below those that Linux gives out
HOW_TO_GET = """\
  Debian, Ubuntu:  apt-get install prometheus prometheus-alertmanager
  elsewhere:       https://prometheus.io/download/ (prometheus and alertmanager; promtool comes with prometheus)
Put them on PATH, or name them with --prometheus and --alertmanager."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Paths of the programs the demo starts."""

    prometheus: str
    promtool: str
    alertmanager: str


def find_binaries(prometheus: str | None = None, alertmanager: str | None = None) -> Binaries:
    """Look for the programs: as named, else on PATH; promtool also beside prometheus.

    Raises DemoError that says what is missing and how to get it.
    """
    server = _which(prometheus or "prometheus")
    beside = Path(server).with_name("promtool") if server else Path("promtool")
    found = {
        prometheus or "prometheus": server,
        "promtool": str(beside) if os.access(beside, os.X_OK) else _which("promtool"),
        alertmanager or "alertmanager": _which(
            alertmanager or "prometheus-alertmanager", alertmanager or "alertmanager"
        ),
    }
    missing = [name for name, path in found.items() if not path]
    if missing:
        raise DemoError(f"the demo needs {' and '.join(missing)}, not found here. To get it:\n{HOW_TO_GET}")
    return Binaries(*(str(path) for path in found.values()))


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that nobody listens on, below those that the system gives out by itself: nobody is given
    one of them by chance before a server of the demo listens there."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            one = held.enter_context(socket.socket())
            port = random.randrange(FIRST_PORT, FIRST_GIVEN_PORT)
            with suppress(OSError):  # taken: another one
                one.bind(("127.0.0.1", port))
                found.append(port)
    return found


@dataclass(frozen=True, slots=True)
class Server:
    """A program the demo started: its name in messages, its process, its log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        """The last lines of the log, indented."""
        lines = self.log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
        return "\n".join(f"  | {line[:400]}" for line in lines) or "  | (it wrote nothing)"

    def check(self) -> None:
        """Raise DemoError with the end of the log when the program is not running any more."""
        status = self.process.poll()
        if status is not None:
            raise DemoError(f"{self.name} ended by itself ({_status_text(status)}). The end of its log:\n{self.tail()}")

    def signal_group(self, number: int) -> None:
        """Send a signal to the program and whatever it started. A program that is gone is left alone."""
        # A Ctrl-C that strikes between fork and setsid ends the child while it still belongs to our own group: for a
        # moment it is not yet seen to be gone, and has no group.
        with suppress(ProcessLookupError):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)


class Stack:
    """The running programs. Leaving the ``with`` block ends them all, last started first, and waits for it.

    Each is the leader of its own session: a Ctrl-C on the terminal reaches the demo alone, which then ends them in
    its own order.
    """

    def __init__(self, logs: Path, stop: Stop) -> None:
        self.logs = logs
        self.stop = stop
        self.servers: list[Server] = []

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(self, name: str, command: Sequence[str], extra_env: Mapping[str, str] | None = None) -> Server:
        """Start a program with its output in a log file. DemoError when it can't be started at all."""
        self.stop.check()
        log = self.logs / f"{name}.log"
        with log.open("wb") as out:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(extra_env or {})},
                    start_new_session=True,
                )
            except OSError as error:
                raise DemoError(f"{command[0]} can't be started: {error.strerror}") from error
        self.servers.append(Server(name, process, log))
        return self.servers[-1]

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run a program to its end. DemoError with the end of its output unless it succeeds."""
        self.finish(self.start(name, command))

    def finish(self, server: Server) -> None:
        """Wait for the end of a program that ends by itself. DemoError with its output unless it succeeds."""
        while server.process.poll() is None:
            self.stop.wait(0.05)
        self.stop.check()  # the same Ctrl-C may have ended the program, which is then no failure
        self.servers.remove(server)
        if server.process.returncode:
            raise DemoError(f"{server.name} failed ({_status_text(server.process.returncode)}):\n{server.tail()}")

    def wait_for(self, server: Server, ready: Callable[[], bool], deadline_s: float, what: str) -> None:
        """Wait until ``ready``; DemoError with the end of the log when the program ends or the deadline passes."""
        deadline = time.monotonic() + deadline_s
        while not ready():
            self.stop.check()
            server.check()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"{server.name}: no {what} after {deadline_s:.0f} s. The end of its log:\n{server.tail()}"
                )
            self.stop.wait(0.1)

    def check(self) -> None:
        """Raise Stopped when the end was asked for, DemoError when one of the programs has ended by itself."""
        self.stop.check()
        for server in self.servers:
            server.check()

    def end(self) -> None:
        """End all programs: asked at first, killed when they take too long. Returns when none is left."""
        for server in reversed(self.servers):
            server.signal_group(signal.SIGTERM)
        deadline = time.monotonic() + END_S
        for server in reversed(self.servers):
            _await_end(server, deadline)
        self.servers.clear()


def answers(session: requests.Session, url: str) -> bool:
    """Whether a GET of the URL gives 200."""
    try:
        return session.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _await_end(server: Server, deadline: float) -> None:
    try:
        server.process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        server.signal_group(signal.SIGKILL)
        server.process.wait()


def _status_text(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"by signal {signal.Signals(-status).name}"


def _which(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)
