"""A server that gives less of a span than was asked for is noticed and named; young series are not taken for that."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from peer_servers import Peer, every
from support.loopback import LoopbackServer, Request, http

from exporter.config import Query
from exporter.names import FAMILIES
from exporter.publish.exposition import Page
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.source.client import Client
from exporter.source.reach import Cut, Why, is_short
from exporter.source.reader import Reader
from exporter.unit import Receipt, Unit

Serve = Callable[..., LoopbackServer]
ClientOf = Callable[..., Client]

HOUR, DAY = 3600, 86_400
STEP_S = 300
NOW = 1_700_000_100
WINDOW_S = 2 * DAY


class Watch:
    """A unit that reads a peer."""

    def __init__(self, peer: Peer, serve: Serve, client_of: ClientOf, respond: Any = None) -> None:
        self.peer = peer
        query = Query("q", "m", interval_s=300, step_s=STEP_S, window_s=WINDOW_S)
        page = UnitPage(Page(None), "q", added_labels("q", "", vmanomaly=False), ["robust_band", "shesd"], FAMILIES)
        self.unit = Unit("", query, Reader(client_of(serve(respond or peer).url, retries=0), "m", STEP_S), page)

    def at(self, time_s: int) -> Receipt:
        receipt = self.unit.run_cycle(time_s)
        assert receipt.error == ""
        return receipt


def since(start_s: int, **peer: Any) -> Peer:
    """Two series from a time on."""
    samples = every(300, start_s, NOW + 3 * DAY)
    return Peer({"a": samples, "b": samples}, **peer)


def test_a_whole_window_is_whole_and_nobody_asks_why(serve: Serve, client_of: ClientOf) -> None:
    watch = Watch(since(NOW - 3 * DAY), serve, client_of)
    receipt = watch.at(NOW)
    assert (receipt.missing_s, receipt.notes, receipt.remarks["truncated"]) == (0, (), 0)
    assert watch.peer.asked("vector(1)") == watch.peer.asked("up") == 0


def test_a_window_cut_off_in_silence_is_named(serve: Serve, client_of: ClientOf, caplog: Any) -> None:
    watch = Watch(since(NOW - 3 * DAY, reaches_s=NOW - 6 * HOUR), serve, client_of)
    with caplog.at_level(logging.WARNING):
        receipts = [watch.at(NOW + 300 * cycle) for cycle in range(4)]
    assert [receipt.remarks["truncated"] for receipt in receipts] == [1, 0, 0, 0]
    for cycle, receipt in enumerate(receipts):
        (note,) = receipt.notes
        assert note.startswith("the server gave only the last 5h55m of the 2d asked: it reads no further back (max")
        assert note.endswith("; the window is shortened")
        assert receipt.missing_s == WINDOW_S - 6 * HOUR - 300 * cycle
    assert sum("gave only the last" in record.getMessage() for record in caplog.records) == 1
    assert watch.peer.asked("up") == 0


def test_the_window_grows_until_nothing_is_missing(serve: Serve, client_of: ClientOf) -> None:
    peer = since(NOW - 3 * DAY, reaches_s=NOW - 6 * HOUR)
    watch = Watch(peer, serve, client_of)
    watch.at(NOW)
    assert watch.at(NOW + DAY).missing_s == DAY - 6 * HOUR
    receipt = watch.at(NOW + 2 * DAY)
    assert (receipt.missing_s, receipt.notes) == (0, ())


def test_young_series_of_an_old_server_are_not_taken_for_it(serve: Serve, client_of: ClientOf) -> None:
    watch = Watch(since(NOW - 6 * HOUR, up_since_s=NOW - 30 * DAY), serve, client_of)
    receipt = watch.at(NOW)
    assert (receipt.missing_s, receipt.notes, receipt.remarks["truncated"]) == (0, (), 0)
    assert watch.peer.asked("vector(1)") == watch.peer.asked("up") == 1


@pytest.mark.parametrize(
    ("up_since_s", "why"), [(NOW - 6 * HOUR - 60, Why.AGE), (None, Why.UNKNOWN)], ids=["young server", "no targets"]
)
def test_a_server_that_has_nothing_older_is_told_too(
    up_since_s: int | None, why: Why, serve: Serve, client_of: ClientOf
) -> None:
    receipt = Watch(since(NOW - 6 * HOUR, up_since_s=up_since_s), serve, client_of).at(NOW)
    (note,) = receipt.notes
    assert why.value in note
    assert receipt.missing_s == WINDOW_S - 6 * HOUR


def test_a_limit_further_back_does_not_explain_young_series(serve: Serve, client_of: ClientOf) -> None:
    watch = Watch(since(NOW - 6 * HOUR, reaches_s=NOW - 40 * HOUR, up_since_s=0), serve, client_of)
    assert watch.at(NOW).notes == ()


def test_one_old_series_proves_that_the_server_reads_that_far(serve: Serve, client_of: ClientOf) -> None:
    peer = Peer({"a": every(300, NOW - 3 * DAY, NOW), "b": every(300, NOW - HOUR, NOW)})
    watch = Watch(peer, serve, client_of)
    assert watch.at(NOW).notes == ()
    assert peer.asked("vector(1)") == 0


def test_no_series_is_another_matter(serve: Serve, client_of: ClientOf) -> None:
    watch = Watch(Peer(), serve, client_of)
    receipt = watch.at(NOW)
    assert (receipt.notes, receipt.series) == ((), 0)
    assert watch.peer.asked("vector(1)") == 0


def test_a_server_that_refuses_the_question_costs_no_cycle(serve: Serve, client_of: ClientOf) -> None:
    peer = since(NOW - 6 * HOUR)

    def respond(request: Request, connection: socket.socket) -> None:
        if request.form["query"] in ("vector(1)", "count(up)"):
            connection.sendall(http(403, "no"))
        else:
            peer(request, connection)

    (note,) = Watch(peer, serve, client_of, respond).at(NOW).notes
    assert Why.UNKNOWN.value in note


def test_a_gap_that_the_server_does_not_reach_back_to_is_named(serve: Serve, client_of: ClientOf) -> None:
    peer = since(NOW - 3 * DAY)
    watch = Watch(peer, serve, client_of)
    watch.at(NOW)
    peer.reaches_s = NOW + 9 * HOUR
    receipt = watch.at(NOW + 10 * HOUR)
    (note,) = receipt.notes
    assert note.startswith("the server gave only the last 55m of the 9h50m asked: it reads no further back")
    assert receipt.remarks["truncated"] == 1
    assert receipt.missing_s == 9 * HOUR - 300


def test_a_time_in_which_nothing_was_measured_is_only_a_gap(serve: Serve, client_of: ClientOf) -> None:
    early, late = every(300, NOW - 3 * DAY, NOW), every(300, NOW + 9 * HOUR, NOW + DAY)
    watch = Watch(Peer({"a": [*early, *late]}, up_since_s=0), serve, client_of)
    watch.at(NOW)
    receipt = watch.at(NOW + 10 * HOUR)
    assert (receipt.notes, receipt.missing_s) == ((), 0)


def test_a_real_prometheus_reads_as_far_as_it_is_asked(real_prometheus: Any, client_of: ClientOf) -> None:
    """It holds an hour of samples, and none of `up`."""
    start_s = real_prometheus.start_s
    reader = Reader(client_of(real_prometheus.url), "steady", STEP_S)
    assert reader.why_short(start_s - DAY, start_s, start_s + HOUR) is Why.UNKNOWN
    found = reader.oldest_s(start_s - DAY, start_s + HOUR)
    assert found is not None
    assert abs(found - start_s) <= STEP_S


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late_s", "step_s", "short"),
    [(0, 300, False), (900, 60, False), (901, 60, False), (DAY // 20 + 1, 60, True), (DAY // 20, 60, False),
     (2 * HOUR, 3600, False), (3 * HOUR + 1, 3600, True)],
)  # fmt: skip
def test_a_little_late_is_no_matter(late_s: int, step_s: int, short: bool) -> None:
    assert is_short(NOW - DAY, NOW - DAY + late_s, NOW, step_s) == short


@pytest.mark.parametrize(
    ("since_s", "given"),
    [
        (NOW - 90, "few minutes"),
        (NOW - 1800, "30m"),
        (NOW - 2 * HOUR - 61, "2h1m"),
        (NOW - 3 * DAY - 61, "3d"),
        (NOW - 13 * DAY - HOUR, "13d1h"),
    ],
)
def test_lengths_are_told_in_two_units_or_so(since_s: int, given: str) -> None:
    words = Cut(NOW - 14 * DAY, since_s, NOW, Why.AGE).words
    assert words.startswith(f"the server gave only the last {given} of the 14d asked: ")


def test_what_a_cut_misses_of_a_window_that_moves() -> None:
    cut = Cut(NOW - 14 * DAY, NOW - DAY, NOW, Why.LIMIT)
    assert cut.missing_s(NOW - 14 * DAY, NOW) == 13 * DAY
    assert cut.missing_s(NOW - 2 * DAY, NOW) == DAY
    assert cut.missing_s(NOW - DAY, NOW) == cut.missing_s(NOW, NOW + DAY) == 0


@pytest.mark.parametrize("age_s", [90, 3 * HOUR, 30 * HOUR, 40 * HOUR])
def test_about_when_series_begin_costs_two_queries(age_s: int, serve: Serve, client_of: ClientOf) -> None:
    peer = since(NOW - age_s)
    reader = Reader(client_of(serve(peer).url), "m", STEP_S)
    found = reader.oldest_s(NOW - WINDOW_S, NOW)
    assert found is not None
    assert abs(found - (NOW - age_s)) <= max(STEP_S, WINDOW_S // 400)
    assert len(peer.requests) <= 2
    assert Reader(client_of(serve(Peer()).url), "m", STEP_S).oldest_s(NOW - WINDOW_S, NOW) is None
