"""The web config file: TLS, users, headers and rate of the web server, as in Prometheus' exporter-toolkit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from exporter.config.document import Problems, read_document
from exporter.config.http import TLS_VERSIONS, read_key
from exporter.config.loading import read_file
from exporter.config.reading import Block, Reader, Setting, Spot, attempt
from exporter.config.schema import TlsVersion
from exporter.config.secret import MASK, NO_SECRET, Secret
from exporter.config.values import (
    any_text,
    boolean,
    choice,
    duration_ms,
    file_path,
    integer,
    line,
    list_of,
    pem,
)
from exporter.config.web_keys import WEB_BLOCKS, web_keys_of
from exporter.errors import ConfigError

_WANTED = "one of " + ", ".join(key.name for key in WEB_BLOCKS[""]) + "; `{}` for none of them"
_AUTH_TYPES = (
    "NoClientCert", "RequestClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
)  # fmt: skip
_UNVERIFIED = "RequireAnyClientCert"
_STRICT = "RequireAndVerifyClientCert"
_HASH = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}", re.ASCII)
_SHOWN_USER = re.compile(r"[\w.@+-]{1,64}")
_LEAST_COST, _MOST_COST = 4, 16  # 16 takes some 5 s on a fast machine, and each step twice as long
_NO_TEXTS: tuple[str, ...] = ()
_HOUR_MS = 3_600_000
_MOST_BURST = 1_000_000

# Go's names of the suites that crypto/tls counts as secure, and OpenSSL's (RFC 5246, 5289, 7905, 8446). Those of TLS
# 1.3 have no OpenSSL name here: neither Go nor Python lets anybody choose among them.
_SUITES = {
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
}
# Go's names of curves and OpenSSL's.
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_CHOICES = {"X-Frame-Options": ("deny", "sameorigin"), "X-Content-Type-Options": ("nosniff",)}


@dataclass(frozen=True, slots=True)
class WebTls:
    """How the web server speaks TLS. Certificates and keys are texts or paths, the other is empty.

    ``client_certificate``: none, given (verified where there is one) or required. ``ciphers`` are OpenSSL's names of
    suites up to TLS 1.2, empty for its own choice; ``curve`` likewise.
    """

    cert: str = ""
    cert_file: str = ""
    key: Secret = NO_SECRET
    key_file: str = ""
    client_certificate: str = "none"
    client_ca: str = ""
    client_ca_file: str = ""
    allowed_sans: tuple[str, ...] = ()
    min_version: TlsVersion = "TLS12"
    max_version: TlsVersion = "TLS13"
    ciphers: tuple[str, ...] = ()
    server_order: bool = True
    curve: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it names."""
        return tuple(path for path in (self.cert_file, self.key_file, self.client_ca_file) if path)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A request every ``interval_s`` on average, ``burst`` of them at once."""

    interval_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The web config: TLS or None for plain HTTP, headers of every answer, bcrypt hashes by user, rate or None."""

    tls: WebTls | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    users: Mapping[str, Secret] = field(default_factory=lambda: MappingProxyType({}))
    rate_limit: RateLimit | None = None


def load_web(path: str, environ: Mapping[str, str] = os.environ) -> WebConfig:
    """Read and check the web config file; relative paths in it start at its directory, ``${NAME}`` as in the config.

    The files that it names are not opened. Raises ConfigError with all problems, in file order.
    """
    problems = Problems()
    root = read_document(read_file(path), problems, _WANTED)
    if root is None:
        raise ConfigError(path, problems.in_file_order())
    spot = Spot(Setting(problems, environ, Path(path).absolute().parent), root, "")
    config = _read_web(_block(spot, ""))
    if problems:
        raise ConfigError(path, problems.in_file_order())
    return config


def _block(spot: Spot, name: str) -> Block:
    return spot.block(name, web_keys_of(name))


def _read_web(block: Block) -> WebConfig:
    return WebConfig(
        tls=block.get("tls_server_config", _read_tls, None),
        headers=block.get("http_server_config", _read_server, MappingProxyType({})),
        users=block.get("basic_auth_users", _read_users, MappingProxyType({})),
        rate_limit=block.get("rate_limit", _read_rate, None),
    )


def _read_tls(spot: Spot) -> WebTls:
    block = _block(spot, "tls_server_config")
    for text, path in (("cert", "cert_file"), ("key", "key_file"), ("client_ca", "client_ca_file")):
        block.at_most_one(text, path)
    for text, path in (("cert", "cert_file"), ("key", "key_file")):
        if not block.given(text, path):
            block.note(spot.node.mark, path, "missing", allowed=f"{text} or {path}")
    tls = WebTls(
        cert=block.get("cert", pem("CERTIFICATE"), ""),
        cert_file=block.get("cert_file", file_path, ""),
        key=block.get("key", read_key, NO_SECRET),
        key_file=block.get("key_file", file_path, ""),
        client_certificate=_read_client_certificate(block),
        client_ca=block.get("client_ca", pem("CERTIFICATE"), ""),
        client_ca_file=block.get("client_ca_file", file_path, ""),
        allowed_sans=block.get("client_allowed_sans", list_of(line), _NO_TEXTS),
        min_version=block.get("min_version", choice(*TLS_VERSIONS), "TLS12"),
        max_version=block.get("max_version", choice(*TLS_VERSIONS), "TLS13"),
        ciphers=tuple(filter(None, block.get("cipher_suites", list_of(_known(_SUITES)), _NO_TEXTS))),
        server_order=block.get("prefer_server_cipher_suites", boolean, True),
        curve=_read_curve(block),
    )
    return _with_suites(block, tls)


def _with_suites(block: Block, tls: WebTls) -> WebTls:
    """Hold the versions against each other and the suites: where only those of TLS 1.3 are named, 1.2 has none left."""
    if tls.min_version > tls.max_version:
        key = "max_version" if block.given("max_version") else "min_version"
        block.blame(key, f"min_version {tls.min_version} is above max_version {tls.max_version}",
                    allowed="a min_version up to max_version")  # fmt: skip
    if tls.ciphers or not block.has("cipher_suites") or not block.given("cipher_suites"):
        return tls
    if tls.max_version < "TLS13":
        block.blame("cipher_suites", f"has none for {tls.max_version}", allowed="a suite of TLS 1.2 or below")
    return replace(tls, min_version="TLS13")


def _read_client_certificate(block: Block) -> str:
    """Which client certificates are asked for; held against the CAs and names that go with it."""
    kind = block.get("client_auth_type", choice(*_AUTH_TYPES), "NoClientCert")
    if kind == _UNVERIFIED:
        block.blame("client_auth_type", "Python's TLS can't take a certificate without verifying it",
                    allowed=f"{_STRICT} with client_ca_file")  # fmt: skip
    ca = block.given("client_ca", "client_ca_file")
    verifies = kind in ("VerifyClientCertIfGiven", _STRICT)
    if verifies and not ca:
        block.blame("client_auth_type", "needs the CAs to verify by", allowed="with client_ca or client_ca_file")
    if ca and kind == "NoClientCert" and block.usable("client_auth_type"):
        block.blame(ca[0], "has no effect without a client_auth_type", allowed=f"with client_auth_type: {_STRICT}")
    if block.given("client_allowed_sans") and kind != _STRICT and block.usable("client_auth_type"):
        block.blame("client_allowed_sans", "clients without a certificate would pass",
                    allowed=f"with client_auth_type: {_STRICT}")  # fmt: skip
    return {"VerifyClientCertIfGiven": "given", _STRICT: "required"}.get(kind, "none")


def _read_curve(block: Block) -> str:
    curves = block.get("curve_preferences", list_of(_known(_CURVES)), _NO_TEXTS)
    if len(curves) > 1:
        block.blame("curve_preferences", "Python's TLS takes one curve only", allowed="one curve, or no such key")
    return curves[0] if curves else ""


def _known(names: Mapping[str, str]) -> Reader[str]:
    """One of Go's names; gives OpenSSL's."""

    def read(spot: Spot) -> str:
        value = line(spot)
        if value not in names:
            raise spot.fault("not known", allowed=", ".join(names))
        return names[value]

    return read


def _read_server(spot: Spot) -> Mapping[str, str]:
    block = _block(spot, "http_server_config")
    block.get("http2", boolean, True)
    return block.get("headers", _read_headers, MappingProxyType({}))


def _read_headers(spot: Spot) -> Mapping[str, str]:
    """The headers that have a value; blank ones are left out, as the toolkit does."""
    block = _block(spot, "headers")
    values = {key.name: block.get(key.name, _header_value(key.name), "") for key in WEB_BLOCKS["headers"]}
    return MappingProxyType({name: value for name, value in values.items() if value})


def _header_value(name: str) -> Reader[str]:
    def read(spot: Spot) -> str:
        value = any_text(spot)
        if not value.isascii() or (value and not value.isprintable()):
            raise spot.fault("not a header value", allowed="one line of printable ASCII")
        wanted = _CHOICES.get(name, ())
        if value and wanted and value.lower() not in wanted:
            raise spot.fault("not a choice", allowed=" or ".join(wanted))
        return value

    return read


def _read_users(spot: Spot) -> Mapping[str, Secret]:
    users = {}
    for name, entry in spot.mapping().entries.items():
        # A name of an odd form may be the hash itself, in the wrong place.
        below = spot.below(name if _SHOWN_USER.fullmatch(name) else MASK, entry.node, secret=True)
        if not name or ":" in name:
            message = "a user name with a colon" if name else "a user without a name"
            spot.setting.problems.add(entry.mark, spot.path, message, value=MASK, allowed="a name without `:`")
            continue
        hashed = attempt(below, _password_hash)
        if hashed is not None:
            users[name] = hashed
    return MappingProxyType(users)


def _password_hash(spot: Spot) -> Secret:
    value = line(spot)
    found = _HASH.fullmatch(value)
    if found is None:
        raise spot.fault("not a bcrypt hash", allowed="what `htpasswd -nBC 10 USER` prints behind the colon")
    if not _LEAST_COST <= int(found["cost"]) <= _MOST_COST:
        raise spot.fault(f"a bcrypt hash of cost {int(found['cost'])}",
                         allowed=f"a cost from {_LEAST_COST} to {_MOST_COST}")  # fmt: skip
    return Secret(value)


def _read_rate(spot: Spot) -> RateLimit | None:
    block = _block(spot, "rate_limit")
    interval_ms = block.get("interval", duration_ms(0, _HOUR_MS), 0)
    burst = block.get("burst", integer(0, _MOST_BURST), 0)
    if interval_ms and not burst and block.usable("burst"):
        if block.given("burst"):
            block.blame("burst", "would let nothing through", allowed=f"1 to {_MOST_BURST}")
        else:
            block.note(
                spot.node.mark, "burst", "missing; without it nothing gets through", allowed="such as `burst: 20`"
            )
    return RateLimit(interval_ms / 1000, burst) if interval_ms else None
