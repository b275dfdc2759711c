"""Moments of the command line, and the columns between two."""

from __future__ import annotations

import pytest

from exporter.backtest.faults import BacktestError
from exporter.backtest.span import Span, checked_span, grid_of, moment_s, shown_time
from exporter.config.schema import Query

NOW = 1_760_000_123.0
DAY = 86_400


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("now", NOW),
        ("0", NOW),
        ("14d", NOW - 14 * DAY),
        ("1h30m", NOW - 5400),
        ("1700000000", 1_700_000_000.0),
        ("1700000000.5", 1_700_000_000.5),
        ("2026-03-01T00:00:00Z", 1_772_323_200.0),
        ("2026-03-01t02:00:00+02:00", 1_772_323_200.0),
        ("2026-03-01 00:00:00.25Z", 1_772_323_200.25),
    ],
)
def test_moments(text, wanted):
    assert moment_s(text, NOW) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-03-01", "2026-03-01T00:00:00", "2026-02-30T00:00:00Z", "-5", "nan", "inf", "1e9", "9" * 13,
     "200y", "14 d", "\uff11\uff14d", "0001-01-01T00:00:00+14:00", "x" * 10_000],
)  # fmt: skip
def test_what_is_no_moment(text):
    with pytest.raises(ValueError, match="2026-03-01T00:00:00Z"):
        moment_s(text, NOW)
    with pytest.raises(ValueError) as error:  # noqa: PT011 -- its length is the point
        moment_s(text, NOW)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (NOW, NOW - 5, "is not before --to"),
        (NOW, NOW, "is not before --to"),
        (NOW - 5, NOW + 60, "is in the future"),
        (NOW - 400 * DAY, NOW, "a year at a time"),
    ],
)
def test_spans_that_can_not_be(start, end, words):
    with pytest.raises(BacktestError, match=words):
        checked_span(start, end, NOW)


def test_samples_of_a_file_may_be_of_any_time():
    assert checked_span(NOW, NOW + DAY, None).weeks == pytest.approx(1 / 7)


def test_columns_end_within_the_span():
    query = Query("q", "q", interval_s=60, step_s=300)
    coarse = grid_of(Span(299.0, 1201.0), query, coarse=True)
    assert (coarse.first, coarse.last, coarse.columns, coarse.every, coarse.end) == (1, 4, 4, 5, 20)
    fine = grid_of(Span(300.0, 1201.0), query, coarse=False)
    assert (fine.first_column, fine.last_column, fine.first, fine.last, fine.step_s) == (2, 4, 6, 20, 60)
    assert (fine.first - 1) * 60 >= 300
    assert fine.last * 60 <= 1201


@pytest.mark.parametrize("coarse", [True, False])
def test_a_span_shorter_than_a_step(coarse):
    with pytest.raises(BacktestError, match="a span of at least 5m"):
        grid_of(Span(301.0, 599.0), Query("q", "q"), coarse=coarse)


def test_times_are_shown_in_utc():
    assert (shown_time(1_772_323_200), shown_time(1_772_323_201)) == ("2026-03-01 00:00Z", "2026-03-01 00:00:01Z")
