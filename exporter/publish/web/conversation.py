"""One connection, from its first byte to its last: TLS, requests one by one, answers as fast as they are taken.

Nothing here waits in a thread for a client, so a slow one costs a connection and no more.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus

import h11

from exporter.publish.web.head import Head, Refusal, read_head, refusal_of, too_large_body
from exporter.publish.web.limits import MOST_BODY_BYTES, MOST_HEAD_BYTES, WebLimits
from exporter.publish.web.metrics import WebMetrics
from exporter.publish.web.protection import Protection, Watched
from exporter.publish.web.replies import Reply
from exporter.publish.web.service import Service, refused
from exporter.publish.web.tls import has_allowed_name

_TLS_RECORD = b"\x16"  # how a TLS connection begins (RFC 8446, section 5.1)
_PIECE_BYTES = 1024  # a head may be larger than the limit by less than that
_BUFFER_BYTES = 65_536
_GO_ON = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
_LINGER_S = 1.0
_LINGER_BYTES = 262_144
_CLOSE_S = 2.0
_NO_TLS = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThis port speaks HTTPS.\n"

_WAITING, _MAKING, _SENDING = "waiting", "making", "sending"

log = logging.getLogger(__name__)


class Conversation:
    """A connection. ``ending``: the server stops, no further request is read."""

    def __init__(
        self, connection: socket.socket, service: Service, watched: Watched, limits: WebLimits, metrics: WebMetrics
    ) -> None:
        self.ending = False
        self._phase = _WAITING
        self._since_s = time.monotonic()
        self._answered = False
        self._handed_over = False
        self._head_only = False
        self._socket = connection
        self._service = service
        self._watched = watched
        self._limits = limits
        self._metrics = metrics
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
        self._reader = asyncio.StreamReader(limit=MOST_HEAD_BYTES)
        self._writer: asyncio.StreamWriter | None = None

    @property
    def busy(self) -> bool:
        """Whether a request has come that is not answered to its end."""
        return self._phase != _WAITING

    def hopeless(self, patience_s: float) -> tuple[int, float]:
        """How little is lost with this connection, for comparison: (0, 0) while an answer is made or has been under way
        for less than ``patience_s``; most where the client has never sent a whole request."""
        waited_s = time.monotonic() - self._since_s
        if self._phase == _WAITING:
            return (2 if self._answered else 3), waited_s
        return (1, waited_s) if self._phase == _SENDING and waited_s > patience_s else (0, 0.0)

    async def run(self) -> None:
        """Hold the conversation. Whatever the client does ends here, at the latest when the task is cancelled."""
        try:
            if await self._open():
                while await self._exchange():
                    pass
                await self._close()
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            log.debug("connection ended early", extra={"error": repr(error)})
        except Exception:
            log.exception("internal error in a connection, please report it")
        finally:
            if self._writer is not None:
                self._writer.transport.abort()
            if not self._handed_over:  # otherwise its transport closes it
                self._socket.close()

    def _enter(self, phase: str) -> None:
        self._phase, self._since_s = phase, time.monotonic()

    # -- the beginning -------------------------------------------------------------------------------------------------

    async def _open(self) -> bool:
        protection = self._watched.current()
        try:
            async with asyncio.timeout(self._limits.read_timeout_s):
                if protection.context is not None and await self._first_byte() != _TLS_RECORD:
                    await self._refuse_plain()
                    return False
                await self._connect(protection.context)
        except ssl.SSLError as error:
            self._metrics.refused.labels("tls").inc()
            log.debug("TLS handshake failed", extra={"error": error.reason})
            return False
        except TimeoutError:
            self._metrics.refused.labels("timeout").inc()
            raise
        return self._has_allowed_name(protection)

    async def _connect(self, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        more = {} if context is None else {
            "ssl_handshake_timeout": self._limits.read_timeout_s + 1, "ssl_shutdown_timeout": _CLOSE_S,
        }  # fmt: skip
        self._handed_over = True
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._socket, ssl=context, **more)
        transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)

    async def _first_byte(self) -> bytes:
        """The first byte, which stays unread: who speaks plain HTTP to a TLS port is told so in plain HTTP."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._socket, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._socket)
        return self._socket.recv(1, socket.MSG_PEEK)

    async def _refuse_plain(self) -> None:
        self._metrics.refused.labels("tls").inc()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, _NO_TLS)
        self._socket.shutdown(socket.SHUT_WR)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):  # a reset would take the answer away
                while await loop.sock_recv(self._socket, _BUFFER_BYTES):
                    pass

    def _has_allowed_name(self, protection: Protection) -> bool:
        if not protection.allowed_sans or protection.context is None or self._writer is None:
            return True
        if has_allowed_name(self._writer.get_extra_info("peercert"), protection.allowed_sans):
            return True
        self._metrics.refused.labels("client_certificate").inc()
        log.debug("client certificate without an allowed name")
        return False

    # -- requests ------------------------------------------------------------------------------------------------------

    async def _exchange(self) -> bool:
        """One request and its answer; whether another one may follow."""
        try:
            head = await self._next_head()
        except Refusal as refusal:
            self._count(refusal.status)
            await self._send(refused(refusal.status, refusal.words), {}, lasting=False)
            await self._linger()
            return False
        if head is None:
            return False
        self._enter(_MAKING)
        protection = self._watched.current()
        reply = await self._service.reply(head, protection)
        self._enter(_SENDING)
        await self._send(reply, protection.headers, lasting=not self.ending)
        self._answered |= reply.status < HTTPStatus.BAD_REQUEST
        self._enter(_WAITING)
        if self._http.our_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _next_head(self) -> Head | None:
        """The next request, its body read and thrown away; None at the end. Raises Refusal."""
        try:
            async with asyncio.timeout(self._limits.read_timeout_s):
                if not self._http.trailing_data[0] and not await self._feed():
                    return None
        except TimeoutError:
            return None  # idle: nobody is owed an answer
        try:
            async with asyncio.timeout(self._limits.read_timeout_s):
                return await self._whole_request()
        except TimeoutError:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "The request took too long to arrive.") from None
        except h11.RemoteProtocolError as error:
            raise refusal_of(error) from None

    async def _whole_request(self) -> Head | None:
        self._head_only = False
        head, body_bytes = None, 0
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                self._head_only = event.method == b"HEAD"
                head = read_head(event)
            elif isinstance(event, h11.Data):
                body_bytes += len(event.data)
            if body_bytes > MOST_BODY_BYTES:
                raise too_large_body()
        return head

    async def _next_event(self) -> object:
        """What the parser finds next, with as much of what the client sends as that takes."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._write(self._http.send(_GO_ON))
            if not await self._feed():
                raise ConnectionResetError("the client went away within a request")
        return event

    async def _feed(self) -> int:
        """Give the parser a piece of what the client sends; its bytes, 0 at the end."""
        piece = await self._reader.read(_PIECE_BYTES)
        if piece:
            self._http.receive_data(piece)
        return len(piece)

    def _count(self, status: HTTPStatus) -> None:
        large = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        reason = "too_large" if status in large else "malformed"
        self._metrics.refused.labels("timeout" if status == HTTPStatus.REQUEST_TIMEOUT else reason).inc()

    # -- answers -------------------------------------------------------------------------------------------------------

    async def _send(self, reply: Reply, headers: Mapping[str, str], *, lasting: bool) -> None:
        """Send a reply as fast as the client takes it, and give up on one that takes too long."""
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._send_body(_response(reply, headers, lasting=lasting), reply)
        except TimeoutError:
            self._metrics.refused.labels("timeout").inc()
            raise

    async def _send_body(self, response: h11.Response, reply: Reply) -> None:
        texts, part = self._framed(response), b"" if self._head_only else reply.first  # a refusal has words for all
        while part:
            await self._write(b"".join([*texts, *self._framed(h11.Data(data=part))]))  # the one copy of a part
            texts, part = [], await self._service.more(reply)
        await self._write(b"".join([*texts, *self._framed(h11.EndOfMessage())]))

    def _framed(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> list[bytes]:
        """An event as HTTP writes it, the bytes of a part in it as they are."""
        return self._http.send_with_data_passthrough(event) or []

    async def _write(self, text: bytes) -> None:
        if self._writer is not None:
            self._writer.write(text)
            await self._writer.drain()

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _linger(self) -> None:
        """Take what the client still sends, for a moment: closing on it would reset the answer away."""
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_LINGER_S):
                if self._writer is not None and self._writer.can_write_eof():
                    self._writer.write_eof()
                taken = 0
                while taken < _LINGER_BYTES and (text := await self._reader.read(_BUFFER_BYTES)):
                    taken += len(text)

    async def _close(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._writer.wait_closed()


def _response(reply: Reply, headers: Mapping[str, str], *, lasting: bool) -> h11.Response:
    """The head of an answer; ``headers`` go before the reply's own of that name. h11 adds what frames the body."""
    named = {name.lower() for name in headers}
    shown = [("Date", formatdate(usegmt=True)), ("Server", "anomaly-exporter")]
    shown += [pair for pair in reply.headers if pair[0].lower() not in named]
    shown += [(name, value.strip()) for name, value in headers.items()]
    if reply.body_bytes is not None:
        shown.append(("Content-Length", str(reply.body_bytes)))
    if not lasting:
        shown.append(("Connection", "close"))
    return h11.Response(status_code=reply.status, headers=shown, reason=reply.status.phrase)
