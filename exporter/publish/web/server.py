"""The web server: an event loop in a thread of its own that listens, and lets so many connections in."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry

from exporter.errors import PublishError
from exporter.publish.web.conversation import Conversation
from exporter.publish.web.limits import WebOptions
from exporter.publish.web.metrics import WebMetrics
from exporter.publish.web.protection import Watched
from exporter.publish.web.routes import Routes
from exporter.publish.web.service import Service

_STOP_LIMIT_S = 2
_BREATH_S = 0.1
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")
_ANY_HOST = ("::", "0.0.0.0")  # noqa: S104  # ":9899" means all interfaces; :: takes IPv4 too where it is available

log = logging.getLogger(__name__)


def _parse_address(address: str) -> tuple[tuple[str, ...], int]:
    """(hosts to try in turn, port) of ``host:port``, ``:port`` or ``[IPv6]:port``. Raises PublishError."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise PublishError(f"{address!r} is no listen address; allowed: host:port, :port, [IPv6]:port, e.g. :9899")
    host = match["v6"] or match["host"]
    return ((host,) if host else _ANY_HOST), int(match["port"])


def _advice(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return "another process listens there (see `ss -ltnp`); stop it or choose another --web.listen-address"
    if number == errno.EACCES:
        return "ports below 1024 need a privilege; choose another --web.listen-address"
    return "choose an address of this machine with --web.listen-address"


def _listen(host: str, port: int, waiting: int) -> socket.socket:
    """A listening socket. Raises OSError, or UnicodeError for what is no host name at all."""
    problem = OSError("no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if host == "::":
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(address)
            listener.listen(waiting)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            problem = error
        else:
            return listener
    raise problem


class WebServer:
    """Serves the routes from ``start`` until ``stop``."""

    def __init__(
        self,
        listen_address: str,
        routes: Routes,
        *,
        options: WebOptions | None = None,
        metrics: WebMetrics | None = None,
    ) -> None:
        """Raises PublishError for an address of the wrong form, ConfigError for a web config that can't be used."""
        self._address = listen_address
        self._hosts, self._port = _parse_address(listen_address)
        options = options or WebOptions()
        self._limits = options.limits
        self._metrics = metrics or WebMetrics(CollectorRegistry())
        self._metrics.max_connections.set(self._limits.max_connections)
        self._watched = Watched(options.config_file, self._metrics)
        self._service = Service(routes, self._metrics)
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._open: dict[Conversation, asyncio.Task[None]] = {}

    @property
    def port(self) -> int:
        """The port listened on: the chosen one when the address said 0; 0 before ``start``."""
        return int(self._listener.getsockname()[1]) if self._listener is not None else 0

    def start(self) -> None:
        """Listen, then serve in the background. Raises PublishError, saying what to do, when that is impossible."""
        self._listener = self._bound()
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(self._listener, ready), name="web", daemon=True)
        self._thread.start()
        ready.result()

    def stop(self) -> None:
        """Stop listening; answers under way get a second to end. Does nothing when not started."""
        if self._listener is None or self._thread is None or self._loop is None or self._stopping is None:
            return
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_LIMIT_S)
        self._listener = None
        self._service.close()

    def _bound(self) -> socket.socket:
        problem: Exception = OSError("no host")
        for host in self._hosts:
            try:
                return _listen(host, self._port, self._limits.max_connections)
            except (OSError, UnicodeError) as error:
                problem = error
        raise PublishError(f"can't listen on {self._address}: {_advice(problem)} ({problem})")

    # -- in the loop ---------------------------------------------------------------------------------------------------

    def _run(self, listener: socket.socket, ready: Future[None]) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                self._loop.set_exception_handler(_log_of_loop)
                runner.run(self._serve(listener, ready))
        finally:
            ready.cancel()  # has no effect on a settled one; what is unforeseen must not leave `start` waiting

    async def _serve(self, listener: socket.socket, ready: Future[None]) -> None:
        self._stopping = asyncio.Event()
        accepting = asyncio.get_running_loop().create_task(self._accept(listener))
        ready.set_result(None)
        await self._stopping.wait()
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        listener.close()
        await self._finish()

    async def _finish(self) -> None:
        """Let answers under way end; whoever is still there after a moment is cut off."""
        for conversation in self._open:
            conversation.ending = True
        busy = [task for conversation, task in self._open.items() if conversation.busy]
        if busy:
            await asyncio.wait(busy, timeout=self._limits.stop_patience_s)
        left = list(self._open.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:  # out of file handles, or a client that was gone at once
                log.warning("a connection could not be accepted", extra={"error": error.strerror})
                await asyncio.sleep(_BREATH_S)
                continue
            if not self._make_room():
                connection.close()
                continue
            self._admit(connection, loop)

    def _admit(self, connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conversation = Conversation(connection, self._service, self._watched, self._limits, self._metrics)
        task = loop.create_task(conversation.run())
        self._open[conversation] = task
        self._metrics.connections.set(len(self._open))
        task.add_done_callback(lambda _: self._left(conversation))

    def _left(self, conversation: Conversation) -> None:
        self._open.pop(conversation, None)
        self._metrics.connections.set(len(self._open))

    def _make_room(self) -> bool:
        """At the limit the connection that gives least hope makes room: one that never had an answer and has waited
        longest for its client; else one that has had; else one that does not take its answer. A newcomer is turned
        away only when all others are being answered."""
        if len(self._open) < self._limits.max_connections:
            return True
        self._metrics.refused.labels("connection_limit").inc()
        patience_s = self._limits.send_patience_s
        worst = max(self._open, key=lambda each: each.hopeless(patience_s))
        if worst.hopeless(patience_s) <= (0, 0.0):
            return False
        self._open.pop(worst).cancel()
        return True


def _log_of_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What went wrong where nobody waits for it; a client that goes away is no news."""
    error = context.get("exception")
    level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
    log.log(level, f"web server: {context.get('message')}", exc_info=error)
