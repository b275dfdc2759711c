"""The TLS of the web server: a context from the web config, and the names of client certificates."""

from __future__ import annotations

import ipaddress
import ssl
import warnings
from collections.abc import Mapping
from typing import Any

from exporter.config.key_files import as_file, no_password
from exporter.config.web import WebTls
from exporter.errors import ConfigError, Problem

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_VERIFY = {"none": ssl.CERT_NONE, "given": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_BLOCK = "tls_server_config"


def make_context(file: str, tls: WebTls) -> ssl.SSLContext:
    """The context of a server. Raises ConfigError, naming the key of the web config ``file``, for what can't be used:
    a certificate, key or CA file that can't be read or does not fit, a cipher or curve that OpenSSL does not have."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if tls.server_order:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    problems = [*_set_versions(context, tls), *_set_suites(context, tls)]
    problems += [*_set_identity(context, tls), *_set_client_certificates(context, tls)]
    if problems:
        raise ConfigError(file, tuple(problems))
    return context


def _set_versions(context: ssl.SSLContext, tls: WebTls) -> list[Problem]:
    with warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated, and were asked for by name.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[tls.min_version]
        context.maximum_version = _VERSIONS[tls.max_version]
    return []


def _set_suites(context: ssl.SSLContext, tls: WebTls) -> list[Problem]:
    problems = []
    if tls.ciphers or tls.min_version < "TLS12":
        level = ":@SECLEVEL=0" if tls.min_version < "TLS12" else ""  # OpenSSL 3 has the old versions at no other level
        try:
            context.set_ciphers((":".join(tls.ciphers) or "DEFAULT") + level)
        except ssl.SSLError:
            problems.append(_problem("cipher_suites", "OpenSSL has none of these suites here", "other suites"))
    if tls.curve:
        try:
            context.set_ecdh_curve(tls.curve)
        except (ValueError, ssl.SSLError):
            problems.append(_problem("curve_preferences", "OpenSSL does not have this curve here", "another curve"))
    return problems


def _set_identity(context: ssl.SSLContext, tls: WebTls) -> list[Problem]:
    key = "cert_file" if tls.cert_file else "cert"
    problems = [*_unreadable("cert_file", tls.cert_file), *_unreadable("key_file", tls.key_file)]
    if problems:
        return problems
    try:
        with as_file(tls.cert, tls.cert_file) as cert, as_file(tls.key.reveal(), tls.key_file) as private:
            context.load_cert_chain(cert, private, password=no_password)
    except (OSError, ValueError) as error:
        return [_problem(key, f"can't be used with its key: {_reason(error)}", "a PEM certificate and its own key")]
    return []


def _set_client_certificates(context: ssl.SSLContext, tls: WebTls) -> list[Problem]:
    context.verify_mode = _VERIFY[tls.client_certificate]
    if not (tls.client_ca or tls.client_ca_file):
        return []
    if problems := _unreadable("client_ca_file", tls.client_ca_file):
        return problems
    try:
        context.load_verify_locations(cafile=tls.client_ca_file or None, cadata=tls.client_ca or None)
    except (OSError, ValueError) as error:
        key = "client_ca_file" if tls.client_ca_file else "client_ca"
        return [_problem(key, f"can't be used: {_reason(error)}", "PEM certificates of CAs")]
    return []


def _unreadable(key: str, path: str) -> list[Problem]:
    """What keeps a file from being read: OpenSSL's own words do not say which of two it was."""
    try:
        if path:
            with open(path, "rb") as file:  # noqa: PTH123 -- a NUL in the path is a ValueError either way
                file.read(1)
    except (OSError, ValueError) as error:
        return [_problem(key, f"can't read {path}: {_reason(error)}", "a PEM file that this user may read")]
    return []


def _problem(key: str, message: str, allowed: str) -> Problem:
    return Problem(0, f"{_BLOCK}.{key}", message, allowed=allowed)


def _reason(error: Exception) -> str:
    """OpenSSL's reason or the system's, without the content of any file."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").lower().replace("_", " ")
    return (error.strerror or "unreadable").lower() if isinstance(error, OSError) else str(error)


def has_allowed_name(certificate: Mapping[str, Any] | None, allowed: tuple[str, ...]) -> bool:
    """Whether a verified certificate (``getpeercert()``) carries one of these subject alternative names, exactly: DNS,
    e-mail, URI or IP address."""
    names = certificate.get("subjectAltName", ()) if certificate else ()
    wanted = {_canonical(name) for name in allowed}
    return any(_canonical(value) in wanted for kind, value in names if kind in ("DNS", "email", "URI", "IP Address"))


def _canonical(name: str) -> str:
    """IP addresses in one spelling, anything else as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
