"""How fast `shesd` fits: CPU time on one core, beside statsmodels' robust STL with the textbook test.

    python bench/speed_shesd.py [--rows 256] [--repeats 5]

2016 samples of 5 minutes (a week), median of the repeats. No threshold is checked: read the table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from statsmodels.tsa.seasonal import STL

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from exporter.models import shesd
from exporter.models.settings import ShesdSettings
from tests.naive import shesd as naive

PERIOD, DAYS, HORIZON = 288, 7, 24
F32 = npt.NDArray[np.float32]


def windows(rows: int, rng: np.random.Generator) -> F32:
    """A daily rhythm with noise and 0.5 % spikes."""
    t = np.arange(PERIOD * DAYS)
    x = 10 * np.sin(2 * np.pi * t / PERIOD) + rng.normal(0, 1, (rows, len(t)))
    x[rng.random(x.shape) < 0.005] += 15
    return x.astype(np.float32)


def with_gaps(x: F32, rng: np.random.Generator) -> F32:
    """A tenth of the samples missing, and a different half day of each row."""
    x = x.copy()
    x[rng.random(x.shape) < 0.1] = np.nan
    for row, start in zip(x, rng.integers(0, x.shape[1] - PERIOD // 2, len(x)), strict=True):
        row[start : start + PERIOD // 2] = np.nan
    return x


def cpu_s(work: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of a call, after one that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def fit_all(x: F32, seasonal: str) -> shesd.ShesdFit:
    """The product's fit of all rows."""
    settings = ShesdSettings(seasonal="stl" if seasonal == "stl" else "median")
    return shesd.fit(x, np.full(len(x), 1e-3), np.zeros(len(x), np.int64), PERIOD, HORIZON, settings)


def classic(x: F32) -> int:
    """What one would write first: statsmodels' robust STL as it comes, then the textbook test."""
    season = STL(x.astype(float), period=PERIOD, robust=True).fit().seasonal
    left = x - season
    return naive.robust_esd((left - np.median(left)).tolist(), 0.05, 0.02, 1e-3)[0]


def main() -> None:
    """Measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=256)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    rng = np.random.default_rng(1)
    dense = windows(chosen.rows, rng)
    gaps = with_gaps(dense, rng)
    few = dense[:4]
    cases: list[tuple[str, int, Callable[[], object], int]] = [
        ("shesd, dense", len(dense), lambda: fit_all(dense, "median"), chosen.repeats),
        ("shesd, gaps", len(gaps), lambda: fit_all(gaps, "median"), chosen.repeats),
        ("shesd, seasonal: stl", len(few), lambda: fit_all(few, "stl"), 3),
        ("its slow twin", 2, lambda: [naive.fit(row, 1e-3, 0, PERIOD, HORIZON) for row in few[:2]], 1),
        ("statsmodels STL(robust) + textbook ESD", 1, lambda: classic(few[0]), 1),
    ]
    print(f"{PERIOD * DAYS} samples, period {PERIOD}, {chosen.rows} rows a call, CPU time of one core")
    print(f"{'':40}{'series/s':>12}{'us/series':>14}")
    for name, rows, work, repeats in cases:
        each_s = cpu_s(work, repeats) / rows
        print(f"{name:40}{1 / each_s:12,.1f}{each_s * 1e6:14,.1f}")


if __name__ == "__main__":
    main()
