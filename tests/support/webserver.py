"""The web server of a test: its routes, its web config, certificates for it, and clients by hand."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import requests
import trustme
from prometheus_client import CollectorRegistry

from exporter.publish.exposition import Piece, Plain
from exporter.publish.landing import Landing
from exporter.publish.lines import Shard
from exporter.publish.web import Answered, Routes, WebLimits, WebMetrics, WebOptions, WebServer

PAGE = b"# HELP a A.\n# TYPE a gauge\na 1\n"
USER, PASSWORD = "prometheus", "correct horse"


def routes(
    metrics: Callable[[bool, Shard], Sequence[Piece]] | None = None, explain: Callable[[str], Answered] | None = None
) -> Routes:
    """Routes with a page of one series, or another one."""
    return Routes(
        metrics=metrics or (lambda openmetrics, shard: [Plain(PAGE + (b"# EOF\n" if openmetrics else b""))]),
        ready=lambda: (True, "ready"), reload=None, config_text=lambda: "source: {}",
        landing=lambda: Landing("1.2.3", [], [], []), explain=explain,
    )  # fmt: skip


class Served:
    """A running server: its port, and what it counts."""

    def __init__(self, server: WebServer, registry: CollectorRegistry, *, secure: bool) -> None:
        self.server = server
        self.port = server.port
        self.url = f"{'https' if secure else 'http'}://localhost:{server.port}"
        self._registry = registry

    def get(self, path: str = "/metrics", **more: Any) -> requests.Response:
        """A request on a connection of its own."""
        return requests.get(self.url + path, timeout=30, **more)

    def count(self, name: str, **labels: str) -> float:
        """The value of one of the web server's metrics now."""
        return self._registry.get_sample_value(f"anomaly_exporter_web_{name}", labels) or 0.0

    def refused(self, reason: str) -> float:
        """How often something was turned away for this reason."""
        return self.count("refused_total", reason=reason)

    def connected(self) -> socket.socket:
        """A plain connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextmanager
def served(
    wanted: Routes | None = None, *, config: Path | None = None, limits: WebLimits | None = None
) -> Iterator[Served]:
    """A server on a free loopback port for the length of a block."""
    registry = CollectorRegistry()
    options = WebOptions(str(config or ""), limits or WebLimits(stop_patience_s=0.1))
    server = WebServer("127.0.0.1:0", wanted or routes(), options=options, metrics=WebMetrics(registry))
    server.start()
    secure = config is not None and "tls_server_config" in config.read_text()
    try:
        yield Served(server, registry, secure=secure)
    finally:
        server.stop()


def written(folder: Path, config: Mapping[str, Any], name: str = "web.yml") -> Path:
    """The web config as a file (JSON is YAML)."""
    path = folder / name
    path.write_text(json.dumps(config))
    return path


def hashed(password: str, cost: int = 4) -> str:
    """What htpasswd would write, cheap."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


USERS = {USER: hashed(PASSWORD)}


class Papers:
    """A CA and what it has issued, as files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)

    def server(self, name: str = "server") -> dict[str, str]:
        """A certificate for localhost, as tls_server_config names it."""
        return self._issued(name, "localhost", "127.0.0.1")

    def client(self, san: str = "prometheus.internal", name: str = "client") -> tuple[str, str]:
        """(certificate, key) of a client."""
        issued = self._issued(name, san)
        return str(self.folder / issued["cert_file"]), str(self.folder / issued["key_file"])

    def _issued(self, name: str, *sans: str) -> dict[str, str]:
        issued = self.ca.issue_cert(*sans)
        issued.private_key_pem.write_to_path(self.folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(self.folder / f"{name}.crt")
        return {"cert_file": f"{name}.crt", "key_file": f"{name}.key"}


def peer_serial(port: int, ca_file: Path) -> str:
    """The serial number of the certificate that a server shows."""
    context = ssl.create_default_context(cafile=str(ca_file))
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    with plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
        found = connection.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def everything(connection: socket.socket) -> bytes:
    """All that the server still says, until it closes."""
    text = b""
    try:
        while part := connection.recv(65536):
            text += part
    except ConnectionResetError:
        pass
    return text
