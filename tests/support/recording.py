"""A loopback server that records what it is asked, over HTTP or TLS, and can stand as a proxy."""

from __future__ import annotations

import base64
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme

from exporter.config.schema import TlsConfig
from exporter.source.session import Session


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


class Handler(BaseHTTPRequestHandler):
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
            relay(self.connection, target)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def relay(one: socket.socket, other: socket.socket) -> None:
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what several of these tests are about."""


Connect = Callable[..., Session]
Serve = Callable[..., Server]


def basic_header(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def redirecting(to: str, status: int = 307) -> Callable[[Seen], Answer]:
    return lambda seen: (status, {"Location": to}, b"") if seen.path == "/old" else (200, {}, b"new")


def server_context(ca: trustme.CA, *names: str, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    return context


def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def trusting(ca: trustme.CA, **more: object) -> TlsConfig:
    return TlsConfig(ca=pem(ca), **more)  # type: ignore[arg-type]
