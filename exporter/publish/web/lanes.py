"""Threads that make answers, in lanes: what may take long has few threads of its own and keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], Any]
    future: Future[Any]
    key: Hashable


class Lane:
    """Up to so many threads, made when they are needed. They are daemons: work that hangs can't keep a process alive,
    as it would with the threads of a ThreadPoolExecutor, which are joined at the exit."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._most = threads
        self._made = 0
        self._idle = threading.Semaphore(0)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unstarted: dict[Hashable, Future[Any]] = {}

    async def run(self, work: Callable[[], T], key: Hashable = None) -> T:
        """What the work returns or raises; it runs in a thread of the lane as soon as one is free. From one event loop.

        Who comes with the key of work that has not begun shares it: what it gives is as new as if it were made for
        each of them.
        """
        return await asyncio.shield(asyncio.wrap_future(self._ordered(work, key)))

    def close(self) -> None:
        """Let the threads end when they have nothing more to do."""
        for _ in range(self._made):
            self._jobs.put(None)

    def _ordered(self, work: Callable[[], T], key: Hashable) -> Future[T]:
        with self._lock:
            if key is not None and key in self._unstarted:
                return self._unstarted[key]
        self._find_thread()
        job = _Job(work, Future(), key)
        with self._lock:
            if key is not None:
                self._unstarted[key] = job.future
        self._jobs.put(job)
        return job.future

    def _find_thread(self) -> None:
        """One that is idle, or one more. Raises RuntimeError where there is none and none can be made."""
        if self._idle.acquire(blocking=False) or self._made == self._most:
            return
        try:
            threading.Thread(target=self._work, name=f"web-{self._name}-{self._made + 1}", daemon=True).start()
        except RuntimeError:  # the process may have no more
            if not self._made:
                raise
        else:
            self._made += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                self._unstarted.pop(job.key, None)
            tell = _done(job)
            self._idle.release()  # before it is told: who hears of it may come again at once
            tell()
            del job, tell  # a large page must not be kept until the next request comes


def _done(job: _Job) -> Callable[[], None]:
    """Do it; returns what tells whoever waits for it."""
    try:
        return partial(job.future.set_result, job.work())
    except Exception as error:  # noqa: BLE001 -- it is raised again where the work was ordered
        return partial(job.future.set_exception, error)
