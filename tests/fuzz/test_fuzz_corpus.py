"""Every fuzz target, shortly: its corpus once more, and some hundred inputs of hypothesis, always the same ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.choices import Choices, damaged
from fuzz.targets import CORPUS, TARGETS, check_of, corpus_of
from hypothesis import given, settings
from hypothesis import strategies as st

MOST_CORPUS_BYTES = 100_000
FILES = [(name, path) for name in TARGETS for path in corpus_of(name)]


@pytest.mark.parametrize(("name", "path"), FILES, ids=[f"{name}-{path.name}" for name, path in FILES])
def test_what_was_found_once_stays_mended(name: str, path: Path) -> None:
    check_of(TARGETS[name])(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_of_hypothesis(name: str) -> None:
    check = check_of(TARGETS[name])

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=min(400, TARGETS[name].longest_bytes)))
    def every_input_passes(data: bytes) -> None:
        check(data)

    every_input_passes()


def test_the_corpus_is_small_and_of_targets_that_exist() -> None:
    assert sum(path.stat().st_size for _, path in FILES) < MOST_CORPUS_BYTES
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(len(corpus_of(name)) >= 2 for name in TARGETS)


def test_a_finding_is_raised_by_the_oracle() -> None:
    """The oracles can fail: each comparison meets what is wrong on purpose."""
    from fuzz.oracles import configs, durations, scanner

    with pytest.raises(AssertionError):
        configs.settle(f"source: {{url: {configs.SECRET}}}")
    with pytest.raises(AssertionError, match="refuses"):
        scanner.agree(scanner.scan_fast(scanner.answer(Choices(b"\1\1\1" + bytes(60)))), None)
    assert durations.slow_duration_ms("1m1h") is None


def test_choices_are_a_function_of_the_bytes() -> None:
    assert Choices(b"").text(5) == ""
    assert Choices(b"\x07").below(8) == 7
    assert [Choices(b"\x05\x06").between(3, 4), Choices(b"\xff" * 20).below(10**30) < 10**30] == [4, True]
    one = damaged(Choices(bytes(range(40))), b"0123456789", (b"x",))
    assert one == damaged(Choices(bytes(range(40))), b"0123456789", (b"x",))
