"""docs/servers.md names tests that exist, quotes what the exporter says, and claims of the rules what is so."""

from __future__ import annotations

import re

import pytest
from support.documents import ROOT, page, rows, section

from exporter.source import advice, reader

PAGE = page("docs/servers.md")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE)))
ADDED = [cells for cells in rows(section(PAGE, "## What a refusal says")) if cells[0] != "the server says"]
SMOOTHING = ("holt_winters", "double_exponential_smoothing", "mad_over_time")


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_it_names_is_there(name: str) -> None:
    file, _, function = name.partition("::")
    assert f"def {function}(" in (ROOT / file).read_text() if function else (ROOT / file).is_file()


def test_each_difference_names_a_test() -> None:
    differences = list(rows(section(PAGE, "## What differs, and what is done about it")))[1:]
    assert len(differences) > 20
    assert [cells[0] for cells in differences if not cells[3]] == []


@pytest.mark.parametrize("cells", ADDED, ids=lambda cells: cells[0])
def test_what_the_exporter_adds_is_what_it_says(cells: list[str]) -> None:
    told, added = cells
    status = int(found[0]) if (found := re.findall(r"\b[45]\d\d\b", told)) else 422
    for words in re.findall(r"`([^`]*)`", told) or [""]:
        assert added in (advice.advice(status, words), advice.advice_for_less(words))


def test_the_limits_that_it_names() -> None:
    text = " ".join(PAGE.split())
    assert f"down to {reader._FEWEST_STEPS} steps a query" in text
    assert f"at most {reader._MOST_STEPS:,} steps" in text


def test_no_shipped_rule_smooths() -> None:
    texts = [file.read_text() for folder in ("rules", "deploy") for file in (ROOT / folder).glob("*.yml")]
    assert len(texts) > 2
    assert not any(function in text for text in texts for function in SMOOTHING)
