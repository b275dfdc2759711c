"""Detectors to measure against: each turns a Grid (T columns) into a score per column.

Scores (T,) are float64, NaN where there is no verdict, above 1 an alert at the method's own usual threshold, at most
1e9, and fine enough to be ranked. Column t is judged by columns up to t only.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.quality.baselines.chance import random_scores
from bench.quality.baselines.gaussian import zscore
from bench.quality.baselines.grafana_rules import grafana_adaptive, grafana_robust
from bench.quality.baselines.holt_winters import holt_winters
from bench.quality.baselines.order_statistics import mad, rolling_quantile
from bench.quality.baselines.shesd_classic import shesd_classic
from bench.quality.corpus import F64, Grid

BASELINES: dict[str, Callable[[Grid], F64]] = {
    "zscore": zscore,
    "mad": mad,
    "rolling_quantile": rolling_quantile,
    "holt_winters": holt_winters,
    "shesd_classic": shesd_classic,
    "grafana_adaptive": grafana_adaptive,
    "grafana_robust": grafana_robust,
    "random": random_scores,
}
