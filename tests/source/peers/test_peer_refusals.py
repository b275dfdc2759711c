"""Each refusal that a server was seen to give: the right kind of error, tried again or not, a word on what to do."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from peer_refusals import REFUSALS, Refusal
from support.loopback import LoopbackServer, http

from exporter.errors import SourceError, SourceTooMuch, SourceUnavailable
from exporter.source.client import Client
from exporter.source.faults import REASONS
from exporter.source.reader import Reader

Serve = Callable[..., LoopbackServer]
ClientOf = Callable[..., Client]

ATTEMPTS = 3
IDS = [case.name for case in REFUSALS]


def refusing(case: Refusal) -> Callable[..., None]:
    answer = http(case.status, case.body, **case.headers)
    return lambda request, connection: connection.sendall(answer)


def caught(client: Client, expr: str = "sum(x)") -> SourceError:
    with pytest.raises(SourceError) as found:
        Reader(client, expr, 60).newest(1_700_000_000, 60)
    return found.value


def words_of(case: Refusal) -> str:
    return str(json.loads(case.body)["error"]) if case.body.startswith("{") else case.body.strip()


@pytest.mark.parametrize("case", REFUSALS, ids=IDS)
def test_a_refusal_is_what_it_is(case: Refusal, serve: Serve, client_of: ClientOf) -> None:
    server = serve(refusing(case))
    seen: list[str] = []
    client = client_of(server.url, retries=ATTEMPTS - 1, observe=lambda outcome, body_bytes: seen.append(outcome))
    error = caught(client)
    assert type(error) is case.kind
    assert (error.reason, error.status) == (case.reason, case.status)
    assert case.reason in REASONS
    tries = ATTEMPTS if case.kind is SourceUnavailable else 1
    assert len(server.requests) == tries
    assert seen == [case.reason] * tries


@pytest.mark.parametrize("case", REFUSALS, ids=IDS)
def test_the_message_has_the_servers_words_and_what_to_do(case: Refusal, serve: Serve, client_of: ClientOf) -> None:
    server = serve(refusing(case))
    message = str(caught(client_of(server.url, retries=0, tenant="team-a")))
    assert message.startswith(f"{server.url}/api/v1/query (tenant team-a): HTTP {case.status}")
    assert message.endswith(case.advice)
    assert "\n" not in message
    assert words_of(case)[:20] in message


@pytest.mark.parametrize("case", [case for case in REFUSALS if case.kind is SourceTooMuch], ids=lambda case: case.name)
def test_less_is_asked_for_once_and_then_it_is_told(case: Refusal, serve: Serve, client_of: ClientOf) -> None:
    server = serve(refusing(case))
    reader = Reader(client_of(server.url), "sum(x)", 60, max_in_flight=1)
    with pytest.raises(SourceTooMuch) as found:
        list(reader.range(0, 60 * 999, 1))
    assert str(found.value).endswith(case.advice)
    spans = [(float(request.form["start"]), float(request.form["end"])) for request in server.requests]
    assert spans == [(0, 60 * 999), (0, 60 * 499)]


def test_a_long_query_does_not_hide_what_is_wrong_with_it(serve: Serve, client_of: ClientOf) -> None:
    (case,) = [case for case in REFUSALS if case.case == "too many samples, behind a long query"]
    message = str(caught(client_of(serve(refusing(case)).url, retries=0)))
    assert 'error when executing query="…" on the time range' in message
    assert "cannot select more than -search.maxSamplesPerQuery=500 samples" in message


def test_nor_do_the_parts_that_a_query_has(serve: Serve, client_of: ClientOf) -> None:
    (case,) = [case for case in REFUSALS if case.case == "timeout, deep in a query"]
    message = str(caught(client_of(serve(refusing(case)).url, retries=0)))
    assert 'cannot execute query: cannot evaluate "…": timeout exceeded during query execution' in message


def test_a_stopped_server_that_comes_back_is_no_failure(serve: Serve, client_of: ClientOf) -> None:
    (case,) = [case for case in REFUSALS if case.case == "stopping"]
    good = http(200, '{"status":"success","data":{"resultType":"vector","result":[]}}')
    left = [http(case.status, case.body), good]
    server = serve(lambda request, connection: connection.sendall(left.pop(0)))
    assert Reader(client_of(server.url), "sum(x)", 60).newest(0, 60).batch.series == 0
    assert len(server.requests) == 2
