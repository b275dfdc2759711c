"""A file in place of a server: samples on a query's grid, read as a reader's answers are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exporter.backtest.faults import BacktestError
from exporter.backtest.inputs.csvfile import read_csv
from exporter.backtest.inputs.openmetrics import read_openmetrics
from exporter.backtest.inputs.parquet import read_parquet
from exporter.backtest.inputs.samples import Samples
from exporter.config.schema import Query
from exporter.samples import SampleBatch
from exporter.source.answer import Answer

I64 = npt.NDArray[np.int64]

_HASH_STEP = np.uint64(0x9E3779B97F4A7C15)  # odd: different series have different hashes
_READERS: dict[str, Callable[[str], Samples]] = {
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".om": read_openmetrics,
    ".openmetrics": read_openmetrics,
    ".txt": read_openmetrics,
}


def read_file(path: str) -> Samples:
    """Read a file of samples; its ending says which format it has. Raises BacktestError."""
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise BacktestError(
            f"{path}: a file that ends with {Path(path).suffix or 'nothing'} is not known: .csv, .parquet, or .om, "
            ".openmetrics or .txt for OpenMetrics"
        )
    return reader(path)


def of_query(samples: Samples, query: Query, path: str) -> Samples:
    """The samples that are about a query: all, or those of the metric that is its whole `expr`.

    Raises BacktestError where a file holds several metrics, and the query does not say which one.
    """
    names = sorted({labels.get("__name__", "") for labels in samples.labels})
    if query.expr.strip() in names:
        chosen = [i for i, labels in enumerate(samples.labels) if labels.get("__name__") == query.expr.strip()]
        return samples.part(chosen)
    if len(names) > 1:
        shown = ", ".join(name or "(none)" for name in names[:5])
        raise BacktestError(
            f"{path} holds {len(names)} metrics ({shown}{', ...' if len(names) > 5 else ''}): the expr of query "
            f"{query.name} must be the name of one of them"
        )
    return samples


@dataclass(slots=True)
class FileReader:
    """Reads the samples of a file as a query of this step would: a column has the last sample in its step."""

    samples: Samples
    step_s: int
    plain: bool = field(default=True, init=False)
    _column: I64 = field(init=False)
    _last: I64 = field(init=False)  # the samples that are the last ones of their columns
    _raw: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        column = -(-self.samples.time_ms // (self.step_s * 1000))
        of = self.samples.of
        self._last = np.flatnonzero(np.append((of[1:] != of[:-1]) | (column[1:] != column[:-1]), True))
        self._column = column[self._last]
        self._raw = [json.dumps(dict(labels), ensure_ascii=False).encode("utf-8", "replace")
                     for labels in self.samples.labels]  # fmt: skip

    @property
    def oldest_s(self) -> float:
        """The time of the first sample of all."""
        return float(self.samples.time_ms.min() / 1000)

    @property
    def newest_s(self) -> float:
        """The time of the last sample of all."""
        return float(self.samples.time_ms.max() / 1000)

    def range(self, start_s: int, end_s: int, series_hint: int | None) -> Iterator[Answer]:
        """The samples of the columns from start to end, in one answer."""
        first, last = -(-start_s // self.step_s), end_s // self.step_s
        yield Answer(self._batch((self._column >= first) & (self._column <= last)))

    def newest(self, time_s: int, lookback_s: int) -> Answer:
        """The samples of the last columns."""
        first, last = (time_s - lookback_s) // self.step_s, time_s // self.step_s
        return Answer(self._batch((self._column > first) & (self._column <= last)))

    def repeats(self, time_s: int, since_s: int) -> bool:
        """Never: a file is read once."""
        return False

    def _batch(self, inside: npt.NDArray[np.bool_]) -> SampleBatch:
        chosen = self._last[inside]
        of = self.samples.of[chosen]
        series, first = np.unique(of, return_index=True)
        raw = [self._raw[i] for i in series.tolist()]
        end = np.cumsum([len(each) for each in raw], dtype=np.int64)
        start = end - np.array([len(each) for each in raw], np.int64)
        with np.errstate(over="ignore"):
            hashes = (series.astype(np.uint64) + np.uint64(1)) * _HASH_STEP
        return SampleBatch(
            np.frombuffer(b"".join(raw), np.uint8), start, end, hashes, np.append(first, len(of)).astype(np.int64),
            self._column[inside] * self.step_s * 1000, self.samples.value[chosen],
        )  # fmt: skip
