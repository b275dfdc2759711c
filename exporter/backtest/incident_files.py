"""Incidents from files: a CSV of starts and ends, or the history of `ALERTS` as CSV or as the JSON of the query API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from exporter.backtest.faults import BacktestError
from exporter.backtest.incidents import Incident, of_alerts
from exporter.backtest.inputs.csvfile import csv_time_ms, read_csv, rows_of
from exporter.backtest.inputs.samples import Problems, Samples
from exporter.backtest.inputs.table import TIMES
from exporter.errors import SourceGarbled
from exporter.samples import SampleBatch
from exporter.source.client import Client
from exporter.source.labels import parse_labels as source_labels
from exporter.source.promql import is_plain_selector
from exporter.source.reader import Reader
from exporter.source.scan import scan_answer

MOST_INCIDENTS = 100_000
MOST_JSON_BYTES = 256 << 20
_KNOWN = ("start", "end", "query", "tenant", "labels")
_FIRING = "firing"
_ALERTS_STEP_S = 60
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_.]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|$)')
_ESCAPED = re.compile(r"\\(.)")


def read_incidents(path: str) -> list[Incident]:
    """Read a file of incidents. Raises BacktestError."""
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        found = list(_of_json(path))
    elif suffix == ".csv":
        found = _of_csv(path)
    else:
        raise BacktestError(f"{path}: incidents are read from .csv or .json")
    if not found:
        raise BacktestError(f"{path}: no incident in it")
    if len(found) > MOST_INCIDENTS:
        raise BacktestError(f"{path}: {len(found):,} incidents, {MOST_INCIDENTS:,} at most: take a shorter stretch")
    return found


def _of_csv(path: str) -> list[Incident]:
    _, header = next(rows_of(path), (1, []))
    names = [name.strip() for name in header]
    if "start" not in names and set(TIMES) & set(names):
        return [incident for each in _of_samples(read_csv(path), path) for incident in each]
    unknown = [name for name in names if name not in _KNOWN]
    if unknown or "start" not in names or "end" not in names or len(set(names)) < len(names):
        raise BacktestError(
            f"{path}: the columns are {', '.join(names)[:200] or 'none'}: start,end and, if wanted, query, tenant and "
            "labels are known; or timestamp, value and the labels of ALERTS"
        )
    problems = Problems(path)
    found = list(_rows(path, names, problems))
    problems.check()
    return found


def _rows(path: str, names: Sequence[str], problems: Problems) -> Iterator[Incident]:
    for line, row in islice(rows_of(path), 1, None):
        if len(row) != len(names):
            problems.add(f"line {line}", f"{len(row)} fields, but the header has {len(names)}")
            continue
        fields = dict(zip(names, row, strict=True))
        try:
            yield _incident(fields, f"line {line}")
        except ValueError as error:
            problems.add(f"line {line}", str(error))


def _incident(fields: dict[str, str], where: str) -> Incident:
    start_s, end_s = (csv_time_ms(fields[name]) / 1000 for name in ("start", "end"))
    if end_s < start_s:
        raise ValueError("the end is before the start")
    query, tenant = (fields.get(name, "").strip() for name in ("query", "tenant"))
    return Incident(start_s, end_s, query, tenant, parse_labels(fields.get("labels", "")), where=where)


def parse_labels(text: str) -> tuple[tuple[str, str], ...]:
    """Labels as `{a="b",c="d"}`, with or without the braces. Raises ValueError."""
    inner = text.strip()
    inner = inner[1:-1] if inner.startswith("{") and inner.endswith("}") else inner
    found: dict[str, str] = {}
    at = 0
    while at < len(inner.rstrip()):
        match = _MATCHER.match(inner, at)
        if match is None or match.group(1) in found:
            raise ValueError(f'labels are written as {{job="api",zone="a"}}, each once, not {text[:60]!r}')
        found[match.group(1)] = _ESCAPED.sub(lambda one: "\n" if one.group(1) == "n" else one.group(1), match.group(2))
        at = match.end()
    return tuple(sorted(found.items()))


def _of_json(path: str) -> Iterator[Incident]:
    try:
        if Path(path).stat().st_size > MOST_JSON_BYTES:
            raise BacktestError(f"{path}: larger than {MOST_JSON_BYTES >> 20} MiB: take a shorter stretch")
        body = Path(path).read_bytes()
    except OSError as error:
        raise BacktestError(f"{path}: can't be read: {(error.strerror or 'unknown').lower()}") from error
    try:
        yield from of_batch(scan_answer(body, path).batch, path)
    except SourceGarbled as error:
        raise BacktestError(f"{error}; the JSON of /api/v1/query_range is wanted") from error


def of_batch(batch: SampleBatch, where: str) -> Iterator[Incident]:
    """The incidents that an answer about `ALERTS` tells of. Raises SourceGarbled for labels that are none."""
    for i in range(batch.series):  # alerts that ever fired
        labels = source_labels(batch.label_bytes(i))
        times_s = batch.time_ms[batch.first[i] : batch.first[i + 1]] / 1000
        if labels.get("alertstate", _FIRING) == _FIRING:
            yield from of_alerts(labels, np.sort(times_s), where)


def _of_samples(samples: Samples, where: str) -> Iterator[list[Incident]]:
    for i, labels in enumerate(samples.labels):  # alerts that ever fired
        times_s = samples.time_ms[samples.of == i] / 1000
        if labels.get("alertstate", _FIRING) == _FIRING:
            yield of_alerts(labels, times_s, where)


def from_server(client: Client, selector: str, start_s: float, end_s: float) -> list[Incident]:
    """The incidents that the server's own `ALERTS` tell of, a minute apart. Raises SourceError, BacktestError."""
    if not is_plain_selector(selector):
        raise BacktestError(
            f'--incidents-from-alerts: {selector[:80]!r} is no selector such as ALERTS{{severity="page"}}'
        )
    reader = Reader(client, selector, _ALERTS_STEP_S)
    parts: dict[bytes, list[np.ndarray]] = {}
    for answer in reader.range(start_s, end_s):
        batch = answer.batch
        for i in range(batch.series):
            parts.setdefault(batch.label_bytes(i), []).append(batch.time_ms[batch.first[i] : batch.first[i + 1]] / 1000)
    found = []
    for raw, times in parts.items():
        labels = source_labels(raw)
        if labels.get("alertstate", _FIRING) == _FIRING:
            found += of_alerts(labels, np.sort(np.concatenate(times)), selector)
    return found
