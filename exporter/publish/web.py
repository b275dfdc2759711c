"""The web server: the result page, health, reload, the config in force, and a page for people."""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from cheroot import wsgi

from exporter.errors import ConfigError, PublishError
from exporter.names import PAGE_EXPLAIN, PAGE_RUNBOOKS
from exporter.publish.exposition import Piece, Plain
from exporter.publish.landing import PAGE_POLICY, Landing, LandingRow, LandingUnit, page_html
from exporter.publish.lines import WHOLE, Shard
from exporter.publish.packing import gzip_stream
from exporter.publish.runbooks import runbook_html, runbook_names, runbooks_html

__all__ = [
    "Answered", "Landing", "LandingRow", "LandingUnit", "Routes", "WebServer", "application", "wants_openmetrics",
]  # fmt: skip

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN_TYPE = "text/plain; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"

_OPENMETRICS_VERSIONS = ("", "0.0.1", "1.0.0")
_PIECE_BYTES = 65536  # cheroot copies what is left of a piece after every write: large ones take quadratic time
_LEAST_GZIP_BYTES = 1024
_MOST_SHARDS = 1000
_THREADS = 8
_WAITING_CONNECTIONS = 64
_SOCKET_TIMEOUT_S = 10
_STOP_PATIENCE_S = 1
_STOP_LIMIT_S = 2
_MOST_HEADER_BYTES = 16384
_MOST_BODY_BYTES = 65536
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")
_SHARD = re.compile(r"(?P<index>[0-9]{1,4})/(?P<of>[0-9]{1,4})")
_ANY_HOST = ("::", "0.0.0.0")  # noqa: S104  # ":9899" means all interfaces; :: takes IPv4 too where it is available
_SAFETY = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
_READ, _CHANGE = ("GET", "HEAD"), ("POST", "PUT")

log = logging.getLogger(__name__)

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


@dataclass(frozen=True, slots=True)
class Answered:
    """A page that is made elsewhere."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Routes:
    """What stands behind the endpoints. All are called from the server's threads and must not wait for a cycle.

    ``metrics(openmetrics, shard)`` is the page in pieces; ``ready()`` whether verdicts are served, and what to say;
    ``reload()`` loads the config anew or raises ConfigError, None where the lifecycle API is off; ``config_text()`` the
    config in force without secrets; ``landing()`` what the page for people shows; ``explain(query string)`` the
    explanation of a verdict, None where these are off.
    """

    metrics: Callable[[bool, Shard], Sequence[Piece]]
    ready: Callable[[], tuple[bool, str]]
    reload: Callable[[], None] | None
    config_text: Callable[[], str]
    landing: Callable[[], Landing]
    explain: Callable[[str], Answered] | None = None


@dataclass(frozen=True, slots=True)
class _Response:
    status: HTTPStatus
    content_type: str
    pieces: Sequence[Piece]
    headers: tuple[tuple[str, str], ...] = field(default=())


# --- endpoints ----------------------------------------------------------------------------------------------------


def _text(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> _Response:
    return _Response(status, PLAIN_TYPE, [Plain((text.rstrip("\n") + "\n").encode())], headers)


def _metrics(routes: Routes, environ: Environ) -> _Response:
    shard = _wanted_shard(environ.get("QUERY_STRING", ""))
    if shard is None:
        words = f"shard is not i/n with 1 <= i <= n <= {_MOST_SHARDS}, for example ?shard=1/3"
        return _text(HTTPStatus.BAD_REQUEST, words)
    openmetrics = wants_openmetrics(environ.get("HTTP_ACCEPT", ""))
    kind = OPENMETRICS_TYPE if openmetrics else TEXT_TYPE
    return _Response(HTTPStatus.OK, kind, routes.metrics(openmetrics, shard), (("Vary", "Accept"),))


def _wanted_shard(query_string: str) -> Shard | None:
    """The share of the page that is asked for, the whole of it by default; None for what is no share."""
    given = urllib.parse.parse_qs(query_string, keep_blank_values=True).get("shard", [])
    if not given:
        return WHOLE
    match = _SHARD.fullmatch(given[0])
    if match is None or len(given) > 1:
        return None
    shard = Shard(int(match["index"]), int(match["of"]))
    return shard if 1 <= shard.index <= shard.of <= _MOST_SHARDS else None


def _healthy(_routes: Routes, _environ: Environ) -> _Response:
    return _text(HTTPStatus.OK, "anomaly-exporter is healthy.")


def _ready(routes: Routes, _environ: Environ) -> _Response:
    ready, words = routes.ready()
    return _text(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, words)


def _reload(routes: Routes, _environ: Environ) -> _Response:
    if routes.reload is None:
        words = "Reloading over HTTP is off; start with --web.enable-lifecycle, or send SIGHUP."
        return _text(HTTPStatus.FORBIDDEN, words)
    try:
        routes.reload()
    except ConfigError as error:
        return _text(HTTPStatus.INTERNAL_SERVER_ERROR, f"The config was not reloaded, the old one stays:\n{error}")
    return _text(HTTPStatus.OK, "The config was reloaded.")


def _config(routes: Routes, _environ: Environ) -> _Response:
    return _text(HTTPStatus.OK, routes.config_text())


def _landing(routes: Routes, _environ: Environ) -> _Response:
    return _page(page_html(routes.landing()))


def _explain(routes: Routes, environ: Environ) -> _Response:
    if routes.explain is None:
        return _text(HTTPStatus.NOT_FOUND, "Explanations are off.")
    answered = routes.explain(environ.get("QUERY_STRING", ""))
    return _Response(HTTPStatus(answered.status), answered.content_type, [Plain(answered.body)], answered.headers)


def _runbooks(_routes: Routes, _environ: Environ) -> _Response:
    return _page(runbooks_html())


def _runbook(_routes: Routes, environ: Environ) -> _Response:
    html = runbook_html(environ["PATH_INFO"].removeprefix(f"{PAGE_RUNBOOKS}/"))
    if html is None:
        return _text(HTTPStatus.NOT_FOUND, f"There is no such runbook. There are: {' '.join(runbook_names())}")
    return _page(html)


def _page(html: str) -> _Response:
    """A page for people."""
    return _Response(
        HTTPStatus.OK, HTML_TYPE, [Plain(html.encode("utf-8", "replace"))], (("Content-Security-Policy", PAGE_POLICY),)
    )


Endpoint = Callable[[Routes, Environ], _Response]
_ENDPOINTS: Mapping[str, tuple[tuple[str, ...], Endpoint]] = {
    "/": (_READ, _landing),
    "/metrics": (_READ, _metrics),
    "/config": (_READ, _config),
    PAGE_EXPLAIN: (_READ, _explain),
    PAGE_RUNBOOKS: (_READ, _runbooks),
    "/-/healthy": (_READ, _healthy),
    "/-/ready": (_READ, _ready),
    "/-/reload": (_CHANGE, _reload),
}


def _respond(routes: Routes, environ: Environ) -> _Response:
    methods, endpoint = _ENDPOINTS.get(environ["PATH_INFO"], ((), None))
    if environ["PATH_INFO"].startswith(f"{PAGE_RUNBOOKS}/"):
        methods, endpoint = _READ, _runbook
    if endpoint is None:
        return _text(HTTPStatus.NOT_FOUND, "Not found. There are: " + " ".join(_ENDPOINTS))
    if environ["REQUEST_METHOD"] not in methods:
        allowed = ", ".join(methods)
        return _text(HTTPStatus.METHOD_NOT_ALLOWED, f"Method not allowed; use {allowed}.", ("Allow", allowed))
    return endpoint(routes, environ)


# --- negotiation --------------------------------------------------------------------------------------------------


def _offers(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """(value, parameters, q) of each entry of an Accept header; an unreadable q counts as 0."""
    for entry in header.lower().split(","):
        value, *rest = (part.strip() for part in entry.split(";"))
        parameters = {name.strip(): text.strip(' "') for name, _, text in (part.partition("=") for part in rest)}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if value:
            yield value, parameters, quality


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header likes OpenMetrics 1.0.0 at least as much as the text format."""
    openmetrics, text = 0.0, 0.0
    for value, parameters, quality in _offers(accept):
        if value == "application/openmetrics-text" and parameters.get("version", "") in _OPENMETRICS_VERSIONS:
            openmetrics = max(openmetrics, quality)
        elif value in ("text/plain", "text/*"):
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def _wants_gzip(accept_encoding: str) -> bool:
    qualities = {value: quality for value, _, quality in _offers(accept_encoding)}
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def cut_pieces(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The text of the pieces, as it is written, in parts that cheroot can send without copying the rest again."""
    for piece in pieces:
        for text in piece.written():
            yield from _cut(text)


def zip_pieces(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The pieces as one gzip stream; what was compressed for a scrape before is not compressed again."""
    for part in gzip_stream(piece.packed() for piece in pieces):
        yield from _cut(part)


def _cut(text: bytes) -> Iterator[bytes]:
    for at in range(0, len(text), _PIECE_BYTES):
        yield text[at : at + _PIECE_BYTES]


def _plain_bytes(pieces: Iterable[Piece]) -> int | None:
    """Length of the pieces' text; None when it is not known before it is written."""
    texts = [piece.text for piece in pieces if isinstance(piece, Plain)]
    return sum(map(len, texts)) if len(texts) == len(list(pieces)) else None


def application(routes: Routes) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """The WSGI application over the routes."""

    def respond(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        response = _respond(routes, environ)
        body_bytes = _plain_bytes(response.pieces)
        large = body_bytes is None or body_bytes >= _LEAST_GZIP_BYTES
        zipped = large and _wants_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
        headers = [("Content-Type", response.content_type), ("Vary", "Accept-Encoding"), *response.headers, *_SAFETY]
        if zipped:
            headers.append(("Content-Encoding", "gzip"))
        elif body_bytes is not None:  # without a length the server sends chunks
            headers.append(("Content-Length", str(body_bytes)))
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return zip_pieces(response.pieces) if zipped else cut_pieces(response.pieces)

    return respond


# --- the server ---------------------------------------------------------------------------------------------------


def _parse_address(address: str) -> tuple[tuple[str, ...], int]:
    """(hosts to try in turn, port) of ``host:port``, ``:port`` or ``[IPv6]:port``. Raises PublishError."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise PublishError(f"{address!r} is no listen address; allowed: host:port, :port, [IPv6]:port, e.g. :9899")
    host = match["v6"] or match["host"]
    return ((host,) if host else _ANY_HOST), int(match["port"])


def _advice(error: Exception) -> str:
    text = str(error)
    if os.strerror(errno.EADDRINUSE) in text:
        return "another process listens there (see `ss -ltnp`); stop it or choose another --web.listen-address"
    if os.strerror(errno.EACCES) in text:
        return "ports below 1024 need a privilege; choose another --web.listen-address"
    return "choose an address of this machine with --web.listen-address"


def _log_of_server(message: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    log.log(level, message, exc_info=traceback)


class WebServer:
    """Serves the routes from ``start`` until ``stop``. A request that takes longer than 10 s to arrive is dropped."""

    def __init__(self, listen_address: str, routes: Routes) -> None:
        """Raises PublishError for an address of the wrong form."""
        self._address = listen_address
        self._hosts, self._port = _parse_address(listen_address)
        self._application = application(routes)
        self._server: Any = None  # see _new_server

    @property
    def port(self) -> int:
        """The port listened on: the chosen one when the address said 0; 0 before ``start``."""
        return int(self._server.bind_addr[1]) if self._server is not None else 0

    def start(self) -> None:
        """Listen, then serve in the background. Raises PublishError, saying what to do, when that is impossible."""
        listening: Future[Any] = Future()
        # The server's own threads inherit that this one is a daemon: a stuck client can't keep the process from ending.
        threading.Thread(target=self._serve, args=(listening,), name="web", daemon=True).start()
        self._server = listening.result()

    def stop(self) -> None:
        """Stop listening; answers under way get a second to end. Does nothing when not started."""
        if self._server is None:
            return
        stopping = threading.Thread(target=self._server.stop, name="web-stop", daemon=True)
        stopping.start()
        stopping.join(_STOP_LIMIT_S)
        self._server = None

    def _serve(self, listening: Future[Any]) -> None:
        try:
            server = self._bound_server()
            listening.set_result(server)
        except PublishError as error:
            listening.set_exception(error)
            return
        finally:
            listening.cancel()  # has no effect on a settled one; what is unforeseen must not leave `start` waiting
        server.serve()

    def _bound_server(self) -> Any:  # see _new_server
        problem: Exception = OSError("no host")
        for host in self._hosts:
            server = self._new_server(host)
            try:
                server.prepare()
            except (OSError, UnicodeError) as error:  # UnicodeError: no host name at all
                problem = error
            else:
                return server
        raise PublishError(f"can't listen on {self._address}: {_advice(problem)} ({problem})")

    def _new_server(self, host: str) -> Any:  # cheroot's stubs let nobody set the log function
        server: Any = wsgi.Server(
            (host, self._port),
            self._application,
            numthreads=_THREADS,
            server_name="anomaly-exporter",
            request_queue_size=_WAITING_CONNECTIONS,
            timeout=_SOCKET_TIMEOUT_S,
            shutdown_timeout=_STOP_PATIENCE_S,
        )
        server.software = "anomaly-exporter"
        server.max_request_header_size = _MOST_HEADER_BYTES
        server.max_request_body_size = _MOST_BODY_BYTES
        server.error_log = _log_of_server
        server.process_conn = _when_readable(server)
        return server


def _when_readable(server: Any) -> Callable[[Any], None]:
    """Let new connections wait among the idle ones until they say something.

    cheroot gives a new connection to a thread at once, and eight silent ones would keep every scrape out.
    """
    process = server.process_conn

    def admit(connection: Any) -> None:
        if connection.last_used is None:
            server.put_conn(connection)
        else:
            process(connection)

    return admit
