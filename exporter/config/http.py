"""Reading a Prometheus http_config block."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from exporter.config.reading import Block, Reader, Spot, attempt
from exporter.config.schema import (
    Authorization,
    BasicAuth,
    Header,
    HttpConfig,
    OAuth2,
    ProxyConfig,
    TlsConfig,
    TlsVersion,
)
from exporter.config.secret import MASK, NO_SECRET, Secret, sounds_secret
from exporter.config.values import (
    boolean,
    choice,
    file_path,
    line,
    list_of,
    pem,
    proxy_url,
    secret,
    secret_text,
    text,
    text_mapping,
    token_url,
)

TLS_VERSIONS: tuple[TlsVersion, ...] = ("TLS10", "TLS11", "TLS12", "TLS13")
TENANT_HEADER = "X-Scope-OrgID"

AUTHS = ("basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
# Headers that the client, the transport or another key of the config sets.
_OWN_HEADERS = frozenset(
    {"accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type"}
    | {"cookie", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade", "user-agent", "www-authenticate"}
)


def read_http(block: Block) -> HttpConfig:
    """The http_config keys of a block (they stand inline beside its other keys)."""
    block.at_most_one(*AUTHS)
    return HttpConfig(
        basic_auth=block.get("basic_auth", read_basic_auth, None),
        authorization=read_authorizations(block),
        oauth2=block.get("oauth2", read_oauth2, None),
        tls=block.get("tls_config", read_tls, TlsConfig()),
        proxy=read_proxy(block),
        http_headers=block.get("http_headers", read_headers, ()),
        follow_redirects=block.get("follow_redirects", boolean, True),
        enable_http2=block.get("enable_http2", boolean, True),
    )


def read_basic_auth(spot: Spot) -> BasicAuth:
    """User and password, each inline or from a file."""
    block = spot.block("basic_auth")
    block.at_most_one("username", "username_file")
    block.at_most_one("password", "password_file")
    if not block.given("username", "username_file"):
        block.note(spot.node.mark, "username", "missing", allowed="username or username_file")
    return BasicAuth(
        username=block.get("username", user_name, ""),
        username_file=block.get("username_file", file_path, ""),
        password=block.get("password", secret, NO_SECRET),
        password_file=block.get("password_file", file_path, ""),
    )


def user_name(spot: Spot) -> str:
    """A user for Basic authentication, which ends the name at the first colon."""
    value = line(spot)
    if ":" in value:
        raise spot.fault(
            "a user name with a colon", value=MASK, allowed="a name without `:`; the password under password"
        )
    return value


def read_authorizations(block: Block) -> Authorization | None:
    """The authorization block, or what the two bearer_token keys stand for."""
    credentials = block.get("bearer_token", secret, NO_SECRET)
    credentials_file = block.get("bearer_token_file", file_path, "")
    if credentials or credentials_file:
        return Authorization(credentials=credentials, credentials_file=credentials_file)
    return block.get("authorization", read_authorization, None)


def read_authorization(spot: Spot) -> Authorization:
    """Type and credentials of an Authorization header."""
    block = spot.block("authorization")
    block.at_most_one("credentials", "credentials_file")
    if not block.given("credentials", "credentials_file"):
        block.note(spot.node.mark, "credentials", "missing", allowed="credentials or credentials_file")
    return Authorization(
        type=block.get("type", authorization_type, "Bearer"),
        credentials=block.get("credentials", secret, NO_SECRET),
        credentials_file=block.get("credentials_file", file_path, ""),
    )


def authorization_type(spot: Spot) -> str:
    """The scheme word. The value is not shown: whole headers get pasted here."""
    value = text(spot).strip()
    if value.lower() == "basic":
        raise spot.fault("Basic has a block of its own", allowed="basic_auth in place of authorization")
    if not _TOKEN.fullmatch(value):
        raise spot.fault("not a type", value=MASK, allowed="one word such as Bearer; the rest under credentials")
    return value


def read_oauth2(spot: Spot) -> OAuth2:
    """Client credentials and the token server."""
    block = spot.block("oauth2")
    block.at_most_one("client_secret", "client_secret_file")
    if not block.given("client_secret", "client_secret_file"):
        block.note(spot.node.mark, "client_secret", "missing", allowed="client_secret or client_secret_file")
    return OAuth2(
        client_id=block.need("client_id", line, ""),
        client_secret=block.get("client_secret", secret, NO_SECRET),
        client_secret_file=block.get("client_secret_file", file_path, ""),
        token_url=block.need("token_url", token_url, ""),
        scopes=block.get("scopes", list_of(line), ()),
        endpoint_params=block.get("endpoint_params", text_mapping, {}),
        tls=block.get("tls_config", read_tls, TlsConfig()),
        proxy=read_proxy(block),
    )


def read_tls(spot: Spot) -> TlsConfig:
    """TLS settings; of inline and file at most one each, certificate and key together."""
    block = spot.block("tls_config")
    for key in ("ca", "cert", "key"):
        block.at_most_one(key, f"{key}_file")
    _check_pair(block)
    tls = TlsConfig(
        ca=block.get("ca", pem("CERTIFICATE"), ""),
        ca_file=block.get("ca_file", file_path, ""),
        cert=block.get("cert", pem("CERTIFICATE"), ""),
        cert_file=block.get("cert_file", file_path, ""),
        key=block.get("key", read_key, NO_SECRET),
        key_file=block.get("key_file", file_path, ""),
        server_name=block.get("server_name", line, ""),
        min_version=block.get("min_version", choice(*TLS_VERSIONS), None),
        max_version=block.get("max_version", choice(*TLS_VERSIONS), None),
        insecure_skip_verify=block.get("insecure_skip_verify", boolean, False),
    )
    if tls.min_version and tls.max_version and tls.min_version > tls.max_version:
        block.blame("max_version", f"is below min_version {tls.min_version}", allowed=f"{tls.min_version} or higher")
    elif tls.max_version in ("TLS10", "TLS11") and not block.given("min_version"):
        block.blame("max_version", "is below the default min_version TLS12", allowed="with a min_version as low")
    return tls


def read_key(spot: Spot) -> Secret:
    """A private key in PEM."""
    pem("PRIVATE KEY")(spot)
    return secret_text(spot)


def _check_pair(block: Block) -> None:
    certificate, key = block.given("cert", "cert_file"), block.given("key", "key_file")
    if certificate and not key:
        block.note(block.spot.node.mark, "key_file", f"missing; `{certificate[0]}` needs it", allowed="key or key_file")
    if key and not certificate:
        block.note(block.spot.node.mark, "cert_file", f"missing; `{key[0]}` needs it", allowed="cert or cert_file")


def read_proxy(block: Block) -> ProxyConfig:
    """The proxy keys of a block (they stand inline beside its other keys)."""
    proxy = ProxyConfig(
        url=block.get("proxy_url", proxy_url, NO_SECRET),
        no_proxy=block.get("no_proxy", line, ""),
        from_environment=block.get("proxy_from_environment", boolean, False),
        connect_headers=block.get("proxy_connect_header", read_connect_headers, ()),
    )
    if proxy.from_environment:
        for key in block.given("proxy_url", "no_proxy"):
            block.blame(key, "excludes proxy_from_environment", allowed="one of the two")
    elif proxy.no_proxy and not block.given("proxy_url"):
        block.blame("no_proxy", "has no effect without proxy_url", allowed="with proxy_url")
    if proxy.connect_headers and not proxy.from_environment and not block.given("proxy_url"):
        block.blame("proxy_connect_header", "has no effect without a proxy", allowed="with proxy_url")
    return proxy


def read_headers(spot: Spot) -> tuple[Header, ...]:
    """Headers by name, each with values, secrets and files."""
    return headers_by_name(spot, _read_header)


def read_connect_headers(spot: Spot) -> tuple[Header, ...]:
    """Headers by name, each with a list of secret values."""
    return headers_by_name(spot, lambda name, below: Header(name, secrets=list_of(secret)(below)))


def _read_header(name: str, spot: Spot) -> Header:
    block = spot.block("http_headers")
    if not block.given("values", "secrets", "files"):
        block.note(spot.node.mark, "values", "missing", allowed="values, secrets or files")
    values = list_of(header_value(name))
    return Header(
        name,
        values=block.get("values", values, ()),
        secrets=block.get("secrets", list_of(secret), ()),
        files=block.get("files", list_of(file_path), ()),
    )


def header_value(name: str) -> Reader[str]:
    """A value of the header of this name; not shown in errors when the name sounds secret."""

    def read(spot: Spot) -> str:
        return line(Spot(spot.setting, spot.node, spot.path, spot.secret or sounds_secret(name)))

    return read


def headers_by_name(spot: Spot, read: Callable[[str, Spot], Header]) -> tuple[Header, ...]:
    """The headers of a mapping, each read by ``read(name, spot)``; names that are bad or given twice are noted."""
    headers: dict[str, Header] = {}
    for name, entry in spot.mapping().entries.items():
        below = spot.below(name, entry.node)
        problems = spot.setting.problems
        if not _TOKEN.fullmatch(name):
            problems.add(entry.mark, below.path, "not a header name", allowed="letters, digits and -")
        elif name.lower() in _OWN_HEADERS:
            problems.add(entry.mark, below.path, "a header that the client sets itself", allowed="other headers")
        elif name.lower() in headers:
            problems.add(entry.mark, below.path, "the header is given twice (case does not count)", allowed="once")
        else:
            header = attempt(below, partial(read, name))
            headers[name.lower()] = header or Header(name)
    return tuple(headers.values())
