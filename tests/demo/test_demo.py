"""The whole demo on real servers: what the project promises of it, and nothing left behind."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from leftovers import listening_ports, open_ports, processes_naming

from exporter.crew import processors
from exporter.demo import DemoOptions
from exporter.demo.report import links, table
from exporter.demo.show import Show, opened
from exporter.demo.stop import listening
from exporter.demo.world import QUERIES, SHIFT, SPIKE, VANISH, WRONG_TIME, ZERO, watched_rows

FAMILIES = ("anomaly_score", "anomaly_expected", "anomaly_lower", "anomaly_upper", "anomaly_value")
MODELS = ("robust_band", "shesd")

Labels = frozenset[tuple[str, str]]


@dataclass
class Stage:
    """The show after its table, what Prometheus had before anything went wrong, and what is there to be left behind."""

    show: Show
    watched: dict[str, set[Labels]]
    judged: dict[tuple[str, str, str], set[Labels]]
    ports: set[int]
    slower: float
    scratch: Path
    close: Callable[[], None]


def ask(show: Show, expr: str) -> list[dict[str, str]]:
    answer = requests.get(f"{show.api.prometheus_url}/api/v1/query", params={"query": expr}, timeout=60)
    return [series["metric"] for series in answer.json()["data"]["result"]]


def without(labels: dict[str, str], *names: str) -> Labels:
    return frozenset((name, value) for name, value in labels.items() if name not in names)


def watched_in_prometheus(show: Show) -> dict[str, set[Labels]]:
    """By query: the label sets its expression has in Prometheus itself."""
    return {query.name: {without(labels, "__name__") for labels in ask(show, query.expr)} for query in QUERIES}


def judged_in_prometheus(show: Show) -> dict[tuple[str, str, str], set[Labels]]:
    """By result, query and model: the label sets published, less the labels that were added."""
    found: dict[tuple[str, str, str], set[Labels]] = {}
    for labels in ask(show, f'{{__name__=~"{"|".join(FAMILIES)}"}}'):
        added = ("job", "instance") if labels["job"] == "anomaly-exporter" else ()
        key = labels["__name__"], labels["query"], labels["model"]
        found.setdefault(key, set()).add(without(labels, "__name__", "query", "model", *added))
    return found


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    scratch = tmp_path_factory.mktemp("demo")
    with ExitStack() as stack:
        show = stack.enter_context(opened(DemoOptions(scratch_dir=scratch), stack.enter_context(listening())))
        show.start_compiler()
        show.make_history()
        show.start_prometheus()
        show.await_compiler()
        show.start_exporter()
        show.await_verdicts()
        # Two minutes are promised on a machine that has nothing else to do.
        slower = max(1.0, os.getloadavg()[0] / processors())
        watched, judged = watched_in_prometheus(show), judged_in_prometheus(show)
        show.inject()
        show.await_alerts()
        show.tell()
        ports = {port for server in show.stack.servers for port in listening_ports(server.process.pid)}
        yield Stage(show, watched, judged, ports | {show.target_port}, slower, scratch, stack.close)


def test_within_two_minutes_every_watched_series_has_all_results_with_the_labels_of_the_source(stage: Stage) -> None:
    assert stage.show.missing == []
    assert stage.show.judged_s < 120 * stage.slower
    assert sum(map(len, stage.watched.values())) == len(watched_rows(stage.show.world)) == 69
    for query, rows in stage.watched.items():
        for metric in FAMILIES:
            for model in MODELS:
                assert stage.judged[metric, query, model] == rows, (metric, query, model)


def test_each_kind_of_event_was_injected(stage: Stage) -> None:
    kinds = {finding.event.kind for finding in stage.show.watcher.findings}
    assert kinds == {SPIKE, ZERO, SHIFT, WRONG_TIME, VANISH}


def test_every_event_is_seen_within_two_cycles(stage: Stage) -> None:
    for finding in stage.show.watcher.findings:
        assert finding.seen, finding
        assert finding.cycles in (1, 2), finding
        if finding.event.kind == VANISH:
            assert finding.absent_s >= 0
        else:
            assert finding.score > 1
            assert not finding.lower <= finding.value <= finding.upper


def test_every_event_fires_in_alertmanager(stage: Stage) -> None:
    alerts = requests.get(f"{stage.show.api.alertmanager_url}/api/v2/alerts", timeout=60).json()
    firing = [alert["labels"] for alert in alerts if alert["status"]["state"] == "active"]
    for finding in stage.show.watcher.findings:
        wanted = "AnomalySeriesAbsent" if finding.event.kind == VANISH else "AnomalyDetected"
        labels = {**dict(finding.row.labels), "query": finding.row.query, "alertname": wanted}
        assert any(labels.items() <= alert.items() for alert in firing), finding


def test_at_most_one_clean_series_fires(stage: Stage) -> None:
    clean = stage.show.clean_rows()
    assert len(clean) == 69 - 7
    assert len(stage.show.alerting(clean)) <= 1


def test_nothing_else_fires(stage: Stage) -> None:
    names = {alert["alertname"] for alert in stage.show.api.alerts()}
    assert names == {"AnomalyDetected", "AnomalySeriesAbsent"}


def test_the_table_tells_it_all(stage: Stage) -> None:
    text = table(stage.show.watcher.findings)
    assert len(text.splitlines()) == 8
    assert "not seen" not in text
    assert "not fired" not in text


def test_the_pages_to_open_are_there(stage: Stage) -> None:
    show = stage.show
    pages = show.prometheus_pages()
    for url in (f"{pages}/graph", f"{pages}/alerts", show.url(show.ports.exporter), show.api.alertmanager_url):
        answer = requests.get(url, timeout=60)
        assert (answer.status_code, "html" in answer.headers["Content-Type"]) == (200, True), url


def test_the_graph_to_open_shows_value_and_band_of_one_series(stage: Stage) -> None:
    show = stage.show
    text = links(show.watcher.findings[0].row, "http://p", "http://a", "http://e")
    expr = parse_qs(urlsplit(text.splitlines()[0].split()[-1]).query)["g0.expr"][0]
    assert {labels["__name__"] for labels in ask(show, expr)} == set(FAMILIES) - {"anomaly_score"}
    assert len(ask(show, expr)) == 4


def test_at_the_end_ctrl_c_leaves_nothing(stage: Stage) -> None:
    """Ends the stage, so it comes last."""
    show = stage.show
    assert processes_naming(stage.scratch)
    assert open_ports(stage.ports) == stage.ports
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    show.hold()
    stage.close()
    assert stage.ports == {show.target_port, show.ports.prometheus, show.ports.alertmanager, show.ports.exporter}
    assert open_ports(stage.ports) == set()
    assert processes_naming(stage.scratch) == []
    assert list(stage.scratch.iterdir()) == []
