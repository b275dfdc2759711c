"""The overview looks at few rows however many units there are, and what is live comes from the units."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field, replace

import pytest
from support.loopback import Relay
from support.watched import NOW, Watched, rhythm

from exporter.config import CONSENSUS, Config, Source
from exporter.config.schema import Alert, Links
from exporter.connections import Sessions
from exporter.errors import SourceUnavailable
from exporter.pages import Pages, worst_of
from exporter.source.breaker import FAILURES, Breaker, Onlooker
from exporter.unit import Example


@dataclass
class Ranked:
    """Stands for a unit with these scores; notes how many rows it was asked for."""

    scores: list[float]
    asked: list[int] = field(default_factory=list)

    def worst(self, most: int) -> list[Example]:
        self.asked.append(most)
        return [Example({}, score, 0, 0, 0, 0, 0) for score in sorted(self.scores, reverse=True)[:most]]


def test_the_worst_of_a_thousand_units_are_found_without_looking_at_all_of_their_rows() -> None:
    rng = random.Random(3)
    units = [Ranked([rng.expovariate(1) for _ in range(rng.randrange(40))]) for _ in range(1000)]
    wanted = sorted((score for unit in units for score in unit.scores), reverse=True)[:20]
    assert [example.score for _, example in worst_of(units, 20)] == wanted
    assert sum(sum(unit.asked) for unit in units) == 1000 + 20 * 20


def test_rows_without_a_score_come_last() -> None:
    nan = float("nan")
    units = [Ranked([]), Ranked([nan]), Ranked([0.5])]
    assert [str(example.score) for _, example in worst_of(units, 5)] == ["0.5", "nan"]


def pages(watched: Watched, links: Links = Links(), url: str = "http://127.0.0.1:9", **more) -> Pages:  # noqa: B008 -- frozen
    config = Config(Source(url, timeout_s=1), (watched.query,), links=links)
    return Pages(lambda: {"m": watched.unit}, lambda: config, lambda: Sessions(config), threading.Event(), **more)


def test_the_overview_shows_progress_then_verdicts() -> None:
    watched = Watched({"a": rhythm, "b": lambda t, rng: rhythm(t, rng) + 80 * (t > NOW)})
    here = pages(watched, Links(grafana="http://g", runbooks="http://r"))
    here.loaded("m", 0.5)
    (unit,) = here.landing().units
    assert (unit.loaded, unit.states, unit.verdict_age_s) == (0.5, {}, None)
    watched.run(3)
    landing = here.landing()
    (unit,) = landing.units
    assert (unit.loaded, unit.anomalous, unit.states["ok"]) == (1.0, 1, 2)
    assert [row.labels["kind"] for row in landing.worst] == ["b", "a"]
    assert landing.worst[0].model == "robust_band"
    assert [text for _, text in landing.links] == ["Dashboards", "Runbooks"]
    assert landing.explains


@pytest.mark.parametrize(("model", "count"), [("robust_band", 1), ("shesd", 3), (CONSENSUS, 1), ("gone", 0)])
def test_the_overview_counts_what_the_alerts_look_at(model: str, count: int) -> None:
    watched = Watched({"a": rhythm})
    watched.run(1)
    watched.unit.last_good.anomalous = {"robust_band": 1, "shesd": 3}
    watched.unit.query = replace(watched.unit.query, alert=Alert(model=model))
    assert pages(watched).landing().units[0].anomalous == count


def test_the_overview_shows_what_is_known_of_the_data() -> None:
    watched = Watched({"a": rhythm})
    here = pages(watched)
    watched.run(1)
    assert here.landing().units[0].notes == ()
    watched.unit.last_good.notes = ("its answer is partial",)
    assert here.landing().units[0].notes == ("its answer is partial",)


def test_what_is_live() -> None:
    watched = Watched({"a": rhythm})
    here = pages(watched)
    assert here.cycle_s("", "m") == 0
    assert here.latest("", "m", {"kind": "a"}) is None
    watched.run(2)
    assert here.cycle_s("", "m") == NOW + 60
    latest = here.latest("", "m", {"kind": "a"})
    assert latest is not None
    assert (latest.state, latest.offset, set(latest.numbers)) == ("ok", 0.0, {"robust_band", "shesd"})
    unknown = here.latest("", "m", {"kind": "z"})
    assert unknown is not None
    assert (unknown.state, unknown.shed, unknown.numbers) == ("", False, {})
    assert here.latest("t", "m", {"kind": "a"}) is None


def test_a_source_that_is_down_is_a_page_and_not_a_hung_request() -> None:
    watched = Watched({"a": rhythm})
    answered = pages(watched).explain("query=m&series=%7Bkind%3D%22a%22%7D")
    assert answered.status == 502
    assert b"127.0.0.1:9" in answered.body


def test_a_server_that_the_cycles_have_given_up_is_not_waited_for() -> None:
    watched, breaker = Watched({"a": rhythm}), Breaker(longest_s=0.0)
    with Relay("http://127.0.0.1:9") as server:
        here = pages(watched, url=server.url, onlooker=lambda _tenant: Onlooker(breaker))
        for _ in range(FAILURES):
            with pytest.raises(SourceUnavailable), breaker.call("m"):
                raise SourceUnavailable("it was down", reason="timeout")
        answered = here.explain("query=m&series=%7Bkind%3D%22a%22%7D")
        assert answered.status == 502
        assert b"it was down The server is not asked for now; try again soon." in answered.body
        assert server.requests == []
    breaker.longest_s = 60.0
    with breaker.call("m"):
        pass
    for number in range(2 * FAILURES):  # each is another question
        assert here.explain(f"query=m&series=%7Bkind%3D%22{number}%22%7D").status == 502
    assert not breaker.is_open
