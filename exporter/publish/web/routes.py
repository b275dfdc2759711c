"""The endpoints: path and method to an answer."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from exporter.errors import ConfigError
from exporter.names import PAGE_EXPLAIN, PAGE_RUNBOOKS
from exporter.publish.exposition import Piece, Plain
from exporter.publish.landing import PAGE_POLICY, Landing, page_html
from exporter.publish.lines import WHOLE, Shard
from exporter.publish.runbooks import runbook_html, runbook_names, runbooks_html
from exporter.publish.web.negotiation import wants_openmetrics

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN_TYPE = "text/plain; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"
PAGE_METRICS = "/metrics"
PAGE_RELOAD = "/-/reload"

_MOST_SHARDS = 1000
_SHARD = re.compile(r"(?P<index>[0-9]{1,4})/(?P<of>[0-9]{1,4})")
_READ, _CHANGE = ("GET", "HEAD"), ("POST", "PUT")

Environ = dict[str, Any]


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
class Response:
    """What an endpoint answers; the pieces are written when they are sent."""

    status: HTTPStatus
    content_type: str
    pieces: Sequence[Piece]
    headers: tuple[tuple[str, str], ...] = field(default=())


def _text(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> Response:
    return Response(status, PLAIN_TYPE, [Plain((text.rstrip("\n") + "\n").encode("utf-8", "replace"))], headers)


def _metrics(routes: Routes, environ: Environ) -> Response:
    shard = _wanted_shard(environ.get("QUERY_STRING", ""))
    if shard is None:
        words = f"shard is not i/n with 1 <= i <= n <= {_MOST_SHARDS}, for example ?shard=1/3"
        return _text(HTTPStatus.BAD_REQUEST, words)
    openmetrics = wants_openmetrics(environ.get("HTTP_ACCEPT", ""))
    kind = OPENMETRICS_TYPE if openmetrics else TEXT_TYPE
    return Response(HTTPStatus.OK, kind, routes.metrics(openmetrics, shard), (("Vary", "Accept"),))


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


def _healthy(_routes: Routes, _environ: Environ) -> Response:
    return _text(HTTPStatus.OK, "anomaly-exporter is healthy.")


def _ready(routes: Routes, _environ: Environ) -> Response:
    ready, words = routes.ready()
    return _text(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, words)


def _reload(routes: Routes, environ: Environ) -> Response:
    if routes.reload is None:
        words = "Reloading over HTTP is off; start with --web.enable-lifecycle, or send SIGHUP."
        return _text(HTTPStatus.FORBIDDEN, words)
    # Browsers say whose page a request comes from (Fetch Metadata); one of another site must not reload anything.
    if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin"):
        return _text(HTTPStatus.FORBIDDEN, "A page of another site must not reload the config.")
    try:
        routes.reload()
    except ConfigError as error:
        return _text(HTTPStatus.INTERNAL_SERVER_ERROR, f"The config was not reloaded, the old one stays:\n{error}")
    return _text(HTTPStatus.OK, "The config was reloaded.")


def _config(routes: Routes, _environ: Environ) -> Response:
    return _text(HTTPStatus.OK, routes.config_text())


def _landing(routes: Routes, _environ: Environ) -> Response:
    return _page(page_html(routes.landing()))


def _explain(routes: Routes, environ: Environ) -> Response:
    if routes.explain is None:
        return _text(HTTPStatus.NOT_FOUND, "Explanations are off.")
    answered = routes.explain(environ.get("QUERY_STRING", ""))
    return Response(HTTPStatus(answered.status), answered.content_type, [Plain(answered.body)], answered.headers)


def _runbooks(_routes: Routes, _environ: Environ) -> Response:
    return _page(runbooks_html())


def _runbook(_routes: Routes, environ: Environ) -> Response:
    html = runbook_html(environ["PATH_INFO"].removeprefix(f"{PAGE_RUNBOOKS}/"))
    if html is None:
        return _text(HTTPStatus.NOT_FOUND, f"There is no such runbook. There are: {' '.join(runbook_names())}")
    return _page(html)


def _page(html: str) -> Response:
    """A page for people."""
    return Response(
        HTTPStatus.OK, HTML_TYPE, [Plain(html.encode("utf-8", "replace"))], (("Content-Security-Policy", PAGE_POLICY),)
    )


Endpoint = Callable[[Routes, Environ], Response]
_ENDPOINTS: Mapping[str, tuple[tuple[str, ...], Endpoint]] = {
    "/": (_READ, _landing),
    PAGE_METRICS: (_READ, _metrics),
    "/config": (_READ, _config),
    PAGE_EXPLAIN: (_READ, _explain),
    PAGE_RUNBOOKS: (_READ, _runbooks),
    "/-/healthy": (_READ, _healthy),
    "/-/ready": (_READ, _ready),
    PAGE_RELOAD: (_CHANGE, _reload),
}


def respond(routes: Routes, environ: Environ) -> Response:
    """The answer to a request, as WSGI describes it (PEP 3333)."""
    methods, endpoint = _ENDPOINTS.get(environ["PATH_INFO"], ((), None))
    if environ["PATH_INFO"].startswith(f"{PAGE_RUNBOOKS}/"):
        methods, endpoint = _READ, _runbook
    if endpoint is None:
        return _text(HTTPStatus.NOT_FOUND, "Not found. There are: " + " ".join(_ENDPOINTS))
    if environ["REQUEST_METHOD"] not in methods:
        allowed = ", ".join(methods)
        return _text(HTTPStatus.METHOD_NOT_ALLOWED, f"Method not allowed; use {allowed}.", ("Allow", allowed))
    return endpoint(routes, environ)
