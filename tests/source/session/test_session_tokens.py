"""The session with OAuth 2.0: tokens are fetched once, renewed in time, and sent to nobody else."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import requests
import trustme
from support.recording import Answer, Connect, Seen, Serve, Server, basic_header, redirecting, server_context, trusting

from exporter.config.schema import HttpConfig, OAuth2
from exporter.config.secret import Secret
from exporter.errors import SourceRefused, SourceUnavailable
from exporter.source.credentials import Tokens, lifetime_s


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
    assert asked.headers["authorization"] == basic_header("ae", "hunter2")
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
    server.answer = redirecting(other.url("/new", host="localhost"))
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
    assert sso.headers("authorization") == [basic_header("ae", "one"), basic_header("ae", "two")]


def test_the_token_server_has_its_own_tls(serve: Serve, connect: Connect, ca: trustme.CA) -> None:
    sso, server = serve(server_context(ca, "127.0.0.1")), serve()
    sso.answer = _issuing(["t1"])
    connect(HttpConfig(oauth2=_oauth2(sso, tls=trusting(ca)))).get(server.url())
    assert server.headers("authorization") == ["Bearer t1"]
    with pytest.raises(SourceUnavailable, match="no trusted CA has signed"):
        connect(HttpConfig(oauth2=_oauth2(sso), tls=trusting(ca))).get(server.url())


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
