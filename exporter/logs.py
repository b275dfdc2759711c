"""Log lines for machines and people: logfmt (as Prometheus writes) or JSON, one line each, never more."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
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
    return fields


def _word(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=False)


class LogfmtFormatter(logging.Formatter):
    """``ts=... level=... msg="..." key=value``; values with blanks, quotes or control characters are quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for a record; what was given as ``extra`` follows the message."""
        return " ".join(f"{key}={_word(value)}" for key, value in _fields(record).items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for a record; what was given as ``extra`` are further keys."""
        return json.dumps(_fields(record), ensure_ascii=False, default=str)


def set_up(level: str, style: str) -> None:
    """Send all log records of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else LogfmtFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel({"warn": "WARNING"}.get(level, level.upper()))
    # Their chatter about every tick and connection says nothing that our own lines do not.
    for noisy in ("apscheduler", "urllib3", "numba", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
