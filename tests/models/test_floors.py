from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.models.floors import Summary, summarise
from tests.naive import parts
from tests.naive.order import median, quantile, valid
from tests.naive.parts import ROUNDING
from tests.naive.windows import GAPS, KINDS, centre, make

QUICK = settings(max_examples=120, deadline=None, derandomize=True)


def summary_of(values: np.ndarray, offset: float) -> Summary:
    return summarise(np.sort(values[None], axis=1), np.array([offset]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("lift", [0.0, 1e8])
def test_summary_is_the_twins(kind: str, gaps: str, lift: float) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        values, offset = centre(make(kind, gaps, int(rng.choice([2, 25, 97, 288])), 24, rng))
        found = summary_of(values, offset + lift)
        kept = valid(values)
        assert found.valid[0] == len(kept)
        if not kept:
            assert np.isnan([found.median[0], found.floor[0], found.smallest[0], found.largest[0]]).all()
            continue
        # The kernels may round one sum or difference of two samples to float32 (numba's float() does not widen).
        rounding = 2 * ROUNDING * (kept[-1] - kept[0]) + 1e-300
        assert found.median[0] == pytest.approx(median(kept), rel=2 * ROUNDING)
        assert found.low[0] == pytest.approx(quantile(kept, 0.01), rel=2 * ROUNDING, abs=rounding)
        assert found.high[0] == pytest.approx(quantile(kept, 0.99), rel=2 * ROUNDING, abs=rounding)
        assert (found.smallest[0], found.largest[0]) == (kept[0], kept[-1])
        assert found.floor[0] == pytest.approx(parts.floor_of([v + offset + lift for v in kept]), rel=1e-6)


@QUICK
@given(
    st.lists(
        st.one_of(st.floats(-(2.0**99), 2.0**99, width=32), st.just(math.nan), st.just(5.0)), min_size=1, max_size=400
    )
)
def test_floor_of_anything(values: list[float]) -> None:
    x = np.array(values, np.float32)
    found = summary_of(x, 0.0)
    if len(valid(x)) == 0:
        assert found.valid[0] == 0
    else:
        assert found.floor[0] == pytest.approx(parts.floor_of(x), rel=1e-6)
        assert found.floor[0] >= 1e-9


def test_floor_by_hand() -> None:
    assert summary_of(np.zeros(100, np.float32), 0.0).floor[0] == 1e-9
    assert summary_of(np.zeros(100, np.float32), 50.0).floor[0] == pytest.approx(0.05)
    one_blip = np.zeros(1000, np.float32)
    one_blip[3] = 8
    assert summary_of(one_blip, 0.0).floor[0] == pytest.approx(0.4)  # q99 = q01, so 5 % of the full range
    ramp = np.arange(101, dtype=np.float32)
    assert summary_of(ramp, -50.0).floor[0] == pytest.approx(0.005 * 98)


def test_level_is_taken_in_true_values_not_centred_ones() -> None:
    values = np.array([-2, -1, 0, 1, 2], np.float32)
    assert summary_of(values, 1e8).floor[0] == pytest.approx(1e5)
    assert summary_of(values, -1e8).floor[0] == pytest.approx(1e5)


def test_rows_do_not_see_each_other() -> None:
    rng = np.random.default_rng(1)
    rows = [centre(make(kind, gaps, 60, 24, rng)) for kind in KINDS for gaps in GAPS]
    values, offsets = np.stack([row[0] for row in rows]), np.array([row[1] for row in rows])
    together = summarise(np.sort(values, axis=1), offsets)
    for i, (row, offset) in enumerate(rows):
        alone = summary_of(row, offset)
        for name in Summary.__slots__:
            assert getattr(together, name)[i].tobytes() == getattr(alone, name)[0].tobytes()
