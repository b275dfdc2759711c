"""The examples of docs/relabelling.md do what stands below them."""

from __future__ import annotations

import re

import pytest
from support.documents import blocks, page

from exporter.config import parse
from exporter.explain.question import parse_selector
from exporter.publish.explain_link import selector_text

NOT_WATCHED = "not watched"


def _examples() -> list[tuple[str, str, str]]:
    """(config, series, what becomes of it) of each line of a text below a config."""
    found, config = [], ""
    for block in blocks(page("docs/relabelling.md")):
        if block.language == "yaml":
            config = block.text
        elif block.language == "text":
            lines = re.findall(r"^(\w+\{.*\}) +-> (.+)$", block.text, re.MULTILINE)
            assert len(lines) == len(block.text.strip().splitlines())
            found += [(config, series, result) for series, result in lines]
    return found


EXAMPLES = _examples()


def test_there_are_examples_of_both_outcomes() -> None:
    assert len(EXAMPLES) >= 9
    assert sum(result == NOT_WATCHED for *_, result in EXAMPLES) >= 3


@pytest.mark.parametrize(("config", "series", "result"), EXAMPLES, ids=[series for _, series, _ in EXAMPLES])
def test_an_example_does_what_it_says(config: str, series: str, result: str) -> None:
    (query,) = parse(config, "f.yml", {}).queries
    name, _, selector = series.partition("{")
    published = query.relabelling().publish({"__name__": name, **parse_selector("{" + selector)})
    assert (NOT_WATCHED if isinstance(published, str) else selector_text(published)) == result
