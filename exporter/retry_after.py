"""The Retry-After header and HTTP's dates, for all who send requests."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime


def retry_after_s(header: str) -> float:
    """A Retry-After header (seconds or a date) as seconds from now; 0 when absent or unreadable."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    date_s = http_date_s(text)
    return 0.0 if date_s is None else max(0.0, date_s - time.time())


def http_date_s(text: str) -> float | None:
    """An HTTP date in unix seconds; None for what is none. RFC 9110, 5.6.7: all are of UTC, also asctime's without a
    zone."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
