"""Charts as SVG: the value in its band above, the score with its threshold below. No script, no style of their own.

Two sizes of each are drawn and the page's style shows one: text in a picture that is scaled down to a phone can't be
read. Colours are classes of the page's style, so that they follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from exporter.explain.formats import number
from exporter.explain.timeline import DAY_S, Timeline

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_SCORE_TICKS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
_TIME_STEPS_S = (3600, 3 * 3600, 6 * 3600, 12 * 3600, DAY_S, 2 * DAY_S, 7 * DAY_S, 14 * DAY_S, 28 * DAY_S, 91 * DAY_S)


@dataclass(frozen=True, slots=True)
class Size:
    """Of a chart, in pixels: `left` and `right` are margins for numbers, `score` the height of the lower part."""

    name: str
    width: int
    height: int
    score: int
    left: int
    right: int = 10


WIDE = Size("wide", 1040, 300, 90, 74)
NARROW = Size("narrow", 340, 220, 80, 56, 8)
SIZES = (WIDE, NARROW)
_TOP, _GAP, _BOTTOM = 12, 16, 22
_MOST = 1e307  # beyond it the height of a chart would be infinite


@dataclass(frozen=True, slots=True)
class Point:
    """The judged sample."""

    time_s: float
    value: float
    score: float
    lower: float
    upper: float


def chart(timeline: Timeline, point: Point | None, size: Size, title: str) -> str:
    """One chart as an svg element; "" where there is nothing to draw. `title` is its text for who can't see it."""
    if len(timeline.times_s) < 2 or not np.isfinite(timeline.value).any():
        return ""
    frame = _Frame.around(timeline, point, size)
    parts = [frame.grid(), frame.band(timeline), frame.expected(timeline), frame.samples(timeline)]
    parts += [frame.marks(timeline), frame.scores(timeline), frame.threshold()]
    if point is not None and math.isfinite(point.value):
        parts.append(frame.point(point))
    height = size.height + _GAP + size.score + _TOP + _BOTTOM
    return (
        f'<svg class="chart {size.name}" viewBox="0 0 {size.width} {height}" width="{size.width}" height="{height}"'
        f' role="img" aria-label="{title}">{"".join(parts)}</svg>'
    )


class _Frame:
    """The scales of one chart, and everything that is drawn by them."""

    def __init__(self, size: Size, times_s: F64, low: float, high: float, most_score: float) -> None:
        self._size = size
        self._start, self._end = float(times_s[0]), float(times_s[-1])
        self._low, self._high = low, high
        self._most_score = most_score
        self._bucket = self._buckets(times_s)
        self._times = times_s

    @staticmethod
    def around(timeline: Timeline, point: Point | None, size: Size) -> _Frame:
        """Scales that show all samples, and the band but for its wildest edges."""
        values: list[F64] = [timeline.value[np.isfinite(timeline.value)]]
        for edge in (timeline.lower, timeline.upper):
            kept = edge[np.isfinite(edge)]
            with np.errstate(over="ignore", invalid="ignore"):  # a range beyond float64
                ends = np.quantile(kept, [0.03, 0.97]) if len(kept) else kept
            values.append(ends[np.isfinite(ends)])
        scores = [1.0, *timeline.score[np.isfinite(timeline.score)].tolist()]
        if point is not None:
            near = [x for x in (point.value, point.lower, point.upper) if math.isfinite(x)]
            values.append(np.array(near))
            scores += [point.score] if math.isfinite(point.score) else []
        times_s = timeline.times_s.astype(np.float64)
        every = np.concatenate(values)
        low, high = max(float(every.min()), -_MOST), min(float(every.max()), _MOST)
        room = 0.06 * (high - low) or max(abs(high) * 0.01, 1e-9)
        return _Frame(size, times_s, low - room, high + room, max(1.6, 1.1 * max(scores)))

    # -- scales --------------------------------------------------------------------------------------------------------

    def _buckets(self, times_s: F64) -> I64:
        """The pixel column of each time."""
        span = max(self._end - self._start, 1.0)
        wide = self._size.width - self._size.left - self._size.right
        return np.minimum((times_s - self._start) / span * wide, wide - 1).astype(np.int64)

    def _x(self, time_s: float) -> float:
        span = max(self._end - self._start, 1.0)
        share = min(1.0, max(0.0, (time_s - self._start) / span))
        return self._size.left + share * (self._size.width - self._size.left - self._size.right)

    def _y(self, value: float) -> float:
        share = (min(max(value, self._low), self._high) - self._low) / (self._high - self._low)
        return _TOP + (1 - share) * self._size.height

    def _score_y(self, score: float) -> float:
        """Logarithmic, so that 1 can be seen beside 100."""
        share = math.log1p(min(score, self._most_score)) / math.log1p(self._most_score)
        return _TOP + self._size.height + _GAP + (1 - share) * self._size.score

    # -- parts ---------------------------------------------------------------------------------------------------------

    def grid(self) -> str:
        """Axes, their numbers, and the times."""
        size = self._size
        right, floor = size.width - size.right, _TOP + size.height + _GAP + size.score
        parts = []
        unit = (self._high - self._low) / 4
        for tick in _round_ticks(self._low, self._high):
            y = self._y(tick)
            parts.append(f'<path class="axis" d="M{size.left} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{size.left - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick_text(tick, unit)}</text>')
        for tick in (tick for tick in _SCORE_TICKS if tick <= self._most_score):
            y = self._score_y(tick)
            parts.append(f'<path class="axis" d="M{size.left} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{size.left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        y = _TOP + size.height + _GAP
        parts.append(f'<text x="{size.left + 4}" y="{y + 2}">score</text>')
        for time_s, text in self._time_ticks():
            x = self._x(time_s)
            parts.append(f'<path class="axis" d="M{x:.1f} {_TOP}V{floor}"/>')
            parts.append(f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle">{text}</text>')
        return "".join(parts)

    def _time_ticks(self) -> Iterator[tuple[float, str]]:
        span = self._end - self._start
        most = max(2, (self._size.width - self._size.left) // 90)
        step = next((step for step in _TIME_STEPS_S if span / step <= most), _TIME_STEPS_S[-1])
        first = math.ceil(self._start / step) * step
        for k in range(int((self._end - first) // step) + 1):
            time_s = first + k * step
            if self._x(time_s) < self._size.width - self._size.right - 14:  # else its text would be cut
                shown = datetime.fromtimestamp(time_s, UTC)
                yield time_s, shown.strftime("%-d %b" if step >= DAY_S or time_s % DAY_S == 0 else "%H:%M")

    def band(self, timeline: Timeline) -> str:
        """The area between the edges; an open side goes to the border. A new area after every gap."""
        told = ~np.isnan(timeline.score)
        lower = np.where(np.isnan(timeline.lower), self._low, timeline.lower)
        upper = np.where(np.isnan(timeline.upper), self._high, timeline.upper)
        areas = []
        for run in self._runs(told):
            part = self._last_of_columns(run)
            areas.append("M" + "L".join([*self._points(part, upper), *self._points(part[::-1], lower)]) + "Z")
        return f'<path class="band" d="{"".join(areas)}"/>'

    def expected(self, timeline: Timeline) -> str:
        """A line through the expected value of every pixel column."""
        runs = (self._last_of_columns(run) for run in self._runs(np.isfinite(timeline.expected)))
        return self._lines("expected", ([*self._points(run, timeline.expected)] for run in runs))

    def samples(self, timeline: Timeline) -> str:
        """A line through the least and the largest sample of each pixel column, so that no spike is lost."""
        runs = (self._outermost(run, timeline.value) for run in self._runs(np.isfinite(timeline.value)))
        return self._lines("value", ([*self._points(run, timeline.value)] for run in runs))

    def marks(self, timeline: Timeline) -> str:
        """Dots on the samples that scored above 1, one for each pixel column."""
        above = np.flatnonzero((timeline.score > 1) & np.isfinite(timeline.value))
        _, first = np.unique(self._bucket[above], return_index=True)
        dots = (f"M{point}h0" for point in self._points(above[first].tolist(), timeline.value))
        return f'<path class="dots" d="{"".join(dots)}"/>'

    def scores(self, timeline: Timeline) -> str:
        """A bar for the highest score of each pixel column."""
        present = np.flatnonzero(np.isfinite(timeline.score))
        order = present[np.argsort(-timeline.score[present], kind="stable")]
        _, first = np.unique(self._bucket[order], return_index=True)
        base, bars = self._score_y(0), {False: "", True: ""}
        for i in order[first].tolist():
            score = float(timeline.score[i])
            bars[score > 1] += f"M{self._x(self._times[i]):.1f} {base:.1f}V{self._score_y(score):.1f}"
        return f'<path class="score" d="{bars[False]}"/><path class="score over" d="{bars[True]}"/>'

    # -- from samples to points ----------------------------------------------------------------------------------------

    def _points(self, indices: Iterable[int], values: F64) -> Iterator[str]:
        return (f"{self._x(self._times[i]):.1f} {self._y(float(values[i])):.1f}" for i in indices)

    def _lines(self, kind: str, runs: Iterable[list[str]]) -> str:
        """One path of several lines; a line of a single point becomes a dot."""
        return f'<path class="{kind}" d="{"".join("M" + "L".join(run) + ("" if run[1:] else "h0") for run in runs)}"/>'

    def _runs(self, present: npt.NDArray[np.bool_]) -> Iterator[I64]:
        """Indices without a gap between them."""
        at = np.flatnonzero(present)
        return (run for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1) if len(run))

    def _last_of_columns(self, run: I64) -> list[int]:
        kept: list[int] = run[np.append(np.diff(self._bucket[run]) > 0, [True])].tolist()
        return kept

    def _outermost(self, run: I64, values: F64) -> list[int]:
        """The least and the largest of each pixel column, in their order."""
        starts = np.flatnonzero(np.diff(self._bucket[run])) + 1
        kept: list[int] = []
        for group in np.split(run, starts):
            ends = {int(group[values[group].argmin()]), int(group[values[group].argmax()])}
            kept += sorted(ends)
        return kept

    # -- what stands out -----------------------------------------------------------------------------------------------

    def threshold(self) -> str:
        """The line at a score of 1."""
        y = self._score_y(1.0)
        return f'<path class="limit" d="M{self._size.left} {y:.1f}H{self._size.width - self._size.right}"/>'

    def point(self, point: Point) -> str:
        """The judged sample, with a line down to its score."""
        x, y = self._x(point.time_s), self._y(point.value)
        kind = "out" if point.score > 1 else "in"
        floor = self._score_y(0)
        mark = f'<path class="now" d="M{x:.1f} {_TOP}V{floor:.1f}"/>'
        if math.isfinite(point.score):
            mark += f'<circle class="{kind}" cx="{x:.1f}" cy="{self._score_y(point.score):.1f}" r="4"/>'
        return f'{mark}<circle class="{kind} judged" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'


def _round_ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between the ends."""
    span = high - low
    if not 0 < span < math.inf:
        return []
    step = 10.0 ** math.floor(math.log10(span / 3))
    while span / step > 6:
        step *= 2 if str(step).strip("0.")[:1] != "2" else 2.5
    first = math.ceil(low / step)
    return [k * step for k in range(first, min(first + 10, math.floor(high / step) + 1))]


def _tick_text(tick: float, unit: float) -> str:
    """A number at an axis; thousands, millions and billions are shortened where that loses nothing."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if unit >= size / 10 and abs(tick) >= size:
            return f"{tick / size:.4g}{letter}"
    return number(tick, 20 * unit) if tick else "0"
