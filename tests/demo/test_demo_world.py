"""The catalogue of series, queries and events: big enough, varied enough, and fair."""

import math

import numpy as np
import pytest

from exporter.demo import world as worlds
from exporter.demo.history import grid
from exporter.demo.signals import DAY_S
from exporter.demo.world import FOREVER_S, SHIFT, SPIKE, VANISH, WRONG_TIME, ZERO, Event, World

NOW_S = 1_795_327_000.0
HOURS_OF_A_WEEK = NOW_S + 3600 * np.arange(0, 168.0)


@pytest.fixture(scope="module")
def world() -> World:
    return worlds.build(7)


def test_the_world_has_the_promised_size_and_variety(world: World) -> None:
    rows = worlds.watched_rows(world)
    assert 60 <= len(world.series) <= 100
    assert 60 <= len(rows) <= 100
    assert {series.labels["tenant"] for series in world.series} == {"shop", "payments", "search"}
    assert len({series.seed for series in world.series}) == len(world.series)
    assert len({series.text() for series in world.series}) == len(world.series)


def test_the_scales_reach_from_thousandths_to_billions(world: World) -> None:
    levels = [series.recipe.level for series in world.series]
    assert min(levels) < 5e-3
    assert max(levels) > 1e9


def test_every_series_is_watched_by_some_query(world: World) -> None:
    watched = {index for made_of in worlds.watched_rows(world).values() for index in made_of}
    assert watched == set(range(len(world.series)))


def test_rows_of_plain_selectors_keep_the_labels_of_the_scrape(world: World) -> None:
    for row in worlds.watched_rows(world):
        labels = dict(row.labels)
        if row.query in ("tenant_cpu", "error_ratio"):
            assert "job" not in labels
        else:
            assert worlds.TARGET_LABELS.items() <= labels.items()


def test_queries_are_plain_selectors_and_expressions() -> None:
    plain = [query for query in worlds.QUERIES if query.expr == query.metric]
    assert plain
    assert len(plain) < len(worlds.QUERIES)
    assert len({query.name for query in worlds.QUERIES}) == len(worlds.QUERIES)


def test_two_builds_of_a_seed_are_equal_and_another_seed_differs(world: World) -> None:
    times = np.array([NOW_S, NOW_S + 77])
    again, other = worlds.build(7), worlds.build(8)
    assert again.series == world.series
    assert np.array_equal(again.values(0, times), world.values(0, times))
    assert not np.array_equal(other.values(0, times), world.values(0, times))


@pytest.mark.parametrize("labels", [{"tenant": "nobody"}, {"tenant": "shop"}])
def test_find_wants_exactly_one_series(world: World, labels: dict[str, str]) -> None:
    with pytest.raises(KeyError, match="demo_cpu_cores"):
        world.find("demo_cpu_cores", **labels)


def test_all_kinds_of_events_happen_now_each_in_one_row_of_its_own(world: World) -> None:
    events = worlds.events_now(world, NOW_S, 60)
    rows = [row for event in events for row in worlds.rows_of_event(world, event)]
    assert {event.kind for event in events} == {SPIKE, ZERO, SHIFT, WRONG_TIME, VANISH}
    assert len(rows) == len(set(rows)) == len(events)
    assert any("job" not in dict(row.labels) for row in rows), "one event shows in an expression"


def test_only_the_first_spike_passes(world: World) -> None:
    ends = [event.end_s for event in worlds.events_now(world, NOW_S, 60)]
    assert ends[0] == NOW_S + 60
    assert set(ends[1:]) == {FOREVER_S}


@pytest.mark.parametrize("hour", range(0, 168, 5))
def test_events_are_fair_at_any_hour_of_the_week(hour: int) -> None:
    now_s = NOW_S + 3600 * hour
    world = worlds.build(7)
    during = np.array([now_s + 30.0])
    for event in worlds.events_now(world, now_s, 60):
        series = world.series[event.series]
        clean = float(series.values(during)[0])
        changed = float(event.apply(series, during, series.values(during))[0])
        if event.kind == VANISH:
            assert math.isnan(changed)
        else:
            assert abs(changed - clean) >= 0.35 * min(clean, series.recipe.level), event


def test_level_shifts_are_at_least_forty_percent(world: World) -> None:
    sizes = [event.size for event in worlds.events_now(world, NOW_S, 60) if event.kind == SHIFT]
    assert len(sizes) == 2
    assert all(abs(size) >= 0.4 for size in sizes)
    assert min(sizes) < 0 < max(sizes)


@pytest.mark.parametrize("kind", [SPIKE, ZERO, SHIFT, WRONG_TIME, VANISH])
def test_an_event_changes_its_own_time_and_series_only(world: World, kind: str) -> None:
    times = NOW_S + np.arange(-300.0, 300, 5)
    struck = World(world.series, [Event(kind, 3, NOW_S, NOW_S + 60, 2.0)])
    before, after = world.values(3, times), struck.values(3, times)
    within = (times >= NOW_S) & (times < NOW_S + 60)
    assert np.array_equal(before[~within], after[~within])
    assert not np.any(before[within] == after[within])
    assert np.array_equal(struck.values(4, times), world.values(4, times))


def test_the_values_of_each_kind(world: World) -> None:
    series, times = world.series[0], np.array([NOW_S])
    clean = series.values(times)

    def apply(kind: str, size: float = 0.0) -> float:
        return float(Event(kind, 0, NOW_S, size=size).apply(series, times, clean)[0])

    assert apply(ZERO) == 0.0
    assert apply(SHIFT, -0.45) == pytest.approx(0.55 * clean[0])
    assert apply(SPIKE, 3) == pytest.approx(clean[0] + 3 * series.recipe.level)
    assert apply(WRONG_TIME) == series.values(times - 43_200)[0]
    assert math.isnan(apply(VANISH))


def test_the_past_is_marked_but_mostly_clean(world: World) -> None:
    past = worlds.past_events(world, NOW_S)
    times = grid(NOW_S)
    assert {event.kind for event in past} == {SPIKE, ZERO, SHIFT, WRONG_TIME, VANISH}
    for index in range(len(world.series)):
        struck = sum(event.covers(times).sum() for event in past if event.series == index)
        assert struck <= 0.02 * len(times)
    assert all(event.covers(times).any() for event in past)
    assert all(NOW_S - 14 * DAY_S < event.start_s < event.end_s < NOW_S - DAY_S for event in past)


def test_past_events_do_not_repeat_what_happens_now_in_the_same_series(world: World) -> None:
    past = {(event.series, event.kind) for event in worlds.past_events(world, NOW_S)}
    now = {(event.series, event.kind) for event in worlds.events_now(world, NOW_S, 60)}
    assert not past & now


def test_history_and_present_have_one_distribution(world: World) -> None:
    # the same weeks, seen every five minutes as history and every five seconds as scrapes
    sparse, dense = NOW_S + np.arange(0, 7 * DAY_S, 300.0), NOW_S + np.arange(0, 7 * DAY_S, 5.0)
    for index, series in enumerate(world.series):
        if series.recipe.noise and not series.recipe.burst:
            course = worlds.rhythm(series.recipe, sparse), worlds.rhythm(series.recipe, dense)
            spread = [(world.values(index, t) / c).std() for t, c in zip((sparse, dense), course, strict=True)]
            assert spread[0] == pytest.approx(spread[1], rel=0.1)


def test_the_region_of_the_wrong_time_is_the_one_that_differs_most(world: World) -> None:
    for now_s in HOURS_OF_A_WEEK:
        chosen = worlds.farthest_from_half_a_day_ago(world, now_s)
        assert world.series[chosen].labels["service"] == "api"
        moves = {}
        for region in ("eu", "us", "ap"):
            index = world.find("demo_requests_per_second", tenant="search", region=region, service="api")
            now, then = worlds.rhythm(world.series[index].recipe, np.array([now_s, now_s - 43_200.0]))
            moves[index] = abs(now - then)
        assert moves[chosen] == max(moves.values())
