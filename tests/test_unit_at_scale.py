"""A unit whose cycle takes long, and what it publishes of it: early verdicts, progress, threads, selections."""

from __future__ import annotations

import gzip
import logging
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import requests
from support.store import Store

from exporter import judging, names, unit
from exporter.config import Query
from exporter.crew import ALONE, Crew
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.publish.web import Landing, Routes, WebServer
from exporter.unit import Unit

DAY = 86_400
NOW = 19_700 * DAY + 43_200
SERIES = 600


class Stand:
    """Many series of two days, a unit, and its page."""

    def __init__(self, crew: Crew = ALONE, series: int = SERIES, **query) -> None:
        settings = {"interval_s": 60, "step_s": 300, "window_s": 2 * DAY} | query
        self.query = Query("m", "m", **settings)
        self.rng = np.random.default_rng(1)
        self.store = Store(plain=True, step_s=300)
        self.series = series
        self.page = Page(None)
        self.shares: list[float] = []
        times = np.arange(NOW - 2 * DAY - 3600, NOW, 300)
        for i in range(series):
            self.store.put(self.labels(i), times, self.usual(times))
        models = [model.name for model in self.query.models]
        page = UnitPage(self.page, "m", added_labels("m", "", vmanomaly=False), models, names.FAMILIES)
        self.unit = Unit("", self.query, self.store, page, crew, self.shares.append)

    @staticmethod
    def labels(i: int) -> dict[str, str]:
        return {"__name__": "m", "i": str(i)}

    def usual(self, times) -> np.ndarray:
        return 20 + 5 * np.sin(np.atleast_1d(times) / 13_000) + self.rng.normal(size=np.size(times)) * 0.5

    def cycle(self, minute: int, values: dict[int, float] | None = None):
        time_s = NOW + 60 * minute
        for i in range(self.series):
            self.store.put(self.labels(i), time_s - 3, (values or {}).get(i, self.usual(time_s)[0]))
        return self.unit.run_cycle(time_s)

    def text(self) -> str:
        return b"".join(self.page.chunks(names.FAMILIES, False)).decode()

    def lines(self, family: str) -> int:
        return self.text().count(f"\n{family}{{")


@pytest.fixture
def hasty(monkeypatch) -> None:
    """Every moment counts as long."""
    monkeypatch.setattr(judging, "_SHOW_EVERY_S", -1.0)
    monkeypatch.setattr(judging, "_SHOWING_RESTS", 0)
    monkeypatch.setattr(judging, "_BATCH", 128)
    monkeypatch.setattr(unit, "_SPEAK_EVERY_S", 0.0)


def test_verdicts_do_not_depend_on_the_number_of_threads():
    pages = []
    for threads in (1, 2, 5):
        crew = Crew(threads)
        stand = Stand(crew)
        for minute in range(7):  # a column ends within
            receipt = stand.cycle(minute)
            assert receipt.error == ""
        pages.append(stand.text())
        crew.close()
    assert pages[0].count("\nanomaly_score{") == 2 * SERIES
    assert pages[1] == pages[0]
    assert pages[2] == pages[0]


@pytest.mark.usefixtures("hasty")
def test_early_verdicts_and_progress_of_a_long_start(caplog):
    caplog.set_level(logging.INFO)
    stand, seen = Stand(), []
    show = stand.page.replace

    def watched(key, lines):
        show(key, lines)
        seen.append(stand.lines("anomaly_score") // 2)

    stand.page.replace = watched
    receipt = stand.cycle(0)
    assert (receipt.fitted, receipt.judged) == (SERIES, SERIES)
    assert seen == [0, 128, 256, 384, 512, SERIES]
    assert stand.shares[0] < 1
    assert stand.shares == sorted(stand.shares)
    assert stand.shares[-1] == 1.0
    told = [(record.getMessage(), getattr(record, "percent", None)) for record in caplog.records]
    assert ("fitting", 64) in told
    assert any(words == "reading the window" for words, _ in told)


def test_showing_takes_a_tenth_of_a_long_update_at_most(monkeypatch):
    """By a clock that goes on by a second for each batch of fits, and for each show."""
    clock, shown_s = [0.0], []
    monkeypatch.setattr(judging, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(judging, "_BATCH", 8)
    stand = Stand()
    fit, show = stand.unit._judging._fit, stand.page.replace

    def slow_fit(*of):
        clock[0] += 1
        fit(*of)

    def slow_show(key, lines):
        shown_s.append(clock[0])
        clock[0] += 1
        show(key, lines)

    stand.unit._judging._fit, stand.page.replace = slow_fit, slow_show
    assert stand.cycle(0).fitted == SERIES
    assert shown_s == [3, 16, 29, 42, 55, 68, 81]


@pytest.mark.usefixtures("hasty")
def test_refits_do_not_keep_other_verdicts_waiting():
    stand, scores = Stand(), []
    stand.cycle(0)
    show = stand.page.replace

    def watched(key, lines):
        show(key, lines)
        scores.append(sum(float(line.split()[-1]) > 1 for line in stand.text().splitlines()
                          if line.startswith("anomaly_score{") and 'shesd' in line))  # fmt: skip

    stand.page.replace = watched
    receipt = stand.cycle(1, dict.fromkeys(range(SERIES), 1000.0))
    due = receipt.fitted
    assert 0 < due < SERIES / 10
    assert scores[0] == SERIES - due  # those that are not due are shown before the others are fitted
    assert scores[-1] == SERIES


def test_a_page_is_scraped_while_a_fit_goes_on(monkeypatch):
    """The fit does not end before the scrape has been answered."""
    from exporter.models import rows as model_rows

    scraped, fitting = threading.Event(), threading.Event()
    crew, stand = Crew(2), None
    stand = Stand(crew)
    stand.cycle(0)
    right = model_rows.RobustBandRows.fit

    def waits(self, *arguments):
        fitting.set()
        assert scraped.wait(30)
        right(self, *arguments)

    monkeypatch.setattr(model_rows.RobustBandRows, "fit", waits)
    routes = Routes(
        lambda openmetrics, shard: stand.page.pieces(names.FAMILIES, openmetrics, shard),
        lambda: (True, "ready"), None, str, lambda: Landing("", [], [], []),
    )  # fmt: skip
    server = WebServer("127.0.0.1:0", routes)
    server.start()
    cycle = threading.Thread(target=stand.cycle, args=(70,))
    cycle.start()
    assert fitting.wait(30)
    answer = requests.get(f"http://127.0.0.1:{server.port}/metrics", timeout=20)
    scraped.set()
    cycle.join()
    server.stop()
    crew.close()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.text.count("\nanomaly_score{") == 2 * SERIES
    assert stand.unit.last.error == ""


def test_scraping_all_shards_gives_everything_once():
    stand = Stand(series=50)
    stand.cycle(0)
    routes = Routes(
        lambda openmetrics, shard: stand.page.pieces(names.FAMILIES, openmetrics, shard),
        lambda: (True, "ready"), None, str, lambda: Landing("", [], [], []),
    )  # fmt: skip
    server = WebServer("127.0.0.1:0", routes)
    server.start()

    def lines(query: str) -> list[str]:
        body = requests.get(f"http://127.0.0.1:{server.port}/metrics{query}", timeout=20).text
        return [line for line in body.splitlines() if line[0] != "#"]

    whole = lines("")
    shards = [lines(f"?shard={index}/3") for index in (1, 2, 3)]
    refused = requests.get(f"http://127.0.0.1:{server.port}/metrics?shard=4/3", timeout=20)
    server.stop()
    assert refused.status_code == 400
    assert sorted(line for shard in shards for line in shard) == sorted(whole)
    assert all(shard for shard in shards)


def test_publish_score_leaves_bands_and_values_out():
    stand = Stand(series=20, publish="score", signals=("stale",))
    stand.cycle(0)
    stand.cycle(1, {3: 500.0})
    assert stand.lines("anomaly_score") == 40
    for family in ("anomaly_expected", "anomaly_lower", "anomaly_upper", "anomaly_value"):
        assert stand.lines(family) == 0


def test_publish_anomalous_shows_bands_of_anomalous_series_and_for_a_while():
    stand = Stand(series=20, publish="anomalous")
    for minute in range(19):
        stand.cycle(minute, {3: 500.0} if minute == 2 else {})
        shown = {line.split('i="')[1].split('"')[0] for line in stand.text().splitlines()
                 if line.startswith("anomaly_upper{")}  # fmt: skip
        assert stand.lines("anomaly_score") == 40
        assert ("3" in shown) == (2 <= minute <= 17), minute
        assert len(shown) < 15
        assert stand.lines("anomaly_value") == 2 * len(shown)


def test_the_packed_page_says_the_same():
    stand = Stand(series=30)
    stand.cycle(0)
    from exporter.publish.web import zip_pieces

    pieces = stand.page.pieces(names.FAMILIES, False)
    for _ in range(2):  # packed, then from memory
        assert gzip.decompress(b"".join(zip_pieces(pieces))).decode() == stand.text()
