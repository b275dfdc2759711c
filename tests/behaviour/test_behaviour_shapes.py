"""x"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Measured
from judged_rows import F64, first_above, found, judge, per_week, samples_above
from made_rows import DAY, HISTORY, SEEDS, counts, daily, drawn, noise, once

HOUR = 12
AT = HOUR


def test_constant(measured: Measured) -> None:
    level = drawn(lambda rng: np.round(rng.uniform(-50, 500, 1), 1), 5)
    values = np.repeat(np.concatenate([level, level]), HISTORY + AT + 6 * HOUR, axis=1)
    values[:SEEDS, HISTORY + AT] += drawn(lambda rng: rng.choice([-1, 1]) * rng.uniform(1, 100, 1), 6)[:, 0]
    told = judge(values, AT + 6 * HOUR)
    blip, plain = told.part(slice(0, SEEDS)), told.part(slice(SEEDS, None))
    measured("blip", found(blip.band, AT))
    measured("after", found(blip.band, AT + 1, 6 * HOUR))
    measured("before", found(blip.band, 0, AT))
    measured("never", found(plain.band, 0, 100))
    for kind in ("shesd", "shift", "stale"):
        measured(f"{kind} blip", found(getattr(blip, kind), AT))
        measured(f"{kind} after", found(getattr(blip, kind), AT + 1, 6 * HOUR))
        measured(f"{kind} plain", found(getattr(plain, kind), 0, 100))


NOISES = {
    "binary .3": lambda c: once(c, 0.3),
    "binary .01": lambda c: once(c, 0.01),
    "binary .002": lambda c: once(c, 0.002),
    "poisson .05": lambda c: counts(c, 0.05),
    "poisson .5": lambda c: counts(c, 0.5),
    "poisson 5": lambda c: counts(c, 5),
    "poisson 50": lambda c: counts(c, 50),
    "zero-inflated": lambda c: once(c, 0.01) * drawn(lambda rng: rng.exponential(10.0, c), 7),
    "t3": lambda c: drawn(lambda rng: 100 + rng.standard_t(3, c), 8),
    "lognormal": lambda c: drawn(lambda rng: rng.lognormal(0, 1, c), 9),
    "random walk": lambda c: np.cumsum(noise(c), axis=1),
}


@pytest.mark.parametrize("kind", NOISES)
def test_noise(kind: str, measured: Measured) -> None:
    told = judge(NOISES[kind](HISTORY + DAY), DAY)
    for name in ("band", "shesd", "shift", "stale"):
        measured(f"{kind} {name}: a week", per_week(getattr(told, name)))


@pytest.mark.parametrize(("mean", "jump"), [(0.05, 3), (0.05, 5), (0.5, 5), (5, 20), (50, 100)])
def test_jump_of_counts(mean: float, jump: float, measured: Measured) -> None:
    columns = HISTORY + AT + HOUR
    means = np.full(columns, float(mean))
    means[HISTORY + AT :] = jump
    told = judge(counts(columns, means), AT + HOUR)
    measured(f"{mean}->{jump}: first", found(told.band, AT))
    measured(f"{mean}->{jump}: within 30 min", found(told.band, AT, 6))
    measured(f"{mean}->{jump}: within hour", found(told.band, AT, HOUR))
