"""A unit whose labels are relabelled: who is published as what, who is not watched, who takes over from whom."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.store import Store

from exporter import names
from exporter.config import Limits, Query
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.relabelling.rule import Rule
from exporter.unit import Receipt, Unit

DAY_S = 86_400
NOW = 19_700 * DAY_S + 43_200
WORKLOAD = Rule(source_labels=("pod",), regex="(.+)-[^-]+", target_label="workload")


class Stand:
    """A store with series, and a unit that watches them."""

    def __init__(self, *, plain: bool = True, **query) -> None:
        self.query = Query("m", "m", **({"window_s": 2 * DAY_S} | query))
        self.store = Store(plain=plain, step_s=300)
        self.rng = np.random.default_rng(5)
        self.unit = self.fresh_unit()

    def fresh_unit(self) -> Unit:
        self.page = Page(None)
        models = [model.name for model in self.query.models]
        page = UnitPage(self.page, "m", added_labels("m", "", vmanomaly=False), models, names.FAMILIES)
        return Unit("", self.query, self.store, page)

    def put(self, start_s: int, end_s: int, every_s: int = 300, **labels: str) -> None:
        """Samples of a series, the first of them 3 seconds before `start_s`."""
        times = np.arange(start_s, end_s, every_s) - 3
        values = 20 + 5 * np.sin(times * 2 * math.pi / DAY_S) + self.rng.normal(size=len(times)) * 0.5
        self.store.put({"__name__": "m", **labels}, times, values)

    def cycle(self, minute: int, *living: dict[str, str]) -> Receipt:
        """A minute later: these series have a sample, and a cycle runs."""
        for labels in living:
            self.put(NOW + 60 * minute, NOW + 60 * minute + 1, **labels)
        receipt = self.unit.run_cycle(NOW + 60 * minute)
        assert receipt.error == ""
        return receipt

    def text(self) -> str:
        """The page."""
        return b"".join(self.page.chunks(names.FAMILIES, False)).decode()

    def published(self, family: str = "anomaly_score") -> dict[str, float]:
        """By the labels of the series, but query and model."""
        return {
            ",".join(f"{n}={v}" for n, v in sorted(sample.labels.items()) if n not in ("query", "model")): sample.value
            for found in text_string_to_metric_families(self.text())
            for sample in found.samples
            if sample.name == family and sample.labels.get("model", "robust_band") == "robust_band"
        }


def said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def pods(apps: Iterable[str]) -> list[dict[str, str]]:
    return [{"pod": f"{app}-x1", "app": app} for app in apps]


def full(stand: Stand, *series: dict[str, str]) -> None:
    for labels in series:
        stand.put(NOW - 2 * DAY_S, NOW + 1, **labels)


# -- what is published -------------------------------------------------------------------------------------------------


def test_results_have_the_labels_that_rules_and_drop_labels_leave() -> None:
    stand = Stand(relabel_configs=(WORKLOAD,), drop_labels=("pod",))
    full(stand, *pods("ab"))
    stand.cycle(0)
    assert set(stand.published()) == {"app=a,workload=a", "app=b,workload=b"}
    assert set(stand.published("anomaly_value")) == set(stand.published())


def test_the_name_can_be_looked_at_and_is_not_published() -> None:
    keep = Rule(source_labels=("__name__",), target_label="metric")
    rename = Rule(target_label="__name__", replacement="other")
    stand = Stand(relabel_configs=(keep, rename))
    full(stand, {"app": "a"})
    stand.cycle(0)
    assert set(stand.published()) == {"app=a,metric=m"}
    assert "other" not in stand.text()


def test_labels_with_names_of_ours_make_way() -> None:
    rules = tuple(Rule(target_label=name, replacement=f"my {name}") for name in ("query", "model", "tenant"))
    stand = Stand(relabel_configs=rules)
    full(stand, {"app": "a"})
    stand.cycle(0)
    assert set(stand.published()) == {"app=a,exported_model=my model,exported_query=my query,tenant=my tenant"}


def test_a_series_is_known_by_its_own_labels() -> None:
    stand = Stand(relabel_configs=(WORKLOAD, Rule("drop", source_labels=("app",), regex="b")), drop_labels=("pod",))
    full(stand, *pods("ab"))
    stand.cycle(0)
    known = stand.unit.known({"__name__": "m", **pods("a")[0]})
    assert known is not None
    assert known.verdicts["robust_band"][0] == pytest.approx(stand.published()["app=a,workload=a"], rel=1e-8)
    assert stand.unit.known(pods("b")[0]) is None
    assert stand.unit.known(pods("c")[0]) is None


# -- dropped series ----------------------------------------------------------------------------------------------------


def test_dropped_series_take_nothing_and_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(relabel_configs=(Rule("keep", source_labels=("app",), regex="a"),), limits=Limits(max_series=1))
    full(stand, *pods("abcd"))
    receipt = stand.cycle(0)
    assert (receipt.series, receipt.shed, receipt.refused) == (4, 0, {"dropped": 3})
    assert sum(receipt.states.values()) == 1
    assert receipt.remarks["collision"] == 0
    assert stand.cycle(1, *pods("abcd")).refused == {"dropped": 3}
    assert not caplog.records


def test_a_query_that_loses_all_its_series_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(relabel_configs=(Rule("drop"),))
    full(stand, *pods("ab"))
    for minute in range(3):
        assert stand.cycle(minute, *pods("ab")).refused == {"dropped": 2}
    assert said(caplog, "drop all series") == ["relabel_configs drop all series of this query: nothing is watched"]


def test_a_limit_counts_series_that_are_left() -> None:
    stand = Stand(relabel_configs=(Rule("drop", source_labels=("app",), regex="[a-h]"),), limits=Limits(max_series=1))
    full(stand, *pods("abcdefghij"))
    receipt = stand.cycle(0)
    assert (receipt.shed, receipt.refused) == (1, {"dropped": 8})
    assert len(stand.published()) == 1


# -- collisions --------------------------------------------------------------------------------------------------------


def test_of_series_that_become_the_same_the_first_is_watched_and_both_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stand = Stand(drop_labels=("pod",))
    first, second = {"app": "a", "pod": "1"}, {"app": "a", "pod": "2"}
    full(stand, first, second, {"app": "b", "pod": "3"})
    for minute in range(3):
        receipt = stand.cycle(minute, first, second, {"app": "b", "pod": "3"})
        assert receipt.refused == {"collision": 1}
        assert receipt.remarks["collision"] >= 1
    assert set(stand.published()) == {"app=a", "app=b"}
    value = stand.store.series[tuple(sorted({"__name__": "m", **first}.items()))][(NOW + 120 - 3) * 1000]
    assert stand.published("anomaly_value")["app=a"] == value
    assert said(caplog, "is not watched") == [
        'series m{"app":"a","pod":"2"} is not watched: relabelling leaves it the labels of m{"app":"a","pod":"1"}; '
        "leave a label that tells them apart, or add them up in the expr with `sum without`"
    ]


def test_nothing_of_the_other_one_gets_into_the_window() -> None:
    young, old = {"app": "a", "pod": "1"}, {"app": "a", "pod": "2"}
    stand = Stand(drop_labels=("pod",))
    stand.put(NOW - 3600, NOW + 1, **young)
    full(stand, old)
    stand.cycle(0)
    assert np.isfinite(stand.unit._window.ring).sum() == 13
    assert stand.published() == {}  # it is warming


def test_names_that_differ_never_take_over(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(drop_labels=("pod",))
    full(stand, {"app": "a", "pod": "1"})
    stand.cycle(0)
    stand.store.drop({"__name__": "m", "app": "a", "pod": "1"})
    for minute in range(10, 30, 5):
        stand.store.put({"__name__": "n", "app": "a", "pod": "2"}, NOW + 60 * minute - 3, 20.0)
        assert stand.cycle(minute).refused == {"collision": 1}
    assert len(said(caplog, 'series n{"app":"a","pod":"2"} is not watched: relabelling leaves it')) == 1


# -- one pod after the other -------------------------------------------------------------------------------------------

OLD, NEW = {"app": "a", "pod": "old"}, {"app": "a", "pod": "new"}


def test_a_new_pod_takes_over_when_the_old_one_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(drop_labels=("pod",))
    full(stand, OLD)
    for minute in range(4):
        stand.cycle(minute, OLD)
    cells = np.isfinite(stand.unit._window.ring).sum()
    for minute in range(4, 12):
        receipt = stand.cycle(minute, NEW)
    assert (receipt.refused, receipt.states["ok"], sum(receipt.states.values())) == ({}, 1, 1)
    assert np.isfinite(stand.unit._window.ring).sum() >= cells
    assert set(stand.published()) == {"app=a"}
    value = stand.store.series[tuple(sorted({"__name__": "m", **NEW}.items()))][(NOW + 11 * 60 - 3) * 1000]
    assert stand.published("anomaly_value") == {"app=a": value}
    assert not said(caplog, "not watched")


def test_a_roll_over_with_both_there_for_a_while_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(drop_labels=("pod",))
    full(stand, OLD)
    refused = [
        stand.cycle(minute, *([OLD] if minute < 4 else []), *([NEW] if minute > 1 else [])).refused
        for minute in range(10)
    ]
    assert refused[2] == refused[3] == {"collision": 1}
    assert refused[-1] == {}
    assert not said(caplog, "not watched")


def test_two_that_stay_are_an_error_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(drop_labels=("pod",))
    full(stand, OLD)
    for minute in range(12):
        stand.cycle(minute, OLD, *([NEW] if minute else []))
    assert len(said(caplog, 'series m{"app":"a","pod":"new"} is not watched')) == 1


def test_the_old_one_may_come_back_and_take_over_in_turn() -> None:
    stand = Stand(drop_labels=("pod",))
    full(stand, OLD)
    for minute in range(30):
        receipt = stand.cycle(minute, (OLD, NEW)[minute // 10 % 2])
    assert (receipt.refused, receipt.states["ok"]) == ({}, 1)


def test_an_expression_hands_over_too() -> None:
    stand = Stand(drop_labels=("pod",), plain=False)
    full(stand, OLD)
    for minute in range(12):
        receipt = stand.cycle(minute, OLD if minute < 4 else NEW)
    assert (receipt.refused, receipt.states["ok"]) == ({}, 1)


def test_after_a_restart_the_window_holds_all_pods_of_its_time() -> None:
    stand = Stand(drop_labels=("pod",))
    for i in range(4):
        stand.put(NOW - 2 * DAY_S + i * DAY_S // 2, NOW - 2 * DAY_S + (i + 1) * DAY_S // 2, app="a", pod=str(i))
    stand.cycle(0, {"app": "a", "pod": "3"})
    assert np.isfinite(stand.unit._window.ring).sum() >= 2 * DAY_S // 300
    assert set(stand.published()) == {"app=a"}


def test_after_an_outage_the_new_pod_goes_on() -> None:
    stand = Stand(drop_labels=("pod",))
    full(stand, OLD)
    stand.cycle(0)
    stand.put(NOW + 300, NOW + 1800, **OLD)
    stand.put(NOW + 1800, NOW + 7200, **NEW)
    receipt = stand.cycle(120, NEW)
    assert (receipt.refused, receipt.states["ok"]) == ({}, 1)
    head = stand.unit._window.head
    assert np.isfinite(stand.unit._window.ring[0, [c % stand.unit._window.size for c in range(head - 23, head)]]).all()


def test_a_start_right_after_a_deployment_goes_on_with_the_new_pod(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(drop_labels=("pod",))
    stand.put(NOW - 2 * DAY_S, NOW - 180, every_s=30, **OLD)  # within the look-back of the first read
    stand.put(NOW - 180, NOW + 1, every_s=30, **NEW)
    assert stand.cycle(0, NEW).refused == {}
    assert np.isfinite(stand.unit._window.ring).sum() >= 2 * DAY_S // 300 - 1
    assert stand.unit.known(NEW) is not None
    assert stand.cycle(1, NEW).refused == {}
    value = stand.store.series[tuple(sorted({"__name__": "m", **NEW}.items()))][(NOW + 60 - 3) * 1000]
    assert stand.published("anomaly_value") == {"app=a": value}
    assert not said(caplog, "not watched")


def test_two_exporters_that_start_anew_agree() -> None:
    stand = Stand(drop_labels=("pod",))
    full(stand, OLD)
    stand.put(NOW - DAY_S, NOW + 1, **NEW)
    stand.cycle(0)
    first = stand.published()
    stand.unit = stand.fresh_unit()
    stand.cycle(0)
    assert stand.published() == first != {}


def test_the_table_does_not_grow_with_the_pods_that_have_been() -> None:
    stand = Stand(drop_labels=("pod",), relabel_configs=(Rule("drop", source_labels=("pod",), regex=".*[5-9]"),))
    sizes = set()
    for minute in range(200):
        for i in range(100):
            stand.store.put({"__name__": "m", "app": str(i), "pod": f"{minute}-{i}"}, NOW + 60 * minute - 3, 1.0)
        stand.cycle(minute)
        sizes.add(len(stand.unit._table._keys))
        stand.store.series.clear()
    assert max(sizes) <= 16_384


# -- limits on labels --------------------------------------------------------------------------------------------------

HUGE = {"app": "huge", "path": "x" * 65_536}
LIMITED = [
    ("label_limit", Limits(label_limit=2), {"app": "many", "b": "1", "c": "2"}),
    ("label_name_length_limit", Limits(label_name_length_limit=5), {"app": "long", "sixxxx": "1"}),
    ("label_value_length_limit", Limits(label_value_length_limit=5), {"app": "äöü"}),
    ("label_value_length_limit", Limits(), HUGE),
]


@pytest.mark.parametrize(("limit", "limits", "labels"), LIMITED)
def test_a_series_over_a_limit_is_not_watched_and_others_are(
    limit: str, limits: Limits, labels: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    stand = Stand(limits=limits)
    full(stand, labels, {"app": "good"})
    for minute in range(2):
        assert stand.cycle(minute, labels, {"app": "good"}).refused == {limit: 1}
    assert set(stand.published()) == {"app=good"}
    (message,) = said(caplog, f"series over limits.{limit} are not watched, such as {{")
    assert len(message) < 500


def test_labels_at_the_limit_are_watched() -> None:
    stand = Stand(limits=Limits(label_limit=1, label_name_length_limit=3, label_value_length_limit=6))
    full(stand, {"app": "äöü"})
    assert stand.cycle(0).refused == {}


def test_without_limits_everything_is_watched() -> None:
    none = Limits(label_limit=0, label_name_length_limit=0, label_value_length_limit=0)
    stand = Stand(limits=none)
    full(stand, HUGE)
    assert stand.cycle(0).refused == {}
    assert len(stand.published()) == 1


def test_relabelling_can_shorten_what_would_be_too_long() -> None:
    stand = Stand(relabel_configs=(Rule(source_labels=("path",), regex="(.{8}).*", target_label="path"),))
    full(stand, HUGE)
    assert stand.cycle(0).refused == {}
    assert set(stand.published()) == {"app=huge,path=xxxxxxxx"}


@pytest.mark.parametrize("reason", ["label_limit", "label_name_length_limit", "label_value_length_limit"])
def test_every_limit_has_its_words(caplog: pytest.LogCaptureFixture, reason: str) -> None:
    caplog.set_level(logging.WARNING)
    stand = Stand(limits=Limits(**{reason: 1}))
    full(stand, {"a": "1", "bb": "\n\u202e<script>"})
    stand.cycle(0)
    (message,) = said(caplog, reason)
    assert "\n" not in message
    assert "\u202e" not in message
