"""remote_write blocks: what they become, what fills in, what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.config import (
    MASK,
    BasicAuth,
    Config,
    Header,
    HttpConfig,
    QueueConfig,
    RemoteWrite,
    Secret,
    TlsConfig,
    content_hash,
    mask,
    parse,
    unreadable_files,
)

START = "source: {url: 'http://p:9090'}\nqueries: [{name: a, expr: up}]\n"

EVERYTHING = """\
metrics_page: self
remote_write:
  - url: https://mimir/api/v1/push/
    name: long-term.1:a
    remote_timeout: 1m
    headers: {X-Scope-OrgID: team, X-Api-Key: hunter2}
    protobuf_message: io.prometheus.write.v2.Request
    write_relabel_configs: []
    basic_auth: {username: ae, password: hunter2}
    tls_config: {ca_file: ca.pem}
    follow_redirects: false
    http_headers: {X-More: {secrets: [hunter2]}}
    queue_config:
      capacity: 1000
      max_bytes: 1MiB
      max_samples_per_send: 500
      batch_send_deadline: 1s
      min_backoff: 100ms
      max_backoff: 1m
      retry_on_http_429: false
      sample_age_limit: 1h
      min_shards: 1
      max_shards: 200
  - url: http://victoria:8428/api/v1/write?extra_label=key%3Dhunter2
"""


def config_of(text: str) -> Config:
    return parse(START + text, "/etc/ae/config.yml", {})


def queue_of(text: str) -> QueueConfig:
    return config_of(f"remote_write: [{{url: 'http://h/w', queue_config: {text}}}]\n").remote_write[0].queue


def test_everything() -> None:
    config = config_of(EVERYTHING)
    assert config.metrics_page == "self"
    assert config.remote_write == (
        RemoteWrite(
            name="long-term.1:a",
            url="https://mimir/api/v1/push/",
            timeout_s=60.0,
            headers=(Header("X-Scope-OrgID", ("team",)), Header("X-Api-Key", ("hunter2",))),
            http=HttpConfig(
                basic_auth=BasicAuth("ae", password=Secret("hunter2")),
                tls=TlsConfig(ca_file="/etc/ae/ca.pem"),
                follow_redirects=False,
                http_headers=(Header("X-More", secrets=(Secret("hunter2"),)),),
            ),
            message="io.prometheus.write.v2.Request",
            queue=QueueConfig(1000, 1 << 20, 500, 1.0, 0.1, 60.0, retry_on_http_429=False, sample_age_limit_s=3600.0),
        ),
        RemoteWrite("victoria:8428", "http://victoria:8428/api/v1/write?extra_label=key%3Dhunter2"),
    )


def test_defaults() -> None:
    (target,) = config_of("remote_write: [{url: 'http://[::1]:9090/api/v1/write'}]\n").remote_write
    assert target == RemoteWrite(
        name="[::1]:9090",
        url="http://[::1]:9090/api/v1/write",
        timeout_s=30.0,
        headers=(),
        http=HttpConfig(),
        message="prometheus.WriteRequest",
        queue=QueueConfig(10_000_000, 512 << 20, 2000, 5.0, 0.03, 5.0, retry_on_http_429=True, sample_age_limit_s=0.0),
    )


def test_defaults_give_way_to_what_is_given() -> None:
    assert queue_of("{capacity: 100}").max_samples_per_send == 100
    assert queue_of("{min_backoff: 10s}").max_backoff_s == 10.0
    assert queue_of("{max_backoff: 10ms}").min_backoff_s == 0.01
    assert queue_of("{batch_send_deadline: 0s}").batch_send_deadline_s == 0.0


def test_no_secret_is_shown_and_the_shown_config_is_a_good_one() -> None:
    config = config_of(EVERYTHING)
    shown = mask(config)
    assert not [text for text in (shown, repr(config), str(config.remote_write)) if "hunter2" in text]
    assert shown.count(MASK) == 4
    assert mask(parse(shown, "/etc/ae/config.yml", {})) == shown
    assert content_hash(config) == content_hash(config_of(EVERYTHING.replace("hunter2", "sesame")))


def test_a_config_without_secrets_reads_back_equal() -> None:
    config = config_of("remote_write: [{url: 'http://h/w', headers: {X-A: a$$b}, queue_config: {capacity: 7}}]\n")
    assert parse(mask(config), "f.yml", {}) == config


@pytest.mark.parametrize("text", ["", "remote_write:\n", "remote_write: []\n", "metrics_page: results\n"])
def test_none(text: str) -> None:
    assert config_of(text).remote_write == ()


def test_check_looks_at_the_files_of_targets_too(tmp_path: Path) -> None:
    text = "remote_write: [{url: 'http://h/w', bearer_token_file: none.txt}]\n"
    config = parse(START + text, str(tmp_path / "config.yml"), {})
    (told,) = unreadable_files(config)
    assert told.startswith("remote_write[0].authorization.credentials_file: can't read ")
