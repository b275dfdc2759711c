"""The config file: YAML in, one frozen Config out, or every problem at once."""

from exporter.config.files import unreadable_files
from exporter.config.loading import load, parse
from exporter.config.masking import content_hash, mask
from exporter.config.schema import (
    CONSENSUS,
    SENSITIVITIES,
    Alert,
    Authorization,
    BasicAuth,
    Config,
    DiscoveryQuery,
    Header,
    HttpConfig,
    Limits,
    Links,
    OAuth2,
    ProxyConfig,
    Query,
    QueueConfig,
    RemoteWrite,
    Source,
    Tenant,
    TenantDiscovery,
    TlsConfig,
)
from exporter.config.secret import MASK, Secret, mask_url

__all__ = [
    "CONSENSUS",
    "MASK",
    "SENSITIVITIES",
    "Alert",
    "Authorization",
    "BasicAuth",
    "Config",
    "DiscoveryQuery",
    "Header",
    "HttpConfig",
    "Limits",
    "Links",
    "OAuth2",
    "ProxyConfig",
    "Query",
    "QueueConfig",
    "RemoteWrite",
    "Secret",
    "Source",
    "Tenant",
    "TenantDiscovery",
    "TlsConfig",
    "content_hash",
    "load",
    "mask",
    "mask_url",
    "parse",
    "unreadable_files",
]
