"""A whole exporter, `check` and `plan` on a server that cuts queries off in silence, as an operator sees it."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from peer_servers import Peer, every
from support.loopback import LoopbackServer
from support.process import config_text, parsed
from support.servers import wait_until

from exporter.app import App
from exporter.capacity.check import check
from exporter.capacity.plan import plan

HOUR, DAY = 3600, 86_400
CUT = "the server gave only the last "
WHY = " of the 2d asked: it reads no further back (max_query_lookback, or its retention); the window is shortened"


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """The config of one query on a server that has three days of it and reads six hours back."""
    now_s = int(time.time()) // 300 * 300
    samples = every(60, now_s - 3 * DAY, now_s + HOUR)
    server = LoopbackServer(Peer({"a": samples, "b": samples}, reaches_s=now_s - 6 * HOUR))
    file = tmp_path / "config.yml"
    file.write_text(config_text(server.url, {"visits": "expr: m"}))
    yield file
    server.close()


def test_the_page_and_the_metrics_name_a_shortened_window(config: Path) -> None:
    app = App(str(config))
    app.start("127.0.0.1:0", lifecycle=False)
    try:
        wait_until(lambda: app.ready()[0], "a first cycle")
        landing = html.unescape(requests.get(f"http://127.0.0.1:{app.port}/", timeout=10).text)
        page = parsed(requests.get(f"http://127.0.0.1:{app.port}/metrics", timeout=10).text)
    finally:
        app.stop()
    # A step less or more: as the cycle's time lies between steps, and when one has ended since the server began.
    assert re.search(re.escape(CUT) + r"(5h55m|6h|6h5m)" + re.escape(WHY), landing)
    ((_, missing_s),) = page["anomaly_exporter_window_missing_seconds"]
    assert 41 * HOUR < missing_s <= 42 * HOUR
    kinds = {labels["kind"]: count for labels, count in page["anomaly_exporter_source_warnings_total"]}
    assert kinds["truncated"] == 1


@pytest.mark.parametrize("command", [check, plan])
def test_check_and_plan_say_it_beforehand(command: Callable[..., int], config: Path) -> None:
    lines: list[str] = []
    assert command(str(config), lines.append) == 0
    (told,) = [line for line in lines if CUT in line]
    assert told.startswith(f"visits: {CUT}")
    assert told.endswith(WHY)
    assert any(line.endswith("answers (it tells no version)") for line in lines)
