"""Samples from CSV: `timestamp,value,<label>,...`, a row per sample, in any order."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from exporter.backtest.faults import BacktestError
from exporter.backtest.inputs.samples import Builder, Problems, Samples, to_ms
from exporter.backtest.inputs.table import Columns, columns_of

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS = {"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", ""}


def read_csv(path: str) -> Samples:
    """Read a file. Raises BacktestError with the first lines that are wrong."""
    rows = rows_of(path)
    _, header = next(rows, (1, []))
    columns = columns_of(path, header)
    builder, problems = Builder(path), Problems(path)
    for line, row in rows:
        if len(row) != len(header):
            problems.add(f"line {line}", f"{len(row)} fields, but the header has {len(header)}")
            continue
        try:
            _add(builder, columns, row)
        except ValueError as error:
            problems.add(f"line {line}", str(error))
    problems.check()
    return builder.samples()


def rows_of(path: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of the rows that are not empty, the header first. Raises BacktestError."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            yield from ((reader.line_num, row) for row in reader if row)
    except OSError as error:
        raise BacktestError(f"{path}: can't be read: {(error.strerror or 'unknown').lower()}") from error
    except UnicodeDecodeError as error:
        raise BacktestError(f"{path}: not UTF-8 at byte {error.start:,} of a block: save it as UTF-8") from error
    except csv.Error as error:
        raise BacktestError(f"{path}: line {reader.line_num}: not CSV: {error}") from error


def _add(builder: Builder, columns: Columns, row: Sequence[str]) -> None:
    time_ms = csv_time_ms(row[columns.time])
    value = csv_value(row[columns.value])
    texts = tuple(row[i] for i, _ in columns.labels)
    number = builder.series(texts, lambda: {name: row[i] for i, name in columns.labels})
    builder.add(number, time_ms, value)


def csv_time_ms(text: str) -> int:
    """Milliseconds of a field: unix seconds or milliseconds, or RFC 3339. Raises ValueError."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return to_ms(float(text))
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        date = None
    if date is None or date.tzinfo is None:
        raise ValueError(f"{text[:40]!r} is no time: unix seconds, or a date such as 2026-03-01T00:00:00Z")
    return to_ms(date.timestamp())


def csv_value(text: str) -> float:
    """A number, or a gap. Raises ValueError."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if text.lower() in _WORDS:
        return float("nan")
    raise ValueError(f"{text[:40]!r} is no number")
