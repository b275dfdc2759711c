"""docs/backtest.md names every flag of the command and every field of the JSON."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.backtest_reports import report, result, slow_result

from exporter.backtest.budget import parse_budget
from exporter.backtest.document import document
from exporter.backtest.inputs.samples import MOST_SAMPLES
from exporter.backtest.page import MOST_ALL_CHARTS, MOST_CHARTS, MOST_ROWS
from exporter.backtest.points import MOST_KEPT_BYTES
from exporter.backtest.slow import MOST_EPISODES as MOST_SLOW
from exporter.backtest.testing import MOST_EPISODES, MOST_STORMS

PAGE = (Path(__file__).parents[2] / "docs" / "backtest.md").read_text()
WORDS = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))


def keys(value: object) -> Iterator[str]:
    """All field names, but those that are names of labels."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            if name not in ("series", "group", "labels"):
                yield from keys(each)
    elif isinstance(value, list):
        for each in value:
            yield from keys(each)


def test_every_field_is_described():
    found = set(keys(document(report(result(), slow_result()))))
    assert "slow_signals" in found
    assert len(found) > 50
    assert found - {word for part in WORDS for word in part.split()} == set()


def test_every_flag_is_described():
    done = subprocess.run(
        [sys.executable, "-m", "exporter.cli", "backtest", "--help"], capture_output=True, text=True, check=True
    )
    flags = set(re.findall(r"(--[a-z][a-z.-]*)", done.stdout)) - {"--help"}
    assert len(flags) == 13
    assert flags == {flag for word in WORDS for flag in re.findall(r"^(--[a-z][a-z.-]*)", word)} - {"--max"}


def test_bounds_and_budgets_are_those_of_the_code():
    bounds = (
        f"worst {MOST_CHARTS} episodes as charts ({MOST_ALL_CHARTS}", f"worst {MOST_ROWS} as", f"the {MOST_EPISODES:,}",
        f"first {MOST_STORMS:,}",
        f"the {MOST_SLOW:,} `episodes`", f"{MOST_SAMPLES // 10**6} million samples", f"{MOST_KEPT_BYTES >> 30} GiB",
    )  # fmt: skip
    for bound in bounds:
        assert bound in PAGE, bound
    for budget in ("2/week", "0.5/day", "10/month", "0.1/week/series"):
        assert f"`{budget}`" in PAGE
        parse_budget(budget)
