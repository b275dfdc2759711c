"""Threads that share work."""

from __future__ import annotations

import threading
import time

import pytest

from exporter.crew import Crew, processors


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_parts(threads: int) -> None:
    crew = Crew(threads)

    def work(part: int) -> int:
        time.sleep(0.001 * (part % 3))
        return 10 * part

    assert crew.each(work, range(40))[0] == [10 * part for part in range(40)]
    assert crew.each(work, []) == ([], 0.0)
    crew.close()


def test_parts_are_worked_on_side_by_side() -> None:
    crew, meeting = Crew(3), threading.Barrier(3, timeout=20)
    assert len(crew.each(lambda _: meeting.wait(), range(3))[0]) == 3
    crew.close()


def test_the_time_of_others_is_told() -> None:
    def work(_: int) -> None:
        end_s = time.thread_time() + 0.02
        while time.thread_time() < end_s:
            pass

    crew = Crew(2)
    assert crew.each(work, range(4))[1] >= 0.08
    assert crew.each(work, range(1))[1] == 0.0  # a part alone is done by who asks
    crew.close()


def test_what_a_part_raises_is_raised_after_those_under_way() -> None:
    crew, running = Crew(2), []

    def work(part: int) -> None:
        if part == 0:
            raise ValueError("part 0")
        running.append(part)
        time.sleep(0.05)
        running.remove(part)

    with pytest.raises(ValueError, match="part 0"):
        crew.each(work, range(50))
    assert running == []
    crew.close()


def test_two_may_ask_at_once_and_neither_waits_for_all_of_the_other() -> None:
    crew, begun, second_ended, left = Crew(2), threading.Event(), threading.Event(), []

    def work(part: int) -> None:
        begun.set()
        if not second_ended.is_set():
            left.append(part)
            time.sleep(0.01)

    large = threading.Thread(target=lambda: crew.each(work, range(20_000)))  # more than a minute of it, if need be
    large.start()
    assert begun.wait(30)
    crew.each(lambda _: time.sleep(0.001), range(4))
    second_ended.set()
    large.join()
    assert len(left) < 20_000
    crew.close()


def test_there_is_a_processor() -> None:
    assert processors() >= 1
