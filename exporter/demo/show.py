"""The demo from start to end: a past, a present, an exporter that watches, and things that go wrong."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from exporter.demo import configs, history, report, target
from exporter.demo.configs import INTERVAL_S, Ports
from exporter.demo.stack import Binaries, Server, Stack, answers, find_binaries, free_ports
from exporter.demo.stop import Stop, Stopped, listening
from exporter.demo.watch import MODELS, RESULTS, Api, Finding, Watcher, alerts_of, high_scores, unjudged
from exporter.demo.world import Row, World, build, events_now, past_events, rows_of_event, watched_rows
from exporter.errors import DemoError

SPIKE_S = 4 * INTERVAL_S
LIVE_S = 120.0  # deadlines: what takes longer than this has failed, also on a machine with much else to do
READY_S = 300.0
_PACED_SCRAPES = 5  # three distances between samples make a spacing, and one may not be there yet
JUDGED_S = 300.0
FOUND_S = 300.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How to run the demo.

    ``keep_running``: wait for Ctrl-C after the table. Binaries default to those on PATH, ``rules_dir`` to the shipped
    rules, ``scratch_dir`` (in which one directory is made and removed again) to the system's.
    """

    keep_running: bool = True
    prometheus_binary: str | None = None
    alertmanager_binary: str | None = None
    rules_dir: Path | None = None
    scratch_dir: Path | None = None
    seed: int = 7


def run(options: DemoOptions) -> int:
    """Run the demo on this terminal; the exit status.

    0: every event was seen and alerted; 1: not so, or the demo can't run here; 130: ended early. Whatever happens, no
    process and no file is left.
    """
    with listening() as stop:
        try:
            with opened(options, stop) as show:
                show.perform()
                found = show.watcher.done()
                if options.keep_running:
                    show.hold()
                return 0 if found else 1
        except Stopped:
            print("\nended early: nothing is left running, nothing is left on disk", flush=True)
            return 130
        except (DemoError, OSError) as error:
            print(f"anomaly-exporter demo: {error}", file=sys.stderr, flush=True)
            return 1


@contextmanager
def opened(options: DemoOptions, stop: Stop) -> Iterator[Show]:
    """A show with its directory, ready to perform; ends all processes and removes the directory afterwards."""
    binaries = find_binaries(options.prometheus_binary, options.alertmanager_binary)
    rules = configs.rules_dir(options.rules_dir)
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="anomaly-demo-", dir=options.scratch_dir))
        world = build(options.seed)
        world.events += past_events(world, time.time())
        session = stack.enter_context(requests.Session())
        session.trust_env = False  # a proxy in the environment is not meant for loopback
        port = stack.enter_context(target.serving(world))
        servers = stack.enter_context(Stack(Path(scratch), stop))
        yield Show(stop, binaries, rules, Path(scratch), world, servers, session, port)


@dataclass(slots=True)
class Show:
    """The demo in its steps; ``perform`` does them in order. The attributes tell afterwards what was found."""

    stop: Stop
    binaries: Binaries
    rules: Path
    scratch: Path
    world: World
    stack: Stack
    session: requests.Session
    target_port: int
    ports: Ports = field(default_factory=lambda: Ports(*free_ports(3)))
    started: float = field(default_factory=time.monotonic)
    judged_s: float = 0.0
    missing: list[tuple[Row, str, str]] = field(default_factory=list)
    watcher: Watcher = field(init=False)
    compiler: Server = field(init=False)
    exporter: Server = field(init=False)

    def perform(self) -> None:
        """All steps up to the table."""
        self.start_compiler()
        self.make_history()
        self.start_prometheus()
        self.await_compiler()
        self.start_exporter()
        self.await_verdicts()
        self.inject()
        self.await_alerts()
        self.tell()

    @property
    def api(self) -> Api:
        """The servers' APIs."""
        return Api(self.session, self.url(self.ports.prometheus), self.url(self.ports.alertmanager))

    @staticmethod
    def url(port: int) -> str:
        """The address of one of the servers."""
        return f"http://127.0.0.1:{port}"

    def say(self, text: str) -> None:
        """A progress line with the seconds since the start."""
        print(f"[{time.monotonic() - self.started:5.1f} s] {text}", flush=True)

    def make_history(self) -> None:
        """Write two weeks of every series and import them."""
        rows = len(watched_rows(self.world))
        self.say(
            f"in {self.scratch}: two weeks of {len(self.world.series)} series of 3 tenants, watched as {rows} rows"
        )
        text = self.scratch / "history.om"
        size = history.write(self.world, time.time(), text, self.stop.check)
        self.say(f"importing {size / 1e6:.0f} MB of history into Prometheus")
        self.stack.run("promtool", history.import_command(self.binaries.promtool, text, self.scratch / "data"))
        text.unlink()

    def start_compiler(self) -> None:
        """Have the kernels compiled while the history is made: at the first start ever that takes the longest."""
        self.compiler = self.stack.start("compiler", configs.compile_command(), configs.python_path())

    def await_compiler(self) -> None:
        """Wait until the kernels are compiled."""
        if self.compiler.process.poll() is None:
            self.say("waiting for the numeric kernels to be compiled (only the first time, up to a minute)")
        self.stack.finish(self.compiler)

    def start_prometheus(self) -> None:
        """Start Alertmanager and Prometheus on the history."""
        self.say(f"starting Alertmanager and Prometheus at {self.url(self.ports.prometheus)}")
        self._write("alertmanager.yml", configs.alertmanager_config())
        self._write("prometheus.yml", configs.prometheus_config(self.ports, self.target_port, self.rules))
        alertmanager = self.stack.start(
            "alertmanager", configs.alertmanager_command(self.binaries, self.scratch, self.ports)
        )
        prometheus = self.stack.start("prometheus", configs.prometheus_command(self.binaries, self.scratch, self.ports))
        self._await_ready(alertmanager, self.ports.alertmanager, LIVE_S)
        self._await_ready(prometheus, self.ports.prometheus, LIVE_S)
        self.stack.wait_for(prometheus, self._scraped, LIVE_S, "scrape of the application")

    def start_exporter(self) -> None:
        """Start the exporter and wait until it has judged for the first time."""
        self.say(f"starting the exporter at {self.url(self.ports.exporter)}: it reads two weeks and fits its models")
        self._write("exporter.yml", configs.exporter_config(self.url(self.ports.prometheus)))
        self.exporter = self.stack.start(
            "exporter", configs.exporter_command(self.scratch, self.ports), configs.python_path()
        )
        self._await_ready(self.exporter, self.ports.exporter, READY_S)

    def await_verdicts(self) -> None:
        """Wait until Prometheus has every result of every watched row, and knows the pace of the live samples: a series
        that vanishes before is only missed after the spacing of its history."""
        self.say("waiting until Prometheus has a verdict on every row")
        rows = list(watched_rows(self.world))
        deadline = time.monotonic() + JUDGED_S
        while (self._still_missing(rows) or not self._paced()) and time.monotonic() < deadline:
            self.stack.check()
            self.stop.wait(0.5)
        self.judged_s = time.monotonic() - self.started
        if len(self.missing) == len(rows) * len(RESULTS) * len(MODELS):
            raise DemoError(f"no verdict reached Prometheus. The end of the exporter's log:\n{self.exporter.tail()}")
        for row in {row: None for row, _, _ in self.missing}:
            self.say(f"  not judged: {row.short}")

    def inject(self) -> None:
        """Let things go wrong, now."""
        now_s = time.time()
        events = events_now(self.world, now_s, SPIKE_S)
        rows = [rows_of_event(self.world, event)[0] for event in events]
        self.watcher = Watcher(self.api, now_s, [Finding(*pair) for pair in zip(events, rows, strict=True)])
        self.world.events += events
        for finding in self.watcher.findings:
            self.say(f"now: {finding.event.kind} in {finding.row.short}")

    def await_alerts(self) -> None:
        """Wait until every event was seen and fires; a line for each."""
        told: set[tuple[int, str]] = set()
        deadline = time.monotonic() + FOUND_S
        while not self.watcher.done() and time.monotonic() < deadline:
            self.stack.check()
            self.stop.wait(1)
            self.watcher.look(time.time())
            self._tell_news(told)

    def tell(self) -> None:
        """Print the table and the pages to open."""
        clean = self.clean_rows()
        print(f"\n{report.table(self.watcher.findings)}\n")
        high = high_scores(self.api, clean, self.watcher.started_s - JUDGED_S)
        print(f"{report.clean_text(high, self.alerting(clean), len(clean))}\n\nTo look around:")
        urls = self.prometheus_pages(), self.api.alertmanager_url, self.url(self.ports.exporter)
        print(report.links(self.watcher.findings[0].row, *urls), flush=True)

    def prometheus_pages(self) -> str:
        """Where Prometheus has its pages: Debian's build has only the classic ones."""
        plain = self.api.prometheus_url
        return plain if answers(self.session, f"{plain}/alerts") else f"{plain}/classic"

    def hold(self) -> None:
        """Keep everything running until Ctrl-C (then returns), unless a server ends by itself (DemoError)."""
        print("\nCtrl-C ends the demo: nothing stays running, nothing stays on disk.", flush=True)
        try:
            while True:
                self.stack.check()
                self.stop.wait(1)
        except Stopped:
            return

    def clean_rows(self) -> list[Row]:
        """The rows in which nothing was injected now."""
        touched = {finding.event.series for finding in self.watcher.findings}
        return [row for row, made_of in watched_rows(self.world).items() if not touched & set(made_of)]

    def alerting(self, rows: list[Row]) -> list[Row]:
        """Those of the rows about which Alertmanager holds an alert."""
        alerts = self.api.alerts()
        return [row for row in rows if alerts_of(alerts, row)]

    def _tell_news(self, told: set[tuple[int, str]]) -> None:
        for index, finding in enumerate(self.watcher.findings):
            news = {"seen": report.seen_text(finding) if finding.seen else "", "fires": finding.alert}
            for what, text in news.items():
                if text and (index, what) not in told:
                    told.add((index, what))
                    self.say(f"{what}: {finding.event.kind} in {finding.row.short} ({text})")

    def _still_missing(self, rows: list[Row]) -> bool:
        self.missing = unjudged(self.api, rows)
        return bool(self.missing)

    def _scraped(self) -> bool:
        return bool(self.api.samples('up{job="demo"} == 1'))

    def _paced(self) -> bool:
        return bool(self.api.samples(f'count_over_time(up{{job="demo"}}[5m]) >= {_PACED_SCRAPES}'))

    def _await_ready(self, server: Server, port: int, deadline_s: float) -> None:
        ready: Callable[[], bool] = lambda: answers(self.session, f"{self.url(port)}/-/ready")  # noqa: E731
        self.stack.wait_for(server, ready, deadline_s, "answer")

    def _write(self, name: str, config: dict[str, Any]) -> None:
        (self.scratch / name).write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
