"""The operations page: every metric of the exporter's own has its row, and none that is no more."""

from __future__ import annotations

import re
from pathlib import Path

from support.own_metrics import registered

from exporter import names

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def own_metrics() -> set[str]:
    return {name for name in registered() if name.startswith(names.SELF_PREFIX)}


def explained() -> set[str]:
    """The metrics in the first column of the table."""
    first = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    return {name for cell in first for name in re.findall(rf"`({names.SELF_PREFIX}_[a-z_]+)`", cell)}


def test_every_own_metric_says_what_to_do_when_it_moves() -> None:
    assert explained() == own_metrics()


def test_no_row_is_empty() -> None:
    rows = [line.split("|")[2:4] for line in PAGE.splitlines() if line.startswith(f"| `{names.SELF_PREFIX}_")]
    assert rows
    assert all(usual.strip() and otherwise.strip() for usual, otherwise in rows)
