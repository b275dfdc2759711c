"""Single samples, steps, ramps and other changes of level or noise, on the base series. An alert: score above 1."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Measured
from judged_rows import F64, Told, first_above, found, judge, last_above, per_week, samples_above
from made_rows import AMPLITUDE, DAY, HISTORY, LEVEL, SEEDS, daily

HOUR = 12
AT = HOUR  # the judged column at which something happens: an hour is judged before


def with_jumps(jumps: tuple[float, ...], step_s: int = 300, days: int = 14, after: int = HOUR) -> tuple[Told, ...]:
    """What is told of the base series with one sample moved by each of `jumps`."""
    columns = days * 86_400 // step_s
    base = daily(columns + AT + 1 + after, step_s)
    values = np.concatenate([base] * len(jumps))
    values[:, columns + AT] += np.repeat(jumps, SEEDS)
    told = judge(values, AT + 1 + after, step_s=step_s, days=days)
    return tuple(told.part(slice(SEEDS * i, SEEDS * (i + 1))) for i in range(len(jumps)))


def stepped(height: float, judged: int) -> F64:
    """The base series, its level moved by `height` from the judged column AT on."""
    values = daily(HISTORY + judged)
    values[:, HISTORY + AT :] += height
    return values


def test_a_spike_and_a_dip_alert_at_their_sample(measured: Measured) -> None:
    spike, dip, six, three = with_jumps((12.0, -12.0, 6.0, 3.0))
    assert measured("12 sigma up: alert at that sample", found(spike.band, AT)) >= 0.99
    assert measured("12 sigma down: alert at that sample", found(dip.band, AT)) >= 0.99
    measured("6 sigma up: alert at that sample", found(six.band, AT))
    assert measured("3 sigma up: alert at that sample", found(three.band, AT)) <= 0.05
    assert measured("12 sigma up: alert in the hour after", found(spike.band, AT + 1, HOUR)) <= 0.05
    assert measured("12 sigma down: alert in the hour after", found(dip.band, AT + 1, HOUR)) <= 0.05
    measured("12 sigma up: shesd", found(spike.shesd, AT))
    measured("6 sigma up: shesd", found(six.shesd, AT))
    measured("3 sigma up: shesd", found(three.shesd, AT))
    measured("12 sigma up: shift", found(spike.shift, AT, HOUR + 1))
    measured("12 sigma up: stale", found(spike.stale, AT, HOUR + 1))


@pytest.mark.parametrize(("step_s", "days"), [(60, 7), (3600, 14)])
def test_a_spike_alerts_at_other_steps_too(step_s: int, days: int, measured: Measured) -> None:
    spike, dip, three = with_jumps((12.0, -12.0, 3.0), step_s, days, after=6)
    measured(f"{step_s} s: 12 sigma up: alert at that sample", found(spike.band, AT))
    measured(f"{step_s} s: 12 sigma down: alert at that sample", found(dip.band, AT))
    measured(f"{step_s} s: 3 sigma up: alert at that sample", found(three.band, AT))
    measured(f"{step_s} s: 12 sigma up: alert in the six samples after", found(spike.band, AT + 1, 6))


def test_a_drop_to_zero_alerts_at_once(measured: Measured) -> None:
    values = daily(HISTORY + AT + 2 * HOUR)
    values[:, HISTORY + AT : HISTORY + AT + HOUR] = 0.0
    told = judge(values, AT + 2 * HOUR)
    measured("alert at the first zero", found(told.band, AT))
    measured("samples above 1 in the hour at zero", samples_above(told.band, AT, HOUR))
    measured("alert within 15 minutes after the return", found(told.band, AT + HOUR, 3))
    measured("stale while at zero", found(told.stale, AT, HOUR))
    measured("shift while at zero", found(told.shift, AT, HOUR))
    assert np.isfinite(told.band).all()


@pytest.mark.parametrize("share", [0.4, -0.4])
def test_a_step_of_the_level_alerts_at_once(share: float, measured: Measured) -> None:
    told = judge(stepped(share * LEVEL, AT + 4 * HOUR), AT + 4 * HOUR)
    name = f"{share:+.0%}: "
    measured(name + "alert at the first sample", found(told.band, AT))
    measured(name + "samples above 1 in four hours", samples_above(told.band, AT, 4 * HOUR))
    measured(name + "shesd in every sample of the hour", float((told.shesd[:, AT : AT + HOUR] > 1).mean()))
    measured(name + "shift within an hour", found(told.shift, AT, HOUR))


@pytest.mark.parametrize("height", [6.0, 12.0, 40.0])
def test_after_a_level_shift_the_score_gets_quiet(height: float, measured: Measured) -> None:
    told = judge(stepped(height, AT + DAY), AT + DAY)
    name = f"{height:g} sigma: "
    measured(name + "alert within 30 minutes", found(told.band, AT, 6))
    for hours in (1, 2, 6, 12):
        measured(name + f"alert later than {hours} h after", found(told.band, AT + hours * HOUR, DAY))
    measured(name + "samples above 1 in a day", samples_above(told.band, AT, DAY))
    measured(name + "samples above 1 in first hour", samples_above(told.band, AT, HOUR))
    last = last_above(told.band, AT)
    measured(name + "median of last alert, hours", float(np.median(last)) / 12)
    measured(name + "90 % of last alert, hours", float(np.quantile(last, 0.9)) / 12)
    measured(name + "shift found", found(told.shift, AT, DAY))
    measured(name + "shift: median of first, hours", float(np.median(first_above(told.shift, AT))) / 12)
    measured(name + "shift on at the end of the day", found(told.shift, AT + DAY - 1))
    measured(name + "shesd above 1 in the day", float((told.shesd[:, AT:] > 1).mean()))


@pytest.mark.parametrize("days_ago", [1, 2, 7])
@pytest.mark.parametrize("height", [12.0, 40.0])
def test_days_after_a_level_shift_nothing_alerts(height: float, days_ago: int, measured: Measured) -> None:
    values = daily(HISTORY + DAY // 2)
    values[:, HISTORY - days_ago * DAY :] += height
    told = judge(values, DAY // 2)
    name = f"{height:g} sigma {days_ago} days ago: "
    for kind in ("band", "shesd", "shift"):
        measured(name + f"{kind} alerts a week", per_week(getattr(told, kind)))
    measured(name + "shesd share", float((told.shesd > 1).mean()))
    measured(name + "shift share", float((told.shift > 1).mean()))


@pytest.mark.parametrize("a_day", [10.0, 20.0, 40.0])
def test_a_slow_ramp_is_for_shift(a_day: float, measured: Measured) -> None:
    judged = AT + 2 * DAY
    values = daily(HISTORY + judged)
    values[:, HISTORY + AT :] += a_day / DAY * np.arange(2 * DAY)
    told = judge(values, judged)
    name = f"{a_day:g} sigma a day: "
    measured(name + "score alerts, share of rows", found(told.band, AT, 2 * DAY))
    measured(name + "score: samples above 1 in two days", samples_above(told.band, AT, 2 * DAY))
    first = first_above(told.shift, AT)
    for hours in (6, 12, 24, 48):
        measured(name + f"shift within {hours} h", float((first < hours * HOUR).mean()))
    measured(name + "shift: median of first, hours", float(np.median(first)) / 12)
    measured(name + "shesd within 24 h", found(told.shesd, AT, DAY))


@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_a_change_of_variance(factor: float, measured: Measured) -> None:
    values = daily(HISTORY + AT + DAY // 2)
    quiet = daily(HISTORY + AT + DAY // 2) - 0
    from made_rows import noise

    part = slice(HISTORY + AT, None)
    values[:, part] += (factor - 1) * noise(values.shape[1])[:, part]
    del quiet
    told = judge(values, AT + DAY // 2)
    name = f"x{factor:g}: "
    for hours in (1, 3, 6):
        measured(name + f"alert within {hours} h", found(told.band, AT, hours * HOUR))
    measured(name + "samples above 1 in 12 h", samples_above(told.band, AT, DAY // 2))
    measured(name + "shift in 12 h", found(told.shift, AT, DAY // 2))
    measured(name + "stale in 12 h", found(told.stale, AT, DAY // 2))
    measured(name + "shesd in 1 h", found(told.shesd, AT, HOUR))


def test_a_frozen_value_is_for_stale(measured: Measured) -> None:
    values = daily(HISTORY + AT + 6 * HOUR)
    values[:, HISTORY + AT :] = values[:, HISTORY + AT, None]
    told = judge(values, AT + 6 * HOUR)
    first = first_above(told.stale, AT) + 1
    measured("stale: median equal samples", float(np.median(first)))
    measured("stale: most equal samples", float(first.max()))
    measured("stale by the 18th", float((first <= 18).mean()))
    measured("score alerts within 18 samples", found(told.band, AT, 18))
    measured("score alerts in six hours", found(told.band, AT, 6 * HOUR))
    measured("stale stays on for 6 h", float((told.stale[:, AT + 24 :] > 1).mean()))


@pytest.mark.parametrize("next_height", [8.0, 12.0, 30.0])
def test_an_incident_in_the_window_does_not_hide_the_next_one(next_height: float, measured: Measured) -> None:
    base = daily(HISTORY + AT + 2 * HOUR)
    base[:, HISTORY + AT : HISTORY + AT + HOUR // 2] += next_height
    poisoned = base.copy()
    poisoned[:, HISTORY - 3 * DAY : HISTORY - 3 * DAY + 2 * HOUR] += 30.0
    told = judge(np.concatenate([base, poisoned]), AT + 2 * HOUR)
    clean, after = told.part(slice(0, SEEDS)), told.part(slice(SEEDS, None))
    name = f"{next_height:g} sigma for 30 minutes: "
    measured(name + "found without", found(clean.band, AT, 6))
    measured(name + "found with an incident of 30 sigma, 2 h, 3 days ago", found(after.band, AT, 6))
    measured(name + "first sample without", found(clean.band, AT))
    measured(name + "first sample with", found(after.band, AT))
    measured(name + "shesd with", found(after.shesd, AT))


def test_normal_noise_alerts_less_than_once_a_week(measured: Measured) -> None:
    told = judge(daily(HISTORY + 2 * DAY), 2 * DAY)
    for kind in ("band", "shesd", "shift", "stale"):
        measured(f"{kind}: false alerts a week", per_week(getattr(told, kind)))
    assert AMPLITUDE == 10
