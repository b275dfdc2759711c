"""What goes wrong between us and a metrics server, as errors whose text an operator can act on."""

from __future__ import annotations

import contextlib
import errno
import html
import http.client
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping

import requests
import urllib3
from prometheus_api_client.exceptions import PrometheusApiClientException

from exporter.errors import SourceError, SourceGarbled, SourceRefused, SourceTooMuch, SourceUnavailable, causes
from exporter.retry_after import retry_after_s
from exporter.source.advice import AUTH_TOKEN, advice, advice_for_less
from exporter.source.answer import TEXT_LIMIT, plain_text

# All values of SourceError.reason, so that they can be labels of a counter.
REASONS = (
    "refused_connection", "dns", "connection", "timeout", "tls", "tls_config", "proxy", "redirect", "url", "file",
    "credentials", "oauth2", "bad_query", "unauthorized", "forbidden", "not_found", "refused", "too_much",
    "rate_limited", "server_error", "garbled", "clock", "circuit_open", "stopped",
)  # fmt: skip

# A 400 or 422 that names an amount and a limit asks for less; Mimir's ids are declared immutable.
_AMOUNT = re.compile(r"points|samples|series|chunks|range|length|memory|resolution|timeout", re.IGNORECASE)
_LIMIT = re.compile(r"limit|exceed|maximum|too (?:many|long|large|much)|more than|not enough", re.IGNORECASE)
_MIMIR_LIMIT = re.compile(r"err-mimir-max-[a-z-]*(?:series|chunks|memory|length|samples)")
_NOT_AN_AMOUNT = re.compile(r"parse error|many-to-many|duplicate", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')  # the query itself may be quoted in the text, with any words in it
_RANGE_ASKED = re.compile(r"(on the time range )[\[(][^\])]*[\])]")  # in all that VictoriaMetrics says of a range query
_LONG_QUOTED = re.compile(r'"(?:[^"\\]|\\.){20,}"')
_NESTED = re.compile(r'(cannot evaluate "…": )+')  # VictoriaMetrics goes through the parts of the query, too
_JUDGED_CHARS = 1 << 16  # of a refusal, where a long query may stand twice before the words; less of it is shown

_STATUS_REASONS = {401: "unauthorized", 403: "forbidden", 404: "not_found", 408: "timeout", 429: "rate_limited"}
_TAGS = re.compile(r"<(head|script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_MACHINE_WORDS = re.compile(r"^.*?0x[0-9a-f]+>?\)?: |\[Errno -?\d+\] ")
_API_CLIENT_STATUS = re.compile(r"HTTP Status Code (\d{3}) \((.*)\)", re.DOTALL)


def status_error(origin: str, status: int, text: str, headers: Mapping[str, str]) -> SourceError:
    """The error for an HTTP status other than 200. The status decides, and within 400 and 422 the server's words."""
    told = plain_words(text, _JUDGED_CHARS)
    words = _shown(told)
    message = f"{origin}: HTTP {status}" + (f": {words}" if words else ", without a text")
    if status < 300:
        return SourceGarbled(f"{message}; 200 and an answer were due", reason="garbled", status=status)
    if status < 400:
        target = plain_text(headers.get("Location", "nowhere"))
        message = f"{origin}: HTTP {status} redirects to {target}. Use that as source.url or allow follow_redirects."
        return SourceRefused(message, reason="redirect", status=status)
    if status >= 500 or status in (408, 429):
        wait_s = retry_after_s(headers.get("Retry-After", ""))
        reason = _STATUS_REASONS.get(status, "server_error")
        return SourceUnavailable(_advised(message, status, told), reason=reason, status=status, retry_after_s=wait_s)
    if status == 413 or (status in (400, 422) and asks_for_less(told)):
        return SourceTooMuch(f"{message}. {advice_for_less(told)}", reason="too_much", status=status)
    return SourceRefused(_advised(message, status, told), reason=_why_refused(status, told), status=status)


def _why_refused(status: int, told: str) -> str:
    if status == 400 and AUTH_TOKEN.search(told):
        return "unauthorized"
    return "bad_query" if status in (400, 422) else _STATUS_REASONS.get(status, "refused")


def _shown(told: str) -> str:
    """A refusal as it is shown. VictoriaMetrics quotes the whole query before it says what is wrong with it."""
    if len(told) > TEXT_LIMIT:
        told = _NESTED.sub(r"\1", _RANGE_ASKED.sub(r"\1(…)", _LONG_QUOTED.sub('"…"', told)))
    return plain_text(told).rstrip(".")


def _advised(message: str, status: int, told: str) -> str:
    what_to_do = advice(status, told)
    return f"{message}. {what_to_do}" if what_to_do else message


def asks_for_less(words: str) -> bool:
    """Whether a server's refusal is about the amount of data rather than about the query."""
    if _MIMIR_LIMIT.search(words):
        return True
    unquoted = _RANGE_ASKED.sub("", _QUOTED.sub("", words))
    named = _AMOUNT.search(unquoted) and _LIMIT.search(unquoted)
    return bool(named) and not _NOT_AN_AMOUNT.search(unquoted)


def plain_words(text: str, limit: int = TEXT_LIMIT) -> str:
    """What a server says in an error page: the ``error`` of its JSON, or its text or HTML, on one line, trimmed."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return plain_text(html.unescape(_TAGS.sub(" ", text)) if "<" in text else text, limit)
    if isinstance(parsed, dict):
        parsed = parsed.get("error") or parsed.get("message") or text
    return plain_text(str(parsed), limit)


def too_big(origin: str, body_bytes: int) -> SourceTooMuch:
    """The error for an answer beyond our own cap."""
    what = f"the answer is larger than source.max_body_bytes ({body_bytes:,}). Narrow the expr or raise it."
    return SourceTooMuch(f"{origin}: {what}", reason="too_much")


def unavailable(origin: str, what: str, reason: str) -> SourceUnavailable:
    """The error for a server that may answer later."""
    return SourceUnavailable(f"{origin}: {what}", reason=reason)


@contextlib.contextmanager
def translated(origin: str) -> Iterator[None]:
    """Turn what HTTP libraries raise within into SourceError; everything raised on purpose passes through."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        raise transport_error(origin, error) from error
    except PrometheusApiClientException as error:
        raise _api_client_error(origin, str(error)) from error


def transport_error(origin: str, error: Exception) -> SourceError:
    """The error for a request that got no complete answer."""
    chain = list(causes(error))
    for link in chain:  # the libraries take whatever keeps a connection from being made for a timeout
        if isinstance(link, OSError) and link.errno in _NO_CONNECTION:
            return unavailable(origin, _NO_CONNECTION[link.errno], "connection")
    for kinds, describe in _TRANSPORT:
        for link in chain:
            if isinstance(link, kinds):
                return describe(origin, link)
    return unavailable(origin, f"the connection broke: {_short(chain[-1])}", "connection")


def _short(error: BaseException) -> str:
    """An exception's own words, without the numbers and object addresses that libraries put in front."""
    words = _MACHINE_WORDS.sub("", str(error))
    return plain_text(words).rstrip(".") or type(error).__name__


def _describe_unknown_ca(origin: str, error: BaseException) -> SourceError:
    advice = "Check tls_config of source: ca_file, server_name."
    return SourceRefused(f"{origin}: its certificate is not trusted: {_short(error)}. {advice}", reason="tls")


def _describe_tls(origin: str, error: BaseException) -> SourceError:
    advice = "Does it speak https, and does it want a client certificate?"
    return unavailable(origin, f"the TLS handshake failed: {_short(error)}. {advice}", "tls")


def _describe_url(origin: str, error: BaseException) -> SourceError:
    return SourceRefused(f"{origin}: this is no usable URL: {_short(error)}. Check source.url.", reason="url")


def _describe_redirects(origin: str, error: BaseException) -> SourceError:
    return SourceRefused(f"{origin}: redirects without end. Check source.url.", reason="redirect")


def _describe_file(origin: str, error: BaseException) -> SourceError:
    return SourceRefused(f"{origin}: a file that source names can't be read: {_short(error)}", reason="file")


def _describe_proxy(origin: str, error: BaseException) -> SourceError:
    return unavailable(origin, f"the proxy does not let us through: {_short(error)}. Check proxy_url.", "proxy")


def _describe_dns(origin: str, error: BaseException) -> SourceError:
    return unavailable(origin, "the host name can't be resolved. Check source.url.", "dns")


def _describe_refused(origin: str, error: BaseException) -> SourceError:
    what = "connection refused. Is the server running, and is the port right?"
    return unavailable(origin, what, "refused_connection")


def _describe_timeout(origin: str, error: BaseException) -> SourceError:
    return unavailable(origin, "no answer in time. Raise source.timeout or narrow the expr.", "timeout")


_NO_HANDLE = "this process has too many open files. Raise their limit (ulimit -n, LimitNOFILE)."
_NO_CONNECTION = {
    errno.EMFILE: _NO_HANDLE, errno.ENFILE: _NO_HANDLE,
    errno.EHOSTUNREACH: "no route to this host. Check source.url and the network.",
    errno.ENETUNREACH: "no route to its network. Check source.url and the network.",
    errno.EADDRNOTAVAIL: "no local port is left for a connection.",
}  # fmt: skip
_Url = (
    requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidHeader, requests.exceptions.InvalidProxyURL,
)  # fmt: skip
_Timeouts = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)

# Looked up from the top: the first kind found anywhere in the chain of causes decides.
_TRANSPORT: tuple[tuple[tuple[type[BaseException], ...], Callable[[str, BaseException], SourceError]], ...] = (
    (_Url, _describe_url),
    ((requests.exceptions.TooManyRedirects,), _describe_redirects),
    ((ssl.SSLCertVerificationError,), _describe_unknown_ca),
    ((ssl.SSLError,), _describe_tls),
    ((requests.exceptions.ProxyError, urllib3.exceptions.ProxyError), _describe_proxy),
    ((socket.gaierror,), _describe_dns),
    ((ConnectionRefusedError,), _describe_refused),
    (_Timeouts, _describe_timeout),
    ((FileNotFoundError, PermissionError, IsADirectoryError), _describe_file),
)


def _api_client_error(origin: str, text: str) -> SourceError:
    """prometheus_api_client tells a status only in the text of its exception."""
    match = _API_CLIENT_STATUS.search(text)
    if match is None:
        return SourceGarbled(f"{origin}: {plain_text(text)}", reason="garbled")
    return status_error(origin, int(match.group(1)), match.group(2).removeprefix("b").strip("'\""), {})
