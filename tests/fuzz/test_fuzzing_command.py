"""`make fuzz` itself: a short run, what is read of libFuzzer's words, and the table."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from fuzz import fuzzing
from fuzz.targets import TARGETS, with_kernels

WORDS = """\
INFO: seed corpus: files: 5 min: 1b max: 300b
#6\tINITED cov: 118 ft: 200 corp: 5/628b exec/s: 0 rss: 123Mb
#4096\tpulse  cov: 130 ft: 300 corp: 9/1k lim: 100 exec/s: 2048 rss: 124Mb
"""
ENDED = WORDS + "Done 36032 runs in 13 second(s)\nstat::number_of_executed_units: 36032\nstat::new_units_added:  337\n"


def test_the_numbers_of_a_target_that_ended() -> None:
    one = fuzzing.read_log("scanner", ENDED, 13.4, ())
    assert (one.inputs, one.covered_first, one.covered, one.added, one.findings) == (36_032, 118, 130, 337, ())
    assert fuzzing.table([one]).splitlines()[-1] == "| scanner | 13 | 36,032 | 118 | 130 | 337 | 0 |"


def test_the_numbers_of_a_target_that_found_something() -> None:
    one = fuzzing.read_log("scanner", WORDS, 2, ("scanner-crash-a4",))
    assert (one.inputs, one.added) == (4096, 0)
    assert fuzzing.table([one]).endswith("| scanner-crash-a4 |")
    assert fuzzing.read_log("scanner", "Segmentation fault", 2, ()).inputs == 0


def test_modules_with_kernels_are_known() -> None:
    found = set(with_kernels())
    assert {"exporter.kernels", "exporter.window", "exporter.source.scan", "exporter.numtext.reading"} <= found
    assert not {"exporter.config.loading", "exporter.source.jsonscan"} & found


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is in the extra `fuzz`")
def test_a_short_run_of_one_target(tmp_path: Path) -> None:
    command = [sys.executable, fuzzing.__file__, "--seconds", "2", "--found", str(tmp_path), "durations"]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    told = done.stdout.decode()
    assert done.returncode == 0, told + done.stderr.decode()
    inputs = int(told.splitlines()[-1].split("|")[3].replace(",", ""))
    assert inputs > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["durations.log"]


def test_an_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fuzzing.main(["nothing"])
    told = capsys.readouterr().err
    assert "there is no target nothing" in told
    assert all(name in told for name in TARGETS)
