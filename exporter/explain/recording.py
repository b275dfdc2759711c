"""One series as the source has it: its window and its newest samples, once read, for as many replays as are wanted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from exporter.config import Query
from exporter.explain.question import ExplainError
from exporter.intake import LOOKBACK_S
from exporter.judging import horizon
from exporter.samples import SampleBatch
from exporter.series import REJECTED, RIVAL
from exporter.source.labels import parse_labels
from exporter.source.reader import Reader
from exporter.source.scan import Answer
from exporter.succession import succeed

Kin = Callable[[Mapping[str, str]], bool]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MOST_POINTS = 50_000_000  # points that a server may have to compute for one explanation
_MOST_CHART_COLUMNS = 20_000
_ONLY_ROW = 0  # the row of a batch that holds one series
_LOOK_BACK_S, _LOOK_BACK_CYCLES = 3600, 2  # how far back the newest samples are read, at least


@dataclass(slots=True)
class Recorded:
    """The samples of one series: on the grid (its last sample of each step, ascending), and the newest ones with their
    own times (of an expression: its values at the times of cycles). It can be read like a source."""

    labels: Mapping[str, str]
    plain: bool
    grid_ms: I64
    grid: F64
    newest_ms: I64
    newest_values: F64
    whole: bool = True  # False: there is one window only, so that the band of earlier times is not what it was
    remarks: tuple[str, ...] = field(default=())

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """The columns from start to end, in one answer."""
        inside = (self.grid_ms >= start_s * 1000) & (self.grid_ms <= end_s * 1000)
        yield self._answer(self.grid_ms[inside], self.grid[inside])

    def newest(self, time_s: int, lookback_s: int) -> Answer:
        """The newest samples as of a time. Of a plain selector all that there are, as one who has been running for
        long has seen them: how far apart they usually are says when a series is missing."""
        low_ms = 0 if self.plain else time_s * 1000 - 1
        inside = (self.newest_ms > low_ms) & (self.newest_ms <= time_s * 1000)
        return self._answer(self.newest_ms[inside], self.newest_values[inside])

    def repeats(self, time_s: int, since_s: int) -> bool:
        """Never: only a second cycle could ask."""
        return False

    def before(self, time_ms: int) -> Recorded:
        """The same as if the newest samples ended with the one of this time."""
        kept = self.newest_ms <= time_ms
        return replace(self, newest_ms=self.newest_ms[kept], newest_values=self.newest_values[kept])

    def columns(self, first: int, last: int, step_s: int) -> F64:
        """The values of the columns from first to last (k,), gaps NaN."""
        out = np.full(max(0, last - first + 1), np.nan)
        place = -(-self.grid_ms // (step_s * 1000)) - first
        inside = (place >= 0) & (place < len(out))
        out[place[inside]] = self.grid[inside]
        return out

    def _answer(self, times_ms: I64, values: F64) -> Answer:
        body = np.frombuffer(json.dumps(dict(self.labels)).encode(), np.uint8)
        count = 1 if len(times_ms) else 0
        batch = SampleBatch(
            body=body,
            label_start=np.zeros(count, np.int64),
            label_end=np.full(count, len(body), np.int64),
            label_hash=np.ones(count, np.uint64),
            first=np.array([0, len(times_ms)][: count + 1], np.int64),
            time_ms=np.ascontiguousarray(times_ms),
            value=np.ascontiguousarray(values),
        )
        return Answer(batch, fast=True)


def record(
    reader: Reader, query: Query, labels: Mapping[str, str], cycles: list[int], count: int, kin: Kin | None = None
) -> Recorded:
    """Read a series as of some cycles (unix seconds, ascending): two windows before the last one, so that the bands of
    the window can be replayed, too; one where the server would have to compute too much for two.

    `count`: the series that the server computes for it; `kin`: which of them are the same one by relabelling, if not
    only that with its own labels. Raises SourceError, and ExplainError when that is too much.
    """
    step_s, last_s = query.step_s, cycles[-1]
    window = query.window_s // step_s
    last = -(-last_s // step_s)
    span = 2 * window + 2 * horizon(step_s)
    whole = count * span <= MOST_POINTS and window <= _MOST_CHART_COLUMNS
    if not whole:
        span = window + 2 * horizon(step_s)
        _check_cost(count, span)
    oldest = -(-cycles[0] // step_s)
    low = max(0, last - span - (last - oldest)) * step_s
    remarks: set[str] = set()
    wanted = _Wanted(labels, kin)
    grid = _read(reader.range(low, (last - 1) * step_s, count), wanted, remarks)
    newest = _read_newest(reader, query, wanted, cycles, remarks)
    return Recorded(labels, reader.plain, *grid, *newest, whole, tuple(sorted(remarks)))


def _check_cost(count: int, span: int) -> None:
    if count * span > MOST_POINTS:
        raise ExplainError(
            f"the expression can't be narrowed to one series, and {count:,} series with {span:,} points each are too"
            f" many to compute for one explanation (at most {MOST_POINTS:,} points); with `by` in its aggregations it"
            " could be",
            status=422,
        )


def _read_newest(
    reader: Reader, query: Query, wanted: _Wanted, cycles: list[int], remarks: set[str]
) -> tuple[I64, F64]:
    if reader.plain:
        lookback_s = max(_LOOK_BACK_S, _LOOK_BACK_CYCLES * query.interval_s) + cycles[-1] - cycles[0]
        return _read(iter([reader.newest(cycles[-1], lookback_s)]), wanted, remarks)
    return _read((reader.newest(cycle, LOOKBACK_S) for cycle in cycles), wanted, remarks)


def _read(answers: Iterator[Answer], wanted: _Wanted, remarks: set[str]) -> tuple[I64, F64]:
    """The samples of one series in some answers, ascending in time; other series are left out."""
    times: list[I64] = [np.empty(0, np.int64)]
    values: list[F64] = [np.empty(0)]
    for answer in answers:
        remarks.update(answer.warnings, answer.infos)
        batch, index = wanted.of(answer.batch)
        if index is not None:
            part = slice(int(batch.first[index]), int(batch.first[index + 1]))
            times.append(batch.time_ms[part])
            values.append(batch.value[part])
    time_ms, value = np.concatenate(times), np.concatenate(values)
    order = np.argsort(time_ms, kind="stable")
    return time_ms[order], value[order]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The series that is read: that with these labels, whatever its name; with `kin` those of them, one at a time."""

    labels: Mapping[str, str]
    kin: Kin | None

    def of(self, batch: SampleBatch) -> tuple[SampleBatch, int | None]:
        """A batch, and which of its series it is; None where it is not there. The first where several have it."""
        own = without_name(self.labels)
        found = [parse_labels(batch.label_bytes(index)) for index in range(batch.series)]
        exact = [index for index, labels in enumerate(found) if without_name(labels) == own]
        if self.kin is None:
            return batch, next(iter(exact), None)
        rows = np.array([RIVAL if self.kin(labels) else REJECTED for labels in found], np.int64)
        rows[exact[:1]] = _ONLY_ROW
        batch, rows = succeed(batch, rows, np.empty(0, np.uint64))
        return batch, next(iter(np.flatnonzero(rows == _ONLY_ROW).tolist()), None)


def without_name(labels: Mapping[str, str]) -> dict[str, str]:
    """A series' identity here: its labels but the name."""
    return {name: value for name, value in labels.items() if name != "__name__"}
