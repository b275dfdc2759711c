"""Who is answered, and by which threads: rate, users, endpoints."""

from __future__ import annotations

import logging
import math
from collections import Counter
from functools import partial
from http import HTTPStatus

from exporter.names import PAGE_EXPLAIN
from exporter.publish.exposition import Plain
from exporter.publish.web.head import Head
from exporter.publish.web.lanes import Lane
from exporter.publish.web.metrics import WebMetrics
from exporter.publish.web.passwords import Login, read_login
from exporter.publish.web.protection import Protection
from exporter.publish.web.replies import Reply, batch, make_reply
from exporter.publish.web.routes import PAGE_METRICS, PAGE_RELOAD, PLAIN_TYPE, Response, Routes, respond

_QUICK_THREADS = 8
_EXPLAIN_THREADS = 8
_MOST_VERIFYING = 64  # different logins that wait for bcrypt, which is computed for one at a time
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="anomaly-exporter", charset="UTF-8"')
_COME_BACK = ("Retry-After", "5")

log = logging.getLogger(__name__)


def refused(status: HTTPStatus, words: str, *headers: tuple[str, str]) -> Reply:
    """A reply that says why there is no other."""
    response = Response(status, PLAIN_TYPE, [Plain(f"{words}\n".encode())], headers)
    return make_reply(response, {"REQUEST_METHOD": "GET"})


class Service:
    """Answers requests, one or many at once. For one event loop."""

    def __init__(self, routes: Routes, metrics: WebMetrics) -> None:
        self._routes = routes
        self._metrics = metrics
        self._verifying: Counter[Login] = Counter()
        self._quick = Lane("answer", _QUICK_THREADS)
        self._passwords = Lane("password", 1)
        self._slow = {PAGE_EXPLAIN: Lane("explain", _EXPLAIN_THREADS), PAGE_RELOAD: Lane("reload", 1)}

    async def reply(self, head: Head, protection: Protection) -> Reply:
        """The reply to a request; an internal error is one, too, and is logged."""
        wait_s = protection.rate.take() if protection.rate is not None else 0.0
        if wait_s:
            self._metrics.refused.labels("rate_limit").inc()
            wait = ("Retry-After", str(math.ceil(wait_s)))
            return refused(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests (rate_limit of the web config).", wait)
        try:
            if protection.passwords and (closed := await self._closed(head, protection)) is not None:
                return closed
            return await self._answer(head)
        except Exception:
            log.exception("internal error in an answer, please report it", extra={"path": head.path[:200]})
            return refused(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error; the log says more.")

    async def more(self, reply: Reply) -> bytes:
        """The next bytes of a reply; empty at the end."""
        return await self._quick.run(partial(batch, reply.rest))

    def close(self) -> None:
        """Let the threads end."""
        for lane in (self._quick, self._passwords, *self._slow.values()):
            lane.close()

    async def _answer(self, head: Head) -> Reply:
        environ = head.environ()
        lane = self._slow.get(head.path, self._quick)
        key = (head.method, head.query, head.fields.get("accept", "")) if head.path == PAGE_METRICS else None
        response = await lane.run(partial(respond, self._routes, environ), key)
        return await self._quick.run(partial(make_reply, response, environ))

    async def _closed(self, head: Head, protection: Protection) -> Reply | None:
        """None for who may come in."""
        login = read_login(head.fields.get("authorization", ""))
        right = False if login is None else protection.passwords.known(login)
        if right is None and login is not None:
            if login not in self._verifying and len(self._verifying) >= _MOST_VERIFYING:
                self._metrics.refused.labels("busy").inc()
                words = "Other passwords are being verified; try again soon."
                return refused(HTTPStatus.SERVICE_UNAVAILABLE, words, _COME_BACK)
            right = await self._verified(protection, login)
        if right:
            return None
        self._metrics.refused.labels("authentication").inc()
        return refused(HTTPStatus.UNAUTHORIZED, "Unauthorized", _CHALLENGE)

    async def _verified(self, protection: Protection, login: Login) -> bool:
        self._verifying[login] += 1
        try:  # whoever comes with the same login meanwhile finds it verified
            return await self._passwords.run(partial(protection.passwords.verify, login))
        finally:
            self._verifying[login] -= 1
            if not self._verifying[login]:
                del self._verifying[login]
