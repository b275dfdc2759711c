"""Somebody who is on call: a webhook receiver that keeps what Alertmanager sends, and what that keeps to itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import requests
from support.servers import listening

Labels = dict[str, str]


@dataclass(frozen=True)
class Notified:
    """One alert of a notification: when it came (unix seconds, as the next two), when the alert began and ended.

    ``ends_s`` tells only of a resolved one; ``place`` is the number of the notification that brought it.
    """

    place: int
    came_s: float
    status: str
    labels: Labels
    annotations: Labels
    starts_s: float
    ends_s: float


@dataclass
class Pager:
    """``notifications`` are the bodies as they came."""

    url: str = ""
    notifications: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def alerts(self, status: str, **labels: str) -> list[Notified]:
        """The alerts of this status (firing, resolved) with these labels, in the order they came in."""
        told = [
            Notified(place, came_s, one["status"], one["labels"], one["annotations"],
                     unix_s(one["startsAt"]), unix_s(one["endsAt"]))
            for place, (came_s, body) in enumerate([*self.notifications])
            for one in body["alerts"]
        ]  # fmt: skip
        return [one for one in told if one.status == status and labels.items() <= one.labels.items()]


def unix_s(text: str) -> float:
    """RFC 3339 as unix seconds; the year 1, which stands for never, is far in the past."""
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def answering_pager() -> Iterator[Pager]:
    """A receiver on a free loopback port."""
    pager = Pager()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            pager.notifications.append((time.time(), json.loads(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with listening(Handler) as port:
        pager.url = f"http://127.0.0.1:{port}"
        yield pager


def muted(alertmanager: str, **labels: str) -> list[Labels]:
    """The labels of the alerts that an Alertmanager has and keeps to itself because another one says it all."""
    found = requests.get(f"{alertmanager}/api/v2/alerts", timeout=10).json()
    inhibited = [one["labels"] for one in found if one["status"]["inhibitedBy"]]
    return [have for have in inhibited if labels.items() <= have.items()]
