"""Threads in lanes, and the bucket of tokens."""

from __future__ import annotations

import asyncio
import threading

import pytest

from exporter.publish.web.lanes import Lane
from exporter.publish.web.rate import TokenBucket


def test_what_work_returns_and_raises() -> None:
    async def both() -> tuple[int, str]:
        with pytest.raises(ZeroDivisionError):
            await lane.run(lambda: 1 // 0)
        return await lane.run(lambda: 7), await lane.run(lambda: threading.current_thread().name)

    lane = Lane("test", 1)
    assert asyncio.run(both()) == (7, "web-test-1")
    lane.close()


def test_no_more_threads_than_allowed_and_no_more_than_needed() -> None:
    async def one_by_one() -> None:
        for _ in range(5):
            await lane.run(lambda: seen.add(threading.get_ident()))

    async def together() -> None:
        await asyncio.gather(*(lane.run(meet) for _ in range(12)))

    def meet() -> None:
        seen.add(threading.get_ident())
        gathered.wait(30)

    seen: set[int] = set()
    gathered = threading.Barrier(3)
    lane = Lane("few", 3)
    asyncio.run(one_by_one())
    assert len(seen) == 1
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("web-few-")] == ["web-few-1"]
    seen.clear()
    asyncio.run(together())
    assert len(seen) == 3
    lane.close()


def test_without_a_thread_work_is_refused_and_the_next_finds_one() -> None:
    async def ask() -> int:
        return await asyncio.wait_for(lane.run(lambda: 7, "key"), 30)

    lane = Lane("test", 1)
    usual = threading.stack_size(1 << 46)  # more than there are addresses: as where a process may have no more threads
    try:
        with pytest.raises(RuntimeError, match="new thread"):
            asyncio.run(ask())
    finally:
        threading.stack_size(usual)
    assert asyncio.run(ask()) == 7
    lane.close()


def test_equal_work_that_has_not_begun_is_shared_and_what_has_begun_is_not() -> None:
    begun, go = threading.Event(), threading.Event()
    made: list[int] = []

    def work() -> int:
        begun.set()
        assert go.wait(30)
        made.append(1)
        return len(made)

    async def ask() -> list[int]:
        first = asyncio.ensure_future(lane.run(work, "key"))
        await asyncio.to_thread(begun.wait, 30)
        others = [asyncio.ensure_future(lane.run(work, "key")) for _ in range(5)]
        another = asyncio.ensure_future(lane.run(work, "other"))
        leaving = asyncio.ensure_future(lane.run(work, "key"))
        await asyncio.sleep(0)
        leaving.cancel()  # who leaves takes nothing from those that share
        go.set()
        return [await first, *[await other for other in others], await another]

    lane = Lane("test", 1)
    assert asyncio.run(ask()) == [1, 2, 2, 2, 2, 2, 3]
    lane.close()


def test_threads_end_with_the_lane() -> None:
    lane = Lane("ending", 2)
    asyncio.run(lane.run(lambda: None))
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("web-ending")]
    assert threads
    assert all(thread.daemon for thread in threads)
    lane.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_a_bucket_gives_what_it_holds_and_then_says_how_long() -> None:
    bucket = TokenBucket(3600.0, 2)
    assert [bucket.take() for _ in range(2)] == [0.0, 0.0]
    assert 3500 < bucket.take() <= 3600
    quick = TokenBucket(1e-9, 1)
    assert [quick.take() for _ in range(100)] == [0.0] * 100
