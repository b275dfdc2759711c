"""A run of the tests that leaves something behind fails and names it; one that tidies up does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from support.leftovers import MARK, PATIENCE

SUPPORT = Path(__file__).parents[1]
CONFTEST = (SUPPORT / "conftest.py").read_text()
LEAKS = {  # what a test does -> what is said of it
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60) # child'])": "# child",
    "subprocess.run(['sh', '-c', 'sleep 61 & exit 0'], stdout=subprocess.DEVNULL)": "sleep 61",
    "kept.append(socket.create_server(('127.0.0.1', 0)))": "this process still listens on it",
    "threading.Thread(target=time.sleep, args=(9,), name='lingering').start()": "thread lingering: ",
    "tempfile.mkstemp(prefix='forgotten-')": "forgotten-",
}
HEAD = "import socket, subprocess, sys, tempfile, threading, time\n\nkept = []\n\n\n"


def run(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """A run of its own with our conftest and one test."""
    (folder / "conftest.py").write_text(CONFTEST.replace("str(Path(__file__).parent)", repr(str(SUPPORT))))
    (folder / "test_one.py").write_text(HEAD + textwrap.dedent(f"def test_one():\n    {body}pass\n"))
    environment = {name: text for name, text in os.environ.items() if name != MARK} | {PATIENCE: "2"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(folder)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_what_is_left_is_named_and_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, "; ".join(LEAKS) + "; ")
    left = done.stdout.partition("left behind by this run")[2]
    for line in left.splitlines():
        if line.startswith("process "):
            os.kill(int(line.split()[1].rstrip(":,")), signal.SIGKILL)
    assert done.returncode == 1, done.stdout
    assert "1 passed" in done.stdout
    for words in LEAKS.values():
        assert words in left
    assert sum(line.startswith(("process", "port", "thread", "file")) for line in left.splitlines()) == len(LEAKS)


def test_a_run_that_tidies_up_passes(tmp_path: Path) -> None:
    done = run(tmp_path, "tempfile.TemporaryFile().close(); subprocess.run(['true']); ")
    assert done.returncode == 0, done.stdout
    assert "left behind" not in done.stdout
