"""The session against real servers on the loopback interface: credentials, redirects, TLS, proxies, OAuth 2.0."""

from __future__ import annotations

import base64
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from prometheus_api_client import PrometheusConnect

from exporter.config.schema import Authorization, BasicAuth, Header, HttpConfig, OAuth2, ProxyConfig, TlsConfig
from exporter.config.secret import Secret
from exporter.errors import SourceRefused, SourceUnavailable
from exporter.source.credentials import Tokens, lifetime_s
from exporter.source.proxies import bypasses
from exporter.source.session import Session, open_session
from exporter.source.transport import Adapter, TlsContext, build_context, tls_advice


@dataclass
class Seen:
    """One request as a server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: str = ""


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Server:
    """A loopback server that records requests; ``answer`` decides what to say."""

    httpd: ThreadingHTTPServer
    scheme: str = "http"
    seen: list[Seen] = field(default_factory=list)
    answer: Callable[[Seen], Answer] = lambda seen: (200, {}, b"ok")

    @property
    def port(self) -> int:
        return self.httpd.server_address[1]

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def headers(self, name: str) -> list[str | None]:
        return [seen.headers.get(name) for seen in self.seen]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        seen = Seen(self.command, self.path, {name.lower(): text for name, text in self.headers.items()}, body)
        self.owner.seen.append(seen)
        status, headers, answer = self.owner.answer(seen)
        self.send_response(status)
        for name, text in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = _handle  # noqa: N815

    def do_CONNECT(self) -> None:
        seen = Seen(self.command, self.path, {name.lower(): text for name, text in self.headers.items()})
        self.owner.seen.append(seen)
        # Whatever name is asked for lives on this machine.
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as target:
            self.send_response(200)
            self.end_headers()
            _relay(self.connection, target)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _relay(one: socket.socket, other: socket.socket) -> None:
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what several of these tests are about."""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(context: ssl.SSLContext | None = None) -> Server:
        handler = type("Handler", (_Handler,), {})
        httpd = _Quiet(("127.0.0.1", 0), handler)
        server = Server(httpd, "https" if context else "http")
        handler.owner = server  # type: ignore[attr-defined]
        if context:
            httpd.socket = context.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.httpd.shutdown()
        server.httpd.server_close()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture
def connect() -> Iterator[Callable[..., Session]]:
    sessions: list[Session] = []

    def start(http: HttpConfig | None = None, **kwargs: object) -> Session:
        sessions.append(open_session(http or HttpConfig(), user_agent="anomaly-exporter/test", **kwargs))  # type: ignore[arg-type]
        return sessions[-1]

    yield start
    for session in sessions:
        session.close()


Connect = Callable[..., Session]
Serve = Callable[..., Server]


# What every request carries.


def test_user_agent_and_identity_encoding(server: Server, connect: Connect) -> None:
    assert connect().post(server.url("/api/v1/query"), data={"query": "up"}).text == "ok"
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/api/v1/query", "query=up")
    assert seen.headers["user-agent"] == "anomaly-exporter/test"
    assert seen.headers["accept-encoding"] == "identity"
    assert "authorization" not in seen.headers


def test_a_caller_may_ask_for_gzip(server: Server, connect: Connect) -> None:
    connect().get(server.url(), headers={"Accept-Encoding": "gzip"})
    assert server.headers("accept-encoding") == ["gzip"]


def test_connections_are_kept(server: Server, connect: Connect) -> None:
    ports = []
    server.answer = lambda seen: (200, {}, b"")
    server.httpd.RequestHandlerClass.setup = _noting(ports)  # type: ignore[method-assign]
    session = connect()
    for _ in range(3):
        session.get(server.url())
    assert len(ports) == 1


def _noting(ports: list[int]) -> Callable[[_Handler], None]:
    def setup(handler: _Handler) -> None:
        ports.append(handler.client_address[1])
        BaseHTTPRequestHandler.setup(handler)

    return setup


def test_many_threads_share_a_session(server: Server, connect: Connect) -> None:
    session = connect(pool_size=8)
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda i: session.get(server.url(f"/{i}")).text, range(64)))
    assert texts == ["ok"] * 64
    assert {seen.path for seen in server.seen} == {f"/{i}" for i in range(64)}


def test_there_is_a_default_timeout(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(requests.exceptions.ReadTimeout):
            connect(timeout_s=0.2).get(url)
        with pytest.raises(requests.exceptions.ReadTimeout):
            connect().get(url, timeout=0.2)


def test_the_environment_is_not_looked_at(
    server: Server, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    monkeypatch.delenv("no_proxy", raising=False)
    assert connect().get(server.url()).status_code == 200
    assert server.headers("authorization") == [None]


def test_cookies_are_not_kept(server: Server, connect: Connect) -> None:
    server.answer = lambda seen: (200, {"Set-Cookie": "a=b"}, b"")
    session = connect()
    session.get(server.url())
    session.get(server.url())
    assert server.headers("cookie") == [None, None]


# Credentials.


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_basic_auth(server: Server, connect: Connect) -> None:
    connect(HttpConfig(basic_auth=BasicAuth("ae", password=Secret("pässwörd:€")))).get(server.url())
    assert server.headers("authorization") == [_basic("ae", "pässwörd:€")]


def test_basic_auth_files_are_read_on_every_use(server: Server, connect: Connect, tmp_path: Path) -> None:
    user, password = tmp_path / "user", tmp_path / "pw"
    session = connect(HttpConfig(basic_auth=BasicAuth(username_file=str(user), password_file=str(password))))
    for name, word in (("ann", "one"), ("bob", "two")):
        user.write_text(f"{name}\n", encoding="utf-8")
        password.write_text(f"  {word}\n", encoding="utf-8")
        session.get(server.url())
    assert server.headers("authorization") == [_basic("ann", "one"), _basic("bob", "two")]


def test_authorization_of_any_type(server: Server, connect: Connect) -> None:
    connect(HttpConfig(authorization=Authorization("Token", Secret("a b=c")))).get(server.url())
    assert server.headers("authorization") == ["Token a b=c"]


def test_a_bearer_file_is_read_on_every_use(server: Server, connect: Connect, tmp_path: Path) -> None:
    token = tmp_path / "token"
    session = connect(HttpConfig(authorization=Authorization(credentials_file=str(token))))
    for word in ("one", "two", "three"):
        token.write_text(word + "\n", encoding="utf-8")
        session.get(server.url())
    assert server.headers("authorization") == ["Bearer one", "Bearer two", "Bearer three"]


def test_headers_from_values_secrets_and_files(server: Server, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "header"
    headers = (
        Header("X-All", values=("a", "b"), secrets=(Secret("c"),), files=(str(path),)),
        Header("X-Utf", values=("größe",)),
    )
    session = connect(HttpConfig(http_headers=headers))
    for word in ("d", "e"):
        path.write_text(word, encoding="utf-8")
        session.get(server.url())
    assert server.headers("x-all") == ["a, b, c, d", "a, b, c, e"]
    assert server.headers("x-utf") == ["größe".encode().decode("latin-1")] * 2


UNUSABLE = {
    "missing": (None, "can't read the credentials from {path}: no such file or directory"),
    "empty": (b" \n", "the credentials in {path} is empty"),
    "not text": (b"\xff\xfe", "the credentials in {path} is not UTF-8 text"),
    "two lines": (b"hunter2\nX-Evil: 1", "{path}: holds a line break or a control character, which no HTTP header"),
    "too large": (b"x" * (1 << 21), "the credentials in {path} is too large"),
}


@pytest.mark.parametrize(("content", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_credentials_that_cannot_be_used(
    server: Server, connect: Connect, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    session = connect(HttpConfig(authorization=Authorization(credentials_file=str(path))))
    with pytest.raises(SourceUnavailable) as caught:
        session.get(server.url())
    assert message.format(path=path) in str(caught.value)
    assert caught.value.reason == "credentials"
    assert "hunter2" not in str(caught.value)
    assert server.seen == []


# prometheus-api-client on our session.


def test_prometheus_api_client_cannot_replace_our_transport(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    server = serve(_server_context(ca, "127.0.0.1"))
    server.answer = lambda seen: (200, {}, b'{"status": "success", "data": ["up"]}')
    session = connect(HttpConfig(tls=_trusting(ca), authorization=Authorization(credentials=Secret("t"))))
    client = PrometheusConnect(server.url("").rstrip("/"), session=session)
    assert client.all_metrics() == ["up"]
    assert client.check_prometheus_connection()
    assert all(isinstance(adapter, Adapter) for adapter in session.adapters.values())
    assert list(session.adapters) == ["https://", "http://"]
    assert server.headers("authorization") == ["Bearer t", "Bearer t"]
    assert server.headers("user-agent") == ["anomaly-exporter/test"] * 2


def test_prometheus_api_client_does_not_retry_behind_our_back(server: Server, connect: Connect) -> None:
    server.answer = lambda seen: (503, {}, b"later")
    client = PrometheusConnect(server.url("").rstrip("/"), session=connect())
    assert not client.check_prometheus_connection()
    assert len(server.seen) == 1


def test_prometheus_api_client_gets_the_default_timeout(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(requests.exceptions.ReadTimeout):
            PrometheusConnect(url, session=connect(timeout_s=0.2)).all_metrics()


# Redirects.

WITH_CREDENTIALS = HttpConfig(
    authorization=Authorization(credentials=Secret("t")),
    http_headers=(Header("X-Api-Key", secrets=(Secret("k"),)),),
)


def _redirecting(to: str, status: int = 307) -> Callable[[Seen], Answer]:
    return lambda seen: (status, {"Location": to}, b"") if seen.path == "/old" else (200, {}, b"new")


def test_redirect_on_the_same_host_keeps_credentials_and_body(server: Server, connect: Connect) -> None:
    server.answer = _redirecting("/new")
    assert connect(WITH_CREDENTIALS).post(server.url("/old"), data={"query": "up"}).text == "new"
    assert [(seen.method, seen.path, seen.body) for seen in server.seen] == [
        ("POST", "/old", "query=up"),
        ("POST", "/new", "query=up"),
    ]
    assert server.headers("authorization") == ["Bearer t", "Bearer t"]
    assert server.headers("x-api-key") == ["k", "k"]


def test_redirect_to_another_host_drops_credentials_and_headers(server: Server, connect: Connect) -> None:
    server.answer = _redirecting(server.url("/new", host="localhost"))
    assert connect(WITH_CREDENTIALS).get(server.url("/old")).text == "new"
    assert server.headers("authorization") == ["Bearer t", None]
    assert server.headers("x-api-key") == ["k", None]


def test_redirect_to_another_port_drops_credentials_and_headers(serve: Serve, connect: Connect) -> None:
    server, other = serve(), serve()
    server.answer = _redirecting(other.url("/new"))
    connect(WITH_CREDENTIALS).get(server.url("/old"))
    assert other.headers("authorization") == [None]
    assert other.headers("x-api-key") == [None]


def test_redirects_can_be_refused(server: Server, connect: Connect) -> None:
    server.answer = _redirecting("/new")
    session = connect(HttpConfig(follow_redirects=False))
    assert session.get(server.url("/old")).status_code == 307
    assert session.request("POST", server.url("/old"), allow_redirects=True).status_code == 307
    assert [seen.path for seen in server.seen] == ["/old", "/old"]


def test_redirects_in_a_circle_end(server: Server, connect: Connect) -> None:
    server.answer = lambda seen: (302, {"Location": "/again"}, b"")
    with pytest.raises(requests.TooManyRedirects):
        connect().get(server.url())
    assert len(server.seen) == 11


# TLS.


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def _server_context(ca: trustme.CA, *names: str, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    return context


def _pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def _trusting(ca: trustme.CA, **more: object) -> TlsConfig:
    return TlsConfig(ca=_pem(ca), **more)  # type: ignore[arg-type]


def _advice(session: Session, url: str) -> str:
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(url)
    return tls_advice(caught.value)


def test_ca_inline_and_from_a_file(serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path) -> None:
    server = serve(_server_context(ca, "127.0.0.1"))
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    assert connect(HttpConfig(tls=_trusting(ca))).get(server.url()).text == "ok"
    assert connect(HttpConfig(tls=TlsConfig(ca_file=str(path)))).get(server.url()).text == "ok"


def test_wrong_ca_is_refused_with_advice(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    server = serve(_server_context(ca, "127.0.0.1"))
    told = "no trusted CA has signed the server's certificate: name its CA in tls_config.ca_file"
    assert _advice(connect(), server.url()) == told
    assert _advice(connect(HttpConfig(tls=_trusting(trustme.CA()))), server.url()) == told
    assert server.seen == []


def test_callers_cannot_switch_verification_off(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    server = serve(_server_context(ca, "127.0.0.1"))
    with pytest.raises(requests.exceptions.SSLError):
        connect().get(server.url(), verify=False)


def test_only_the_given_ca_is_trusted(serve: Serve, ca: trustme.CA) -> None:
    # urllib3 would load the public CAs into the context on the first request.
    server = serve(_server_context(ca, "127.0.0.1"))
    context = TlsContext(_trusting(ca))
    adapter = Adapter(context, _trusting(ca), ProxyConfig(), {}, 1)
    adapter.send(requests.Request("GET", server.url()).prepare(), timeout=10)
    assert len(context.get().get_ca_certs()) == 1


def test_the_systems_cas_are_trusted_by_default(
    serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "system.pem"
    ca.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert connect().get(serve(_server_context(ca, "127.0.0.1")).url()).text == "ok"


def test_name_mismatch_and_server_name(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    server = serve(_server_context(ca, "prometheus.internal"))
    assert _advice(connect(HttpConfig(tls=_trusting(ca))), server.url()) == (
        "the server's certificate is for another name: set tls_config.server_name to one it carries"
    )
    right = _trusting(ca, server_name="prometheus.internal")
    assert connect(HttpConfig(tls=right)).get(server.url()).text == "ok"
    wrong = _trusting(ca, server_name="other.internal")
    assert "another name" in _advice(connect(HttpConfig(tls=wrong)), server.url())


def test_insecure_skip_verify(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    server = serve(_server_context(ca, "elsewhere"))
    assert connect(HttpConfig(tls=TlsConfig(insecure_skip_verify=True))).get(server.url()).text == "ok"


def test_client_certificates(serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path) -> None:
    server = serve(_server_context(ca, "127.0.0.1", clients=ca))
    client = ca.issue_cert("client@example.org")
    chain, key = client.cert_chain_pems[0].bytes().decode(), client.private_key_pem.bytes().decode()
    inline = _trusting(ca, cert=chain, key=Secret(key))
    assert connect(HttpConfig(tls=inline)).get(server.url()).text == "ok"
    (tmp_path / "cert.pem").write_text(chain, encoding="utf-8")
    (tmp_path / "key.pem").write_text(key, encoding="utf-8")
    files = _trusting(ca, cert_file=str(tmp_path / "cert.pem"), key_file=str(tmp_path / "key.pem"))
    assert connect(HttpConfig(tls=files)).get(server.url()).text == "ok"
    mixed = _trusting(ca, cert=chain, key_file=str(tmp_path / "key.pem"))
    assert connect(HttpConfig(tls=mixed)).get(server.url()).text == "ok"


def test_a_missing_client_certificate_is_refused_by_the_server(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    context = _server_context(ca, "127.0.0.1", clients=ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # so that the refusal comes within the handshake
    with pytest.raises(requests.ConnectionError):
        connect(HttpConfig(tls=_trusting(ca))).get(serve(context).url())


def test_tls_versions(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    context = _server_context(ca, "127.0.0.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = serve(context)
    assert _advice(connect(HttpConfig(tls=_trusting(ca, min_version="TLS13"))), server.url()) == (
        "no TLS version in common: see tls_config.min_version and max_version"
    )
    assert connect(HttpConfig(tls=_trusting(ca, min_version="TLS12"))).get(server.url()).text == "ok"


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
    server, path = serve(_server_context(ca, "127.0.0.1")), tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    session = connect(HttpConfig(tls=TlsConfig(ca_file=str(path))))
    with pytest.raises(requests.exceptions.SSLError):
        session.get(server.url())
    _replace(path, _pem(ca))
    assert session.get(server.url()).text == "ok"
    _replace(path, _pem(trustme.CA()))
    with pytest.raises(requests.exceptions.SSLError):
        session.get(server.url())


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def test_a_rotation_half_done_changes_nothing(
    serve: Serve, connect: Connect, ca: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, path = serve(_server_context(ca, "127.0.0.1")), tmp_path / "ca.pem"
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
    server = serve(_server_context(ca, "127.0.0.1"))
    tls, message = _bad_tls(tmp_path, ca)[case]
    with pytest.raises(SourceUnavailable) as caught:
        connect(HttpConfig(tls=tls)).get(server.url())
    assert message in str(caught.value)
    assert caught.value.reason == "tls_config"


def test_tls_settings_do_not_matter_to_plain_http(server: Server, connect: Connect, tmp_path: Path) -> None:
    tls = TlsConfig(ca_file=f"{tmp_path}/none", server_name="x")
    assert connect(HttpConfig(tls=tls)).get(server.url()).text == "ok"


# Proxies.


def _through(proxy: Server, **more: object) -> ProxyConfig:
    return ProxyConfig(url=Secret(proxy.url("").replace("://", "://user:p%40ss@")), **more)  # type: ignore[arg-type]


CONNECT_HEADERS = (Header("X-Proxy-Token", secrets=(Secret("pt"),)),)


def test_http_goes_through_the_proxy(server: Server, connect: Connect) -> None:
    proxy = _through(server, connect_headers=CONNECT_HEADERS)
    assert connect(HttpConfig(proxy=proxy)).get("http://prometheus.test:9090/x?a=b").text == "ok"
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("GET", "http://prometheus.test:9090/x?a=b")
    assert seen.headers["host"] == "prometheus.test:9090"
    assert seen.headers["proxy-authorization"] == _basic("user", "p@ss")
    assert "x-proxy-token" not in seen.headers  # the proxy would hand it on


def test_https_goes_through_a_tunnel(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    proxy, server = serve(), serve(_server_context(ca, "prometheus.test"))
    http = HttpConfig(
        tls=_trusting(ca),
        proxy=_through(proxy, connect_headers=CONNECT_HEADERS),
        authorization=Authorization(credentials=Secret("t")),
    )
    assert connect(http).get(server.url("/x", host="prometheus.test")).text == "ok"
    (tunnel,), (seen,) = proxy.seen, server.seen
    assert (tunnel.method, tunnel.path) == ("CONNECT", f"prometheus.test:{server.port}")
    assert tunnel.headers["x-proxy-token"] == "pt"
    assert tunnel.headers["proxy-authorization"] == _basic("user", "p@ss")
    assert "authorization" not in tunnel.headers
    assert seen.headers["authorization"] == "Bearer t"
    assert not {"x-proxy-token", "proxy-authorization"} & set(seen.headers)


def test_a_proxy_reached_over_tls(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    proxy, server = serve(_server_context(ca, "127.0.0.1")), serve(_server_context(ca, "prometheus.test"))
    session = connect(HttpConfig(tls=_trusting(ca), proxy=_through(proxy)))
    assert session.get(server.url("/x", host="prometheus.test")).text == "ok"
    assert session.get("http://plain.test/y").text == "ok"
    assert [(seen.method, seen.path) for seen in proxy.seen] == [
        ("CONNECT", f"prometheus.test:{server.port}"),
        ("GET", "http://plain.test/y"),
    ]


def test_an_untrusted_proxy_is_refused(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    proxy = serve(_server_context(ca, "127.0.0.1"))
    with pytest.raises(requests.ConnectionError):
        connect(HttpConfig(tls=_trusting(trustme.CA()), proxy=_through(proxy))).get("http://plain.test/y")
    assert proxy.seen == []


def test_no_proxy(serve: Serve, connect: Connect) -> None:
    proxy, server = serve(), serve()
    connect(HttpConfig(proxy=_through(proxy, no_proxy="10.0.0.0/8, 127.0.0.1"))).get(server.url())
    assert (len(proxy.seen), len(server.seen)) == (0, 1)


def test_proxy_from_environment(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, server = serve(), serve()
    monkeypatch.setenv("http_proxy", proxy.url(""))
    monkeypatch.setenv("no_proxy", "direct.test")
    session = connect(HttpConfig(proxy=ProxyConfig(from_environment=True)))
    assert session.get("http://prometheus.test/").text == "ok"
    assert session.get(server.url()).text == "ok"
    assert [seen.path for seen in proxy.seen] == ["http://prometheus.test/"]
    assert [seen.path for seen in server.seen] == ["/"]  # this machine itself needs no proxy


@pytest.mark.parametrize(
    ("url", "no_proxy", "expected"),
    [
        ("http://a.example.org", "", False),
        ("http://a.example.org", "*", True),
        ("http://a.example.org", "example.org", True),
        ("http://example.org", "example.org", True),
        ("http://example.org", ".example.org", False),
        ("http://a.example.org", ".example.org", True),
        ("http://a.example.org", "*.example.org", True),
        ("http://badexample.org", "example.org", False),
        ("http://A.EXAMPLE.org", "x, example.ORG ,y", True),
        ("http://example.org:81", "example.org:80", False),
        ("http://example.org", "example.org:80", True),
        ("https://example.org", "example.org:443", True),
        ("http://10.1.2.3", "10.0.0.0/8", True),
        ("http://11.1.2.3", "10.0.0.0/8", False),
        ("http://10.1.2.3", "10.1.2.3", True),
        ("http://10.1.2.3:90", "10.1.2.3:80", False),
        ("http://110.1.2.3", "10.1.2.3", False),
        ("http://10.1.2.3", "2.3", False),
        ("http://ten.example.org", "10.0.0.0/8", False),
        ("http://[fd00::1]:90", "fd00::/8", True),
        ("http://[fd00::1]:90", "[fd00::1]:90", True),
        ("http://[fe80::1]", "fd00::/8", False),
    ],
)
def test_which_hosts_bypass_the_proxy(url: str, no_proxy: str, expected: bool) -> None:
    assert bypasses(urlsplit(url), no_proxy) is expected


# OAuth 2.0.


def _issuing(tokens: Iterator[str] | list[str], **more: object) -> Callable[[Seen], Answer]:
    source = iter(tokens)
    return lambda seen: (200, {}, json.dumps({"access_token": next(source), **more}).encode())


def _oauth2(sso: Server, **more: object) -> OAuth2:
    settings = {"client_id": "ae", "token_url": sso.url("/token"), "client_secret": Secret("hunter2"), **more}
    return OAuth2(**settings)  # type: ignore[arg-type]


def test_a_token_is_fetched_once_and_used(serve: Serve, connect: Connect) -> None:
    sso, server = serve(), serve()
    sso.answer = _issuing(["t1"], token_type="bearer", expires_in=3600)
    session = connect(HttpConfig(oauth2=_oauth2(sso, scopes=("a", "b"), endpoint_params={"audience": "prom"})))
    for _ in range(3):
        session.get(server.url())
    assert server.headers("authorization") == ["Bearer t1"] * 3
    (asked,) = sso.seen
    assert (asked.method, asked.path) == ("POST", "/token")
    assert parse_qs(asked.body) == {"grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["prom"]}
    assert asked.headers["authorization"] == _basic("ae", "hunter2")
    assert asked.headers["user-agent"] == "anomaly-exporter/test"


def test_threads_wait_for_one_token(serve: Serve, connect: Connect) -> None:
    sso, server = serve(), serve()
    sso.answer = _issuing(["t1"], expires_in=3600)
    session = connect(HttpConfig(oauth2=_oauth2(sso)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: session.get(server.url()).text, range(24)))
    assert set(server.headers("authorization")) == {"Bearer t1"}
    assert len(sso.seen) == 1


def test_a_server_that_wants_the_secret_in_the_body_gets_it_there(serve: Serve, connect: Connect) -> None:
    sso, server = serve(), serve()
    tokens = iter(["t1", "t2"])

    def answer(seen: Seen) -> Answer:
        if "client_secret" not in parse_qs(seen.body):
            return 401, {}, b'{"error": "invalid_client"}'
        return 200, {}, json.dumps({"access_token": next(tokens)}).encode()

    sso.answer = answer
    server.answer = lambda seen: (401 if seen.headers["authorization"] == "Bearer t1" else 200, {}, b"")
    assert connect(HttpConfig(oauth2=_oauth2(sso))).get(server.url()).status_code == 200
    assert [parse_qs(seen.body).get("client_secret") for seen in sso.seen] == [None, ["hunter2"], ["hunter2"]]
    assert "authorization" not in sso.seen[1].headers


def test_a_token_is_renewed_shortly_before_it_expires(serve: Serve) -> None:
    sso = serve()
    sso.answer = _issuing(["t1", "t2"], expires_in=300)
    now = [1000.0]
    with requests.Session() as session:
        tokens = Tokens(_oauth2(sso), session, clock=lambda: now[0])
        texts = []
        for moment in (1000.0, 1269.9, 1270.0, 1271.0):
            now[0] = moment
            texts.append(tokens.current())
    assert texts == ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]


@pytest.mark.parametrize(
    ("expires_in", "expected"),
    [
        (3600, 3570.0),
        ("3600", 3570.0),
        (100, 90.0),
        (1, 0.9),
        *((odd, float("inf")) for odd in (None, 0, -5, "soon", float("nan"), [])),
    ],
)
def test_lifetime(expires_in: object, expected: float) -> None:
    assert lifetime_s(expires_in) == expected


def test_a_refused_token_is_renewed_once(serve: Serve, connect: Connect) -> None:
    sso, server = serve(), serve()
    sso.answer = _issuing(["old", "new"], expires_in=3600)
    server.answer = lambda seen: (200 if seen.headers["authorization"] == "Bearer new" else 401, {}, b"x")
    session = connect(HttpConfig(oauth2=_oauth2(sso)))
    assert session.post(server.url(), data={"query": "up"}).status_code == 200
    assert session.get(server.url()).status_code == 200
    assert server.headers("authorization") == ["Bearer old", "Bearer new", "Bearer new"]
    assert [seen.body for seen in server.seen] == ["query=up", "query=up", ""]
    assert len(sso.seen) == 2


def test_a_server_that_refuses_every_token_is_believed(serve: Serve, connect: Connect) -> None:
    sso, server = serve(), serve()
    sso.answer = _issuing(["t1", "t2", "t3"], expires_in=3600)
    server.answer = lambda seen: (401, {}, b"no")
    response = connect(HttpConfig(oauth2=_oauth2(sso))).get(server.url())
    assert (response.status_code, response.text) == (401, "no")
    assert server.headers("authorization") == ["Bearer t1", "Bearer t2"]


def test_another_host_gets_no_token_even_when_it_asks(serve: Serve, connect: Connect) -> None:
    sso, server, other = serve(), serve(), serve()
    sso.answer = _issuing(["t1", "t2"], expires_in=3600)
    server.answer = _redirecting(other.url("/new", host="localhost"))
    other.answer = lambda seen: (401, {"WWW-Authenticate": "Bearer"}, b"give me")
    assert connect(HttpConfig(oauth2=_oauth2(sso))).get(server.url("/old")).status_code == 401
    assert other.headers("authorization") == [None]
    assert len(sso.seen) == 1


def test_a_changed_client_secret_gets_a_new_token(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    sso, server, path = serve(), serve(), tmp_path / "secret"
    sso.answer = _issuing(["t1", "t2"], expires_in=3600)
    session = connect(HttpConfig(oauth2=_oauth2(sso, client_secret=Secret(""), client_secret_file=str(path))))
    for word in ("one", "one", "two"):
        path.write_text(word + "\n", encoding="utf-8")
        session.get(server.url())
    assert server.headers("authorization") == ["Bearer t1", "Bearer t1", "Bearer t2"]
    assert sso.headers("authorization") == [_basic("ae", "one"), _basic("ae", "two")]


def test_the_token_server_has_its_own_tls(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    sso, server = serve(_server_context(ca, "127.0.0.1")), serve()
    sso.answer = _issuing(["t1"])
    connect(HttpConfig(oauth2=_oauth2(sso, tls=_trusting(ca)))).get(server.url())
    assert server.headers("authorization") == ["Bearer t1"]
    with pytest.raises(SourceUnavailable, match="no trusted CA has signed"):
        connect(HttpConfig(oauth2=_oauth2(sso), tls=_trusting(ca))).get(server.url())


TOKEN_FAULTS: dict[str, tuple[Answer, type[Exception], str]] = {
    "down": ((503, {}, b"maintenance"), SourceUnavailable, "status 503 maintenance"),
    "busy": ((429, {}, b""), SourceUnavailable, "status 429"),
    "refused": (
        (400, {}, b'{"error": "invalid_client",\n"hint": "not hunter2"}'),
        SourceRefused,
        'status 400 {"error": "invalid_client", "hint": "not <secret>"}',
    ),
    "redirect": ((302, {"Location": "/login"}, b""), SourceRefused, "status 302"),
    "html": ((200, {}, b"<html>"), SourceUnavailable, "the answer is not JSON"),
    "list": ((200, {}, b"[]"), SourceUnavailable, "the answer holds no access_token"),
    "no token": ((200, {}, b'{"expires_in": 5}'), SourceUnavailable, "the answer holds no access_token"),
    "token is a number": ((200, {}, b'{"access_token": 5}'), SourceUnavailable, "the answer holds no access_token"),
    "odd type": (
        (200, {}, b'{"access_token": "a", "token_type": "x y"}'),
        SourceUnavailable,
        "the answer holds no access_token",
    ),
    "type is a number": (
        (200, {}, b'{"access_token": "a", "token_type": 5}'),
        SourceUnavailable,
        "the answer holds no access_token",
    ),
    "huge": ((200, {}, b'"' + b"x" * (3 << 20) + b'"'), SourceUnavailable, "the answer is not JSON"),
}


@pytest.mark.parametrize(("answer", "kind", "told"), TOKEN_FAULTS.values(), ids=TOKEN_FAULTS)
def test_no_token(serve: Serve, connect: Connect, answer: Answer, kind: type[Exception], told: str) -> None:
    sso, server = serve(), serve()
    sso.answer = lambda seen: answer
    with pytest.raises(kind) as caught:
        connect(HttpConfig(oauth2=_oauth2(sso))).get(server.url())
    assert str(caught.value) == f"no OAuth 2.0 token from {sso.url('/token')}: {told}"
    assert caught.value.reason == "oauth2"  # type: ignore[attr-defined]
    assert server.seen == []


def test_a_token_that_no_header_can_carry(serve: Serve, connect: Connect) -> None:
    sso, server = serve(), serve()
    sso.answer = _issuing(["evil\r\nX-Injected: 1"])
    with pytest.raises(SourceUnavailable, match="the token server: holds a line break"):
        connect(HttpConfig(oauth2=_oauth2(sso))).get(server.url())
    assert server.seen == []


def test_an_unreachable_token_server(serve: Serve, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    oauth2 = OAuth2("ae", f"http://127.0.0.1:{port}/token?key=hunter2", Secret("hunter2"))
    with pytest.raises(SourceUnavailable) as caught:
        connect(HttpConfig(oauth2=oauth2)).get(serve().url())
    assert str(caught.value) == f"no OAuth 2.0 token from http://127.0.0.1:{port}/token?<secret>: connection refused"


def test_a_silent_token_server(serve: Serve, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        oauth2 = OAuth2("ae", f"http://127.0.0.1:{silent.getsockname()[1]}/", Secret("x"))
        with pytest.raises(SourceUnavailable, match="timed out"):
            connect(HttpConfig(oauth2=oauth2), timeout_s=0.2).get(serve().url())
