"""Estimates: the arithmetic, and the memory of a real unit beside what was said of it."""

from __future__ import annotations

import sys
from array import array
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from support.store import Store

from exporter import names
from exporter.capacity.estimate import Output, Seen, estimate, families, row_bytes
from exporter.config import Limits, Query
from exporter.models.settings import RobustBandSettings, ShesdSettings
from exporter.publish.exposition import Page
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.remote_write.outlet import Outlet
from exporter.publish.remote_write.unit_writer import UnitWriter
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.unit import Unit

DAY_S = 86_400
NOW = 19_700 * DAY_S + 43_200
QUERY = Query("m", "m", window_s=7 * DAY_S)
SEEN = Seen(1000, 1000, 20_000, 15.0, plain=True)


def test_samples_of_a_plain_selector() -> None:
    """Raw samples of the last 90 s every minute; a window column touches all samples of its 5 minutes."""
    cost = estimate(QUERY, SEEN, Output())
    assert (cost.series, cost.points, cost.output_series) == (1000, 2_016_000, 10_000)
    assert cost.samples_per_hour == cost.touched_per_hour == 1000 * 6 * 60
    assert cost.start_touched == 20_000 * 2016


def test_samples_of_an_expression() -> None:
    cost = estimate(QUERY, Seen(10, 1000, 5000), Output())
    assert (cost.samples_per_hour, cost.touched_per_hour) == (600, 300_000)
    unknown = estimate(QUERY, Seen(10), Output())
    assert (unknown.samples_per_hour, unknown.touched_per_hour) == (600, 600)


def test_beyond_a_limit_only_reading_costs() -> None:
    query = replace(QUERY, limits=Limits(max_series=100))
    cost, whole = estimate(query, SEEN, Output(targets=1)), estimate(QUERY, SEEN, Output(targets=1))
    assert (cost.series, cost.shed, cost.output_series) == (100, 900, 1000)
    assert cost.samples_per_hour == whole.samples_per_hour
    assert cost.source_cpu_s_per_hour == whole.source_cpu_s_per_hour
    for name in ("points", "memory_bytes", "written_per_s", "output_cpu_s_per_hour"):
        assert getattr(cost, name) == pytest.approx(getattr(whole, name) / 10)


@pytest.mark.parametrize(
    ("changes", "count"),
    [({}, 10), ({"models": (RobustBandSettings(),), "signals": ("shift", "stale")}, 7), ({"publish": "score"}, 2),
     ({"publish": "anomalous", "signals": ("shift",)}, 3), ({"direction": "above"}, 8),
     ({"direction": "above", "data_range": (0.0, np.inf)}, 10), ({"direction": "below"}, 8)],
)  # fmt: skip
def test_output_series_of_a_series(changes: dict[str, Any], count: int) -> None:
    assert families(replace(QUERY, **changes)) == count


def test_each_sample_is_written_once_to_each_target() -> None:
    slow = replace(SEEN, spacing_s=120.0)
    assert estimate(QUERY, SEEN, Output(True, 2)).written_per_s == pytest.approx(2 * 10_000 / 60)
    assert estimate(QUERY, slow, Output(True, 2)).written_per_s == pytest.approx(2 * 10_000 / 120)
    assert estimate(QUERY, SEEN, Output(True, 0)).written_per_s == 0


def test_nothing_costs_nothing() -> None:
    cost = estimate(QUERY, Seen(0), Output(True, 1))
    assert not any(getattr(cost, name) for name in type(cost).__dataclass_fields__)


def test_a_longer_window_and_more_models_cost_more() -> None:
    one = estimate(replace(QUERY, models=(ShesdSettings(),)), SEEN, Output())
    both, long = estimate(QUERY, SEEN, Output()), estimate(replace(QUERY, window_s=14 * DAY_S), SEEN, Output())
    signals = estimate(replace(QUERY, signals=("shift", "stale")), SEEN, Output())
    for name in ("memory_bytes", "exporter_cpu_s_per_hour", "start_exporter_cpu_s"):
        assert getattr(one, name) < getattr(both, name) < getattr(long, name)
        assert getattr(both, name) < getattr(signals, name)
    slow = replace(QUERY, models=(ShesdSettings(seasonal="stl"),))
    assert estimate(slow, SEEN, Output()).exporter_cpu_s_per_hour > 10 * both.exporter_cpu_s_per_hour


def test_the_figures_of_the_design_are_met() -> None:
    """100,000 series a minute: 0.7 to 1.3 CPU s of the server for the newest samples."""
    seen = Seen(100_000, 100_000, 500_000, 60.0, plain=True)
    assert 0.7 < estimate(QUERY, seen, Output()).source_cpu_s_per_hour / 60 < 1.6


SERIES = 500


@pytest.mark.parametrize(("signals", "targets"), [((), 0), (("shift", "stale"), 1)])
def test_the_memory_of_a_unit_is_what_was_said(signals: tuple[Any, ...], targets: int) -> None:
    query = replace(QUERY, window_s=2 * DAY_S, signals=signals)
    store, page, models = Store(), Page(), [model.name for model in query.models]
    times = np.arange(NOW - DAY_S, NOW + 1, 300) - 3
    for i in range(SERIES):
        own = {"cluster": "eu-west-1a", "namespace": f"shop-{i % 40}", "service": f"service-{i % 400}"}
        noise = np.random.default_rng(i).normal(size=len(times))
        store.put({"__name__": "m", **own, "pod": f"service-{i % 400}-{i * 2654435761:08x}-{i:07d}"}, times, noise)
    outlet = Outlet(WriteMetrics(CollectorRegistry()))
    writer = UnitWriter(outlet, "m", names.FAMILIES, models) if targets else None
    unit_page = UnitPage(page, "m", added_labels("m", "", vmanomaly=False), models, names.FAMILIES, writer)
    unit = Unit("", query, store, unit_page)
    assert unit.run_cycle(NOW).error == ""
    packed = [piece.packed() for piece in page.pieces(names.FAMILIES, False)]
    assert len(packed) > 10
    held = _held_bytes([unit, page, unit_page], {id(store), id(outlet), id(query)})
    assert held == pytest.approx(SERIES * row_bytes(query, Output(True, targets)), rel=0.2)


def _held_bytes(thing: Any, known: set[int]) -> int:
    """Memory of arrays, texts and containers within objects of the exporter, each once."""
    if id(thing) in known:
        return 0
    known.add(id(thing))
    if isinstance(thing, np.ndarray):
        return _held_bytes(thing.base, known) if isinstance(thing.base, np.ndarray) else thing.nbytes
    if isinstance(thing, dict):
        return sys.getsizeof(thing) + sum(_held_bytes(item, known) for pair in thing.items() for item in pair)
    if isinstance(thing, list | tuple | set):
        return sys.getsizeof(thing) + sum(_held_bytes(item, known) for item in thing)
    if isinstance(thing, bytes | bytearray | array | str | float):
        return sys.getsizeof(thing)
    if not type(thing).__module__.startswith("exporter."):
        return 0
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ()) if hasattr(thing, name)]
    own = [getattr(thing, name) for name in slots] + list(getattr(thing, "__dict__", {}).values())
    return sum(_held_bytes(item, known) for item in own)
