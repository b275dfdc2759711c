"""Replay says, bit for bit, what the exporter says live, cycle by cycle, about the same samples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from support.living import (
    DAY,
    FIRST_S,
    HASHES,
    MODELS,
    PARTS,
    check_same,
    live,
    live_all,
    query,
    replayed,
    series,
    share_judged,
)
from support.store import Store

from exporter import names
from exporter.config.schema import Query
from exporter.judging import horizon
from exporter.models.tails import LEAST_SAMPLES
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.replay import Histories, History, Replay
from exporter.unit import Unit
from exporter.verdict import Bands


@pytest.mark.parametrize(
    ("interval_s", "step_s", "days"),
    [(300, 300, 4), (60, 300, 3.2), (1440, 1440, 9), (480, 480, 5), (60, 480, 3), (240, 1440, 6), (3600, 3600, 12),
     (450, 900, 5), (2400, 2400, 9)],
)  # fmt: skip
def test_replay_gives_what_live_gives(interval_s: int, step_s: int, days: float) -> None:
    values = series(days, interval_s, seed=step_s + interval_s)
    found = check_same(query(interval_s=interval_s, step_s=step_s, window_s=2 * DAY), values)
    assert share_judged(found, values) > 0.6
    scores = found["robust_band"].score
    assert (scores > 1).any()
    assert (scores == 0).any() or (scores < 0.2).any()


@pytest.mark.parametrize(
    ("interval_s", "step_s", "policy"),
    [(300, 300, {}), (60, 300, {}), (480, 480, {"direction": "above"}), (1440, 1440, {"sensitivity": 0.85}),
     (300, 300, {"min_deviation": 5.0, "direction": "below"}), (900, 900, {"min_history_s": 3 * DAY})],
)  # fmt: skip
def test_replay_gives_the_slow_signals_that_live_gives(interval_s: int, step_s: int, policy: dict) -> None:
    values = series(5 if interval_s > 60 else 3.4, interval_s, seed=17)
    values[0, int(2.6 * DAY / interval_s) :] = 61.5  # frozen
    values[1, int(2.8 * DAY / interval_s) :] -= 25
    asked = query(interval_s=interval_s, step_s=step_s, signals=("shift", "stale"), **policy)
    first_cycle = FIRST_S // interval_s
    wanted = live_all(asked, values, first_cycle, HASHES).signals
    hashes = np.array(HASHES, np.int64)
    found = Replay(asked).run_all(Histories(values, first_cycle, hashes)).signals
    assert list(found) == ["shift", "stale"]
    for name, scores in wanted.items():
        off = (scores != found[name]) & ~(np.isnan(scores) & np.isnan(found[name]))
        assert not off.any(), (name, np.argwhere(off)[:5], scores[off][:5], found[name][off][:5])
        assert (found[name] > 1).any(), name
        assert (found[name] < 0.2).any(), name


def test_series_are_replayed_together_as_alone_from_any_sample_on() -> None:
    asked = query(signals=("shift", "stale"))
    values = series(4.5, 300, seed=23)
    first_cycle, hashes = FIRST_S // 300, np.array(HASHES, np.int64)
    whole = Replay(asked).run_all(Histories(values, first_cycle, hashes))
    since = 3 * 288 + horizon(300)  # a window, and what a fit serves
    part = Replay(asked).run_all(Histories(values[:, 50:], first_cycle + 50, hashes), since=since + 100)
    for name in MODELS:
        for at in range(len(values)):
            alone = Replay(asked).run(History(values[at], first_cycle, HASHES[at]))[name]
            for field in PARTS:
                assert getattr(alone, field).tobytes() == getattr(whole.bands[name], field)[at].tobytes()
        for field in PARTS:
            wanted = np.ascontiguousarray(getattr(whole.bands[name], field)[:, since + 150 :])
            assert getattr(part.bands[name], field).tobytes() == wanted.tobytes()
    for name, scores in whole.signals.items():
        assert part.signals[name].tobytes() == np.ascontiguousarray(scores[:, since + 150 :]).tobytes()


def test_the_last_sample_of_each_column_alone_gets_the_verdicts_it_got_among_the_others() -> None:
    asked = query(interval_s=60, signals=("shift", "stale"))
    first_s = FIRST_S + 60
    values = series(3.2, 60, seed=29)
    values[:, 4::5] = np.where(np.isnan(values[:, 4::5]), 50.0, values[:, 4::5])
    first_cycle, hashes = first_s // 60, np.array(HASHES, np.int64)
    whole = Replay(asked).run_all(Histories(values, first_cycle, hashes))
    sparse = Replay(asked).run_all(Histories(values[:, 4::5], first_cycle + 4, hashes, every=5))
    for name in MODELS:
        for field in PARTS:
            wanted = np.ascontiguousarray(getattr(whole.bands[name], field)[:, 4::5])
            off = (wanted != (got := getattr(sparse.bands[name], field))) & ~(np.isnan(wanted) & np.isnan(got))
            assert not off.any(), (name, field, np.argwhere(off)[:5])
    for name, scores in whole.signals.items():
        assert sparse.signals[name].tobytes() == np.ascontiguousarray(scores[:, 4::5]).tobytes()


def test_nothing_to_judge() -> None:
    asked = query(signals=("stale",))
    for shape, since in (((0, 10), 0), ((2, 0), 0), ((2, 10), 10), ((2, 10), 12)):
        empty = Histories(np.ones(shape), 0, np.zeros(shape[0], np.int64))
        found = Replay(asked).run_all(empty, since)
        assert found.bands["shesd"].score.shape == found.signals["stale"].shape == (shape[0], max(0, shape[1] - since))


@pytest.mark.parametrize("first_s", [FIRST_S + 60, FIRST_S + 4 * 60, FIRST_S + 3540, FIRST_S - 7 * 60])
def test_the_first_cycle_may_be_at_any_minute(first_s: int) -> None:
    check_same(query(interval_s=60, window_s=2 * DAY), series(0.9, 60), first_s)


@pytest.mark.parametrize(
    "policy",
    [
        {"direction": "above"},
        {"direction": "below", "data_range": (0.0, 90.0)},
        {"min_deviation": 4.0, "min_relative_deviation": 0.1},
        {"data_range": (35.0, 65.0)},
        {"min_history_s": 2 * DAY},
        {"sensitivity": 0.85},
    ],
    ids=lambda policy: "-".join(policy),
)
def test_policy_is_the_same_live_and_replayed(policy: dict[str, object]) -> None:
    values = series(2.6, 300, seed=5)
    plain, found = replayed(query(), values, FIRST_S // 300, HASHES), check_same(query(**policy), values)
    assert any(
        getattr(plain[name], part).tobytes() != getattr(found[name], part).tobytes()
        for name in MODELS
        for part in PARTS
    )


def test_min_history_counts_from_the_first_sample() -> None:
    values = series(2.6, 300, seed=5)
    found = check_same(query(min_history_s=DAY), values)
    for row, scores in zip(values, found["robust_band"].score, strict=True):
        first = np.flatnonzero(~np.isnan(row))[0]
        judged = np.flatnonzero(~np.isnan(scores))
        assert first + 288 <= judged[0] <= first + 288 + 150  # one of them has half a day of gaps then


def test_no_verdict_looks_ahead() -> None:
    values = series(3, 300, seed=3)
    cut = int(2.5 * 288)
    first_cycle = FIRST_S // 300
    before = replayed(query(window_s=2 * DAY), values, first_cycle, HASHES)
    for later in (np.nan, 1e6, -7.0):
        changed = values.copy()
        changed[:, cut:] = later
        after = replayed(query(window_s=2 * DAY), changed, first_cycle, HASHES)
        for name in MODELS:
            for part in PARTS:
                was, now = getattr(before[name], part)[:, :cut], getattr(after[name], part)[:, :cut]
                assert was.tobytes() == now.tobytes(), (name, part, later)


def test_the_end_of_the_history_changes_nothing_before() -> None:
    values = series(2, 300, seed=3)
    first_cycle = FIRST_S // 300
    whole = replayed(query(), values, first_cycle, HASHES)
    for cycles in (30, 301, 500):
        part = replayed(query(), values[:, :cycles], first_cycle, HASHES)
        for name in MODELS:
            assert part[name].score.tobytes() == np.ascontiguousarray(whole[name].score[:, :cycles]).tobytes()


def test_what_lies_further_back_than_a_window_changes_nothing() -> None:
    values = series(4, 300, seed=3)
    first_cycle = FIRST_S // 300
    whole = replayed(query(window_s=2 * DAY), values, first_cycle, HASHES)
    late = replayed(query(window_s=2 * DAY), values[:, 288:], first_cycle + 288, HASHES)
    for name in MODELS:
        settled = 2 * 288 + 12  # a window, and the hour of the fit before
        was, now = whole[name].score[:, 288 + settled :], late[name].score[:, settled:]
        assert np.ascontiguousarray(was).tobytes() == np.ascontiguousarray(now).tobytes()


@pytest.mark.parametrize("cycles", [1, 5, 11, 23, 24, 25, 60])
def test_short_histories(cycles: int) -> None:
    values = series(1, 300)[:, :cycles]
    values[4:] = values[:2]  # no late start
    found = check_same(query(), values)
    if cycles <= LEAST_SAMPLES:
        assert all(np.isnan(bands.score).all() for bands in found.values())
    elif cycles == 60:
        assert (~np.isnan(found["robust_band"].score)).any()


def test_no_samples_and_a_single_one() -> None:
    values = np.full((3, 600), np.nan)
    values[1, 0], values[2, 599] = 5.0, 7.0
    found = check_same(query(), values)
    for bands in found.values():
        assert all(np.isnan(getattr(bands, part)).all() for part in PARTS)


def test_constants_are_judged_against_themselves() -> None:
    values = np.repeat([[0.0], [7.25], [1e5], [-3e9]], 700, axis=1)
    values[:, 500] += [1.0, 5.0, 2e4, 1e9]
    found = check_same(query(), values)
    scores = found["robust_band"].score
    assert (scores[:, 400:500] == 0).all()
    assert (scores[:, 500] > 1).all()


@pytest.mark.parametrize("value", [2e37, -1e38, 1e300])
def test_samples_too_large_for_the_window_are_judged_and_then_gaps(value: float) -> None:
    values = series(1.5, 300, seed=3)[:3]
    values[:, 300] = value
    scores = check_same(query(window_s=2 * DAY), values)["robust_band"].score
    assert (scores[:, 300] > 1).all()


def test_an_empty_history_has_no_verdicts() -> None:
    found = replayed(query(), np.empty((1, 0)), 0, HASHES[:1])
    assert all(found[name].score.shape == (1, 0) for name in MODELS)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinite_samples_are_no_samples(value: float) -> None:
    values = series(1.5, 300, seed=3)[:3]
    values[:, 300:310] = value
    infinite = replayed(query(window_s=2 * DAY), values, FIRST_S // 300, HASHES[:3])
    values[:, 300:310] = np.nan
    missing = replayed(query(window_s=2 * DAY), values, FIRST_S // 300, HASHES[:3])
    for name in MODELS:
        assert infinite[name].score.tobytes() == missing[name].score.tobytes()


@pytest.mark.parametrize("level", [1e9, -3e12, 1e15])
def test_huge_offsets_agree_as_far_as_centring_goes(level: float) -> None:
    # Live keeps the offset it once chose, a replay chooses one for each fit: the stored bits differ.
    values = series(3, 300, seed=9)[[0, 2]]
    values = level + (values - 50) * 1e-6 * abs(level)
    values[:, 500] += 5e-3 * abs(level)  # the floor of such a series is a thousandth of its level
    wanted, found = (how(query(), values, FIRST_S // 300, HASHES[:2]) for how in (live, replayed))
    for name in MODELS:
        for part in PARTS:
            was, now = getattr(wanted[name], part), getattr(found[name], part)
            assert np.isnan(was).tolist() == np.isnan(now).tolist()
            close = np.isclose(now, was, rtol=1e-3, atol=1e-3 if part == "score" else 1e-5 * abs(level), equal_nan=True)
            assert close.mean() > 0.97  # a residual that lies right at the gate of a tail may fall on either side
    assert (found["robust_band"].score > 1).any()


def test_series_and_models_do_not_depend_on_each_other() -> None:
    values = series(1.5, 300)
    both = Replay(query())
    robust = Replay(replace(query(), models=query().models[:1]))
    first_cycle = FIRST_S // 300
    together = [both.run(History(row, first_cycle, 7)) for row in values]
    for row, wanted in zip(values[::-1], together[::-1], strict=True):  # another order, one model
        found = robust.run(History(row, first_cycle, 7))
        assert list(found) == ["robust_band"]
        for part in PARTS:
            assert getattr(found["robust_band"], part).tobytes() == getattr(wanted["robust_band"], part).tobytes()


def test_the_hash_says_when_a_series_is_fitted() -> None:
    values = series(2, 300)[:1]
    first_cycle = FIRST_S // 300
    scores = [replayed(query(), values, first_cycle, (one,))["robust_band"].score for one in (0, 1, 12)]
    assert scores[0].tobytes() == scores[2].tobytes()  # a fit every twelve cycles
    assert scores[0].tobytes() != scores[1].tobytes()


@pytest.mark.parametrize(("interval_s", "step_s"), [(300, 300), (60, 300)])
def test_a_whole_unit_publishes_what_a_replay_of_its_samples_gives(interval_s: int, step_s: int) -> None:
    """From the server's answers on, and for a process that starts long after the series did."""
    asked = query(interval_s=interval_s, step_s=step_s, window_s=2 * DAY)
    values = series(2.5, interval_s, seed=11)[[0, 1, 4]]
    first_cycle = FIRST_S // interval_s
    times = (first_cycle + np.arange(values.shape[1])) * interval_s
    store = Store(step_s=step_s)
    unit = Unit("", asked, store, page_of(asked))
    start = values.shape[1] - 200
    for i, row in enumerate(values):
        known = ~np.isnan(row) & (np.arange(len(row)) < start)
        store.put(labels(i), times[known], row[known])
    checked = 0
    expected: dict[int, dict[str, Bands]] = {}
    for k in range(start, len(times)):
        for i, row in enumerate(values):
            if not math.isnan(row[k]):
                store.put(labels(i), times[k], row[k])
        assert unit.run_cycle(int(times[k])).error == ""
        for row in unit._judging.current.tolist():
            i = int(unit._table.labels(row)["i"])
            if i not in expected:
                expected[i] = Replay(asked).run(History(values[i], first_cycle, unit._table.stable_hash(row)))
            if math.isnan(values[i, k]):
                continue
            for name, bands in unit._judging.bands.items():
                got = [getattr(bands, part)[row] for part in PARTS]
                wanted = [getattr(expected[i][name], part)[k] for part in PARTS]
                assert np.array_equal(got, wanted, equal_nan=True), (name, i, k, got, wanted)
                checked += 1
    assert checked > 800


def labels(i: int) -> dict[str, str]:
    return {"__name__": "m", "i": str(i)}


def page_of(asked: Query) -> UnitPage:
    models = [model.name for model in asked.models]
    return UnitPage(Page(None), "m", added_labels("m", "", vmanomaly=False), models, names.FAMILIES)
