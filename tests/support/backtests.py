"""Made-up walks, points and readers for tests of the backtest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np

from exporter.backtest.points import Kept, Points, Present
from exporter.backtest.runs import of_mask
from exporter.backtest.span import Grid, Span, grid_of
from exporter.backtest.walking import Walk, Watched
from exporter.config.schema import Query
from exporter.past import Slice
from exporter.samples import SampleBatch
from exporter.source.answer import Answer
from exporter.verdict import Bands

STEP = 300
NOTHING = np.empty(0, np.int64)


class Nothing:
    """A reader without a sample."""

    plain = True

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """No answer."""
        return iter(())

    def newest(self, time_s: int, lookback_s: int) -> Answer:
        """An answer without a series."""
        return Answer(SampleBatch(np.empty(0, np.uint8), NOTHING, NOTHING, NOTHING.astype(np.uint64),
                                  np.zeros(1, np.int64), NOTHING, np.empty(0)))  # fmt: skip

    def repeats(self, time_s: int, since_s: int) -> bool:
        """Never."""
        return False


def points_of(scores: np.ndarray, first: int) -> Points:
    """The points of scores (series, columns); the value is 100 above what is expected."""
    row, at = np.nonzero(scores > 1)
    score = scores[row, at]
    value, expected = np.full(len(score), 200.0), np.full(len(score), 100.0)
    return Points(row, at + first, score, value, expected, 100 - 100 / score, 100 + 100 / score)


def slow_points_of(scores: np.ndarray, first: int) -> Points:
    """The points of a slow signal's scores (series, columns); every value is 100."""
    points = points_of(scores, first)
    none = np.full(len(points), np.nan)
    return Points(points.row, points.column, points.score, np.full(len(points), 100.0), none, none, none)


def present_of(scores: np.ndarray, first: int) -> Present:
    """Where there are scores."""
    row, begin, end = of_mask(~np.isnan(scores))
    return Present(row, begin + first, end + first)


def made_grid(columns: int, query: Query, first: int = 0) -> Grid:
    """A coarse grid of so many columns."""
    return grid_of(Span(first * query.step_s, (first + columns - 1) * query.step_s), query, coarse=True)


def made_walk(
    query: Query, scores: dict[str, np.ndarray], labels: Sequence[dict[str, str]] = (), *, tenant: str = "",
    grid: Grid | None = None, slow: dict[str, np.ndarray] | None = None,
) -> Walk:  # fmt: skip
    """A walk that found these scores (series, columns) by model and by slow signal."""
    one = next(iter(scores.values()))
    grid = grid or made_grid(one.shape[1], query)
    kept = Kept(next(iter(scores)))
    flat = np.full(one.shape, 100.0)
    bands = {name: Bands(each, flat, flat, flat) for name, each in scores.items()}
    kept.add(Slice(np.arange(one.shape[1]) * 1000, flat, bands, {}), grid.first)
    seen = Watched(Nothing(), oldest_ms=(grid.first - 10_000) * STEP * 1000, newest_ms=grid.last * grid.step_s * 1000)
    return Walk(
        tenant,
        query,
        grid,
        tuple(labels) or tuple({"i": str(i)} for i in range(len(one))),
        (~np.isnan(one)).sum(axis=1),
        {name: points_of(each, grid.first) for name, each in scores.items()},
        {name: present_of(each, grid.first) for name, each in scores.items()},
        kept,
        seen,
        {name: slow_points_of(each, grid.first) for name, each in (slow or {}).items()},
    )


def openmetrics(series: dict[str, list[tuple[int, float]]]) -> str:
    """The text of some series of the gauge `load`, by the text of their labels."""
    lines = ["# TYPE load gauge"]
    lines += [f"load{{{labels}}} {value!r} {time_s}" for labels, samples in series.items() for time_s, value in samples]
    return "\n".join([*lines, "# EOF", ""])


def config_text(url: str, more: str = "", rest: str = "") -> str:
    """A config with one query on the gauge `load`."""
    return (
        f"global: {{interval: 5m, step: 5m, window: 2d}}\nsource: {{url: {json.dumps(url)}}}\n"
        f"queries:\n  - name: load\n    expr: load\n{more}{rest}"
    )
