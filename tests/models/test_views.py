from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.models import views
from exporter.models.floors import summarise
from exporter.models.medians import LEAD, ORIGIN, day_medians, lay_out, room_for
from tests.naive import parts
from tests.naive import robust_band as naive
from tests.naive.windows import GAPS, KINDS, centre, make

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
PLACES = dict(
    zip(parts.VIEW_NAMES, (views.X, views.F3, views.F48, views.DAY, views.XM6, views.DAY_F12, views.HW), strict=True)
)


class Filled:
    """`fill_views` on one window."""

    def __init__(self, values: np.ndarray, offset: float, end_column: int, step_s: int, horizon: int) -> None:
        n, period = len(values), 86_400 // step_s
        summary = summarise(np.sort(values[None], axis=1), np.array([offset]))
        out = np.full((views.VIEWS, 1, n), -1, np.float32)
        daily = np.full((1, views.RECENT + horizon), np.nan, np.float32)
        future = np.full((1, views.PLANES, horizon), np.nan, np.float32)
        state, spread = np.empty((1, 2)), np.empty(1)
        views.fill_views(
            values[None], summary.median, summary.floor, np.array([end_column]), period, views.season_reach(step_s),
            views.scale_reach(step_s), out, daily, future, state, spread,
        )  # fmt: skip
        self.out, self.daily, self.future = out[:, 0], daily[0], future[0]
        self.state, self.spread = state[0], float(spread[0])


def check_views(values: np.ndarray, offset: float, end_column: int, step_s: int, horizon: int) -> None:
    twin = naive.Twin(values, offset, end_column, step_s)
    if not twin.valid:
        return
    filled = Filled(values, offset, end_column, step_s, horizon)
    for name, place in PLACES.items():
        wanted = np.array(twin.window_views[name])
        assert (np.isnan(filled.out[place]) == np.isnan(wanted)).all(), name
        slack = np.array([twin.slack(name, r) for r in wanted])
        off = np.abs(filled.out[place] - wanted) > slack
        assert not off.any(), (name, np.flatnonzero(off), filled.out[place][off], wanted[off])
    check_future(twin, filled, horizon)


def check_future(twin: naive.Twin, filled: Filled, horizon: int) -> None:
    slack = 16 * parts.ROUNDING * twin.largest
    assert filled.state[0] == pytest.approx(twin.level, rel=0, abs=4 * slack)
    assert filled.state[1] == pytest.approx(twin.trend, rel=0, abs=slack)
    assert filled.spread == pytest.approx(twin.spread, rel=0, abs=slack)
    for k in range(-views.RECENT, horizon):
        t = twin.n + k
        season = pytest.approx(twin.season(t), rel=0, abs=slack, nan_ok=True)
        assert filled.daily[views.RECENT + k] == season
        if k >= 0:
            phase = twin.phase(t)
            assert filled.future[views.F_HW, k] == pytest.approx(twin.cycle[phase], rel=0, abs=4 * slack)
            assert filled.future[views.F_SEASON, k] == pytest.approx(twin.phase_level[phase], rel=0, abs=slack)
            for row, name in ((views.F_RATIO_DAY, "day_f12"), (views.F_RATIO_HW, "hw")):
                # A ratio of two scales: each carries the error of a residual, relative to itself (or to the floor).
                ratio, scale = twin.ratio(name, phase), max(twin.scales[name][1], twin.floor)
                wobble = 1e-6 + 4 * slack / scale if not math.isnan(ratio) else 0.0
                assert filled.future[row, k] == pytest.approx(ratio, rel=min(wobble, 1.0), nan_ok=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gaps", GAPS)
def test_views_of_hourly_windows(kind: str, gaps: str) -> None:
    for seed, days in enumerate([2, 3, 8, 10]):
        rng = np.random.default_rng(seed)
        values, offset = centre(make(kind, gaps, days * 24, 24, rng))
        check_views(values, offset + float(rng.choice([0.0, 1e8])), int(rng.integers(1_000_000)), 3600, 6)


@pytest.mark.parametrize(("step_s", "days"), [(300, 2), (300, 3), (1800, 9), (7200, 9), (900, 8)])
@pytest.mark.parametrize("gaps", ["none", "5%", "day", "90%"])
def test_views_at_other_steps(step_s: int, days: int, gaps: str) -> None:
    period = 86_400 // step_s
    rng = np.random.default_rng(step_s)
    values, offset = centre(make("daily", gaps, days * period, period, rng))
    check_views(values, offset, 12_345_678, step_s, min(12, period - 2))


def test_views_at_one_minute() -> None:
    rng = np.random.default_rng(7)
    values, offset = centre(make("quantised", "5%", 2880, 1440, rng))
    check_views(values, offset, 29_000_001, 60, 60)


@QUICK
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(GAPS),
    st.integers(12, 90),
    st.integers(0, 10**9),
    st.integers(1, 20),
)
def test_views_of_windows_of_any_length(seed: int, kind: str, gaps: str, n: int, end: int, horizon: int) -> None:
    values, offset = centre(make(kind, gaps, n, 24, np.random.default_rng(seed)))
    check_views(values, offset, end, 3600, horizon)


def test_whole_numbers_are_exact() -> None:
    # Medians of whole numbers are multiples of 1/2 and their differences of 1/4: float32 holds them, no tolerance.
    for seed in range(10):
        rng = np.random.default_rng(seed)
        values = make("quantised", GAPS[seed % 6], 216, 24, rng).astype(np.float32)
        twin, filled = naive.Twin(values, 0.0, 999, 3600), Filled(values, 0.0, 999, 3600, 6)
        for name in ("x", "f3", "f48", "day", "xm6"):
            assert np.array_equal(filled.out[PLACES[name]], np.float32(twin.window_views[name]), equal_nan=True), name


def test_season_and_spread_by_hand() -> None:
    # Four days of period 4, level 10; the phases' medians are 0, 10, 20, 10. One sample is off by 6, one by 2.
    days = [[0, 10, 20, 10], [0, 16, 20, 10], [2, 10, 20, 10], [0, 10, 20, 10]]
    filled = Filled(np.array(days, np.float32).ravel(), 0.0, 4 * 1000 - 1, 21_600, 5)
    assert filled.future[views.F_SEASON].tolist() == [0, 10, 20, 10, 0]
    assert filled.spread == 0.0
    noisy = np.array([[9, 1], [11, -1], [12, 2], [8, -2], [10, 0]], np.float32).ravel()  # distances 1, 1, 2, 2, 0 twice
    assert Filled(noisy, 0.0, 1999, 43_200, 2).spread == 1.0


def test_a_phase_never_seen_has_the_level_of_the_window_for_season() -> None:
    values = np.tile(np.array([1, np.nan, 5, 9], np.float32), 5)
    filled = Filled(values, 0.0, 4 * 1000 - 1, 21_600, 4)
    assert filled.future[views.F_SEASON].tolist() == [1, 5, 5, 9]


def test_a_row_without_samples_has_nothing() -> None:
    filled = Filled(np.full(96, np.nan, np.float32), 0.0, 500, 3600, 4)
    for found in (filled.out, filled.daily, filled.future, filled.state, filled.spread):
        assert np.isnan(found).all()


def test_views_by_hand() -> None:
    # Three days of period 4 (step 6 h): a clean season, then a jump on the last day.
    values = np.array([0, 10, 20, 10, 0, 10, 20, 10, 0, 10, 26, 10], np.float32)
    assert parts.season_at(values, 10, 4, 21_600) == 10.0  # the phase, its neighbours, on the two days before
    season = np.empty(13, np.float32)
    room = room_for(LEAD + 12 + 4)
    lay_out(values, -LEAD, room)
    day_medians(room, ORIGIN + LEAD - 4, 4, 1, season)
    assert season[10] == 20.0
    assert season[12] == 0.0
    assert np.isnan(season[:4]).all()


def test_views_look_back_only() -> None:
    rng = np.random.default_rng(3)
    values = make("daily", "5%", 216, 24, rng).astype(np.float32)
    changed = values.copy()
    changed[150:] += 500
    before, after = Filled(values, 0.0, 500, 3600, 4), Filled(changed, 0.0, 500, 3600, 4)
    for place in (views.X, views.F3, views.F48, views.DAY, views.XM6):
        assert np.array_equal(before.out[place, :150], after.out[place, :150], equal_nan=True)


def test_phases_are_columns_of_the_day_whatever_the_origin() -> None:
    values = make("daily", "30%", 240, 24, np.random.default_rng(4)).astype(np.float32)
    first = Filled(values, 0.0, 0, 3600, 6)
    for end_column in (1, 23, 24, 1_000_003):
        other = Filled(values, 0.0, end_column, 3600, 6)
        assert other.out.tobytes() == first.out.tobytes()
        assert other.future.tobytes() == first.future.tobytes()
        assert other.daily.tobytes() == first.daily.tobytes()


def test_an_unscaled_phase_takes_the_scale_of_the_window() -> None:
    assert views.phase_ratio(math.nan, 2.0, 0.1) == 1.0
    assert views.phase_ratio(2.0, 2.0, 0.1) == pytest.approx(1.0)
    assert views.phase_ratio(6.0, 2.0, 0.1) == pytest.approx(2 / math.sqrt(20))
    assert views.phase_ratio(0.0, 0.0, 0.1) == 1.0


def test_reaches_by_step() -> None:
    assert [views.season_reach(s) for s in (60, 299, 300, 3600)] == [2, 2, 1, 1]
    assert [views.scale_reach(s) for s in (60, 120, 300, 1800, 3600)] == [15, 15, 6, 1, 0]
