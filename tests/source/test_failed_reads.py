"""A read that fails: nothing of what it had read stays in memory, neither for good nor until Python's collector comes.

An error holds, by its traceback, everything that those who read knew when it was raised: whole answers, which may be
hundreds of MB. The collector has no idea of their size, and seldom looks at objects that are old.
"""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import time
import weakref
from collections.abc import Callable, Iterator

import pytest
from support.loopback import LoopbackServer, Request, http

from exporter.errors import SourceUnavailable
from exporter.source.breaker import FAILURES, Breaker
from exporter.source.client import Client
from exporter.source.reader import Reader

Serve = Callable[..., LoopbackServer]
ClientOf = Callable[..., Client]
Seen = list[weakref.ref[object]]
PATIENCE_S = 10.0  # for threads that are about to forget what they did


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """The collector has its turn before and after: the server's end waits for that of connections."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def kept(seen: Seen) -> int:
    """How many of these stay."""
    deadline_s = time.monotonic() + PATIENCE_S
    while any(one() is not None for one in seen) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return sum(one() is not None for one in seen)


def half_down(request: Request, connection: socket.socket) -> None:
    """Has the first hour only."""
    start, end, step = (int(float(request.form[name])) for name in ("start", "end", "step"))
    points = [[at_s, str(at_s)] for at_s in range(start, end + 1, step)]
    body = {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": points}]}}
    connection.sendall(http(200, json.dumps(body, separators=(",", ":"))) if end <= 3600 else http(503, "broken"))


def read(reader: Reader, seen: Seen) -> None:
    """Read two hours; remember each answer weakly."""
    with contextlib.suppress(SourceUnavailable):
        for answer in reader.range(60, 7200, 1):
            seen.append(weakref.ref(answer.batch.value))
        pytest.fail("the second hour was there")


@pytest.mark.parametrize("in_flight", [1, 4])
def test_of_a_failed_read_no_answer_is_kept(serve: Serve, client_of: ClientOf, in_flight: int) -> None:
    client = client_of(serve(half_down).url, retries=0)
    client.breaker = Breaker()
    reader = Reader(client, "up", 60, max_points=20, max_in_flight=in_flight)
    seen: Seen = []
    with no_collector():
        while not seen:  # with several in flight the failure may come first
            read(reader, seen)
        left = kept(seen)
    assert left == 0


def test_a_breaker_remembers_a_failure_by_its_words() -> None:
    breaker = Breaker()
    seen: Seen = []

    def cycle() -> None:
        held = {"all that was read"}
        seen.append(weakref.ref(held))
        with breaker.call():
            raise SourceUnavailable("it is down", reason="timeout", status=503)

    with no_collector():
        for _ in range(FAILURES):
            with contextlib.suppress(SourceUnavailable):
                cycle()
        left = kept(seen)
    assert left == 0
