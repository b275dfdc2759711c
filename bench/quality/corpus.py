"""Labelled series, read from a folder, and their samples on a grid of columns as the exporter would hold them.

Two layouts are read: a folder per set with `data.parquet` (columns series, ts, value, label, and part where the
set has a train and a test part; rows in file order) and, where there is one, `windows.json`; and the folder of the
Numenta Anomaly Benchmark itself (`data/` and `labels/combined_windows.json`).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DAY_S = 86_400
_PROBATION_SHARE = 0.15
_PROBATION_MOST = 5000
_STEPS_S = (15, 30, 60, 120, 300, 600, 900, 1800, 3600)


class CorpusError(Exception):
    """A data folder that can't be used, with what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled series; all arrays (n,) in file order.

    `test` marks the rows that are measured, `train` those on which a threshold may be chosen (none where the set has
    no such part). `windows`: NAB's scoring windows as (first, last) time, inclusive; empty for other sets.
    """

    name: str
    time_s: I64
    value: F64
    label: Mask
    train: Mask
    test: Mask
    windows: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Grid:
    """A series on its columns: `value` (columns,) with NaN gaps, the first column's number (its time / step), and the
    column of each row (n,), -1 for a row that a newer one of the same column hides: it is never judged."""

    step_s: int
    first_column: int
    value: F64
    place: I64

    def per_row(self, per_column: F64) -> F64:
        """What belongs to each row, from what belongs to each column; NaN for hidden rows."""
        return np.where(self.place >= 0, per_column[np.maximum(self.place, 0)], np.nan)


@dataclass(frozen=True, slots=True)
class Set:
    """A named set of labelled series. `nab`: it has NAB's scoring windows."""

    name: str
    series: tuple[Labelled, ...]
    nab: bool


def read_sets(folder: Path, wanted: tuple[str, ...] = (), *, whole: bool = False) -> Iterator[Set]:
    """All sets of a folder (or the wanted ones), or the one set that the folder itself is, one after the other.

    `whole`: a series without a test part, in a set that has them, is measured as a whole. CorpusError before the first
    set where the folder holds none, or not the wanted ones.
    """
    folders = find_sets(folder, wanted)
    return (read_set(one, whole=whole) for one in folders)


def find_sets(folder: Path, wanted: tuple[str, ...] = ()) -> list[Path]:
    """The folders of the sets."""
    if _is_nab(folder) or (folder / "data.parquet").is_file():
        return [folder]
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder; --data wants one with a folder per data set")
    found = [child for child in sorted(folder.iterdir()) if _is_nab(child) or (child / "data.parquet").is_file()]
    if not found:
        raise CorpusError(f"{folder}: neither a data.parquet in a folder of it, nor NAB's data/ and labels/")
    unknown = set(wanted) - {child.name for child in found}
    if unknown:
        raise CorpusError(f"{folder}: no set {', '.join(sorted(unknown))}; there: {', '.join(c.name for c in found)}")
    return [child for child in found if not wanted or child.name in wanted]


def read_set(folder: Path, *, whole: bool = False) -> Set:
    """One set, from either layout."""
    if _is_nab(folder):
        return Set("nab", tuple(_read_nab(folder)), nab=True)
    windows_file = folder / "windows.json"
    windows = json.loads(windows_file.read_text()) if windows_file.is_file() else {}
    return Set(folder.name, tuple(_read_parquet(folder / "data.parquet", windows, whole)), nab=windows_file.is_file())


def on_grid(series: Labelled) -> Grid:
    """Samples on columns of the series' usual spacing; the newest sample of a column is the column's.

    The train and the test part of some sets lie weeks apart, longer than any window; such a pause is shortened by
    whole days, as if the exporter had been watching the train part up to the day before the test.
    """
    time_s = _close_pause(series)
    step_s = usual_step(time_s)
    order = np.argsort(time_s, kind="stable")
    column = -(-time_s // step_s)
    first = int(column.min())
    newest = np.full(int(column.max()) - first + 1, -1, np.int64)
    newest[column[order] - first] = order  # the last write of a column stands
    value = np.full(len(newest), np.nan)
    taken = newest >= 0
    value[taken] = series.value[newest[taken]]
    place = np.full(len(time_s), -1, np.int64)
    place[newest[taken]] = np.flatnonzero(taken)
    return Grid(step_s, first, value, place)


def usual_step(time_s: I64) -> int:
    """The step nearest to the median spacing of the samples, of those that divide a day evenly."""
    spacing = np.diff(np.sort(time_s))
    median = float(np.median(spacing[spacing > 0])) if (spacing > 0).any() else 60.0
    return min(_STEPS_S, key=lambda step: abs(np.log(step / median)))


def _close_pause(series: Labelled) -> I64:
    if not (series.train.any() and series.test.any()):
        return series.time_s
    pause = series.time_s[series.test].min() - series.time_s[series.train].max()
    return np.where(series.test, series.time_s - max(0, pause) // DAY_S * DAY_S, series.time_s)


def _read_parquet(path: Path, windows: dict[str, list[list[int]]], whole: bool) -> list[Labelled]:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise CorpusError("reading Parquet needs pyarrow: pip install -e '.[bench]'") from None
    table = pq.read_table(path)
    missing = {"series", "ts", "value", "label"} - set(table.column_names)
    if missing:
        raise CorpusError(f"{path}: no column {', '.join(sorted(missing))}")
    names, code = _words(table["series"])
    part = None
    if "part" in table.column_names:
        words, part_code = _words(table["part"])
        part = np.asarray(words, object)[part_code]
    time_s, value = table["ts"].to_numpy().astype(np.int64), table["value"].to_numpy().astype(np.float64)
    label = table["label"].to_numpy() > 0
    starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
    ends = np.r_[starts[1:], len(code)]
    found = []
    for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
        name = names[code[a]]
        limits = tuple((int(first), int(last)) for first, last in windows.get(name, ()))
        train, test = _parts(b - a, None if part is None else part[a:b], nab=bool(windows), whole=whole)
        found.append(Labelled(name, time_s[a:b], value[a:b], label[a:b], train, test, limits))
    return found


def _words(column: Any) -> tuple[list[str], I64]:
    """The distinct texts of a column, and which one each row has."""
    whole = column.combine_chunks()
    if not hasattr(whole, "dictionary"):
        whole = whole.dictionary_encode()
    return whole.dictionary.to_pylist(), whole.indices.to_numpy().astype(np.int64)


def _parts(rows: int, part: npt.NDArray[np.object_] | None, *, nab: bool, whole: bool) -> tuple[Mask, Mask]:
    """The rows on which a threshold may be chosen, and those that are measured."""
    nothing = np.zeros(rows, np.bool_)
    if part is None or (whole and not (part == "test").any()):
        return nothing, np.arange(rows) >= (probation_rows(rows) if nab else 0)
    return part == "train", part == "test"


def probation_rows(rows: int) -> int:
    """The number of leading rows of a file that NAB does not score: 15 %, at most 750."""
    return math.ceil(min(math.floor(_PROBATION_SHARE * rows), _PROBATION_SHARE * _PROBATION_MOST))


def _is_nab(folder: Path) -> bool:
    return (folder / "labels" / "combined_windows.json").is_file() and (folder / "data").is_dir()


def _read_nab(folder: Path) -> list[Labelled]:
    windows = json.loads((folder / "labels" / "combined_windows.json").read_text())
    return [_read_nab_file(folder / "data" / name, name, windows[name]) for name in sorted(windows)]


def _read_nab_file(path: Path, name: str, windows: list[list[str]]) -> Labelled:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    time_s = np.asarray([_unix(row["timestamp"]) for row in rows], np.int64)
    value = np.asarray([float(row["value"]) for row in rows])
    limits = tuple((_unix(first), _unix(last)) for first, last in windows)
    label = np.zeros(len(rows), np.bool_)
    for first, last in limits:
        label |= (time_s >= first) & (time_s <= last)
    return Labelled(name, time_s, value, label, *_parts(len(rows), None, nab=True, whole=False), limits)


def _unix(text: str) -> int:
    """NAB's naive local times, read as UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
