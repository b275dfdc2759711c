"""The same samples in a real VictoriaMetrics and a real Prometheus: one window comes of both, and what differs."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import requests
from support.servers import make_blocks, prometheus_in
from support.victoria import Samples, imported, openmetrics, seen, victoria_in

from exporter.config import Query
from exporter.errors import SourceRefused
from exporter.intake import Intake
from exporter.series import SeriesTable
from exporter.source.client import Client
from exporter.source.labels import parse_labels
from exporter.source.reader import Reader
from exporter.window import Window

DAY = 86_400
STEP = 300
NOW = int(time.time()) // STEP * STEP - 600
NOCACHE = {"nocache": "1"}
LATENCY_S = 30  # -search.latencyOffset: so old is what an expression says without nocache
Found = dict[tuple[str, int], float]


def every(spacing_s: float, start_s: float, end_s: float, digits: int) -> Samples:
    """A rhythm with noise, of so many digits."""
    rng = np.random.default_rng(int(spacing_s))
    times = np.arange(start_s, end_s + 0.001, spacing_s)
    values = 40 + 9 * np.sin(2 * np.pi * times / DAY) + rng.normal(0, 1, len(times))
    return [(float(t), f"{value:.{digits}g}") for t, value in zip(times, values, strict=True)]


MINUTELY = every(60, NOW - 3 * DAY, NOW, 9)
JITTER = random.Random(1)
SERIES: dict[str, Samples] = {
    'load{i="on the grid"}': MINUTELY,
    'load{i="beside it"}': every(60, NOW - 3 * DAY + 7.25, NOW, 9),
    'load{i="often"}': every(15, NOW - DAY, NOW, 9),
    'load{i="seldom"}': every(700, NOW - 3 * DAY, NOW, 9),
    'load{i="gappy"}': [one for one in MINUTELY if not 5 * 3600 < NOW - one[0] < 7 * 3600],
    'load{i="long digits"}': every(60, NOW - DAY, NOW, 17),
    # Begins anew at times, and is not sampled as regularly as it could be.
    'requests_total{i="c"}': [
        (round(t + JITTER.uniform(-5, 5), 3), str(n * 7 % 1000))
        for n, (t, _) in enumerate(every(15, NOW - DAY + 10, NOW, 3))
    ],
}
ODD = {"inf": "+Inf", "big": "1.7976931348623157e308", "denormal": "5e-324", "fine": "1.6531586898331234", "zero": "-0"}


@dataclass(frozen=True)
class Pair:
    """The two servers with the same samples."""

    victoria: str
    prometheus: str

    def clients(self, **params: str) -> tuple[Client, Client]:
        session = requests.Session()
        return Client(self.victoria, session, params=params or NOCACHE), Client(self.prometheus, session)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    make_blocks(folder, openmetrics(SERIES))
    with prometheus_in(folder, {}) as prometheus, victoria_in(folder / "victoria") as victoria:
        imported(victoria.url, SERIES)
        imported(victoria.url, {f'odd{{k="{k}"}}': [(NOW - 60, text)] for k, text in ODD.items()})
        imported(victoria.url, {'odd{k="nan"}': [(NOW - 60, "NaN")]})
        yield Pair(victoria.url, prometheus)


def values_of(reader: Reader, start_s: int, end_s: int) -> Found:
    """(series, time) -> value of a span."""
    found: Found = {}
    for answer in reader.range(start_s, end_s, None):
        assert answer.fast
        batch = answer.batch
        for row in range(batch.series):
            at = slice(batch.first[row], batch.first[row + 1])
            name = parse_labels(batch.label_bytes(row)).get("i", "")
            times, values = (batch.time_ms[at] // 1000).tolist(), batch.value[at].tolist()
            found |= {(name, time_s): value for time_s, value in zip(times, values, strict=True)}
    return found


def alike(one: Found, other: Found, relative: float) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert math.isclose(value, other[key], rel_tol=relative, abs_tol=1e-9), key


# --- the same ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [300, 60])
def test_a_window_is_the_same(pair: Pair, step_s: int) -> None:
    victoria, prometheus = (values_of(Reader(client, "load", step_s), NOW - 2 * DAY, NOW) for client in pair.clients())
    alike(victoria, prometheus, 1e-11)
    assert len(victoria) > 2 * DAY // step_s * 3
    assert ("gappy", NOW - 6 * 3600) not in victoria
    exact = {key: value for key, value in victoria.items() if key[0] != "long digits"}
    assert exact == {key: value for key, value in prometheus.items() if key[0] != "long digits"}


def newest(client: Client, expr: str, time_s: float, lookback_s: float) -> dict[str, list[tuple[int, float]]]:
    """Series -> (milliseconds, value) of its newest samples."""
    batch = Reader(client, expr, STEP).newest(time_s, lookback_s).batch
    samples = list(zip(batch.time_ms.tolist(), batch.value.tolist(), strict=True))
    names = [parse_labels(batch.label_bytes(row)).get("i", "") for row in range(batch.series)]
    return {name: samples[batch.first[row] : batch.first[row + 1]] for row, name in enumerate(names)}


def test_newest_samples_have_the_same_times_and_values(pair: Pair) -> None:
    mine, theirs = (newest(client, 'load{i!="long digits"}', NOW - 0.5, 1500) for client in pair.clients())
    assert mine == theirs
    assert [len(mine[i]) for i in ("often", "seldom")] == [100, 2]


def test_the_intake_makes_the_same_window_cycle_by_cycle(pair: Pair) -> None:
    rings = []
    for client in pair.clients():
        query = Query("q", 'load{i!="long digits"}', interval_s=60, step_s=STEP, window_s=DAY)
        window, table = Window(288, 14, STEP), SeriesTable()
        intake = Intake(query, Reader(client, query.expr, STEP), table, window)
        for cycle in range(-6, 1):
            intake.update(NOW + 60 * cycle)
        order = np.argsort([table.labels(row)["i"] for row in range(5)])
        rings.append(window.ring[order].astype(float) + window.offset[order, None])
    assert np.array_equal(*rings, equal_nan=True)
    assert np.isfinite(rings[0]).sum() > 1000


@pytest.mark.parametrize("expr", ["avg_over_time(load[10m])", "sum by (i) (quantile_over_time(0.9, load[30m]))"])
def test_averages_and_quantiles_agree(pair: Pair, expr: str) -> None:
    # Windows are half-open there and closed in Prometheus 2: only samples beside the edges tell the functions alone.
    on = expr.replace("load[", 'load{i="beside it"}[')
    victoria, prometheus = (values_of(Reader(client, on, STEP), NOW - DAY, NOW) for client in pair.clients())
    alike(victoria, prometheus, 1e-10)
    assert len(victoria) == 289


def test_series_are_counted_and_repeats_are_recognised(pair: Pair) -> None:
    for client in pair.clients():
        assert Reader(client, "load", STEP).count(NOW) == 6
        assert Reader(client, "scalar(sum(load))", STEP).count(NOW) == 1
        summed = Reader(client, "sum(load)", STEP)
        assert summed.repeats(NOW + 100, NOW)
        assert not summed.repeats(NOW + 100, NOW - 1)


def test_a_server_says_of_itself_what_check_needs(pair: Pair) -> None:
    client, _ = pair.clients()
    assert client.reachable()
    assert client.build_info() == {}
    assert client.config_text() == client.metadata("load") == ""
    assert client.metric_names() == ["load", "odd", "requests_total"]
    assert client.label_names("load") == ["__name__", "i"]


def test_remote_read_that_is_not_there_is_done_without(pair: Pair) -> None:
    client, _ = pair.clients()
    wanted = values_of(Reader(client, "load", STEP), NOW - DAY, NOW)
    reader = Reader(client, "load", STEP, remote_read=True)
    assert values_of(reader, NOW - DAY, NOW) == wanted
    assert values_of(reader, NOW - DAY, NOW) == wanted


# --- what differs -----------------------------------------------------------------------------------------------------


def test_it_keeps_the_name_and_rounds_to_about_twelve_digits(pair: Pair) -> None:
    ((labels, _), *_) = seen(pair.victoria, 'avg_over_time(load{i="often"}[10m])', NOW)
    assert labels == {"__name__": "load", "i": "often"}
    client, prometheus = pair.clients()
    rounded, exact = (
        np.array(newest(each, 'load{i="long digits"}', NOW - 0.5, 3600)["long digits"]) for each in (client, prometheus)
    )
    assert np.allclose(rounded, exact, rtol=1e-11, atol=0)
    assert not np.array_equal(rounded, exact)


def test_odd_values(pair: Pair) -> None:
    client, _ = pair.clients()
    batch = Reader(client, "odd", STEP).newest(NOW, 300).batch
    found = {parse_labels(batch.label_bytes(row))["k"]: value for row, value in enumerate(batch.value.tolist())}
    assert found.keys() == ODD.keys()  # and not NaN, which is not stored
    assert found["inf"] == math.inf
    assert found["big"] == pytest.approx(1.7e308, rel=0.06)
    assert (found["denormal"], str(found["zero"]), found["fine"]) == (0, "0.0", pytest.approx(ODD_FINE, rel=1e-11))


ODD_FINE = float(ODD["fine"])


def test_rate_is_another_function(pair: Pair) -> None:
    found = [
        values_of(Reader(client, "rate(requests_total[5m])", STEP), NOW - DAY // 2, NOW) for client in pair.clients()
    ]
    shared = found[0].keys() & found[1].keys()
    assert len(shared) > 100
    apart = [abs(found[0][key] - found[1][key]) / found[1][key] for key in shared]
    assert 1e-6 < np.median(apart) < 0.2


def test_an_expression_looks_back_by_about_one_distance_between_samples(pair: Pair) -> None:
    """Prometheus looks back by five minutes, however often a series is sampled."""
    gap_s = NOW - 7 * 3600
    ends = [
        max(t for _, t in values_of(Reader(client, 'load{i="gappy"} * 1', 60), gap_s - 600, gap_s + 1200))
        for client in pair.clients()
    ]
    assert gap_s <= ends[0] <= gap_s + 120
    assert ends[1] >= gap_s + 240
    rare = [len(values_of(Reader(client, 'load{i="seldom"} * 1', STEP), NOW - DAY, NOW)) for client in pair.clients()]
    assert rare[0] == 289
    assert rare[1] < 200


def test_grids_are_shifted_unless_the_start_is_on_the_step_or_nocache_is_given(pair: Pair) -> None:
    # From 50 points on. The exporter asks for starts on the step only, so it does not matter to it.
    for params, points, shift in (({"x": "1"}, 49, 17), ({"x": "1"}, 50, 0), (NOCACHE, 50, 17)):
        form: dict[str, Any] = {"query": "load", "start": NOW - DAY + 17, "end": NOW - DAY + 17 + 60 * (points - 1)}
        asked = {**form, "step": 60, **params}
        answer = requests.get(f"{pair.victoria}/api/v1/query_range", params=asked, timeout=30).json()
        times = [time_s for one in answer["data"]["result"] for time_s, _ in one["values"]]
        assert {time_s % 60 for time_s in times} == {(NOW - DAY + shift) % 60}


def test_without_nocache_an_expression_is_half_a_minute_behind_and_a_plain_selector_is_not(pair: Pair) -> None:
    now_s = int(time.time())
    imported(pair.victoria, {"clock": [(t, str(t)) for t in range(now_s - 120, now_s + 1)]})
    for params, behind_s in ((NOCACHE, 0), ({"x": "1"}, LATENCY_S)):
        client, _ = pair.clients(**params)
        summed = Reader(client, "sum(clock)", STEP).newest(now_s, 60).batch.value.tolist()
        assert [now_s - behind_s - 1 <= value <= now_s - behind_s + 20 for value in summed] == [True]
        assert behind_s == 0 or summed[0] < now_s
        assert Reader(client, "clock", STEP).newest(now_s, 60).batch.value[-1] == now_s


@pytest.mark.parametrize("expr", ["sum(", "nosuch(load)", "load * on () load"])
def test_what_is_wrong_with_an_expression_is_told_and_not_tried_again(pair: Pair, expr: str) -> None:
    seen_of: list[str] = []
    client = Client(pair.victoria, requests.Session(), observe=lambda outcome, body_bytes: seen_of.append(outcome))
    with pytest.raises(SourceRefused, match=r"HTTP 422: .*\. Check the expr of the query\.$"):
        Reader(client, expr, STEP).newest(NOW, 60)
    assert seen_of == ["bad_query"]


@pytest.mark.parametrize("prefix", ["/wrong", "/select/0/prometheus"])
def test_a_wrong_path_is_told(pair: Pair, prefix: str) -> None:
    with pytest.raises(SourceRefused, match=r"Check the path of source.url: VictoriaMetrics has its API at / or"):
        Client(pair.victoria + prefix, requests.Session()).query("1", NOW)
    assert Client(f"{pair.victoria}/prometheus", requests.Session()).reachable()
