"""An authenticated requests.Session made from a Prometheus http_config."""

from __future__ import annotations

from collections.abc import Iterable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import BaseAdapter

from exporter.config.schema import Header, HttpConfig
from exporter.source.credentials import Credentials, Tokens
from exporter.source.transport import Adapter, TlsContext

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_POOL_SIZE = 16
MAX_REDIRECTS = 10


def open_session(
    http: HttpConfig, *, user_agent: str, timeout_s: float = DEFAULT_TIMEOUT_S, pool_size: int = DEFAULT_POOL_SIZE
) -> Session:
    """A session that speaks to servers as ``http`` says; safe to share between threads; close it when done.

    ``timeout_s`` holds for connecting and between two bytes of every request that sets none. ``pool_size`` should be
    at least the number of requests under way at once. Nothing is read or connected here. A request may raise, besides
    requests' own exceptions, SourceUnavailable or SourceRefused with reason ``credentials``, ``oauth2`` or
    ``tls_config``: a file is missing or unusable, or no token is to be had.
    """
    if not http.oauth2:
        return Session(http, None, user_agent, timeout_s, pool_size)
    token_http = HttpConfig(tls=http.oauth2.tls, proxy=http.oauth2.proxy, follow_redirects=False)
    tokens = Tokens(http.oauth2, Session(token_http, None, user_agent, timeout_s, pool_size=1))
    return Session(http, tokens, user_agent, timeout_s, pool_size)


class Session(requests.Session):
    """A requests.Session whose transport belongs to the config.

    Foreign adapters are ignored (prometheus-api-client mounts one), the environment is not looked at, no cookie is
    kept, credentials and configured headers are dropped when a redirect leaves the host.
    """

    def __init__(
        self, http: HttpConfig, tokens: Tokens | None, user_agent: str, timeout_s: float, pool_size: int
    ) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = MAX_REDIRECTS
        self.headers["User-Agent"] = user_agent
        self.headers["Accept-Encoding"] = "identity"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.auth = Credentials(http, tokens)
        self._header_names = tuple(header.name for header in http.http_headers)
        self._tokens = tokens
        self._timeout_s = timeout_s
        self._follow_redirects = http.follow_redirects
        self._mount_own(http, pool_size)

    def _mount_own(self, http: HttpConfig, pool_size: int) -> None:
        if http.tls.insecure_skip_verify:
            # The operator has decided; one warning per request says nothing new.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        context = TlsContext(http.tls)
        tunnel_headers = _texts(http.proxy.connect_headers)
        self.mount("https://", Adapter(context, http.tls, http.proxy, tunnel_headers, pool_size))
        self.mount("http://", Adapter(context, http.tls, http.proxy, {}, pool_size))

    def mount(self, prefix: str | bytes, adapter: BaseAdapter) -> None:
        """Take our own adapters only: another one would know neither TLS settings nor proxy."""
        if isinstance(adapter, Adapter):
            super().mount(prefix, adapter)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send with the default timeout where none is set, and follow redirects only where the config lets it."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout_s
        kwargs["allow_redirects"] = self._follow_redirects and kwargs.get("allow_redirects", True)
        return super().send(request, **kwargs)

    def close(self) -> None:
        """Close all connections, those to the token server too."""
        super().close()
        if self._tokens:
            self._tokens.close()

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Drop the credentials, the inherited way, and the configured headers too when a redirect leaves the host."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        old, new = str(response.request.url), str(prepared_request.url)
        if self.should_strip_auth(old, new):  # type: ignore[no-untyped-call]
            for name in self._header_names:
                prepared_request.headers.pop(name, None)


def _texts(headers: Iterable[Header]) -> dict[str, str]:
    return {header.name: ", ".join(secret.reveal() for secret in header.secrets) for header in headers}
