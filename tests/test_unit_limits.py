"""A unit at its limit: who is watched, who is shed, who gets a place that becomes free."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import numpy as np
import pytest
from support.store import Store

from exporter import names
from exporter.config import Limits, Query
from exporter.errors import SourceUnavailable
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.unit import Receipt, Unit

DAY_S = 86_400
NOW = 19_700 * DAY_S + 43_200
COLUMNS = 2 * DAY_S // 300


class Crowd:
    """Series `i` of a store, and units that may watch some of them."""

    def __init__(self, *, plain: bool = True) -> None:
        self.store = Store(plain=plain, step_s=300)
        self.rng = np.random.default_rng(5)

    def put(self, series: Iterable[int], start_s: int, end_s: int, every_s: int = 300) -> None:
        times = np.arange(start_s, end_s, every_s) - 3
        for i in series:
            values = 20 + 5 * np.sin(times * 2 * math.pi / DAY_S) + self.rng.normal(size=len(times)) * 0.5
            self.store.put({"__name__": "m", "i": str(i)}, times, values)

    def unit(self, limits: Limits, **more) -> Unit:
        query = Query("m", "m", window_s=2 * DAY_S, limits=limits, **more)
        models = [model.name for model in query.models]
        page = UnitPage(Page(), "m", added_labels("m", "", vmanomaly=False), models, names.FAMILIES)
        return Unit("", query, self.store, page)


def counts(receipt: Receipt) -> tuple[str, int, int, int]:
    return receipt.error, receipt.series, receipt.judged, receipt.shed


def watched(unit: Unit) -> set[str]:
    return {example.labels["i"] for example in unit.worst(1000)}


@pytest.fixture
def crowd() -> Crowd:
    made = Crowd()
    made.put(range(120), NOW - 2 * DAY_S, NOW + 1)
    return made


@pytest.mark.parametrize("limits", [Limits(max_series=100), Limits(0, 100 * COLUMNS + 5), Limits(100, 500 * COLUMNS)])
def test_beyond_the_limit_series_are_shed_counted_and_named(crowd, limits, caplog):
    unit = crowd.unit(limits)
    with caplog.at_level(logging.WARNING):
        assert counts(unit.run_cycle(NOW)) == ("", 120, 100, 20)
    (told,) = [record.message for record in caplog.records]
    assert told.startswith("20 of 120 series are not watched, the limit is 100; among them ")
    shed = set(map(str, range(120))) - watched(unit)
    named = [i for i in shed if f'{{"__name__":"m","i":"{i}"}}' in told]
    assert (len(shed), len(named)) == (20, 3)
    assert sum(unit.last.states.values()) == 100


def test_it_is_said_when_it_begins_and_when_it_is_over(crowd, caplog):
    unit = crowd.unit(Limits(max_series=100))
    unit.run_cycle(NOW)
    kept, everything, said = watched(unit), crowd.store.series, []
    for minute in range(1, 5):
        crowd.store.series = everything
        crowd.put(range(120), NOW + 60 * minute, NOW + 60 * minute + 1)
        if minute == 2:
            crowd.store.series = {labels: samples for labels, samples in everything.items() if labels[1][1] in kept}
        caplog.clear()
        with caplog.at_level(logging.INFO, "exporter.unit"):
            unit.run_cycle(NOW + 60 * minute)
        said.append([record.message[:26] for record in caplog.records])
    assert said == [[], ["no series is shed any more"], ["20 of 120 series are not w"], []]


def test_another_process_watches_the_same_series_whatever_the_order_of_the_answers(crowd):
    first = crowd.unit(Limits(max_series=100))
    first.run_cycle(NOW)
    crowd.store.series = dict(reversed(crowd.store.series.items()))
    second = crowd.unit(Limits(max_series=100))
    second.run_cycle(NOW)
    assert watched(second) == watched(first)


def test_what_has_left_takes_no_place_from_what_is_there(crowd):
    """Range answers hold a thousand series that are gone, in the order in which the server likes them."""
    crowd.put(range(1000, 2000), NOW - DAY_S, NOW - 3600)
    crowd.store.series = dict(reversed(crowd.store.series.items()))
    unit = crowd.unit(Limits(max_series=120))
    assert counts(unit.run_cycle(NOW)) == ("", 120, 120, 0)
    assert watched(unit) == set(map(str, range(120)))


def test_a_newcomer_is_shed_and_the_others_keep_their_rows(crowd):
    unit = crowd.unit(Limits(max_series=120))
    assert counts(unit.run_cycle(NOW)) == ("", 120, 120, 0)
    before = watched(unit)
    crowd.put(range(140), NOW + 60, NOW + 61)
    assert counts(unit.run_cycle(NOW + 60)) == ("", 140, 120, 20)
    assert watched(unit) == before


def test_the_place_of_a_series_that_is_gone_for_good_is_given_to_one_that_waits(crowd):
    unit = crowd.unit(Limits(max_series=100), absent_for_s=600)
    unit.run_cycle(NOW)
    kept = watched(unit)
    gone = set(sorted(kept)[:5])
    there = [i for i in range(120) if str(i) not in gone]
    for minute in range(1, 20):
        crowd.put(there, NOW + 60 * minute, NOW + 60 * minute + 1)
        receipt = unit.run_cycle(NOW + 60 * minute)
        if minute == 9:  # missing, but still shown as absent
            assert (receipt.shed, receipt.states["absent"]) == (20, 5)
    assert counts(receipt) == ("", 115, 100, 15)
    assert (receipt.states["ok"], receipt.states["absent"]) == (95, 0)
    assert receipt.states["warming"] == 5  # those that came late have no history yet


def test_a_short_absence_costs_no_place(crowd):
    unit = crowd.unit(Limits(max_series=100))
    unit.run_cycle(NOW)
    kept = watched(unit)
    away = sorted(kept)[:50]
    for minute in range(1, 20):
        there = [i for i in range(120) if str(i) not in away or minute > 15]
        crowd.put(there, NOW + 60 * minute, NOW + 60 * minute + 1)
        unit.run_cycle(NOW + 60 * minute)
    assert watched(unit) == kept


def test_without_a_limit_nothing_is_shed(crowd):
    assert counts(crowd.unit(Limits(0, 0)).run_cycle(NOW)) == ("", 120, 120, 0)


@pytest.mark.parametrize("plain", [True, False])
def test_a_start_that_failed_half_way_costs_nothing(plain):
    crowd = Crowd(plain=plain)
    crowd.put(range(120), NOW - 2 * DAY_S, NOW + 1)
    unit, whole = crowd.unit(Limits(max_series=100)), crowd.store.range

    def half(start_s: int, end_s: int, hint: int | None):
        yield next(whole(start_s, end_s, hint))
        raise SourceUnavailable("reset", reason="refused")

    crowd.store.range = half
    assert unit.run_cycle(NOW).error == "reset"
    crowd.store.range = whole
    again = crowd.unit(Limits(max_series=100))
    assert counts(unit.run_cycle(NOW)) == counts(again.run_cycle(NOW)) == ("", 120, 100, 20)
    assert watched(unit) == watched(again)
    bands = [
        {example.labels["i"]: (example.score, example.lower, example.upper) for example in each.worst(200)}
        for each in (unit, again)
    ]
    assert bands[0] == bands[1]
