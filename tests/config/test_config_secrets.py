"""Secrets are never seen: not in the shown config, not in a repr, not in an error."""

from __future__ import annotations

import copy
import dataclasses
import logging

import pytest
import yaml

from exporter.config import MASK, Config, Secret, content_hash, mask, mask_url, parse
from exporter.config.secret import sounds_secret
from exporter.errors import ConfigError

KEY = "-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----\\n"
CERT = "-----BEGIN CERTIFICATE-----\\nMII\\n-----END CERTIFICATE-----\\n"

SECRETS = {
    "password": "basic_auth: {username: ae, password: hunter2}",
    "credentials": "authorization: {type: Token, credentials: hunter2}",
    "bearer": "bearer_token: hunter2",
    "client secret": "oauth2: {client_id: a, client_secret: hunter2, token_url: 'http://sso'}",
    "endpoint params": "oauth2: {client_id: a, client_secret: x, token_url: http://s, endpoint_params: {q: hunter2}}",
    "token url": "oauth2: {client_id: a, client_secret: x, token_url: 'http://sso?key=hunter2'}",
    "tls key": f'tls_config: {{key: "{KEY}", cert: "{CERT}"}}',
    "oauth2 proxy": "oauth2: {client_id: a, client_secret: x, token_url: 'http://s', proxy_url: 'http://u:hunter2@p'}",
    "proxy": "proxy_url: http://user:hunter2@proxy:3128",
    "connect header": "proxy_url: http://p\nproxy_connect_header: {X-P: [hunter2]}",
    "header secret": "http_headers: {X-A: {secrets: [hunter2]}}",
    "header value of a secret name": "http_headers: {X-Api-Key: {values: [hunter2]}}",
    "param of a secret name": "params: {access_token: hunter2}",
    "from the environment": "bearer_token: ${PASSWORD}",
}


def config_with(block: str) -> Config:
    text = "source:\n  url: http://prometheus\n  " + block.replace("\n", "\n  ")
    return parse(text + "\nqueries: [{name: a, expr: up}]\n", "f.yml", {"PASSWORD": "hunter2"})


@pytest.mark.parametrize("block", SECRETS.values(), ids=SECRETS)
def test_no_secret_is_shown(block: str) -> None:
    config = config_with(block)
    shown = [mask(config), repr(config), str(config), f"{config}", repr(config.source), repr(config.source.http)]
    assert not [text for text in shown if "hunter2" in text]
    assert MASK in mask(config)


@pytest.mark.parametrize("block", SECRETS.values(), ids=SECRETS)
def test_the_shown_config_is_good_yaml_and_a_good_config(block: str) -> None:
    # A private key shown as `<secret>` is no PEM text any more; everything else reads back.
    shown = mask(config_with(block))
    assert yaml.safe_load(shown)["source"]["url"] == "http://prometheus"
    if "key:" not in block:
        assert mask(parse(shown, "f.yml", {})) == shown


def test_the_hash_does_not_depend_on_secrets() -> None:
    one, other = (config_with(f"basic_auth: {{username: ae, password: {word}}}") for word in ("hunter2", "sesame"))
    assert one != other
    assert content_hash(one) == content_hash(other)


def test_the_secret_is_there_for_those_who_ask() -> None:
    auth = config_with(SECRETS["password"]).source.http.basic_auth
    assert auth is not None
    assert auth.password.reveal() == "hunter2"


def test_a_secret_hides_from_every_way_of_printing(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("hunter2")
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r", secret, [secret])
    ways = [str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{secret:s}", "%s" % secret, caplog.text]  # noqa: UP031
    assert not [way for way in ways if "hunter2" in way]


def test_taking_a_config_apart_keeps_the_secret_whole() -> None:
    apart = dataclasses.asdict(config_with(SECRETS["bearer"]).source.http)
    assert apart["authorization"]["credentials"] == Secret("hunter2")
    assert "hunter2" not in repr(apart)


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == copy.deepcopy(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret("")


BAD = {
    "number": "basic_auth: {username: a, password: 4815162342}",
    "list": "basic_auth: {username: a, password: [4815162342]}",
    "block": "bearer_token: {a: 4815162342x}",
    "line break": 'bearer_token: "4815162342\\nx"',
    "not pem": "tls_config: {key: 4815162342a}",
    "wrong place": "basic_auth: u:4815162342",
    "misspelt": "basic_auth: {username: a, pasword: x4815162342}",
    "whole header": "authorization: {type: Bearer 4815162342, credentials: x}",
    "user and password": "basic_auth: {username: 'u:4815162342', password: x}",
    "url": "proxy_url: 'http://u:4815162342@host:port'",
    "url in a mess": "proxy_url: 'u:4815162342@host'",
    "url with slash": "proxy_url: 'http://u:4815162342/x@host/x'",
    "variable": "bearer_token: '4815162342${NONE}'",
    "broken variable": "bearer_token: '4815162342${'",
    "header": "http_headers: {X-A: {secrets: [4815162342]}}",
    "header value": "http_headers: {X-Token: {values: [4815162342]}}",
    "header of wrong form": "http_headers: {X-A: x4815162342}",
    "connect header": "proxy_url: http://p\nproxy_connect_header: {X-P: [4815162342]}",
    "param": "params: {api_key: 4815162342}",
    "endpoint param": "oauth2: {client_id: a, client_secret: x, token_url: http://s, endpoint_params: {a: 4815162342}}",
    "token url": "oauth2: {client_id: a, client_secret: x, token_url: 'http://a:4815162342@s/'}",
    "twice": "bearer_token: x4815162342\nbearer_token: y4815162342",
    "both": "bearer_token: x4815162342\nbasic_auth: {username: a, password: x4815162342}",
    "not yaml": "bearer_token: 'x4815162342",
    "tag": "bearer_token: !foo x4815162342",
}


@pytest.mark.parametrize("block", BAD.values(), ids=BAD)
def test_no_secret_is_told_in_an_error(block: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_with(block)
    told = str(caught.value) + repr(caught.value) + repr(caught.value.problems)
    assert "4815162342" not in told


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://p:9090/x", "http://p:9090/x"),
        ("http://u:p@h:1/x", "http://<secret>@h:1/x"),
        ("http://u:p@ss@h:1", "http://<secret>@h:1"),
        ("http://u:p/a@h", "http://<secret>@h"),
        ("u:p@h", "<secret>@h"),
        ("//u:p@h", "//<secret>@h"),
        ("http:u:p@h", "<secret>@h"),
        ("http://h?a=b", "http://h?<secret>"),
        ("http://h#a?b", "http://h#<secret>"),
        ("http://u:p\n@h", "http://<secret>@h"),
        ("", ""),
    ],
)
def test_urls_are_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_names_that_sound_secret() -> None:
    assert all(sounds_secret(name) for name in ("X-Api-Key", "access_token", "PASSWORD", "X-Auth", "client_assertion"))
    assert not any(sounds_secret(name) for name in ("nocache", "X-Team", "dedup", "partial_response"))
