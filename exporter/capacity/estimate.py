"""What watching a query will cost: memory, samples, CPU of the exporter and of the servers. Arithmetic only.

The coefficients are seconds of one core of an AMD EPYC (Zen 4), measured by `python -m bench.speed` and beside a
Prometheus 2.42 with 20,000 series (bench/speed/NOTES.md); another machine is a factor away, not an order of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config import Query
from exporter.judging import FIT_EVERY_S, Judging, horizon
from exporter.models.settings import RobustBandSettings, ShesdSettings
from exporter.series import SeriesTable
from exporter.window import Window

PROCESS_BYTES = 250 << 20  # interpreter, libraries and compiled kernels

# Bytes as 2,000 series with five labels (116 characters) take them: the sizes of all arrays and texts of a unit.
_LABELS_BYTES = 360  # of a series: its row in the table 193, its label text 166
_ANSWER_BYTES = 300  # of a series: the newest answer and its arrays
_LINE_BYTES = 60  # of an output series: values and places 24, shown and in the making; its packed line 27
_WRITTEN_BYTES = 34  # of an output series by remote write: when and how it was written last
_WRITTEN_LABELS_BYTES = 110  # of a series by remote write, for each model and once without
_ROWS_MEASURED = 64

# The exporter, CPU seconds.
_READ_SERIES_S = 0.4e-6  # 0.04 for the newest samples of 100,000 series
_READ_POINT_S = 0.08e-6  # 0.16 for a window of 2,000,000 points, scanned and stored
_JUDGE_S = {"robust_band": 0.15e-6, "shesd": 0.1e-6, "shift": 0.2e-6, "stale": 0.06e-6}
_OPEN_S = {"robust_band": 2.6e-6, "shesd": 0.1e-6, "shift": 0.2e-6, "stale": 0.06e-6}  # of a column
_FIT_POINT_S = {"robust_band": 80e-9, "shesd": 15e-9, "shift": 25e-9, "stale": 2.5e-9}  # of a sample in the window
_STL_POINT_S = 33e-6  # S-H-ESD with `seasonal: stl`
_GATHER_POINT_S = 17e-9  # of a sample in the window, once for all models: copied, sorted, summarised
_LINE_S = 0.24e-6  # of a line of the page, written and packed
_WRITE_S = 0.4e-6  # of a sample by remote write

# The servers, CPU seconds.
_SELECT_S = 9e-6  # of a series that a query has to look up
_ANSWER_S = 5e-6  # of a series in the answer
_POINT_S = 0.4e-6  # of a point in the answer
_TOUCH_S = 0.05e-6  # of a raw sample under a range
_SCRAPED_S = 1.9e-6  # of a line of the page
_WRITTEN_S = 5.7e-6  # of a sample by remote write, one of each series in a request


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server says of a query. ``selected`` are the series that it looks up for one answer, ``touched`` the raw
    samples that it reads for one column of the window (None: can't be seen); ``spacing_s`` lies between the samples of
    a plain selector's series (0: unknown)."""

    series: int
    selected: int | None = None
    touched: int | None = None
    spacing_s: float = 0.0
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """Where the results go: on the page, and to so many remote write targets."""

    page: bool = True
    targets: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of one query of one tenant. Rates are in the steady state; ``start_`` is what the window read costs.

    ``samples_per_hour`` are received; ``touched_per_hour`` are what the source has to read for that.
    """

    series: int
    shed: int
    points: int
    memory_bytes: int
    output_series: int
    samples_per_hour: int
    touched_per_hour: int
    written_per_s: float
    start_touched: int
    exporter_cpu_s_per_cycle: float
    exporter_cpu_s_per_hour: float
    source_cpu_s_per_hour: float
    output_cpu_s_per_hour: float
    start_exporter_cpu_s: float
    start_source_cpu_s: float


def estimate(query: Query, seen: Seen, output: Output) -> Estimate:
    """What a query will cost, beyond its limit shed."""
    most = query.most_series
    series = seen.series if most is None else min(seen.series, most)
    columns = query.window_s // query.step_s
    cycles = 3600 / query.interval_s
    lines = series * families(query)
    looks = _looks(query, seen)
    touched = seen.touched if seen.touched is not None else seen.series
    written = lines * output.targets / max(query.interval_s, seen.spacing_s)
    exporter_s = _exporter_s_per_hour(query, seen, series, lines, output) + written * 3600 * _WRITE_S
    return Estimate(
        series=series,
        shed=seen.series - series,
        points=series * columns,
        memory_bytes=round(series * row_bytes(query, output)),
        output_series=lines,
        samples_per_hour=round(looks * seen.series * cycles),
        touched_per_hour=round((looks * seen.series if seen.plain else touched) * cycles),
        written_per_s=written,
        start_touched=touched * columns,
        exporter_cpu_s_per_cycle=exporter_s / cycles,
        exporter_cpu_s_per_hour=exporter_s,
        source_cpu_s_per_hour=_look_s(seen, looks) * cycles,
        output_cpu_s_per_hour=written * 3600 * _WRITTEN_S + (lines * cycles * _SCRAPED_S if output.page else 0.0),
        start_exporter_cpu_s=seen.series * columns * _READ_POINT_S + series * _fit_s(query),
        start_source_cpu_s=columns * (seen.series * _POINT_S + touched * _TOUCH_S),
    )


def families(query: Query) -> int:
    """Output series of a judged series: of each model and each signal. Bands of anomalies only are not counted."""
    if query.publish != "all":
        return len(query.models) + len(query.signals)
    least, most = query.data_range
    open_ended = (query.direction == "above" and math.isinf(least)) or (query.direction == "below" and math.isinf(most))
    return len(query.models) * (4 if open_ended else 5) + len(query.signals)


def row_bytes(query: Query, output: Output) -> float:
    """Memory of a watched series: window, fits and verdicts to the byte, labels and lines as they usually are."""
    size = _LABELS_BYTES + _ANSWER_BYTES + _kept_bytes(query)
    if output.page:
        size += families(query) * _LINE_BYTES
    if output.targets:
        size += families(query) * _WRITTEN_BYTES + (len(query.models) + 1) * _WRITTEN_LABELS_BYTES
    return size


def _kept_bytes(query: Query) -> float:
    """Window, fits and verdicts of a row: those of some rows are made, and measured."""
    window = Window(query.window_s // query.step_s, horizon(query.step_s), query.step_s)
    judging = Judging(query, SeriesTable(), window)
    window.grow(_ROWS_MEASURED)
    judging.admit(np.empty(0, np.int64))
    own = [value for value in vars(judging).values() if not isinstance(value, Window | SeriesTable)]
    arrays = {id(array): array.nbytes for array in _arrays(own)}  # some are known by two names
    return (window.window_bytes + sum(arrays.values())) / _ROWS_MEASURED


def _arrays(thing: object) -> Iterator[npt.NDArray[np.generic]]:
    """All arrays within an object of this program, a dict, a list or a tuple."""
    if isinstance(thing, np.ndarray):
        yield thing
    elif isinstance(thing, dict | list | tuple):
        for item in thing.values() if isinstance(thing, dict) else thing:
            yield from _arrays(item)
    elif type(thing).__module__.startswith("exporter."):
        names = getattr(type(thing), "__slots__", ())
        yield from _arrays([getattr(thing, name) for name in names] or getattr(thing, "__dict__", {}))


def _looks(query: Query, seen: Seen) -> float:
    """Samples of a series in one answer of newest samples: raw ones of one and a half intervals, or one value."""
    if not seen.plain or not seen.spacing_s:
        return 1.0
    return 1.5 * query.interval_s / seen.spacing_s


def _look_s(seen: Seen, looks: float) -> float:
    """CPU of the source for one answer of newest samples."""
    selected = seen.selected if seen.selected is not None else seen.series
    touched = 0 if seen.plain or seen.touched is None else seen.touched
    return selected * _SELECT_S + touched * _TOUCH_S + seen.series * (_ANSWER_S + looks * _POINT_S)


def _exporter_s_per_hour(query: Query, seen: Seen, series: int, lines: int, output: Output) -> float:
    judges = _parts(query)
    cycle_s = seen.series * _READ_SERIES_S + series * sum(_JUDGE_S[name] for name in judges)
    cycle_s += lines * _LINE_S if output.page else 0.0
    column_s = series * sum(_OPEN_S[name] for name in judges)
    fits_s = series * _fit_s(query) * 3600 / FIT_EVERY_S
    return cycle_s * 3600 / query.interval_s + column_s * 3600 / query.step_s + fits_s


def _fit_s(query: Query) -> float:
    """CPU of all fits of one series."""
    point_s = _GATHER_POINT_S + sum(_FIT_POINT_S[name] for name in _parts(query))
    point_s += _STL_POINT_S if slow_season(query) else 0.0
    return point_s * (query.window_s // query.step_s)


def slow_season(query: Query) -> bool:
    """Whether a model of the query takes its season off in the slow classic way."""
    return any(isinstance(model, ShesdSettings) and model.seasonal == "stl" for model in query.models)


def stl_series_per_hour(query: Query) -> int:
    """Series that one core can fit in the slow classic way."""
    return round(3600 / (_STL_POINT_S * (query.window_s // query.step_s)))


def _parts(query: Query) -> list[str]:
    return [RobustBandSettings.name if isinstance(model, RobustBandSettings) else ShesdSettings.name
            for model in query.models] + list(query.signals)  # fmt: skip
