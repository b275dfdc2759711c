"""The page of faults: many classes, each with a promise, something to see, and tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from support.documents import ROOT, page, rows
from support.own_metrics import registered

from exporter import names
from exporter.source.faults import REASONS

PAGE = "docs/faults.md"
FAULTS = [cells for cells in rows(page(PAGE)) if len(cells) == 4 and cells[0] != "fault" and set(cells[0]) != {"-"}]
TESTS = sorted({word for cells in FAULTS for word in re.findall(r"`([\w/]+\.py::\w+)`", cells[3])})
METRIC = re.compile(r"`([a-z]+(?:_[a-z]+)+)(?:\{[^}`]*\})?`")
SETTINGS_AND_REASONS = {*REASONS, "max_series", "not_finite", "held_back"}


@cache
def functions_of(path: Path) -> set[str]:
    """The test functions of a file."""
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def own_metrics() -> set[str]:
    """Names as they are scraped, the prefix of the exporter's own left away."""
    documented = set(re.findall(r"`(anomaly_exporter_\w+)`", page("docs/metrics.md")))
    published = {family.name for family in names.FAMILIES.values()}
    return {name.removeprefix("anomaly_exporter_") for name in registered() | documented} | published


def test_there_are_many_classes_each_once() -> None:
    assert len(FAULTS) >= 24
    named = [cells[0] for cells in FAULTS]
    assert len(set(named)) == len(named)


def test_every_class_has_a_promise_something_to_see_and_a_test() -> None:
    for fault, promise, seen, tests in FAULTS:
        assert len(promise) > 15, fault
        assert seen, fault
        named = re.findall(r"`([^`]*)`", tests)
        assert named, fault
        assert set(named) <= set(TESTS), fault


@pytest.mark.parametrize("name", TESTS)
def test_the_named_test_is_there(name: str) -> None:
    file, _, function = name.partition("::")
    assert function in functions_of(ROOT / "tests" / file)


def test_the_named_metrics_are_there() -> None:
    found = {name for cells in FAULTS for name in METRIC.findall(cells[2])} - SETTINGS_AND_REASONS
    assert len(found) >= 15
    assert found <= own_metrics()


def test_the_named_reasons_are_there() -> None:
    told = set(re.findall(r"reasons? ((?:`\w+`(?:, | or | and )?)+)", page(PAGE)))
    reasons = {word for words in told for word in re.findall(r"`(\w+)`", words)}
    assert len(reasons) >= 8
    assert reasons <= {*REASONS, "internal", "memory"}


def test_nothing_is_left_to_be_filled_in() -> None:
    assert not re.search(r"\b(?:TODO|TBD|FIXME)\b", page(PAGE))
