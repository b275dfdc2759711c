"""One line per record, whatever strangers put into it."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from pathlib import Path

import pytest
from support.servers import wait_until

from exporter.logs import JsonFormatter, LogfmtFormatter, Ration, Spool


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


@pytest.mark.parametrize(
    "text", ["a\u202eb", "\u2066x\u2069", "\x9b31m", "line\u2028line", "\ud800", "\U000e0001", "\x85"]
)
def test_nothing_turns_or_moves_what_stands_around_it(text):
    for formatter in (LogfmtFormatter(), JsonFormatter()):
        line = formatter.format(record(f"series {text}", value=text))
        assert line.isprintable()
    assert json.loads(line)["value"] == text
    assert json.loads(LogfmtFormatter().format(record("m", value=text)).split("value=")[1]) == text


def test_a_long_text_is_cut():
    line = LogfmtFormatter().format(record("x" * 70_000, value="y" * 70_000))
    assert len(line) < 20_000
    assert line.count("... (70000 characters)") == 2


# --- how many lines, and who waits for them ---------------------------------------------------------------------------


def test_a_subject_has_a_ration_and_others_have_their_own(monkeypatch):
    ration, now = Ration(), [1000.0]
    monkeypatch.setattr("exporter.logs.time.monotonic", lambda: now[0])
    granted = [ration.filter(record("failed", query="a")) for _ in range(500)]
    assert granted == [True] * 20 + [False] * 480
    assert ration.filter(record("failed", query="b"))
    assert ration.filter(record("failed", tenant="a"))
    assert ration.filter(record("worse", query="a", levelno=logging.ERROR))
    now[0] += 61
    late = record("failed", query="a")
    assert ration.filter(late)
    assert late.held_back == 480
    assert not ration.filter(record("failed", query="a"))
    now[0] += 86_400
    assert [ration.filter(record("failed", query="a")) for _ in range(30)].count(True) == 20  # not a day's worth


def test_subjects_without_end_take_no_memory_without_end():
    ration = Ration()
    for i in range(10_500):
        assert ration.filter(record("failed", query=str(i)))
    assert len(ration._budgets) == 10_000


def test_whoever_logs_does_not_wait_for_a_pipe_that_nobody_reads():
    read_end, write_end = os.pipe()
    spool = Spool(os.fdopen(write_end, "w"))
    spool.setFormatter(LogfmtFormatter())
    ended, read = threading.Event(), bytearray()

    def chatter() -> None:
        for _ in range(12_000):
            spool.handle(record("x" * 100))
        ended.set()

    def reader() -> None:
        while chunk := os.read(read_end, 1 << 16):
            read.extend(chunk)
        os.close(read_end)

    threading.Thread(target=chatter, daemon=True).start()
    assert ended.wait(60)  # twenty times more than the pipe holds
    reading = threading.Thread(target=reader)
    reading.start()
    wait_until(lambda: not spool._lines.unfinished_tasks, "all that waited is written")
    spool.close()
    spool._stream.close()
    reading.join(60)
    assert b"log lines were lost" in read
    assert 10_000 <= read.count(b"msg=xxx") < 12_000


def test_a_line_that_cant_be_made_is_told_and_nobody_fails_by_it():
    out = io.StringIO()
    spool = Spool(out)
    spool.setFormatter(LogfmtFormatter())
    made = record("%d series")
    made.args = ("seven",)
    spool.handle(made)
    spool.handle(record("next"))
    spool.close()
    first, second = out.getvalue().splitlines()
    assert 'msg="a log line could not be made, please report it"' in first
    assert "TypeError" in first
    assert "msg=next" in second


def test_a_full_disk_is_survived_and_told_later(tmp_path: Path):
    class Disk(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    disk = Disk()
    spool = Spool(disk)
    spool.setFormatter(LogfmtFormatter())
    for _ in range(5):
        spool.handle(record("into the void"))
    spool.flush()
    disk.full = False
    spool.handle(record("again"))
    spool.close()
    assert "msg=again" in disk.getvalue()
    assert "log lines were lost" in disk.getvalue()
    assert "lines=5" in disk.getvalue()
