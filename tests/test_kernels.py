"""Where compiled kernels are kept, and that a changed source never meets an old cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from exporter import kernels


def package(folder: Path, kernel: str, other: str = "x = 1\n", leaf: str = "1") -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "hot.py").write_text(f"@kernel\ndef f(): return {kernel}\n")
    (folder / "deep" / "leaf.py").write_text(f"@leaf\ndef f(): return {leaf}\n")
    (folder / "cold.py").write_text(other)
    return folder


def test_the_digest_follows_kernels_and_nothing_else(tmp_path):
    digests = [
        kernels._source_digest(package(tmp_path / "a", "1")),
        kernels._source_digest(package(tmp_path / "b", "1", "x = 2\n")),
        kernels._source_digest(package(tmp_path / "c", "2")),
        kernels._source_digest(package(tmp_path / "d", "1", leaf="2")),
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_old_caches_are_removed_but_for_a_few(tmp_path):
    for number in range(11):
        folder = tmp_path / str(number)
        folder.mkdir()
        os.utime(folder, (number, number))
    kernels._drop_old(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(str(n) for n in range(3, 11))


def test_a_cache_that_another_process_has_just_dropped_is_no_fault(tmp_path):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    kernels._drop_old(tmp_path)


def cache_dir_of_a_new_process(**environ: str) -> str:
    line = [sys.executable, "-c", "import exporter.kernels, os; print(os.environ['NUMBA_CACHE_DIR'])"]
    kept = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME")}
    done = subprocess.run(line, env={**kept, **environ}, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def test_kernels_go_to_the_users_cache(tmp_path):
    found = Path(cache_dir_of_a_new_process(HOME=str(tmp_path)))
    assert found.parent == tmp_path / ".cache" / "anomaly-exporter"
    assert found.stat().st_mode & 0o777 == 0o700  # what lies there is run
    assert cache_dir_of_a_new_process(HOME=str(tmp_path)) == str(found)
    assert cache_dir_of_a_new_process(XDG_CACHE_HOME=str(tmp_path / "x")).startswith(str(tmp_path / "x"))


def test_without_a_home_there_is_a_temporary_folder(tmp_path):
    (tmp_path / "file").write_text("")
    found = Path(cache_dir_of_a_new_process(HOME=str(tmp_path / "file"), TMPDIR=str(tmp_path)))
    assert found.parent == tmp_path
    assert found.name.startswith("anomaly-exporter-kernels-")


def test_an_operators_choice_wins(tmp_path):
    assert cache_dir_of_a_new_process(NUMBA_CACHE_DIR=str(tmp_path / "mine")) == str(tmp_path / "mine")
