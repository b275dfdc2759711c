"""Samples from Parquet: the columns of the CSV. Needs pyarrow (extra `parquet`)."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.backtest.faults import BacktestError, optional
from exporter.backtest.inputs.samples import LATEST_MS, MILLISECONDS_FROM, Builder, Samples
from exporter.backtest.inputs.table import Columns, columns_of

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_BATCH_ROWS = 1 << 17


def read_parquet(path: str) -> Samples:
    """Read a file, some rows at a time. Raises BacktestError."""
    arrow = optional("pyarrow", what="reading Parquet", extra="parquet")
    parquet = optional("pyarrow.parquet", what="reading Parquet", extra="parquet")
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            columns = columns_of(path, schema.names)
            _check_types(arrow, path, schema, columns)
            builder = Builder(path)
            for batch in file.iter_batches(_BATCH_ROWS):
                _add(arrow, path, builder, columns, batch)
    except arrow.ArrowException as error:
        raise BacktestError(f"{path}: not a Parquet file that can be read: {str(error)[:300]}") from error
    except OSError as error:
        words = (error.strerror or str(error)[:200]).lower()
        raise BacktestError(f"{path}: can't be read: {words}") from error
    return builder.samples()


def _check_types(arrow: ModuleType, path: str, schema: Any, columns: Columns) -> None:
    types = arrow.types
    time, value = schema.types[columns.time], schema.types[columns.value]
    if not (types.is_timestamp(time) or types.is_integer(time) or types.is_floating(time)):
        raise BacktestError(f"{path}: the time is {time}: a timestamp or a number of seconds or milliseconds is needed")
    if not (types.is_integer(value) or types.is_floating(value)):
        raise BacktestError(f"{path}: {schema.names[columns.value]} is {value}: numbers are needed")
    for i, name in columns.labels:
        own = schema.types[i]
        text = own.value_type if types.is_dictionary(own) else own
        if not (types.is_string(text) or types.is_large_string(text)):
            raise BacktestError(f"{path}: the column {name!r} is {own}: labels are text; leave it out or make it text")


def _add(arrow: ModuleType, path: str, builder: Builder, columns: Columns, batch: Any) -> None:
    if batch.num_rows == 0:
        return
    time_ms = _times_ms(arrow, path, batch.column(columns.time))
    value = batch.column(columns.value).cast(arrow.float64(), safe=False)
    values: F64 = value.fill_null(float("nan")).to_numpy(zero_copy_only=False)
    builder.add_all(_numbers(arrow, builder, columns, batch), time_ms, values)


def _times_ms(arrow: ModuleType, path: str, column: Any) -> I64:
    if column.null_count:
        raise BacktestError(f"{path}: {column.null_count:,} rows have no time: mend or drop them")
    if arrow.types.is_timestamp(column.type):
        column = column.cast(arrow.timestamp("ms", tz=column.type.tz), safe=False).cast(arrow.int64())
        scaled = column.to_numpy(zero_copy_only=False).astype(np.float64)
    else:
        moments = column.to_numpy(zero_copy_only=False).astype(np.float64)
        scaled = np.where(np.abs(moments) >= MILLISECONDS_FROM, moments, moments * 1000)
    if not ((scaled >= 0) & (scaled <= LATEST_MS)).all():
        raise BacktestError(f"{path}: a time is not from 1970 to 9999 in seconds or milliseconds")
    times_ms: I64 = np.rint(scaled).astype(np.int64)
    return times_ms


def _numbers(arrow: ModuleType, builder: Builder, columns: Columns, batch: Any) -> I64:
    """The series of each row."""
    if not columns.labels:
        return np.full(batch.num_rows, builder.series((), dict), np.int64)
    texts: list[list[str]] = []
    codes = np.empty((batch.num_rows, len(columns.labels)), np.int64)
    for place, (i, _) in enumerate(columns.labels):
        column = batch.column(i)
        plain = column.cast(arrow.string()) if arrow.types.is_dictionary(column.type) else column
        encoded = plain.fill_null("").dictionary_encode()
        texts.append([str(text) for text in encoded.dictionary.to_pylist()])
        codes[:, place] = encoded.indices.to_numpy(zero_copy_only=False)
    kinds, of = np.unique(codes, axis=0, return_inverse=True)
    numbers = []
    for kind in kinds.tolist():  # once per series and batch
        key = tuple(texts[place][code] for place, code in enumerate(kind))
        numbers.append(builder.series(key, partial(_labels, columns, key)))
    return np.array(numbers, np.int64)[of.reshape(-1)]


def _labels(columns: Columns, texts: tuple[str, ...]) -> dict[str, str]:
    return {name: text for (_, name), text in zip(columns.labels, texts, strict=True)}
