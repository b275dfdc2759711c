"""The session over TLS: whom it trusts, what it shows of itself, certificates that change."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import requests
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.recording import Connect, Serve, Server, pem, server_context, trusting

from exporter.config.schema import HttpConfig, ProxyConfig, TlsConfig
from exporter.config.secret import Secret
from exporter.errors import SourceUnavailable
from exporter.source.session import Session
from exporter.source.transport import Adapter, TlsContext, build_context, tls_advice


def _advice(session: Session, url: str) -> str:
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(url)
    return tls_advice(caught.value)


def test_ca_inline_and_from_a_file(serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path) -> None:
    server = serve(server_context(ca, "127.0.0.1"))
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    assert connect(HttpConfig(tls=trusting(ca))).get(server.url()).text == "ok"
    assert connect(HttpConfig(tls=TlsConfig(ca_file=str(path)))).get(server.url()).text == "ok"


def test_wrong_ca_is_refused_with_advice(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    server = serve(server_context(ca, "127.0.0.1"))
    told = "no trusted CA has signed the server's certificate: name its CA in tls_config.ca_file"
    assert _advice(connect(), server.url()) == told
    assert _advice(connect(HttpConfig(tls=trusting(trustme.CA()))), server.url()) == told
    assert server.seen == []


def test_callers_cannot_switch_verification_off(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    server = serve(server_context(ca, "127.0.0.1"))
    with pytest.raises(requests.exceptions.SSLError):
        connect().get(server.url(), verify=False)


def test_only_the_given_ca_is_trusted(serve: Serve, ca: trustme.CA) -> None:
    # urllib3 would load the public CAs into the context on the first request.
    server = serve(server_context(ca, "127.0.0.1"))
    context = TlsContext(trusting(ca))
    adapter = Adapter(context, trusting(ca), ProxyConfig(), {}, 1)
    adapter.send(requests.Request("GET", server.url()).prepare(), timeout=10)
    assert len(context.get().get_ca_certs()) == 1


def test_the_systems_cas_are_trusted_by_default(
    serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "system.pem"
    ca.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert connect().get(serve(server_context(ca, "127.0.0.1")).url()).text == "ok"


def test_name_mismatch_and_server_name(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    server = serve(server_context(ca, "prometheus.internal"))
    assert _advice(connect(HttpConfig(tls=trusting(ca))), server.url()) == (
        "the server's certificate is for another name: set tls_config.server_name to one it carries"
    )
    right = trusting(ca, server_name="prometheus.internal")
    assert connect(HttpConfig(tls=right)).get(server.url()).text == "ok"
    wrong = trusting(ca, server_name="other.internal")
    assert "another name" in _advice(connect(HttpConfig(tls=wrong)), server.url())


def test_insecure_skip_verify(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    server = serve(server_context(ca, "elsewhere"))
    assert connect(HttpConfig(tls=TlsConfig(insecure_skip_verify=True))).get(server.url()).text == "ok"


def test_client_certificates(serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path) -> None:
    server = serve(server_context(ca, "127.0.0.1", clients=ca))
    client = ca.issue_cert("client@example.org")
    chain, key = client.cert_chain_pems[0].bytes().decode(), client.private_key_pem.bytes().decode()
    inline = trusting(ca, cert=chain, key=Secret(key))
    assert connect(HttpConfig(tls=inline)).get(server.url()).text == "ok"
    (tmp_path / "cert.pem").write_text(chain, encoding="utf-8")
    (tmp_path / "key.pem").write_text(key, encoding="utf-8")
    files = trusting(ca, cert_file=str(tmp_path / "cert.pem"), key_file=str(tmp_path / "key.pem"))
    assert connect(HttpConfig(tls=files)).get(server.url()).text == "ok"
    mixed = trusting(ca, cert=chain, key_file=str(tmp_path / "key.pem"))
    assert connect(HttpConfig(tls=mixed)).get(server.url()).text == "ok"


def test_a_missing_client_certificate_is_refused_by_the_server(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    context = server_context(ca, "127.0.0.1", clients=ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # so that the refusal comes within the handshake
    with pytest.raises(requests.ConnectionError):
        connect(HttpConfig(tls=trusting(ca))).get(serve(context).url())


def test_tls_versions(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    context = server_context(ca, "127.0.0.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = serve(context)
    assert _advice(connect(HttpConfig(tls=trusting(ca, min_version="TLS13"))), server.url()) == (
        "no TLS version in common: see tls_config.min_version and max_version"
    )
    assert connect(HttpConfig(tls=trusting(ca, min_version="TLS12"))).get(server.url()).text == "ok"


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (None, None, (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED)),
        ("TLS13", None, (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED)),
        (None, "TLS12", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)),
        ("TLS10", "TLS11", (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_versions_of_the_context(lowest: str, highest: str, expected: tuple[ssl.TLSVersion, ...]) -> None:
    context = build_context(TlsConfig(min_version=lowest, max_version=highest))  # type: ignore[arg-type]
    assert (context.minimum_version, context.maximum_version) == expected


def test_plain_http_behind_an_https_url(server: Server, connect: Connect) -> None:
    url = server.url().replace("http:", "https:")
    assert _advice(connect(), url) == "the server does not speak TLS here: use http:// in the URL"


def test_errors_that_are_not_about_tls_get_no_advice() -> None:
    assert tls_advice(requests.ConnectionError("refused")) == ""


def test_certificates_are_read_again_when_their_file_changes(
    serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path
) -> None:
    server, path = serve(server_context(ca, "127.0.0.1")), tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    session = connect(HttpConfig(tls=TlsConfig(ca_file=str(path))))
    with pytest.raises(requests.exceptions.SSLError):
        session.get(server.url())
    _replace(path, pem(ca))
    assert session.get(server.url()).text == "ok"
    _replace(path, pem(trustme.CA()))
    with pytest.raises(requests.exceptions.SSLError):
        session.get(server.url())


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def test_a_rotation_half_done_changes_nothing(
    serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, path = serve(server_context(ca, "127.0.0.1")), tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    session = connect(HttpConfig(tls=TlsConfig(ca_file=str(path))))
    session.get(server.url())
    path.write_text("-----BEGIN CERTIF", encoding="utf-8")
    assert [session.get(server.url()).text for _ in range(3)] == ["ok"] * 3
    assert len([record for record in caplog.records if f"can't use {path}" in record.getMessage()]) == 1


def _bad_tls(tmp_path: Path, ca: trustme.CA) -> dict[str, tuple[TlsConfig, str]]:
    cert = ca.issue_cert("client@example.org")
    chain, key = cert.cert_chain_pems[0].bytes().decode(), cert.private_key_pem.bytes()
    encrypted = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")
    )
    other = ca.issue_cert("other@example.org").private_key_pem.bytes().decode()
    begin = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    return {
        "no ca file": (TlsConfig(ca_file=f"{tmp_path}/none"), f"can't use {tmp_path}/none: No such file or directory"),
        "bad ca": (TlsConfig(ca=begin), "can't use the certificates under tls_config.ca: "),
        "no cert file": (
            TlsConfig(cert_file=f"{tmp_path}/none", key=Secret(key.decode())),
            f"can't use {tmp_path}/none with its key: No such file or directory",
        ),
        "encrypted": (
            TlsConfig(cert=chain, key=Secret(encrypted.decode())),
            "can't use the certificate under tls_config.cert with its key: the private key is encrypted",
        ),
        "key of another": (
            TlsConfig(cert=chain, key=Secret(other)),
            "can't use the certificate under tls_config.cert with its key: ",
        ),
    }


@pytest.mark.parametrize("case", ["no ca file", "bad ca", "no cert file", "encrypted", "key of another"])
def test_tls_settings_that_cannot_be_used(
    serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path, case: str
) -> None:
    server = serve(server_context(ca, "127.0.0.1"))
    tls, message = _bad_tls(tmp_path, ca)[case]
    with pytest.raises(SourceUnavailable) as caught:
        connect(HttpConfig(tls=tls)).get(server.url())
    assert message in str(caught.value)
    assert caught.value.reason == "tls_config"


def test_tls_settings_do_not_matter_to_plain_http(server: Server, connect: Connect, tmp_path: Path) -> None:
    tls = TlsConfig(ca_file=f"{tmp_path}/none", server_name="x")
    assert connect(HttpConfig(tls=tls)).get(server.url()).text == "ok"
