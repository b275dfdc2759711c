"""Connections: the requests adapter with our TLS settings and proxy, and advice when TLS fails."""

from __future__ import annotations

import logging
import ssl
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from exporter.config.key_files import as_file, file_stamp, no_password
from exporter.config.schema import ProxyConfig, TlsConfig
from exporter.errors import SourceUnavailable
from exporter.source.proxies import proxy_for

_LOGGER = logging.getLogger(__name__)

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_OLD = ("TLS10", "TLS11")
# Hosts to keep pools for: the server, a few it redirects to, and the same again after a rotation of certificates.
_POOLED_HOSTS = 4

# What OpenSSL says, and what to do; the first part found counts.
_ADVICE = (
    ("certificate has expired", "the server's certificate has expired: renew it"),
    ("mismatch", "the server's certificate is for another name: set tls_config.server_name to one it carries"),
    ("not valid for", "the server's certificate is for another name: set tls_config.server_name to one it carries"),
    ("CERTIFICATE_VERIFY_FAILED", "no trusted CA has signed the server's certificate: name its CA in"
     " tls_config.ca_file"),
    ("CERTIFICATE_REQUIRED", "the server wants a client certificate: set tls_config.cert_file and key_file"),
    ("UNKNOWN_CA", "the server does not trust our client certificate: check tls_config.cert_file"),
    ("BAD_CERTIFICATE", "the server refused our client certificate: check tls_config.cert_file"),
    ("WRONG_VERSION_NUMBER", "the server does not speak TLS here: use http:// in the URL"),
    ("PROTOCOL_VERSION", "no TLS version in common: see tls_config.min_version and max_version"),
    ("UNSUPPORTED_PROTOCOL", "no TLS version in common: see tls_config.min_version and max_version"),
)  # fmt: skip


def tls_advice(error: BaseException) -> str:
    """What an operator can do about a failed TLS connection; ``""`` when the error is not about TLS."""
    told = str(error)
    return next((advice for sign, advice in _ADVICE if sign in told), "")


class TlsContext:
    """The SSL context of a TlsConfig, built on first use and again when one of its files has changed.

    When changed files can't be used (a rotation half done), the last good context stays and a warning is logged.
    """

    def __init__(self, tls: TlsConfig) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._stamp: object = None
        self._context: ssl.SSLContext | None = None

    def get(self) -> ssl.SSLContext:
        """The context now; raises SourceUnavailable (reason ``tls_config``) when there is no usable one."""
        with self._lock:
            stamp = tuple(file_stamp(path) for path in (self._tls.ca_file, self._tls.cert_file, self._tls.key_file))
            if self._context is None or stamp != self._stamp:
                self._context = self._rebuilt()
                self._stamp = stamp
            return self._context

    def _rebuilt(self) -> ssl.SSLContext:
        try:
            return build_context(self._tls)
        except SourceUnavailable as error:
            if self._context is None:
                raise
            _LOGGER.warning("%s; going on with the certificates read before", error)
            return self._context


def build_context(tls: TlsConfig) -> ssl.SSLContext:
    """A client context with these settings; raises SourceUnavailable (reason ``tls_config``) naming the bad part."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _limit_versions(context, tls)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _trust(context, tls)
    if tls.cert or tls.cert_file:
        _identify(context, tls)
    return context


def _limit_versions(context: ssl.SSLContext, tls: TlsConfig) -> None:
    lowest = tls.min_version or "TLS12"
    with warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated, and were asked for by name.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[lowest]
        if tls.max_version:
            context.maximum_version = _VERSIONS[tls.max_version]
    if lowest in _OLD:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")


def _trust(context: ssl.SSLContext, tls: TlsConfig) -> None:
    if not tls.ca and not tls.ca_file:
        _trust_system(context)
        return
    try:
        context.load_verify_locations(cafile=tls.ca_file or None, cadata=tls.ca or None)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _unusable(tls.ca_file or "the certificates under tls_config.ca", error) from error


def _trust_system(context: ssl.SSLContext) -> None:
    """The system's CAs, as other programs here use them; those that come with requests where the system has none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile=requests.utils.DEFAULT_CA_BUNDLE_PATH)


def _identify(context: ssl.SSLContext, tls: TlsConfig) -> None:
    source = tls.cert_file or "the certificate under tls_config.cert"
    try:
        with as_file(tls.cert, tls.cert_file) as cert, as_file(tls.key.reveal(), tls.key_file) as key:
            context.load_cert_chain(cert, key, password=no_password)
    except (OSError, ValueError) as error:
        raise _unusable(f"{source} with its key", error) from error


def _unusable(what: str, error: Exception) -> SourceUnavailable:
    told = (error.strerror or "unreadable") if isinstance(error, OSError) else str(error)
    return SourceUnavailable(f"can't use {what}: {told}", reason="tls_config")


class Adapter(HTTPAdapter):
    """Sends requests with the TLS settings and the proxy of a config, whatever the caller passes for either.

    ``tunnel_headers`` go to the proxy on CONNECT; so only the adapter for https has any. Never retries.
    """

    def __init__(
        self, context: TlsContext, tls: TlsConfig, proxy: ProxyConfig, tunnel_headers: Mapping[str, str], pool_size: int
    ) -> None:
        self._tls_context = context
        self._server_name = tls.server_name
        self._cert_reqs = "CERT_NONE" if tls.insecure_skip_verify else "CERT_REQUIRED"
        self._proxy = proxy
        self._tunnel_headers = tunnel_headers
        self._proxy_contexts: dict[str, ssl.SSLContext] = {}
        super().__init__(pool_connections=_POOLED_HOSTS, pool_maxsize=pool_size, max_retries=0)

    def send(self, request: requests.PreparedRequest, *_: Any, **kwargs: Any) -> requests.Response:
        """Send one request; ``proxies``, ``verify`` and ``cert`` of the caller are replaced by the config's."""
        url = request.url or ""
        proxy = proxy_for(url, self._proxy)
        kwargs |= {"proxies": {urlsplit(url).scheme: proxy} if proxy else {}, "verify": True, "cert": None}
        return super().send(request, **kwargs)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Host and TLS of the connection. A new context is a new key, so a rotated certificate is used at once."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        over_tls = host["scheme"] == "https"
        if not over_tls and not proxy_for(request.url or "", self._proxy).lower().startswith("https:"):
            return host, {}
        pool: dict[str, Any] = {"ssl_context": self._tls_context.get(), "cert_reqs": self._cert_reqs}
        if over_tls and self._server_name:
            pool["server_hostname"] = self._server_name
        return host, pool

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """The pool behind a proxy; one reached over TLS gets our TLS settings too."""
        if proxy.lower().startswith("https:"):
            context = self._tls_context.get()
            if self._proxy_contexts.get(proxy) is not context:
                self._proxy_contexts[proxy] = context
                self.proxy_manager.pop(proxy, None)
            kwargs["proxy_ssl_context"] = context
        return super().proxy_manager_for(proxy, **kwargs)

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """The proxy's credentials, and for a tunnel the configured headers."""
        return {**super().proxy_headers(proxy), **self._tunnel_headers}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing: the context has it all. The inherited method would add the public CAs to a private one's."""
