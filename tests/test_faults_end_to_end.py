"""Each way in which a metrics server can fail, seen from outside: one query meets it, the operator reads what it is,
and every other query goes on as if nothing were."""

# ruff: noqa: E501  # a case of the table reads best on one line
from __future__ import annotations

import gzip
import html
import logging
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from support.loopback import Request, Respond, ServerAt, drip, http, stay_silent
from support.market import PODS, Answer, Manner, Market, Series, pretty, value
from support.process import config_text, parsed
from support.servers import free_port, wait_until

from exporter.app import App
from exporter.source.faults import REASONS
from exporter.unit import Receipt

FAMILIES = ("anomaly_score", "anomaly_expected", "anomaly_lower", "anomaly_upper", "anomaly_value")
EVERYTHING = {(pod, model) for pod in PODS for model in ("robust_band", "shesd")}
VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
CAP_BYTES = 1 << 20
LIMITS = f"  timeout: 2s\n  max_body_bytes: {CAP_BYTES}\n"
START = "global: {interval: 2s, step: 5m, window: 2d}\n"
LESS = "Lower source.max_points, narrow the expr, or raise the limit of the server."
TOO_LARGE = "API: the answer is larger than source.max_body_bytes (1,048,576). Narrow the expr or raise it."
SLOWER = "Lower source.max_in_flight, raise the interval, or raise the limit of the server."


def always(answer: bytes) -> Respond:
    return lambda request, connection: connection.sendall(answer)


def error(kind: str, text: str) -> str:
    return f'{{"status":"error","errorType":"{kind}","error":"{text}"}}'


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def reset_at_once(request: Request, connection: socket.socket) -> None:
    reset(connection)


def reset_in_the_body(request: Request, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + VECTOR[:40])
    reset(connection)


def hang_up(request: Request, connection: socket.socket) -> None:
    pass


def pour(request: Request, connection: socket.socket) -> None:
    """More than the cap, without a word about how much."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2 * CAP_BYTES))


@dataclass(frozen=True)
class Fault:
    """``text``: the whole of what the operator reads (API stands for the URL); ``reason``: the label of the counter."""

    respond: Respond
    reason: str
    text: str


FAULTS = {
    "reset_at_once": Fault(reset_at_once, "connection", "API: the connection broke: Connection reset by peer"),
    "reset_in_the_body": Fault(reset_in_the_body, "connection", "API: the connection broke: Connection reset by peer"),
    "hang_up": Fault(hang_up, "connection", "API: the connection broke: Remote end closed connection without response"),
    "short_body": Fault(always(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + VECTOR), "connection",
        f"API: the connection broke: IncompleteRead({len(VECTOR)} bytes read, {5000 - len(VECTOR)} more expected)"),
    "not_http": Fault(always(b"SSH-2.0-OpenSSH_9.2\r\n"), "connection", "API: the connection broke: SSH-2.0-OpenSSH_9.2"),
    "slow_drip": Fault(drip, "timeout", "API: the answer came too slowly. Raise source.timeout or narrow the expr."),
    "silence": Fault(stay_silent, "timeout", "API: no answer in time. Raise source.timeout or narrow the expr."),
    "http_401": Fault(always(http(401, "Unauthorized\n")), "unauthorized",
        "API: HTTP 401: Unauthorized. Check the credentials of source and, with tenants, the tenant id."),
    "http_403": Fault(always(http(403, error("forbidden", "not yours"))), "forbidden",
        "API: HTTP 403: not yours. The server does not let these credentials read this."),
    "http_404": Fault(always(http(404, "404 page not found\n")), "not_found",
        "API: HTTP 404: 404 page not found. Is the API under a prefix such as /prometheus? It belongs into source.url."
        " The prefix of Cortex and Mimir is /prometheus."),
    "http_400": Fault(always(http(400, error("bad_data", "1:5: parse error: unexpected end of input"))), "bad_query",
        "API: HTTP 400: 1:5: parse error: unexpected end of input. Check the expr of the query."),
    "http_422": Fault(always(http(422, error("execution", "many-to-many matching not allowed"))), "bad_query",
        "API: HTTP 422: many-to-many matching not allowed. Check the expr of the query."),
    "http_422_limit": Fault(always(http(422, error("execution", "query processing would load too many samples into memory in query execution"))), "too_much",
        f"API: HTTP 422: query processing would load too many samples into memory in query execution. {LESS}"),
    "http_413": Fault(always(http(413, "<html><title>413</title><h1>413 Request Entity Too Large</h1></html>")), "too_much",
        f"API: HTTP 413: 413 413 Request Entity Too Large. {LESS}"),
    "http_429": Fault(always(http(429, "too many outstanding requests")), "rate_limited",
        f"API: HTTP 429: too many outstanding requests. {SLOWER}"),
    "http_429_later": Fault(always(http(429, "later", Retry_After="3600")), "rate_limited", f"API: HTTP 429: later. {SLOWER}"),
    "http_500": Fault(always(http(500, error("server_error", "queue is stopped"))), "server_error", "API: HTTP 500: queue is stopped"),
    "http_503_html": Fault(always(http(503, "<html><head><title>x</title></head><body><h1>503 Service\n Unavailable</h1>nginx &amp; co</body></html>")),
        "server_error", "API: HTTP 503: 503 Service Unavailable nginx & co"),
    "http_302": Fault(always(http(302, Location="http://127.0.0.1:9/login")), "refused_connection",
        "API: connection refused. Is the server running, and is the port right?"),
    "empty_body": Fault(always(http(200)), "garbled", "API answered 200 with an empty body"),
    "truncated_json": Fault(always(http(200, VECTOR[:-3])), "garbled",
        f"API answered 60 bytes that are not JSON (Expecting value: line 1 column 61 (char 60)); they start with: {VECTOR[:-3].decode()}"),
    "login_page": Fault(always(http(200, "<html>Please log in</html>")), "garbled",
        "API answered 26 bytes that are not JSON (Expecting value: line 1 column 1 (char 0)); they start with: <html>Please log in</html>"),
    "binary": Fault(always(http(200, b"\x00\xff\x1b[31m")), "garbled", ""),
    "string_result": Fault(always(http(200, b'{"status":"success","data":{"resultType":"string","result":[1,"x"]}}')), "garbled",
        "API answered a result of type string; series of numbers are needed"),
    "success_in_name_only": Fault(always(http(200, error("execution", "broken"))), "garbled", "API answered 200 but not success: broken"),
    "one_gigabyte": Fault(always(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + VECTOR), "too_much", TOO_LARGE),
    "no_end": Fault(pour, "too_much", TOO_LARGE),
    "gzip_bomb": Fault(always(http(200, gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")), "too_much", TOO_LARGE),
    "gzip_that_is_none": Fault(always(http(200, VECTOR, Content_Encoding="gzip")), "garbled",
        "API answered gzip that can't be unpacked (Error -3 while decompressing data: incorrect header check)"),
}  # fmt: skip


# --- answers that are odd, but answers --------------------------------------------------------------------------------


def newest_of_pod_b(text: str) -> Callable[[list[Series], bool], Answer]:
    """The newest samples of pod b, and only these, have another value."""

    def change(series: list[Series], newest: bool) -> Answer:
        if newest:
            series[1]["values"] = [[t, text] for t, _ in series[1]["values"]]
        return series, {}

    return change


def twice(series: list[Series], newest: bool) -> Answer:
    return [*series, series[0]], {}


def unsorted(series: list[Series], newest: bool) -> Answer:
    for one in series:
        one["values"].reverse()
    return series, {}


def with_histograms(series: list[Series], newest: bool) -> Answer:
    histogram = {"count": "1", "sum": "2", "buckets": [[0, "1", "2", "1"]]}
    return [{"metric": {"pod": "h"}, "histograms": [[1, histogram]]}, *series], {}


def partial(series: list[Series], newest: bool) -> Answer:
    return series, {
        "isPartial": True,
        "warnings": ["store gateway zone-b is down"],
        "infos": ["metric might not be a counter"],
    }


def from_tomorrow(series: list[Series], newest: bool) -> Answer:
    if newest:
        series[1]["values"].append([series[1]["values"][-1][0] + 86_400, "1e6"])
    return series, {}


def two_names(series: list[Series], newest: bool) -> Answer:
    return [*series, {**series[0], "metric": {"__name__": "other", "pod": "a"}}], {}


def nothing(series: list[Series], newest: bool) -> Answer:
    return [], {}


def packed(body: bytes) -> bytes:
    return http(200, gzip.compress(body), Content_Encoding="gzip")


def chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@dataclass(frozen=True)
class Odd:
    """``kinds``: labels of the counter of remarks; ``log``: what is logged, once; ``pods``: those that are judged."""

    manner: Manner
    kinds: tuple[str, ...] = ()
    log: str = ""
    pods: tuple[str, ...] = PODS


ODD = {
    "odd_nan": Odd(Manner(newest_of_pod_b("NaN")), ("not_finite",), pods=("a", "c")),
    "odd_infinite": Odd(Manner(newest_of_pod_b("+Inf")), ("not_finite",), pods=("a", "c")),
    "odd_overflow": Odd(Manner(newest_of_pod_b("1e999")), ("not_finite",), pods=("a", "c")),
    "odd_huge": Odd(Manner(newest_of_pod_b("1e308"))),
    "odd_zero": Odd(Manner(newest_of_pod_b("0"))),
    "odd_duplicate": Odd(Manner(twice), ("duplicate",)),
    "odd_unsorted": Odd(Manner(unsorted)),
    "odd_histograms": Odd(Manner(with_histograms), ("histogram",)),
    "odd_partial": Odd(
        Manner(partial), ("partial", "warning", "info"), "the server remarks: store gateway zone-b is down"
    ),
    "odd_future": Odd(Manner(from_tomorrow), ("future",)),
    "odd_names": Odd(Manner(two_names), ("collision",), 'series other{"pod":"a"} is not watched'),
    "odd_nothing": Odd(Manner(nothing), pods=()),
    "odd_spelling": Odd(Manner(spell=pretty)),
    "odd_packed": Odd(Manner(send=packed)),
    "odd_chunks": Odd(Manner(send=chunked)),
}
HEALTHY = ("healthy", "healthy_too")
ALL = (*HEALTHY, *FAULTS, *ODD)


@dataclass
class Sight:
    """What is to be seen at one moment of a running exporter."""

    receipts: dict[str, Receipt]
    landing: str
    page: dict[str, list[tuple[dict[str, str], float]]]

    def published(self, query: str, family: str = "anomaly_score") -> set[tuple[str, str]]:
        """(pod, model) of a query's results."""
        return {(labels["pod"], labels["model"]) for labels, _ in self.page.get(family, []) if labels["query"] == query}

    def number(self, name: str, **labels: str) -> float:
        """The value of the one sample with these labels."""
        ((_, found),) = [pair for pair in self.page[f"anomaly_exporter_{name}"] if labels.items() <= pair[0].items()]
        return found


def look(app: App) -> Sight:
    url = f"http://127.0.0.1:{app.port}"
    receipts = {name: unit.last for name, unit in app.units.items() if unit.last}
    landing = html.unescape(requests.get(url + "/", timeout=10).text)
    return Sight(receipts, landing, parsed(requests.get(url + "/metrics", timeout=10).text))


class Records(logging.Handler):
    """Keeps what the program logs."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    def of(self, query: str, level: int = logging.INFO) -> list[str]:
        """The messages about a query, from a level on."""
        about = [record for record in self.kept if getattr(record, "query", "") == query]
        return [record.getMessage() for record in about if record.levelno >= level]


@dataclass
class Story:
    """One exporter through a bad time, a good one, and the bad one again; ``url`` is that of the server."""

    url: str
    records: Records
    bad: Sight
    good: Sight
    bad_again: Sight
    newest_s: dict[str, float] = field(default_factory=dict)

    def plain(self, text: str) -> str:
        """A message with API in place of the URL."""
        return re.sub(re.escape(self.url) + r"/api/v1/query(_range)?", "API", text)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """All queries in one exporter at once: nothing could be less quiet for the healthy ones."""
    market = Market(
        ALL, {name: fault.respond for name, fault in FAULTS.items()}, {name: odd.manner for name, odd in ODD.items()}
    )
    server, records = market.serve(), Records()
    logging.getLogger("exporter").addHandler(records)
    logging.getLogger("exporter").setLevel(logging.INFO)
    config = tmp_path_factory.mktemp("faults") / "config.yml"
    config.write_text(config_text(server.url, {name: f"expr: {name}" for name in ALL}, more=LIMITS, start=START))
    app = App(str(config))
    app.start("127.0.0.1:0", lifecycle=False)
    try:
        yield live_through(app, market, server, records)
    finally:
        app.stop()
        server.close()
        logging.getLogger("exporter").removeHandler(records)


def live_through(app: App, market: Market, server: ServerAt, records: Records) -> Story:
    wait_until(lambda: all(unit.last for unit in app.units.values()), "every query has met its fault", 240)
    wait_for_healthy(app, 2)
    bad = look(app)
    market.raging = False
    wait_until(lambda: all(unit.last and not unit.last.error for unit in app.units.values()), "all recover", 120)
    good = look(app)
    market.raging = True
    wait_until(lambda: all(app.units[name].last.error for name in FAULTS), "all meet their fault again", 120)
    wait_for_healthy(app, 2)
    return Story(server.url, records, bad, good, look(app))


def wait_for_healthy(app: App, cycles: int) -> None:
    """Wait until the healthy queries have been judged so many times more."""
    for name in HEALTHY:
        unit = app.units[name]
        start_s = unit.last_good.time_s if unit.last_good else 0
        wait_until(lambda u=unit, s=start_s: u.last_good and u.last_good.time_s >= s + 2 * cycles, f"{name} goes on")


# --- what the operator sees -------------------------------------------------------------------------------------------


def test_the_table_covers_what_it_should() -> None:
    assert len(FAULTS) + len(ODD) >= 40
    assert {fault.reason for fault in FAULTS.values()} <= set(REASONS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_from_the_start_is_told_on_every_channel(story: Story, name: str) -> None:
    fault, receipt = FAULTS[name], story.bad.receipts[name]
    if fault.text:
        assert story.plain(receipt.error) == fault.text
    assert receipt.reason == fault.reason
    assert receipt.error in story.bad.landing
    assert receipt.error in story.records.of(name)
    assert story.bad.number("source_errors_total", query=name, reason=fault.reason) >= 1
    assert story.bad.number("cycles_total", query=name, outcome="failed") >= 1
    assert story.bad.number("cycles_total", query=name, outcome="ok") == 0
    assert story.bad.published(name) == set()
    assert receipt.error.isprintable()
    assert len(receipt.error) < 1000


@pytest.mark.parametrize("name", FAULTS)
def test_a_query_recovers_by_itself(story: Story, name: str) -> None:
    assert story.good.receipts[name].error == ""
    for family in FAMILIES:
        assert story.good.published(name, family) == EVERYTHING
    assert "recovered" in story.records.of(name)
    assert story.good.number("series", query=name, state="ok") == len(PODS)
    assert story.bad.receipts[name].error not in story.good.landing


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_later_on_is_told_and_the_last_verdicts_stay_for_a_while(story: Story, name: str) -> None:
    receipt = story.bad_again.receipts[name]
    assert receipt.reason == FAULTS[name].reason
    assert receipt.error in story.bad_again.landing
    assert story.bad_again.published(name) == EVERYTHING
    assert story.bad_again.number("source_errors_total", query=name, reason=receipt.reason) > story.bad.number(
        "source_errors_total", query=name, reason=receipt.reason
    )


def test_the_same_error_is_logged_once_not_every_cycle(story: Story) -> None:
    for name, fault in FAULTS.items():
        told = [story.plain(text) for text in story.records.of(name, logging.ERROR)]
        assert 2 <= len(told) <= 4, (name, fault, told)  # twice; which request meets it first may change its words


@pytest.mark.parametrize("moment", ["bad", "good", "bad_again"])
@pytest.mark.parametrize("name", HEALTHY)
def test_the_healthy_queries_go_on(story: Story, name: str, moment: str) -> None:
    sight: Sight = getattr(story, moment)
    for family in FAMILIES:
        assert sight.published(name, family) == EVERYTHING
    assert sight.receipts[name].error == ""
    assert sight.number("cycles_total", query=name, outcome="failed") == 0
    assert sight.number("cycles_total", query=name, outcome="ok") >= 2
    assert sight.number("series", query=name, state="ok") == len(PODS)
    assert story.records.of(name, logging.ERROR) == []


def test_the_source_counts_as_up_while_one_query_can_be_read(story: Story) -> None:
    assert story.bad.number("source_up", tenant="") == 1
    assert story.bad.number("source_requests_total", tenant="", outcome="ok") > 0
    assert story.bad.number("source_requests_total", tenant="", outcome="garbled") > 0


# --- odd answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_counted_and_what_is_good_in_it_is_judged(story: Story, name: str) -> None:
    odd = ODD[name]
    for sight in (story.bad, story.good, story.bad_again):
        assert sight.receipts[name].error == ""
        for family in FAMILIES:
            assert sight.published(name, family) == {pair for pair in EVERYTHING if pair[0] in odd.pods}
        for kind in odd.kinds:
            assert sight.number("source_warnings_total", query=name, kind=kind) >= 1
    found = {
        labels["kind"]
        for labels, count in story.good.page["anomaly_exporter_source_warnings_total"]
        if labels["query"] == name and count
    }
    assert found == set(odd.kinds)
    assert sum(bool(odd.log) and odd.log in text for text in story.records.of(name)) == bool(odd.log)


@pytest.mark.parametrize(
    "name", [*HEALTHY, "odd_unsorted", "odd_duplicate", "odd_future", "odd_spelling", "odd_packed"]
)
def test_the_published_value_is_the_newest_sample(story: Story, name: str) -> None:
    newest_s = story.good.number("verdict_timestamp_seconds", query=name)
    values = {labels["pod"]: found for labels, found in story.good.page["anomaly_value"] if labels["query"] == name}
    for pod in PODS:  # the page and the time are taken one after the other: a cycle may lie between
        assert values[pod] in {value(name, pod, newest_s + late_s) for late_s in (-5, 0, 5)}


@pytest.mark.parametrize(("name", "lowest"), [("odd_huge", 100), ("odd_zero", 1)])
def test_a_value_far_out_scores_and_its_neighbours_do_not(story: Story, name: str, lowest: float) -> None:
    scores = [(labels, score) for labels, score in story.good.page["anomaly_score"] if labels["query"] == name]
    assert all(score >= lowest for labels, score in scores if labels["pod"] == "b")
    assert all(score < 2 for labels, score in scores if labels["pod"] != "b")


def test_an_unusual_spelling_is_read_by_the_json_parser(story: Story) -> None:
    assert story.good.number("source_fallback_scans_total", query="odd_spelling") > 0
    assert story.good.number("source_fallback_scans_total", query="odd_packed") == 0


def test_an_answer_without_series_is_no_error(story: Story) -> None:
    assert story.good.number("source_series", query="odd_nothing") == 0
    assert story.good.number("cycles_total", query="odd_nothing", outcome="failed") == 0


# --- the whole server -------------------------------------------------------------------------------------------------


def test_a_server_that_is_refused_for_a_while(tmp_path: Path) -> None:
    """Started before its server: waits, says so, and begins when the server does."""
    market, port = Market(HEALTHY), free_port()
    config = tmp_path / "config.yml"
    config.write_text(config_text(f"http://127.0.0.1:{port}", {name: f"expr: {name}" for name in HEALTHY}, more=LIMITS))
    app = App(str(config))
    app.start("127.0.0.1:0", lifecycle=False)
    try:
        wait_until(lambda: all(unit.last for unit in app.units.values()), "refused")
        ready, words = app.ready()
        assert not ready
        assert words == (
            f"no query could be read yet: http://127.0.0.1:{port}/api/v1/query: connection refused. "
            "Is the server running, and is the port right?"
        )
        assert look(app).number("source_up", tenant="") == 0
        server = market.serve(port)
        try:
            wait_until(lambda: app.ready()[0], "ready when the server is")
            wait_until(lambda: all(unit.last_good for unit in app.units.values()), "both")
            sight = look(app)
            assert sight.published("healthy") == sight.published("healthy_too") == EVERYTHING
            assert sight.number("source_up", tenant="") == 1
        finally:
            server.close()
    finally:
        app.stop()


def test_many_queries_that_hang_do_not_hold_up_a_healthy_one(tmp_path: Path) -> None:
    over = threading.Event()
    hanging = tuple(f"hanging_{i}" for i in range(12))
    market = Market((*HEALTHY, *hanging), dict.fromkeys(hanging, lambda request, connection: over.wait(60)))
    server = market.serve()
    config = tmp_path / "config.yml"
    patient = "  timeout: 30s\n  max_in_flight: 16\n"
    config.write_text(config_text(server.url, {name: f"expr: {name}" for name in HEALTHY}, more=patient))
    app = App(str(config))
    app.start("127.0.0.1:0", lifecycle=False)
    try:
        wait_until(lambda: app.ready()[0], "the healthy ones alone")
        config.write_text(config_text(server.url, {name: f"expr: {name}" for name in market.names}, more=patient))
        app.reload()
        wait_for_healthy(app, 3)
        assert all(app.units[name].last is None for name in hanging)  # they still wait for their first answer
    finally:
        over.set()
        app.stop()
        server.close()
