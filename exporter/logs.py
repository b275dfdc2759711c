"""Log lines for machines and people: logfmt (as Prometheus writes) or JSON, one line each, never more.

Nobody waits for the log, and it does not grow without bound: what fails for a week is told, but not every second of it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import re
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from exporter.config.secret import hide

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")

_AT_ONCE = 20  # lines about one subject
_ONE_MORE_S = 60.0  # after which there may be another one
_SUBJECTS = 10_000
_WAITING_LINES = 10_000
_LAST_PATIENCE_S = 1.0

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_LONGEST = 8000  # characters of a message or value
_PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f]+\Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": {"warning": "warn", "critical": "error"}.get(record.levelname.lower(), record.levelname.lower()),
        "msg": record.getMessage(),
    }
    fields.update({key: value for key, value in record.__dict__.items() if key not in _OWN})
    if record.exc_info and record.exc_info[1] is not None:
        fields["error"] = repr(record.exc_info[1])
        fields["trace"] = logging.Formatter().formatException(record.exc_info)
    # What others say was looked through where it came in; this is for what nobody thought of, such as tracebacks.
    return {key: _clipped(hide(value) if isinstance(value, str) else value) for key, value in fields.items()}


def _visible(text: str) -> str:
    """What turns the direction of a line, moves the cursor or is no character is written as JSON escapes it."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _clipped(value: object) -> object:
    """Labels may be 64 kB long, log lines should not."""
    return (
        f"{value[:_LONGEST]}... ({len(value)} characters)"
        if isinstance(value, str) and len(value) > _LONGEST
        else value
    )


def _word(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.match(text) and text.isprintable() else _visible(json.dumps(text, ensure_ascii=False))


class LogfmtFormatter(logging.Formatter):
    """``ts=... level=... msg="..." key=value``; values with blanks, quotes or control characters are quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for a record; what was given as ``extra`` follows the message."""
        return " ".join(f"{key}={_word(value)}" for key, value in _fields(record).items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for a record; what was given as ``extra`` are further keys."""
        return _visible(json.dumps(_fields(record), ensure_ascii=False, default=str))


@dataclass(slots=True)
class _Budget:
    """Lines that may still be written about a subject, as of a time, and how many were not."""

    lines: float
    at_s: float
    held_back: int = 0


class Ration(logging.Filter):
    """Lets through 20 lines about a subject at once and one a minute from then on, which says how many were not.

    A subject is a query (or a tenant) at one level of one module; without those the module's level itself. What is held
    back is counted by the metrics as ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._budgets: OrderedDict[tuple[object, ...], _Budget] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line may be written. Called from any thread."""
        about = (getattr(record, "query", ""), getattr(record, "tenant", ""))
        with self._lock:
            return self._granted((record.name, record.levelno, *about), record, time.monotonic())

    def _granted(self, subject: tuple[object, ...], record: logging.LogRecord, now_s: float) -> bool:
        budget = self._budget(subject, now_s)
        budget.lines = min(_AT_ONCE, budget.lines + (now_s - budget.at_s) / _ONE_MORE_S)
        budget.at_s = now_s
        if budget.lines < 1:
            budget.held_back += 1
            return False
        budget.lines -= 1
        if budget.held_back:
            record.held_back, budget.held_back = budget.held_back, 0
        return True

    def _budget(self, subject: tuple[object, ...], now_s: float) -> _Budget:
        budget = self._budgets.pop(subject, None) or _Budget(_AT_ONCE, now_s)
        self._budgets[subject] = budget
        while len(self._budgets) > _SUBJECTS:
            self._budgets.popitem(last=False)
        return budget


class Spool(logging.Handler):
    """Hands lines to a thread that writes them: whoever logs meets no full disk and no pipe that nobody reads.

    Lines that find no room are dropped, and how many is told as soon as there is some. `flush` waits for a second.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING_LINES)
        self._lost = 0
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Put a line in the queue."""
        try:
            self._lines.put_nowait(self._line_of(record))
        except queue.Full:
            self._lost += 1

    def _line_of(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001 -- words that don't fit their values are no fault of what goes on there
            told = {"name": __name__, "levelname": "ERROR", "msg": "a log line could not be made, please report it"}
            where = f"{record.module}:{record.lineno}"
            return self.format(logging.makeLogRecord({**told, "where": where, "error": repr(error)}))

    def flush(self) -> None:
        """Wait until all lines are written, but not for long."""
        deadline_s = time.monotonic() + _LAST_PATIENCE_S
        while self._lines.unfinished_tasks and time.monotonic() < deadline_s:
            time.sleep(0.01)

    def close(self) -> None:
        """Write what waits, then end."""
        self.flush()
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        super().close()

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            lost = self._lost
            try:
                self._stream.write(line + "\n" + self._word_of(lost))
                self._stream.flush()
                self._lost -= lost
            except (OSError, ValueError):  # a full disk, or whoever read has gone: there is nowhere to tell it
                self._lost += 1
            finally:
                self._lines.task_done()

    def _word_of(self, lost: int) -> str:
        if not lost:
            return ""
        told = {"name": __name__, "levelname": "WARNING", "msg": "log lines were lost, they could not be written"}
        return self.format(logging.makeLogRecord({**told, "lines": lost})) + "\n"


def set_up(level: str, style: str, *, spooled: bool = False) -> None:
    """Send all log records of this process to standard error; ``spooled``: rationed, and without waiting for it."""
    handler = Spool(sys.stderr) if spooled else logging.StreamHandler(sys.stderr)
    if spooled:
        handler.addFilter(Ration())
    handler.setFormatter(JsonFormatter() if style == "json" else LogfmtFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel({"warn": "WARNING"}.get(level, level.upper()))
    # Their chatter about every tick and connection says nothing that our own lines do not.
    for noisy in ("apscheduler", "urllib3", "numba", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
