"""docs/models.md states the numbers that the twin (tests/naive/robust_band.py) and so the models have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.naive import parts

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()


def row(start: str) -> list[float]:
    """The numbers of the table row that starts so."""
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {start}"))
    return [float(cell) for cell in line.strip("| ").split("|")[1:]]


def test_threshold_and_worth_of_a_record_by_step() -> None:
    assert row("T, ") == [parts.threshold(step_s) for step_s in (60, 300, 3600)]
    assert row("K, ") == [parts.novelty_weight(step_s) for step_s in (60, 300, 3600)]


@pytest.mark.parametrize("name", parts.TAIL_WEIGHTS)
def test_the_weights_of_the_tails(name: str) -> None:
    assert f"{parts.TAIL_WEIGHTS[name]:g} lp({name})" in PAGE


@pytest.mark.parametrize("name", parts.NOVELTY_SHARES)
def test_the_shares_of_novelty(name: str) -> None:
    share = parts.NOVELTY_SHARES[name]
    found = re.search(rf"([\d.]*) ?nov\({name}\)", PAGE.split("NV = K max(")[1])
    assert found is not None
    assert float(found.group(1) or 1) == share


def test_the_other_numbers_of_robust_band() -> None:
    for text in (
        f"LP = min({parts.MOST_OF_TAILS:g},",
        f"at most {parts.MOST_OF_A_VIEW:g}",
        f"exp(-|x - s| / ({parts.SEASON_REACH:g} max(spread, f)))",
        f"min(1, days of history / {parts.FULL_HISTORY_DAYS:g})",
        f"min(1, (days - 1) / {parts.FULL_HISTORY_DAYS:g})",
        f"score = E / T + {parts.MOST_LIFTED:g} L (1 - E / T)",
        f"L = 1 - (1 - {parts.LIFT_BY_SEASON:g} D) exp(-{parts.LIFT_BY_TOLD:g} told / T)",
        f"- {parts.ANEW_FROM:g}) / {parts.ANEW_REACH:g}, within 0 and 1",
        f"samples lie on at least {parts.EVENED_DAYS} days",
        f"the {parts.USUAL_DAYS}th largest of the seven",
        f"Under {parts.LEAST_SAMPLES} samples",
    ):
        assert text in PAGE, text
