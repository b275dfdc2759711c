"""A password in a file that changes, is half written, empty or gone while cycles go on: no reload, no restart."""

from __future__ import annotations

import base64
import logging
import time
from pathlib import Path

import pytest
from support.loopback import ServerAt, http
from support.market import PODS, Market
from support.process import config_text
from support.servers import wait_until

from exporter.app import App

START = "global: {interval: 1s, step: 5m, window: 2d}\n"


def header(secret: str) -> str:
    return "Basic " + base64.b64encode(f"reader:{secret}".encode()).decode()


def test_a_secret_that_rotates_costs_the_cycles_without_it_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    market, wanted = Market(("m",)), ["swordfish-1"]

    def respond(request, connection) -> None:
        if request.headers.get("authorization") != header(wanted[0]):
            connection.sendall(http(401, "Unauthorized\n"))
        else:
            market.respond(request, connection)

    server, file, config = ServerAt(respond), tmp_path / "secret", tmp_path / "config.yml"
    file.write_text("swordfish-1\n")
    block = f"  basic_auth: {{username: reader, password_file: {file}}}\n"
    config.write_text(config_text(server.url, {"m": "expr: m"}, more=block, start=START))
    app = App(str(config))
    with caplog.at_level(logging.DEBUG):
        app.start("127.0.0.1:0", lifecycle=False)
        try:
            unit = app.units["m"]

            def well() -> bool:
                return unit.last is not None and not unit.last.error and unit.last.time_s > time.time() - 2

            wait_until(well, "it reads")
            wanted[0] = "swordfish-2"
            wait_until(lambda: unit.last.reason == "unauthorized", "the old one is refused")
            file.write_text("swordfish-2")
            wait_until(well, "the new one is taken from its file")
            for trouble in (lambda: file.write_text(""), lambda: file.write_text("sword"), file.unlink):
                trouble()
                wait_until(lambda: unit.last.error, "told")
                assert len(unit.worst(10)) == len(PODS)  # the last verdicts stay
                file.write_text("swordfish-2\n")
                wait_until(well, "and over")
            assert unit._window.window_bytes
        finally:
            app.stop()
            server.close()
    assert "swordfish" not in caplog.text
