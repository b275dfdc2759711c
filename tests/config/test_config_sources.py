"""Where the values of a config come from: the environment, files beside it, aliases, other spellings of YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.good_configs import SMALLEST

from exporter.config import (
    Authorization,
    load,
    parse,
    unreadable_files,
)
from exporter.models.settings import ShesdSettings


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
