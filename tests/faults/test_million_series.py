"""An answer of a million series where some hundred are allowed: those are watched, the rest is counted and dropped."""

from __future__ import annotations

import time
from pathlib import Path

from support.loopback import ServerAt, http
from support.market import PODS, Market
from support.process import config_text, running_exporter
from support.servers import wait_until

SERIES = 1_000_000
LIMIT = 300
START = "global: {interval: 2s, step: 5m, window: 2d}\n"


def answer_of_a_million(kind: str, time_s: int) -> bytes:
    """As Prometheus spells it: some 60 MB."""
    head = f'{{"status":"success","data":{{"resultType":"{kind}","result":['
    tail = f'"}},"values":[[{time_s},"1.5"]]}}'
    body = ",".join([f'{{"metric":{{"__name__":"flood","i":"{i}{tail}' for i in range(SERIES)])
    return http(200, (head + body + "]}}").encode(), Content_Type="application/json")


def peak_bytes(pid: int) -> int:
    """The most memory that a process has taken."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_a_million_series_cost_no_more_than_their_limit(tmp_path: Path) -> None:
    market, flood = Market(("m",)), answer_of_a_million("matrix", int(time.time()))

    def respond(request, connection) -> None:
        expr = request.form["query"]
        if "flood" not in expr:
            market.respond(request, connection)
        elif expr.startswith("count("):
            connection.sendall(http(200, b'{"status":"success","data":{"resultType":"matrix","result":[]}}'))
        else:
            connection.sendall(flood)

    server, config = ServerAt(respond), tmp_path / "config.yml"
    queries = {"m": "expr: m", "flood": f"expr: flood, limits: {{max_series: {LIMIT}}}"}
    config.write_text(config_text(server.url, queries, start=START))
    try:
        with running_exporter(config) as exporter:
            wait_until(lambda: exporter.samples("anomaly_score", query="m"), "the other query is judged")
            wait_until(lambda: exporter.number("cycles_total", query="flood", outcome="ok") >= 1, "it is read")
            assert exporter.number("cycles_total", query="m", outcome="ok") >= 2  # meanwhile
            assert exporter.number("series_shed", query="flood") == SERIES - LIMIT
            assert sum(n for _, n in exporter.samples("anomaly_exporter_series", query="flood")) == LIMIT
            assert len(exporter.samples("anomaly_score", query="m")) == 2 * len(PODS)
            assert exporter.number("cycles_total", query="m", outcome="failed") == 0
            assert "raise limits.max_series" in exporter.log
            assert peak_bytes(exporter.process.pid) < 1_500_000_000
            assert exporter.number("window_bytes", query="flood") < 5_000_000
    finally:
        server.close()
