"""How fast `robust_band` fits: CPU time of one core a row, beside its slow twin.

    python bench/speed_robust_band.py [--rows 128] [--repeats 5]

Rows as the exporter fits them, 128 at a time; median of the repeats. The twin is tests/naive/robust_band.py on one row.
No threshold is checked: read the table.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from exporter.models import robust_band
from exporter.models.floors import summarise
from tests.naive import robust_band as naive

DAY_S = 86_400
WINDOWS = [(300, 2016), (300, 4032), (60, 10_080)]  # step in seconds, columns
GAPS = [0.0, 0.1]
F32 = npt.NDArray[np.float32]


def windows(rows: int, columns: int, step_s: int, gaps: float) -> F32:
    """A daily rhythm with noise and 0.5 % spikes, a share of the samples missing."""
    rng = np.random.default_rng(1)
    x = 10 * np.sin(2 * np.pi * np.arange(columns) * step_s / DAY_S) + rng.normal(0, 1, (rows, columns))
    x[rng.random(x.shape) < 0.005] += 15
    x[rng.random(x.shape) < gaps] = np.nan
    return x.astype(np.float32)


def cpu_s(work: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of a call, after one that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def fit_cost_us(x: F32, step_s: int, repeats: int) -> float:
    """CPU microseconds a row of the product's fit."""
    shape = robust_band.Shape.of(step_s, 3600 // step_s + 2)
    offset, ends = np.zeros(len(x)), np.arange(len(x)) + 5_000_000
    summary = summarise(np.sort(x, axis=1), offset)
    return cpu_s(lambda: robust_band.fit(x, offset, summary, ends, shape), repeats) / len(x) * 1e6


def twin_cost_us(x: F32, step_s: int) -> float:
    """CPU microseconds of the twin's fit of the first row."""
    start = time.process_time()
    naive.Twin(x[0].tolist(), 0.0, 5_000_000, step_s)
    return (time.process_time() - start) * 1e6


def main() -> None:
    """Measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=128)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    print(f"{chosen.rows} rows a call, CPU time of one core")
    print(f"{'columns':>8}{'step':>7}{'gaps':>7}{'us/row':>10}{'rows/s':>10}{'twin us/row':>14}{'times':>8}")
    for step_s, columns in WINDOWS:
        for gaps in GAPS:
            x = windows(chosen.rows, columns, step_s, gaps)
            cost_us, twin_us = fit_cost_us(x, step_s, chosen.repeats), twin_cost_us(x, step_s)
            line = f"{columns:8d}{step_s:6d}s{gaps:7.0%}{cost_us:10.0f}{1e6 / cost_us:10,.0f}"
            print(f"{line}{twin_us:14,.0f}{twin_us / cost_us:8,.0f}")


if __name__ == "__main__":
    main()
