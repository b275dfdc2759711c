"""What holds for a tenant: its queries, limits, credentials, where it is read and written."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.config import (
    BasicAuth,
    Config,
    DiscoveryQuery,
    Header,
    Limits,
    Tenant,
    content_hash,
    mask,
    parse,
    unreadable_files,
)
from exporter.config.per_tenant import (
    alert_conflicts,
    header_of,
    queries_of,
    query_names,
    rule_queries,
    source_of,
    targets_of,
    tenant_of,
    tenants_of,
)
from exporter.discovery import with_tenants
from exporter.errors import ConfigError

TEXT = """\
source: {url: 'http://mimir:8080/prometheus', basic_auth: {username: all, password: hunter2}, tls_config: {ca_file: ca}}
limits: {max_series: 900}
tenants:
  - id: plain
  - id: own
    url: http://mimir:8080/other
    interval: 5m
    limits: {max_series: 5, query_timeout: 10s}
    max_in_flight: 2
    bearer_token: hunter2
    queries:
      - {name: orders, expr: orders}
      - {name: rare, expr: rare, interval: 1m, limits: {max_series: 7}}
  - id: alone
    url: https://elsewhere/prometheus
    shared_queries: false
    queries: [{name: load, expr: other_load, alert: {severity: info}}]
queries:
  - {name: load, expr: load, limits: {max_series: 100, max_points: 200000}}
  - {name: disk, expr: disk, interval: 30s}
remote_write:
  - {url: 'http://mimir:8080/api/v1/push', name: each, per_tenant: true}
  - {url: 'http://mimir:8080/api/v1/push', name: one, tenant: ops, bearer_token: hunter2}
"""
CLUSTER = """\
source: {url: 'http://vmselect:8481/select/{tenant}/prometheus'}
tenants: [{id: 7}, {id: 1:2}]
queries: [{name: load, expr: load}]
remote_write: [{url: 'http://vminsert:8480/insert/{tenant}/prometheus/api/v1/write', per_tenant: true}]
"""


@pytest.fixture
def config() -> Config:
    return parse(TEXT, "/etc/ae/f.yml", {})


def test_own_queries_are_beside_the_shared_ones_or_in_place_of_them(config: Config) -> None:
    names = {tenant.id: [query.name for query in queries_of(config, tenant)] for tenant in tenants_of(config)}
    assert names == {"plain": ["load", "disk"], "own": ["load", "disk", "orders", "rare"], "alone": ["load"]}
    assert queries_of(config, tenant_of(config, "alone"))[0].expr == "other_load"
    assert query_names(config) == ["load", "disk", "orders", "rare"]


def test_the_limits_and_the_interval_of_a_tenant_are_in_place_of_those_of_shared_queries(config: Config) -> None:
    load, disk, orders, rare = queries_of(config, tenant_of(config, "own"))
    assert [query.interval_s for query in (load, disk, orders, rare)] == [300, 300, 300, 60]
    assert load.limits == Limits(max_series=5, max_points=200_000, query_timeout_s=10)
    assert disk.limits.max_series == 5
    assert (orders.limits.max_series, rare.limits.max_series, rare.limits.query_timeout_s) == (5, 7, 10)
    plain = queries_of(config, tenant_of(config, "plain"))
    assert [query.limits.max_series for query in plain] == [100, 900]


def test_credentials_are_the_tenants_own_and_never_go_to_another_host(config: Config) -> None:
    sources = {tenant.id: source_of(config, tenant) for tenant in tenants_of(config)}
    assert sources["plain"].http is config.source.http
    own = sources["own"]
    assert (own.url, own.max_in_flight) == ("http://mimir:8080/other", 2)
    assert own.http.basic_auth is None
    assert own.http.authorization is not None
    assert own.http.tls.ca_file == "/etc/ae/ca"
    alone = sources["alone"].http
    assert (alone.basic_auth, alone.authorization, alone.http_headers) == (None, None, ())
    assert alone.tls.ca_file == "/etc/ae/ca"
    assert [header_of(config, tenant) for tenant in tenants_of(config)] == ["plain", "own", "alone"]


def test_results_go_to_each_tenant_or_to_one(config: Config) -> None:
    plain, own, alone, one = targets_of(config)
    assert [target.name for target in (plain, own, alone, one)] == ["each/plain", "each/own", "each/alone", "one"]
    assert plain.headers == (Header("X-Scope-OrgID", values=("plain",)),)
    assert (plain.per_tenant, plain.tenant) == (True, "plain")
    assert plain.http == config.remote_write[0].http
    assert own.http.authorization is not None  # the target has none, and is on the host that the tenant is read from
    assert alone.http.authorization is None
    assert one.headers == (Header("X-Scope-OrgID", values=("ops",)),)
    assert (one.per_tenant, one.queue) == (False, config.remote_write[1].queue)


def test_queues_of_tenants_share_the_room_of_one(config: Config) -> None:
    room = config.remote_write[0].queue
    plain = targets_of(config)[0].queue
    assert (plain.capacity, plain.max_bytes) == (room.capacity // 4, room.max_bytes // 4)
    many = with_tenants(config, tuple(Tenant(f"t{i}", discovered=True) for i in range(100_000)))
    least = targets_of(many)[0].queue
    assert (least.capacity, least.max_bytes) == (room.max_samples_per_send, 1 << 20)


def test_a_tenant_in_the_path_has_no_header() -> None:
    config = parse(CLUSTER, "f.yml", {})
    assert [tenant.id for tenant in config.tenants] == ["7", "1:2"]
    urls = [source_of(config, tenant).url for tenant in config.tenants]
    assert urls == [f"http://vmselect:8481/select/{name}/prometheus" for name in ("7", "1:2")]
    assert [header_of(config, tenant) for tenant in config.tenants] == ["", ""]
    seven, _ = targets_of(config)
    assert (seven.url, seven.headers) == ("http://vminsert:8480/insert/7/prometheus/api/v1/write", ())


@pytest.mark.parametrize(
    "text", [TEXT, CLUSTER, TEXT.replace("tenants:\n", "tenant_discovery: {files: [t]}\ntenants:\n")]
)
def test_the_effective_config_reads_back_and_tells_no_secret(text: str) -> None:
    config = parse(text, "/etc/ae/f.yml", {})
    shown = mask(config)
    assert "hunter2" not in shown
    assert mask(parse(shown, "/etc/ae/f.yml", {})) == shown


def test_discovered_tenants_are_no_part_of_the_config(config: Config) -> None:
    more = with_tenants(config, (Tenant("found", discovered=True),))
    assert content_hash(more) == content_hash(config)
    assert [tenant.id for tenant in tenants_of(more)] == ["plain", "own", "alone", "found"]
    assert with_tenants(more, ()) == config


def test_where_every_tenant_has_queries_of_its_own_none_need_be_shared() -> None:
    text = """
source: {url: 'http://m:9009/prometheus'}
tenants:
  - {id: a, queries: [{name: a, expr: up}]}
  - {id: b, shared_queries: false, queries: [{name: a, expr: down}, {name: b, expr: up}]}
"""
    config = parse(text, "f.yml", {})
    assert {tenant.id: [query.expr for query in queries_of(config, tenant)] for tenant in config.tenants} == {
        "a": ["up"], "b": ["down", "up"],
    }  # fmt: skip
    assert query_names(config) == ["a", "b"]
    assert mask(parse(mask(config), "f.yml", {})) == mask(config)


def test_without_tenants_there_is_one_without_a_name_and_with_a_discovery_none_yet() -> None:
    text = "source: {url: 'http://p'}\nqueries: [{name: a, expr: up}]\n"
    assert tenants_of(parse(text, "f.yml", {})) == (Tenant(""),)
    discovery = "tenant_discovery: {query: {expr: up, label: user, tenant: ops}, refresh: 1m, max_tenants: 3}\n"
    found = parse(text + discovery, "f.yml", {})
    assert tenants_of(found) == ()
    assert found.tenant_discovery is not None
    assert found.tenant_discovery.query == DiscoveryQuery("user", "up", "ops")


def test_rules_see_each_name_once_and_a_conflict_of_alerts_is_told(config: Config) -> None:
    shortest = {query.name: query.interval_s for query in rule_queries(config)}
    longest = {query.name: query.interval_s for query in rule_queries(config, longest=True)}
    assert shortest == {"load": 60, "disk": 30, "orders": 300, "rare": 60}
    assert longest == {"load": 300, "disk": 300, "orders": 300, "rare": 60}
    assert alert_conflicts(config) == [(2, "load")]


# --- files of a discovery ---------------------------------------------------------------------------------------------


def listed(text: str, base: str = TEXT) -> tuple[Tenant, ...]:
    config = parse("tenant_discovery: {files: [t.yml]}\n" + base, "/etc/ae/f.yml", {"SECRET": "hunter2"})
    assert config.tenant_discovery is not None
    return config.tenant_discovery.parse(text, "t.yml")


def test_a_file_lists_ids_and_blocks_in_yaml_or_json() -> None:
    found = listed("- a\n- {id: b, interval: 5m, basic_auth: {username: x, password_file: pw}}\n- 'c|d'\n")
    assert [tenant.id for tenant in found] == ["a", "b", "c|d"]
    assert all(tenant.discovered for tenant in found)
    assert found[1].http is not None
    assert found[1].http.basic_auth == BasicAuth("x", password_file="/etc/ae/pw")
    assert [tenant.id for tenant in listed('{"tenants": ["a", {"id": "b"}]}')] == ["a", "b"]
    assert listed("[]") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty; allowed: a list of tenants, or `[]`"),
        ("a: b\n", "must be a list"),
        ("just text\n", "must be a list"),
        ("- a b\n", "not a tenant id, got `a b`"),
        ("- a\n- a\n", "the tenant a is listed twice"),
        ("- {id: a, quries: []}\n", "unknown key (did you mean `queries`?)"),
        ("- {id: a, queries: [{name: load, expr: x}]}\n", "load is a shared query, too"),
        ("- '${SECRET}'\n", "the environment variable SECRET is not set"),
        ("- [a]\n", "must be a mapping, not a list"),
        ("- 7\n", "must be text, but YAML takes it for a number"),
        ("- [a\n", "not valid YAML"),
        ("[" * 5000, "nests too deep"),
        ("- a\x00b\n", "control character U+0000"),
    ],
)
def test_a_file_that_is_no_list_of_tenants(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"t\.yml") as caught:
        listed(text)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_files_that_a_tenant_names_are_looked_at(tmp_path: Path) -> None:
    own = TEXT.replace("bearer_token: hunter2\n    queries", "bearer_token_file: gone\n    queries")
    text = "tenant_discovery: {files: [none.yml]}\n" + own
    told = unreadable_files(parse(text, str(tmp_path / "f.yml"), {}))
    assert any(line.startswith("tenants[1].authorization.credentials_file: can't read") for line in told)
    assert any(line.startswith("tenant_discovery.files[0]: can't read") for line in told)
