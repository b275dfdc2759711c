"""Ticks on the epoch's grid; nothing overlaps, nothing is skipped in silence."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from exporter.schedule import SPREAD, GridTrigger, Job, Schedule, phase


@dataclass
class Log:
    """A job that keeps a diary. Waiting is on events, so that slow machines are only slow."""

    interval_s: int = 1
    key: str = "job"
    hold: threading.Event = field(default_factory=threading.Event)
    ran: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    enough: threading.Event = field(default_factory=threading.Event)
    wanted: int = 3

    def __post_init__(self) -> None:
        self.hold.set()

    def run(self, time_s: int) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.ran.append(time_s)
        if len(self.ran) >= self.wanted:
            self.enough.set()
        self.hold.wait(30)
        self.running -= 1

    def job(self) -> Job:
        return Job(self.key, self.interval_s, self.run, self.skipped.append, self.late.append)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_the_first_fire_time_is_now_the_others_lie_on_the_epoch_grid_plus_the_phase():
    trigger = GridTrigger(60, 7.0)
    assert trigger.get_next_fire_time(None, at(1_000_000_000.0)) == at(1_000_000_000.0)
    assert trigger.get_next_fire_time(at(1_000_000_000.0), at(1_000_000_000.0)) == at(1_000_000_027.0)
    assert trigger.get_next_fire_time(at(1_000_000_027.0), at(1_000_000_027.0)) == at(1_000_000_087.0)


def test_a_clock_that_goes_back_does_not_repeat_a_fire_time():
    trigger = GridTrigger(60, 0.0)
    assert trigger.get_next_fire_time(at(1_000_000_080.0), at(999_999_000.0)) == at(1_000_000_140.0)


def test_phases_are_spread_and_stay_within_the_interval():
    phases = [phase(i, 10, 60) for i in range(10)]
    assert phases == sorted(phases)
    assert len(set(phases)) == 10
    assert max(phases) < SPREAD * 60 + 1
    assert phase(0, 1, 1) == 0.0


def test_the_first_run_comes_at_once_and_ticks_follow():
    log = Log()
    schedule = Schedule(2)
    schedule.start()
    schedule.set_jobs([log.job()])
    assert log.enough.wait(30)
    assert schedule.stop(10)
    assert log.ran == sorted(set(log.ran))
    assert all(isinstance(time_s, int) for time_s in log.ran)


def test_grid_times_are_multiples_of_the_interval():
    log = Log(interval_s=2, wanted=2)
    schedule = Schedule(2)
    schedule.start()
    schedule.set_jobs([log.job()])
    assert log.enough.wait(30)
    schedule.stop(10)
    assert [time_s % 2 for time_s in log.ran] == [0] * len(log.ran)


def test_a_cycle_that_overruns_is_reported_late_and_what_it_misses_as_skipped():
    log = Log(wanted=1)
    schedule = Schedule(4)
    schedule.start()
    schedule.set_jobs([log.job()])
    assert log.enough.wait(30)  # the first run is over at once: it is not counted, whatever it takes
    log.enough.clear()
    log.wanted = len(log.ran) + 1
    log.hold.clear()
    assert log.enough.wait(30)
    started = log.ran[-1]
    time.sleep(3.2)
    log.enough.clear()
    log.wanted = len(log.ran) + 1
    log.hold.set()
    assert log.enough.wait(30)
    schedule.stop(10)
    after = next(time_s for time_s in log.ran if time_s > started)
    assert [time_s for time_s in log.skipped if started < time_s < after] == list(range(started + 1, after))
    assert len(log.skipped) >= 2
    assert max(log.late) > 1
    assert log.most_running == 1


def test_a_long_first_run_is_not_counted_as_skipped_cycles():
    log = Log(wanted=1)
    log.hold.clear()
    schedule = Schedule(2)
    schedule.start()
    schedule.set_jobs([log.job()])
    assert log.enough.wait(30)
    time.sleep(2.5)
    log.enough.clear()
    log.wanted = 2
    log.hold.set()
    assert log.enough.wait(30)
    schedule.stop(10)
    assert [time_s for time_s in log.skipped if time_s <= log.ran[1] - 1] == []


def test_one_stuck_job_does_not_hold_up_another():
    stuck, healthy = Log(key="stuck", wanted=1), Log(key="healthy", wanted=4)
    stuck.hold.clear()
    schedule = Schedule(2)
    schedule.start()
    schedule.set_jobs([stuck.job(), healthy.job()])
    assert healthy.enough.wait(30)
    assert stuck.ran == stuck.ran[:1]
    stuck.hold.set()
    assert schedule.stop(10)


def test_stopping_gives_up_on_a_stuck_cycle_in_time():
    log = Log(wanted=1)
    log.hold.clear()
    schedule = Schedule(2)
    schedule.start()
    schedule.set_jobs([log.job()])
    assert log.enough.wait(30)
    assert schedule.stop(0.2) is False
    log.hold.set()


def test_a_reload_keeps_the_no_overlap_rule_and_drops_jobs_that_are_gone():
    kept, gone = Log(key="kept", wanted=1), Log(key="gone", wanted=1)
    schedule = Schedule(4)
    schedule.start()
    schedule.set_jobs([kept.job(), gone.job()])
    assert kept.enough.wait(30)
    assert gone.enough.wait(30)
    kept.hold.clear()
    schedule.set_jobs([kept.job()])
    before = len(gone.ran)
    time.sleep(2.2)
    assert len(gone.ran) <= before + 1
    assert kept.most_running == 1
    kept.hold.set()
    assert schedule.stop(10)


def test_other_work_under_the_same_key_begins_at_once_the_same_goes_on():
    first, same, other = (Log(interval_s=86_400, wanted=1) for _ in range(3))
    schedule = Schedule(2)
    schedule.start()
    schedule.set_jobs([replace(first.job(), work="a")])
    assert first.enough.wait(30)
    schedule.set_jobs([replace(same.job(), work="a")])
    schedule.set_jobs([replace(other.job(), work="b")])
    assert other.enough.wait(30)
    assert schedule.stop(10)
    assert (len(first.ran), same.ran, len(other.ran)) == (1, [], 1)


def test_other_work_waits_for_the_end_of_what_had_its_key():
    first, other = (Log(interval_s=86_400, wanted=1) for _ in range(2))
    first.hold.clear()
    schedule = Schedule(2)
    schedule.start()
    schedule.set_jobs([replace(first.job(), work="a")])
    assert first.enough.wait(30)
    schedule.change_jobs([], [replace(other.job(), work="b")])
    assert not other.enough.wait(0.5)
    first.hold.set()
    assert other.enough.wait(30)
    assert schedule.stop(10)
