"""One web server for all tests of a file that do not stop it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import pytest
from support.backdrop import Exporter

from exporter.publish.web import WebServer


@pytest.fixture(scope="module")
def exporter_and_server() -> Iterator[tuple[Exporter, WebServer]]:
    """One server for all tests that do not stop it: stopping takes half a second."""
    exporter = Exporter()
    server = WebServer("127.0.0.1:0", exporter.routes())
    server.start()
    yield exporter, server
    server.stop()


@pytest.fixture
def exporter(exporter_and_server: tuple[Exporter, WebServer]) -> Exporter:
    fresh, served = Exporter(), exporter_and_server[0]
    for knob in fields(Exporter):
        setattr(served, knob.name, getattr(fresh, knob.name))
    return served


@pytest.fixture
def server(exporter_and_server: tuple[Exporter, WebServer], exporter: Exporter) -> WebServer:
    return exporter_and_server[1]
