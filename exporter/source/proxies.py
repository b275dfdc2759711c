"""Which proxy a URL goes through: the configured one, the environment's, or none."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment

from exporter.config.schema import ProxyConfig

_DEFAULT_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, config: ProxyConfig) -> str:
    """The URL of the proxy for ``url`` (it may hold a password), or ``""`` to go straight there.

    The environment is read on every call, as a proxy set there never applies to this machine itself.
    """
    parts = urlsplit(url)
    if not config.from_environment:
        return "" if bypasses(parts, config.no_proxy) else config.url.reveal()
    proxies = getproxies_environment()
    if _is_loopback(parts.hostname or "") or bypasses(parts, proxies.get("no", "")):
        return ""
    return proxies.get(parts.scheme, proxies.get("all", ""))


def bypasses(parts: SplitResult, no_proxy: str) -> bool:
    """Whether a comma-separated list of hosts, domains, addresses and CIDR ranges (port allowed) names this URL."""
    host = (parts.hostname or "").lower()
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    entries = (entry.strip().lower() for entry in no_proxy.split(","))
    return any(_matches(entry, host, port) for entry in entries if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if _is_network(entry):
        return _within(host, entry)
    name, colon, wanted_port = entry.rpartition(":")
    if colon and wanted_port.isdecimal():
        if int(wanted_port) != port:
            return False
        entry = name.strip("[]")
    if _is_network(entry):
        return _within(host, entry)
    if entry.startswith(("*.", ".")):
        return host.endswith(entry.removeprefix("*"))
    return host == entry or (host.endswith(f".{entry}") and not _is_network(host))


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry, strict=False)
    except ValueError:
        return False
    return True


def _within(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:  # a host name
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
