"""The servers of a soak: a Prometheus with history, the relay before it, the exporter behind it; and what is done to
them."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import requests

from bench.soak import plan, relay
from bench.soak.application import METRIC, Churning
from bench.speed.live import start_prometheus
from bench.speed.report import SpeedError
from bench.speed.server import write_blocks
from exporter.demo.stack import Server, Stack, answers, free_ports

DAYS = 2
_ROWS_A_FILE = 2000
_READY_S = 900
_MODES = {plan.ERRORS: relay.ERRORS, plan.RESETS: relay.RESETS, plan.SLOW: relay.SLOW}


class Stage:
    """Everything that runs. Times are in seconds, ``interval_s`` that of scrapes and cycles."""

    def __init__(self, stack: Stack, folder: Path, series: int, interval_s: int) -> None:
        self._stack = stack
        self._folder = folder
        self._interval_s = interval_s
        self._source_port, self._exporter_port = free_ports(2)
        self.application = Churning(series)
        self.relay = relay.Relay(self._source_port)
        self.source_url = f"http://127.0.0.1:{self._source_port}"
        self.url = f"http://127.0.0.1:{self._exporter_port}"
        self._write_configs()
        write_blocks(stack, folder, METRIC, series, DAYS, int(time.time()), _ROWS_A_FILE)
        self._source = self._start_source()
        self.wait(2.5 * interval_s)
        self.exporter = self._start_exporter()

    def close(self) -> None:
        """End what is no process."""
        self.relay.close()
        self.application.close()

    @property
    def config_text(self) -> str:
        """The config, but with the source itself in place of the relay: for whoever explains."""
        return self._config(self._source_port)

    def wait(self, seconds: float, between: Callable[[], None] = lambda: None) -> None:
        """Let time pass, with new values twice an interval; `between` is called then, too."""
        end = time.monotonic() + seconds
        while True:
            self.application.refresh()
            self._stack.check()
            between()
            left_s = end - time.monotonic()
            if left_s <= 0:
                return
            self._stack.stop.wait(min(left_s, self._interval_s / 2))

    # -- configs -------------------------------------------------------------------------------------------------------

    def _config(self, port: int, more: str = "") -> str:
        return (
            f"global: {{interval: {self._interval_s}s, step: 5m, window: {DAYS}d}}\n"
            f'source: {{url: "http://127.0.0.1:{port}", timeout: {2 * self._interval_s}s}}\n'
            f"queries:\n  - {{name: soak, expr: {METRIC}}}\n{more}"
        )

    def _write_configs(self) -> None:
        targets = {"bench": self.application.port, "anomaly-exporter": self._exporter_port}
        (self._folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: {self._interval_s}s, scrape_timeout: {self._interval_s}s}}\nscrape_configs:\n"
            + "".join(
                f"  - {{job_name: {name}, honor_labels: true, static_configs: [{{targets: ['127.0.0.1:{port}']}}],\n"
                "     metric_relabel_configs: [{regex: 'job|instance', action: labeldrop}]}\n"
                for name, port in targets.items()
            ),
            "ascii",
        )
        self._put_config()

    def _put_config(self, more: str = "") -> None:
        (self._folder / "anomaly-exporter.yml").write_text(self._config(self.relay.port, more), "ascii")

    # -- processes -----------------------------------------------------------------------------------------------------

    def _start_source(self) -> Server:
        return start_prometheus(self._stack, self._folder, self._source_port)

    def _start_exporter(self) -> Server:
        command = [
            sys.executable, "-m", "exporter.cli", "run", f"--config.file={self._folder / 'anomaly-exporter.yml'}",
            "--web.enable-lifecycle", f"--web.listen-address=127.0.0.1:{self._exporter_port}",
        ]  # fmt: skip
        server = self._stack.start("exporter", command)
        with requests.Session() as session:
            self._stack.wait_for(server, lambda: answers(session, f"{self.url}/-/ready"), _READY_S, "verdicts")
        return server

    def _end(self, server: Server, number: int) -> None:
        self._stack.servers.remove(server)
        server.signal_group(number)
        server.process.wait(60)

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def begin(self, kind: str) -> None:
        """Let something go wrong."""
        if kind == plan.PAUSED:
            self._source.signal_group(signal.SIGSTOP)
        elif kind == plan.STOPPED:
            self._end(self._source, signal.SIGTERM)
        elif kind in _MODES:
            self.relay.mode = _MODES[kind]
        else:
            self._moment(kind)

    def mend(self, kind: str) -> None:
        """Put it right again."""
        self.relay.mode = relay.PASS
        if kind == plan.PAUSED:
            self._source.signal_group(signal.SIGCONT)
        elif kind == plan.STOPPED:
            self._source = self._start_source()

    def _moment(self, kind: str) -> None:
        if kind == plan.KILLED:
            self._end(self.exporter, signal.SIGKILL)
            self.exporter = self._start_exporter()
            return
        more: Mapping[str, str] = {
            plan.BAD_RELOAD: "nonsense: [\n",
            plan.CHANGED: f"  - {{name: more, expr: 'sum by (namespace) ({METRIC})'}}\n",
        }
        self._put_config(more.get(kind, ""))
        status = self._reload()
        if (status == 200) == (kind == plan.BAD_RELOAD):
            raise SpeedError(f"a {kind} was answered with {status}")
        self._put_config()
        if self._reload() != 200:
            raise SpeedError(f"the good config was not taken again after a {kind}")

    def _reload(self) -> int:
        return requests.post(f"{self.url}/-/reload", timeout=60).status_code
