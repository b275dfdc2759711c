"""Evidence of one row by itself, and a chain of cycles beside the twin that is to say the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import settings

from exporter.models import evidence as ev
from exporter.models import robust_band as rb
from exporter.models import views
from tests.naive import parts
from tests.naive import robust_band as naive
from tests.naive.windows import Chain, centre, make

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
VIEW_OF = dict(
    zip((views.X, views.F3, views.F48, views.DAY, views.XM6, views.DAY_F12, views.HW), parts.VIEW_NAMES, strict=True)
)


def residual(view: int, x: float, centre_row: np.ndarray) -> float:
    """What x leaves of a view, for a row by itself; the same for the others below."""
    return ev.residual(view, x, 0, centre_row[None])


def tail_evidence(r: float, tail: np.ndarray) -> float:
    return ev.tail_evidence(r, 0, 0, tail[None, None])


def tails(x: float, centre_row: np.ndarray, weight: np.ndarray, tail: np.ndarray) -> tuple[float, float]:
    return ev.tails(x, 0, centre_row[None], weight[None], tail[None])


def distance(x: float, centre_row: np.ndarray, weight: np.ndarray) -> float:
    return ev.distance(x, 0, centre_row[None], weight[None])


def chain_and_twin(
    seed: int, kind: str, gaps: str, *, step_s: int = 3600, n: int = 72, horizon: int = 6
) -> tuple[Chain, naive.Twin, np.random.Generator]:
    rng = np.random.default_rng(seed)
    values, offset = centre(make(kind, gaps, n, 86_400 // step_s, rng))
    offset += float(rng.choice([0.0, 0.0, 1e8]))
    end_column = int(rng.integers(1_000_000))
    chain = Chain(values[None], np.array([offset]), step_s, end_column, horizon=horizon)
    return chain, naive.Twin(values, offset, end_column, step_s, horizon), rng


def candidate(twin: naive.Twin, rng: np.random.Generator) -> float:
    """A value to judge: a sample of the window, something near, or something far; as float32, like all samples."""
    kept = np.array([v for v in twin.x if not math.isnan(v)])
    spread = float(kept.max() - kept.min()) or 1.0
    sample = float(rng.choice(kept))
    far = sample + spread * rng.choice([0, 0, 0.05, 0.5, 5, 50]) * rng.normal()
    return float(np.float32(np.clip(far, -3e37, 3e37)))


def check_evidence(chain: Chain, twin: naive.Twin, x: float) -> None:
    """The kernel's views and evidence of x lie within float32 rounding of the twin's; the score is E / T."""
    score = chain.judge(np.array([x]))[0][0]
    if twin.valid < rb.LEAST_SAMPLES:
        assert math.isnan(score)
        return
    views = twin.views_at(x)
    for view, name in VIEW_OF.items():
        found, wanted = residual(view, x, chain.context.centre[0]), views[name]
        assert math.isnan(found) == math.isnan(wanted), (name, found, wanted)
        assert math.isnan(wanted) or abs(found - wanted) <= twin.slack(name, wanted), (name, found, wanted)
    low, high = twin.evidence_range(x)
    assert low <= chain.evidence(0, x) <= high, (low, chain.evidence(0, x), high, views)
    counted, told = chain.tails(0, x)
    least, most = twin.total_range(x)
    assert least <= counted + told <= most
    # Of the kernel's own evidence: only the distance from the season carries its rounding, whatever is left below 1.
    off = 64 * parts.ROUNDING * max(twin.largest, abs(x)) / max(twin.spread, twin.floor)
    assert score == pytest.approx(twin.score(x, chain.evidence(0, x), told), rel=1e-9, abs=min(1.0, off) + 1e-12)


def aged(columns: int, seed: int = 2) -> Chain:
    """A noisy hourly series whose first sample lies so many columns before the open one."""
    values = np.full((1, 240), np.nan, np.float32)
    values[0, 240 - columns :] = np.random.default_rng(seed).normal(0, 1, columns)
    chain = Chain(values, np.zeros(1), 3600, 1000)
    chain.open()
    return chain
