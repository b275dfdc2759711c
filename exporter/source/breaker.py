"""Not asking a server that does not answer: a circuit breaker with backoff, one for each tenant.

It opens after some calls in a row have failed for want of a server (no connection, no answer in time, 5xx, 429, 401,
403). Then nothing is asked for a while, a single call tries again, and what becomes of that decides. A query that the
server refuses (400, 404, 422) is an answer: it says that the server is there.

A server may also fail some queries only, time after time: those must not hold back the others. So it stays closed while
any query has lately been answered, and refuses a query only if that has failed itself.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from exporter.errors import SourceError, SourceUnavailable

OPEN_REASON = "circuit_open"
FAILURES = 3
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
_PAUSE_INTERVALS = 2  # a recovery is noticed within so many intervals of the tenant's most frequent query

_REFUSES_US = ("unauthorized", "forbidden", "credentials", "oauth2", "tls")
_NOT_OF_THE_SERVER = ("stopped", OPEN_REASON)
_DOUBLINGS = 30  # of a pause: beyond, a float overflows long after the limit

State = Literal["closed", "open", "probing"]
# How a call was let through: as it is closed, as its query has not failed, as the pause is over.
Way = Literal["usual", "beside", "due"]


@dataclass(frozen=True, slots=True)
class Change:
    """What a breaker has come to: calls that failed in a row, the pause (0 when closed), the last failure's words."""

    state: State
    failures: int = 0
    pause_s: float = 0.0
    error: str = ""
    closed_for_s: float = 0.0


def unheard(_change: Change) -> None:
    """Nobody wants to know."""


def longest_pause_s(interval_s: int) -> float:
    """The longest pause for a tenant whose most frequent query has this interval."""
    return min(LONGEST_PAUSE_S, float(_PAUSE_INTERVALS * interval_s))


class Breaker:
    """The breaker of one tenant's client, for any thread. ``heard`` is told of every change, while no lock is held."""

    def __init__(
        self,
        longest_s: float = LONGEST_PAUSE_S,
        heard: Callable[[Change], None] = unheard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.longest_s = longest_s
        self._heard = heard
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0  # calls in a row
        self._opened = 0  # times in a row
        self._open = False
        self._until_s = 0.0
        self._since_s = 0.0
        self._probing = False
        self._last = "", 0  # words and status only: an error holds all that its readers have read, by its traceback
        self._began_s = clock()  # no query has had its turn yet
        self._answered: dict[str, float] = {}  # by asker, when it last was; of one that has failed since, it is gone
        self._failed: set[str] = set()  # askers whose last call has
        self._heard_s: dict[str, float] = {}  # by asker, when it last was answered, whatever came since
        self._good: set[str] = set()  # askers that were answered until the server went

    @property
    def is_open(self) -> bool:
        """Whether nothing but a single try may be asked."""
        return self._open

    def wait_s(self) -> float:
        """Seconds until the next try; 0 when closed, or when the next call is the try."""
        return max(0.0, self._until_s - self._clock()) if self._open else 0.0

    def refuse(self, asker: str = "") -> None:
        """Raise what the last call met while the breaker is not closed, with the reason ``circuit_open``."""
        with self._lock:
            if self._open and asker in self._failed:
                raise self._refusal()

    @contextlib.contextmanager
    def call(self, asker: str = "") -> Iterator[bool]:
        """One call of a query, with all its attempts; gives whether it is a try, which should make one attempt only.

        Raises as ``refuse`` while none is due.
        """
        way = self._enter(asker)
        try:
            yield way != "usual"
        except SourceError as error:
            self._leave(asker, way, error)
            raise
        except BaseException:
            self._leave(asker, way, None, told=False)
            raise
        self._leave(asker, way, None)

    def _enter(self, asker: str) -> Way:
        with self._lock:
            if not self._open:
                return "usual"
            if asker not in self._failed:
                return "beside"  # it may fare better than those that have
            if self._probing or not self._may_try(asker):
                raise self._refusal()
            self._probing = True
        self._heard(Change("probing"))
        return "due"

    def _may_try(self, asker: str) -> bool:
        """Whether a try is due, and for this asker: one that failed before the others did may fail whatever the server
        does, and lets them try first. Not for ever: they may have ended."""
        over_s = self._clock() - self._until_s
        return over_s >= 0 and (asker in self._good or not self._good or over_s > self.longest_s)

    def _refusal(self) -> SourceUnavailable:
        # In the words of the failure itself, which do not change from cycle to cycle: they are logged once.
        words, status = self._last
        return SourceUnavailable(words, reason=OPEN_REASON, status=status)

    def _leave(self, asker: str, way: Way, error: SourceError | None, *, told: bool = True) -> None:
        with self._lock:
            self._probing = self._probing and way != "due"
            if not told or (error is not None and error.reason in _NOT_OF_THE_SERVER):
                change = None
            elif error is not None and is_away(error):
                change = self._fail(asker, way, error)
            else:
                change = self._close(asker, way)
        if change is not None:
            self._heard(change)

    def _fail(self, asker: str, way: Way, error: SourceError) -> Change | None:
        self._last = str(error), error.status
        self._failures += 1
        self._failed.add(asker)
        self._answered.pop(asker, None)
        if way != "due" and (self._open or self._failures < FAILURES or self._is_there()):
            return None
        if not self._open:
            self._since_s = self._clock()
            gone_s = max(self._heard_s.values(), default=0.0) - self.longest_s
            self._good = {each for each, heard_s in self._heard_s.items() if heard_s >= gone_s}
        elif way == "due":
            self._good.discard(asker)  # the others first
        self._open = True
        self._opened += 1
        pause_s = min(self.longest_s, FIRST_PAUSE_S * 2.0 ** min(self._opened - 1, _DOUBLINGS)) * random.uniform(0.5, 1)
        pause_s = max(pause_s, min(error.retry_after_s, self.longest_s))
        self._until_s = self._clock() + pause_s
        return Change("open", self._failures, pause_s, str(error))

    def _is_there(self) -> bool:
        """Whether the server has answered any query lately that has not failed since, or may yet."""
        newest_s = max(self._answered.values(), default=self._began_s)
        return self._clock() - newest_s < self.longest_s

    def _close(self, asker: str, way: Way) -> Change | None:
        if self._open and way == "usual":
            return None  # asked before the failures: says nothing about now
        self._failed.discard(asker)
        self._answered[asker] = self._heard_s[asker] = self._clock()
        was_open, self._open = self._open, False
        self._failures = self._opened = 0
        return Change("closed", closed_for_s=self._clock() - self._since_s) if was_open else None


class Onlooker:
    """Keeps to a breaker and has no part in it: for those who ask beside the cycles, such as an explanation.

    What they meet opens and closes nothing, and the tries are left to the cycles.
    """

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    @property
    def is_open(self) -> bool:
        """Whether nothing but a single try may be asked."""
        return self._breaker.is_open

    def refuse(self, asker: str = "") -> None:
        """As the breaker does."""
        self._breaker.refuse(asker)

    @contextlib.contextmanager
    def call(self, asker: str = "") -> Iterator[bool]:
        """One call of a query; gives whether it should make one attempt only. Raises as ``refuse``."""
        self._breaker.refuse(asker)
        yield self._breaker.is_open


def is_away(error: SourceError) -> bool:
    """Whether an error says that the server does not serve this tenant now, whatever is asked."""
    return isinstance(error, SourceUnavailable) or error.reason in _REFUSES_US
