"""docs/comparison.md quotes rows of BENCHMARKS.md, and each statement about others has a source."""

from __future__ import annotations

import re

import pytest
from support.documents import page, rows, section

PAGE = page("docs/comparison.md")
BENCHMARKS = page("BENCHMARKS.md")
QUOTED = [cells for cells in rows(section(PAGE, "## What was measured")) if len(cells) == 6]
COLUMNS = ["detected", "false/week", "event F1", "AP"]


def measured(name: str, detector: str) -> list[str]:
    part = section(BENCHMARKS.partition("<!-- quality: written")[2], f"### {name}").partition(f"\n{name}: ")[0]
    header, *found = rows(part)
    row = next(cells for cells in found if cells[0] == detector)
    return [row[header.index(column)] for column in COLUMNS]


def test_the_columns_are_those_that_are_compared() -> None:
    assert QUOTED[0] == ["set", "detector", *COLUMNS]
    sets = re.findall(r"^### (\w+)$", BENCHMARKS.partition("<!-- quality: written")[2], re.MULTILINE)[:6]
    detectors = ("robust_band", "robust_band_5m", "grafana_adaptive", "grafana_robust")
    assert [tuple(cells[:2]) for cells in QUOTED[1:]] == [(name, each) for name in sets for each in detectors]


@pytest.mark.parametrize("cells", QUOTED[1:], ids=lambda cells: " ".join(cells[:2]))
def test_a_row_is_that_of_the_benchmarks(cells: list[str]) -> None:
    assert cells[2:] == measured(cells[0], cells[1])


def test_where_grafana_detects_more_is_said() -> None:
    more = {(detector, name) for name, detector, *_ in QUOTED[1:] if detector.startswith("grafana")
            and float(measured(name, detector)[0]) > float(measured(name, "robust_band_5m")[0])}  # fmt: skip
    assert more == {
        ("grafana_adaptive", "kpi2018"), ("grafana_adaptive", "kpi2018p1"), ("grafana_adaptive", "smd_uni"),
        ("grafana_robust", "mscloud"),
    }  # fmt: skip
    text = " ".join(PAGE.split())
    assert "The adaptive rules detect more than the default config here on kpi2018, kpi2018p1 and smd_uni" in text
    assert "the robust rules detect more on mscloud" in text


def test_the_window_read_is_that_of_the_benchmarks() -> None:
    row = next(cells for cells in rows(BENCHMARKS) if cells[0].startswith("window read, 2,016,000"))
    seconds, library = row[5].split()
    assert library == "prometheus-api-client"
    assert f"takes {seconds} CPU seconds where anomaly-exporter takes {row[2]}" in " ".join(PAGE.split())


def test_every_source_is_used_and_every_mark_has_a_source() -> None:
    body, _, sources = PAGE.partition("## Sources")
    defined = re.findall(r"^- \[(\w\d+)\] ", sources, re.MULTILINE)
    assert len(defined) == len(set(defined)) > 10
    assert set(re.findall(r"\[([a-z]\d+)\](?!\()", body)) == set(defined)


def test_what_was_not_verified_is_said() -> None:
    text = " ".join(PAGE.split())
    assert "Neither vmanomaly nor PAD was run" in text
    assert "stored copies" in text


@pytest.mark.parametrize("name", ["README.md", "docs/comparison.md"])
def test_no_marketing_words(name: str) -> None:
    words = (
        r"\b(best|powerful|seamless\w*|effortless\w*|blazing\w*|cutting.edge|world.class|state.of.the.art|revolution\w*"
        r"|simply|easily|enterprise.grade)\b"
    )
    found = {word.lower() for word in re.findall(words, page(name), re.IGNORECASE)}
    assert found == set()
