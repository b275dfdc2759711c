"""Made-up series: labels about as long as those of a Kubernetes cluster, a daily rhythm with noise and spikes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

DAY_S = 86_400
STEP_S = 300
WEEK_COLUMNS = 7 * DAY_S // STEP_S
METRIC = "bench_value"
WINDOW_METRIC = "bench_window"
Labels = tuple[tuple[str, str], ...]


def labels(series: int, metric: str = METRIC) -> list[Labels]:
    """Sorted label pairs of each series, its name first."""
    return [labels_of(i, metric) for i in range(series)]


def labels_of(number: int, metric: str = METRIC) -> Labels:
    """Those of one series."""
    return (
        ("__name__", metric),
        ("cluster", "eu-west-1a"),
        ("namespace", f"shop-{number % 40}"),
        ("pod", f"service-{number % 400}-{number * 2654435761 % 2**32:08x}-{number:07d}"),
        ("service", f"service-{number % 400}"),
    )


def exposition(own: Labels) -> str:
    """A series as the text format spells it."""
    return f"{own[0][1]}{{" + ",".join(f'{name}="{value}"' for name, value in own[1:]) + "}"


def as_json(own: Labels) -> str:
    """A series as Prometheus spells it in an answer."""
    return "{" + ",".join(f'"{name}":"{value}"' for name, value in own) + "}"


def values(times_s: Sequence[int] | I64, series: int, first: int = 0) -> F64:
    """Values (series, times) of the series from ``first`` on: a daily rhythm with its own phase and level, and noise;
    the same in every call."""
    times = np.asarray(times_s, np.int64)
    number = np.arange(first, first + series)
    phase = number * 2.399963
    level = 10.0 ** (number % 5)
    noise = np.random.default_rng([int(times[0]), series, first]).standard_normal((series, len(times)), np.float32)
    turn = times * (2 * np.pi / DAY_S)
    # sin(turn + phase), without a sine for each cell
    rhythm = np.outer(np.cos(phase), np.sin(turn)) + np.outer(np.sin(phase), np.cos(turn))
    return np.asarray(level[:, None] * (2.0 + rhythm + 0.1 * noise), np.float64)


def windows(rows: int, columns: int, step_s: int, gaps: float) -> F32:
    """Windows (rows, columns) for fits: a daily rhythm, noise, 0.5 % spikes, a share of the samples missing (NaN)."""
    rng = np.random.default_rng(1)
    x = 10 * np.sin(2 * np.pi * np.arange(columns) * step_s / DAY_S) + rng.normal(0, 1, (rows, columns))
    x[rng.random(x.shape) < 0.005] += 15
    x[rng.random(x.shape) < gaps] = np.nan
    return x.astype(np.float32)
