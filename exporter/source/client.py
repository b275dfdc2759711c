"""The query API of a Prometheus-like server: bytes in bounded time, with bounded retries, or an error in our words."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from prometheus_api_client import PrometheusConnect

from exporter.config.http import TENANT_HEADER
from exporter.errors import SourceError, SourceRefused, SourceUnavailable
from exporter.source.answer import garbled, plain_text
from exporter.source.breaker import Breaker, Onlooker
from exporter.source.clock import Clock
from exporter.source.download import Bounds, read_body, read_pieces, read_start
from exporter.source.faults import status_error, translated

_ERROR_BYTES = 1 << 16  # of an error page only this much is read
_LONGEST_CONNECT_S = 10.0
_LONGEST_BACKOFF_S = 10.0

Observer = Callable[[str, int], None]


def unobserved(outcome: str, body_bytes: int) -> None:
    """The observer of those who do not want to know."""


@dataclass(slots=True)
class Client:
    """The query API of one server, as one tenant.

    ``base_url`` is what stands before ``/api/v1``; ``session`` brings credentials, TLS and proxies and may be shared.
    ``tenant`` is sent as X-Scope-OrgID. ``timeout_s`` bounds one attempt and is told to the server; no attempt begins
    later than that after the first, so a call ends within about twice of it. ``max_body_bytes`` bounds an answer,
    unpacked too. ``params`` go along in the URL of every request. ``observe(outcome, body_bytes)`` is called after
    each attempt with "ok" or one of ``faults.REASONS``, from the calling thread. Setting ``stop`` ends waits and
    downloads early. ``slots`` bounds the requests under way at once, whichever query they are for;
    ``asker`` is the query, for the breaker. ``clock`` knows how
    far ours is from the server's.

    Calls may come from several threads. They raise SourceUnavailable (after the retries), SourceRefused,
    SourceTooMuch or SourceGarbled; their text names the URL without credentials, what happened and what to do.
    """

    base_url: str
    session: requests.Session
    tenant: str | None = None
    timeout_s: float = 30.0
    max_body_bytes: int = 512 << 20
    accept_gzip: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    retries: int = 3
    backoff_s: float = 0.5
    observe: Observer = unobserved
    stop: threading.Event = field(default_factory=threading.Event)
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(4))
    clock: Clock = field(default_factory=Clock)
    breaker: Breaker | Onlooker | None = None
    asker: str = ""
    _post: bool = True

    def __post_init__(self) -> None:
        self.base_url = self.base_url.rstrip("/")

    def query(self, expr: str, time_s: float) -> bytearray:
        """The body of an instant query's answer."""
        return self.fetch("query", {"query": expr, "time": _seconds(time_s), "timeout": _seconds(self.timeout_s)})

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float) -> bytearray:
        """The body of a range query's answer. Some servers shift a start or end that is no multiple of the step."""
        span = {"start": _seconds(start_s), "end": _seconds(end_s), "step": _seconds(step_s)}
        return self.fetch("query_range", {"query": expr, **span, "timeout": _seconds(self.timeout_s)})

    def stream(self, endpoint: str, data: bytes, headers: Mapping[str, str], media_type: str) -> Generator[bytes]:
        """POST bytes to ``/api/v1/<endpoint>`` and give the body of the answer piece by piece as it comes.

        One attempt, which takes its slot until the iterator ends or is closed, and which is not observed: only the
        caller knows whether the pieces made sense. Raises SourceGarbled besides the errors above when the answer is
        not of ``media_type`` or is packed.
        """
        origin = self.origin(endpoint)
        if self.breaker is not None:
            self.breaker.refuse(self.asker)
        bounds = Bounds(self.max_body_bytes, time.monotonic() + self.timeout_s, self.stop)
        with self.slots, self._send_bytes(endpoint, data, headers) as response:
            if response.status_code != 200:
                raise self._refusal(response, endpoint, bounds.deadline_s)
            told = response.headers.get("Content-Type", "no type")
            if not told.lower().startswith(media_type) or "Content-Encoding" in response.headers:
                raise garbled(origin, f"answered {plain_text(told)} instead of a stream of {media_type}")
            yield from read_pieces(response, bounds, origin)

    def origin(self, endpoint: str) -> str:
        """How messages name an endpoint: its URL without credentials, and the tenant."""
        parts = urlsplit(f"{self.base_url}/api/v1/{endpoint}")
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return url if self.tenant is None else f"{url} (tenant {self.tenant})"

    def fetch(self, endpoint: str, form: Mapping[str, str]) -> bytearray:
        """Send a form to ``/api/v1/<endpoint>`` and return the body; retries what may go better the next time."""
        if self.breaker is None:
            return self._patiently(endpoint, form, self.retries)
        with self.breaker.call(self.asker) as probing:
            return self._patiently(endpoint, form, 0 if probing else self.retries)

    def _patiently(self, endpoint: str, form: Mapping[str, str], retries: int) -> bytearray:
        give_up_s = time.monotonic() + self.timeout_s
        attempt = 0
        while True:
            try:
                return self._observed(endpoint, form)
            except SourceUnavailable as error:
                wait_s = max(self._backoff_s(attempt), error.retry_after_s)
                attempt += 1
                if self.breaker is not None and self.breaker.is_open:
                    raise
                if attempt > retries or time.monotonic() + wait_s > give_up_s or self.stop.wait(wait_s):
                    raise

    def _backoff_s(self, attempt: int) -> float:
        return min(_LONGEST_BACKOFF_S, self.backoff_s * float(2**attempt)) * random.uniform(0.5, 1.0)

    def _observed(self, endpoint: str, form: Mapping[str, str], *, post: bool = True) -> bytearray:
        try:
            with self.slots:
                body = self._attempt(endpoint, form, post=post and self._post)
        except SourceError as error:
            self.observe(error.reason, 0)
            raise
        self.observe("ok", len(body))
        return body

    def _attempt(self, endpoint: str, form: Mapping[str, str], *, post: bool) -> bytearray:
        deadline_s = time.monotonic() + self.timeout_s
        with self._send(endpoint, form, post=post) as response:
            self.clock.note(response.headers.get("Date"))
            if not (post and (response.status_code == 405 or _lost_its_form(response))):
                return self._read(response, endpoint, deadline_s)
        self._post = False
        return self._attempt(endpoint, form, post=False)

    def _send(self, endpoint: str, form: Mapping[str, str], *, post: bool) -> requests.Response:
        headers = {"Accept-Encoding": "gzip" if self.accept_gzip else "identity", **self._tenant_header()}
        with translated(self.origin(endpoint)):
            return self.session.request(
                "POST" if post else "GET",
                f"{self.base_url}/api/v1/{endpoint}",
                params=dict(self.params) if post else {**self.params, **form},
                data=dict(form) if post else None,
                headers=headers,
                stream=True,
                timeout=(min(_LONGEST_CONNECT_S, self.timeout_s), self.timeout_s),
            )

    def _send_bytes(self, endpoint: str, data: bytes, headers: Mapping[str, str]) -> requests.Response:
        with translated(self.origin(endpoint)):
            return self.session.post(
                f"{self.base_url}/api/v1/{endpoint}",
                params=dict(self.params),
                data=data,
                headers={"Accept-Encoding": "identity", **headers, **self._tenant_header()},
                stream=True,
                timeout=(min(_LONGEST_CONNECT_S, self.timeout_s), self.timeout_s),
            )

    def _tenant_header(self) -> dict[str, str]:
        return {} if self.tenant is None else {TENANT_HEADER: self.tenant}

    def _read(self, response: requests.Response, endpoint: str, deadline_s: float) -> bytearray:
        origin = self.origin(endpoint)
        if response.status_code == 200:
            return read_body(response, Bounds(self.max_body_bytes, deadline_s, self.stop), origin)
        raise self._refusal(response, endpoint, deadline_s)

    def _refusal(self, response: requests.Response, endpoint: str, deadline_s: float) -> SourceError:
        """The error for a status other than 200."""
        origin = self.origin(endpoint)
        text = read_start(response, Bounds(_ERROR_BYTES, deadline_s, self.stop), origin).decode("utf-8", "replace")
        return status_error(origin, response.status_code, text, response.headers)

    # --- discovery, for people rather than for the hot path ---------------------------------------------------------

    def probe(self) -> None:
        """Ask the query API for a constant; raises the SourceError that a real query would meet."""
        self.query("1", time.time())

    def reachable(self) -> bool:
        """Whether the query API answers."""
        try:
            self.probe()
        except SourceError:
            return False
        return True

    def build_info(self) -> dict[str, str]:
        """What the server says of its version; {} where that is not offered (Cortex, Mimir behind a prefix).

        VictoriaMetrics reports a Prometheus version here: never derive features from it.
        """
        try:
            answer = json.loads(self._observed("status/buildinfo", {}, post=False))
        except (SourceRefused, ValueError):
            return {}
        data = answer.get("data") if isinstance(answer, dict) else None
        return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}

    def config_text(self) -> str:
        """The server's own config as YAML; "" where that is not offered or not told to these credentials."""
        try:
            answer = json.loads(self._observed("status/config", {}, post=False))
        except (SourceRefused, ValueError):
            return ""
        data = answer.get("data") if isinstance(answer, dict) else None
        text = data.get("yaml") if isinstance(data, dict) else None
        return text if isinstance(text, str) else ""

    def metadata(self, metric: str) -> str:
        """The type of a metric as its target declared it (``counter``, ``gauge``, ...); "" when not known."""
        entries = self._discover("metadata", lambda api: api.get_metric_metadata(metric=metric))
        types = {str(entry["type"]) for entry in entries if entry["metric_name"] == metric}
        return types.pop() if len(types) == 1 else ""

    def metric_names(self) -> list[str]:
        """All metric names the server knows for this tenant, sorted."""
        return self._names("label/__name__/values", lambda api: api.all_metrics())

    def label_values(self, label: str) -> list[str]:
        """All values of a label that the server knows, sorted."""
        return self._names(f"label/{label}/values", lambda api: api.get_label_values(label))

    def label_names(self, selector: str) -> list[str]:
        """The label names of the series a selector matches, sorted."""
        return self._names("labels", lambda api: api.get_label_names(params={"match[]": selector}))

    def _names(self, endpoint: str, ask: Callable[[PrometheusConnect], Any]) -> list[str]:
        """A list of names, sorted; none where the server says null, which is what Go makes of an empty list."""
        found = self._discover(endpoint, ask)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise garbled(self.origin(endpoint), "answered what is no list of names")
        return sorted(found)

    def _discover(self, endpoint: str, ask: Callable[[PrometheusConnect], Any]) -> Any:
        origin = self.origin(endpoint)
        with translated(origin):
            try:
                return ask(self._connect())
            except (requests.exceptions.InvalidJSONError, KeyError, TypeError, AttributeError) as error:
                raise garbled(origin, f"answered what is not its API ({error})") from error

    def _connect(self) -> PrometheusConnect:
        """prometheus-api-client on our session; it would retry on its own and has no timeout unless told."""
        no_retries = urllib3.Retry(0, read=False)
        return PrometheusConnect(
            self.base_url, headers=self._tenant_header(), session=self.session, timeout=self.timeout_s, retry=no_retries
        )


def _seconds(seconds: float) -> str:
    """Seconds as all servers read them: no exponent, milliseconds."""
    return f"{seconds:.3f}"


def _lost_its_form(response: requests.Response) -> bool:
    """Whether a redirect turned the POST into a GET, which drops the form with the query in it."""
    return bool(response.history) and response.request.method == "GET"
