"""Files that a backtest takes: samples as CSV and OpenMetrics, incidents as CSV and JSON. Read, or a BacktestError."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import numpy as np
from fuzz.choices import Choices, damaged
from fuzz.oracles import scanner

from exporter.backtest.faults import BacktestError
from exporter.backtest.incident_files import read_incidents
from exporter.backtest.inputs.filereader import FileReader, read_file
from exporter.backtest.inputs.samples import Samples
from exporter.publish.label_text import escaped_label

_CSV = (
    b",",
    b"\n",
    b'"',
    b'""',
    b"\r",
    b"nan",
    b"1e400",
    b"-1",
    b"2026-01-01T00:00:00Z",
    b"\xff",
    b"\x00",
    b"\xef\xbb\xbf",
    b" ",
)
_OPENMETRICS = (b"# EOF\n", b"{", b"}", b'"', b"\\", b" ", b"\n", b"# ", b"NaN", b"1e400", b"=", b",", b"\r\n", b"\xff")
_FOLDER = Path(tempfile.gettempdir())

Rows = dict[str, dict[int, float]]


def check(data: bytes) -> None:
    """One input: a file of one of the kinds, right, damaged or anything."""
    choices = Choices(data)
    kind = choices.below(8)
    if kind < 2:
        return _check_right(choices, ".csv" if kind else ".om")
    if kind == 2:
        return _samples(damaged(choices, _csv(_rows(choices)), _CSV), ".csv")
    if kind == 3:
        return _samples(damaged(choices, _openmetrics(_rows(choices)), _OPENMETRICS), ".om")
    if kind == 4:
        return _samples(choices.rest(), choices.pick((".csv", ".om")))
    if kind == 5:
        return _incidents(damaged(choices, _incident_rows(choices), _CSV), ".csv")
    if kind == 6:
        return _incidents(damaged(choices, scanner.answer(choices), (b"[", b"}", b'"', b"ALERTS")), ".json")
    return _incidents(choices.rest(), choices.pick((".csv", ".json")))


def _check_right(choices: Choices, suffix: str) -> None:
    """A right file gives exactly what was written into it."""
    rows = _rows(choices)
    raw = _csv(rows) if suffix == ".csv" else _openmetrics(rows)
    found = _read(raw, suffix)
    if not any(rows.values()):
        assert found is None
        return
    assert found is not None
    got: Rows = {}
    for number, time_ms, value in zip(found.of.tolist(), found.time_ms.tolist(), found.value.tolist(), strict=True):
        got.setdefault(found.labels[number].get("a", ""), {})[time_ms] = value
    assert got == {label: samples for label, samples in rows.items() if samples}


def _rows(choices: Choices) -> Rows:
    """Value of the label a -> milliseconds -> value."""
    rows: Rows = {}
    for _ in range(choices.below(4)):
        label = "".join(c for c in choices.text(5) if c not in "\r\x00\ufeff")
        times = {1_700_000_000_000 + 1000 * choices.below(10**5) for _ in range(choices.below(5))}
        rows[label] = {time_ms: float(choices.between(-(10**6), 10**6)) / 8 for time_ms in sorted(times)}
    return rows


def _csv(rows: Rows) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["timestamp", "value", "a"])
    writer.writerows([[ms // 1000, value, label] for label, own in rows.items() for ms, value in own.items()])
    return out.getvalue().encode()


def _openmetrics(rows: Rows) -> bytes:
    lines = [f"m{{{escaped_label('a', label)}}} {value!r} {ms // 1000}\n"
             for label, own in rows.items() for ms, value in own.items()]  # fmt: skip
    return ("# TYPE m gauge\n" + "".join(lines) + "# EOF\n").encode()


def _incident_rows(choices: Choices) -> bytes:
    rows = []
    for _ in range(choices.below(4)):
        start_s, end_s = (1_700_000_000 + choices.below(2000) for _ in range(2))
        rows.append(f'{start_s},{end_s},q,"{{a=""{choices.text(4)}""}}"')
    return ("start,end,query,labels\n" + "\n".join(rows)).encode()


def _read(raw: bytes, suffix: str) -> Samples | None:
    with tempfile.NamedTemporaryFile(suffix=suffix, dir=_FOLDER) as file:
        Path(file.name).write_bytes(raw)
        try:
            return read_file(file.name)
        except BacktestError as error:
            return _said(error)


def _samples(raw: bytes, suffix: str) -> None:
    """What is read can be replayed: sorted, finite, each moment once, labels that are JSON."""
    found = _read(raw, suffix)
    if found is None:
        return
    assert np.isfinite(found.value).all()
    assert ((np.diff(found.of) > 0) | (np.diff(found.time_ms) > 0)).all()
    reader = FileReader(found, 300)
    (answer,) = reader.range(0, int(reader.newest_s) + 300, None)
    assert all(isinstance(json.loads(answer.batch.label_bytes(i)), dict) for i in range(answer.batch.series))


def _incidents(raw: bytes, suffix: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=suffix, dir=_FOLDER) as file:
        Path(file.name).write_bytes(raw)
        try:
            found = read_incidents(file.name)
        except BacktestError as error:
            return _said(error)
    assert found
    assert all(one.start_s <= one.end_s for one in found)
    return None


def _said(error: BacktestError) -> None:
    """A refusal is a message."""
    assert str(error)
