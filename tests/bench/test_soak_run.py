"""The soak as a whole on few series for half a minute, its parts that can be had alone, and refusals."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket

import pytest
import requests
from support.servers import target_showing

from bench.soak import plan, relay
from bench.soak.__main__ import main
from bench.soak.application import Churning
from bench.soak.watching import Look, slope_per_hour

needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus on PATH")


@needs_prometheus
def test_a_short_soak_compares_verdicts_and_prints_a_table(capsys):
    status = main(["--minutes", "0.35", "--series", "80", "--interval", "2", "--seed", "5", "--no-kill"])
    told = capsys.readouterr()
    assert status == 0, told.out + told.err
    lines = [line.strip("| ").split(" | ") for line in told.out.splitlines()]
    rows = dict(line for line in lines if len(line) == 2 and "---" not in line[0])
    equal, wrong, _, unexplained = map(int, rows[next(key for key in rows if "replay" in key)].split(", "))
    assert (equal >= 12, wrong, unexplained) == (True, 0, 0)
    assert rows["faults"] != "none"
    assert "MiB" in told.out


def test_the_same_seed_gives_the_same_faults_and_every_kind_of_them():
    one, other, another = (list(itertools.islice(plan.faults(seed, 15), 16)) for seed in (1, 1, 2))
    assert one == other != another
    kinds = [fault.kind for fault in one]
    assert set(kinds[:8]) == set(kinds[8:]) == {*plan.SOURCE_FAULTS, *plan.MOMENTS}
    assert all(fault.calm_s > 0 and (fault.lasts_s > 0) == (fault.kind in plan.SOURCE_FAULTS) for fault in one)


def test_the_relay_passes_on_fails_and_passes_on_again():
    with target_showing(lambda now_s: "x" * 100_000) as port:
        between = relay.Relay(port)
        url = f"http://127.0.0.1:{between.port}/"
        try:
            assert requests.get(url, timeout=10).text == "x" * 100_000
            between.mode = relay.ERRORS
            assert requests.get(url, timeout=10).status_code == 500
            between.mode = relay.RESETS
            with pytest.raises(requests.ConnectionError):
                requests.get(url, timeout=10)
            between.mode = relay.SLOW
            assert requests.get(url, timeout=30).text == "x" * 100_000
            between.mode = relay.PASS
            assert requests.get(url, timeout=10).status_code == 200
        finally:
            between.close()
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", between.port), timeout=1).close()
        pytest.fail("the relay still listens")


def test_series_leave_and_come_and_the_rest_stays():
    application = Churning(100)
    try:
        page = requests.get(f"http://127.0.0.1:{application.port}/metrics", timeout=10).text
        assert page.count('cluster="') == 98
        assert page.count('pod="new-') == 1
    finally:
        application.close()


def test_the_slope_of_memory_is_per_hour():
    looks = [Look(at_s, 1_000_000 + 10 * at_s, 1, 1) for at_s in range(0, 600, 10)]
    assert slope_per_hour(looks) == pytest.approx(36_000)
    assert slope_per_hour(looks[:1]) == 0.0


def test_without_prometheus_it_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--minutes", "0.1"]) == 2
    assert "apt-get install prometheus" in capsys.readouterr().err
