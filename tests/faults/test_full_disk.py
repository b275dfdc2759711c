"""A disk that is full or can't be written to, and a log that nobody takes: told in a line, and the exporter goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.market import PODS, Market
from support.process import config_text, parsed
from support.servers import free_port, wait_until

START = "global: {interval: 1s, step: 5m, window: 2d}\n"
PYTHON = [sys.executable, "-m", "exporter.cli"]
FULL = Path("/dev/full")
SMALL = 512  # bytes that a file may have, in place of a disk that is full
KERNEL = """
import numpy as np
from exporter.kernels import kernel

@kernel
def double(x):
    return 2 * x

print(double(np.ones(3)).sum(), double(4))
"""


def limited(*command: str) -> list[str]:
    """A command whose files can't grow: writing fails as it does on a full disk, but for the number of the error."""
    return ["prlimit", f"--fsize={SMALL}", *command]


def text_of(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    server = Market(("m",)).serve()
    file = tmp_path / "config.yml"
    file.write_text(config_text(server.url, {"m": "expr: m"}, start=START))
    yield file
    server.close()


@pytest.mark.parametrize("words", [("rules",), ("plan",), ("check", "--syntax-only")])
def test_standard_output_on_a_full_disk_is_told_and_no_success(config: Path, words: tuple[str, ...]) -> None:
    given = [*words, f"--config.file={config}"]
    with FULL.open("w") as full:
        done = subprocess.run(
            [*PYTHON, *given], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=120
        )
    assert done.returncode != 0
    assert "No space left on device" in text_of(done)


@pytest.mark.parametrize("words", [("rules", "--output"), ("dashboards", "--output"), ("plan", "--json")])
def test_files_that_find_no_room_are_told_and_not_left_in_part(config: Path, words: tuple[str, ...]) -> None:
    target = config.parent / "made"
    command = [*PYTHON, *words, str(target)]
    command += [f"--config.file={config}"] if words[0] not in ("dashboards",) else []
    done = subprocess.run(limited(*command), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1, done.stdout
    assert "can't write " in done.stdout + text_of(done)
    assert "file too large" in done.stdout + done.stderr or "no space left on device" in done.stdout
    left = [path for path in config.parent.rglob("*") if path.is_file() and path != config]
    assert [path for path in left if path.name.endswith((".tmp", ".partial")) or path == target] == []


@pytest.mark.parametrize("log", ["full disk", "closed", "pipe that nobody reads", "pipe whose reader has gone"])
def test_the_exporter_goes_on_when_its_log_can_not_be_written(config: Path, log: str) -> None:
    """At level debug every request is a line: a pipe is full in no time."""
    port, read_end, pipe = free_port(), -1, -1
    command = [*PYTHON, "run", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=debug"]
    if log == "closed":
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    if log.startswith("pipe"):
        read_end, pipe = os.pipe()
        os.set_blocking(pipe, False)
        while _filled(pipe):
            pass
        os.set_blocking(pipe, True)
    if log == "pipe whose reader has gone":
        os.close(read_end)
    stderr = FULL.open("w") if log == "full disk" else pipe if log.startswith("pipe") else None
    process = subprocess.Popen(command, stderr=stderr)
    try:
        wait_until(lambda: _cycles(port) >= 3 or process.poll() is not None, "cycles go on")
        assert process.poll() is None
        assert len(_page(port)["anomaly_score"]) == 2 * len(PODS)
        process.terminate()
        start_s = time.monotonic()
        assert process.wait(60) == 0
        assert time.monotonic() - start_s < 20
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(30)
        for end in (read_end, pipe):
            if end >= 0 and not (end == read_end and log == "pipe whose reader has gone"):
                os.close(end)
        if log == "full disk":
            stderr.close()


def _filled(pipe: int) -> bool:
    try:
        return os.write(pipe, b"x" * 4096) > 0
    except BlockingIOError:
        return False
    except BrokenPipeError:
        return False


def _page(port: int) -> dict[str, list[tuple[dict[str, str], float]]]:
    try:
        return parsed(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text)
    except (requests.ConnectionError, requests.Timeout):
        return {}


def _cycles(port: int) -> float:
    found = _page(port).get("anomaly_exporter_cycles_total", [])
    return sum(count for labels, count in found if labels["outcome"] == "ok")


# --- where kernels are kept -------------------------------------------------------------------------------------------


def run_kernel(folder: Path, *before: str, **environ: str) -> str:
    (folder / "kernel.py").write_text(KERNEL)
    kept = {name: text for name, text in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    command = [*before, sys.executable, str(folder / "kernel.py")]
    done = subprocess.run(command, env={**kept, **environ}, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_kernels_work_when_their_cache_finds_no_room(tmp_path: Path) -> None:
    assert run_kernel(tmp_path, "prlimit", "--fsize=0", NUMBA_CACHE_DIR=str(tmp_path / "cache")) == "6.0 8"


def test_kernels_work_when_nothing_can_be_written(tmp_path: Path) -> None:
    """Neither home nor the chosen folder nor a temporary one, as on a read-only file system."""
    nowhere = str(tmp_path / "file" / "below")
    (tmp_path / "file").write_text("")
    for environ in ({"NUMBA_CACHE_DIR": nowhere}, {}):
        assert run_kernel(tmp_path, HOME=nowhere, TMPDIR=nowhere, **environ) == "6.0 8"


def test_a_damaged_cache_is_compiled_anew(tmp_path: Path) -> None:
    assert run_kernel(tmp_path, NUMBA_CACHE_DIR=str(tmp_path)) == "6.0 8"
    for file in tmp_path.rglob("*.nb?"):
        file.write_bytes(file.read_bytes()[:40])
    assert run_kernel(tmp_path, NUMBA_CACHE_DIR=str(tmp_path)) == "6.0 8"


def test_kernels_that_were_baked_into_an_image_are_used_where_it_is_read_only(tmp_path: Path) -> None:
    """The chosen folder can be read, not written to: what is in it is copied to a folder that can."""
    baked, temporary = tmp_path / "baked", tmp_path / "tmp"
    for folder in (baked, temporary):
        folder.mkdir()
    (baked / "compiled").touch()
    (baked / "kernels").mkdir()
    (baked / "kernels" / "a.nbi").write_text("as it was")
    script = "import exporter.kernels, os, pathlib; f = pathlib.Path(os.environ['NUMBA_CACHE_DIR'])\n"
    script += f"print((f / 'kernels' / 'a.nbi').read_text(), f.parent == pathlib.Path({str(temporary)!r}))"
    baked.chmod(0o555)
    command = [sys.executable, "-c", script]
    if os.geteuid() == 0:  # for whom nothing is read-only
        temporary.chmod(0o777)
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp"):  # noqa: S108 -- where pytest keeps it
                folder.chmod(folder.stat().st_mode | 0o055)
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    environ = {**os.environ, "NUMBA_CACHE_DIR": str(baked), "TMPDIR": str(temporary), "HOME": str(temporary)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "as it was True", done.stderr
    assert list(temporary.iterdir()) == []
