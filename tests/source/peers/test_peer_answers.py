"""What servers answer to the same question is the same to us, and what they say about it is counted and shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer_answers import AT, NUMBERS, ONE_BY_ZERO, OWN_LAYOUT, PARTIAL, PROMETHEUS_3, SAME, THANOS, success, vector
from support.loopback import LoopbackServer, http

from exporter.config import Query
from exporter.intake import Intake, Intaken
from exporter.names import FAMILIES
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.series import SeriesTable
from exporter.source.client import Client
from exporter.source.jsonscan import scan_json
from exporter.source.reader import Reader
from exporter.source.scan import scan_answer
from exporter.unit import PARTIAL as PARTIAL_NOTE
from exporter.unit import Unit
from exporter.window import Window

Serve = Callable[..., LoopbackServer]
ClientOf = Callable[..., Client]
STEP_S = 300
QUERY = Query("q", "avg_over_time(g[30m])", interval_s=60, step_s=STEP_S, window_s=2 * 86_400)
MATRIX = success("matrix", [])


def serving(instant: str, span: str = MATRIX) -> Callable[..., None]:
    """Instant queries get one body, range queries another."""
    return lambda request, connection: connection.sendall(http(200, span if "start" in request.form else instant))


def taken_in(client: Client, query: Query = QUERY) -> tuple[Intaken, SeriesTable, Window]:
    table, window = SeriesTable(), Window(576, 14, STEP_S)
    intake = Intake(query, Reader(client, query.expr, STEP_S), table, window)
    return intake.update(AT), table, window


@pytest.mark.parametrize("server", SAME)
def test_one_series_is_the_same_row_with_the_same_sample(server: str, serve: Serve, client_of: ClientOf) -> None:
    taken, table, window = taken_in(client_of(serve(serving(SAME[server])).url))
    assert [table.labels(row) for row in range(table.rows)] == [{"job": "a"}]  # without __name__, who ever keeps it
    assert (window.last_ms.tolist(), window.last_value.tolist()) == ([AT * 1000], [1.5])
    assert (taken.series, taken.remarks["duplicate"], taken.remarks["collision"]) == (1, 0, 0)


@pytest.mark.parametrize("server", SAME)
def test_the_fast_scanner_reads_what_servers_write_and_the_json_parser_the_rest(server: str) -> None:
    body = SAME[server].encode()
    answer, slow = scan_answer(body), scan_json(body)
    assert answer.fast == (server not in OWN_LAYOUT)
    assert answer.batch.value.tolist() == slow.batch.value.tolist() == [1.5]
    assert answer.batch.time_ms.tolist() == slow.batch.time_ms.tolist() == [AT * 1000]
    assert (answer.warnings, answer.infos, answer.partial) == (slow.warnings, slow.infos, slow.partial)


@pytest.mark.parametrize("server", OWN_LAYOUT)
def test_a_layout_of_its_own_is_counted(server: str, serve: Serve, client_of: ClientOf) -> None:
    taken, _, _ = taken_in(client_of(serve(serving(SAME[server])).url))
    assert taken.slow_scans == 1


@pytest.mark.parametrize(("server", "text", "value"), NUMBERS)
def test_numbers_in_any_spelling(server: str, text: str, value: float) -> None:
    for body in (success("vector", vector({}, text)), success("matrix", [{"metric": {}, "values": [[AT, text]]}])):
        for answer in (scan_answer(body.encode()), scan_json(body.encode())):
            (found,) = answer.batch.value.tolist()
            assert found == value or (math.isnan(found) and math.isnan(value))
            assert math.copysign(1, found) == math.copysign(1, value)


@pytest.mark.parametrize("server", ONE_BY_ZERO)
def test_scalar_or_vector_is_one_series_without_labels(server: str, serve: Serve, client_of: ClientOf) -> None:
    query = Query("q", "1/0", interval_s=60, step_s=STEP_S, window_s=2 * 86_400)
    taken, table, _ = taken_in(client_of(serve(serving(ONE_BY_ZERO[server])).url), query)
    assert [table.labels(row) for row in range(table.rows)] == [{}]
    assert taken.series == 1


def grid(points: list[tuple[int, str]]) -> str:
    return success("matrix", [{"metric": {"job": "a"}, "values": [[AT - 300 * back, text] for back, text in points]}])


def test_nan_and_nothing_leave_the_same_gap(serve: Serve, client_of: ClientOf) -> None:
    now = success("vector", vector({"job": "a"}, "7"))
    spans = {
        "Prometheus": grid([(4, "1"), (3, "NaN"), (2, "2"), (1, "3")]),
        "VictoriaMetrics": grid([(4, "1"), (2, "2"), (1, "3")]),
    }
    rings = {}
    for server, span in spans.items():
        _, _, window = taken_in(client_of(serve(serving(now, span)).url))
        rings[server] = window.gather(np.array([0]), np.array([AT // STEP_S])).copy()
    assert np.array_equal(rings["Prometheus"], rings["VictoriaMetrics"], equal_nan=True)
    assert rings["Prometheus"][0, -5:].tolist()[:1] + rings["Prometheus"][0, -3:].tolist() == [1, 2, 3, 7]
    assert math.isnan(rings["Prometheus"][0, -4])


def test_a_nan_of_now_is_no_sample_and_counted(serve: Serve, client_of: ClientOf) -> None:
    taken, _, window = taken_in(client_of(serve(serving(success("vector", vector({"job": "a"}, "NaN")))).url))
    assert taken.remarks["not_finite"] == 1
    assert math.isnan(window.last_value[0])


def test_two_tenants_read_at_once_stay_two_series(serve: Serve, client_of: ClientOf) -> None:
    both = [vector({"__tenant_id__": tenant, "job": "a"}, text)[0] for tenant, text in (("a", "1"), ("b", "2"))]
    server = serve(serving(success("vector", both)))
    _, table, window = taken_in(client_of(server.url, tenant="a|b"))
    assert {table.labels(row)["__tenant_id__"]: window.last_value[row] for row in range(2)} == {"a": 1.0, "b": 2.0}
    assert {request.headers["x-scope-orgid"] for request in server.requests} == {"a|b"}


# --- what servers say of their data -----------------------------------------------------------------------------------


def unit_of(client: Client) -> Unit:
    labels = added_labels("q", "", vmanomaly=False)
    page = UnitPage(Page(None), "q", labels, [model.name for model in QUERY.models], FAMILIES)
    return Unit("", QUERY, Reader(client, QUERY.expr, STEP_S), page)


@pytest.mark.parametrize(
    ("body", "remarks", "note"),
    [
        (PROMETHEUS_3, {"warning": 1, "info": 1, "partial": 0}, "the server remarks: results truncated due to limit"),
        (THANOS, {"warning": 1, "info": 0, "partial": 0}, "the server remarks: fetch series for"),
        (PARTIAL, {"warning": 0, "info": 0, "partial": 1}, PARTIAL_NOTE),
    ],
    ids=["Prometheus 3.12", "Thanos", "VictoriaMetrics cluster"],
)
def test_remarks_are_counted_shown_and_told_once(
    body: str, remarks: dict[str, int], note: str, serve: Serve, client_of: ClientOf, caplog: Any
) -> None:
    unit = unit_of(client_of(serve(serving(body)).url))
    receipts = [unit.run_cycle(AT + 60 * cycle) for cycle in range(3)]
    for receipt in receipts:
        assert receipt.error == ""
        assert {kind: receipt.remarks[kind] for kind in remarks} == remarks
        assert any(text.startswith(note) for text in receipt.notes)
    assert sum(record.getMessage().startswith(note) for record in caplog.records) == 1


def test_an_answer_that_is_whole_again_is_shown_as_such(serve: Serve, client_of: ClientOf) -> None:
    bodies = [PARTIAL, SAME["VictoriaMetrics cluster"]]

    def respond(request: Any, connection: Any) -> None:
        connection.sendall(http(200, MATRIX if "start" in request.form else bodies[0]))

    unit = unit_of(client_of(serve(respond).url))
    assert unit.run_cycle(AT).notes == (PARTIAL_NOTE,)
    bodies.pop(0)
    assert unit.run_cycle(AT + 60).notes == ()


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_flags_of_thanos_and_victoriametrics_go_along_with_every_query(serve: Serve, client_of: ClientOf) -> None:
    flags = {"partial_response": "false", "dedup": "true", "max_source_resolution": "0s"}
    server = serve(serving(SAME["Thanos"]))
    client = client_of(server.url, params=flags)
    taken_in(client)
    client.build_info()
    assert len(server.requests) >= 4
    assert all(request.url_form.items() >= flags.items() for request in server.requests)


def test_times_are_full_unix_seconds(serve: Serve, client_of: ClientOf) -> None:
    """VictoriaMetrics reads small bare integers as years."""
    server = serve(serving(SAME["VictoriaMetrics"]))
    taken_in(client_of(server.url))
    times = [request.form[name] for request in server.requests for name in ("time", "start", "end")
             if name in request.form]  # fmt: skip
    assert len(times) >= 3
    assert all(len(text.partition(".")[0]) == 10 and len(text.partition(".")[2]) == 3 for text in times)


@pytest.mark.parametrize(
    "buildinfo",
    [http(404, "404 page not found\n"), http(400, 'unsupported path requested: "/api/v1/status/buildinfo"'),
     http(200, '{"status":"success","data":{"version":"2.24.0"}}'), http(500, "queue is stopped"), http(200, "<html>")],
    ids=["Cortex", "a path VictoriaMetrics does not know", "VictoriaMetrics", "stopping", "a page"],
)  # fmt: skip
def test_build_information_decides_nothing(buildinfo: bytes, serve: Serve, client_of: ClientOf) -> None:
    def respond(request: Any, connection: Any) -> None:
        body = SAME["VictoriaMetrics"] if "time" in request.form else MATRIX
        connection.sendall(buildinfo if request.path.endswith("buildinfo") else http(200, body))

    server = serve(respond)
    taken, _, _ = taken_in(client_of(server.url))
    assert taken.series == 1
    assert not any(request.path.endswith("buildinfo") for request in server.requests)  # nobody even asks
    assert client_of(server.url).reachable()
