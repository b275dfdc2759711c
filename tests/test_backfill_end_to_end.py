"""`run --backfill 2d` on a real Prometheus that is read and written: nine days of twenty series."""

from __future__ import annotations

import json
import math
import random
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import requests
from support.process import Exporter, running_exporter
from support.servers import ask, make_blocks, prometheus_in, scrape_of, target_showing, wait_until

from exporter.backfill import newest_result
from exporter.config.schema import Query
from exporter.judging import horizon
from exporter.replay import Histories, Replay, Replayed
from exporter.source.client import Client

DAY = 86_400
STEP, INTERVAL, WINDOW = 300, 2, 7 * DAY
BACKFILL = 2 * DAY
SERIES, HISTORY = 20, 9 * DAY
OLD_AGE_S = 20 * 3600 + 7
EVERY = STEP // INTERVAL
COLUMNS = WINDOW // STEP
PARTS = {
    "score": "anomaly_score", "expected": "anomaly_expected", "lower": "anomaly_lower", "upper": "anomaly_upper",
}  # fmt: skip
CONFIG = """
global: {interval: 2s, step: 5m, window: 7d}
source: {url: "URL"}
queries: [{name: load, expr: load, signals: [shift, stale]}]
remote_write:
  - {url: "URL/api/v1/write", name: same, queue_config: {batch_send_deadline: 100ms}}
"""


def load(i: int, time_s: int) -> float:
    """A daily rhythm with noise; the same for the same moment."""
    noise = random.Random(f"{i} {time_s}").gauss(0, 1)
    return round(30 + i + 6 * math.sin(time_s * 2 * math.pi / DAY + i) + noise, 6)


def labels(i: int) -> dict[str, str]:
    return {"i": str(i), "instance": "host", "job": "load"}


def history(now_s: int) -> str:
    """Samples of every two minutes, with an outage of half of the series of three hours on the day before."""
    lines = ["# TYPE load gauge"]
    for i in range(SERIES):
        text = ",".join(f'{name}="{value}"' for name, value in labels(i).items())
        lines += [
            f"load{{{text}}} {load(i, t)} {t}"
            for t in range(now_s - HISTORY, now_s, 120)
            if i % 2 or not 30 * 3600 < now_s - t < 33 * 3600
        ]
    lines.append("# TYPE anomaly_score gauge")
    lines += [f'anomaly_score{{query="old",tenant="a\\"b"}} 1 {now_s - age_s}' for age_s in (30 * 3600, OLD_AGE_S)]
    return "\n".join([*lines, "# EOF", ""])


def page(time_s: float) -> str:
    """What the scraped target says."""
    return "".join(f'load{{i="{i}"}} {load(i, int(time_s))}\n' for i in range(SERIES))


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """A server with the history, which scrapes the target and takes remote writes of the last three days."""
    make_blocks(folder, history(int(time.time())))
    with target_showing(page) as target:
        config = {
            "global": {"scrape_interval": "2s"}, "scrape_configs": [scrape_of("load", target, "host")],
            "storage": {"tsdb": {"out_of_order_time_window": "3d"}},
        }  # fmt: skip
        with prometheus_in(folder, config, "--web.enable-remote-write-receiver") as url:
            scraped = 'load and on() (up{job="load"} == 1)'
            wait_until(lambda: len(ask(url, scraped)) == SERIES, "prometheus scrapes")
            yield url


def written(url: str, metric: str, **matchers: str) -> dict[int, dict[float, float]]:
    """The samples of a metric that the server has: by series, time -> value."""
    matching = ",".join(f'{name}="{value}"' for name, value in matchers.items())
    found = ask(url, f'{metric}{{query="load",{matching}}}[3d]')
    return {int(one["metric"]["i"]): {float(t): float(v) for t, v in one["values"]} for one in found}


def replayed(url: str, first: int, last: int) -> tuple[Replayed, np.ndarray]:
    """What a replay of the server's samples says about columns first to last, and those samples (series, columns)."""
    begin = first - COLUMNS - horizon(STEP)
    values = np.full((SERIES, last - begin + 1), np.nan)
    span = {"start": begin * STEP, "end": last * STEP, "step": STEP}
    for one in ask(url, "last_over_time(load[299999ms])", **span):
        for t, v in one["values"]:
            values[int(one["metric"]["i"]), int(t) // STEP - begin] = float(v)
    keys = [json.dumps(labels(i), sort_keys=True, separators=(",", ":")).encode() for i in range(SERIES)]
    hashes = np.array([zlib.crc32(key) for key in keys], np.int64)
    asked = Query("load", "load", interval_s=INTERVAL, step_s=STEP, window_s=WINDOW, signals=("shift", "stale"))
    since = first - begin
    found = Replay(asked).run_all(Histories(values, begin * EVERY, hashes, EVERY), since)
    return found, np.where(found.told(), values[:, since:], np.nan)


def check(have: dict[int, dict[float, float]], wanted: np.ndarray, first: int) -> None:
    """The server has exactly these numbers (series, columns) at the grid times."""
    last = first + wanted.shape[1] - 1
    for i, row in enumerate(wanted):
        expected = {float((first + k) * STEP): v for k, v in enumerate(row.tolist()) if not math.isnan(v)}
        assert {t: v for t, v in have[i].items() if t <= last * STEP} == expected


def is_done(exporter: Exporter) -> bool:
    return exporter.number("backfill_ratio", query="load") == 1


def is_clean(exporter: Exporter) -> bool:
    lost = sum(value for _, value in exporter.samples("anomaly_exporter_remote_write_samples_dropped_total"))
    return lost + exporter.number("remote_write_samples_failed_total", target="same") == 0


def newest_live(url: str) -> float:
    return max(max(samples) for samples in written(url, "anomaly_score", model="shesd").values())


def test_the_past_is_written_and_the_present_follows(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    with prometheus(tmp_path) as url:
        look_for_old_results(url)
        config.write_text(CONFIG.replace("URL", url))
        begun_s = time.time()
        with running_exporter(config, "--backfill", "2d") as exporter:
            wait_until(exporter.ready, "verdicts", 300)
            # Shown while the past is written, also where no sample has come yet since the column began.
            page = exporter.get("/metrics")
            assert page.text.count("anomaly_score{") == 2 * SERIES, (page.status_code, page.text, exporter.log)
            wait_until(lambda: is_done(exporter), f"the backfill\n{exporter.log}", 300)
            done_s = time.time()
            wait_until(lambda: newest_live(url) > done_s + 4, "live results")
            wait_until(lambda: exporter.number("remote_write_samples_pending", target="same") < 500, "all is there")
            assert is_clean(exporter), exporter.log
            assert "backfill done" in exporter.log
            assert exporter.end()[0] == 0
        before = look_at_the_first_run(url, begun_s, done_s)
        with running_exporter(config, "--backfill", "2d") as exporter:
            wait_until(lambda: is_done(exporter), f"the second backfill\n{exporter.log}", 300)
            again_s = time.time()
            wait_until(lambda: newest_live(url) > again_s + 4, "live results again")
            assert is_clean(exporter), exporter.log
        for i, samples in written(url, "anomaly_score", model="shesd").items():
            was = before[i]
            assert {t: v for t, v in samples.items() if t <= max(was)} == was
            assert all(t > begun_s for t in samples.keys() - was.keys())


def look_for_old_results(url: str) -> None:
    """The newest result of a query within a span is found however far back it lies, and nothing of other queries."""
    client, now_s = Client(url, requests.Session()), time.time()
    found_s = newest_result(client, "anomaly_score", {"query": "old", "tenant": 'a"b'})(now_s - BACKFILL, now_s)
    assert -120 < found_s - (now_s - OLD_AGE_S) <= 0
    assert newest_result(client, "anomaly_score", {"query": "old"})(now_s - 10 * 3600, now_s) == -math.inf
    assert newest_result(client, "anomaly_score", {"query": "none"})(now_s - BACKFILL, now_s) == -math.inf


def look_at_the_first_run(url: str, begun_s: float, done_s: float) -> dict[int, dict[float, float]]:
    """Compare what the server has with a replay; returns the scores of a model."""
    scores = written(url, "anomaly_score", model="shesd")
    on_grid = sorted(t for t in scores[0] if t % STEP == 0 and t <= done_s)
    first, last = int(on_grid[0]) // STEP, int(on_grid[-1]) // STEP
    assert abs(first - (begun_s - BACKFILL) / STEP) < 2
    assert last >= begun_s // STEP
    found, values = replayed(url, first, last)
    for model, bands in found.bands.items():
        for part, metric in PARTS.items():
            check(written(url, metric, model=model), getattr(bands, part), first)
        check(written(url, "anomaly_value", model=model), values, first)
    for name, score in found.signals.items():
        check(written(url, f"anomaly_{name}_score"), score, first)
    present = values[1::2]
    assert (~np.isnan(present)).mean() > 0.99
    for samples in scores.values():
        later = sorted(t for t in samples if t > last * STEP)
        assert 0 < later[0] - last * STEP < STEP  # no column without a result
        assert len(later) > 2
    return scores
