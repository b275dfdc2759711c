"""Tenants do not delay each other: one answers 10 KB/s, one 429, and eight healthy ones keep their time beside them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.landlord import Landlord, dripping, landlord, limited, refusing, well
from support.process import Exporter, running_exporter
from support.servers import wait_until

INTERVAL_S = 6  # a tenant without a lane of its own would wait for four timeouts of this length
CYCLES = 3
HEALTHY = [f"team-{i}" for i in range(8)]
SLOW, LIMITED, REFUSED = "slow", "limited", "refused"
# More queries than the program has threads for cycles: without lanes they would take all of them.
MANY = "".join(f"      - {{name: q{i}, expr: 'm{i}'}}\n" for i in range(80))
SOME = "".join(f"      - {{name: q{i}, expr: 'm{i}'}}\n" for i in range(10))


def config_text(url: str) -> str:
    teams = "".join(f"  - {{id: {name}}}\n" for name in (*HEALTHY, REFUSED))
    return (
        f"global: {{interval: {INTERVAL_S}s, step: 5m, window: 2d}}\n"
        f"source: {{url: '{url}', timeout: 6s}}\n"
        f"tenants:\n{teams}  - id: {SLOW}\n    queries:\n{MANY}  - id: {LIMITED}\n    queries:\n{SOME}"
        "queries:\n  - {name: load, expr: load}\n  - {name: disk, expr: disk}\n"
    )


@pytest.fixture(scope="module")
def here() -> Iterator[Landlord]:
    with landlord() as server:
        server.ways |= {SLOW: dripping, LIMITED: limited, REFUSED: refusing}
        yield server


@pytest.fixture(scope="module")
def exporter(here: Landlord, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    config = tmp_path_factory.mktemp("isolation") / "config.yml"
    config.write_text(config_text(here.url))
    with running_exporter(config) as running:
        yield running


def cycles(exporter: Exporter, outcome: str) -> dict[tuple[str, str], float]:
    """Cycles that ended so, by tenant and query."""
    found = exporter.samples("anomaly_exporter_cycles_total", outcome=outcome)
    return {(labels["tenant"], labels["query"]): value for labels, value in found}


def well_done(exporter: Exporter) -> float:
    """The fewest good cycles of any query of a healthy tenant."""
    return min(count for (tenant, _), count in cycles(exporter, "ok").items() if tenant in HEALTHY)


def test_healthy_tenants_keep_their_time_beside_slow_and_limited_ones(exporter: Exporter) -> None:
    wait_until(lambda: well_done(exporter) > CYCLES, "the healthy go on; kernels may have to be compiled", 300)
    for outcome in ("late", "skipped", "failed"):
        assert {key: n for key, n in cycles(exporter, outcome).items() if key[0] in HEALTHY and n} == {}
    lags = exporter.samples("anomaly_exporter_cycle_lag_seconds")
    assert max(lag for labels, lag in lags if labels["tenant"] in HEALTHY) < 2 * INTERVAL_S
    up = {labels["tenant"]: value for labels, value in exporter.samples("anomaly_exporter_source_up")}
    assert [up[name] for name in HEALTHY] == [1] * len(HEALTHY)
    assert up[LIMITED] == 0


def test_who_does_not_answer_is_left_alone_for_a_while_and_who_refuses_is_not(
    exporter: Exporter, here: Landlord
) -> None:
    for name in (SLOW, LIMITED):
        wait_until(lambda name=name: exporter.number("source_circuit_open", tenant=name) == 1, f"{name} is left alone")
        assert exporter.number("source_circuit_opened_total", tenant=name) >= 1
        assert f"tenant={name}" in exporter.log
    assert exporter.number("source_circuit_opened_total", tenant=REFUSED) == 0
    errors = exporter.samples("anomaly_exporter_source_errors_total", tenant=LIMITED, reason="circuit_open")
    assert sum(value for _, value in errors) > 0
    # Ten queries every 6 s, each tried four times, would be 400 requests a minute.
    asked = here.count(LIMITED)
    assert asked < 200
    page = exporter.get("/").text
    assert "its server is not asked for now" in page


def test_one_good_try_ends_it(exporter: Exporter, here: Landlord) -> None:
    here.ways[LIMITED] = well
    wait_until(lambda: exporter.number("source_up", tenant=LIMITED) == 1, "it is read again")
    assert exporter.number("source_circuit_open", tenant=LIMITED) == 0
    assert "the server answers again" in exporter.log
    here.ways[REFUSED] = well
    wait_until(lambda: exporter.number("source_up", tenant=REFUSED) == 1, "so is the one that refused")
