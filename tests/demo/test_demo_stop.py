"""Asking the demo to end, by signal or otherwise."""

import os
import signal
import threading

import pytest

from exporter.demo.stop import SIGNALS, Stop, Stopped, listening


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_next_wait(number: signal.Signals) -> None:
    with listening() as stop:
        stop.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped):
            stop.wait(60)
        assert stop.signal == number


def test_a_signal_during_a_wait_ends_it() -> None:
    with listening() as stop:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(Stopped):
            stop.wait(60)


def test_a_second_signal_changes_nothing() -> None:
    with listening() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            stop.check()
        assert stop.signal == signal.SIGINT


def test_the_handlers_of_before_come_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with listening():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_the_handlers_come_back_after_an_error_too() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="inside"), listening():
        raise ValueError("inside")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_another_thread_may_listen_without_signals_and_be_asked() -> None:
    ended: list[bool] = []

    def play() -> None:
        with listening() as stop:
            stop.ask()
            try:
                stop.wait(60)
            except Stopped:
                ended.append(True)

    thread = threading.Thread(target=play)
    thread.start()
    thread.join()
    assert ended == [True]


def test_a_wait_without_a_request_returns() -> None:
    Stop().wait(0.01)
