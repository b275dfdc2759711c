"""One attempt to deliver a request to a receiver, and what its answer means."""

from __future__ import annotations

import contextlib
import enum
import http.client
import re
import socket
import ssl
import time
from dataclasses import dataclass

import requests
import urllib3

from exporter.config.schema import RemoteWrite
from exporter.config.secret import hide
from exporter.errors import SourceError, causes
from exporter.retry_after import retry_after_s

VERSION_1, VERSION_2 = 1, 2

_HEADERS = {
    VERSION_1: {
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    },
    VERSION_2: {
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    },
}
_WRITTEN = "X-Prometheus-Remote-Write-Samples-Written"
_LONGEST_CONNECT_S = 10.0
_READ_BYTES = 8192  # of an answer no more is looked at
_TOLD_CHARS = 300
# Prometheus 2 answers 500 to a sample older than its out-of-order window (3.x: 400), which would be sent for ever.
_LASTING = re.compile(r"too old sample|out of order sample|out of bounds|duplicate sample for timestamp")
_NO_ANSWER = 0  # in place of a status


class Kind(enum.Enum):
    """What an answer asks for."""

    OK = "ok"
    AGAIN = "again"  # the same once more, later
    SPLIT = "split"  # something in it is bad: send the rest
    REFUSED = "refused"  # never again
    OLDER = "older"  # the same in protocol 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status (0: nothing), the receiver's or our words, and the headers that matter.

    ``written`` is the number of samples that a receiver of protocol 2.0 says it wrote, None where it says nothing.
    """

    status: int
    words: str = ""
    wait_s: float = 0.0
    written: int | None = None
    redirected: bool = False


class Target:
    """A receiver: where it is and how to talk to it. The session brings credentials, TLS and proxies."""

    def __init__(self, config: RemoteWrite, session: requests.Session) -> None:
        self.config = config
        self._session = session

    def post(self, body: bytes, version: int) -> Answer:
        """Send one request and wait for its answer; never raises for what a network or a receiver does."""
        timeout_s = self.config.timeout_s
        deadline_s = time.monotonic() + timeout_s
        try:
            response = self._session.post(
                self.config.url,
                data=body,
                headers={"Content-Encoding": "snappy", **_HEADERS[version]},
                timeout=(min(_LONGEST_CONNECT_S, timeout_s), timeout_s),
                stream=True,
            )
        except SourceError as error:  # credentials: a file may come back, a token server, too
            return Answer(_NO_ANSWER, str(error))
        except requests.TooManyRedirects:
            return Answer(_NO_ANSWER, "redirects without end", redirected=True)
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            return Answer(_NO_ANSWER, transport_words(error))
        with response:
            return _answer(response, deadline_s)


def kind_of(answer: Answer, version: int, *, confirmed: bool, retry_429: bool) -> Kind:
    """What to do after an answer. ``confirmed``: the receiver has shown that it knows protocol 2.0.

    prometheus.io/docs/specs/prw/remote_write_spec_2_0: 5xx is to be sent again, 429 may be, other 4xx must not. A
    receiver of 2.0 says how many samples it wrote; one that does not, or answers 415, knows 1.0 only, and one of 1.x
    may answer 400 to content that it does not know. A 5xx that is about the age of a sample is a 400.
    """
    status = answer.status
    if answer.redirected:
        return Kind.REFUSED
    if 200 <= status < 300:
        return Kind.OLDER if version == VERSION_2 and answer.written is None else Kind.OK
    if version == VERSION_2 and (status == 415 or (status == 400 and answer.written is None and not confirmed)):
        return Kind.OLDER
    if status >= 500 and _LASTING.search(answer.words):
        return Kind.SPLIT
    if status == _NO_ANSWER or status >= 500 or (status == 429 and retry_429):
        return Kind.AGAIN
    return Kind.SPLIT if status in (400, 413) else Kind.REFUSED


def _answer(response: requests.Response, deadline_s: float) -> Answer:
    headers = response.headers
    words = plain_words(_start_of(response, deadline_s).decode("utf-8", "replace"))
    # A redirect of 301 to 303 turns a POST into a GET, without the samples; one that was not followed is no better.
    lost = response.request.method != "POST" or 300 <= response.status_code < 400
    written = headers.get(_WRITTEN, "").strip()
    return Answer(
        response.status_code,
        "it redirects, which takes the samples away: set the url it points to" if lost else words,
        retry_after_s(headers.get("Retry-After", "")),
        int(written) if written.isascii() and written.isdigit() and len(written) < 19 else None,
        lost,
    )


def _start_of(response: requests.Response, deadline_s: float) -> bytes:
    """The first bytes of the body. The status is known by now, so a body that breaks off changes nothing."""
    body = bytearray()
    with contextlib.suppress(urllib3.exceptions.HTTPError, http.client.HTTPException, OSError):
        while len(body) < _READ_BYTES and time.monotonic() < deadline_s:
            piece = response.raw.read1(_READ_BYTES, decode_content=False)
            if not piece:
                break
            body += piece
    return bytes(body[:_READ_BYTES])


def plain_words(text: str) -> str:
    """A receiver's words for a log line: printable, on one line, not endless, without secrets of ours."""
    shown = " ".join("".join(sign if sign.isprintable() else " " for sign in hide(text)).split())
    return shown if len(shown) <= _TOLD_CHARS else shown[: _TOLD_CHARS - 1] + "…"


# Looked up from the top: the first kind found anywhere in the chain of causes decides. The exceptions' own words are
# not shown: they hold the URL.
_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ssl.SSLCertVerificationError,), "the receiver's certificate is not trusted: see tls_config"),
    ((ssl.SSLError,), "the TLS handshake failed"),
    ((requests.exceptions.ProxyError, urllib3.exceptions.ProxyError), "the proxy does not let us through"),
    ((socket.gaierror,), "the host name can't be resolved"),
    ((ConnectionRefusedError,), "connection refused"),
    ((requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError), "no answer in time"),
)


def transport_words(error: Exception) -> str:
    """What became of a request that got no answer."""
    chain = list(causes(error))
    for kinds, words in _WORDS:
        if any(isinstance(link, kinds) for link in chain):
            return words
    return f"the connection broke ({type(chain[-1]).__name__})"
