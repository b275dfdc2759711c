"""Every command line of the documents is one that the parser takes, and every target of make is one of the Makefile."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest
from support.documents import NAMES, blocks, page, spans

from exporter.cli import _parser

COMMAND = "anomaly-exporter"


def lines(text: str) -> Iterator[list[str]]:
    """The words behind the command, of each line of a code block that begins with it."""
    for block in blocks(text):
        for line in block.text.replace("\\\n", " ").splitlines():
            if re.match(rf"(\$ )?(\S*/)?{COMMAND}( |$)", line.strip()):
                yield shlex.split(line.strip().removeprefix("$ "), comments=True)[1:]


LINES = [(name, words) for name in NAMES for words in lines(page(name))]
INLINE = [(name, span) for name in NAMES for span in spans(page(name)) if span.startswith(f"{COMMAND} ")]


@pytest.mark.parametrize(("name", "words"), LINES, ids=[f"{name}: {' '.join(words)[:60]}" for name, words in LINES])
def test_command_lines_of_code_blocks_parse(name: str, words: list[str]) -> None:
    _parser().parse_args(words)


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = [each for each in _parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(found.choices)


@pytest.mark.parametrize(("name", "span"), INLINE, ids=[f"{name}: {span[:60]}" for name, span in INLINE])
def test_commands_named_in_the_text_have_these_flags(name: str, span: str) -> None:
    # In a sentence what is needed may be left out, so the words are not parsed as a whole.
    command, *words = shlex.split(span)[1:]
    assert command in commands()
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert flags <= set(commands()[command]._option_string_actions)


def test_every_command_is_documented() -> None:
    named = {words[0] for _, words in LINES if words} | {span.split()[1] for _, span in INLINE}
    assert named <= set(commands())
    assert set(commands()) - named <= {"demo", "compile"}  # `make demo`; for images


def test_a_wrong_line_is_seen() -> None:
    (words,) = lines("x\n\n```\nanomaly-exporter run --backfil 7d  # no such flag\n```\n")
    assert words == ["run", "--backfil", "7d"]
    with pytest.raises(SystemExit):
        _parser().parse_args(words)


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", page("Makefile"), re.MULTILINE))
    asked = [line for block in blocks(page(name)) for line in block.text.splitlines() if line.startswith("make ")]
    for line in [*asked, *(span for span in spans(page(name)) if span.startswith("make "))]:
        wanted = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
        assert set(wanted) <= targets, line
