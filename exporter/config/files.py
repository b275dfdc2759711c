"""The files that a config names: read on use, so a missing one is no error of the config, but worth a check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exporter.config.schema import Config, HttpConfig, TlsConfig


def unreadable_files(config: Config) -> tuple[str, ...]:
    """One sentence per named file that can't be read now (``source.tls_config.ca_file: ...``); for ``check``."""
    told = []
    named = [(f"source.{key}", path) for key, path in _named(config.source.http)]
    for index, target in enumerate(config.remote_write):
        named += [(f"remote_write[{index}].{key}", path) for key, path in _named(target.http)]
    for index, tenant in enumerate(config.tenants):
        named += [(f"tenants[{index}].{key}", path) for key, path in _named(tenant.http or HttpConfig())]
    if config.tenant_discovery:
        named += [(f"tenant_discovery.files[{i}]", path) for i, path in enumerate(config.tenant_discovery.files)]
    for key, path in named:
        try:
            with Path(path).open("rb") as file:
                file.read(1)
        except OSError as error:
            told.append(f"{key}: can't read {path}: {(error.strerror or 'unreadable').lower()}")
    return tuple(told)


def _named(http: HttpConfig) -> Iterator[tuple[str, str]]:
    named = [("tls_config." + key, path) for key, path in _named_by_tls(http.tls)]
    if http.basic_auth:
        named.append(("basic_auth.username_file", http.basic_auth.username_file))
        named.append(("basic_auth.password_file", http.basic_auth.password_file))
    if http.authorization:
        named.append(("authorization.credentials_file", http.authorization.credentials_file))
    if http.oauth2:
        named.append(("oauth2.client_secret_file", http.oauth2.client_secret_file))
        named += [("oauth2.tls_config." + key, path) for key, path in _named_by_tls(http.oauth2.tls)]
    for header in http.http_headers:
        named += [(f"http_headers.{header.name}.files[{index}]", path) for index, path in enumerate(header.files)]
    return (pair for pair in named if pair[1])


def _named_by_tls(tls: TlsConfig) -> list[tuple[str, str]]:
    return [("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)]
