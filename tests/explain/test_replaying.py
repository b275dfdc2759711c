"""A replay of one series alone gives, digit by digit, what a unit that watched many for hours has published."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from support.watched import DAY, NOW, SERIES, Watched, huge, rhythm

from exporter.explain.matching import match
from exporter.explain.publication import Publication
from exporter.explain.replaying import Numbers, Replayed, as_published, equal, likely_offsets, published, same
from exporter.models.contributions import contributions_of


def check(watched: Watched, kind: str, time_s: int, told: dict[str, Numbers]) -> Replayed:
    matched = match(watched.query, watched.recorded(kind, time_s), [time_s], Publication())
    assert matched.equal is None
    replayed = matched.replayed
    for model, numbers in told.items():
        got = as_published(replayed.numbers[model])
        assert np.array_equal(astuple(got), astuple(numbers), equal_nan=True), (kind, model, got, numbers)
    return replayed


@pytest.mark.parametrize("plain", [True, False])
def test_every_kind_of_series_at_many_cycles(plain: bool) -> None:
    watched = Watched({kind: make for kind, make in SERIES.items() if kind != "huge"}, plain=plain)
    judged, start_s = 0, NOW
    for cycles in (1, 6, 17, 23, 41, 60):  # fits come at another minute for each series
        time_s = watched.run(cycles, start_s)
        start_s = time_s + 60
        told = watched.published()
        for kind in told:
            check(watched, kind, time_s, told[kind])
            judged += 1
    assert judged >= 25


@pytest.mark.parametrize("settings", [
    {"direction": "above"}, {"min_deviation": 4.0}, {"data_range": (0.0, 62.0)}, {"sensitivity": 0.85},
    {"min_relative_deviation": 0.3, "direction": "below"}, {"interval_s": 300}, {"interval_s": 30, "step_s": 60},
    {"signals": ("shift", "stale")},
])  # fmt: skip
def test_with_every_policy_and_other_steps(settings: dict) -> None:
    watched = Watched({"rhythm": rhythm, "stepping": SERIES["stepping"]}, **settings)
    time_s = watched.run(45)
    told = watched.published()
    for kind, numbers in told.items():
        replayed = check(watched, kind, time_s, numbers)
        assert set(replayed.signals) == set(settings.get("signals", ()))


def test_a_large_level_met_at_the_same_time_is_the_same() -> None:
    watched = Watched({"huge": huge})
    time_s = watched.run(1)
    replayed = check(watched, "huge", time_s, watched.published()["huge"])
    assert replayed.offset != 0


def test_a_large_level_met_at_another_time_is_found_by_its_offset() -> None:
    # The offset by which a row is centred follows from the samples that were there when it was first met: here there
    # was a jump among them that has left the window since, so that it rounds the last digits otherwise.
    def jumped(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return huge(times, rng) + 700.0 * (np.abs(times - NOW + 3.9 * DAY) < 3600)

    watched = Watched({"huge": jumped}, days=6.5)
    watched.run(1, NOW - 3 * DAY)
    for hour in range(0, 72, 1):
        watched.run(1, NOW - 3 * DAY + hour * 3600 + 60)
    time_s = watched.run(1, NOW + 600)
    told = watched.published()["huge"]
    recorded = watched.recorded("huge", time_s)
    known = watched.unit.known(watched.labels("huge"))
    assert known is not None
    assert same(Replayed(watched.query, recorded, time_s, known.offset).numbers, told)
    fresh = Replayed(watched.query, recorded, time_s)
    assert fresh.offset != known.offset
    assert not same(fresh.numbers, told)
    assert known.offset in list(likely_offsets(recorded))


def test_what_a_unit_knows_of_a_series_is_what_it_publishes() -> None:
    watched = Watched({"rhythm": rhythm})
    watched.run(2)
    known = watched.unit.known({"kind": "rhythm"})
    assert known is not None
    assert (known.state, known.offset) == ("ok", 0.0)
    told = watched.published()["rhythm"]
    assert same({model: Numbers(*verdict) for model, verdict in known.verdicts.items()}, told)
    assert watched.unit.known({"kind": "other"}) is None
    assert watched.fresh_unit().known({"kind": "rhythm"}) is None


# --- the parts of the score -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SERIES)
def test_the_parts_add_up_to_the_published_score(kind: str) -> None:
    watched = Watched({kind: SERIES[kind]})
    time_s = watched.run(30)
    replayed = Replayed(watched.query, watched.recorded(kind, time_s), time_s)
    value = watched.store.series[(("__name__", "m"), ("kind", kind))][
        max(watched.store.series[(("__name__", "m"), ("kind", kind))])
    ]
    told = watched.published()[kind]["robust_band"]
    parts = replayed.contributions("robust_band")
    assert parts is not None
    assert published(math.fsum(parts.parts.values())) == pytest.approx(told.score, rel=1e-8, abs=1e-12)
    spread = abs(told.upper - told.lower)
    seen = set()
    for share in (-30, -3, -1, -0.4, 0, 0.2, 0.6, 1, 2, 8, 1e6):  # and of any other value, far beyond the band, too
        got = contributions_of(replayed._judging.models["robust_band"], 0, value + share * spread - replayed.offset)
        assert math.fsum(got.parts.values()) == pytest.approx(got.score, rel=1e-9, abs=1e-12)
        seen |= {name for name, part in got.parts.items() if part != 0}
    assert {"novelty", "season", "cut"} <= seen
    assert replayed.contributions("shesd") is None


def test_a_score_far_above_is_not_that_of_the_parts_only_by_what_is_cut() -> None:
    watched = Watched({"rhythm": rhythm})
    time_s = watched.run(1)
    replayed = Replayed(watched.query, watched.recorded("rhythm", time_s), time_s)
    got = contributions_of(replayed._judging.models["robust_band"], 0, 1e9)
    assert got.score == 100.0
    assert got.parts["cut"] < 0
    assert got.parts["lifted"] == 0


# --- other values -----------------------------------------------------------------------------------------------------


def test_another_value_scores_above_one_exactly_outside_the_band() -> None:
    watched = Watched({"rhythm": rhythm}, min_deviation=3.0)
    time_s = watched.run(3)
    replayed = Replayed(watched.query, watched.recorded("rhythm", time_s), time_s)
    for model in ("robust_band", "shesd"):
        band = replayed.numbers[model]
        for edge, sign in ((band.upper, 1), (band.lower, -1)):
            assert replayed.would_be(model, edge - sign * 1e-3).score <= 1
            assert replayed.would_be(model, edge + sign * 1e-3).score > 1
        assert replayed.would_be(model, replayed.value) == band


# --- states -----------------------------------------------------------------------------------------------------------


def late(hours: float):
    def make(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.where(times < NOW - hours * 3600, np.nan, rhythm(times, rng))

    return make


def ending(hours: float):
    def make(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.where(times > NOW - hours * 3600, np.nan, rhythm(times, rng))

    return make


def rare(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(np.round(times) % (12 * 3600) == 0, rhythm(times, rng), np.nan)


STATES = {
    "warming": late(1.0), "young": late(3.0), "absent": ending(2.0), "sparse": rare, "gone": ending(30.0),
    "constant": lambda times, rng: np.full(len(times), 7.0),
}  # fmt: skip


def test_states_are_those_of_the_unit() -> None:
    watched = Watched(STATES)
    time_s = watched.run(1)
    states = {}
    for kind in STATES:
        replayed = Replayed(watched.query, watched.recorded(kind, time_s), time_s)
        known = watched.unit.known(watched.labels(kind))
        assert replayed.state == (known.state if known else ""), kind
        states[kind] = replayed.state
    assert states == {"warming": "warming", "young": "ok", "absent": "absent", "constant": "constant",
                      "sparse": "sparse", "gone": ""}  # fmt: skip


def test_nothing_is_known_of_a_series_without_a_sample() -> None:
    watched = Watched({"rhythm": rhythm})
    replayed = Replayed(watched.query, watched.recorded("nobody", NOW), NOW)
    assert replayed.state == ""
    assert math.isnan(replayed.value)
    assert math.isnan(replayed.judged_s)
    assert math.isnan(replayed.last_s)
    assert all(math.isnan(numbers.score) for numbers in replayed.numbers.values())


# --- comparing --------------------------------------------------------------------------------------------------------


def test_published_numbers_have_nine_digits() -> None:
    assert published(1 / 3) == 0.333333333
    assert published(123456789.4) == 123456789.0
    assert math.isnan(published(math.nan))
    assert published(math.inf) == math.inf
    assert published(-0.0) == 0.0


def test_what_was_not_published_is_not_compared() -> None:
    numbers = Numbers(1.5, 2.0, 1.0, math.nan)
    assert equal(numbers, Numbers(1.5, math.nan, math.nan, math.nan))
    assert not equal(numbers, Numbers(1.5, 2.0, 1.0, 3.0))
    assert not equal(numbers, Numbers(1.6, 2.0, 1.0, math.nan))
    assert same({"a": numbers}, {"a": numbers, "gone": Numbers(0, 0, 0, 0)})
    assert not same({"a": numbers}, {"a": Numbers(1.5, 2.0, 1.1, math.nan)})
