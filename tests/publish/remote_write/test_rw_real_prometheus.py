"""Remote write to a real Prometheus: samples come back bit by bit, series end, bad samples cost little."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests
from prometheus_client import CollectorRegistry
from support.servers import prometheus_in, wait_until
from support.writing import Stand

from exporter import names
from exporter.config import QueueConfig, RemoteWrite
from exporter.names import EXPECTED, SCORE, VALUE
from exporter.publish.remote_write.labels import LabelBytes, name_field
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.remote_write.outlet import Outlet
from exporter.publish.remote_write.unit_writer import UnitWriter
from exporter.publish.remote_write.wire import Encoded, encode
from exporter.publish.unit_page import UnitPage, added_labels

NOW_S = int(time.time()) // 60 * 60 - 600
HARD = [0.1, -0.0, 5e-324, -1.7976931348623157e308, math.inf, -math.inf, 1 / 3, 123456789012345678.0]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with taking_prometheus(tmp_path_factory.mktemp("written")) as address:
        yield address


@contextmanager
def taking_prometheus(folder: Path) -> Iterator[str]:
    """A Prometheus that takes remote write and scrapes nothing; ended by its id."""
    with prometheus_in(folder, {}, "--web.enable-remote-write-receiver") as address:
        yield address


def raw(url: str, selector: str) -> dict[str, list[tuple[float, str]]]:
    """Label ``a`` (or ``i``) -> samples of the last hours, as Prometheus spells them."""
    params = {"query": f"{selector}[3h]", "time": str(NOW_S + 3600)}
    answer = requests.get(f"{url}/api/v1/query", params=params, timeout=30).json()
    assert answer["status"] == "success", answer
    return {
        series["metric"].get("a", series["metric"].get("i", "")): [(time_s, text) for time_s, text in series["values"]]
        for series in answer["data"]["result"]
    }


def at(url: str, selector: str, time_s: float) -> int:
    """How many series an instant query finds."""
    params = {"query": selector, "time": str(time_s)}
    return len(requests.get(f"{url}/api/v1/query", params=params, timeout=30).json()["data"]["result"])


def sent(url: str, message: str = "prometheus.WriteRequest") -> Stand:
    return Stand(f"{url}/api/v1/write", message=message)


def series(name: str, times_ms: list[int], values: list[float]) -> Encoded:
    labels = LabelBytes()
    for row in range(len(values)):
        labels.set_row(row, [("a", str(row)), ("A", "☃"), ("z", 'q"\\\n')])
    bits = np.array(values).view(np.uint64)
    return encode(name_field(name), *labels.arrays(), np.arange(len(values)), bits, np.array(times_ms))


@pytest.mark.parametrize("message", ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"])
def test_values_and_times_come_back_to_the_bit(url, message):
    name = "exact_" + re.sub(r"\W", "_", message)
    times_ms = [NOW_S * 1000 + 123 + i for i in range(len(HARD))]
    stand = sent(url, message)
    stand.put(series(name, times_ms, HARD))
    stand.drain()
    found = raw(url, f'{name}{{A="☃",z="q\\"\\\\\\n"}}')
    assert len(found) == len(HARD)
    for row, (value, time_ms) in enumerate(zip(HARD, times_ms, strict=True)):
        ((time_s, text),) = found[str(row)]
        assert round(time_s * 1000) == time_ms
        assert np.float64(text).tobytes() == np.float64(value).tobytes()
    # 2.42 does not know 2.0 and does not say so, either: it takes such a request for an empty one.
    assert stand.count("fallbacks_total") == (0 if message == "prometheus.WriteRequest" else 1)
    assert stand.count("samples_total") == len(HARD)


def test_one_sample_out_of_order_costs_itself_only(url):
    stand = sent(url)
    time_ms = NOW_S * 1000
    count = 500
    stand.put(series("strict", [time_ms] * count, [1.0] * count), cycle_ms=1)
    stand.put(series("strict", [time_ms + 1000] * count, [2.0] * count), cycle_ms=2)
    stand.put(
        series("strict", [time_ms if i == 123 else time_ms + 2000 for i in range(count)], [3.0] * count), cycle_ms=3
    )
    stand.drain()
    found = raw(url, "strict")
    assert {row for row, samples in found.items() if len(samples) == 3} == {str(i) for i in range(count) if i != 123}
    assert (stand.count("samples_failed_total"), stand.count("samples_total")) == (1, 3 * count - 1)


class Published:
    """A unit's page that writes to a Prometheus."""

    def __init__(self, url: str, name: str, series: int = 6) -> None:
        self.registry = CollectorRegistry()
        self.outlet = Outlet(WriteMetrics(self.registry))
        queue = QueueConfig(batch_send_deadline_s=0.0)
        self.outlet.adopt([RemoteWrite("t", f"{url}/api/v1/write", queue=queue)], lambda _: requests.Session())
        self.rows = np.arange(series)
        writer = UnitWriter(self.outlet, name, names.FAMILIES, ["shesd"])
        self.unit = UnitPage(None, name, added_labels(name, "", vmanomaly=False), ["shesd"], names.FAMILIES, writer)
        self.unit.admit([(row, {"a": str(row)}) for row in range(series)])

    def cycle(self, time_s: int, rows: np.ndarray) -> None:
        self.unit.begin(time_s)
        times_ms = np.full(len(rows), time_s * 1000 - 250)
        for family, value in ((SCORE, 0.1), (EXPECTED, 10.0), (VALUE, 12.0)):
            self.unit.render(family, "shesd", rows, value + rows, 9, times_ms)
        self.unit.show()

    def settle(self) -> None:
        wait_until(lambda: self.count("samples_pending") == 0, "all is sent")
        self.outlet.finish(10.0)
        assert self.outlet.wait() == 0
        assert self.count("samples_failed_total") == 0

    def count(self, name: str) -> float:
        return self.registry.get_sample_value(f"anomaly_exporter_remote_write_{name}", {"target": "t"})


def test_families_of_a_unit_and_the_ends_of_its_series(url):
    unit = Published(url, "ends")
    for minute in range(5):
        unit.cycle(NOW_S + 60 * minute, unit.rows if minute < 3 else unit.rows[:4])
    unit.unit.close()
    unit.settle()
    for family, value in (("anomaly_score", 0.1), ("anomaly_expected", 10.0), ("anomaly_value", 12.0)):
        found = raw(url, f'{family}{{query="ends",model="shesd"}}')
        assert [len(found[str(row)]) for row in range(6)] == [5, 5, 5, 5, 3, 3]
        for row, samples in found.items():
            assert {float(text) for _, text in samples} == {value + int(row)}
            assert [time_s for time_s, _ in samples] == [NOW_S + 60 * i - 0.25 for i in range(len(samples))]
        # Without a marker a series would be seen for five minutes more.
        assert at(url, f'{family}{{query="ends"}}', NOW_S + 179.9) == 6
        assert at(url, f'{family}{{query="ends"}}', NOW_S + 180) == 4
        assert at(url, f'{family}{{query="ends"}}', NOW_S + 239.9) == 4
        assert at(url, f'{family}{{query="ends"}}', NOW_S + 241) == 0


def test_a_minute_by_minute_life_has_no_refusal(url):
    unit = Published(url, "life", series=40)
    rng = np.random.default_rng(5)
    for minute in range(9):
        rows = np.flatnonzero(rng.random(40) < 0.8)
        unit.cycle(NOW_S + 60 * minute, rows)
        unit.cycle(NOW_S + 60 * minute, rows)  # nothing new: nothing is sent
    unit.unit.withdraw()
    unit.settle()
    assert len(raw(url, 'anomaly_score{query="life"}')) == 40


def test_two_days_of_the_past_fill_an_empty_prometheus_before_the_present(tmp_path):
    with taking_prometheus(tmp_path) as empty:
        unit = Published(empty, "past", series=3)
        times_ms = (NOW_S - np.arange(2 * 288, 0, -1) * 300) * 1000
        values = np.arange(3 * 576.0).reshape(3, 576)
        values[1, 100:200] = np.nan
        kinds = {(SCORE, "shesd"): values, (EXPECTED, "shesd"): values / 3}
        assert unit.unit.backfill(unit.rows, times_ms, kinds, threading.Event()) == 576
        unit.cycle(NOW_S, unit.rows)
        unit.settle()
        params = {"query": "anomaly_expected[3d]", "time": str(NOW_S)}
        answer = requests.get(f"{empty}/api/v1/query", params=params, timeout=30).json()
        found = {series["metric"]["a"]: series["values"] for series in answer["data"]["result"]}
        assert {row: len(samples) for row, samples in found.items()} == {"0": 577, "1": 477, "2": 577}
        assert [float(text) for _, text in found["2"][:-1]] == (values[2] / 3).tolist()
