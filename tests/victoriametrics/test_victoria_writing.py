"""Remote write to a real VictoriaMetrics: samples come back to twelve digits, 2.0 falls back, ends are ends."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import requests
from support.victoria import flush, seen, victoria_in
from support.writing import Stand

from exporter.publish.remote_write.labels import LabelBytes, name_field
from exporter.publish.remote_write.wire import STALE_BITS, Encoded, encode

NOW_S = int(time.time()) // 60 * 60 - 600
VALUES = [0.1, -1.5, 0.0, 1 / 3, 1e15, -1e-7, math.inf, -math.inf]
MESSAGES = ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with victoria_in(tmp_path_factory.mktemp("written")) as server:
        yield server.url


def encoded(name: str, times_ms: Sequence[int], bits: np.ndarray) -> Encoded:
    """One sample each of series 0 and on."""
    labels = LabelBytes()
    for row in range(len(bits)):
        labels.set_row(row, [("a", str(row)), ("z", 'q"\\\n☃')])
    return encode(name_field(name), *labels.arrays(), np.arange(len(bits)), bits, np.array(times_ms))


def sent(url: str, *parts: Encoded, message: str = MESSAGES[0]) -> Stand:
    """Write these, each in a request of its own."""
    stand = Stand(f"{url}/api/v1/write", message=message)
    for cycle, part in enumerate(parts):
        stand.put(part, cycle_ms=cycle)
        stand.drain()
    flush(url)
    return stand


def samples(url: str, name: str) -> dict[str, list[tuple[int, float]]]:
    """Label ``a`` -> (milliseconds, value)."""
    form = {"query": f"{name}[4h]", "time": NOW_S + 3600, "nocache": 1}
    answer = requests.get(f"{url}/api/v1/query", params=form, timeout=60).json()
    return {
        one["metric"]["a"]: [(round(time_s * 1000), float(text)) for time_s, text in one["values"]]
        for one in answer["data"]["result"]
    }


@pytest.mark.parametrize("message", MESSAGES)
def test_values_and_times_come_back(url: str, message: str) -> None:
    name = f"exact_{len(message)}"
    times_ms = [NOW_S * 1000 + 123 + i for i in range(len(VALUES))]
    stand = sent(url, encoded(name, times_ms, np.array(VALUES).view(np.uint64)), message=message)
    found = samples(url, name)
    for row, (value, time_ms) in enumerate(zip(VALUES, times_ms, strict=True)):
        assert found[str(row)] == [(time_ms, pytest.approx(value, rel=1e-11))]
    # 1.79 does not know 2.0 and does not say so, either: without the header that 2.0 promises it is sent again as 1.0.
    assert stand.count("fallbacks_total") == (0 if message == MESSAGES[0] else 1)
    assert stand.count("samples_total") == len(VALUES)
    assert {labels["z"] for labels, _ in seen(url, name, NOW_S + 60)} == {'q"\\\n☃'}


def test_a_stale_marker_ends_a_series(url: str) -> None:
    values = np.array([1.0, 2.0]).view(np.uint64)
    ends = np.array([STALE_BITS, np.float64(3.0).view(np.uint64)], np.uint64)
    sent(url, encoded("ended", [NOW_S * 1000] * 2, values), encoded("ended", [NOW_S * 1000 + 5000] * 2, ends))
    assert {labels["a"] for labels, _ in seen(url, "ended", NOW_S + 4)} == {"0", "1"}
    assert {labels["a"]: value for labels, value in seen(url, "ended", NOW_S + 6)} == {"1": 3.0}


def test_the_past_may_be_written_after_the_present(url: str) -> None:
    """No out-of-order window is needed: older samples and repeats are taken."""
    times_s = [NOW_S, NOW_S - 3600, NOW_S - 7200, NOW_S - 3600]
    parts = [encoded("past", [time_s * 1000], np.array([float(time_s)]).view(np.uint64)) for time_s in times_s]
    stand = sent(url, *parts)
    assert (stand.count("samples_total"), stand.count("samples_failed_total")) == (4, 0)
    assert sorted(set(samples(url, "past")["0"])) == [(time_s * 1000, float(time_s)) for time_s in sorted(set(times_s))]


def test_garbage_is_refused_and_dropped(url: str) -> None:
    answer = requests.post(f"{url}/api/v1/write", data=b"garbage", timeout=30)
    assert answer.status_code == 400
    assert "snappy: corrupt input" in answer.text
