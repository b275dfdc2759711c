"""Ranges with their left edge or without, grids that are shifted, spans that are too long: one window comes of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer_servers import Peer, Samples, every
from support.loopback import LoopbackServer

from exporter.config import Query
from exporter.errors import SourceTooMuch
from exporter.intake import Intake
from exporter.series import SeriesTable
from exporter.source.client import Client
from exporter.source.reader import Reader
from exporter.window import Window

Serve = Callable[..., LoopbackServer]
ClientOf = Callable[..., Client]
Cells = dict[int, float]

STEP_S = 300
NOW = 1_700_000_100
START = NOW - 6 * 3600
assert NOW % STEP_S == 0


def reader_of(peer: Peer, serve: Serve, client_of: ClientOf, **settings: Any) -> Reader:
    return Reader(client_of(serve(peer).url), "m", STEP_S, **settings)


def cells(reader: Reader, start_s: float = START, end_s: float = NOW) -> Cells:
    """Grid time -> value of the only series."""
    found: Cells = {}
    for answer in reader.range(start_s, end_s, 1):
        times = (answer.batch.time_ms // 1000).tolist()
        assert not found.keys() & set(times)
        found |= dict(zip(times, answer.batch.value.tolist(), strict=True))
    return found


def wanted(samples: Samples) -> Cells:
    """The last sample of each step."""
    found: Cells = {}
    for time_ms, value in samples:
        found[-(-time_ms // (STEP_S * 1000)) * STEP_S] = value
    return {time: value for time, value in found.items() if START <= time <= NOW}


SPACINGS = {
    "on the grid": every(300, START - 600, NOW),
    "every minute, on it too": every(60, START - 600, NOW),
    "beside it": every(60, START - 592.75, NOW),
    "seldom": every(700, START - 600, NOW),
    "the first millisecond but one": every(300, START - 600 + 0.002, NOW),
}


@pytest.mark.parametrize("left_open", [False, True], ids=["Prometheus 2", "Prometheus 3"])
@pytest.mark.parametrize("samples", SPACINGS.values(), ids=SPACINGS)
def test_each_sample_is_in_one_step_by_both_conventions(
    left_open: bool, samples: Samples, serve: Serve, client_of: ClientOf
) -> None:
    peer = Peer({"a": samples}, left_open=left_open)
    assert cells(reader_of(peer, serve, client_of)) == wanted(samples)


@pytest.mark.parametrize("name", ["steady", "gappy", "seldom"])
def test_the_fixture_with_closed_ranges_is_a_real_prometheus_2(
    name: str, real_prometheus: Any, serve: Serve, client_of: ClientOf
) -> None:
    """The samples are those that tests/source/conftest.py gives the server."""
    start_s = real_prometheus.start_s
    samples = {
        "steady": every(15, start_s, start_s + 3585, lambda time: time - start_s),
        "gappy": [(ms, value) for ms, value in every(15, start_s, start_s + 3585, lambda time: time - start_s)
                  if not 1200 <= value < 2400],
        "seldom": every(400, start_s + 7.25, start_s + 3600, lambda time: time - start_s - 7.25),
    }  # fmt: skip
    peer = client_of(serve(Peer({"a": samples[name]}, left_open=False)).url)
    real = client_of(real_prometheus.url)
    for made, expr in ((peer, "m"), (real, name if name != "steady" else 'steady{pod="a"}')):
        reader = Reader(made, expr, 60)
        found = cells(reader, start_s, start_s + 3600)
        newest = reader.newest(start_s + 1800, 600).batch
        if made is peer:
            wanted_of_real = found, newest.time_ms.tolist(), newest.value.tolist()
    assert (found, newest.time_ms.tolist(), newest.value.tolist()) == wanted_of_real
    assert len(found) > 5


def test_the_first_millisecond_of_a_step_is_lost_where_ranges_are_left_open(serve: Serve, client_of: ClientOf) -> None:
    """A weakness that docs/servers.md names: of a window that is read, not of samples that come."""
    samples = every(300, START - 600 + 0.001, NOW)
    assert cells(reader_of(Peer({"a": samples}, left_open=False), serve, client_of)) == wanted(samples)
    open_ = reader_of(Peer({"a": samples}, left_open=True), serve, client_of)
    assert cells(open_) == {}
    assert open_.newest(NOW, 300).batch.time_ms.tolist() == [NOW * 1000 - 299_999]


@pytest.mark.parametrize("samples", SPACINGS.values(), ids=SPACINGS)
def test_both_conventions_give_one_window_cycle_by_cycle(samples: Samples, serve: Serve, client_of: ClientOf) -> None:
    windows = []
    for left_open in (False, True):
        reader = reader_of(Peer({"a": samples}, left_open=left_open), serve, client_of)
        query = Query("q", "m", interval_s=60, step_s=STEP_S, window_s=2 * 86_400)
        window = Window(576, 14, STEP_S)
        intake = Intake(query, reader, SeriesTable(), window)
        for cycle in range(-30, 1):
            intake.update(NOW + 60 * cycle)
        windows.append((window.ring[:1].copy(), window.last_ms.tolist(), window.spacing_s().tolist()))
    (old, *old_rest), (new, *new_rest) = windows
    assert np.array_equal(old, new, equal_nan=True)
    assert old_rest == new_rest
    assert np.isfinite(old).sum() > 10


@pytest.mark.parametrize("phase_s", [0, 3, 12, 50, 59])
def test_samples_that_are_seen_late_are_taken_in_the_next_cycle(
    phase_s: int, serve: Serve, client_of: ClientOf
) -> None:
    samples = every(60, START + phase_s, NOW - 60)
    peer = Peer({"a": samples}, shows_after_s=10.3)
    query = Query("q", "m", interval_s=60, step_s=STEP_S, window_s=2 * 86_400)
    window = Window(576, 14, STEP_S)
    intake = Intake(query, reader_of(peer, serve, client_of), SeriesTable(), window)
    began_s = NOW - 3600
    for cycle in range(61):
        intake.update(began_s + 60 * cycle)
    times = [time for time in wanted(samples) if time > began_s]
    ring = window.gather(np.array([0]), np.array([NOW // STEP_S]))[0]
    found = {time: float(ring[(time - NOW) // STEP_S - 1]) + float(window.offset[0]) for time in times}
    assert found == {time: wanted(samples)[time] for time in times}
    assert len(times) == 12


def test_a_server_that_shifts_unaligned_grids_has_none_to_shift(serve: Serve, client_of: ClientOf) -> None:
    samples = every(60, START - 600, NOW)
    shifting = Peer({"a": samples}, shifts=True)
    found = cells(reader_of(shifting, serve, client_of), START + 17, NOW + 17)
    assert found == {time: value for time, value in wanted(samples).items() if time >= START + 17}
    spans = [request.form for request in shifting.requests if "start" in request.form]
    assert any((float(form["end"]) - float(form["start"])) / STEP_S > 50 for form in spans)
    for form in spans:
        assert float(form["start"]) % STEP_S == float(form["end"]) % STEP_S == 0


def test_the_shift_is_there_for_who_does_not_align(serve: Serve, client_of: ClientOf) -> None:
    """The fixture is what was observed: 41 points as asked, 61 shifted by 17 s."""
    client = client_of(serve(Peer(shifts=True)).url)
    for points, shift in ((41, 17), (61, 0)):
        body = client.query_range("vector(1)", START + 17, START + 17 + 60 * (points - 1), 60)
        assert f'"values":[[{START + shift}.0'.encode() in body


# --- less -------------------------------------------------------------------------------------------------------------


def spans_of(peer: Peer) -> list[int]:
    """Lengths of the range queries, longest first."""
    lengths = {round(float(form["end"]) - float(form["start"])) for form in (each.form for each in peer.requests)}
    return sorted(lengths, reverse=True)


def test_a_span_too_long_is_halved_and_the_next_read_begins_with_halves(serve: Serve, client_of: ClientOf) -> None:
    start_s, samples = NOW - 86_400, every(60, NOW - 86_400, NOW)
    peer = Peer({"a": samples}, most_length_s=12 * 3600)
    reader = reader_of(peer, serve, client_of)
    whole = cells(reader, start_s, NOW)
    assert len(whole) == 289
    assert len(peer.requests) == 3
    assert cells(reader, start_s, NOW) == whole
    assert len(peer.requests) == 5


def test_half_too_long_is_told_and_the_next_read_goes_on_from_there(serve: Serve, client_of: ClientOf) -> None:
    start_s, samples = NOW - 86_400, every(60, NOW - 86_400, NOW)
    peer = Peer({"a": samples}, most_length_s=7 * 3600)
    reader = reader_of(peer, serve, client_of, max_in_flight=1)
    with pytest.raises(SourceTooMuch, match="Raise the limit of the server"):
        cells(reader, start_s, NOW)
    assert len(cells(reader, start_s, NOW)) == 289


def test_less_has_an_end(serve: Serve, client_of: ClientOf) -> None:
    """A window never becomes thousands of queries, whatever the server says."""
    peer = Peer({"a": every(60, START, NOW)}, most_length_s=1)
    reader = reader_of(peer, serve, client_of, max_in_flight=1)
    for _ in range(12):
        with pytest.raises(SourceTooMuch):
            cells(reader, NOW - 10 * 86_400, NOW)
    assert max(spans_of(peer)) == 10 * 86_400
    last = peer.requests[-2].form
    assert float(last["end"]) - float(last["start"]) >= 55 * STEP_S
