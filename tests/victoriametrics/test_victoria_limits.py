"""What a real VictoriaMetrics refuses, by the flags that make it do so: the right error, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from support.victoria import Samples, Server, imported, victoria_in

from exporter.errors import SourceError, SourceRefused, SourceTooMuch, SourceUnavailable
from exporter.source.client import Client
from exporter.source.reader import Reader

STEP = 300
NOW = int(time.time()) // STEP * STEP - 600
START = NOW - 86_400
SERIES = 120

LESS = "Lower source.max_points, narrow the expr, or raise the limit of the server."
SPLIT = "Narrow the expr or split it into several queries, or raise the limit of the server."
SLOW = "Raise source.timeout and the server's own limit, or narrow the expr."
SHORTER = "Shorten the expr, or raise the limit of the server (-search.maxQueryLen)."
BUSY = "Lower source.max_in_flight, raise the interval, or raise the limit of the server."
PATH = "or, with tenants, /select/{tenant}/prometheus."
WHO = "Check the credentials of source and, with tenants, the tenant id."


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of many series, for one server after the other."""
    folder = tmp_path_factory.mktemp("limits")
    times = range(START - STEP, NOW + 1, STEP)
    series: dict[str, Samples] = {f'load{{i="{i}"}}': [(t, str(t % 997)) for t in times] for i in range(SERIES)}
    series['often{i="0"}'] = [(t, str(t % 97)) for t in range(START, NOW, 4)]
    with victoria_in(folder) as server:
        imported(server.url, series)
    return folder


@contextmanager
def limited(data: Path, *flags: str) -> Iterator[Server]:
    with victoria_in(data, *flags) as server:
        yield server


def client_of(url: str, seen: list[str] | None = None) -> Client:
    outcomes = [] if seen is None else seen
    return Client(url, requests.Session(), retries=0, observe=lambda outcome, body_bytes: outcomes.append(outcome))


def whole(client: Client, expr: str = "load", step_s: int = STEP) -> int:
    """Read a day of it; returns the number of values."""
    return sum(len(answer.batch.value) for answer in Reader(client, expr, step_s, max_in_flight=1).range(START, NOW, 1))


TOO_MUCH: dict[str, tuple[str, str]] = {
    "-search.maxUniqueTimeseries=100": ("number of matching timeseries exceeds 100", SPLIT),
    "-search.maxPointsPerTimeseries=100": ("cannot exceed -search.maxPointsPerTimeseries=100", LESS),
    "-search.maxSamplesPerQuery=1000": ("cannot select more than -search.maxSamplesPerQuery=1000 samples", LESS),
    "-search.maxSamplesPerSeries=50": ("cannot process more than 50 samples per series", LESS),
    "-memory.allowedBytes=1MB": ("not enough memory for processing", LESS),
}


@pytest.mark.parametrize("flag", TOO_MUCH)
def test_a_limit_is_met_by_asking_for_less_and_told(data: Path, flag: str) -> None:
    words, advice = TOO_MUCH[flag]
    with limited(data, flag) as server:
        seen: list[str] = []
        with pytest.raises(SourceTooMuch) as caught:
            whole(client_of(server.url, seen))
    assert words in str(caught.value)
    assert str(caught.value).endswith(advice)
    assert caught.value.status == 422
    assert seen == ["too_much", "too_much"]


def test_with_fewer_points_allowed_the_next_reads_are_small_enough(data: Path) -> None:
    with limited(data, "-search.maxPointsPerTimeseries=100") as server:
        reader = Reader(client_of(server.url), "load", STEP, max_in_flight=1)
        with pytest.raises(SourceTooMuch):
            list(reader.range(START, NOW, SERIES))
        answers = list(reader.range(START, NOW, SERIES))
        assert sum(len(answer.batch.value) for answer in answers) == SERIES * 289


SLOW_QUERY = " + ".join(f"quantile_over_time({phi / 10}, often[4h])" for phi in range(1, 9))


def test_a_query_that_takes_too_long_is_cut_off_and_told(data: Path) -> None:
    with limited(data, "-search.maxQueryDuration=1s") as server, pytest.raises(SourceTooMuch) as caught:
        whole(client_of(server.url), SLOW_QUERY, 15)
    assert "timeout exceeded " in str(caught.value)
    assert str(caught.value).endswith(SLOW)


READ: dict[str, Callable[[Client], object]] = {
    "at once": lambda client: Reader(client, LONG, STEP).newest(NOW, STEP),
    "over a span": lambda client: whole(client, LONG),
}
LONG = 'load{i=~"' + "range exceeds the maximum of samples|" * 500 + '"}'


@pytest.mark.parametrize("read", READ.values(), ids=READ)
def test_an_expression_that_is_too_long_is_told_at_once(data: Path, read: Callable[[Client], object]) -> None:
    seen: list[str] = []
    with limited(data) as server, pytest.raises(SourceRefused) as caught:
        read(client_of(server.url, seen))
    assert "too long query; got 18" in str(caught.value)
    assert str(caught.value).endswith(SHORTER)
    assert type(caught.value) is SourceRefused
    assert seen == ["bad_query"]


def test_a_server_without_room_is_asked_again_later(data: Path) -> None:
    """One query under way, the others wait for a millisecond: some are refused with 503, which passes."""
    with limited(data, "-search.maxConcurrentRequests=1", "-search.maxQueueDuration=1ms") as server:
        slow = "sum(quantile_over_time(0.5, often[6h:4s]))"
        error = caught_beside(server.url, slow)
        assert error.status == 503
        assert "cannot handle more than 1 concurrent search requests" in str(error)
        assert str(error).endswith(BUSY)
        patient = Client(server.url, requests.Session(), retries=6)
        assert whole(patient) == SERIES * 289


def caught_beside(url: str, slow: str) -> SourceError:
    """What a query meets while slow ones run."""
    reader = Reader(client_of(url), slow, 60, max_points=1, max_in_flight=4)
    for _ in range(20):
        try:
            list(reader.range(START, NOW, 1))
        except SourceUnavailable as error:
            return error
    pytest.fail("none was refused")


@pytest.mark.parametrize("credentials", [None, ("watcher", "wrong"), ("watcher", "secret")])
def test_credentials(data: Path, credentials: tuple[str, str] | None) -> None:
    session = requests.Session()
    session.auth = credentials
    with limited(data, "-httpAuth.username=watcher", "-httpAuth.password=secret") as server:
        client = Client(server.url, session, retries=0)
        if credentials == ("watcher", "secret"):
            assert whole(client) == SERIES * 289
            return
        with pytest.raises(SourceRefused, match="HTTP 401, without a text") as caught:
            whole(client)
    assert str(caught.value).endswith(WHO)
    assert "wrong" not in str(caught.value)


def test_a_prefix_of_the_server_belongs_into_the_url(data: Path) -> None:
    with victoria_in(data, prefix="/vm") as server:
        assert whole(client_of(server.url)) == SERIES * 289
        with pytest.raises(SourceRefused, match=r"missing -http\.pathPrefix") as caught:
            whole(client_of(server.url.removesuffix("/vm")))
    assert str(caught.value).endswith(PATH)
