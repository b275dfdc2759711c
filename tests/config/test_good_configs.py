"""Good configs: what they become, that defaults are filled in, and that the effective config reads back."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from exporter.config import (
    Authorization,
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
    load,
    mask,
    parse,
    unreadable_files,
)
from exporter.models.settings import RobustBandSettings, ShesdSettings

SMALLEST = """\
source: {url: http://prometheus:9090}
queries:
  - {name: load, expr: node_load1}
"""

DESIGN = """\
global:   {interval: 1m, window: 7d, step: 5m}
source:   {url: http://prometheus:9090}
tenants:
  - id: team-a
queries:
  - name: http_requests
    expr: sum by (service) (rate(http_requests_total[5m]))
    models: [robust_band, shesd]
    sensitivity: normal                          # high | normal | low, or a number
    signals: [shift, stale]
    direction: both                              # both | above | below
    min_deviation: 0
    min_relative_deviation: 0
    data_range: [0, .inf]
remote_write: []
"""

EVERYTHING = """\
global: {interval: 30s, step: 1m, window: 1w}
metric_names: vmanomaly
tenants: [{id: team-a}, {id: "a|b"}, {id: "!-_.*'()"}]
source:
  url: https://mimir:8080/prometheus/
  timeout: 1m30s
  accept_gzip: true
  max_in_flight: 2
  max_points: 1000000
  max_body_bytes: 1GiB
  remote_read: true
  params: {nocache: "1", dedup: ""}
  basic_auth: {username: ae, password_file: secrets/pw}
  tls_config:
    ca_file: /etc/ca.pem
    cert_file: client.pem
    key_file: client-key.pem
    server_name: mimir.internal
    min_version: TLS12
    max_version: TLS13
    insecure_skip_verify: false
  proxy_url: http://proxy:3128
  no_proxy: 10.0.0.0/8,.internal
  follow_redirects: false
  enable_http2: false
  http_headers:
    X-Team: {values: [a, b]}
    X-More: {files: [more.txt, /run/more]}
queries:
  - name: errors
    expr: |
      sum by (job) (rate(errors_total{path=~"/api/.*$"}[5m]))   # a comment (
        / sum by (job) (rate(requests_total[5m]))
    models:
      - {name: shesd, alpha: 1e-3, max_anoms: .05, seasonal: stl}
      - robust_band
    sensitivity: 0.5
    direction: above
    min_deviation: 0.01
    min_relative_deviation: 5e-1
    data_range: [-.inf, 1]
    min_history: 3d
    absent_for: 0
    interval: 5m
    step: 15m
    window: 60d
  - name: dollars
    expr: 'a{b="$$$${x}"} $ b'
"""


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


def test_json_is_yaml() -> None:
    text = '{"source": {"url": "http://p"}, "queries": [{"name": "a", "expr": "up"}]}'
    assert parse(text, "f.yml", {}).source.url == "http://p"


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())
    assert load(str(path), {}) == parse(SMALLEST, str(path), {})


def test_aliases_and_merge_keys() -> None:
    text = """\
source: {url: http://p}
queries:
  - &base {name: a, expr: up, direction: above, min_history: 1d}
  - {<<: *base, name: b}
  - <<: [{direction: below}, *base]
    name: c
    models: &m [shesd]
  - {name: d, expr: up, models: *m}
"""
    queries = parse(text, "f.yml", {}).queries
    assert [(query.name, query.direction, query.min_history_s) for query in queries] == [
        ("a", "above", 86_400),
        ("b", "above", 86_400),
        ("c", "below", 86_400),
        ("d", "both", 0),
    ]
    assert queries[3].models == (ShesdSettings(),)


def test_variables_are_expanded_everywhere() -> None:
    text = """\
global:
  interval: ${EVERY}
source:
  url: http://${HOST}:${PORT}
  max_in_flight: ${FLIGHT}
  accept_gzip: ${GZIP}
tenants:
  - id: team-${TEAM}
queries:
  - name: a
    expr: 'up{cost="$${HOST}", job=~"x$"}'
    sensitivity: ${SENSE}
"""
    environ = {
        "EVERY": "5m",
        "HOST": "prom",
        "PORT": "9090",
        "FLIGHT": "2",
        "GZIP": "true",
        "TEAM": "9",
        "SENSE": "0.5",
    }
    config = parse(text, "f.yml", environ)
    assert config.interval_s == 300
    assert config.source.url == "http://prom:9090"
    assert (config.source.max_in_flight, config.source.accept_gzip) == (2, True)
    assert config.tenants[0].id == "team-9"
    assert config.queries[0].expr == 'up{cost="${HOST}", job=~"x$"}'
    assert config.queries[0].sensitivity == 0.5


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AE_TEST_HOST", "from-env")
    path = tmp_path / "config.yml"
    path.write_text("source: {url: 'http://${AE_TEST_HOST}'}\nqueries: [{name: a, expr: up}]\n", encoding="utf-8")
    assert load(str(path)).source.url == "http://from-env"


def test_relative_files_start_at_the_config(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(SMALLEST.replace("9090}", "9090, bearer_token_file: token}"), encoding="utf-8")
    http = load(str(path), {}).source.http
    assert http.authorization == Authorization(type="Bearer", credentials_file=str(tmp_path / "token"))


def test_files_that_are_not_there_are_told_by_check(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x", encoding="utf-8")
    text = """\
source:
  url: http://p
  tls_config: {ca_file: there, cert_file: gone, key_file: there}
  http_headers: {X-A: {files: [there, away]}}
  oauth2: {client_id: a, client_secret_file: lost, token_url: http://sso, tls_config: {ca_file: absent}}
queries: [{name: a, expr: up}]
"""
    told = unreadable_files(parse(text, str(tmp_path / "config.yml"), {}))
    assert told == (
        f"source.tls_config.cert_file: can't read {tmp_path}/gone: no such file or directory",
        f"source.oauth2.client_secret_file: can't read {tmp_path}/lost: no such file or directory",
        f"source.oauth2.tls_config.ca_file: can't read {tmp_path}/absent: no such file or directory",
        f"source.http_headers.X-A.files[1]: can't read {tmp_path}/away: no such file or directory",
    )


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
