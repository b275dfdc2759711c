from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.source.planning import halve, plan_range, points_an_answer


def visited(chunks: list[tuple[int, int]], step_s: int) -> list[int]:
    return [t for start, end in chunks for t in range(start, end + 1, step_s)]


@given(
    start_s=st.integers(0, 10**6), length_s=st.integers(0, 10**6), step_s=st.integers(60, 3600),
    series=st.integers(0, 10**5), max_points=st.integers(1, 10**6), max_per_series=st.integers(1, 11_000),
)  # fmt: skip
def test_chunks_visit_every_grid_time_once_within_the_limits(
    start_s: int, length_s: int, step_s: int, series: int, max_points: int, max_per_series: int
) -> None:
    chunks = plan_range(start_s, start_s + length_s, step_s, series, max_points, max_per_series)
    assert visited(chunks, step_s) == list(range(-start_s % step_s + start_s, start_s + length_s + 1, step_s))
    sizes = [(end - start) // step_s + 1 for start, end in chunks]
    assert max(sizes, default=0) <= max(1, min(max_per_series, max_points // max(series, 1)))
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_two_weeks_of_ten_thousand_series_make_chunks_of_at_most_two_million_points() -> None:
    chunks = plan_range(1_699_999_800, 1_699_999_800 + 14 * 86_400, 300, 10_000, 2_000_000)
    assert len(chunks) == 21
    assert all((end - start) // 300 + 1 <= 200 for start, end in chunks)


def test_one_series_is_cut_at_eleven_thousand_points() -> None:
    assert [end // 60 - start // 60 + 1 for start, end in plan_range(0, 60 * 21_999, 60, 1, 2_000_000)] == [11_000] * 2


def test_more_series_than_points_still_gives_a_step_at_a_time() -> None:
    assert plan_range(0, 120, 60, 5_000_000, 2_000_000) == [(0, 0), (60, 60), (120, 120)]


@pytest.mark.parametrize(("start_s", "end_s", "chunks"), [
    (61, 119, []),
    (120, 60, []),
    (60, 60, [(60, 60)]),
    (59.9999999, 120.5, [(60, 120)]),
    (60.5, 119.99999999, [(120, 120)]),
])  # fmt: skip
def test_ends_are_moved_inwards_onto_the_grid(start_s: float, end_s: float, chunks: list[tuple[int, int]]) -> None:
    assert plan_range(start_s, end_s, 60, 1, 100) == chunks


@pytest.mark.parametrize(("step_s", "max_points", "max_per_series"), [(0, 1, 1), (60, 0, 1), (60, 1, 0)])
def test_senseless_limits_are_refused(step_s: int, max_points: int, max_per_series: int) -> None:
    with pytest.raises(ValueError, match="start at 1"):
        plan_range(0, 600, step_s, 1, max_points, max_per_series)


@pytest.mark.parametrize(("series", "max_points", "points"), [
    (0, 2_000_000, 500_000),
    (1_000, 2_000_000, 500_000),
    (10_000, 2_000_000, 1_000_000),
    (100_000, 2_000_000, 2_000_000),
    (100_000, 100_000_000, 10_000_000),
    (10, 1_000, 1_000),
])  # fmt: skip
def test_answers_are_of_the_size_that_costs_least_within_the_limit(series: int, max_points: int, points: int) -> None:
    assert points_an_answer(series, max_points) == points


@given(start=st.integers(0, 100), points=st.integers(1, 50), step_s=st.integers(1, 600))
def test_halves_together_are_the_chunk(start: int, points: int, step_s: int) -> None:
    chunk = (start * step_s, (start + points - 1) * step_s)
    halves = halve(*chunk, step_s)
    assert visited(halves, step_s) == visited([chunk], step_s)
    assert len(halves) == min(2, points)
