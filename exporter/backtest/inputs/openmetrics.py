"""Samples from OpenMetrics text, as `promtool tsdb create-blocks-from openmetrics` takes it: each with its time.

After the OpenMetrics specification 1.0: times in seconds, `# EOF` at the end; exemplars are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from exporter.backtest.faults import BacktestError
from exporter.backtest.inputs.csvfile import csv_value
from exporter.backtest.inputs.samples import MILLISECONDS_FROM, Builder, Problems, Samples, to_ms

_LONGEST_LINE = 1 << 20
_LINE = re.compile(
    r"""(?P<series>[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?)
        \ (?P<value>[^\ ]+)(?:\ (?P<time>[^\ ]+))?(?:\ \#\ .*)?""",
    re.VERBOSE,
)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")
_EOF = "# EOF"


def read_openmetrics(path: str) -> Samples:
    """Read a file. Raises BacktestError with the first lines that are wrong."""
    builder, problems = Builder(path), Problems(path)
    ended = False
    for number, line in _lines(path):
        if ended and line:
            problems.add(f"line {number}", f"text after {_EOF}")
            break
        ended |= line == _EOF
        if line and not line.startswith("#"):
            try:
                _add(builder, line)
            except ValueError as error:
                problems.add(f"line {number}", str(error))
    if not ended:
        problems.add("the end", f"no {_EOF}: is the file complete?")
    problems.check()
    return builder.samples()


def _lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        with Path(path).open("rb") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if len(line) == _LONGEST_LINE:
                    raise BacktestError(f"{path}: line {number} is longer than {_LONGEST_LINE:,} bytes")
                yield number, line.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise BacktestError(f"{path}: can't be read: {(error.strerror or 'unknown').lower()}") from error
    except UnicodeDecodeError as error:
        raise BacktestError(f"{path}: line {number}: not UTF-8") from error


def _add(builder: Builder, line: str) -> None:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError('not a sample: name{label="value"} number seconds')
    series, value, time = found.group("series", "value", "time")
    if time is None:
        raise ValueError("no time: each sample needs one, in seconds")
    number = builder.series(series, lambda: _labels(series))
    builder.add(number, _time_ms(time), csv_value(value))


def _time_ms(text: str) -> int:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time in seconds") from None
    if abs(seconds) >= MILLISECONDS_FROM:
        raise ValueError(f"the time {text[:40]} looks like milliseconds: OpenMetrics has seconds")
    return to_ms(seconds)


def _labels(series: str) -> dict[str, str]:
    """The labels of a series as it is written, its name among them. Raises ValueError."""
    name, _, rest = series.partition("{")
    labels, at, text = {"__name__": name}, 0, rest[:-1]
    while at < len(text):
        found = _LABEL.match(text, at)
        if found is None:
            raise ValueError(f"labels that are not understood: {text[at : at + 40]!r}")
        if found.group(1) in labels:
            raise ValueError(f"the label {found.group(1)[:40]!r} is there twice")
        labels[found.group(1)] = _ESCAPED.sub(_unescape, found.group(2))
        at = found.end()
    return labels


def _unescape(found: re.Match[str]) -> str:
    return "\n" if found.group(1) == "n" else found.group(1)
