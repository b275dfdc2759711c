"""Threads that share the work on many rows: kernels leave the interpreter lock alone, so they run side by side.

Work is cut into parts by its owner, the same parts however many threads there are: results do not depend on them.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")

_MOST_THREADS = 16
_AHEAD = 2  # parts handed in per thread: a large query must not keep the threads from a small one


def processors() -> int:
    """Processors that this process may use, at most 16."""
    return min(_MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class Crew:
    """Some threads for all units. Any thread may call `each`, but those of the crew itself."""

    def __init__(self, threads: int) -> None:
        """With one thread the work is done by whoever asks for it."""
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="crew") if threads > 1 else None

    def each(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> tuple[list[Result], float]:
        """The results of `work` on each part, in their order, and the CPU seconds that other threads spent on it.

        What a part raises is raised here, after the parts under way have ended.
        """
        parts = list(parts)
        if self._pool is None or len(parts) < 2:
            return [work(part) for part in parts], 0.0

        def timed(part: Part) -> tuple[Result, float]:
            start_s = time.thread_time()
            result = work(part)
            return result, time.thread_time() - start_s

        waiting: deque[Future[tuple[Result, float]]] = deque()
        done: list[tuple[Result, float]] = []
        try:
            for part in parts:
                if len(waiting) >= _AHEAD * self.threads:
                    done.append(waiting.popleft().result())
                waiting.append(self._pool.submit(timed, part))
            done += [future.result() for future in waiting]
        finally:
            for future in waiting:
                future.cancel()
            _settle(waiting)
        return [result for result, _ in done], sum(cpu_s for _, cpu_s in done)

    def close(self) -> None:
        """End the threads, without waiting for what they do."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _settle(futures: Iterable[Future[tuple[Result, float]]]) -> None:
    """Wait for those that could not be cancelled."""
    for future in futures:
        if not future.cancelled():
            future.exception()


ALONE = Crew(1)
