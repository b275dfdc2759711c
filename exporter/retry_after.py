"""The Retry-After header, for all who send requests."""

from __future__ import annotations

import email.utils
import time


def retry_after_s(header: str) -> float:
    """A Retry-After header (seconds or a date) as seconds from now; 0 when absent or unreadable."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
