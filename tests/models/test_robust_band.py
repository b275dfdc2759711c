"""The fit of `robust_band` against its twin (tests/naive/robust_band.py): tails, their gates, extremes, batches."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.models import robust_band as rb
from exporter.models import views
from exporter.models.floors import summarise
from tests.naive import parts
from tests.naive import robust_band as naive
from tests.naive.windows import CASES, GAPS, KINDS, batch_of_everything, centre, make

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
TAIL_OF = dict(zip(("x", "f3", "xm6", "day_f12", "hw"), range(5), strict=True))
EXTREME_OF = dict(zip(("x", "f3", "f48", "day", "xm6"), range(5), strict=True))


def fit_one(values: np.ndarray, offset: float, end_column: int, step_s: int, horizon: int) -> rb.Fitted:
    summary = summarise(np.sort(values[None], axis=1), np.array([offset]))
    shape = rb.Shape.of(step_s, horizon)
    return rb.fit(values[None], np.array([offset]), summary, np.array([end_column]), shape)


# --- what depends on the step -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval_s", [1, 15, 60, 61, 120, 299, 300, 301, 900, 3600, 86_400])
def test_what_a_record_is_worth_by_interval(interval_s: int) -> None:
    wanted = pytest.approx(parts.novelty_weight(interval_s), rel=1e-12)
    assert rb.novelty_weight(interval_s) == wanted
    assert rb.Shape.of(3600, 3, interval_s).novelty == wanted
    assert rb.Shape.of(interval_s, 3).novelty == wanted  # judged once a column


def test_the_shape_of_a_window() -> None:
    assert rb.Shape.of(300, 14) == rb.Shape(288, 14, 1, 6, 12, rb.novelty_weight(300))
    assert rb.Shape.of(60, 62) == rb.Shape(1440, 62, 2, 15, 60, rb.novelty_weight(60))
    assert [rb.Shape.of(step_s, 3).hour for step_s in (15, 60, 600, 1800, 3600)] == [60, 60, 6, 3, 3]


# --- tails and extremes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [24, 25, 199, 200, 224, 225, 249, 250, 1000, 4032])
def test_a_tail_holds_exactly_its_share_of_the_samples(n: int) -> None:
    row = np.random.default_rng(n).permutation(n).astype(np.float32)
    out = np.empty((1, 8), np.float32)
    rb._fit_tail(np.sort(row)[None], np.array([1e-9]), 24, False, out)
    m = max(8, n * 4 // 100)
    assert (row > out[0, rb.UPPER]).sum() == m
    assert (row < out[0, rb.LOWER]).sum() == m
    assert out[0, [rb.UPPER_JUMP, rb.LOWER_JUMP]] == pytest.approx(math.log10(n / m), rel=1e-6)
    # The m largest of 0..n-1 lie (m + 1) / 2 above the next one on average.
    assert out[0, rb.UPPER_SCALE] == pytest.approx(math.log(10) * (m + 1) / 2, rel=1e-6)
    assert out[0, rb.LOWER_SCALE] == pytest.approx(math.log(10) * (m + 1) / 2, rel=1e-6)


@pytest.mark.parametrize("n", [0, 1, 23])
def test_no_tail_with_fewer_than_24_samples(n: int) -> None:
    row = np.full((1, 40), np.nan, np.float32)
    row[0, :n] = np.arange(n)
    out = np.empty((1, 8), np.float32)
    rb._fit_tail(row, np.array([1.0]), 24, True, out)
    assert np.isnan(out).all()
    assert parts.tail_of(row[0], 1.0) is None


@pytest.mark.parametrize(
    ("above", "below", "upper_size", "lower_size"),
    [(0, 0, 8, 8), (3, 1, 8, 8), (20, 9, 20, 9), (39, 0, 39, 8), (40, 40, 40, 40), (41, 0, 40, 40)],
)
def test_the_tails_of_a_series_that_is_mostly_one_value(
    above: int, below: int, upper_size: int, lower_size: int
) -> None:
    row = np.zeros(1000, np.float32)
    row[:above] = 5.0
    row[1000 - below :] = -2.0
    out = np.empty((1, 8), np.float32)
    rb._fit_tail(np.random.default_rng(0).permutation(row)[None], np.array([1e-9]), 24, False, out)
    assert (out[0, rb.UPPER], out[0, rb.LOWER]) == (5.0 if above > 40 else 0.0, 0.0)
    assert out[0, rb.UPPER_JUMP] == pytest.approx(math.log10(1000 / upper_size), rel=1e-6)
    assert out[0, rb.LOWER_JUMP] == pytest.approx(math.log10(1000 / lower_size), rel=1e-6)
    if above <= 40:
        upper_scale = math.log(10) * max(5 * above / upper_size, 1e-9)
        assert out[0, rb.UPPER_SCALE] == pytest.approx(upper_scale, rel=1e-6)
    assert out[0, rb.LOWER_SCALE] == pytest.approx(math.log(10) * max(2 * below / lower_size, 1e-9), rel=1e-6)


@QUICK
@given(*CASES, st.booleans())
def test_tails_and_extremes_of_the_same_residuals(seed: int, kind: str, gaps: str, evened: bool) -> None:
    # Given the same float32 residuals only the arithmetic differs: float32 storage of the results, a few roundings.
    rng = np.random.default_rng(seed)
    row, _ = centre(make(kind, gaps, int(rng.integers(20, 300)), 24, rng))
    floor = float(rng.choice([1e-9, 1e-3, 1.0]))
    tail, extreme = np.empty((1, 8), np.float32), np.empty((1, 4), np.float32)
    rb._fit_tail(row[None], np.array([floor]), 24, evened, tail)
    rb._find_usual(row[None], 24, 6, 1, tail)
    rb._fit_extreme(row[None], np.array([floor]), 24, extreme)
    wanted = parts.tail_of(row, floor, parts.usual_of(row, 24, 3600, 8), 24 if evened else None)
    if wanted is None:
        assert np.isnan(tail).all()
    else:
        scales = np.array([wanted.upper_scale, wanted.lower_scale]) * math.log(10)
        assert (tail[0, rb.UPPER], tail[0, rb.LOWER]) == (wanted.upper, wanted.lower)
        assert (tail[0, rb.UPPER_GATE], tail[0, rb.LOWER_GATE]) == (wanted.upper_gate, wanted.lower_gate)
        assert tail[0, [rb.UPPER_SCALE, rb.LOWER_SCALE]] == pytest.approx(scales, rel=1e-5)
        jumps = [wanted.upper_jump, wanted.lower_jump]
        assert tail[0, [rb.UPPER_JUMP, rb.LOWER_JUMP]] == pytest.approx(jumps, rel=1e-6)
    most = parts.extreme_of(row, 24, floor)
    if most is None:
        assert np.isnan(extreme).all()
    else:
        assert (extreme[0, rb.HIGHEST], extreme[0, rb.LOWEST]) == (most.highest, most.lowest)
        slack = 4 * parts.ROUNDING * (most.highest - most.lowest)
        (low_up, low_down), (high_up, high_down) = most.units(-slack), most.units(slack)
        assert low_up * (1 - 1e-5) <= extreme[0, rb.HIGH_UNIT] <= high_up * (1 + 1e-5)
        assert low_down * (1 - 1e-5) <= extreme[0, rb.LOW_UNIT] <= high_down * (1 + 1e-5)


@pytest.mark.parametrize(("days", "evened", "largest"), [(10, True, 1), (4, True, 1), (3, True, 50), (10, False, 50)])
def test_one_day_stretches_a_tail_no_more_than_the_second(days: int, evened: bool, largest: int) -> None:
    row = np.zeros(days * 100, np.float32)
    row[50::100] = 1.0  # every day one sample a step above the others
    row[150] = 50.0  # and one far above
    row[:3] = -1.0  # downwards there is but one day: nothing to even it with
    out = np.empty((1, 8), np.float32)
    rb._fit_tail(row[None], np.array([1e-9]), 100, evened, out)
    assert out[0, rb.UPPER] == out[0, rb.LOWER] == 0.0
    upper_scale = math.log(10) * (days - 1 + largest) / max(8, days)
    assert out[0, rb.UPPER_SCALE] == pytest.approx(upper_scale, rel=1e-6)
    assert out[0, rb.LOWER_SCALE] == pytest.approx(math.log(10) * 3 / 8, rel=1e-6)


def test_a_day_without_samples_is_no_day_to_even_a_tail_with() -> None:
    row = np.zeros(800, np.float32)
    row[50::100], row[350], row[400:] = 1.0, 50.0, np.nan
    row[:100] = np.nan  # three days with samples of eight
    out = np.empty((1, 8), np.float32)
    rb._fit_tail(row[None], np.array([1e-9]), 100, True, out)
    assert out[0, rb.UPPER_SCALE] == pytest.approx(math.log(10) * 52 / 8, rel=1e-6)


def test_days_are_counted_back_from_the_end() -> None:
    # Five columns of period 2: days are [4, 3], [2, 1] and the short [0].
    row = np.array([[50, 7, 1, 9, 2]], np.float32)
    out = np.empty((1, 4), np.float32)
    rb._fit_extreme(row, np.array([1e-9]), 2, out)
    unit = math.sqrt((50 - 7) * (50 - 1))
    assert out[0, rb.HIGH_UNIT] == pytest.approx(unit + 2 * (50 - 9), rel=1e-6)


def test_one_day_of_samples_has_no_second_maximum() -> None:
    row = np.array([[np.nan, np.nan, 1, 5]], np.float32)
    out = np.empty((1, 4), np.float32)
    rb._fit_extreme(row, np.array([1e-9]), 2, out)
    assert out[0, rb.HIGH_UNIT] == pytest.approx(math.sqrt(2 * 4), rel=1e-6)


# --- the gates of the tails -------------------------------------------------------------------------------------------


def usual(view: np.ndarray, period: int, served: int, reach: int, edges: tuple[float, float]) -> tuple[float, float]:
    """Lower and upper gate of one view with these tail edges."""
    out = np.full((1, 8), np.nan, np.float32)
    out[0, rb.LOWER], out[0, rb.UPPER] = edges
    rb._find_usual(view.astype(np.float32)[None], period, served, reach, out)
    return float(out[0, rb.LOWER_GATE]), float(out[0, rb.UPPER_GATE])


def bursts(heights: list[float], place: int, period: int = 24) -> np.ndarray:
    """Zeros with one sample of each day, oldest day first, at this place of the day that follows the window."""
    view = np.zeros(period * len(heights))
    view[np.arange(len(heights)) * period + place] = heights
    return view


@pytest.mark.parametrize("place", range(24))
def test_usual_is_what_the_columns_to_be_served_reach_on_four_of_seven_days(place: int) -> None:
    low, high = usual(bursts([7, 6, 5, 4, 3, 2, 1], place), 24, 6, 1, (-0.5, 0.5))
    assert low == -0.5
    # Served are places 0 to 5, and one column more on either side: 6, and 23 of the day before.
    assert high == (4.0 if place <= 6 or place == 23 else 0.5)
    low, high = usual(-bursts([7, 6, 5, 4, 3, 2, 1], place), 24, 6, 1, (-0.5, 0.5))
    assert (low, high) == (-4.0 if place <= 6 or place == 23 else -0.5, 0.5)


def test_a_burst_on_three_of_seven_days_is_not_usual_and_only_the_last_seven_count() -> None:
    assert usual(bursts([0, 9, 0, 9, 0, 9, 0], 2), 24, 6, 1, (-0.5, 0.5))[1] == 0.5
    assert usual(bursts([0, 9, 9, 9, 0, 9, 0], 2), 24, 6, 1, (-0.5, 0.5))[1] == 9.0
    assert usual(bursts([9, 9, 9, 9, 0, 9, 0, 9, 0, 9, 0], 2), 24, 6, 1, (-0.5, 0.5))[1] == 0.5
    assert usual(bursts([0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0], 2), 24, 6, 1, (-0.5, 0.5))[1] == 9.0


def test_what_is_usual_never_narrows_a_tail() -> None:
    assert usual(bursts([1, 1, 1, 1, 1, 1, 1], 2), 24, 6, 1, (-3, 3)) == (-3.0, 3.0)


@pytest.mark.parametrize("days", range(1, 12))
def test_young_windows_have_no_habits_before_four_days(days: int) -> None:
    assert usual(bursts([9] * days, 2), 24, 6, 1, (-0.5, 0.5))[1] == (9.0 if days >= 4 else 0.5)


def test_a_day_of_gaps_is_a_day_without_the_burst() -> None:
    view = bursts([9, 9, 9, 9], 2)
    view[24:48] = np.nan
    assert usual(view, 24, 6, 1, (-0.5, 0.5))[1] == 0.5
    assert usual(np.full(24 * 7, np.nan), 24, 6, 1, (-0.5, 0.5)) == (-0.5, 0.5)
    assert all(math.isnan(gate) for gate in usual(np.full(24 * 7, np.nan), 24, 6, 1, (math.nan, math.nan)))


@pytest.mark.parametrize(
    ("step_s", "horizon", "n"), [(300, 14, 2016), (1440, 4, 420), (480, 9, 1000), (60, 62, 10_080)]
)
def test_gates_at_other_steps(step_s: int, horizon: int, n: int) -> None:
    view = np.random.default_rng(step_s).standard_cauchy(n).astype(np.float32)
    view[np.random.default_rng(1).random(n) < 0.3] = np.nan
    shape = rb.Shape.of(step_s, horizon)
    found = usual(view, shape.period, max(1, horizon - 2), max(1, shape.scale_reach), (0.0, 0.0))
    low, high = parts.usual_of(view.tolist(), shape.period, step_s, horizon)
    assert found == (min(low, 0.0), max(high, 0.0))


# --- whole fits -------------------------------------------------------------------------------------------------------


def check_fit(values: np.ndarray, offset: float, end_column: int, step_s: int, horizon: int) -> None:
    """Everything a fit keeps lies within float32 rounding of the twin's; the planes of the future: see test_views."""
    fitted = fit_one(values, offset, end_column, step_s, horizon)
    twin = naive.Twin(values.tolist(), offset, end_column, step_s, horizon)
    assert fitted.valid[0] == twin.valid
    assert fitted.origin[0] == end_column
    if not twin.valid:
        assert np.isnan(fitted.tail).all()
        assert np.isnan([fitted.median[0], fitted.spread[0], *fitted.extreme.ravel()]).all()
        return
    assert fitted.first[0] == end_column - len(values) + 1 + twin.first
    assert fitted.median[0] == pytest.approx(twin.middle, rel=2 * parts.ROUNDING)
    slack = 16 * parts.ROUNDING * twin.largest
    # The floor is made of true values, which a float64 holds to its own rounding only.
    assert fitted.floor[0] == pytest.approx(twin.floor, rel=1e-6, abs=slack)
    assert fitted.spread[0] == pytest.approx(twin.spread, rel=0, abs=slack)
    for name, place in TAIL_OF.items():
        check_tail(twin, name, fitted.tail[0, place])
    for name, place in EXTREME_OF.items():
        check_extreme(twin, name, fitted.extreme[0, place])


def check_tail(twin: naive.Twin, name: str, found: np.ndarray) -> None:
    tail = twin.tails[name]
    if tail is None:
        assert np.isnan(found).all(), name
        return
    jumps = [tail.upper_jump, tail.lower_jump]
    # Residuals of a forecast that are nothing but roundings may be equal for the one and not for the other.
    if name != "hw" or tail.upper - tail.lower > 4 * twin.slack(name, tail.upper):
        assert found[[rb.UPPER_JUMP, rb.LOWER_JUMP]] == pytest.approx(jumps, rel=1e-6), name
    above = ((rb.UPPER, tail.upper), (rb.UPPER_GATE, tail.upper_gate))
    below = ((rb.LOWER, tail.lower), (rb.LOWER_GATE, tail.lower_gate))
    for place, edge in above + below:
        assert found[place] == pytest.approx(edge, rel=0, abs=2 * twin.slack(name, edge)), (name, place)
    assert found[rb.UPPER_GATE] >= found[rb.UPPER] >= found[rb.LOWER] >= found[rb.LOWER_GATE]
    furthest = max(abs(r) for r in twin.window_views[name] if not math.isnan(r))
    for place, scale in ((rb.UPPER_SCALE, tail.upper_scale), (rb.LOWER_SCALE, tail.lower_scale)):
        assert found[place] == pytest.approx(math.log(10) * scale, rel=1e-5, abs=5 * twin.slack(name, furthest)), name


def check_extreme(twin: naive.Twin, name: str, found: np.ndarray) -> None:
    extreme = twin.extremes[name]
    if extreme is None:
        assert np.isnan(found).all(), name
        return
    slack = twin.slack(name, max(abs(extreme.highest), abs(extreme.lowest)))
    assert found[rb.HIGHEST] == pytest.approx(extreme.highest, rel=0, abs=slack)
    assert found[rb.LOWEST] == pytest.approx(extreme.lowest, rel=0, abs=slack)
    least, most = extreme.units(-4 * slack), extreme.units(4 * slack)
    for side, place in enumerate((rb.HIGH_UNIT, rb.LOW_UNIT)):
        assert least[side] * (1 - 1e-5) <= found[place] <= most[side] * (1 + 1e-5), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gaps", GAPS)
def test_fits_of_hourly_windows(kind: str, gaps: str) -> None:
    for seed, days in enumerate([2, 3, 5, 10]):
        rng = np.random.default_rng(seed)
        values, offset = centre(make(kind, gaps, days * 24, 24, rng))
        check_fit(values, offset + float(rng.choice([0.0, 1e8])), int(rng.integers(1_000_000)), 3600, 3)


@pytest.mark.parametrize(("step_s", "days"), [(300, 2), (300, 8), (480, 5), (1440, 7), (1800, 9), (900, 15)])
@pytest.mark.parametrize("gaps", ["none", "30%", "day"])
def test_fits_at_other_steps(step_s: int, days: int, gaps: str) -> None:
    period = 86_400 // step_s
    rng = np.random.default_rng(step_s)
    values, offset = centre(make("daily", gaps, days * period, period, rng))
    check_fit(values, offset, 12_345_678, step_s, 3600 // step_s + 2)


@QUICK
@given(*CASES, st.integers(48, 110), st.integers(0, 10**9), st.integers(1, 20))
def test_fits_of_windows_of_any_length(seed: int, kind: str, gaps: str, n: int, end: int, horizon: int) -> None:
    values, offset = centre(make(kind, gaps, n, 24, np.random.default_rng(seed)))
    check_fit(values, offset, end, 3600, horizon)


@pytest.mark.parametrize("kind", KINDS)
def test_days_passed_by_change_nothing_but_the_columns_numbers(kind: str) -> None:
    values, offset = centre(make(kind, "5%", 230, 24, np.random.default_rng(4)))
    plain, moved = fit_one(values, offset, 777, 3600, 5), fit_one(values, offset, 777 + 24 * 1000, 3600, 5)
    assert moved.origin[0] - plain.origin[0] == moved.first[0] - plain.first[0] == 24 * 1000
    for field in fields(rb.Fitted):
        if field.name not in ("origin", "first"):
            assert getattr(moved, field.name).tobytes() == getattr(plain, field.name).tobytes(), field.name


def test_the_planes_of_the_future_are_those_of_the_views() -> None:
    fitted = fit_one(np.zeros(96, np.float32), 0.0, 10, 3600, 5)
    assert fitted.future.shape == (1, views.PLANES, 5)
    assert fitted.daily.shape == (1, views.RECENT + 5)


# --- batches ----------------------------------------------------------------------------------------------------------


def test_fits_do_not_depend_on_the_batch() -> None:
    values, offset = batch_of_everything(216, 0)
    shape = rb.Shape.of(3600, 6)
    ends = np.arange(len(values)) + 10_000  # rows of one batch may end anywhere
    fitted = rb.fit(values, offset, summarise(np.sort(values, axis=1), offset), ends, shape)
    for rows in ([0], [17], [5, 4, 3], list(range(40))):
        own = rb.fit(
            np.ascontiguousarray(values[rows]), offset[rows],
            summarise(np.sort(values[rows], axis=1), offset[rows]), ends[rows], shape,
        )  # fmt: skip
        for field in fields(rb.Fitted):
            assert getattr(own, field.name).tobytes() == getattr(fitted, field.name)[rows].tobytes(), field.name
