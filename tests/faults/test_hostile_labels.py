"""Labels as strangers choose them, through all that is published: each stays what it is, and none is another one's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests
from support.market import Answer, Manner, Market, Series
from support.process import config_text, parsed
from support.receiver import Ledger, receiver
from support.servers import wait_until

from exporter.app import App

START = "global: {interval: 1s, step: 5m, window: 2d}\n"
LONG = "ä" * 32_000  # 64 KB of UTF-8
VALUES = {
    "long": LONG,
    "quotes": "\"\\'`",
    "html": "<script>alert(1)</script>&amp;",
    "lines": "a\nb\r\nc\td",
    "controls": "\x01\x07\x1b[31m\x7f\x9b",
    "direction": "\u202egnp.exe\u2066\u200b\ufeff",
    "beyond": "\U0001f600\U000e0001",
    "nothing_else": " ",
    "braces": '{pod="a"} 1 2',
    "escape": "\\n\\u0000",
}


def with_strangers(series: list[Series], newest: bool) -> Answer:
    """The three pods, and a copy of the first for each value of a label; an empty label is none."""
    points = series[0]["values"]
    more = [{"metric": {"__name__": "m", "pod": text, "empty": ""}, "values": points} for text in VALUES.values()]
    many = {"metric": {"__name__": "m", "pod": "many"} | {f"l{i}": "x" for i in range(300)}, "values": points}
    return [*more, many, *series], {}


def identical(series: list[Series], newest: bool) -> Answer:
    """One label set three times, spelt in other orders, and once under another name."""
    first, points = series[0], series[0]["values"]
    metric = {"__name__": "m", "pod": "a", "zone": "z"}
    spelt = [metric, dict(reversed(metric.items())), {"pod": "a", "__name__": "m", "zone": "z"}]
    other = {"metric": metric | {"__name__": "other"}, "values": [[t, "1e6"] for t, _ in points]}
    return [*({"metric": one, "values": points} for one in spelt), other, first, *series[1:]], {}


@dataclass
class Watched:
    app: App
    ledger: Ledger

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.app.port}{path}", timeout=60)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder, ledger = tmp_path_factory.mktemp("labels"), Ledger()
    manners = {"strangers": Manner(with_strangers), "limited": Manner(with_strangers), "identical": Manner(identical)}
    server = Market(("alone", *manners), manners=manners).serve()
    with receiver(ledger.respond) as back:
        config = folder / "config.yml"
        queries = {name: f"expr: {name}" for name in ("alone", *manners)}
        queries["strangers"] += ", limits: {label_limit: 0, label_value_length_limit: 0}"
        writing = f"remote_write: [{{name: back, url: '{back.url}', queue_config: {{batch_send_deadline: 100ms}}}}]\n"
        config.write_text(config_text(server.url, queries, start=START) + writing)
        app = App(str(config))
        app.start("127.0.0.1:0", lifecycle=False)
        try:
            wait_until(lambda: all(unit.last for unit in app.units.values()), "all are judged")
            wait_until(lambda: len({dict(labels).get("pod") for labels in ledger.series}) > len(VALUES), "and written")
            yield Watched(app, ledger)
        finally:
            app.stop()
            server.close()


def test_every_value_is_read_back_from_the_page(watched: Watched) -> None:
    page = parsed(watched.get("/metrics").text)
    found = {labels["pod"] for labels, _ in page["anomaly_score"] if labels["query"] == "strangers"}
    assert found == {*VALUES.values(), "many", "a", "b", "c"}
    assert all(unit.last.error == "" for unit in watched.app.units.values())
    alone = {labels["pod"] for labels, _ in page["anomaly_score"] if labels["query"] == "alone"}
    assert alone == {"a", "b", "c"}


def test_without_a_word_in_the_config_what_is_too_long_or_too_many_is_refused_and_counted(watched: Watched) -> None:
    page = parsed(watched.get("/metrics").text)
    found = {labels["pod"] for labels, _ in page["anomaly_score"] if labels["query"] == "limited"}
    assert found == {*VALUES.values(), "a", "b", "c"} - {LONG}
    assert sum(n for labels, n in page["anomaly_exporter_series_refused"] if labels["query"] == "limited") == 2


def test_every_value_arrives_by_remote_write(watched: Watched) -> None:
    wanted = {*VALUES.values(), "many", "a", "b", "c"}

    def written() -> set[str]:
        own = [dict(labels) for labels in list(watched.ledger.series)]
        return {labels["pod"] for labels in own if labels.get("query") == "strangers"}

    wait_until(lambda: written() == wanted, "all of them are written")


def test_pages_for_people_let_nothing_in_and_stay_short(watched: Watched) -> None:
    text = watched.get("/").text
    assert "<script>alert" not in text
    assert not any(bad in text for bad in "\x01\x07\x1b\x7f\x9b\u202e\u2066")
    assert len(text) < 300_000


def test_a_copy_of_a_series_makes_no_verdict_of_the_other_different(watched: Watched) -> None:
    """They have the same samples; all that differs is when each is fitted."""
    page = parsed(watched.get("/metrics").text)
    values = {labels["pod"]: x for labels, x in page["anomaly_value"] if labels["query"] == "strangers"}
    assert {values[text] for text in VALUES.values()} == {values["a"]}


def test_one_label_set_many_times_is_one_series_and_another_name_is_refused(watched: Watched) -> None:
    page = parsed(watched.get("/metrics").text)
    rows = [labels for labels, _ in page["anomaly_score"] if labels["query"] == "identical"]
    assert len(rows) == 2 * 4  # a in a zone, and the three without
    texts = [json.dumps(labels, sort_keys=True) for labels in rows]
    assert len(set(texts)) == len(texts)
    shown = {x for labels, x in page["anomaly_value"] if labels["query"] == "identical"}
    assert 1e6 not in shown
    told = {
        labels["kind"]: count
        for labels, count in page["anomaly_exporter_source_warnings_total"]
        if labels["query"] == "identical"
    }
    assert told["duplicate"] >= 2
    assert told["collision"] >= 1
    assert time.time() - watched.app.units["identical"].last.time_s < 60
