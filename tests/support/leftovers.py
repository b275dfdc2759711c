"""What a run of the tests leaves behind: processes, ports, threads, files. A run that leaves something has failed.

Other runs may go on at the same time, on the same machine and in the same checkout. So a run marks its environment,
which every process that it starts inherits, also one whose parent has gone, and has a temporary directory of its own.
Files in the checkout are looked at only where it was clean when the run began. Linux only; elsewhere threads and files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MARK = "ANOMALY_EXPORTER_TEST_RUN"
# For processes and threads that are about to end, on a busy machine.
PATIENCE = "ANOMALY_EXPORTER_TEST_PATIENCE_S"
_PATIENCE_S = float(os.environ.get(PATIENCE, "15"))
_ROOT = Path(__file__).parents[2]
# Python's own helper of multiprocessing and of numba's locks ends with the process that it belongs to.
_HELPERS = (b"multiprocessing.resource_tracker",)
_KEY = pytest.StashKey["Run"]()
_FOUND = pytest.StashKey[list[str]]()


@dataclass
class Run:
    """One run of the tests, from its beginning; ``temporary`` is its temporary directory, made when it is needed."""

    mark: str = field(default_factory=lambda: f"{os.getpid()}-{uuid.uuid4().hex}")
    checkout: frozenset[str] | None = None
    temporary: Path | None = None

    def begin(self) -> None:
        """Mark the environment, and move to a temporary directory of the run's own."""
        os.environ[MARK] = self.mark
        self.checkout = changed_files(_ROOT)
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # what pytest keeps stays where it was
        self.temporary = Path(tempfile.mkdtemp(prefix="anomaly-exporter-tests-"))
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.temporary)

    def leftovers(self) -> list[str]:
        """A line for each thing that is left, also after a while."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while (pids := list(marked_processes(self.mark))) or living_threads():
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.1)
        own_ports = sorted(listening_ports(os.getpid()))
        return [
            *map(_told, pids),
            *(f"port {port}: this process still listens on it" for port in own_ports),
            *(f"thread {thread.name}: still runs, and keeps this process alive" for thread in living_threads()),
            *(f"file {path}: made in the temporary directory, never removed" for path in self._files()),
            *(f"file {name}: made or changed in the checkout" for name in sorted(self._changed())),
        ]

    def end(self) -> None:
        """Remove the temporary directory with what is left in it."""
        if self.temporary is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)

    def _files(self) -> Iterable[Path]:
        return sorted(self.temporary.iterdir()) if self.temporary else ()

    def _changed(self) -> set[str]:
        """In a checkout where somebody is at work nobody can tell whose a changed file is."""
        return set() if self.checkout != frozenset() else set(changed_files(_ROOT) or ())


def changed_files(root: Path) -> frozenset[str] | None:
    """The paths of a checkout that differ from its commit; None where it is none."""
    command = ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=all"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return frozenset(line[3:] for line in done.stdout.splitlines())


def marked_processes(mark: str) -> Iterator[int]:
    """The ids of living processes, other than this one, whose environment has the mark when they began."""
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        marked = int(entry.name) != os.getpid() and wanted in _read(entry / "environ").split(b"\0")
        if marked and not any(helper in _read(entry / "cmdline") for helper in _HELPERS):
            yield int(entry.name)


def listening_ports(pid: int) -> set[int]:
    """The TCP ports on which a process listens, in either family."""
    inodes = {link[8:-1] for link in _links(Path(f"/proc/{pid}/fd")) if link.startswith("socket:[")}
    tables = (_read(Path(f"/proc/{pid}/net/{name}")).decode().splitlines()[1:] for name in ("tcp", "tcp6"))
    lines = [line.split() for table in tables for line in table]
    return {int(line[1].rpartition(":")[2], 16) for line in lines if line[3] == "0A" and line[9] in inodes}


def living_threads() -> list[threading.Thread]:
    """Threads that would keep this process from ending."""
    return [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]


def _told(pid: int) -> str:
    line = _read(Path(f"/proc/{pid}/cmdline")).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    ports = "".join(f", listens on port {port}" for port in sorted(listening_ports(pid)))
    return f"process {pid}{ports}: {line[:300]}"


def _links(folder: Path) -> list[str]:
    found = []
    with contextlib.suppress(OSError):  # the process has gone meanwhile
        for path in folder.iterdir():
            with contextlib.suppress(OSError):  # or one of its files
                found.append(str(path.readlink()))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process ended meanwhile, or belongs to somebody else
        return b""


# --- hooks, for conftest.py -------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """The outermost run begins; runs of pytest inside it belong to it."""
    if MARK not in os.environ:
        config.stash[_KEY] = Run()
        config.stash[_KEY].begin()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After the last fixture: look, and fail where something is left."""
    run = session.config.stash.get(_KEY, None)
    if run is None:
        return
    session.config.stash[_FOUND] = found = run.leftovers()
    if found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what is left."""
    found = config.stash.get(_FOUND, [])
    if found:
        terminalreporter.section("left behind by this run", red=True, bold=True)
        terminalreporter.write("".join(f"{line}\n" for line in found))


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run is over."""
    run = config.stash.get(_KEY, None)
    if run is not None:
        run.end()
        os.environ.pop(MARK, None)
