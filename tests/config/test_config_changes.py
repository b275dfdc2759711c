"""What a change of the config leaves as it was."""

from __future__ import annotations

import pytest

from exporter.config import Config, parse
from exporter.config.changes import reads_as, same_data

QUERIES = "queries: [{name: m, expr: m}]\n"


def config(source: str = "", more: str = "") -> Config:
    return parse(f"source: {{url: 'http://a', {source}}}\n{more}{QUERIES}", "config.yml", {})


BEARER = "authorization: {credentials: one}"
BASIC = "basic_auth: {username: me, password: one}"
CLIENT = "oauth2: {client_id: me, client_secret: one, token_url: 'http://t'}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BEARER, BEARER.replace("one", "two")),
        (BEARER, "bearer_token_file: /token"),
        (BASIC, BASIC.replace("one", "two")),
        (CLIENT, CLIENT.replace("one", "two")),
        ("", "tls_config: {insecure_skip_verify: true}"),
        ("http_headers: {X-Api-Key: {values: [one]}}", "http_headers: {X-Api-Key: {values: [two]}}"),
        ("http_headers: {X-Org: {secrets: [one]}}", "http_headers: {X-Org: {secrets: [two]}}"),
        ("http_headers: {X-Org: {values: [one]}}", "http_headers: {x-org: {values: [one]}}"),
        ("", "timeout: 7s"),
    ],
)
def test_a_renewed_credential_reads_the_same(before: str, after: str) -> None:
    old, new = config(before), config(after)
    assert reads_as(old.source) == reads_as(new.source)
    assert same_data(new, old)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BASIC, BASIC.replace(": me", ": you")),
        (BASIC, BEARER),
        (CLIENT, CLIENT.replace(": me", ": you")),
        ("", "http_headers: {X-Scope-OrgID: {values: [one]}}"),
        ("http_headers: {X-Org: {values: [one]}}", "http_headers: {X-Org: {values: [two]}}"),
    ],
)
def test_who_asks_as_somebody_else_may_be_shown_other_series(before: str, after: str) -> None:
    assert reads_as(config(before).source) != reads_as(config(after).source)


@pytest.mark.parametrize(
    ("source", "more", "same"),
    [
        ("", "publish: anomalous\n", True),
        ("", "links: {grafana: 'http://g'}\n", True),
        ("", "tenants: [{id: a}]\n", True),
        ("params: {extra_label: a=b}", "", False),
        ("", "metric_names: vmanomaly\n", False),
        ("", "global: {external_labels: {cluster: a}}\n", False),
        ("", "remote_write: [{url: 'http://w'}]\n", False),
    ],
)
def test_what_concerns_every_result(source: str, more: str, same: bool) -> None:
    assert same_data(config(source, more), config()) is same
