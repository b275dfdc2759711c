"""Tenants of a running exporter: own queries and credentials, discovery, results written back, the unknown one."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.landlord import Landlord, landlord
from support.process import Exporter, running_exporter
from support.receiver import Posted, Receiver, Reply, accept
from support.servers import wait_until

from exporter.cli import main

HEAD = "global: {interval: 2s, step: 5m, window: 2d}\n"
WRITE = "remote_write:\n  - url: {url}\n    name: back\n    {how}\n    queue_config: {{batch_send_deadline: 0s}}\n"


@pytest.fixture
def here() -> Iterator[Landlord]:
    with landlord() as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    taker = Receiver()
    try:
        yield taker
    finally:
        taker.close()


def write(folder: Path, text: str, name: str = "config.yml") -> Path:
    """A file as it was written some time ago: one that is new is left alone for a moment."""
    path = folder / name
    path.write_text(text)
    stamp = path.stat().st_mtime - 60 - len(text)
    os.utime(path, (stamp, stamp))
    return path


def watched(exporter: Exporter) -> set[tuple[str, str]]:
    """(tenant, query) of what has scores on the page."""
    return {(labels["tenant"], labels["query"]) for labels, _ in exporter.samples("anomaly_score")}


def written_to(receiver: Receiver) -> dict[str, set[str]]:
    """Values of the label `tenant` in what was taken, by the tenant it was written to."""
    found: dict[str, set[str]] = {}
    for posted in list(receiver.taken):
        tenant = posted.headers.get("x-scope-orgid", "")
        found.setdefault(tenant, set()).update(dict(sample.labels)["tenant"] for sample in posted.samples)
    return found


def test_own_queries_credentials_and_the_unknown_tenant(here: Landlord, tmp_path: Path) -> None:
    here.unknown = {"tema-a"}
    config = write(
        tmp_path,
        f"{HEAD}source: {{url: '{here.url}', basic_auth: {{username: all, password: hunter2}}}}\n"
        "tenants:\n  - id: plain\n  - id: tema-a\n"
        "  - {id: own, bearer_token: hunter3, shared_queries: false, queries: [{name: orders, expr: orders}]}\n"
        "queries: [{name: load, expr: load}]\n",
    )
    with running_exporter(config) as exporter:
        wait_until(lambda: watched(exporter) == {("plain", "load"), ("own", "orders")}, "first verdicts", 300)
        assert {expr.partition("[")[0] for tenant, expr in here.asked if tenant == "own"} >= {"orders"}
        assert not any("load" in expr for tenant, expr in here.asked if tenant == "own")
        assert here.auth["own"] == "Bearer hunter3"
        assert here.auth["plain"] == "Basic " + base64.b64encode(b"all:hunter2").decode()
        wait_until(lambda: exporter.number("source_empty", tenant="tema-a") == 1, "the unknown one is noticed")
        assert exporter.number("source_empty", tenant="plain") == 0
        words = (
            "tenant tema-a answers with no series: ids are not checked by the server, see whether it is spelled right"
        )
        assert exporter.log.count(words) == 1
        assert words in exporter.get("/").text
        here.unknown = set()
        wait_until(lambda: exporter.number("source_empty", tenant="tema-a") == 0, "it has series now")

        told = explained(exporter, query="orders", tenant="own", series='{kind="1"}')
        assert (told.status_code, told.json()["tenant"]) == (200, "own")
        told = explained(exporter, query="orders", tenant="plain", series='{kind="1"}')
        assert told.status_code == 404
        assert "there is no query orders of the tenant plain; there are: load" in told.json()["error"]
        shown = exporter.get("/config").text
        assert "hunter" not in shown + exporter.log
        assert exporter.number("tenants", origin="config") == 3


def explained(exporter: Exporter, **what: str) -> requests.Response:
    return requests.get(f"{exporter.url}/explain", params={**what, "format": "json"}, timeout=60)


def test_tenants_come_and_go_with_a_file_and_the_others_do_not_notice(here: Landlord, tmp_path: Path) -> None:
    config = write(
        tmp_path,
        f"{HEAD}source: {{url: '{here.url}'}}\ntenants: [{{id: stays}}]\ntenant_discovery: {{files: [tenants.yml]}}\n"
        "queries: [{name: load, expr: load}]\n",
    )
    write(tmp_path, "[a, b]", "tenants.yml")
    with running_exporter(config) as exporter:
        both = {("stays", "load"), ("a", "load"), ("b", "load")}
        wait_until(lambda: watched(exporter) == both, "first verdicts", 300)
        wait_until(exporter.ready, "ready")
        read = exporter.number("gaps_filled_total", tenant="stays")
        write(tmp_path, "[b, {id: c, queries: [{name: own, expr: own}]}]", "tenants.yml")
        after = {("stays", "load"), ("b", "load"), ("c", "load"), ("c", "own")}
        wait_until(lambda: watched(exporter) == after, "the file has changed")
        assert exporter.samples("anomaly_exporter_source_up", tenant="a") == []
        assert exporter.number("tenants", origin="discovery") == 2
        (tmp_path / "tenants.yml").write_text("[b, {id: ")
        wait_until(lambda: exporter.number("tenant_discovery_failures_total", mechanism="file") > 0, "it is broken")
        exporter.wait_for_cycles("own")
        assert watched(exporter) == after
        assert exporter.number("cycles_total", tenant="stays", outcome="failed") == 0
        # A machine that is busy with other things may delay one now and then; a tenant that begins or ends does not.
        missed = sum(exporter.number("cycles_total", tenant="stays", outcome=name) for name in ("late", "skipped"))
        assert missed <= exporter.number("cycles_total", tenant="stays", outcome="ok") / 2
        # Its window was read once: what is read by range later are single columns, at the end of a step.
        assert exporter.number("gaps_filled_total", tenant="stays") - read < 10
        # A reload keeps them, and the windows of all.
        config.write_text(config.read_text() + "alert: {severity: info}\n")
        exporter.process.send_signal(1)
        wait_until(lambda: "config reloaded" in exporter.log, "reloaded")
        assert watched(exporter) == after


def test_results_go_back_to_each_tenant_and_one_that_is_refused_stops_nobody(
    here: Landlord, receiver: Receiver, tmp_path: Path
) -> None:
    def respond(posted: Posted) -> Reply | str:
        who = posted.headers["x-scope-orgid"]
        return Reply(503) if who == "down" else Reply(403) if who == "forbidden" else accept(posted)

    receiver.respond = respond
    config = write(
        tmp_path,
        f"{HEAD}source: {{url: '{here.url}'}}\ntenants: [{{id: down}}, {{id: forbidden}}, {{id: well}}]\n"
        f"tenant_discovery: {{files: [t.yml]}}\nqueries: [{{name: load, expr: load}}]\n"
        + WRITE.format(url=receiver.url, how="per_tenant: true"),
    )
    write(tmp_path, "[found]", "t.yml")
    with running_exporter(config) as exporter:
        wait_until(lambda: {"well", "found"} <= written_to(receiver).keys(), "they are written", 300)
        start = exporter.number("remote_write_samples_total", target="back/well")
        wait_until(lambda: exporter.number("remote_write_samples_total", target="back/well") > start, "and again")
        assert written_to(receiver) == {"well": {"well"}, "found": {"found"}}
        assert exporter.number("remote_write_samples_failed_total", target="back/forbidden") > 0
        assert exporter.number("remote_write_samples_pending", target="back/down") > 0
        assert exporter.number("remote_write_samples_pending", target="back/well") < 200
        write(tmp_path, "[]", "t.yml")
        wait_until(lambda: exporter.samples("anomaly_exporter_remote_write_samples_total", target="back/found") == [],
                   "its target goes with it")  # fmt: skip
    ends = [s for p in receiver.taken if p.headers["x-scope-orgid"] == "found" for s in p.samples if s.bits == STALE]
    assert {dict(sample.labels)["tenant"] for sample in ends} == {"found"}


STALE = 0x7FF0000000000002


def test_results_go_to_one_tenant_with_a_label_that_says_whose_they_are(
    here: Landlord, receiver: Receiver, tmp_path: Path
) -> None:
    config = write(
        tmp_path,
        f"{HEAD}source: {{url: '{here.url}/select/{{tenant}}/prometheus'}}\ntenants: [{{id: 7}}, {{id: 1:2}}]\n"
        "queries: [{name: load, expr: load}]\n" + WRITE.format(url=receiver.url, how="tenant: anomalies"),
    )
    with running_exporter(config) as exporter:
        wait_until(lambda: written_to(receiver) == {"anomalies": {"7", "1:2"}}, "both are written", 300)
        assert {tenant for tenant, _ in here.asked} == {"7", "1:2"}
        assert exporter.number("source_up", tenant="1:2") == 1


def test_check_and_plan_go_over_the_queries_of_every_tenant(
    here: Landlord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here.unknown = {"tema-a"}
    config = write(
        tmp_path,
        f"{HEAD}source: {{url: '{here.url}'}}\ntenant_discovery: {{files: [t.yml]}}\n"
        "tenants:\n  - {id: own, shared_queries: false, queries: [{name: orders, expr: orders}]}\n"
        "  - {id: small, limits: {max_series: 1}}\n  - id: tema-a\n"
        "queries: [{name: load, expr: load}]\n",
    )
    write(tmp_path, "[found]", "t.yml")
    assert main(["check", f"--config.file={config}"]) == 0
    told = capsys.readouterr().out
    rows = {tuple(line.split()[:3]) for line in told.splitlines()}
    assert {("own", "orders", "3"), ("small", "load", "3"), ("tema-a", "load", "0"), ("found", "load", "3")} <= rows
    assert "tenant tema-a answers with no series" in told
    assert "2 shed" in told
    assert main(["plan", f"--config.file={config}"]) == 1  # one is over its limit
    told = capsys.readouterr().out
    assert "small/load: error: over the limit: 3 series, max_series is 1" in told


def test_a_backtest_and_an_explanation_are_about_a_query_of_one_tenant(
    here: Landlord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(
        tmp_path,
        f"global: {{interval: 5m, step: 5m, window: 2d}}\nsource: {{url: '{here.url}'}}\ntenants:\n  - id: plain\n"
        "  - {id: own, bearer_token: hunter2, shared_queries: false, queries: [{name: orders, expr: orders}]}\n"
        "queries: [{name: load, expr: load}]\n"
        "remote_write: [{url: '" + here.url + "/api/v1/push', tenant: anomalies}]\n",
    )
    backtest = ["backtest", f"--config.file={config}", "--from", "1h"]
    assert main(backtest) == 0
    told = capsys.readouterr().out
    assert "own/orders: 3 series" in told
    assert "plain/load: 3 series" in told
    assert "own/load" not in told
    assert here.auth["own"] == "Bearer hunter2"
    assert main([*backtest, "--query", "orders", "--tenant", "plain"]) == 1
    assert "the tenant has no such query" in capsys.readouterr().err
    series = ["--series", '{kind="1"}', "--at", "1h"]
    assert main(["explain", f"--config.file={config}", "--query", "orders", "--tenant", "own", *series]) == 0
    assert 'own / orders {kind="1"}' in capsys.readouterr().out
    assert any(tenant == "anomalies" and "anomaly_score" in expr for tenant, expr in here.asked)


def test_a_tenant_that_is_found_and_then_listed_is_one(here: Landlord, tmp_path: Path) -> None:
    text = (
        f"{HEAD}source: {{url: '{here.url}'}}\ntenant_discovery: {{files: [t.yml]}}\n"
        "queries: [{name: load, expr: load}]\n"
    )
    config = write(tmp_path, text)
    write(tmp_path, "[a, {id: b, queries: [{name: own, expr: own}]}]", "t.yml")
    with running_exporter(config, "--web.enable-lifecycle") as exporter:
        wait_until(lambda: len(watched(exporter)) == 3, "first verdicts", 300)
        # Listed now, and one of the shared queries is called as an own one of a discovered tenant.
        config.write_text(text.replace("queries:", "tenants: [{id: a}]\nqueries:").replace("name: load", "name: own"))
        assert requests.post(f"{exporter.url}/-/reload", timeout=60).status_code == 200
        wait_until(lambda: watched(exporter) == {("a", "own")}, "the one that does not fit is told, and waits")
        wait_until(lambda: "own is a shared query, too" in exporter.log, "it is told")
        wait_until(lambda: exporter.number("tenants", origin="discovery") == 0, "none of it is counted")


def test_rules_are_about_every_query_of_any_tenant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "source: {url: 'http://p'}\nqueries: [{name: load, expr: load}]\ntenants:\n  - id: a\n"
        "  - {id: b, queries: [{name: orders, expr: o, alert: {severity: info, group_by: [shop]}}]}\n"
        "  - {id: c, shared_queries: false, queries: [{name: load, expr: l, alert: {severity: SEVERITY}}]}\n"
    )
    config = write(tmp_path, text.replace("SEVERITY", "warning"))
    assert main(["rules", f"--config.file={config}"]) == 0
    told = capsys.readouterr().out
    assert 'query="orders"' in told
    assert 'query!="orders"' in told
    assert "shop" in told
    config = write(tmp_path, text.replace("SEVERITY", "critical"))
    assert main(["rules", f"--config.file={config}"]) != 0
    assert "load alerts in another way than the query of that name of another tenant" in capsys.readouterr().err
