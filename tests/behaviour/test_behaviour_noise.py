"""Series that are no rhythm with Gaussian noise: constants, 0/1, counts, rare bursts, heavy tails, random walks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from judged_rows import F64, Measured, found, judge, per_week
from made_rows import DAY, HISTORY, HOUR, counts, drawn, noise, once

AT = HOUR


def test_a_blip_of_a_constant_alerts_at_that_sample(measured: Measured) -> None:
    level = drawn(lambda rng: np.round(rng.uniform(-50, 500, 1), 1), 5)
    constant = np.repeat(level, HISTORY + AT + 3 * HOUR, axis=1)
    blip = constant.copy()
    blip[:, HISTORY + AT] += drawn(lambda rng: rng.choice([-1, 1], 1) * rng.uniform(1, 100, 1), 6)[:, 0]
    once_off, never = judge(np.concatenate([blip, constant]), AT + 3 * HOUR).groups(2)
    assert measured("score at the blip", found(once_off.band, AT)) >= 0.99
    assert measured("shesd at the blip", found(once_off.shesd, AT)) >= 0.99
    for name, scores in (("score", once_off.band), ("shesd", once_off.shesd)):
        assert measured(f"{name} before", found(scores, 0, AT)) == 0
        assert measured(f"{name} after", found(scores, AT + 1, 3 * HOUR)) == 0
    for scores in (never.band, never.shesd, never.shift, never.stale, once_off.shift, once_off.stale):
        assert not (scores > 1).any()
    np.testing.assert_array_equal(never.band, 0.0)


SERIES: dict[str, tuple[Callable[[int], F64], int, float, float]] = {
    # name: series of so many columns, columns judged, least and most false alerts of the score per series and week
    "0 or 1, p .3": (lambda n: once(n, 0.3), DAY // 2, 0.0, 1.0),
    "0 or 1, p .01": (lambda n: once(n, 0.01), DAY, 0.0, 1.0),
    "0 or 1, p .002": (lambda n: once(n, 0.002), DAY, 0.0, 1.0),
    "Poisson, mean .05": (lambda n: counts(n, 0.05), DAY // 2, 0.0, 1.0),
    "Poisson, mean .5": (lambda n: counts(n, 0.5), DAY, 0.0, 1.25),
    "Poisson, mean 5": (lambda n: counts(n, 5), DAY // 2, 0.0, 1.0),
    "Poisson, mean 50": (lambda n: counts(n, 50), DAY // 2, 0.0, 1.0),
    "Gaussian without rhythm": (noise, DAY // 2, 0.0, 1.0),
    "random walk": (lambda n: np.cumsum(noise(n), axis=1), DAY, 0.0, 1.0),
    "lognormal, sigma 1": (lambda n: drawn(lambda rng: rng.lognormal(0, 1, n), 9), DAY, 0.2, 2.0),
    # weak: about or over one a week, the exponential tail is too light for them
    "1 % exponential bursts": (lambda n: once(n, 0.01) * drawn(lambda rng: rng.exponential(10.0, n), 7), DAY, 0.3, 2.3),
    "Student's t, 3 degrees": (lambda n: drawn(lambda rng: rng.standard_t(3, n), 8), DAY, 0.6, 3.0),
}


@pytest.mark.parametrize("name", SERIES)
def test_false_alerts_are_few(name: str, measured: Measured) -> None:
    make, judged, least, most = SERIES[name]
    told = judge(make(HISTORY + judged), judged)
    assert least <= measured("score: false alerts a week", per_week(told.band)) <= most
    assert measured("stale: false alerts a week", per_week(told.stale)) <= 0.3
    shift = measured("shift: false alerts a week", per_week(told.shift))
    assert shift <= (2.5 if name == "random walk" else 0.3)  # a walk does drift
    measured("shesd: false alerts a week", per_week(told.shesd))


@pytest.mark.parametrize(("mean", "jump", "at_once"), [(0.05, 3, 0.3), (0.5, 5, 0.3), (5, 20, 0.6), (50, 100, 0.9)])
def test_a_jump_of_counts_is_found(mean: float, jump: float, at_once: float, measured: Measured) -> None:
    columns = HISTORY + AT + HOUR
    means = np.where(np.arange(columns) < HISTORY + AT, mean, jump)
    told = judge(counts(columns, means), AT + HOUR)
    assert measured("score at the first sample", found(told.band, AT)) >= at_once
    assert measured("score within 30 minutes", found(told.band, AT, HOUR // 2)) >= 0.95
    assert measured("score in the hour before", found(told.band, 0, AT)) <= 0.03
