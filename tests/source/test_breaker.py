"""When a server is not asked any more, for how long, and what ends that."""

from __future__ import annotations

import threading

import pytest

from exporter.errors import SourceError, SourceGarbled, SourceRefused, SourceTooMuch, SourceUnavailable
from exporter.source.breaker import FAILURES, FIRST_PAUSE_S, Breaker, Change, longest_pause_s
from exporter.source.client import Client
from exporter.source.faults import REASONS

DOWN = SourceUnavailable("it is down", reason="refused_connection")


class Patient:
    """A breaker with a clock of the test's own, and what it has told."""

    def __init__(self, longest_s: float = 60) -> None:
        self.now_s = 1000.0
        self.told: list[Change] = []
        self.breaker = Breaker(longest_s, self.told.append, lambda: self.now_s)
        self.now_s += longest_s  # every query has had its turn

    def call(self, error: SourceError | None = None, asker: str = "") -> str:
        """What became of a call that meets this: "ok", or the reason."""
        try:
            with self.breaker.call(asker):
                if error is not None:
                    raise error
        except SourceError as met:
            return met.reason
        return "ok"

    def open(self) -> float:
        """Let it open; returns the pause."""
        for _ in range(FAILURES):
            self.call(DOWN)
        assert self.breaker.is_open
        return self.told[-1].pause_s


def test_it_opens_after_some_failures_in_a_row_and_says_what_the_last_one_was() -> None:
    here = Patient()
    for _ in range(FAILURES - 1):
        assert here.call(DOWN) == "refused_connection"
    assert here.call() == "ok"  # one answer, and it begins anew
    for _ in range(FAILURES - 1):
        here.call(DOWN)
    assert not here.breaker.is_open
    here.call(DOWN)
    assert here.breaker.is_open
    with pytest.raises(SourceUnavailable, match="it is down") as caught, here.breaker.call():
        pytest.fail("it was asked")
    assert caught.value.reason == "circuit_open"
    assert caught.value.reason in REASONS
    assert [change.state for change in here.told] == ["open"]
    assert here.told[0].failures == FAILURES


def test_a_single_try_is_let_through_when_the_pause_is_over_and_one_answer_closes_it() -> None:
    here = Patient()
    pause_s = here.open()
    assert FIRST_PAUSE_S / 2 <= pause_s <= FIRST_PAUSE_S
    assert here.breaker.wait_s() == pytest.approx(pause_s)
    here.now_s += pause_s - 0.01
    assert here.call() == "circuit_open"
    here.now_s += 0.02
    with here.breaker.call() as probing:
        assert probing
        assert here.call() == "circuit_open"  # nobody else, while it is under way
    assert not here.breaker.is_open
    assert here.call() == "ok"
    assert [change.state for change in here.told] == ["open", "probing", "closed"]
    assert here.told[-1].closed_for_s == pytest.approx(pause_s + 0.01)


def test_pauses_double_up_to_the_longest_and_begin_anew_after_an_answer() -> None:
    here = Patient(longest_s=60)
    pauses = [here.open()]
    for _ in range(8):
        here.now_s += here.breaker.wait_s()
        assert here.call(DOWN) == "refused_connection"
        pauses.append(here.told[-1].pause_s)
    for doublings, pause_s in enumerate(pauses):
        most_s = min(60, FIRST_PAUSE_S * 2**doublings)
        assert most_s / 2 <= pause_s <= most_s
    here.now_s += 60
    assert here.call() == "ok"
    assert here.open() <= FIRST_PAUSE_S


def test_a_server_that_names_a_time_is_left_alone_for_so_long_up_to_the_longest() -> None:
    here = Patient(longest_s=60)
    told = SourceUnavailable("slow down", reason="rate_limited", status=429, retry_after_s=40)
    for _ in range(FAILURES):
        here.call(told)
    assert here.told[-1].pause_s == 40
    here.now_s += 40
    here.call(SourceUnavailable("slow down", reason="rate_limited", status=429, retry_after_s=4000))
    assert here.told[-1].pause_s == 60


@pytest.mark.parametrize(
    "answer",
    [
        SourceRefused("bad", reason="bad_query", status=400),
        SourceRefused("gone", reason="not_found", status=404),
        SourceTooMuch("too much", reason="too_much", status=422),
        SourceGarbled("what", reason="garbled"),
    ],
)
def test_a_query_that_is_refused_is_an_answer(answer: SourceError) -> None:
    here = Patient()
    for _ in range(3 * FAILURES):
        assert here.call(answer) == answer.reason
    assert here.told == []
    here.open()
    here.now_s += 60
    assert here.call(answer) == answer.reason
    assert not here.breaker.is_open


@pytest.mark.parametrize("reason", ["unauthorized", "forbidden"])
def test_credentials_that_are_refused_open_it(reason: str) -> None:
    here = Patient()
    for _ in range(FAILURES):
        here.call(SourceRefused("no", reason=reason, status=401))
    assert here.breaker.is_open


def test_a_stop_says_nothing_about_the_server() -> None:
    here = Patient()
    for _ in range(3 * FAILURES):
        here.call(SourceUnavailable("stopping", reason="stopped"))
    assert not here.breaker.is_open
    here.open()
    here.now_s += 60
    here.call(SourceUnavailable("stopping", reason="stopped"))
    assert here.breaker.is_open
    assert here.call() == "ok"  # and the try is not lost
    assert not here.breaker.is_open


def test_queries_that_always_fail_hold_back_no_other() -> None:
    here = Patient(longest_s=120)
    here.now_s -= 120  # from the first cycle on
    for _ in range(20):  # cycles of a minute
        for bad in ("a", "b", "c", "d"):
            assert here.call(DOWN, bad) == "refused_connection"
        assert here.call(asker="good") == "ok"
        here.now_s += 60
    assert here.told == []


def test_a_server_that_is_away_is_not_held_open_by_what_it_answered_before() -> None:
    here = Patient(longest_s=120)
    assert here.call(asker="hourly") == "ok"
    for _ in range(3):
        here.call(DOWN, "a")
        here.now_s += 60
    assert here.breaker.is_open


def test_the_try_is_for_a_query_that_was_answered_until_the_server_went() -> None:
    here = Patient(longest_s=60)
    hopeless = [f"hopeless{i}" for i in range(40)]
    for _ in range(5):
        here.now_s += 30
        assert here.call(asker="fine") == "ok"
        for asker in hopeless:
            here.call(DOWN, asker)
    assert not here.breaker.is_open
    here.now_s += 61
    for asker in ("fine", *hopeless):
        here.call(DOWN, asker)
    assert here.breaker.is_open
    here.now_s += here.breaker.wait_s()
    assert {here.call(DOWN, asker) for asker in hopeless} == {"circuit_open"}
    assert here.call(DOWN, "fine") == "refused_connection"  # it tries, and is not the first next time
    here.now_s += here.breaker.wait_s()
    assert [here.call(DOWN, asker) for asker in hopeless[:2]] == ["refused_connection", "circuit_open"]
    here.now_s += here.breaker.wait_s()
    assert here.call(asker="fine") == "ok"
    assert not here.breaker.is_open


def test_who_was_answered_last_may_have_gone_and_others_try_then() -> None:
    here = Patient(longest_s=60)
    assert here.call(asker="gone") == "ok"
    here.now_s += 61
    for _ in range(FAILURES):
        here.call(DOWN, "left")
    here.now_s += here.breaker.wait_s()
    assert here.call(asker="left") == "circuit_open"
    here.now_s += 61
    assert here.call(asker="left") == "ok"


def test_the_try_is_not_for_a_query_that_was_answered_long_before_the_others() -> None:
    here = Patient(longest_s=60)
    here.call(asker="of old")
    here.now_s += 61
    here.call(asker="of late")
    here.now_s += 60
    for asker in ("of old", "of late", "of late"):
        here.call(DOWN, asker)
    here.now_s += here.breaker.wait_s()
    assert here.call(asker="of old") == "circuit_open"
    assert here.call(asker="of late") == "ok"


def test_an_answer_to_a_question_of_before_says_nothing_about_now() -> None:
    here = Patient()
    with here.breaker.call("early"):
        here.open()
    assert here.breaker.is_open
    assert [change.state for change in here.told] == ["open"]


def test_a_query_that_has_not_failed_is_let_through_and_its_answer_closes() -> None:
    here = Patient(longest_s=120)
    here.call(asker="hourly")
    here.now_s += 3000
    for _ in range(FAILURES):
        here.call(DOWN, "a")
    assert here.call(asker="a") == "circuit_open"
    assert here.call(asker="hourly") == "ok"
    assert not here.breaker.is_open
    assert here.call(asker="a") == "ok"


def test_what_fails_beside_the_try_is_asked_once_and_changes_no_pause() -> None:
    here = Patient(longest_s=120)
    for _ in range(FAILURES):
        here.call(DOWN, "a")
    wait_s = here.breaker.wait_s()
    with here.breaker.call("b") as probing:
        assert probing
    here.call(DOWN, "a")
    here.now_s += 200
    for _ in range(2 * FAILURES):
        here.call(DOWN, "a")
    pauses = len(here.told)
    assert here.call(DOWN, "c") == "refused_connection"
    assert here.call(asker="c") == "circuit_open"
    assert len(here.told) == pauses
    assert wait_s > 0


def test_a_try_that_ends_in_a_mistake_of_ours_is_not_lost() -> None:
    here = Patient()
    here.open()
    here.now_s += 60
    with pytest.raises(ZeroDivisionError), here.breaker.call():
        1 / 0  # noqa: B018
    assert here.call() == "ok"


def test_many_threads_make_one_try() -> None:
    here = Patient()
    here.open()
    here.now_s += 60
    tries, gate = [], threading.Barrier(8)

    def ask() -> None:
        gate.wait(30)
        try:
            with here.breaker.call() as probing:
                tries.append(probing)
                gate.wait(30)
        except SourceUnavailable:
            gate.wait(30)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert tries == [True]


def test_the_longest_pause_follows_the_interval() -> None:
    assert [longest_pause_s(s) for s in (2, 60, 300, 3600)] == [4, 120, 300, 300]


def test_a_client_asks_once_in_a_try_and_not_at_all_while_it_is_open(serve, session) -> None:
    answer = b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    server = serve(lambda request, connection: connection.sendall(answer))
    here = Patient()
    client = Client(server.url, session, backoff_s=0.001, timeout_s=5, breaker=here.breaker)
    for _ in range(FAILURES):
        with pytest.raises(SourceUnavailable):
            client.query("up", 1e9)
    asked = len(server.requests)
    assert asked == FAILURES * (1 + client.retries)
    with pytest.raises(SourceUnavailable) as caught:
        client.query("up", 1e9)
    assert caught.value.reason == "circuit_open"
    with pytest.raises(SourceUnavailable) as caught:
        next(client.stream("read", b"", {}, "application/x"))
    assert caught.value.reason == "circuit_open"
    assert len(server.requests) == asked
    here.now_s += 60
    with pytest.raises(SourceUnavailable, match="503"):
        client.query("up", 1e9)
    assert len(server.requests) == asked + 1
