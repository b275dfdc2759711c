"""Threads shared fairly: everyone who has work has a lane, and no lane can take the threads of the others.

A lane whose work hangs keeps what it has; each other one can always begin a piece of work at once.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable

log = logging.getLogger(__name__)

Work = Callable[[], None]


class Lanes:
    """Up to ``workers`` threads for all lanes together, and beyond that one for each lane that has none.

    So a piece of work waits for its own lane only, unless all workers are busy; then each lane runs one piece after
    the other. A thread is made when there is work (0.1 ms), goes on with what waits, and ends: none is idle. Threads
    are daemons: one that hangs is abandoned.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[tuple[int, Work]]] = OrderedDict()
        self._running: dict[str, int] = {}
        self._busy = 0
        self._closed = False

    def put(self, lane: str, most: int, work: Work) -> None:
        """Run this soon, beside less than ``most`` others of its lane. Never waits; for want of a thread it begins when
        another piece of work ends, or with `go_on`."""
        with self._lock:
            if not self._closed:
                self._waiting.setdefault(lane, deque()).append((most, work))
                self._begin()

    def go_on(self) -> None:
        """Begin what could not begin before for want of a thread."""
        with self._lock:
            self._begin()

    def close(self) -> None:
        """Begin nothing any more; what runs goes on."""
        with self._lock:
            self._closed = True
            self._waiting.clear()

    def _begin(self) -> None:
        """Begin all that may begin now. The lock is held."""
        while (found := self._take()) is not None:
            try:
                threading.Thread(target=self._run, args=found, name=f"lane-{found[0]}"[:60], daemon=True).start()
            except RuntimeError:  # the process may have no more threads just now
                lane, most, work = found
                self._give_back(lane)
                self._waiting.setdefault(lane, deque()).appendleft((most, work))
                return

    def _run(self, lane: str, most: int, work: Work) -> None:
        going_on: tuple[str, int, Work] | None = (lane, most, work)
        while going_on is not None:
            lane, _, work = going_on
            try:
                work()
            except Exception:  # a mistake of ours must be seen, and must not hold up the lane
                log.exception("internal error, please report it")
            with self._lock:
                self._give_back(lane)
                going_on = self._take()
                self._begin()

    def _take(self) -> tuple[str, int, Work] | None:
        """The first work in turn that may begin; its lane has one more running. The lock is held."""
        lane = next((lane for lane in self._waiting if self._may_begin(lane)), None)
        if lane is None:
            return None
        waiting = self._waiting[lane]
        most, work = waiting.popleft()
        if waiting:
            self._waiting.move_to_end(lane)  # the others first
        else:
            del self._waiting[lane]
        self._running[lane] = self._running.get(lane, 0) + 1
        self._busy += 1
        return lane, most, work

    def _give_back(self, lane: str) -> None:
        self._busy -= 1
        self._running[lane] -= 1
        if not self._running[lane]:
            del self._running[lane]

    def _may_begin(self, lane: str) -> bool:
        running = self._running.get(lane, 0)
        return running == 0 or (self._busy < self._workers and running < self._waiting[lane][0][0])
