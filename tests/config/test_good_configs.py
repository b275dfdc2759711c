"""Good configs: what each key becomes, and what stands where nothing is said."""

from __future__ import annotations

import math

import pytest
from support.good_configs import DESIGN, EVERYTHING, SMALLEST

from exporter.config import (
    BasicAuth,
    Config,
    Header,
    HttpConfig,
    OAuth2,
    ProxyConfig,
    Query,
    Secret,
    Source,
    Tenant,
    TlsConfig,
    content_hash,
    mask,
    parse,
)
from exporter.models.settings import RobustBandSettings, ShesdSettings


@pytest.fixture
def everything() -> Config:
    return parse(EVERYTHING, "/etc/ae/config.yml", {})


def test_defaults() -> None:
    assert parse(SMALLEST, "f.yml", {}) == Config(
        source=Source(
            url="http://prometheus:9090",
            http=HttpConfig(
                basic_auth=None,
                authorization=None,
                oauth2=None,
                tls=TlsConfig(),
                proxy=ProxyConfig(),
                http_headers=(),
                follow_redirects=True,
                enable_http2=True,
            ),
            timeout_s=30.0,
            accept_gzip=False,
            max_in_flight=4,
            max_points_per_query=2_000_000,
            max_body_bytes=536_870_912,
            remote_read=False,
            query_params={},
        ),
        queries=(
            Query(
                name="load",
                expr="node_load1",
                models=(RobustBandSettings(), ShesdSettings(alpha=0.05, max_anoms=0.02, seasonal="median")),
                sensitivity=1.0,
                signals=(),
                direction="both",
                min_deviation=0.0,
                min_relative_deviation=0.0,
                data_range=(-math.inf, math.inf),
                min_history_s=0,
                absent_for_s=86_400,
                interval_s=60,
                step_s=300,
                window_s=1_209_600,
            ),
        ),
        interval_s=60,
        window_s=1_209_600,
        step_s=300,
        tenants=(),
        metric_names="default",
        metrics_page="results",
        remote_write=(),
    )


def test_the_example_of_the_design() -> None:
    config = parse(DESIGN, "f.yml", {})
    assert config.tenants == (Tenant("team-a"),)
    assert config.queries[0].data_range == (0.0, math.inf)
    assert (config.window_s, config.queries[0].window_s) == (604_800, 604_800)


def test_source_with_everything(everything: Config) -> None:
    source = everything.source
    assert source.url == "https://mimir:8080/prometheus"
    assert (source.timeout_s, source.accept_gzip, source.max_in_flight) == (90.0, True, 2)
    assert (source.max_points_per_query, source.max_body_bytes) == (1_000_000, 1 << 30)
    assert source.remote_read
    assert source.query_params == {"nocache": "1", "dedup": ""}
    assert source.http == HttpConfig(
        basic_auth=BasicAuth(username="ae", password_file="/etc/ae/secrets/pw"),
        tls=TlsConfig(
            ca_file="/etc/ca.pem",
            cert_file="/etc/ae/client.pem",
            key_file="/etc/ae/client-key.pem",
            server_name="mimir.internal",
            min_version="TLS12",
            max_version="TLS13",
        ),
        proxy=ProxyConfig(url=Secret("http://proxy:3128"), no_proxy="10.0.0.0/8,.internal"),
        http_headers=(
            Header("X-Team", values=("a", "b")),
            Header("X-More", files=("/etc/ae/more.txt", "/run/more")),
        ),
        follow_redirects=False,
        enable_http2=False,
    )


def test_query_with_everything(everything: Config) -> None:
    query = everything.queries[0]
    assert query.models == (ShesdSettings(alpha=0.001, max_anoms=0.05, seasonal="stl"), RobustBandSettings())
    assert (query.sensitivity, query.direction) == (0.5, "above")
    assert (query.min_deviation, query.min_relative_deviation) == (0.01, 0.5)
    assert query.data_range == (-math.inf, 1.0)
    assert (query.min_history_s, query.absent_for_s) == (3 * 86_400, 0)
    assert (query.interval_s, query.step_s, query.window_s) == (300, 900, 60 * 86_400)
    assert '"/api/.*$"' in query.expr


def test_times_of_global_hold_where_the_query_says_nothing(everything: Config) -> None:
    query = everything.queries[1]
    assert (query.interval_s, query.step_s, query.window_s) == (30, 60, 604_800)
    assert everything.metric_names == "vmanomaly"
    assert [tenant.id for tenant in everything.tenants] == ["team-a", "a|b", "!-_.*'()"]


def test_two_dollars_are_one(everything: Config) -> None:
    assert everything.queries[1].expr == 'a{b="$${x}"} $ b'


@pytest.mark.parametrize("text", [SMALLEST, DESIGN, EVERYTHING], ids=["smallest", "design", "everything"])
def test_the_effective_config_reads_back_as_itself(text: str) -> None:
    config = parse(text, "/etc/ae/config.yml", {})
    again = parse(mask(config), "/etc/ae/config.yml", {})
    assert again == config
    assert mask(again) == mask(config)
    assert content_hash(again) == content_hash(config)


@pytest.mark.parametrize(
    ("text", "factor"), [("high", 0.85), ("normal", 1.0), ("low", 1.25), ("0.1", 0.1), ("10", 10.0)]
)
def test_sensitivity(text: str, factor: float) -> None:
    config = SMALLEST.replace("node_load1}", f"node_load1, sensitivity: {text}}}")
    assert parse(config, "f.yml", {}).queries[0].sensitivity == factor


@pytest.mark.parametrize(
    ("text", "signals"),
    [("[]", ()), ("", ()), ("[shift]", ("shift",)), ("[stale, shift]", ("stale", "shift")),
     ("[stale], window: 2d", ("stale",)), ("[shift], window: 3d", ("shift",))],
)  # fmt: skip
def test_signals(text: str, signals: tuple[str, ...]) -> None:
    config = SMALLEST.replace("node_load1}", f"node_load1, signals: {text}}}")
    assert parse(config, "f.yml", {}).queries[0].signals == signals


@pytest.mark.parametrize("block", ["global:", "tenants:", "remote_write:", "global: {}", "tenants: []"])
def test_an_empty_block_is_as_good_as_none(block: str) -> None:
    assert parse(SMALLEST + block + "\n", "f.yml", {}) == parse(SMALLEST, "f.yml", {})


def test_oauth2() -> None:
    text = """\
source:
  url: http://p
  oauth2:
    client_id: ae
    client_secret: ${SECRET}
    token_url: https://sso/token?realm=x
    scopes: [a, b]
    endpoint_params: {audience: prom}
    tls_config: {insecure_skip_verify: yes}
    proxy_from_environment: true
    proxy_connect_header: {X-P: [one, two]}
queries: [{name: a, expr: up}]
"""
    assert parse(text, "f.yml", {"SECRET": "s3"}).source.http.oauth2 == OAuth2(
        client_id="ae",
        token_url="https://sso/token?realm=x",
        client_secret=Secret("s3"),
        scopes=("a", "b"),
        endpoint_params={"audience": "prom"},
        tls=TlsConfig(insecure_skip_verify=True),
        proxy=ProxyConfig(
            from_environment=True, connect_headers=(Header("X-P", secrets=(Secret("one"), Secret("two"))),)
        ),
    )


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://localhost", "http://localhost"),
        ("http://p:9090/", "http://p:9090"),
        ("https://p/select/0/prometheus/", "https://p/select/0/prometheus"),
        ("http://[::1]:9090", "http://[::1]:9090"),
        ("http://10.0.0.1:80", "http://10.0.0.1:80"),
        ("HTTP://p", "http://p"),
    ],
)
def test_urls(url: str, kept: str) -> None:
    assert parse(SMALLEST.replace("http://prometheus:9090", f"'{url}'"), "f.yml", {}).source.url == kept


def test_objects_are_frozen_and_hashable(everything: Config) -> None:
    assert hash(everything) == hash(parse(EVERYTHING, "/etc/ae/config.yml", {}))
    with pytest.raises(AttributeError):
        everything.source.url = "http://other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        everything.source.query_params["a"] = "b"  # type: ignore[index]


def test_the_hash_changes_with_the_config_but_not_with_the_wording() -> None:
    short = parse(SMALLEST, "f.yml", {})
    assert content_hash(short) == content_hash(parse(SMALLEST + "global: {interval: 60s}\n", "f.yml", {}))
    assert content_hash(short) != content_hash(parse(SMALLEST + "global: {interval: 30s}\n", "f.yml", {}))
    assert len(content_hash(short)) == 12
