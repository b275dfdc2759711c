"""The command line, as a user types it: a process of its own each time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from exporter import __version__

GOOD = """
source: {url: "http://127.0.0.1:1"}
queries:
  - {name: up, expr: up}
"""


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter.cli", *words], capture_output=True, text=True, timeout=300, check=False
    )


def test_version():
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"anomaly-exporter {__version__}\n")


def test_without_a_command_it_says_which_there_are():
    done = command()
    assert done.returncode == 0
    for word in ("run", "check", "plan", "demo", "compile"):
        assert word in done.stdout


def test_a_reader_that_has_enough_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "exporter.cli", "rules", "--output", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, told = process.communicate(timeout=300)
    assert (process.returncode, told) == (128 + 13, b"")


def test_flags_of_the_exporters():
    done = command("run", "--help")
    for flag in ("--config.file", "--web.listen-address", "--web.enable-lifecycle", "--log.level", "--log.format",
                 "--backfill"):  # fmt: skip
        assert flag in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["run", "--log.level", "loud"],
        ["run", "--config"],
        ["run", "--backfill", "soon"],
        ["run", "--backfill", "0"],
        ["run", "--backfill", "500ms"],
        ["run", "--backfill", "2y"],
        ["run", "--backfill"],
    ],
)
def test_a_wrong_flag_is_a_usage_error(words):
    done = command(*words)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_a_bad_config_prints_all_problems_and_exits_1(tmp_path):
    file = tmp_path / "bad.yml"
    file.write_text("source: {url: ftp://x}\nqueries:\n  - {name: up, expr: up, direction: sideways}\nextra: 1\n")
    for words in (["run"], ["check"], ["check", "--syntax-only"], ["plan"]):
        done = command(*words, f"--config.file={file}")
        assert done.returncode == 1
        assert done.stderr.count(f"{file}:") == 3
        assert "3 problem(s)" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_missing_config_file_is_named(tmp_path):
    done = command("check", f"--config.file={tmp_path / 'none.yml'}")
    assert done.returncode == 1
    assert str(tmp_path / "none.yml") in done.stderr


def test_check_of_the_syntax_does_not_contact_the_source(tmp_path):
    file = tmp_path / "good.yml"
    file.write_text(GOOD)
    done = command("check", "--syntax-only", f"--config.file={file}")
    assert (done.returncode, done.stdout) == (0, f"{file}: 1 queries, no problems (the source was not contacted)\n")


def test_check_of_an_unreachable_source_says_so_and_fails(tmp_path):
    file = tmp_path / "good.yml"
    file.write_text(GOOD)
    done = command("check", f"--config.file={file}")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stdout
    assert "refused" in done.stdout.lower()
    assert "Traceback" not in done.stderr


def test_a_backfill_without_remote_write_is_refused(tmp_path):
    file = tmp_path / "good.yml"
    file.write_text(GOOD)
    done = command("run", f"--config.file={file}", "--backfill", "7d")
    assert done.returncode == 1
    assert "remote_write: missing, but --backfill writes by it" in done.stderr
    assert "nothing was started" in done.stderr
