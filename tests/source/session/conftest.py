"""Servers, sessions and an authority for certificates, each ended or forgotten by the end of its test or file."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
import trustme
from support.recording import Handler, Quiet, Server

from exporter.config.schema import HttpConfig
from exporter.source.session import Session, open_session


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(context: ssl.SSLContext | None = None) -> Server:
        handler = type("Handler", (Handler,), {})
        httpd = Quiet(("127.0.0.1", 0), handler)
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


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()
