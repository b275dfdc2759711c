"""Limits of a running exporter beside a real Prometheus: who is watched, what is told, what others notice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crowd import Crowd, running_crowd
from support.process import Exporter, config_text, running_exporter
from support.servers import wait_until

SERIES, MOST = 120, 100
QUERIES = {
    "many": f"expr: load, limits: {{max_series: {MOST}}}",
    "other": "expr: 'sum by (job) (load)'",
    "all": "expr: load",
}
MODEL = {"model": "shesd"}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    with running_crowd(tmp_path_factory.mktemp("crowd"), SERIES) as running:
        yield running


def write(folder: Path, source: str) -> Path:
    file = folder / "config.yml"
    file.write_text(config_text(source, QUERIES))
    return file


def watched(exporter: Exporter, query: str) -> set[str]:
    return {labels["i"] for labels, _ in exporter.samples("anomaly_score", query=query, **MODEL)}


def test_beyond_max_series_they_are_shed_by_name_alike_in_each_process(crowd: Crowd, tmp_path: Path) -> None:
    config = write(tmp_path, crowd.url)
    with running_exporter(config) as first:
        wait_until(first.ready, f"the first verdicts\n{first.log}")
        kept = watched(first, "many")
        _check_counts(first, kept)
    with running_exporter(config) as second:
        wait_until(second.ready, f"the first verdicts\n{second.log}")
        assert watched(second, "many") == kept
        _check_others(second)
        crowd.people |= {1000, 1001}
        wait_until(lambda: second.number("series_shed", query="many") == SERIES + 2 - MOST, "the newcomers are shed")
        wait_until(lambda: second.number("series", query="all", state="warming") == 2, "elsewhere they are taken in")
        assert watched(second, "many") == kept


def _check_counts(exporter: Exporter, kept: set[str]) -> None:
    assert len(kept) == exporter.number("series", query="many", state="ok") == MOST
    assert exporter.number("series_shed", query="many") == SERIES - MOST
    assert exporter.number("series_limit", query="many") == MOST
    assert exporter.number("source_series", query="many") == SERIES
    (told,) = [line for line in exporter.log.splitlines() if "are not watched" in line]
    assert "query=many" in told
    assert f"{SERIES - MOST} of {SERIES} series" in told
    named = re.findall(r'"i\W+(\d+)', told)
    assert len(named) == 3
    assert kept.isdisjoint(named)
    assert f"{SERIES - MOST} shed" in exporter.get("/").text


def _check_others(exporter: Exporter) -> None:
    assert len(watched(exporter, "all")) == SERIES
    for query in ("all", "other"):
        assert exporter.number("series_shed", query=query) == 0
        assert exporter.number("cycles_total", query=query, outcome="failed") == 0
