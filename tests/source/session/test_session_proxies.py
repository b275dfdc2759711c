"""The session through proxies, plain and over TLS, and which hosts go past them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import requests
import trustme
from support.recording import Connect, Serve, Server, basic_header, server_context, trusting

from exporter.config.schema import Authorization, Header, HttpConfig, ProxyConfig
from exporter.config.secret import Secret
from exporter.source.proxies import bypasses


def _through(proxy: Server, **more: object) -> ProxyConfig:
    return ProxyConfig(url=Secret(proxy.url("").replace("://", "://user:p%40ss@")), **more)  # type: ignore[arg-type]


CONNECT_HEADERS = (Header("X-Proxy-Token", secrets=(Secret("pt"),)),)


def test_http_goes_through_the_proxy(server: Server, connect: Connect) -> None:
    proxy = _through(server, connect_headers=CONNECT_HEADERS)
    assert connect(HttpConfig(proxy=proxy)).get("http://prometheus.test:9090/x?a=b").text == "ok"
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("GET", "http://prometheus.test:9090/x?a=b")
    assert seen.headers["host"] == "prometheus.test:9090"
    assert seen.headers["proxy-authorization"] == basic_header("user", "p@ss")
    assert "x-proxy-token" not in seen.headers  # the proxy would hand it on


def test_https_goes_through_a_tunnel(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    proxy, server = serve(), serve(server_context(ca, "prometheus.test"))
    http = HttpConfig(
        tls=trusting(ca),
        proxy=_through(proxy, connect_headers=CONNECT_HEADERS),
        authorization=Authorization(credentials=Secret("t")),
    )
    assert connect(http).get(server.url("/x", host="prometheus.test")).text == "ok"
    (tunnel,), (seen,) = proxy.seen, server.seen
    assert (tunnel.method, tunnel.path) == ("CONNECT", f"prometheus.test:{server.port}")
    assert tunnel.headers["x-proxy-token"] == "pt"
    assert tunnel.headers["proxy-authorization"] == basic_header("user", "p@ss")
    assert "authorization" not in tunnel.headers
    assert seen.headers["authorization"] == "Bearer t"
    assert not {"x-proxy-token", "proxy-authorization"} & set(seen.headers)


def test_a_proxy_reached_over_tls(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    proxy, server = serve(server_context(ca, "127.0.0.1")), serve(server_context(ca, "prometheus.test"))
    session = connect(HttpConfig(tls=trusting(ca), proxy=_through(proxy)))
    assert session.get(server.url("/x", host="prometheus.test")).text == "ok"
    assert session.get("http://plain.test/y").text == "ok"
    assert [(seen.method, seen.path) for seen in proxy.seen] == [
        ("CONNECT", f"prometheus.test:{server.port}"),
        ("GET", "http://plain.test/y"),
    ]


def test_an_untrusted_proxy_is_refused(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    proxy = serve(server_context(ca, "127.0.0.1"))
    with pytest.raises(requests.ConnectionError):
        connect(HttpConfig(tls=trusting(trustme.CA()), proxy=_through(proxy))).get("http://plain.test/y")
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
