"""The queue: requests of a bounded size in time order, nothing lost within the bound, the oldest dropped beyond it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive.remote_write import decode
from support.receiver import Reply, accept, receiver
from support.writing import NOW_MS, FakeClock, Stand, samples, written

from exporter.config import QueueConfig
from exporter.publish.remote_write.queue import Queue, halves
from exporter.publish.remote_write.wire import Encoded

MIB = 1 << 20


class Made:
    """A queue with a clock, and what it has dropped."""

    def __init__(self, **settings) -> None:
        self.clock = FakeClock(0.0)
        self.dropped = 0
        self.queue = Queue(QueueConfig(**settings), self.drop, self.clock)

    def drop(self, reason: str, count: int) -> None:
        assert reason == "queue_full"
        self.dropped += count

    def taken(self) -> list[list]:
        found = []
        while (request := self.queue.take(flush=True)) is not None:
            assert request.samples == len(decode(request.raw()))
            found.append(decode(request.raw()))
        return found


def joined(parts: list[list]) -> list:
    return [each for part in parts for each in part]


def test_requests_are_full_but_for_the_last_and_keep_the_order():
    made = Made(max_samples_per_send=100)
    made.queue.put("u", 1, samples(250))
    made.queue.put("u", 1, samples(30, first=250))
    assert made.queue.samples == 280
    found = made.taken()
    assert [len(part) for part in found] == [100, 100, 80]
    assert joined(found) == written(280)
    assert made.queue.samples == made.queue.held_bytes == 0


def test_an_open_request_waits_for_its_deadline():
    made = Made(batch_send_deadline_s=5.0)
    made.queue.put("u", 1, samples(10))
    assert made.queue.take() is None
    made.clock.now_s = 4.0
    made.queue.put("other", 1, samples(10, first=10))
    assert made.queue.take() is None
    made.clock.now_s = 5.0
    assert made.queue.take().samples == 20


def test_the_next_cycle_of_a_unit_begins_a_request():
    made = Made()
    for cycle in range(3):
        made.queue.put("u", cycle, samples(2, NOW_MS + cycle))
        made.queue.put("v", cycle, samples(2, NOW_MS + cycle, first=10))
    sizes = [len(part) for part in made.taken()]
    assert sizes == [4, 4, 4]


@given(st.lists(st.tuples(st.sampled_from("uvw"), st.integers(0, 5), st.integers(0, 40)), max_size=30))
def test_no_request_holds_two_samples_of_a_series(puts):
    made = Made(max_samples_per_send=25)
    wanted = []
    cycles = {"u": 0, "v": 0, "w": 0}
    for unit, ahead, count in puts:
        cycles[unit] += ahead + 1
        first = 1000 * "uvw".index(unit)
        made.queue.put(unit, cycles[unit], samples(count, cycles[unit], first))
        wanted += written(count, cycles[unit], first)
    found = made.taken()
    assert joined(found) == wanted
    for part in found:
        assert len({each.labels for each in part}) == len(part) <= 25


def test_a_request_is_full_by_bytes_too():
    made = Made(max_samples_per_send=1_000_000, max_bytes=MIB)
    made.queue.put("u", 1, samples(30_000))
    parts = made.taken()
    assert len(parts) > 3
    assert joined(parts) == written(30_000)[-sum(map(len, parts)) :]


@pytest.mark.parametrize(("limit", "count"), [({"capacity": 5000}, 600), ({"max_bytes": MIB}, 4000)])
def test_beyond_the_bound_the_oldest_go_and_are_counted(limit, count):
    made = Made(max_samples_per_send=500, **limit)
    rng = np.random.default_rng(1)
    for cycle in range(60):
        encoded = samples(count, NOW_MS + cycle, first=int(rng.integers(10**9)))
        made.queue.put("u", cycle, encoded)
        assert made.queue.samples <= made.queue.capacity
        assert made.queue.held_bytes <= made.queue.max_bytes
    times = [each.time_ms for part in made.taken() for each in part]
    assert times == sorted(times)
    assert times[-1] == NOW_MS + 59
    assert len(times) + made.dropped == 60 * count
    assert made.dropped > 0


def test_what_is_put_back_comes_again_first_and_counts():
    made = Made(max_samples_per_send=10, capacity=40)
    made.queue.put("u", 1, samples(40))
    first = made.queue.take()
    made.queue.put_back(halves(first))
    assert made.queue.samples == 40
    assert joined(made.taken()) == written(40)
    made.queue.put("u", 2, samples(40))
    first = made.queue.take()
    made.queue.put("u", 3, samples(10, NOW_MS + 3))
    made.queue.put_back([first])  # there is no room any more: the oldest goes
    assert made.dropped == 10
    assert joined(made.taken()) == [*written(40)[10:], *written(10, NOW_MS + 3)]


def test_a_smaller_bound_after_a_reload_holds_at_once():
    made = Made(max_samples_per_send=10)
    made.queue.put("u", 1, samples(100))
    made.queue.use(QueueConfig(max_samples_per_send=10, capacity=30))
    assert (made.queue.samples, made.dropped) == (30, 70)


def test_halves_of_one_sample_are_itself():
    made = Made()
    made.queue.put("u", 1, samples(1))
    request = made.queue.take(flush=True)
    assert halves(request) == [request]


def test_nothing_is_no_request():
    made = Made(batch_send_deadline_s=0.0)
    empty = np.empty(0, np.int64)
    made.queue.put("u", 1, Encoded(np.empty(0, np.uint8), empty, empty))
    assert made.queue.take(flush=True) is None


def outage(stand: Stand, clock: FakeClock, minutes: int, series: int, receiving) -> None:
    """Cycles every minute while the receiver is down, attempts every time the sender asks for one; then it is up."""
    receiving.respond = lambda posted: Reply(503)
    for minute in range(minutes):
        time_ms = NOW_MS + minute * 60_000
        stand.put(samples(series, time_ms), cycle_ms=time_ms)
        while clock.now_s < (time_ms + 60_000) / 1000:
            clock.now_s += max(stand.sender.step() or 0.0, 5.0)
    receiving.respond = accept
    stand.drain()


def test_ten_minutes_without_a_receiver_lose_nothing_within_the_bound():
    clock = FakeClock()
    with receiver() as back:
        stand = Stand(back.url, clock, capacity=10 * 3000, max_samples_per_send=700)
        outage(stand, clock, 10, 3000, back)
    assert back.samples == [each for minute in range(10) for each in written(3000, NOW_MS + minute * 60_000)]
    assert stand.count("samples_dropped_total", reason="queue_full") == 0
    assert stand.count("samples_retried_total") > 10 * 700
    assert (stand.count("samples_total"), stand.count("samples_failed_total")) == (30_000, 0)


def test_a_longer_outage_loses_the_oldest_and_counts_them(caplog):
    clock = FakeClock()
    with receiver() as back:
        stand = Stand(back.url, clock, capacity=10 * 3000, max_samples_per_send=1000)
        outage(stand, clock, 14, 3000, back)
    kept = [each for minute in range(4, 14) for each in written(3000, NOW_MS + minute * 60_000)]
    assert back.samples == kept
    assert stand.count("samples_dropped_total", reason="queue_full") == 4 * 3000
    assert caplog.text.count("the queue is full") == 1
