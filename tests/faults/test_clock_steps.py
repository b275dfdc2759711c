"""A clock that is set, forwards and back, of the exporter alone or of the whole machine: no wrong verdict follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import requests
from support.loopback import http
from support.market import PODS, Answer, Manner, Market, Series, value
from support.process import config_text, parsed, running_exporter
from support.receiver import Receiver, receiver
from support.servers import wait_until
from support.watched import DAY, NOW, Watched

from exporter.app import App
from exporter.errors import SourceUnavailable
from exporter.publish.remote_write.wire import STALE_BITS
from exporter.schedule import GridTrigger, Job, Schedule
from exporter.source.clock import MOST_SKEW_S, Clock

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
START = "global: {interval: 1s, step: 5m, window: 2d}\n"
STEPS_S = {"a_day_ahead": 86_400, "an_hour_behind": -3600}


def date_of(time_s: float) -> str:
    return format_datetime(datetime.fromtimestamp(time_s, UTC), usegmt=True)


# --- the clock here and the clock of the server -----------------------------------------------------------------------


@dataclass
class Clocks:
    """A server by whose clock ours is ``ahead_s`` ahead. It has no samples of its own future."""

    ahead_s: float = 0.0
    market: Market = field(init=False)

    def __post_init__(self) -> None:
        self.market = Market(("m",), {}, {"m": Manner(self.known, send=self.dated)})

    def known(self, series: list[Series], newest: bool) -> Answer:
        now_s = time.time() - self.ahead_s
        for one in series:
            one["values"] = [[t, text] for t, text in one["values"] if t <= now_s]
        return [one for one in series if one["values"]], {}

    def dated(self, body: bytes) -> bytes:
        return http(200, body, Content_Type="application/json", Date=date_of(time.time() - self.ahead_s))


@dataclass
class Skewed:
    """An exporter beside a server whose clock differs now and then, and the receiver of its results."""

    app: App
    clocks: Clocks
    back: Receiver

    def page(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        return parsed(requests.get(f"http://127.0.0.1:{self.app.port}/metrics", timeout=120).text)

    def wait_for_good(self) -> None:
        """Two more cycles that went well."""
        unit = self.app.units["m"]
        after_s = time.time() + 1

        def well() -> bool:
            return unit.last is not None and not unit.last.error and unit.last.time_s > after_s

        wait_until(well, "cycles go well")


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Skewed]:
    clocks, folder = Clocks(), tmp_path_factory.mktemp("clocks")
    server = clocks.market.serve()
    with receiver() as back:
        config = folder / "config.yml"
        written = f"remote_write: [{{name: back, url: '{back.url}', queue_config: {{batch_send_deadline: 100ms}}}}]\n"
        config.write_text(config_text(server.url, {"m": "expr: m"}, start=START) + written)
        app = App(str(config))
        app.start("127.0.0.1:0", lifecycle=False)
        try:
            made = Skewed(app, clocks, back)
            made.wait_for_good()
            yield made
        finally:
            app.stop()
            server.close()


@pytest.mark.parametrize("step", STEPS_S)
def test_a_clock_that_differs_from_the_servers_changes_nothing_but_says_so(skewed: Skewed, step: str) -> None:
    """Without that every series would count as gone, and its end be written a day ahead of everybody."""
    unit, before = skewed.app.units["m"], skewed.page()
    filled = before["anomaly_exporter_gaps_filled_total"]
    skewed.clocks.ahead_s = STEPS_S[step]
    try:
        wait_until(lambda: unit.last.reason == "clock", "the difference is noticed")
        way = "ahead of" if STEPS_S[step] > 0 else "behind"
        assert f"hours {way} the server's" in unit.last.error or f"minutes {way} the server's" in unit.last.error
        assert "check the time service of both" in unit.last.error
        during = skewed.page()
        assert [labels for labels, _ in during["anomaly_score"]] == [labels for labels, _ in before["anomaly_score"]]
        assert "anomaly_absent_seconds" not in during
    finally:
        skewed.clocks.ahead_s = 0.0
    skewed.wait_for_good()
    after = skewed.page()
    assert [labels for labels, _ in after["anomaly_score"]] == [labels for labels, _ in before["anomaly_score"]]
    assert after["anomaly_exporter_gaps_filled_total"] == filled  # the window is the one of before
    written = skewed.back.samples
    assert {sample.bits for sample in written} - {STALE_BITS} == {sample.bits for sample in written}
    assert max(sample.time_ms for sample in written) <= time.time() * 1000
    times: dict[tuple, list[int]] = {}
    for sample in written:
        times.setdefault(sample.labels, []).append(sample.time_ms)
    assert all(each == sorted(set(each)) for each in times.values())  # none twice, none out of its turn


def test_the_date_of_an_answer_is_read_whatever_it_is() -> None:
    clock = Clock()
    odd = ("yesterday", "Thu, 99 Nov 2026 25:00:00 GMT", "\x00" * 1000, "Sat, 01 Jan 99999 00:00:00 GMT")
    for date in (None, "", *odd):
        clock.note(date)
        assert clock.ahead_s == 0.0, date
    clock.note(date_of(time.time() - MOST_SKEW_S / 2))
    clock.check("API")
    clock.note(date_of(time.time() + MOST_SKEW_S + 60))
    with pytest.raises(SourceUnavailable, match=r"API: the clock here is about 6 minutes behind the server's\. "):
        clock.check("API")
    clock.note(None)
    clock.check("API")


def test_while_the_clock_is_wrong_the_age_of_verdicts_is_not_told_by_it() -> None:
    watched = Watched()
    watched.run(2)
    watched.store.fail = SourceUnavailable("clocks differ", reason="clock")
    assert watched.unit.run_cycle(NOW + 86_400).reason == "clock"
    assert watched.published()  # withdrawn when they are old by a clock that nobody sets
    watched.store.fail = None
    assert watched.unit.run_cycle(NOW + 120).filled_columns == 0


# --- the clock of the whole machine, samples and all ------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("step_s", [3600, DAY])
def test_back_again_after_a_time_ahead_is_as_a_restart(step_s: int, plain: bool) -> None:
    """What was read and judged of a time that is yet to come is forgotten: a fresh process has the same to the bit."""
    watched = Watched(plain=plain, days=6.5)
    watched._times = np.concatenate([watched._times, np.arange(NOW + step_s, NOW + step_s + 3600, 60.0) - 2])
    for kind, values in watched._values.items():
        watched._values[kind] = np.concatenate([values, values[-60:]])
    watched.run(3)
    watched.run(3, start_s=NOW + step_s)
    last_s = watched.run(4, start_s=NOW + 240)
    after = watched.published()
    watched.unit = watched.fresh_unit()
    watched.page.drop("m")
    assert not watched.unit.run_cycle(last_s).error
    assert after == watched.published()
    assert set(after) == set(watched._kinds)


def test_a_small_correction_of_the_clock_reads_nothing_again() -> None:
    watched = Watched()
    watched.run(5)
    watched.store.reads.clear()
    receipt = watched.unit.run_cycle(NOW + 180)
    assert (receipt.error, receipt.filled_columns, receipt.judged) == ("", 0, 0)


@pytest.mark.parametrize("back_s", [600, 86_400])
def test_no_sample_is_written_twice_after_the_clock_was_set_back(back_s: int) -> None:
    """The receiver has newer samples of these series: they would be refused, and others with them."""
    sent: list[tuple[str, int]] = []
    watched = Watched(days=8.5)

    class Writer:
        def start_over(self) -> None:
            sent.append(("start over", len(sent)))

        def __getattr__(self, name: str):
            return lambda *_args, **_more: None

    watched.unit._page._writer = Writer()
    watched.run(3)
    watched.run(2, start_s=NOW - back_s)
    assert sent == [("start over", 0)]


# --- the program under a clock that is really set ---------------------------------------------------------------------


def test_cycles_go_on_when_the_clock_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not FAKETIME:
        pytest.fail("libfaketime is needed: apt-get install faketime")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    market = Market(("m",))
    server = market.serve()
    config = tmp_path / "config.yml"
    config.write_text(config_text(server.url, {"m": "expr: m"}, start=START))
    with monkeypatch.context() as patched:
        patched.setenv("LD_PRELOAD", str(FAKETIME[0]))
        patched.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
        patched.setenv("FAKETIME_NO_CACHE", "1")
        patched.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        running = running_exporter(config)
        exporter = running.__enter__()

    def verdict_s() -> float:
        return exporter.number("verdict_timestamp_seconds", query="m")

    try:
        wait_until(exporter.ready, "first verdicts")
        for step_s in (3600, 0, -86_400, 0):
            set_to = tmp_path / "set_to"
            set_to.write_text(f"{step_s:+d}")
            set_to.replace(clock)  # at once: the process may read it at any moment
            wait_until(lambda ahead_s=step_s: abs(verdict_s() - time.time() - ahead_s) < 60, "judged by the new time")
            exporter.wait_for_cycles("m", 2)
            newest_s = verdict_s()
            assert abs(newest_s - time.time() - step_s) < 60
            shown = {labels["pod"]: found for labels, found in exporter.samples("anomaly_value", model="shesd")}
            assert set(shown) == set(PODS)
            for pod, found in shown.items():
                assert found in {value("m", pod, newest_s + late_s) for late_s in range(-30, 31, 5)}
            assert exporter.samples("anomaly_absent_seconds") == []
        assert exporter.log.count("the clock was set back") == 2
        assert len(exporter.log.splitlines()) < 60
        assert exporter.end()[0] == 0
    finally:
        running.__exit__(None, None, None)
        server.close()


# --- summer time ------------------------------------------------------------------------------------------------------


def test_the_time_zone_of_the_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seasons and grid times are of UTC; around the change of the clock in Berlin the fire times are as ever."""
    change = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        trigger, at, found = GridTrigger(600, 0.0), datetime.fromtimestamp(change.timestamp() - 3600, UTC), []
        for _ in range(12):
            at = trigger.get_next_fire_time(at, at)
            found.append(at.timestamp())
    finally:
        monkeypatch.undo()
        time.tzset()
    assert np.diff(found).tolist() == [600.0] * 11
    assert time.tzname[0]


def test_a_schedule_takes_no_notice_of_a_clock_that_only_drifts(caplog: pytest.LogCaptureFixture) -> None:
    ran, enough = [], Event()

    def run(time_s: int) -> None:
        ran.append(time_s)
        if len(ran) == 4:
            enough.set()

    schedule = Schedule(2)
    schedule.set_jobs([Job("a", 1, run, lambda _: None, lambda _: None)])
    with caplog.at_level(logging.WARNING, logger="exporter.schedule"):
        schedule.start()
        assert enough.wait(30)
        schedule.stop(5)
    assert len(set(ran)) == len(ran)
    assert "set back" not in caplog.text
