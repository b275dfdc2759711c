"""TLS of the web server with real certificates: versions, client certificates, rotation, and what is no TLS."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from pathlib import Path

import pytest
import requests
from support.servers import wait_until
from support.webserver import PAGE, Papers, everything, peer_serial, served, written

from exporter.errors import ConfigError
from exporter.publish.web.protection import read_protection
from exporter.publish.web.tls import has_allowed_name


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


def config_of(papers: Papers, **more: object) -> Path:
    return written(papers.folder, {"tls_server_config": papers.server() | more})


def test_a_page_over_tls(papers: Papers) -> None:
    with served(config=config_of(papers)) as web:
        assert web.get(verify=papers.ca_file).content == PAGE
        with pytest.raises(requests.exceptions.SSLError):
            web.get()  # by the system's CAs
        with requests.Session() as session:  # one connection, several requests
            assert {session.get(f"{web.url}/metrics", verify=papers.ca_file, timeout=30).content for _ in range(3)} == {
                PAGE
            }


def test_inline_certificate_and_key(papers: Papers) -> None:
    named = papers.server()
    inline = {key: (papers.folder / named[f"{key}_file"]).read_text() for key in ("cert", "key")}
    with served(config=written(papers.folder, {"tls_server_config": inline})) as web:
        assert web.get(verify=papers.ca_file).status_code == 200


@pytest.mark.parametrize(("more", "version", "fits"), [
    ({}, ssl.TLSVersion.TLSv1_2, True),
    ({}, ssl.TLSVersion.TLSv1_3, True),
    ({"min_version": "TLS13"}, ssl.TLSVersion.TLSv1_2, False),
    ({"max_version": "TLS12"}, ssl.TLSVersion.TLSv1_3, False),
    ({"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}, ssl.TLSVersion.TLSv1_2, False),
])  # fmt: skip
def test_versions(papers: Papers, more: dict[str, object], version: ssl.TLSVersion, fits: bool) -> None:
    context = ssl.create_default_context(cafile=str(papers.ca_file))
    context.minimum_version = context.maximum_version = version
    with served(config=config_of(papers, **more)) as web, web.connected() as plain:
        if fits:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                assert connection.version() == ("TLSv1.2" if version == ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(plain, server_hostname="localhost")
            wait_until(lambda: web.refused("tls") == 1, "the failed handshake is counted")


def test_suites_and_curve(papers: Papers) -> None:
    context = ssl.create_default_context(cafile=str(papers.ca_file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    suites = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]
    more = {"cipher_suites": suites, "curve_preferences": ["CurveP384"]}
    with served(config=config_of(papers, **more)) as web:
        with web.connected() as plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
            cipher = connection.cipher()
        assert cipher is not None
        assert cipher[0].endswith("AES256-GCM-SHA384")
        context.set_ecdh_curve("prime256v1")
        with web.connected() as plain, pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize(("kind", "without", "strange"), [
    ("NoClientCert", True, True),
    ("RequestClientCert", True, True),
    ("VerifyClientCertIfGiven", True, False),
    ("RequireAndVerifyClientCert", False, False),
])  # fmt: skip
def test_client_certificates(papers: Papers, tmp_path_factory: pytest.TempPathFactory, kind: str, without: bool,
                             strange: bool) -> None:  # fmt: skip
    verifies = {"client_ca_file": "ca.pem"} if kind not in ("NoClientCert", "RequestClientCert") else {}
    stranger = Papers(tmp_path_factory.mktemp("stranger")).client()
    with served(config=config_of(papers, client_auth_type=kind, **verifies)) as web:
        assert web.get(verify=papers.ca_file, cert=papers.client()).content == PAGE
        assert _served(web, papers) is without
        assert _served(web, papers, cert=stranger) is strange


def _served(web, papers: Papers, **more: object) -> bool:
    try:
        return web.get(verify=papers.ca_file, **more).status_code == 200
    except (requests.exceptions.SSLError, requests.ConnectionError):
        return False


def test_names_of_client_certificates(papers: Papers) -> None:
    more = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem",
            "client_allowed_sans": ["prometheus.internal", "10.1.2.3"]}  # fmt: skip
    with served(config=config_of(papers, **more)) as web:
        assert _served(web, papers, cert=papers.client("prometheus.internal"))
        assert _served(web, papers, cert=papers.client("10.1.2.3", "address"))
        assert not _served(web, papers, cert=papers.client("evil.prometheus.internal", "other"))
        assert web.refused("client_certificate") == 1


def test_allowed_names_are_exact() -> None:
    sans = (("DNS", "a.example"), ("email", "a@b.example"), ("IP Address", "0:0:0:0:0:0:0:1"), ("URI", "spiffe://x/y"),
            ("DirName", "d.example"))  # fmt: skip
    certificate = {"subjectAltName": sans}
    for allowed in ("a.example", "a@b.example", "::1", "spiffe://x/y"):
        assert has_allowed_name(certificate, ("other", allowed))
    for other in ("example", "*.example", "A.example", "spiffe://x", "d.example", "::2"):
        assert not has_allowed_name(certificate, (other,))
    assert not has_allowed_name(None, ("a.example",))
    assert not has_allowed_name({}, ("a.example",))


# --- rotation -----------------------------------------------------------------------------------------------------


def test_a_new_certificate_is_used_without_a_restart(papers: Papers) -> None:
    with served(config=config_of(papers)) as web:
        first = peer_serial(web.port, papers.ca_file)
        assert peer_serial(web.port, papers.ca_file) == first
        session = requests.Session()
        assert session.get(f"{web.url}/metrics", verify=papers.ca_file, timeout=30).content == PAGE
        papers.server()
        assert peer_serial(web.port, papers.ca_file) != first
        assert session.get(f"{web.url}/metrics", verify=papers.ca_file, timeout=30).content == PAGE  # still connected
        session.close()
        assert web.count("config_last_reload_successful") == 1


def test_a_secret_that_kubernetes_swaps(papers: Papers, tmp_path: Path) -> None:
    """The mounted files are links through a folder link that is replaced."""
    for generation in ("one", "two"):
        (tmp_path / generation).mkdir()
        Papers(tmp_path / generation).server()
    (tmp_path / "data").symlink_to("one")
    named = {"cert_file": "data/server.crt", "key_file": "data/server.key"}
    with served(config=written(tmp_path, {"tls_server_config": named})) as web:
        peer_serial(web.port, tmp_path / "one" / "ca.pem")
        (tmp_path / "next").symlink_to("two")
        os.replace(tmp_path / "next", tmp_path / "data")  # noqa: PTH105 -- what the kubelet does
        peer_serial(web.port, tmp_path / "two" / "ca.pem")


def test_a_broken_new_certificate_leaves_the_old_one_in_force(papers: Papers, caplog: pytest.LogCaptureFixture) -> None:
    with served(config=config_of(papers)) as web:
        first = peer_serial(web.port, papers.ca_file)
        good = (papers.folder / "server.key").read_bytes()
        for broken in (b"", b"nonsense", good[:-40], b"x" * 999):
            (papers.folder / "server.key").write_bytes(broken)
            assert peer_serial(web.port, papers.ca_file) == first
            assert web.count("config_last_reload_successful") == 0
        (papers.folder / "server.key").unlink()
        assert peer_serial(web.port, papers.ca_file) == first
        failures = web.count("config_reload_failures_total")
        assert failures == 5
        peer_serial(web.port, papers.ca_file)
        assert web.count("config_reload_failures_total") == failures  # told once a change, not once a connection
        papers.server()
        assert peer_serial(web.port, papers.ca_file) != first
        assert web.count("config_last_reload_successful") == 1
    assert "the last good one stays in force" in caplog.text
    assert "server.key" in caplog.text


def test_protection_is_not_taken_away_while_it_runs(papers: Papers, caplog: pytest.LogCaptureFixture) -> None:
    path = config_of(papers)
    with served(config=path) as web, caplog.at_level(logging.ERROR):
        for text in ("{}", "", "tls_server_config:", "tls_server_conf: {}"):
            path.write_text(text)
            assert web.get(verify=papers.ca_file).content == PAGE
        path.unlink()
        assert web.get(verify=papers.ca_file).content == PAGE
        assert web.count("config_reload_failures_total") == 5
    assert "tls_server_config: can't be switched while it runs; allowed: a restart" in caplog.text


def test_a_config_that_names_other_files_is_followed(papers: Papers) -> None:
    path = config_of(papers)
    with served(config=path) as web:
        first = peer_serial(web.port, papers.ca_file)
        second = papers.server("second")
        written(papers.folder, {"tls_server_config": second})
        other = peer_serial(web.port, papers.ca_file)
        assert other != first
        papers.server("second")
        assert peer_serial(web.port, papers.ca_file) != other


# --- what does not fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "words"), [
    ({"cert_file": "none.crt"}, "tls_server_config.cert_file: can't read {folder}/none.crt: no such file or directory"),
    ({"key_file": "ca.pem"}, "tls_server_config.cert_file: can't be used with its key: "),
    ({"cert_file": "empty"}, "tls_server_config.cert_file: can't be used with its key: "),
    ({"key_file": "other.key"}, "can't be used with its key: key values mismatch"),
    ({"key_file": "locked.key"}, "can't be used with its key: the private key is encrypted"),
    ({"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "empty"},
     "tls_server_config.client_ca_file: can't be used: "),
    ({"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "."},
     "tls_server_config.client_ca_file: can't read {folder}/.: is a directory"),
])  # fmt: skip
def test_files_that_do_not_fit(papers: Papers, change: dict[str, str], words: str) -> None:
    papers.client(name="other")
    (papers.folder / "empty").write_text("")
    _lock(papers)
    path = config_of(papers, **change)
    with pytest.raises(ConfigError) as caught:
        read_protection(str(path))
    assert words.format(folder=papers.folder) in str(caught.value)


def _lock(papers: Papers) -> None:
    from cryptography.hazmat.primitives import serialization

    issued = papers.ca.issue_cert("localhost").private_key_pem.bytes()
    key = serialization.load_pem_private_key(issued, None)
    encryption = serialization.BestAvailableEncryption(b"hunter2")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (papers.folder / "locked.key").write_bytes(key.private_bytes(*form, encryption))


def test_plain_http_to_the_tls_port_is_told_so(papers: Papers) -> None:
    with served(config=config_of(papers)) as web:
        with web.connected() as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert everything(connection).endswith(b"This port speaks HTTPS.\n")
        wait_until(lambda: web.refused("tls") == 1, "it is counted")


@pytest.mark.parametrize("noise", [b"\x16", b"\x16\x03\x01\xff\xff" + b"x" * 400, b"\x00" * 10, b""])
def test_noise_at_the_tls_port_does_no_harm(papers: Papers, noise: bytes) -> None:
    with served(config=config_of(papers)) as web:
        with web.connected() as connection:
            connection.sendall(noise)
            connection.shutdown(socket.SHUT_WR)
            everything(connection)
        assert web.get(verify=papers.ca_file).content == PAGE


def test_handshakes_that_never_end_keep_nobody_out(papers: Papers) -> None:
    with served(config=config_of(papers)) as web:
        stuck = [web.connected() for _ in range(100)]
        for connection in stuck[::2]:
            connection.sendall(b"\x16\x03\x01\x02\x00")
        assert web.get(verify=papers.ca_file).content == PAGE
        for connection in stuck:
            connection.close()
