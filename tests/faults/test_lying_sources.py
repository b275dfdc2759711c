"""A server that answers something else than it was asked: it is told, nothing of it is judged, and nothing is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.inside import running_app
from support.market import PODS, Manner, Market, value
from support.process import config_text
from support.servers import wait_until

from exporter.app import App

START = "global: {interval: 1s, step: 5m, window: 2d}\n"
Lie = Callable[[dict[str, Any]], object]


def first_sample(sample: object) -> Lie:
    def change(answer: dict[str, Any]) -> object:
        answer["data"]["result"][0]["values"][0] = sample
        return answer

    return change


def with_result(kind: str, result: object) -> Lie:
    return lambda answer: answer | {"data": {"resultType": kind, "result": result}}


def labels(metric: object) -> Lie:
    def change(answer: dict[str, Any]) -> object:
        answer["data"]["result"][0]["metric"] = metric
        return answer

    return change


def all_of_it(_answer: dict[str, Any]) -> object:
    return {"metric": {"pod": "a"}, "values": "all of it"}


GARBLED: dict[str, Lie] = {
    "value_is_a_word": first_sample([0, "abc"]),
    "value_is_empty": first_sample([0, ""]),
    "value_is_hex": first_sample([0, "0x1p3"]),
    "value_is_null": first_sample([0, None]),
    "value_is_an_object": first_sample([0, {"v": 1}]),
    "value_is_a_list": first_sample([0, ["1"]]),
    "sample_is_short": first_sample([0]),
    "sample_is_long": first_sample([0, "1", "2"]),
    "sample_is_null": first_sample(None),
    "time_is_a_word": first_sample(["yesterday", "1"]),
    "time_is_null": first_sample([None, "1"]),
    "kind_is_unknown": with_result("matrices", []),
    "kind_is_missing": lambda answer: answer | {"data": {"result": []}},
    "kind_is_scalar_and_result_a_matrix": with_result("scalar", [{"metric": {}, "values": [[0, "1"]]}]),
    "kind_is_a_string": with_result("string", [0, "1"]),
    "result_is_null": with_result("matrix", None),
    "result_is_an_object": with_result("matrix", {"metric": {}}),
    "result_holds_words": with_result("matrix", ["a", "b"]),
    "data_is_a_list": lambda answer: answer | {"data": [1, 2]},
    "labels_are_a_list": labels(["pod", "a"]),
    "label_is_a_number": labels({"pod": 1}),
    "label_is_an_object": labels({"pod": {"a": "b"}}),
    "status_is_missing": lambda answer: {"data": answer["data"]},
    "all_of_it": all_of_it,
}
OTHER = "other_series"
HEALTHY = "healthy"


@dataclass
class Liars:
    """One exporter whose queries are lied to, each in its way; ``lying`` switches it."""

    app: App
    market: Market
    lying: list[bool]
    others_come: list[bool]

    def unit(self, name: str):
        return self.app.units[name]

    def wait_for(self, true: Callable[[str], bool], names: list[str], what: str) -> None:
        wait_until(lambda: all(true(name) for name in names), what)

    def good_since(self, since_s: float) -> Callable[[str], bool]:
        return lambda name: not self.unit(name).last.error and self.unit(name).last.time_s >= since_s

    def pods(self, name: str) -> dict[str, float]:
        """Pod -> score of a query, as the page for people has it."""
        return {row.labels["pod"]: row.score for row in self.unit(name).worst(100)}


@pytest.fixture(scope="module")
def liars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liars]:
    lying, others_come = [True], [False]

    def lie(change: Lie) -> Callable[[object], bytes]:
        def spell(answer: Any) -> bytes:
            told = change(answer) if lying[0] and answer["data"]["result"] else answer
            return json.dumps(told, separators=(",", ":")).encode()

        return spell

    def others(series, newest):
        if others_come[0]:
            for one in series:
                one["metric"] = {"__name__": "up", "pod": one["metric"]["pod"], "job": "not asked for"}
                one["values"] = [[t, "1e9"] for t, _ in one["values"]]
        return series, {}

    manners = {name: Manner(spell=lie(change)) for name, change in GARBLED.items()} | {OTHER: Manner(others)}
    market = Market((HEALTHY, OTHER, *GARBLED), manners=manners)
    server = market.serve()
    config = tmp_path_factory.mktemp("liars") / "config.yml"
    config.write_text(config_text(server.url, {name: f"expr: {name}" for name in market.names}, start=START))
    try:
        with running_app(config) as app:
            yield Liars(app, market, lying, others_come)
    finally:
        server.close()


def test_a_lie_is_named_costs_its_own_query_only_and_leaves_nothing(liars: Liars) -> None:
    """What is lied to from the start is not judged, what is true then is, and a later lie changes nothing."""
    names = list(GARBLED)
    liars.wait_for(lambda name: liars.unit(name).last is not None, [*names, HEALTHY, OTHER], "all have asked")
    for name in names:
        told = liars.unit(name).last
        assert told.reason == "garbled", (name, told.error)
        assert "http://" in told.error, name
        assert len(told.error) < 1000, name
        assert told.error.isprintable(), name
        assert liars.pods(name) == {}, name
    now_s = liars.unit(HEALTHY).last.time_s
    liars.wait_for(liars.good_since(now_s + 2), [HEALTHY], "the healthy one goes on")

    liars.lying[0] = False
    liars.wait_for(liars.good_since(time.time() + 1), liars.market.names, "all recover")
    for name in names:
        assert set(liars.pods(name)) == set(PODS), name
        assert max(liars.pods(name).values()) < 2, name
    liars.lying[0] = True
    liars.wait_for(lambda name: liars.unit(name).last.reason == "garbled", names, "lied to again")
    for name in names:
        assert set(liars.pods(name)) == set(PODS), name  # the last verdicts, for a while
    assert set(liars.pods(HEALTHY)) == set(PODS)
    assert liars.unit(HEALTHY).last.error == ""


def test_series_that_nobody_asked_for_are_series_of_their_own(liars: Liars) -> None:
    """An answer can't be told from another one that is as well-formed. Those of before are missing, not changed."""
    liars.wait_for(liars.good_since(0), [OTHER], "true series")
    assert set(liars.pods(OTHER)) == set(PODS)
    liars.others_come[0] = True
    unit = liars.unit(OTHER)
    wait_until(lambda: len(unit.absent(10)) == len(PODS), "the true series are missing")
    shown = {tuple(sorted(row.labels.items())) for row in unit.worst(100)}
    assert all(("job", "not asked for") in each for each in shown)
    liars.others_come[0] = False
    wait_until(lambda: not any("job" in row.labels for row in unit.worst(100)) and unit.worst(100), "and are back")
    for row in unit.worst(100):
        pod, newest_s = row.labels["pod"], unit.last.newest_s
        assert row.value in {value(OTHER, pod, newest_s + late_s) for late_s in (-10, -5, 0, 5, 10)}
        assert row.score < 2
