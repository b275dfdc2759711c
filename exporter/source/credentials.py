"""Credentials: what goes into the headers of each request, with files read on use and OAuth 2.0 tokens."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import requests
from requests.auth import AuthBase

from exporter.config.schema import Authorization, BasicAuth, Header, HttpConfig, OAuth2
from exporter.config.secret import MASK, Secret, hide, mask_url, remember
from exporter.errors import SourceError, SourceRefused, SourceUnavailable
from exporter.source.transport import tls_advice

# No credential is larger; a path to /dev/zero must not fill the memory.
MAX_FILE_BYTES = 1 << 20
MAX_TOKEN_BYTES = 1 << 20
# A token is renewed this long before it expires, so that none expires on its way.
EXPIRY_MARGIN_S = 30.0

_AUTHORIZATION = "Authorization"
_KIND = re.compile(r"[\w\-]+", re.ASCII)
_UNAUTHORIZED = 401
_RETRYABLE = 429
_SERVER_ERROR = 500
_TOLD_CHARS = 300


class Credentials(AuthBase):
    """Puts the credentials and headers of a config on every request; as requests wants it, a callable.

    Raises SourceUnavailable (reason ``credentials``) when a file can't be read or holds what no header can, and
    SourceUnavailable or SourceRefused (reason ``oauth2``) when no token can be had.
    """

    def __init__(self, http: HttpConfig, tokens: Tokens | None) -> None:
        self._http = http
        self._tokens = tokens

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the headers to one request."""
        for header in self._http.http_headers:
            request.headers[header.name] = header_text(header)
        if self._tokens:
            request.headers[_AUTHORIZATION] = self._tokens.current()
            request.register_hook("response", self._renewed)  # type: ignore[no-untyped-call]
        elif self._http.basic_auth:
            request.headers[_AUTHORIZATION] = basic_text(self._http.basic_auth)
        elif self._http.authorization:
            request.headers[_AUTHORIZATION] = authorization_text(self._http.authorization)
        return request

    def _renewed(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        """Ask once more with a new token when the server refused the one it got."""
        sent = response.request.headers.get(_AUTHORIZATION)
        # Nothing was sent: a redirect has led to another host, which must not see a token now either.
        if response.status_code != _UNAUTHORIZED or not sent or not self._tokens:
            return response
        response.close()
        response.request.headers[_AUTHORIZATION] = self._tokens.renewed(str(sent))
        again: requests.Response = response.connection.send(response.request, **kwargs)
        return again


def basic_text(auth: BasicAuth) -> str:
    """The value of an Authorization header for Basic; user and password go out as UTF-8."""
    user = read_file(auth.username_file, "username") if auth.username_file else auth.username
    password = read_file(auth.password_file, "password") if auth.password_file else auth.password.reveal()
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    remember(encoded)
    return f"Basic {encoded}"


def authorization_text(auth: Authorization) -> str:
    """The value of an Authorization header with given or filed credentials."""
    if auth.credentials_file:
        return f"{auth.type} {header_value(read_file(auth.credentials_file, 'credentials'), auth.credentials_file)}"
    return f"{auth.type} {header_value(auth.credentials.reveal(), 'authorization')}"


def header_text(header: Header) -> str:
    """All values of a header, comma-separated as HTTP allows."""
    values = [*header.values, *(secret.reveal() for secret in header.secrets)]
    values += [read_file(path, f"header {header.name}") for path in header.files]
    return header_value(", ".join(values), f"http_headers.{header.name}")


def header_value(text: str, origin: str) -> str:
    """The text as a header can carry it (UTF-8 goes out as it is).

    Raises SourceUnavailable naming ``origin``, never the text: the HTTP library would print it.
    """
    if not text.isprintable():
        message = f"{origin}: holds a line break or a control character, which no HTTP header can carry"
        raise SourceUnavailable(message, reason="credentials")
    return text.encode().decode("latin-1")  # http.client encodes as Latin-1: these are the UTF-8 bytes


def read_file(path: str, what: str) -> str:
    """The content of a secret file without the white space around it; raises SourceUnavailable."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode().strip()
    except OSError as error:
        told = (error.strerror or "unreadable").lower()
        raise SourceUnavailable(f"can't read the {what} from {path}: {told}", reason="credentials") from error
    except UnicodeDecodeError:
        # `from None`: the original error carries the bytes.
        raise SourceUnavailable(f"the {what} in {path} is not UTF-8 text", reason="credentials") from None
    if not text or len(data) > MAX_FILE_BYTES:
        fault = "empty" if not text else "too large"
        raise SourceUnavailable(f"the {what} in {path} is {fault}", reason="credentials")
    remember(text)
    return text


class Tokens:
    """OAuth 2.0 client credentials: the Authorization header to send, fetched when needed, by one thread at a time."""

    def __init__(self, oauth2: OAuth2, session: requests.Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._oauth2 = oauth2
        self._session = session
        self._clock = clock
        self._lock = threading.Lock()
        self._text = ""
        self._good_until = 0.0
        self._client_secret = ""
        self._secret_in_body = False

    def current(self) -> str:
        """The header with a token that is good for a while; a new one if need be or the client secret changed."""
        secret = self._read_secret()
        with self._lock:
            if not self._text or self._clock() >= self._good_until or secret != self._client_secret:
                self._fetch(secret)
            return self._text

    def renewed(self, refused: str) -> str:
        """The header with another token than the refused one; fetched unless another thread already has."""
        secret = self._read_secret()
        with self._lock:
            if self._text == refused:
                self._fetch(secret)
            return self._text

    def close(self) -> None:
        """Close the connections to the token server."""
        self._session.close()

    def _read_secret(self) -> str:
        if self._oauth2.client_secret_file:
            return read_file(self._oauth2.client_secret_file, "client secret")
        return self._oauth2.client_secret.reveal()

    def _fetch(self, secret: str) -> None:
        asked_at = self._clock()
        self._text = ""
        answer = self._answer(secret)
        token, kind = answer.get("access_token"), answer.get("token_type") or "Bearer"
        if not isinstance(token, str) or not token or not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise self._failed("the answer holds no access_token", SourceUnavailable)
        kind = "Bearer" if kind.lower() == "bearer" else kind
        remember(token)
        self._text = f"{kind} {header_value(token, 'the token server')}"
        self._good_until = asked_at + lifetime_s(answer.get("expires_in"))
        self._client_secret = secret

    def _answer(self, secret: str) -> dict[str, Any]:
        """The token server's answer. Servers take the client's secret in a header, in the body, or in both."""
        status, body = self._ask(secret, in_body=self._secret_in_body)
        if status in (400, _UNAUTHORIZED):
            retried_status, retried_body = self._ask(secret, in_body=not self._secret_in_body)
            if retried_status < 300:
                self._secret_in_body = not self._secret_in_body
                status, body = retried_status, retried_body
        if status >= 300:  # redirects are not followed
            kind = SourceUnavailable if status >= _SERVER_ERROR or status == _RETRYABLE else SourceRefused
            raise self._failed(f"status {status} {_told(body, secret)}".rstrip(), kind, status)
        try:
            answer = json.loads(body)
        except ValueError:
            raise self._failed("the answer is not JSON", SourceUnavailable) from None
        return answer if isinstance(answer, dict) else {}

    def _ask(self, secret: str, *, in_body: bool) -> tuple[int, bytes]:
        form = {"grant_type": "client_credentials", **self._oauth2.endpoint_params}
        if self._oauth2.scopes:
            form["scope"] = " ".join(self._oauth2.scopes)
        headers = {"Accept": "application/json"}
        if in_body:
            form |= {"client_id": self._oauth2.client_id, "client_secret": secret}
        else:
            pair = BasicAuth(quote_plus(self._oauth2.client_id), password=Secret(quote_plus(secret)))
            headers[_AUTHORIZATION] = basic_text(pair)
        try:
            with self._session.post(self._oauth2.token_url, data=form, headers=headers, stream=True) as response:
                return response.status_code, _first_bytes(response.iter_content(1 << 14))
        except requests.RequestException as error:
            raise self._failed(_why(error), SourceUnavailable) from None  # its text may hold the URL's query

    def _failed(self, told: str, kind: type[SourceError], status: int = 0) -> SourceError:
        address = mask_url(self._oauth2.token_url)
        return kind(f"no OAuth 2.0 token from {address}: {told}", reason="oauth2", status=status)


def lifetime_s(expires_in: object) -> float:
    """How long to use a token: until shortly before it expires; for ever when the server doesn't say."""
    try:
        seconds = float(str(expires_in))
    except ValueError:
        return float("inf")
    if not seconds > 0:
        return float("inf")
    return seconds - min(EXPIRY_MARGIN_S, seconds / 10)


def _why(error: BaseException) -> str:
    """A few words on why a request came to nothing: advice on TLS, or what the system said."""
    if isinstance(error, requests.Timeout):
        return "timed out"
    cause: BaseException | None = error
    while cause and not getattr(cause, "strerror", None):
        cause = cause.__context__
    return tls_advice(error) or str(getattr(cause, "strerror", type(error).__name__)).lower()


def _first_bytes(chunks: Iterable[bytes]) -> bytes:
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_TOKEN_BYTES:
            break
    return body


def _told(body: bytes, secret: str) -> str:
    """The server's own words: one line, not endless, and without the secret should it repeat that."""
    text = hide(body.decode(errors="replace"))
    if secret:  # also where it is too short to be looked for elsewhere
        text = text.replace(secret, MASK)
    return "".join(sign if sign.isprintable() else " " for sign in text)[:_TOLD_CHARS].strip()
