"""Who is due when: ticks on the epoch's grid, phases spread over the interval, late and skipped cycles counted.

Knows no statistics and no network: a job is a name, an interval and a function of the cycle's time. APScheduler keeps
the clock; lanes keep the threads, so that the jobs of one owner can't hold up those of another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from zlib import crc32

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from exporter.lanes import Lanes

SPREAD = 0.6  # share of the interval over which the jobs' starts are spread
SETTLE_S = 0.2  # a sample of this very second may need a moment to be visible

_MOST_REPORTED = 1000  # skipped cycles reported at once, after a clock that jumped or a machine that slept
_WATCH_S = 1.0  # how often the clock is looked at
_SET_BACK_S = 2.0  # a clock that goes back by more has been set; less is its usual correction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to run every ``interval_s`` with the cycle's time; ``run`` must not raise.

    At most ``most`` jobs of an ``owner`` run at once. ``work`` is what ``run`` works on: a job that takes the place of
    one with its key goes on where that was when it is the same, and begins at once when it is another.
    """

    key: str
    interval_s: int
    run: Callable[[int], None]
    skipped: Callable[[int], None]
    late: Callable[[float], None]
    owner: str = ""
    most: int = 1 << 30
    work: object = None


class GridTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Fires at once, then at every multiple of ``interval_s`` since the epoch, plus a phase: equal in every process."""

    def __init__(self, interval_s: int, phase_s: float) -> None:
        self.interval_s = interval_s
        self.phase_s = phase_s

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """`now` the first time, then the first grid time after `now` and after the previous one."""
        if previous_fire_time is None:
            return now
        after = max(now.timestamp(), previous_fire_time.timestamp()) - self.phase_s
        cycle = int(after // self.interval_s) + 1
        return datetime.fromtimestamp(cycle * self.interval_s + self.phase_s, UTC)


def phase(index: int, jobs: int, interval_s: int) -> float:
    """Seconds after the grid time at which the index-th of so many jobs starts."""
    return SETTLE_S + SPREAD * interval_s * index / max(jobs, 1) if interval_s > 1 else 0.0


class Schedule:
    """Runs jobs on a small pool of threads. One job never overlaps itself; a grid time that passes while the cycle
    before still runs is skipped and reported, and so is by how much a cycle overran its interval."""

    def __init__(self, workers: int) -> None:
        self._lanes = Lanes(workers)
        self._scheduler = BackgroundScheduler(
            executors={"default": DebugExecutor()},  # in the scheduler's own thread: a tick only queues
            # Nothing is dropped by the scheduler itself: `_Runner` sees every tick and accounts for it.
            job_defaults={"misfire_grace_time": None, "coalesce": False, "max_instances": 10_000},
            timezone=UTC,
        )
        self._runners: dict[str, _Runner] = {}
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._watch = threading.Thread(target=self._watch_clock, name="clock", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._scheduler.start()
        self._watch.start()

    def set_jobs(self, jobs: list[Job]) -> None:
        """Replace all jobs. One that keeps its key still does not overlap itself. The first run of any work comes at
        once, or as soon as what it takes the place of has ended."""
        with self._changing:
            keep = {job.key for job in jobs}
            self._runners = {key: runner for key, runner in self._runners.items() if key in keep}
            for index, job in enumerate(sorted(jobs, key=lambda job: job.key)):
                runner = self._runners.setdefault(job.key, _Runner(self._stopping, self._lanes))
                runner.job, runner.phase_s = job, phase(index, len(jobs), job.interval_s)
            self._add_all()

    def change_jobs(self, gone: Iterable[str], new: Iterable[Job]) -> None:
        """End some jobs, by their keys, and begin others; the rest does not notice."""
        with self._changing:
            for key in gone:
                if self._runners.pop(key, None) is not None:
                    self._scheduler.remove_job(key)
            for job in new:
                runner = self._runners.setdefault(job.key, _Runner(self._stopping, self._lanes))
                runner.job, runner.phase_s = job, phase(crc32(job.key.encode()), 1 << 32, job.interval_s)
                self._add(job.key, runner)

    def _add_all(self) -> None:
        self._scheduler.remove_all_jobs()
        for key, runner in self._runners.items():
            self._add(key, runner)

    def _add(self, key: str, runner: _Runner) -> None:
        if runner.job is not None:
            trigger = GridTrigger(runner.job.interval_s, runner.phase_s)
            self._scheduler.add_job(runner.tick, trigger, id=key, replace_existing=True)

    def _watch_clock(self) -> None:
        """Fire times lie ahead of a clock that has been set back, for as long as that was: count them anew."""
        ahead_s = time.time() - time.monotonic()
        while not self._stopping.wait(_WATCH_S):
            self._lanes.go_on()
            before_s, ahead_s = ahead_s, time.time() - time.monotonic()
            if ahead_s < before_s - _SET_BACK_S:
                log.warning("the clock was set back, cycles go on from there", extra={"seconds": before_s - ahead_s})
                with self._changing:
                    for runner in self._runners.values():
                        runner.set_back()
                    self._add_all()

    def stop(self, patience_s: float) -> bool:
        """Stop ticking; wait at most so long for running cycles. Returns whether all of them ended."""
        self._stopping.set()
        self._lanes.close()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        deadline = time.monotonic() + patience_s
        return all(runner.wait(deadline) for runner in self._runners.values())


class _Runner:
    """One job's cycles: at most one runs at a time, each grid time at most once, and each is accounted for."""

    def __init__(self, stopping: threading.Event, lanes: Lanes) -> None:
        self.job: Job | None = None
        self.phase_s = 0.0
        self._stopping = stopping
        self._lanes = lanes
        self._queued = threading.Lock()
        self._running = threading.Lock()
        self._accounted = -1  # newest cycle number that ran or was reported as skipped
        self._ran: object = self  # the work of the last cycle; of no job before the first

    def tick(self) -> None:
        """The scheduler's call: at once when the job is new, then at each grid time."""
        job = self.job
        if job is None or self._stopping.is_set() or self._running.locked():
            return  # the running cycle, or the next one, accounts for this grid time
        if self._queued.acquire(blocking=False):
            self._lanes.put(job.owner, job.most, self._cycle_due)

    def _cycle_due(self) -> None:
        job = self.job
        self._queued.release()
        if job is None or self._stopping.is_set() or not self._running.acquire(blocking=False):
            return
        try:
            first, self._ran = job.work is not self._ran, job.work
            if first:
                self._run_first(job, self._cycle(job))
            else:
                self._run(job, self._cycle(job))
        finally:
            self._running.release()
        if self.job is not None and self.job.work is not job.work:
            self.tick()  # its own tick has met the end of this cycle

    def set_back(self) -> None:
        """The clock went back: grid times that have been served come again later, the next one is ahead of now."""
        if self.job is not None and self._accounted >= 0:
            self._accounted = min(self._accounted, self._cycle(self.job))

    def wait(self, deadline: float) -> bool:
        """Whether nothing of this job runs at the deadline (monotonic seconds) at the latest."""
        if self._running.acquire(timeout=max(0.0, deadline - time.monotonic())):
            self._running.release()
            return True
        return False

    def _cycle(self, job: Job) -> int:
        return int((time.time() - self.phase_s) // job.interval_s)

    def _run_first(self, job: Job, cycle: int) -> None:
        """The cycle whose grid time has just passed, without waiting for the next. It may read a whole window: grid
        times that pass meanwhile are not counted as skipped."""
        self._accounted = cycle
        job.run(cycle * job.interval_s)
        self._accounted = self._cycle(job)

    def _run(self, job: Job, cycle: int) -> None:
        if cycle <= self._accounted:  # this grid time has been served; also when the clock went back
            return
        for missed in range(max(self._accounted + 1, cycle - _MOST_REPORTED), cycle):
            job.skipped(missed * job.interval_s)
        self._accounted = cycle
        job.run(cycle * job.interval_s)
        over_s = time.time() - self.phase_s - (cycle + 1) * job.interval_s
        if over_s > 0:
            job.late(over_s)
