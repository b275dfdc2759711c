"""The web config file: what is read, and exactly what is said of what can't be."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.webserver import hashed
from test_configuration_page import _row

from exporter.config.web import RateLimit, WebConfig, load_web
from exporter.config.web_keys import WEB_BLOCKS
from exporter.errors import ConfigError
from exporter.publish.web.passwords import Passwords

HASH = hashed("hunter2")
PEM = '"-----BEGIN CERTIFICATE-----\\nMII\\n-----END CERTIFICATE-----\\n"'
TLS = "tls_server_config: {cert_file: a.crt, key_file: a.key"
DOCS = Path(__file__).parents[2] / "docs" / "web-security.md"


def read(folder: Path, text: str, environ: dict[str, str] | None = None) -> WebConfig:
    path = folder / "web.yml"
    path.write_text(text)
    return load_web(str(path), environ or {})


def said(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_everything(tmp_path: Path) -> None:
    config = read(tmp_path, f"""
tls_server_config:
  cert_file: tls/server.crt
  key_file: /etc/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [a.example, 10.0.0.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519]
http_server_config:
  http2: true
  headers: {{X-Frame-Options: deny, X-XSS-Protection: ''}}
basic_auth_users:
  alice: {HASH}
  bob: ${{BOB}}
rate_limit: {{interval: 500ms, burst: 7}}
""", {"BOB": HASH})  # fmt: skip
    tls = config.tls
    assert tls is not None
    assert tls.files == (f"{tmp_path}/tls/server.crt", "/etc/server.key", f"{tmp_path}/ca.crt")
    assert (tls.client_certificate, tls.allowed_sans) == ("required", ("a.example", "10.0.0.1"))
    assert (tls.min_version, tls.max_version, tls.server_order) == ("TLS12", "TLS13", False)
    assert (tls.ciphers, tls.curve) == (("ECDHE-RSA-AES128-GCM-SHA256",), "X25519")
    assert dict(config.headers) == {"X-Frame-Options": "deny"}
    assert {user: known.reveal() for user, known in config.users.items()} == {"alice": HASH, "bob": HASH}
    assert config.rate_limit == RateLimit(0.5, 7)


def test_nothing_is_asked_for(tmp_path: Path) -> None:
    for text in ("{}", "basic_auth_users:\nrate_limit:\n",
                 "rate_limit: {interval: 0s, burst: 0}\nhttp_server_config: {http2: false}"):  # fmt: skip
        assert read(tmp_path, text) == WebConfig()


def test_suites_of_tls_13_alone_leave_no_older_version(tmp_path: Path) -> None:
    config = read(tmp_path, TLS + ", cipher_suites: [TLS_AES_128_GCM_SHA256]}")
    assert config.tls is not None
    assert (config.tls.ciphers, config.tls.min_version) == ((), "TLS13")


BAD = {
    "": "web.yml:1: the file is empty; allowed: one of tls_server_config, http_server_config, basic_auth_users,"
        " rate_limit; `{}` for none of them",
    "[a]": "web.yml:1: the file must hold keys and values; allowed: one of tls_server_config, http_server_config,"
           " basic_auth_users, rate_limit; `{}` for none of them",
    "tls_config: {}": "web.yml:1: tls_config: unknown key; allowed:"
                      " tls_server_config, http_server_config, basic_auth_users, rate_limit",
    "source: {}": "web.yml:1: source: unknown key; allowed: tls_server_config, http_server_config, basic_auth_users,"
                  " rate_limit",
    "tls_server_config: {}": "web.yml:1: tls_server_config.cert_file: missing; allowed: cert or cert_file\n"
                             "web.yml:1: tls_server_config.key_file: missing; allowed: key or key_file",
    "tls_server_config:": "web.yml:1: tls_server_config.cert_file: missing; allowed: cert or cert_file\n"
                          "web.yml:1: tls_server_config.key_file: missing; allowed: key or key_file",
    f"{TLS}, cert: {PEM}}}": "web.yml:1: tls_server_config.cert: excludes `cert_file`; allowed: one of cert, cert_file",
    "tls_server_config: {cert: x, key: hunter2}":
        "web.yml:1: tls_server_config.cert: not PEM text; allowed: text with -----BEGIN CERTIFICATE-----\n"
        "web.yml:1: tls_server_config.key: not PEM text, got `<secret>`; allowed: text with -----BEGIN"
        " PRIVATE KEY-----",
    f"{TLS}, client_auth_type: RequireAnyClientCert}}":
        "web.yml:1: tls_server_config.client_auth_type: Python's TLS can't take a certificate without verifying it,"
        " got `RequireAnyClientCert`; allowed: RequireAndVerifyClientCert with client_ca_file",
    f"{TLS}, client_auth_type: Sometimes}}":
        "web.yml:1: tls_server_config.client_auth_type: not a choice, got `Sometimes`; allowed: NoClientCert,"
        " RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
    f"{TLS}, client_auth_type: RequireAndVerifyClientCert}}":
        "web.yml:1: tls_server_config.client_auth_type: needs the CAs to verify by, got `RequireAndVerifyClientCert`;"
        " allowed: with client_ca or client_ca_file",
    f"{TLS}, client_ca_file: ca.pem}}":
        "web.yml:1: tls_server_config.client_ca_file: has no effect without a client_auth_type, got `ca.pem`; allowed:"
        " with client_auth_type: RequireAndVerifyClientCert",
    f"{TLS}, client_auth_type: VerifyClientCertIfGiven, client_ca_file: c, client_allowed_sans: [a]}}":
        "web.yml:1: tls_server_config.client_allowed_sans: clients without a certificate would pass, got `[a]`;"
        " allowed: with client_auth_type: RequireAndVerifyClientCert",
    f"{TLS}, min_version: TLS13, max_version: TLS12}}":
        "web.yml:1: tls_server_config.max_version: min_version TLS13 is above max_version TLS12, got `TLS12`; allowed:"
        " a min_version up to max_version",
    f"{TLS}, max_version: TLS11}}":
        "web.yml:1: tls_server_config.max_version: min_version TLS12 is above max_version TLS11, got `TLS11`; allowed:"
        " a min_version up to max_version",
    f"{TLS}, min_version: SSL30}}":
        "web.yml:1: tls_server_config.min_version: not a choice, got `SSL30`; allowed: TLS10, TLS11, TLS12 or TLS13",
    f"{TLS}, curve_preferences: [CurveP256, X25519]}}":
        "web.yml:1: tls_server_config.curve_preferences: Python's TLS takes one curve only, got `[CurveP256, X25519]`;"
        " allowed: one curve, or no such key",
    f"{TLS}, curve_preferences: [CurveP224]}}":
        "web.yml:1: tls_server_config.curve_preferences[0]: not known, got `CurveP224`; allowed: CurveP256, CurveP384,"
        " CurveP521, X25519",
    f"{TLS}, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]}}":
        "web.yml:1: tls_server_config.cipher_suites: has none for TLS12, got `[TLS_AES_128_GCM_SHA256]`; allowed: a"
        " suite of TLS 1.2 or below",
    "http_server_config: {headers: {X-Powered-By: us}}":
        "web.yml:1: http_server_config.headers.X-Powered-By: unknown key; allowed: Content-Security-Policy,"
        " Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, X-XSS-Protection",
    "http_server_config: {headers: {X-Frame-Options: allow-from x}}":
        "web.yml:1: http_server_config.headers.X-Frame-Options: not a choice, got `allow-from x`; allowed: deny or"
        " sameorigin",
    "http_server_config: {headers: {X-Content-Type-Options: sniff}}":
        "web.yml:1: http_server_config.headers.X-Content-Type-Options: not a choice, got `sniff`; allowed: nosniff",
    'http_server_config: {headers: {Strict-Transport-Security: "a\\r\\nSet-Cookie: b"}}':
        "web.yml:1: http_server_config.headers.Strict-Transport-Security: not a header value,"
        " got `a  Set-Cookie: b`; allowed: one line of printable ASCII",
    "basic_auth_users: {alice: hunter2}":
        "web.yml:1: basic_auth_users.alice: not a bcrypt hash, got `<secret>`; allowed: what `htpasswd -nBC 10 USER`"
        " prints behind the colon",
    "basic_auth_users: {'a:b': x, '': y}":
        "web.yml:1: basic_auth_users: a user name with a colon, got `<secret>`; allowed: a name without `:`\n"
        "web.yml:1: basic_auth_users: a user without a name, got `<secret>`; allowed: a name without `:`",
    f"basic_auth_users: {{alice: '{HASH.replace('$04$', '$31$')}'}}":
        "web.yml:1: basic_auth_users.alice: a bcrypt hash of cost 31, got `<secret>`; allowed: a cost from 4 to 16",
    f"basic_auth_users: {{'{HASH}': alice}}":
        "web.yml:1: basic_auth_users.<secret>: not a bcrypt hash, got `<secret>`; allowed: what `htpasswd -nBC 10 USER`"
        " prints behind the colon",
    "basic_auth_users: [alice]":
        "web.yml:1: basic_auth_users: must be a mapping, not a list; allowed: keys and values below it",
    "rate_limit: {interval: 1s}":
        "web.yml:1: rate_limit.burst: missing; without it nothing gets through; allowed: such as `burst: 20`",
    "rate_limit: {interval: 1s, burst: 0}":
        "web.yml:1: rate_limit.burst: would let nothing through, got `0`; allowed: 1 to 1000000",
    "rate_limit: {interval: 1, burst: -1}":
        "web.yml:1: rate_limit.interval: not a duration, it needs a unit, got `1`; allowed: a duration such as 30s, 5m,"
        " 1h30m, 7d\nweb.yml:1: rate_limit.burst: out of range, got `-1`; allowed: a whole number from 0 to 1000000",
}  # fmt: skip


@pytest.mark.parametrize(("text", "messages"), BAD.items(), ids=[text[:60] for text in BAD])
def test_what_is_said_of_bad_files(tmp_path: Path, text: str, messages: str) -> None:
    assert said(tmp_path, text) == messages


def test_no_secret_is_said(tmp_path: Path) -> None:
    assert "hunter2" in "".join(BAD)
    assert not [text for text in BAD if "hunter2" in said(tmp_path, text) or HASH in said(tmp_path, text)]


def test_all_problems_at_once_in_file_order(tmp_path: Path) -> None:
    text = "rate_limit: {burst: x}\nbasic_auth_users:\n  a: b\n  c: d\ntls_server_config: {cert_file: a}\nfoo: 1\n"
    lines = [line.split(" ")[0] + line.split(" ")[1] for line in said(tmp_path, text).splitlines()]
    assert lines == ["web.yml:1:rate_limit.burst:", "web.yml:3:basic_auth_users.a:", "web.yml:4:basic_auth_users.c:",
                     "web.yml:5:tls_server_config.key_file:", "web.yml:6:foo:"]  # fmt: skip


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read the config: no such file or directory"):
        load_web(str(tmp_path / "none.yml"), {})


@pytest.mark.parametrize("block", WEB_BLOCKS)
def test_the_page_lists_the_keys_of_the_block(block: str) -> None:
    page = DOCS.read_text()
    rows = [_row(key) for key in WEB_BLOCKS[block]]
    assert "\n".join(rows) in page


def test_the_example_of_deploy_is_good_and_its_password_is_as_said(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "deploy" / "web-config.yml").read_text()
    config = read(tmp_path, text)
    assert config.tls is not None
    assert Passwords(config.users).verify((b"prometheus", b"change me"))
    strict = text.replace("#  client", "  client")
    assert strict != text
    tls = read(tmp_path, strict).tls
    assert tls is not None
    assert (tls.client_certificate, tls.allowed_sans) == ("required", ("prometheus.monitoring.svc",))
