"""The application that Prometheus scrapes."""

import socket
import time

import numpy as np
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from exporter.demo import target
from exporter.demo.world import VANISH, ZERO, Event, World, build

NOW_S = 1_795_327_123.4


def by_text(page: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    samples = [s for family in text_string_to_metric_families(page.decode()) for s in family.samples]
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


def test_the_page_shows_every_series_with_its_value_of_now() -> None:
    world = build(7)
    found = by_text(target.page(world, NOW_S))
    assert len(found) == len(world.series)
    for index, series in enumerate(world.series):
        want = world.values(index, np.array([NOW_S]))[0]
        assert found[series.metric, tuple(series.labels.values())] == pytest.approx(want, rel=1e-5)


def test_each_metric_has_one_type_line() -> None:
    lines = target.page(build(7), NOW_S).decode().splitlines()
    typed = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(typed) == len(set(typed)) == 7


def test_events_show_from_their_start_on() -> None:
    world = build(7)
    world.events += [Event(VANISH, 0, NOW_S), Event(ZERO, 1, NOW_S)]
    gone, zero = ((world.series[i].metric, tuple(world.series[i].labels.values())) for i in (0, 1))
    before, after = by_text(target.page(world, NOW_S - 0.001)), by_text(target.page(world, NOW_S))
    assert gone in before
    assert gone not in after
    assert before[zero] > 0
    assert after[zero] == 0


def test_it_is_served_with_the_type_prometheus_wants() -> None:
    with target.serving(build(7)) as port:
        answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
        other = requests.get(f"http://127.0.0.1:{port}/", timeout=5)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert len(by_text(answer.content)) == 72
    assert other.status_code == 404


def test_what_happens_while_it_serves_shows_in_the_next_scrape() -> None:
    world = World(build(7).series[:1])
    with target.serving(world) as port:
        before = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).content
        world.events.append(Event(ZERO, 0, time.time() - 1))
        after = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).content
    assert set(by_text(before).values()) != {0.0}
    assert set(by_text(after).values()) == {0.0}


def test_the_port_is_free_afterwards() -> None:
    with target.serving(build(7)) as port:
        pass
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_scrape_that_is_cut_off_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with target.serving(build(7)) as port:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close by reset
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
    assert capfd.readouterr() == ("", "")
