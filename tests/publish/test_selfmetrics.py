"""exporter.publish.selfmetrics: what is there from the start, what is counted, what goes."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter import __version__
from exporter.names import STATES
from exporter.publish.selfmetrics import OUTCOMES, SelfMetrics

PREFIX = "anomaly_exporter_"


@dataclass
class Receipt:
    """A good cycle of unit.Receipt's shape."""

    time_s: int = 1_700_000_000
    error: str = ""
    reason: str = ""
    series: int = 10
    shed: int = 2
    refused: dict[str, int] = field(default_factory=lambda: {"dropped": 3})
    judged: int = 9
    fitted: int = 4
    failed_rows: int = 1
    anomalous: dict[str, int] = field(default_factory=lambda: {"shesd": 2})
    states: dict[str, int] = field(default_factory=lambda: {"ok": 8, "failed": 1, "absent": 1})
    samples: int = 20
    filled_columns: int = 3
    slow_scans: int = 1
    remarks: Counter[str] = field(default_factory=lambda: Counter(warning=2, late=5, duplicate=0))
    missing_s: int = 7200
    newest_s: float = 1_699_999_990.0
    window_bytes: int = 4096
    wall_s: float = 0.3
    cpu_s: float = 0.2


class Page:
    """A registry with self metrics, and its samples by name without the prefix."""

    def __init__(self, *reasons: str) -> None:
        self.registry = CollectorRegistry()
        self.metrics = SelfMetrics(self.registry, reasons)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(PREFIX + name, labels)

    def samples(self, **labels: str) -> set[str]:
        """Names of all samples that carry these labels."""
        wanted = labels.items()
        return {s.name for family in self.registry.collect() for s in family.samples if wanted <= s.labels.items()}


@pytest.fixture
def page() -> Page:
    made = Page("timeout", "bad_query")
    made.metrics.register_unit("t", "q", ["shesd", "robust_band"], 60)
    return made


UNIT = {"tenant": "t", "query": "q"}


def test_counters_start_at_zero(page: Page) -> None:
    assert [page.value("cycles_total", **UNIT, outcome=outcome) for outcome in OUTCOMES] == [0] * 4
    assert [page.value("series", **UNIT, state=state) for state in STATES] == [0] * 6
    assert page.value("source_errors_total", **UNIT, reason="timeout") == 0
    assert page.value("source_warnings_total", **UNIT, kind="partial") == 0
    assert page.value("fits_total", **UNIT, model="robust_band") == 0
    assert page.value("cycle_duration_seconds_count", **UNIT) == 0
    assert page.value("late_samples_total", **UNIT) == 0
    assert page.value("verdict_timestamp_seconds", **UNIT) == 0


def test_a_good_cycle_is_counted(page: Page) -> None:
    page.metrics.record("t", "q", Receipt())
    page.metrics.record("t", "q", Receipt())
    assert page.value("cycles_total", **UNIT, outcome="ok") == 2
    assert page.value("cycles_total", **UNIT, outcome="failed") == 0
    assert page.value("series", **UNIT, state="ok") == 8
    assert page.value("series_anomalous", **UNIT, model="shesd") == 2
    assert page.value("fits_total", **UNIT, model="shesd") == page.value("fits_total", **UNIT, model="robust_band") == 8
    assert page.value("models_failed_total", **UNIT) == 2
    assert page.value("samples_judged_total", **UNIT) == 18
    assert page.value("source_samples_total", **UNIT) == 40
    assert page.value("source_series", **UNIT) == 10
    assert page.value("series_shed", **UNIT) == 2
    assert page.value("source_fallback_scans_total", **UNIT) == 2
    assert page.value("gaps_filled_total", **UNIT) == 6
    assert page.value("late_samples_total", **UNIT) == 10
    assert page.value("source_warnings_total", **UNIT, kind="warning") == 4
    assert page.value("source_warnings_total", **UNIT, kind="late") is None
    assert page.value("window_bytes", **UNIT) == 4096
    assert page.value("window_missing_seconds", **UNIT) == 7200
    assert page.value("verdict_timestamp_seconds", **UNIT) == 1_699_999_990
    assert page.value("cycle_duration_seconds_sum", **UNIT) == pytest.approx(0.6)
    assert page.value("cycle_cpu_seconds_total", **UNIT) == pytest.approx(0.4)
    assert (page.value("cycle_lag_seconds", **UNIT) or 0) > 1e6  # the receipt is as of 2023
    assert page.value("source_up", tenant="t") == 1


@pytest.mark.parametrize(("most", "shown"), [(None, float("inf")), (0, 0), (100, 100)])
def test_how_many_series_may_be_watched_is_shown(page: Page, most: int | None, shown: float) -> None:
    page.metrics.register_unit("t", "q", ["shesd"], 60, most)
    assert page.value("series_limit", **UNIT) == shown
    page.metrics.forget_unit("t", "q")
    assert page.value("series_limit", **UNIT) is None


def test_refused_series_are_counted_by_reason(page: Page) -> None:
    assert page.value("series_refused", **UNIT, reason="dropped") == 0
    page.metrics.record("t", "q", Receipt())
    assert page.value("series_refused", **UNIT, reason="dropped") == 3
    page.metrics.record("t", "q", Receipt(refused={"collision": 1}))
    assert [page.value("series_refused", **UNIT, reason=reason) for reason in ("dropped", "collision")] == [0, 1]


def test_nothing_is_shed_before_the_first_cycle(page: Page) -> None:
    assert page.value("series_shed", **UNIT) == 0


def test_a_failed_cycle_keeps_the_verdicts_of_the_last_good_one(page: Page) -> None:
    page.metrics.record("t", "q", Receipt())
    failed = Receipt(error="HTTP 503", reason="timeout", states={}, newest_s=0.0, judged=0, fitted=7, remarks=Counter())
    page.metrics.record("t", "q", failed)
    assert page.value("cycles_total", **UNIT, outcome="failed") == 1
    assert page.value("source_errors_total", **UNIT, reason="timeout") == 1
    assert page.value("series", **UNIT, state="ok") == 8
    assert page.value("verdict_timestamp_seconds", **UNIT) == 1_699_999_990
    assert page.value("fits_total", **UNIT, model="shesd") == 4
    assert page.value("source_up", tenant="t") == 0


def test_an_unknown_reason_appears_when_it_happens(page: Page) -> None:
    page.metrics.record("t", "q", Receipt(error="x", reason="eclipse"))
    assert page.value("source_errors_total", **UNIT, reason="eclipse") == 1


def test_running_out_of_memory_is_not_the_sources_fault(page: Page) -> None:
    page.metrics.record("t", "q", Receipt(error="out of memory", reason="memory"))
    assert page.value("cycles_total", **UNIT, outcome="failed") == 1
    assert page.value("source_errors_total", **UNIT, reason="memory") is None
    assert page.value("source_up", tenant="t") == 1


def test_the_source_is_up_while_one_query_of_the_tenant_works(page: Page) -> None:
    page.metrics.register_unit("t", "other", ["shesd"], 60)
    assert page.value("source_up", tenant="t") is None
    page.metrics.record("t", "q", Receipt(error="x", reason="bad_query"))
    assert page.value("source_up", tenant="t") == 0
    page.metrics.record("t", "other", Receipt())
    assert page.value("source_up", tenant="t") == 1
    page.metrics.forget_unit("t", "other")
    assert page.value("source_up", tenant="t") == 0


def test_late_and_skipped_cycles_are_counted(page: Page) -> None:
    page.metrics.cycle_late("t", "q")
    page.metrics.cycle_skipped("t", "q")
    page.metrics.cycle_skipped("t", "q")
    assert page.value("cycles_total", **UNIT, outcome="late") == 1
    assert page.value("cycles_total", **UNIT, outcome="skipped") == 2


def test_a_time_before_the_epoch_of_verdicts_is_not_shown(page: Page) -> None:
    page.metrics.record("t", "q", Receipt())
    page.metrics.record("t", "q", Receipt(newest_s=0.0))
    assert page.value("verdict_timestamp_seconds", **UNIT) == 1_699_999_990


def test_requests_are_observed_per_tenant(page: Page) -> None:
    observe = page.metrics.observer("t")
    assert page.value("source_requests_total", tenant="t", outcome="ok") == 0
    observe("ok", 100)
    observe("ok", 20)
    observe("timeout", 0)
    assert page.value("source_requests_total", tenant="t", outcome="ok") == 2
    assert page.value("source_requests_total", tenant="t", outcome="timeout") == 1
    assert page.value("source_bytes_total", tenant="t") == 120


def test_a_second_observer_of_a_tenant_goes_on_counting(page: Page) -> None:
    first = page.metrics.observer("t")
    first("ok", 1)
    second = page.metrics.observer("t")
    second("ok", 2)
    first("ok", 4)
    assert page.value("source_bytes_total", tenant="t") == 7


def test_a_forgotten_unit_leaves_nothing(page: Page) -> None:
    before = Page().samples()
    observe = page.metrics.observer("t")
    observe("ok", 1)
    observe("timeout", 0)
    page.metrics.record("t", "q", Receipt(error="x", reason="eclipse"))
    page.metrics.record("t", "q", Receipt(remarks=Counter(unheard_of=1)))
    page.metrics.forget_unit("t", "q")
    page.metrics.forget_unit("t", "q")
    assert page.samples() == before
    page.metrics.record("t", "q", Receipt())
    page.metrics.cycle_late("t", "q")
    observe("ok", 1)
    assert page.samples() == before


def test_other_units_are_left_alone(page: Page) -> None:
    page.metrics.register_unit("", "q", ["shesd"], 60)
    page.metrics.observer("")("ok", 5)
    page.metrics.record("", "q", Receipt())
    page.metrics.forget_unit("t", "q")
    assert page.value("cycles_total", tenant="", query="q", outcome="ok") == 1
    assert page.value("source_bytes_total", tenant="") == 5
    assert not page.samples(tenant="t")


def test_registering_again_keeps_counts_and_drops_models_that_are_gone(page: Page) -> None:
    page.metrics.record("t", "q", Receipt(error="x", reason="eclipse"))
    page.metrics.record("t", "q", Receipt())
    page.metrics.register_unit("t", "q", ["robust_band"], 60)
    assert page.value("cycles_total", **UNIT, outcome="ok") == 1
    assert page.value("source_errors_total", **UNIT, reason="eclipse") == 1
    assert page.value("fits_total", **UNIT, model="robust_band") == 4
    assert not page.samples(**UNIT, model="shesd")
    page.metrics.record("t", "q", Receipt())  # an old generation's last cycle still speaks of shesd
    assert not page.samples(**UNIT, model="shesd")
    page.metrics.forget_unit("t", "q")
    assert not page.samples(**UNIT)


def test_reloads_are_shown(page: Page) -> None:
    page.metrics.reloaded(ok=True)
    assert page.value("config_last_reload_successful") == 1
    loaded = page.value("config_last_reload_success_timestamp_seconds")
    assert loaded is not None
    assert loaded > 1.7e9
    page.metrics.reloaded(ok=False)
    assert page.value("config_last_reload_successful") == 0
    assert page.value("config_last_reload_success_timestamp_seconds") == loaded


def test_build_info_carries_the_version(page: Page) -> None:
    (labels,) = [s.labels for f in page.registry.collect() for s in f.samples if s.name == PREFIX + "build_info"]
    assert labels["version"] == __version__


def test_own_metrics_have_the_prefix_and_neither_job_nor_instance(page: Page) -> None:
    page.metrics.record("t", "q", Receipt())
    for family in page.registry.collect():
        assert family.name.startswith((PREFIX, "process_", "python_"))
        assert family.documentation.endswith((".", "s")) or not family.name.startswith(PREFIX)
        assert not any({"job", "instance"} & set(sample.labels) for sample in family.samples)


def test_no_created_series(page: Page) -> None:
    assert b"_created" not in generate_latest(page.registry)
    assert b"_created" not in generate_openmetrics(page.registry)


def test_threads_lose_no_count(page: Page) -> None:
    observe = page.metrics.observer("t")

    def work() -> None:
        for _ in range(200):
            page.metrics.record("t", "q", Receipt())
            observe("ok", 3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        generate_latest(page.registry)
        thread.join()
    assert page.value("cycles_total", **UNIT, outcome="ok") == 800
    assert page.value("source_bytes_total", tenant="t") == 2400


def test_children_stand_in_the_order_of_their_words() -> None:
    registry = CollectorRegistry()
    SelfMetrics(registry).register_unit("", "q", ["b", "a"], 60)
    (series,) = (family for family in registry.collect() if family.name == "anomaly_exporter_series")
    assert tuple(sample.labels["state"] for sample in series.samples) == STATES


def test_the_backfill_shows_only_where_there_is_one(page: Page) -> None:
    assert page.value("backfill_ratio", **UNIT) is None
    page.metrics.backfilled("t", "q", 0.25)
    assert page.value("backfill_ratio", **UNIT) == 0.25
    page.metrics.forget_unit("t", "q")
    page.metrics.backfilled("t", "q", 0.5)
    assert page.value("backfill_ratio", **UNIT) is None
