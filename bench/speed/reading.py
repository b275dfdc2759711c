"""Reading: the window and the newest samples, beside prometheus-api-client."""

from __future__ import annotations

import datetime

import numpy as np
from prometheus_api_client import PrometheusConnect

from bench.speed import madeup
from bench.speed.clocks import Spent, side_by_side
from bench.speed.report import SpeedError
from bench.speed.server import Prometheus
from bench.speed.subject import make_reader
from exporter.series import SeriesTable
from exporter.window import Window

LOOKBACK_S = 90


def window(server: Prometheus, end_s: int, series: int, repeats: int) -> tuple[Spent, Spent]:
    """A week of `series` series into a window: ours, and prometheus-api-client into arrays."""
    reader = make_reader(server.url, madeup.WINDOW_METRIC)
    table, ring = SeriesTable(), Window(madeup.WEEK_COLUMNS, 0, madeup.STEP_S)
    end_s = end_s // madeup.STEP_S * madeup.STEP_S
    start_s = end_s - (madeup.WEEK_COLUMNS - 1) * madeup.STEP_S
    ring.advance(end_s // madeup.STEP_S)

    def ours() -> None:
        for answer in reader.range(start_s, end_s):
            rows = table.find(answer.batch)
            table.admit(answer.batch, rows)
            ring.grow(table.rows)
            ring.write_grid(rows, answer.batch)

    spent = side_by_side(ours, server.pid, repeats)
    cells = int(np.count_nonzero(~np.isnan(ring.ring)))
    if cells < 0.99 * series * madeup.WEEK_COLUMNS:
        raise SpeedError(f"only {cells} of {series * madeup.WEEK_COLUMNS} samples were read")
    return spent, side_by_side(lambda: _range_by_api(server, start_s, end_s), server.pid, 1)


def newest(server: Prometheus, time_s: int, series: int, repeats: int) -> tuple[Spent, Spent]:
    """The newest samples of all series, looked up in the table: ours, and prometheus-api-client into a dict."""
    reader = make_reader(server.url, madeup.METRIC)
    table = SeriesTable()
    batch = reader.newest(time_s, LOOKBACK_S).batch
    table.admit(batch, table.find(batch))
    if batch.series != series:
        raise SpeedError(f"Prometheus holds {batch.series} series instead of {series}")

    def ours() -> None:
        table.find(reader.newest(time_s, LOOKBACK_S).batch)

    spent = side_by_side(ours, server.pid, repeats)
    return spent, side_by_side(lambda: _newest_by_api(server, time_s), server.pid, 1)


def _range_by_api(
    server: Prometheus, start_s: int, end_s: int
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    first, last = (datetime.datetime.fromtimestamp(at, datetime.UTC) for at in (start_s, end_s))
    api = PrometheusConnect(server.url)
    found = api.custom_query_range(madeup.WINDOW_METRIC, first, last, str(madeup.STEP_S))
    return [np.array([float(value) for _, value in series["values"]]) for series in found]


def _newest_by_api(server: Prometheus, time_s: int) -> dict[tuple[tuple[str, str], ...], float]:
    query = f"{madeup.METRIC}[{LOOKBACK_S}s]"
    found = PrometheusConnect(server.url).custom_query(query, {"time": time_s})
    return {tuple(sorted(series["metric"].items())): float(series["values"][-1][1]) for series in found}
