"""What the web server answers, without a server."""

from __future__ import annotations

from exporter.publish.web import Routes
from exporter.publish.web.replies import make_reply
from exporter.publish.web.routes import respond


def answered(routes: Routes, path: str, query: str = "", method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    """Status line, headers and body."""
    environ = {"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": method}
    reply = make_reply(respond(routes, environ), environ)
    return f"{reply.status.value} {reply.status.phrase}", dict(reply.headers), reply.first + b"".join(reply.rest)
