"""The dashboard of the exporter itself: does it keep up, what does it cost, what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.dashboards import panels, variables
from exporter.dashboards.dashboard import Row, annotation, dashboard
from exporter.dashboards.panels import BAD_FROM_ONE, NEUTRAL, Json, Steps, fixed, override, stat, target, timeseries
from exporter.dashboards.states import MEANINGS, colored
from exporter.names import DASHBOARD_EXPORTER, SELF_PREFIX

_WHERE = 'job=~"$job",instance=~"$instance"'
_UNIT = f'{_WHERE},tenant=~"$tenant",query=~"$query"'
_PER_QUERY = "{{tenant}} {{query}}"
_BY_UNIT = "by (tenant, query)"
_STACKED = {"fillOpacity": 50, "lineWidth": 1, "stacking": {"mode": "normal", "group": "A"}}


def health(datasource: str = "") -> Json:
    """The dashboard `anomaly-exporter`."""
    info, cycles = f"{SELF_PREFIX}_build_info", f"{SELF_PREFIX}_cycles_total"
    shown = [
        variables.datasource(datasource),
        variables.job(),
        variables.of_exporter("instance", "Instance", f'{info}{{job=~"$job"}}'),
        variables.of_exporter("tenant", "Tenant", f"{cycles}{{{_WHERE}}}"),
        variables.of_exporter("query", "Query", f'{cycles}{{{_WHERE},tenant=~"$tenant"}}'),
    ]
    return dashboard(
        DASHBOARD_EXPORTER,
        "Anomaly: the exporter itself",
        "Whether anomaly-exporter keeps up, what it costs, and what goes wrong.",
        shown,
        _rows(),
        annotations=[annotation("Restart", f"changes(process_start_time_seconds{{{_WHERE}}}[2m]) > 0", "{{instance}}",
                                color="blue")],
    )  # fmt: skip


def _rows() -> list[Row]:
    return [
        (4, [(3, number) for number in _numbers()]),
        (8, [(8, panel) for panel in (_cycles(), _durations(), _states())]),
        (9, [(12, panel) for panel in (_lag(), _age())]),
        (8, [(6, panel) for panel in (_requests(), _source_errors(), _source_bytes(), _samples())]),
        (8, [(8, panel) for panel in (_cpu(), _memory(), _scrape())]),
        (8, [(8, panel) for panel in (_fits(), _shed(), _remarks())]),
        (8, [(8, panel) for panel in (_written(), _queue(), _write_lag())]),
    ]


def _own(name: str, *matchers: str, per_unit: bool = True) -> str:
    return f"{SELF_PREFIX}_{name}{{{','.join((_UNIT if per_unit else _WHERE, *matchers))}}}"


def _rate(selector: str) -> str:
    return f"rate({selector}[$__rate_interval])"


def _numbers() -> list[Json]:
    other = 'outcome!="ok"'
    failing = f"sum(increase({_own('cycles_total', other)}[15m]))"
    lost = _dropped("15m")
    numbers: Sequence[tuple[str, str, str, str, Steps, int]] = (
        ("Exporters up", "Of the chosen instances, those that Prometheus can scrape.",
         f"sum(up{{{_WHERE}}})", "short", ((None, "red"), (1, "green")), 0),
        ("Series watched", "In any state.", f"sum({_own('series')})", "short", NEUTRAL, 0),
        ("Oldest verdict", "Age of the newest judged sample, of the query that lags most.",
         f"time() - min({_own('verdict_timestamp_seconds')} > 0)", "s",
         ((None, "green"), (600, "orange"), (900, "red")), 0),
        ("Sources down", "Tenants of which no query could be read in the last cycle.",
         f'count({SELF_PREFIX}_source_up{{{_WHERE},tenant=~"$tenant"}} == 0) or vector(0)', "short", BAD_FROM_ONE, 0),
        ("Not ok, 15 min", "Cycles that failed, were skipped or overran their interval in the last 15 minutes.",
         failing, "short", BAD_FROM_ONE, 0),
        ("Lost, 15 min", "Samples that remote write dropped, or the receiver refused, in the last 15 minutes.",
         lost, "short", BAD_FROM_ONE, 0),
        ("CPU", "Cores that the processes use.", f"sum({_rate(f'process_cpu_seconds_total{{{_WHERE}}}')})", "none",
         NEUTRAL, 2),
        ("Memory", "Resident memory of the processes.", f"sum(process_resident_memory_bytes{{{_WHERE}}})", "bytes",
         NEUTRAL, 0),
    )  # fmt: skip
    return [
        stat(title, says, expr, unit=unit, colors=colors, decimals=decimals)
        for title, says, expr, unit, colors, decimals in numbers
    ]


def _dropped(range_: str) -> str:
    names = f'__name__=~"{SELF_PREFIX}_remote_write_samples_(dropped|failed)_total"'
    return f"sum(increase({{{names},{_WHERE}}}[{range_}])) or vector(0)"


def _lines(title: str, text: str, expr: str, legend: str, *, unit: str, **more: object) -> Json:
    return timeseries(title, text, [target(expr, legend)], unit=unit, min=0, **more)  # type: ignore[arg-type]


def _cycles() -> Json:
    colors = {"ok": "green", "failed": "red", "late": "orange", "skipped": "yellow"}
    expr = f"sum by (outcome) ({_rate(_own('cycles_total'))}) * 60"
    return _lines(
        "Cycles per minute by outcome",
        "ok, failed, skipped (the one before was still running). One that overran its interval counts as late besides.",
        expr, "{{outcome}}", unit="short",
        overrides=[override(outcome, color=fixed(color)) for outcome, color in colors.items()],
        custom={"fillOpacity": 10},
    )  # fmt: skip


def _durations() -> Json:
    buckets = _rate(_own("cycle_duration_seconds_bucket"))

    def quantile(share: float) -> str:
        return f"histogram_quantile({share}, sum by (le, query) ({buckets}))"

    return timeseries(
        "Duration of cycles",
        "Wall time: reading, judging, fitting, rendering. The slowest query.",
        [target(f"max({quantile(q)})", name) for q, name in ((0.99, "99 %"), (0.5, "half"))],
        unit="s", min=0,
    )  # fmt: skip


def _lag() -> Json:
    text = "From the time the last cycle is about to its end; by query."
    return _lines("Lateness of cycles", text, f"max {_BY_UNIT} ({_own('cycle_lag_seconds')})", _PER_QUERY, unit="s")


def _age() -> Json:
    expr = f"time() - max {_BY_UNIT} ({_own('verdict_timestamp_seconds')} > 0)"
    text = (
        "Age of the newest judged sample, by query. The line is where the alert begins for queries that are judged "
        "every 5 minutes or more often."
    )
    return _lines("Age of verdicts", text, expr, _PER_QUERY, unit="s", line_at=(900, "red"))


def _states() -> Json:
    return _lines("Series by state", MEANINGS, f"sum by (state) ({_own('series')}) > 0", "{{state}}", unit="short",
                  decimals=0, overrides=colored(), custom=_STACKED)  # fmt: skip


def _shed() -> Json:
    return timeseries(
        "Series and limits",
        "Series in the newest answer, and those of them that are not watched because a limit is reached.",
        [target(f"sum({_own('source_series')})", "in answers"), target(f"sum({_own('series_shed')})", "shed")],
        unit="short", min=0, decimals=0, overrides=[override("shed", color=fixed("red"))],
    )  # fmt: skip


def _requests() -> Json:
    requests = f'{SELF_PREFIX}_source_requests_total{{{_WHERE},tenant=~"$tenant"}}'
    return _lines("Requests to the source", "Per second by outcome, retries included.",
                  f"sum by (outcome) ({_rate(requests)})", "{{outcome}}", unit="reqps",
                  overrides=[panels.override_pattern("/^(?!ok$)/", color={"mode": "shades", "fixedColor": "red"}),
                             override("ok", color=fixed("green"))])  # fmt: skip


def _source_errors() -> Json:
    expr = f"sum by (tenant, query, reason) ({_rate(_own('source_errors_total'))}) * 60 > 0"
    return _lines("Source errors", "Cycles per minute that failed because of the source, by reason. Nothing is good.",
                  expr, "{{tenant}} {{query}} {{reason}}", unit="short", noValue="none")  # fmt: skip


def _source_bytes() -> Json:
    read = f'{SELF_PREFIX}_source_bytes_total{{{_WHERE},tenant=~"$tenant"}}'
    return _lines("Bytes from the source", "Per second, unpacked.", f"sum by (instance, tenant) ({_rate(read)})",
                  "{{instance}} {{tenant}}", unit="Bps")  # fmt: skip


def _cpu() -> Json:
    cycles = f"sum by (instance) ({_rate(_own('cycle_cpu_seconds_total'))})"
    whole = f"sum by (instance) ({_rate(f'process_cpu_seconds_total{{{_WHERE}}}')})"
    return timeseries(
        "CPU",
        "Cores: of the process, and of the cycles in their own threads.",
        [target(whole, "{{instance}}"), target(cycles, "{{instance}} cycles")],
        unit="none", min=0, overrides=[panels.override_pattern("/ cycles$/", custom_lineStyle=_DASHED)],
    )  # fmt: skip


def _memory() -> Json:
    whole = f"sum by (instance) (process_resident_memory_bytes{{{_WHERE}}})"
    windows = f"sum by (instance) ({_own('window_bytes')})"
    return timeseries(
        "Memory",
        "Resident memory of the process, and the part of it that the windows take.",
        [target(whole, "{{instance}}"), target(windows, "{{instance}} windows")],
        unit="bytes", min=0, overrides=[panels.override_pattern("/ windows$/", custom_lineStyle=_DASHED)],
    )  # fmt: skip


def _scrape() -> Json:
    samples = f"scrape_samples_scraped{{{_WHERE}}}"
    return timeseries(
        "Cost of the scrape",
        "How long Prometheus takes for /metrics, and how many samples that gives.",
        [target(f"scrape_duration_seconds{{{_WHERE}}}", "{{instance}} duration"),
         target(samples, "{{instance}} samples")],
        unit="s", min=0,
        overrides=[panels.override_pattern("/ samples$/", unit="short", custom_axisPlacement="right",
                                           custom_lineStyle=_DASHED)],
    )  # fmt: skip


def _samples() -> Json:
    return timeseries(
        "Samples",
        "Per second: read from the source, judged, and filled into gaps because they came late.",
        [
            target(f"sum({_rate(_own('source_samples_total'))})", "read"),
            target(f"sum({_rate(_own('samples_judged_total'))})", "judged"),
            target(f"sum({_rate(_own('late_samples_total'))})", "late"),
        ],
        unit="short", min=0,
    )  # fmt: skip


def _fits() -> Json:
    failed = f"sum({_rate(_own('models_failed_total'))})"
    return timeseries(
        "Fits",
        "Per second by model, one per series about every hour; and those that failed.",
        [target(f"sum by (model) ({_rate(_own('fits_total'))})", "{{model}}"), target(failed, "failed")],
        unit="short", min=0, overrides=[override("failed", color=fixed("red"))],
    )  # fmt: skip


def _remarks() -> Json:
    expr = f"sum by (kind) ({_rate(_own('source_warnings_total'))}) * 60"
    text = "Per minute by kind: partial answers, duplicates, samples from the future and the like."
    return _lines("Remarks on answers", text, expr, "{{kind}}", unit="short")


def _written() -> Json:
    def of(what: str, by: str) -> str:
        return f"sum by ({by}) ({_rate(_own(f'remote_write_samples_{what}', per_unit=False))})"

    return timeseries(
        "Remote write",
        "Samples per second by target: delivered, to be sent again, refused for good, dropped by reason.",
        [
            target(of("total", "target"), "{{target}} delivered"),
            target(of("retried_total", "target"), "{{target}} again"),
            target(of("failed_total", "target"), "{{target}} refused"),
            target(of("dropped_total", "target, reason") + " > 0", "{{target}} dropped: {{reason}}"),
        ],
        unit="short", min=0, noValue="no remote write",
    )  # fmt: skip


def _queue() -> Json:
    pending = _own("remote_write_samples_pending", per_unit=False)
    capacity = _own("remote_write_queue_capacity_samples", per_unit=False)
    return _lines("Remote write queue", "Samples that wait, as a share of what may wait. When it is full, "
                  "the oldest are dropped.", f"max by (target) ({pending} / {capacity})", "{{target}}",
                  unit="percentunit", max=1, line_at=(0.8, "red"), noValue="no remote write")  # fmt: skip


def _write_lag() -> Json:
    newest = _own("remote_write_highest_timestamp_seconds", per_unit=False)
    sent = _own("remote_write_highest_sent_timestamp_seconds", per_unit=False)
    buckets = _rate(_own("remote_write_request_duration_seconds_bucket", per_unit=False))
    return timeseries(
        "Remote write lag",
        "How far the newest sample delivered is behind the newest that was queued, and the time that requests take.",
        [
            target(f"max by (target) ({newest} - {sent} and {sent} > 0)", "{{target}} behind"),
            target(f"histogram_quantile(0.99, sum by (le, target) ({buckets}))", "{{target}} request, 99 %"),
        ],
        unit="s", min=0, noValue="no remote write",
    )  # fmt: skip


_DASHED = {"fill": "dash", "dash": [6, 4]}
