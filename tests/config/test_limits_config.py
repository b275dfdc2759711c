"""`limits:`: what holds where, and how many series that makes."""

from __future__ import annotations

import pytest

from exporter.config import Limits, Query, mask, parse
from exporter.config.schema import DAY_S

CONFIG = """\
limits: {{{outer}}}
source: {{url: http://p, timeout: 10s}}
queries:
  - {{name: own, expr: up, limits: {{{inner}}}}}
  - {{name: plain, expr: up}}
"""


def read(outer: str = "", inner: str = "") -> tuple[Limits, Limits]:
    """The limits of a query with a block of its own and of one without."""
    own, plain = parse(CONFIG.format(outer=outer, inner=inner), "f.yml", {}).queries
    return own.limits, plain.limits


def test_without_a_word_they_are_generous() -> None:
    assert read() == (Limits(1_000_000, 2_500_000_000, 0.0),) * 2


def test_a_query_has_those_of_the_file_but_for_the_keys_of_its_own() -> None:
    own, plain = read("max_series: 100, query_timeout: 5s", "max_points: 200000, query_timeout: 10s")
    assert plain == Limits(100, 2_500_000_000, 5.0)
    assert own == Limits(100, 200_000, 10.0)


def test_zero_takes_a_limit_away() -> None:
    own, plain = read("max_series: 5, max_points: 0, query_timeout: 5s", "max_series: 0, query_timeout: 0s")
    assert (plain, own) == (Limits(5, 0, 5.0), Limits(0, 0, 0.0))


def test_they_are_shown_and_read_back() -> None:
    config = parse(CONFIG.format(outer="query_timeout: 100ms", inner="max_series: 7, max_points: 0"), "f.yml", {})
    assert parse(mask(config), "f.yml", {}) == config


@pytest.mark.parametrize(
    ("limits", "series"),
    [(Limits(), 620_039), (Limits(max_points=0), 1_000_000), (Limits(7, 4032 * 9), 7), (Limits(9, 4032 * 7 + 4031), 7),
     (Limits(0, 4032 * 7), 7), (Limits(0, 0), None)],
)  # fmt: skip
def test_the_tighter_of_series_and_points_counts(limits: Limits, series: int | None) -> None:
    assert Query("q", "up", limits=limits).most_series == series


def test_a_million_series_of_a_week_are_within_the_defaults() -> None:
    assert Query("q", "up", window_s=7 * DAY_S).most_series == 1_000_000


@pytest.mark.parametrize("step_s", [60, 300, 3600])
def test_every_window_has_room_for_one_series(step_s: int) -> None:
    longest_s = 100_000 * step_s
    assert Query("q", "up", window_s=longest_s, step_s=step_s, limits=Limits(max_points=100_000)).most_series == 1
