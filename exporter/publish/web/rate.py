"""A token bucket: so many at once, then one per interval."""

from __future__ import annotations

import threading
import time


class TokenBucket:
    """Holds up to ``burst`` tokens and gets a new one every ``interval_s``. Safe between threads."""

    def __init__(self, interval_s: float, burst: int) -> None:
        self._interval_s = interval_s
        self._most = float(burst)
        self._tokens = self._most
        self._filled_s = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take a token: 0 when there was one, else the seconds until the next."""
        with self._lock:
            now_s = time.monotonic()
            self._tokens = min(self._most, self._tokens + (now_s - self._filled_s) / self._interval_s)
            self._filled_s = now_s
            if self._tokens < 1:
                return (1 - self._tokens) * self._interval_s
            self._tokens -= 1
            return 0.0
