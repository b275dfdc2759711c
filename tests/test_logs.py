"""One line per record, whatever strangers put into it."""

from __future__ import annotations

import json
import logging

import pytest

from exporter.logs import JsonFormatter, LogfmtFormatter


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "levelname": "WARNING", "created": 1_700_000_000.5})
    made.__dict__.update(extra)
    return made


def test_logfmt_line():
    line = LogfmtFormatter().format(record("cycle late", query="a/b", over_seconds=1.25))
    assert line == 'ts=2023-11-14T22:13:20.500Z level=warn msg="cycle late" query=a/b over_seconds=1.25'


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "tab\there", "\x1b[31mred", "", "a=b", "ü ☃"])
def test_nothing_breaks_the_line(text):
    line = LogfmtFormatter().format(record(text, value=text))
    assert "\n" not in line
    assert "\x1b" not in line
    assert json.loads(line.split("msg=", 1)[1].split(" value=")[0]) == text if " " in line else True
    assert json.loads(JsonFormatter().format(record(text, value=text)))["value"] == text


def test_a_traceback_stays_on_the_line():
    try:
        raise ValueError("broken\nbadly")
    except ValueError as error:
        made = record("failed", exc_info=(ValueError, error, error.__traceback__))
    line = LogfmtFormatter().format(made)
    assert "\n" not in line
    assert "ValueError" in line
