"""All measurements in their order, each turned into rows of the table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench.speed import cycling, fitting, growth, reading, rendering, server, starting, writing
from bench.speed.cycling import Cycles, Tell
from bench.speed.madeup import DAY_S, WEEK_COLUMNS
from bench.speed.plan import Plan, size_text
from bench.speed.report import Row
from bench.speed.server import Prometheus
from exporter.demo.stack import Stack

_FED_MINUTES = 20
_MOST_BYTES = 10e9  # for a million series


def measure(plan: Plan, stack: Stack, folder: Path, tell: Tell) -> Iterator[Row]:
    """Every row, in the order of the table. SpeedError and DemoError say what went wrong."""
    end_s = int(time.time()) // 300 * 300
    tell(f"a week of {plan.read} series into a Prometheus, and {plan.served} live ones")
    prometheus = server.start(stack, folder, plan.read, end_s)
    server.feed(prometheus.url, plan.served, list(range(end_s - _FED_MINUTES * 60, end_s + 1, 60)))
    yield from _reading(plan, prometheus, end_s, tell)
    yield from _fitting(plan, tell)
    yield from _publishing(plan, prometheus, end_s, tell)
    yield from _cycling(plan, prometheus, end_s, folder, tell)
    yield from _starting(plan, stack, prometheus, folder, tell)


def _reading(plan: Plan, prometheus: Prometheus, end_s: int, tell: Tell) -> Iterator[Row]:
    tell("window read")
    ours, api = reading.window(prometheus, end_s, plan.read, plan.repeats)
    at, points = size_text(plan.read), plan.read * WEEK_COLUMNS
    alone, both = (plan.share(target, 1000, plan.read) for target in (0.12, 0.75))
    yield Row(f"window read, {points:,} points", at, "CPU s", ours.client_s, ours.server_s, api.client_s,
              "prometheus-api-client", alone, measure="read_window_client_cpu")  # fmt: skip
    yield Row("window read, client and server", at, "CPU s", ours.total_s, None, api.total_s,
              "prometheus-api-client", both, measure="read_window_total_cpu")  # fmt: skip
    tell("newest samples")
    ours, api = reading.newest(prometheus, end_s, plan.served, plan.repeats)
    yield Row("newest samples", size_text(plan.served), "CPU s", ours.client_s, ours.server_s, api.client_s,
              "prometheus-api-client", plan.share(0.05), measure="newest_client_cpu",
              remark="two samples a series, as a look-back of 90 s finds at an interval of 60 s")  # fmt: skip


def _fitting(plan: Plan, tell: Tell) -> Iterator[Row]:
    tell("fits, and their slow ways")
    at, unit, again = "128", "series/s", plan.repeats
    stl, band = "STL(robust) + ESD", "naive twin"
    dense, gaps = fitting.naive_shesd_rate(0), fitting.naive_shesd_rate(fitting.GAPS)
    slow = fitting.naive_band_rate(WEEK_COLUMNS, 0)
    fortnight = 2 * WEEK_COLUMNS
    yield Row("fit shesd, 2016 points", at, unit, fitting.shesd_rate(WEEK_COLUMNS, 0, again), None, dense, stl,
              30_000, measure="fit_shesd_dense_rate")  # fmt: skip
    yield Row("fit shesd, 2016 points, 30 % gaps", at, unit, fitting.shesd_rate(WEEK_COLUMNS, fitting.GAPS, again),
              None, gaps, stl, 20_000, measure="fit_shesd_gaps_rate")  # fmt: skip
    yield Row("fit shesd, 4032 points", at, unit, fitting.shesd_rate(fortnight, 0, again))
    yield Row("fit shesd, 4032 points, 30 % gaps", at, unit, fitting.shesd_rate(fortnight, fitting.GAPS, again))
    yield Row("fit shesd, seasonal: stl", "4", unit, fitting.shesd_rate(WEEK_COLUMNS, 0, 1, "stl"), None, dense, stl)
    yield Row("fit robust_band, 2016 points", at, unit, fitting.robust_band_rate(WEEK_COLUMNS, 0, again), None, slow,
              band, 3000, 8000, "fit_robust_band_rate")  # fmt: skip
    yield Row("fit robust_band, 2016 points, 30 % gaps", at, unit,
              fitting.robust_band_rate(WEEK_COLUMNS, fitting.GAPS, again))  # fmt: skip
    yield Row("fit robust_band, 4032 points", at, unit, fitting.robust_band_rate(fortnight, 0, again))
    yield Row("fit robust_band, 4032 points, 30 % gaps", at, unit,
              fitting.robust_band_rate(fortnight, fitting.GAPS, again))  # fmt: skip
    yield Row("fit robust_band, 10080 points of 1 m", at, unit,
              fitting.robust_band_rate(7 * DAY_S // 60, 0, again, 60))  # fmt: skip
    tell("judging a column")
    yield Row("evaluate: open a column and judge it, both models", size_text(plan.served), "CPU s",
              fitting.column_cpu_s(plan.served, again), None, fitting.naive_column_cpu_s(plan.served),
              "naive twin, robust_band only", plan.share(0.3), plan.share(0.1), "evaluate_column_cpu")  # fmt: skip


def _publishing(plan: Plan, prometheus: Prometheus, end_s: int, tell: Tell) -> Iterator[Row]:
    tell("rendering")
    at = size_text(plan.served)
    ours, client, zipped, page_bytes = rendering.render(plan.served, plan.repeats)
    yield Row("render 4 gauges", at, "CPU s", ours, None, client, "prometheus_client", plan.share(0.08),
              measure="render_cpu")  # fmt: skip
    yield Row(f"gzip of that page, {page_bytes / 1e6:.1f} MB", at, "CPU s", zipped)
    tell("remote write")
    written = writing.remote_write(prometheus, plan.served, end_s, plan.repeats)
    yield Row("remote write, encode and snappy, 4 gauges", at, "CPU s", written.encode_s, None, written.naive_s,
              "protobuf classes", plan.share(0.15), measure="remote_write_encode_cpu")  # fmt: skip
    yield Row(f"remote write, push, {written.body_bytes / 1e6:.1f} MB", at, "CPU s", written.push.client_s,
              written.push.server_s)  # fmt: skip


def _cycling(plan: Plan, prometheus: Prometheus, end_s: int, folder: Path, tell: Tell) -> Iterator[Row]:
    found = cycling.beside_prometheus(prometheus, plan.served, plan.cycles, plan.scrape_interval_s, end_s, tell)
    yield from _cycle_rows(plan, found)
    alone = {
        size: cycling.alone(size, plan.alone_cycles(size), folder, tell, plan.alone_interval_s) for size in plan.growth
    }
    if plan.series > plan.served:
        found = alone[plan.series]
        yield Row("whole cycle of 300 s, source within", size_text(plan.series), "CPU s", found.exporter_s,
                  target=plan.share(45.0, 1_000_000, plan.series), stretch=plan.share(20.0, 1_000_000, plan.series),
                  remark="no server holds so many here: windows are made up, the newest samples are read from bytes in "
                         "memory; hourly refits included")  # fmt: skip
        yield Row("first cycle of it, which fits all", size_text(plan.series), "CPU s", found.start_s)
    yield from _memory_rows(plan, found)
    told = ", ".join(f"{size_text(size)} {one.exporter_s:.3g}" for size, one in alone.items())
    yield Row("growth exponent of a cycle", f"{size_text(plan.growth[0])} to {size_text(plan.series)}", "exponent",
              growth.exponent({size: one.exporter_s for size, one in alone.items()}), target=1.05,
              measure="growth_exponent", remark=f"CPU s of a cycle of {plan.alone_interval_s} s with its source within "
              f"the process and no scrape: {told}")  # fmt: skip


def _cycle_rows(plan: Plan, found: Cycles) -> Iterator[Row]:
    at, unit = size_text(plan.served), "CPU s"
    yield Row("whole cycle, hourly refits and a scrape included", at, unit, found.exporter_s, found.server_s,
              target=plan.share(1.2), stretch=plan.share(0.6), measure="cycle_exporter_cpu",
              remark="; ".join(filter(None, ["mean of ten cycles, two open a column", found.remark])))  # fmt: skip
    yield Row("exporter's share of exporter and server", at, "of 1",
              found.exporter_s / (found.exporter_s + found.server_s), target=0.5,
              measure="cycle_exporter_share")  # fmt: skip
    yield Row("of it a scrape, 10 families", at, unit, found.scrape_exporter_s, found.scrape_server_s)
    yield Row("of it a cycle within a column", at, unit, found.plain_s)
    yield Row("of it a cycle that opens a column", at, unit, found.closing_s)
    yield Row("first cycle, which fits all", at, unit, found.start_s)


def _memory_rows(plan: Plan, found: Cycles) -> Iterator[Row]:
    series = plan.series
    at, target = size_text(series), _MOST_BYTES if series == 1_000_000 else None
    yield Row("memory after the cycles", at, "bytes", float(found.rss_bytes), target=target, measure="rss_bytes",
              remark=f"the target is 10 GB at 1m; the window has {found.window_bytes / 2**20:.0f} MiB of it; at most "
              f"{found.start_peak_bytes / 2**20:.0f} MiB at the start, {found.peak_bytes / 2**20:.0f} after "
              "it")  # fmt: skip
    yield Row("memory beside the window, a series", at, "bytes", (found.rss_bytes - found.window_bytes) / series)


def _starting(plan: Plan, stack: Stack, prometheus: Prometheus, folder: Path, tell: Tell) -> Iterator[Row]:
    at = size_text(plan.read)
    tell("start to the first verdict")
    starting.first_verdict(stack, prometheus, plan.read, None)  # fills the cache where it is not
    warm = starting.first_verdict(stack, prometheus, plan.read, None)
    yield Row("start to first verdict, kernels at hand", at, "s", warm.wall_s, target=10.0,
              measure="start_to_first_verdict", remark=f"{warm.cpu_s:.1f} CPU s")  # fmt: skip
    if plan.cold:
        tell("start to the first verdict, kernels to be compiled")
        empty = folder / "kernels"
        empty.mkdir()
        cold = starting.first_verdict(stack, prometheus, plan.read, empty)
        yield Row("start to first verdict, kernels to be compiled", at, "s", cold.wall_s, target=30.0,
                  remark=f"{cold.cpu_s:.1f} CPU s")  # fmt: skip
