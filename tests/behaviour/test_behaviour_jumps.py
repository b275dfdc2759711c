"""Single samples, steps, ramps and other changes of level or noise of the base series. An alert is a score above 1.

Bounds leave room for another tuning of the models, not for another behaviour. "Weak" marks what falls short of what a
user would want: it is bounded from both sides, so that a better model is noticed, too.
"""

from __future__ import annotations

import numpy as np
import pytest
from judged_rows import F64, Measured, Told, first_above, found, judge, last_above, per_week, samples_above, share_above
from made_rows import DAY, HISTORY, HOUR, LEVEL, SEEDS, daily, expected, noise

AT = HOUR  # the judged column at which something happens: an hour is judged before


def told_of_jumps(jumps: tuple[float, ...], step_s: int = 300, days: int = 14, after: int = HOUR) -> tuple[Told, ...]:
    """What is told of the base series when one sample lies at each of `jumps`, in sigmas from what was expected."""
    at = days * 86_400 // step_s + AT
    base = daily(at + 1 + after, step_s)
    values = np.concatenate([base] * len(jumps))
    values[:, at] = np.tile(expected(base.shape[1], step_s)[:, at], len(jumps)) + np.repeat(jumps, SEEDS)
    return judge(values, AT + 1 + after, step_s=step_s, days=days).groups(len(jumps))


def stepped(height: float, hours: int) -> F64:
    """The base series, its level moved by `height` for so many hours, from the judged column AT on."""
    values = daily(HISTORY + AT + hours * HOUR)
    values[:, HISTORY + AT :] += height
    return values


def test_a_spike_or_a_dip_alerts_at_its_sample(measured: Measured) -> None:
    for told, name in zip(told_of_jumps((12.0, -12.0)), ("up", "down"), strict=True):
        assert measured(f"12 sigma {name}: score at that sample", found(told.band, AT)) >= 0.99
        assert measured(f"12 sigma {name}: score in the hour after", found(told.band, AT + 1, HOUR)) <= 0.05
        assert measured(f"12 sigma {name}: shesd at that sample", found(told.shesd, AT)) >= 0.99
        assert measured(f"12 sigma {name}: shift", found(told.shift, AT, HOUR + 1)) <= 0.02
        assert measured(f"12 sigma {name}: stale", found(told.stale, AT, HOUR + 1)) == 0


def test_a_sample_within_the_noise_does_not_alert(measured: Measured) -> None:
    six, three, down = told_of_jumps((6.0, 3.0, -3.0))
    assert measured("6 sigma: score", found(six.band, AT)) >= 0.8
    assert measured("3 sigma up: score", found(three.band, AT)) <= 0.05
    assert measured("3 sigma down: score", found(down.band, AT)) <= 0.05
    assert measured("3 sigma up: shesd", found(three.shesd, AT)) <= 0.05


@pytest.mark.parametrize(("step_s", "days", "most"), [(60, 7, 0.05), (3600, 14, 0.2)])
def test_a_spike_alerts_at_other_steps_too(step_s: int, days: int, most: float, measured: Measured) -> None:
    """Weak at 3600 s: the short window of 336 samples has a tail of 13, so one in ten alerts at 3 sigma."""
    up, down, three = told_of_jumps((12.0, -12.0, 3.0), step_s, days, after=6)
    assert measured("12 sigma up: score at that sample", found(up.band, AT)) >= 0.97
    assert measured("12 sigma down: score at that sample", found(down.band, AT)) >= 0.97
    assert measured("3 sigma: score at that sample", found(three.band, AT)) <= most
    assert measured("12 sigma: score in the 6 samples after", found(up.band, AT + 1, 6)) <= 0.1


def test_a_drop_to_zero_alerts_at_once(measured: Measured) -> None:
    values = daily(HISTORY + AT + 2 * HOUR)
    values[:, HISTORY + AT : HISTORY + AT + HOUR] = 0.0
    told = judge(values, AT + 2 * HOUR)
    assert np.isfinite(told.band).all()
    assert measured("score at the first zero", found(told.band, AT)) >= 0.99
    # Once most of the last hour is at zero that is told: from then on it is for shift.
    assert 4 <= measured("zeros above 1 in the hour", samples_above(told.band, AT, HOUR)) <= 10
    rest = told.shift[:, AT + 1 : AT + HOUR]
    assert measured("shift from the second zero on, share of the hour", share_above(rest)) >= 0.9
    assert measured("score later than 15 minutes after the end", found(told.band, AT + HOUR + 3, HOUR)) <= 0.1
    assert measured("shift in the hour", found(told.shift, AT, HOUR)) >= 0.97
    assert measured("stale in the hour", found(told.stale, AT, HOUR)) <= 0.02


@pytest.mark.parametrize("share", [0.4, -0.4])
def test_a_step_of_40_percent_alerts_at_once(share: float, measured: Measured) -> None:
    told = judge(stepped(share * LEVEL, 2), AT + 2 * HOUR)
    assert measured("score at the first sample", found(told.band, AT)) >= 0.99
    assert measured("score before", found(told.band, 0, AT)) <= 0.03
    assert 4 <= measured("samples above 1 in the hour", samples_above(told.band, AT, HOUR)) <= 10
    assert measured("shift within the hour", found(told.shift, AT, HOUR)) >= 0.97
    assert measured("shesd: share of the samples of two hours", share_above(told.shesd[:, AT:])) >= 0.97


def test_a_level_shift_is_mostly_quiet_within_the_hour(measured: Measured) -> None:
    """Weak: a third of the series alert once more later than an hour, half of those later than six, when noise on the
    new level is large enough to count as new."""
    told = judge(stepped(12.0, 24), AT + DAY)
    assert measured("score within 30 minutes", found(told.band, AT, HOUR // 2)) >= 0.99
    assert 0.1 <= measured("weak: score later than 1 h", found(told.band, AT + HOUR, DAY)) <= 0.5
    assert 0.04 <= measured("weak: score later than 6 h", found(told.band, AT + 6 * HOUR, DAY)) <= 0.3
    assert measured("score later than 12 h", found(told.band, AT + 12 * HOUR, DAY)) <= 0.1
    assert 2 <= measured("samples above 1 in the first hour", samples_above(told.band, AT, HOUR)) <= 8
    assert measured("samples above 1 later than 1 h", samples_above(told.band, AT + HOUR, DAY)) <= 1
    assert measured("hours to the last alert, median", float(np.median(last_above(told.band, AT))) / HOUR) <= 1
    assert measured("hours to the first shift, median", float(np.median(first_above(told.shift, AT))) / HOUR) <= 1
    assert measured("shift still on after a day", found(told.shift, AT + DAY - 1)) >= 0.97
    assert measured("shesd: share of the day's samples", share_above(told.shesd[:, AT:])) >= 0.97


def test_a_large_level_shift_is_quiet_after_two_hours(measured: Measured) -> None:
    told = judge(stepped(0.4 * LEVEL, 12), AT + 12 * HOUR)
    assert 0.05 <= measured("weak: score later than 1 h", found(told.band, AT + HOUR, DAY)) <= 0.5
    assert measured("score later than 2 h", found(told.band, AT + 2 * HOUR, DAY)) <= 0.2
    assert measured("score later than 6 h", found(told.band, AT + 6 * HOUR, DAY)) <= 0.05
    assert measured("samples above 1 in 12 h", samples_above(told.band, AT, DAY)) <= 12


@pytest.mark.parametrize(("height", "days"), [(12.0, 1), (12.0, 2), (12.0, 7), (40.0, 7)])
def test_days_after_a_level_shift_the_score_is_quiet(height: float, days: int, measured: Measured) -> None:
    values = daily(HISTORY + DAY // 2)
    values[:, HISTORY - days * DAY :] += height
    told = judge(values, DAY // 2)
    assert measured("score: alerts a week", per_week(told.band)) <= 1
    shift = measured("shift: share of the samples", share_above(told.shift))
    assert (0.1 <= shift <= 0.9) if days == 1 else shift <= 0.01
    shesd = measured("shesd: share of the samples", share_above(told.shesd))
    if height < 40:
        assert shesd >= 0.9 if days == 1 else shesd <= 0.05
    else:
        assert 0.01 <= shesd <= 0.3  # weak: half the window on either level, the phase medians fall on either


def test_a_slow_ramp_is_for_shift(measured: Measured) -> None:
    values = daily(HISTORY + AT + DAY)
    values[:, HISTORY + AT :] += np.arange(DAY) * 5.0 / DAY
    told = judge(values, AT + DAY)
    first = first_above(told.shift, AT)
    assert measured("shift within 12 h", float((first < 12 * HOUR).mean())) >= 0.5
    assert measured("shift within 24 h", float((first < DAY).mean())) >= 0.97
    assert measured("hours to the first shift, median", float(np.median(first)) / HOUR) <= 14
    assert measured("score: samples above 1 in the day", samples_above(told.band, AT, DAY)) <= 1.5
    measured("score: alert in the day", found(told.band, AT, DAY))
    measured("shesd: alert in the day", found(told.shesd, AT, DAY))


def test_noise_four_times_as_large_alerts(measured: Measured) -> None:
    values = daily(HISTORY + AT + 6 * HOUR)
    values[:, HISTORY + AT :] += 3 * noise(values.shape[1])[:, HISTORY + AT :]
    told = judge(values, AT + 6 * HOUR)
    assert measured("score within 1 h", found(told.band, AT, HOUR)) >= 0.85
    assert measured("score within 3 h", found(told.band, AT, 3 * HOUR)) >= 0.97
    assert measured("samples above 1 in 6 h", samples_above(told.band, AT, 6 * HOUR)) <= 25
    assert measured("shesd within 1 h", found(told.shesd, AT, HOUR)) >= 0.85


def test_less_noise_does_not_alert(measured: Measured) -> None:
    values = daily(HISTORY + AT + 6 * HOUR)
    values[:, HISTORY + AT :] -= 0.75 * noise(values.shape[1])[:, HISTORY + AT :]
    told = judge(values, AT + 6 * HOUR)
    for name, scores in (("score", told.band), ("shesd", told.shesd), ("shift", told.shift), ("stale", told.stale)):
        assert measured(name, found(scores, AT, 6 * HOUR)) <= 0.02


def test_a_frozen_value_is_for_stale(measured: Measured) -> None:
    values = daily(HISTORY + AT + 6 * HOUR)
    values[:, HISTORY + AT :] = values[:, HISTORY + AT, None]
    told = judge(values, AT + 6 * HOUR)
    equal = first_above(told.stale, AT) + 1
    assert measured("stale within 20 equal samples", float((equal <= 20).mean())) >= 0.99
    assert measured("stale: fewest equal samples", float(equal.min())) >= 12
    assert measured("stale from the 24th on, share of the samples", share_above(told.stale[:, AT + 24 :])) >= 0.99
    assert measured("score within 18 samples", found(told.band, AT, 18)) <= 0.08
    assert measured("score within six hours", found(told.band, AT, 6 * HOUR)) <= 0.12
    measured("shift within six hours", found(told.shift, AT, 6 * HOUR))


@pytest.mark.parametrize(
    ("height", "least", "most"), [(8.0, 0.5, 0.9), (12.0, 0.97, 1.0), (20.0, 0.97, 1.0), (30.0, 0.97, 1.0)]
)
def test_an_incident_in_the_window_hides_only_far_smaller_ones(
    height: float, least: float, most: float, measured: Measured
) -> None:
    """30 minutes at so many sigmas, without and with 2 h at 30 sigma three days before at another time of day. Weak:
    what is under a third as high as the incident may be lost, because that still sets the extremes."""
    clean = daily(HISTORY + AT + HOUR)
    clean[:, HISTORY + AT : HISTORY + AT + HOUR // 2] += height
    after = clean.copy()
    after[:, HISTORY - 3 * DAY - 8 * HOUR : HISTORY - 3 * DAY - 6 * HOUR] += 30.0
    without, with_one = judge(np.concatenate([clean, after]), AT + HOUR).groups(2)
    assert measured("score without an incident before", found(without.band, AT, HOUR // 2)) >= 0.97
    assert least <= measured("score with an incident before", found(with_one.band, AT, HOUR // 2)) <= most
    assert measured("shesd with an incident before", found(with_one.shesd, AT, HOUR // 2)) >= 0.97


@pytest.mark.parametrize(("step_s", "days", "judged"), [(300, 14, 2 * DAY), (60, 7, 12 * 60), (3600, 14, 7 * 24)])
def test_the_base_series_alerts_less_than_once_a_week(step_s: int, days: int, judged: int, measured: Measured) -> None:
    told = judge(daily(days * 86_400 // step_s + judged, step_s), judged, step_s=step_s, days=days)
    assert measured("score: false alerts a week", per_week(told.band, step_s)) <= 1
    assert measured("shesd: false alerts a week", per_week(told.shesd, step_s)) <= 1
    assert measured("shift: false alerts a week", per_week(told.shift, step_s)) <= 0.3
    assert measured("stale: false alerts a week", per_week(told.stale, step_s)) <= 0.1
