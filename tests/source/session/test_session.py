"""The session against real servers on the loopback interface: what every request carries, credentials, redirects."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests
import trustme
from prometheus_api_client import PrometheusConnect
from support.recording import Connect, Handler, Serve, Server, basic_header, redirecting, server_context, trusting

from exporter.config.schema import Authorization, BasicAuth, Header, HttpConfig
from exporter.config.secret import Secret
from exporter.errors import SourceUnavailable
from exporter.source.transport import Adapter


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


def _noting(ports: list[int]) -> Callable[[Handler], None]:
    def setup(handler: Handler) -> None:
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


def test_basic_auth(server: Server, connect: Connect) -> None:
    connect(HttpConfig(basic_auth=BasicAuth("ae", password=Secret("pässwörd:€")))).get(server.url())
    assert server.headers("authorization") == [basic_header("ae", "pässwörd:€")]


def test_basic_auth_files_are_read_on_every_use(server: Server, connect: Connect, tmp_path: Path) -> None:
    user, password = tmp_path / "user", tmp_path / "pw"
    session = connect(HttpConfig(basic_auth=BasicAuth(username_file=str(user), password_file=str(password))))
    for name, word in (("ann", "one"), ("bob", "two")):
        user.write_text(f"{name}\n", encoding="utf-8")
        password.write_text(f"  {word}\n", encoding="utf-8")
        session.get(server.url())
    assert server.headers("authorization") == [basic_header("ann", "one"), basic_header("bob", "two")]


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
    server = serve(server_context(ca, "127.0.0.1"))
    server.answer = lambda seen: (200, {}, b'{"status": "success", "data": ["up"]}')
    session = connect(HttpConfig(tls=trusting(ca), authorization=Authorization(credentials=Secret("t"))))
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


def test_redirect_on_the_same_host_keeps_credentials_and_body(server: Server, connect: Connect) -> None:
    server.answer = redirecting("/new")
    assert connect(WITH_CREDENTIALS).post(server.url("/old"), data={"query": "up"}).text == "new"
    assert [(seen.method, seen.path, seen.body) for seen in server.seen] == [
        ("POST", "/old", "query=up"),
        ("POST", "/new", "query=up"),
    ]
    assert server.headers("authorization") == ["Bearer t", "Bearer t"]
    assert server.headers("x-api-key") == ["k", "k"]


def test_redirect_to_another_host_drops_credentials_and_headers(server: Server, connect: Connect) -> None:
    server.answer = redirecting(server.url("/new", host="localhost"))
    assert connect(WITH_CREDENTIALS).get(server.url("/old")).text == "new"
    assert server.headers("authorization") == ["Bearer t", None]
    assert server.headers("x-api-key") == ["k", None]


def test_redirect_to_another_port_drops_credentials_and_headers(serve: Serve, connect: Connect) -> None:
    server, other = serve(), serve()
    server.answer = redirecting(other.url("/new"))
    connect(WITH_CREDENTIALS).get(server.url("/old"))
    assert other.headers("authorization") == [None]
    assert other.headers("x-api-key") == [None]


def test_redirects_can_be_refused(server: Server, connect: Connect) -> None:
    server.answer = redirecting("/new")
    session = connect(HttpConfig(follow_redirects=False))
    assert session.get(server.url("/old")).status_code == 307
    assert session.request("POST", server.url("/old"), allow_redirects=True).status_code == 307
    assert [seen.path for seen in server.seen] == ["/old", "/old"]


def test_redirects_in_a_circle_end(server: Server, connect: Connect) -> None:
    server.answer = lambda seen: (302, {"Location": "/again"}, b"")
    with pytest.raises(requests.TooManyRedirects):
        connect().get(server.url())
    assert len(server.seen) == 11
