"""The alerts of made-up scores, and those that Prometheus' own rule engine raises on them with the shipped rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.backtests import made_grid, points_of, present_of, slow_points_of

from exporter.backtest.alerting import alerts_of
from exporter.backtest.slow import slow_firings
from exporter.config import Config, parse
from exporter.rules.alerts import series_groups
from exporter.rules.rule import AlertRule

COLUMNS = 48
STEP, INTERVAL = 300, 60
SERIES = 9
MODELS = ("robust_band", "shesd")
CASES = {
    "usual": "{}",
    "for": "{for: 7m, lookback: 20m}",
    "kept": "{keep_firing_for: 12m, for: 6m, lookback: 10m, min_series: 3, min_share: 0.25}",
    "consensus": "{model: consensus, min_series: 2, min_share: 0.1}",
    "grouped": "{group_by: [zone], min_series: 3, min_share: 0.5}",
}
# What other selectors need: an exact number of samples whatever the convention of the server about left edges.
_RANGE = re.compile(r"\[(\d+)m\]")


def config(alert: str) -> Config:
    text = (
        "source: {url: 'http://prometheus:9090'}\nglobal: {interval: 1m, step: 5m}\n"
        f"queries: [{{name: load, expr: load, alert: {alert}}}]\n"
    )
    return parse(text, "config.yml")


def made_scores(seed: int) -> dict[str, np.ndarray]:
    """Quiet, with single high scores, stretches of them, storms and gaps; the models agree now and then."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 0.9, (SERIES, COLUMNS))
    scores[rng.random(scores.shape) < 0.08] = 2.5
    for row in range(0, SERIES, 2):
        start = int(rng.integers(0, COLUMNS - 8))
        scores[row, start : start + int(rng.integers(2, 8))] = 1.5
    scores[:6, 30:32] = 3.0
    scores[rng.random(scores.shape) < 0.1] = np.nan
    scores[7, 10:25] = np.nan
    other = np.where(rng.random(scores.shape) < 0.5, scores, 0.3)
    return {"robust_band": scores, "shesd": other}


def labels(row: int) -> dict[str, str]:
    return {"i": str(row), "zone": f"z{row % 2}"}


def fired(found, rows: int, end: int) -> np.ndarray:
    out = np.zeros((rows, end + 1), bool)
    for row, start, stop in zip(found.row, found.start, found.end, strict=True):
        out[row, start:stop] = True
    return out


def rules_of(made: Config, *names: str) -> list[dict[str, object]]:
    """The alert rules of these names, as a Prometheus of any version understands them."""
    rules = []
    for group in series_groups(made):
        for rule in group.rules:
            if isinstance(rule, AlertRule) and rule.alert in names:
                # Up to 2.x a range holds its left edge, which this leaves out.
                expr = _RANGE.sub(lambda match: f"[{int(match.group(1)) * 60_000 - 1}ms]", rule.expr)
                timing = {"for": f"{rule.for_s}s", "keep_firing_for": f"{rule.keep_firing_for_s}s"}
                rules.append({"alert": rule.alert, "expr": expr, **timing})
    return rules


def slow_series(name: str, scores: np.ndarray) -> list[dict[str, str]]:
    """A score that is gone ends by a stale marker, as that of a series does that leaves the page."""
    return [
        {
            "series": f'{name}{{query="load",i="{row}"}}',
            "values": " ".join("stale" if np.isnan(score) else repr(float(score)) for score in scores[row]),
        }
        for row in range(SERIES)
    ]


def input_series(scores: dict[str, np.ndarray]) -> list[dict[str, str]]:
    return [
        {
            "series": f'anomaly_score{{query="load",model="{model}",i="{row}",zone="z{row % 2}"}}',
            "values": " ".join("_" if np.isnan(score) else repr(float(score)) for score in matrix[row]),
        }
        for model, matrix in scores.items()
        for row in range(SERIES)
    ]


def expectation(alert: str, by: str, names: list[str], firing: np.ndarray) -> list[dict[str, object]]:
    """What ALERTS must be at each evaluation."""
    expr = f'sum by ({by}) (ALERTS{{alertname="{alert}",alertstate="firing"}})'
    tests = []
    for k in range(firing.shape[1]):
        samples = [{"labels": names[row], "value": 1} for row in np.flatnonzero(firing[:, k])]
        tests.append({"expr": expr, "eval_time": f"{k * INTERVAL}s", "exp_samples": samples})
    return tests


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [1, 2])
def test_prometheus_raises_the_same_alerts(case: str, seed: int, tmp_path: Path) -> None:
    made = config(CASES[case])
    (query,) = made.queries
    scores = made_scores(seed)
    grid = made_grid(COLUMNS, query)
    groups = np.arange(SERIES) % 2 if query.alert.group_by else np.zeros(SERIES, np.int64)
    alerts = alerts_of(
        query, grid, {name: points_of(each, 0) for name, each in scores.items()},
        {name: present_of(each, 0) for name, each in scores.items()}, groups,
    )  # fmt: skip
    single = fired(alerts.single, SERIES, grid.end)
    storms = fired(alerts.storms.firings, 2, grid.end)
    assert single.any()
    assert not single.all(axis=1).any()
    assert storms.any()
    zones = ['{zone="z0"}', '{zone="z1"}'] if query.alert.group_by else ["{}", "{}"]
    expected = [
        *expectation("AnomalyDetected", "i", [f'{{i="{row}"}}' for row in range(SERIES)], single),
        *expectation("AnomalyShareHigh", "zone", zones, storms),
    ]
    agrees(rules_of(made, "AnomalyDetected", "AnomalyShareHigh"), input_series(scores), expected, tmp_path)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("signal", "alert"), [("shift", "AnomalyShift"), ("stale", "AnomalyStale")])
def test_prometheus_raises_the_same_slow_alerts(signal: str, alert: str, seed: int, tmp_path: Path) -> None:
    made = config("{}")
    (query,) = made.queries
    scores = made_scores(seed)["robust_band"]
    grid = made_grid(COLUMNS, query)
    firing = fired(slow_firings(signal, slow_points_of(scores, 0), grid), SERIES, grid.end)
    assert firing.any()
    assert not firing.all(axis=1).any()
    expected = expectation(alert, "i", [f'{{i="{row}"}}' for row in range(SERIES)], firing)
    agrees(rules_of(made, alert), slow_series(f"anomaly_{signal}_score", scores), expected, tmp_path)


def agrees(rules: list[dict[str, object]], series: list[dict[str, str]], expected: list, tmp_path: Path) -> None:
    """Let Prometheus' own rule engine run over the series."""
    if not shutil.which("promtool"):
        pytest.fail("promtool is needed: apt-get install prometheus")
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    test = {"interval": f"{STEP}s", "input_series": series, "promql_expr_test": expected}
    (tmp_path / "test.yml").write_text(
        json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": f"{INTERVAL}s", "tests": [test]})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[:3000]
    assert "SUCCESS" in done.stdout + done.stderr
