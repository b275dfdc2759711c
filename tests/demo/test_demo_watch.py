"""What is made of the answers of Prometheus and Alertmanager."""

import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import requests

from exporter.demo import watch
from exporter.demo.watch import Api, Finding, Track, Watcher
from exporter.demo.world import VANISH, ZERO, Event, Row
from exporter.errors import DemoError

SHOP = Row("requests", (("instance", "demo-app"), ("job", "demo"), ("tenant", "shop")))
RATIO = Row("ratio", (("tenant", "shop"),))
SHOP_LABELS = {"query": "requests", "tenant": "shop", "job": "demo", "instance": "demo-app"}

Samples = list[tuple[float, float]]


@dataclass
class Servers:
    """A loopback server that knows series, and answers both APIs with them, raw or newest."""

    url: str = ""
    series: list[tuple[dict[str, str], Samples]] = field(default_factory=list)
    alerts: list[dict[str, str]] = field(default_factory=list)
    status: int = 200

    def add(self, name: str, labels: dict[str, str], *samples: tuple[float, float]) -> None:
        self.series.append(({"__name__": name, **labels}, list(samples)))

    def answer(self, path: str) -> object:
        parts = urlsplit(path)
        if parts.path == "/api/v2/alerts":
            return [{"labels": labels} for labels in self.alerts]
        query = parse_qs(parts.query)["query"][0]
        raw = query.endswith("s]")
        metric = query.split("{", 1)[0].split("[", 1)[0]
        wanted = [
            (labels, s) for labels, s in self.series if metric in ("", labels["__name__"]) and self.fits(labels, query)
        ]
        return {"data": {"result": [self.render(labels, samples, raw) for labels, samples in wanted]}}

    @staticmethod
    def fits(labels: dict[str, str], query: str) -> bool:
        inside = query.partition("{")[2].rpartition("}")[0]
        pairs = [pair.split('="') for pair in inside.split('",') if '="' in pair]
        return all(labels.get(name) == value.rstrip('"') for name, value in pairs)

    @staticmethod
    def render(labels: dict[str, str], samples: Samples, raw: bool) -> dict[str, object]:
        texts = [[t, str(x)] for t, x in samples]
        return {"metric": labels, "values": texts} if raw else {"metric": labels, "value": texts[-1]}


@pytest.fixture
def servers() -> Iterator[Servers]:
    known = Servers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(known.answer(self.path)).encode() if known.status == 200 else b"out of order"
            self.send_response(known.status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_port}"
    yield known
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def api(servers: Servers) -> Iterator[Api]:
    with requests.Session() as session:
        yield Api(session, servers.url, servers.url)


def add_results(servers: Servers, row: Row, extra: dict[str, str], *, models: tuple[str, ...] = watch.MODELS) -> None:
    for metric in watch.RESULTS:
        for model in models:
            servers.add(metric, {**dict(row.labels), **extra, "query": row.query, "model": model}, (1.0, 0.5))


def test_samples_raw_and_newest(servers: Servers, api: Api) -> None:
    servers.add("m", {"a": "b"}, (1.5, 2.0), (2.5, math.inf))
    raw, newest = api.samples("m[60s]")[0], api.samples("m")[0]
    assert raw.times_s.tolist() == [1.5, 2.5]
    assert raw.values.tolist() == [2.0, math.inf]
    assert newest.times_s.tolist() == [2.5]
    assert newest.labels == {"__name__": "m", "a": "b"}


def test_a_refusal_is_told_in_the_words_of_the_server(servers: Servers, api: Api) -> None:
    servers.status = 422
    with pytest.raises(DemoError, match=r"/api/v1/query answers 422: out of order"):
        api.samples("m")


def test_a_server_that_is_gone_is_told() -> None:
    with requests.Session() as session, pytest.raises(DemoError, match=r"127\.0\.0\.1:9/api/v2/alerts does not answer"):
        Api(session, "http://127.0.0.1:9", "http://127.0.0.1:9").alerts()


def test_everything_is_missing_at_first(api: Api) -> None:
    missing = watch.unjudged(api, [SHOP])
    assert len(missing) == len(watch.RESULTS) * len(watch.MODELS) == 10


def test_nothing_is_missing_when_all_results_have_the_labels_of_the_source(servers: Servers, api: Api) -> None:
    add_results(servers, SHOP, {})
    add_results(servers, RATIO, {"job": "anomaly-exporter", "instance": "127.0.0.1:1"})
    assert watch.unjudged(api, [SHOP, RATIO]) == []


@pytest.mark.parametrize("extra", [{"exported_job": "x"}, {"tenant": "other"}, {"job": "anomaly-exporter"}])
def test_a_result_with_other_labels_does_not_count(servers: Servers, api: Api, extra: dict[str, str]) -> None:
    add_results(servers, SHOP, extra)
    assert len(watch.unjudged(api, [SHOP])) == 10


def test_a_missing_model_is_named(servers: Servers, api: Api) -> None:
    add_results(servers, SHOP, {}, models=("robust_band",))
    assert {model for _, _, model in watch.unjudged(api, [SHOP])} == {"shesd"}


def test_alerts_belong_to_a_row_by_its_query_and_all_its_labels() -> None:
    alerts = [
        {"alertname": "AnomalyDetected", "severity": "warning", "model": "robust_band", **SHOP_LABELS},
        {"alertname": "Other", **SHOP_LABELS, "query": "latency"},
        {"alertname": "ShareHigh", "query": "requests"},
        {"alertname": "Elsewhere", **SHOP_LABELS, "tenant": "search"},
    ]
    assert watch.alerts_of(alerts, SHOP) == ["AnomalyDetected"]


def test_selectors_name_query_model_and_labels() -> None:
    assert watch.selector("anomaly_score", RATIO, "shesd") == (
        'anomaly_score{model="shesd",query="ratio",tenant="shop"}'
    )
    assert watch.selector("anomaly_absent_seconds", RATIO) == 'anomaly_absent_seconds{query="ratio",tenant="shop"}'


def track(*samples: tuple[float, float]) -> Track:
    return Track({}, np.array([t for t, _ in samples]), np.array([x for _, x in samples]))


def test_a_score_counts_once_the_verdict_is_about_a_sample_that_shows_the_event() -> None:
    verdicts = track((100, 95), (105, 95), (110, 108), (115, 108))
    telling = np.array([100.0, 105.0, 110.0, 115.0])
    assert watch.first_told(telling, verdicts, visible_s=96) == 110
    assert math.isnan(watch.first_told(telling, verdicts, visible_s=109))
    assert math.isnan(watch.first_told(np.array([]), verdicts, visible_s=1))


def test_the_sample_that_first_shows_the_event_counts_despite_rounding() -> None:
    assert watch.first_told(np.array([110.0]), track((110, 108.1230001)), visible_s=108.1234) == 110


def test_cycles_are_counted_by_their_verdicts() -> None:
    verdicts = track((100, 95), (105, 95), (110, 108), (115, 108), (120, 123), (125, 138))
    assert watch.verdicts_between(verdicts, 96, 110) == 1
    assert watch.verdicts_between(verdicts, 96, 120) == 2
    assert watch.verdicts_between(verdicts, 96, 105) == 0


def scene(servers: Servers, api: Api, kind: str, now: float) -> Watcher:
    servers.add("up", {"job": "demo"}, (now - 30, 1), (now - 25, 1), (now - 20, 1))
    servers.add(
        "anomaly_exporter_verdict_timestamp_seconds", {"query": "requests"}, (now - 22, now - 35), (now - 17, now - 20)
    )
    return Watcher(api, now - 27, [Finding(Event(kind, 0, now - 27), SHOP)])


def test_a_watcher_follows_an_event_to_its_alert(servers: Servers, api: Api) -> None:
    now = time.time()
    watcher = scene(servers, api, ZERO, now)
    labels = {**SHOP_LABELS, "model": "robust_band"}
    servers.add("anomaly_score", labels, (now - 22, 0.2), (now - 17, 7.5))
    for metric, value in (("value", 0.0), ("expected", 50.0), ("lower", 40.0), ("upper", 60.0)):
        servers.add(f"anomaly_{metric}", labels, (now - 22, 51.0), (now - 17, value))
    watcher.look(now)
    found = watcher.findings[0]
    assert not watcher.done()
    assert found.seen
    assert (found.seen_after_s, found.cycles) == (pytest.approx(8), 1)
    assert (found.score, found.value, found.expected, found.lower, found.upper) == (7.5, 0, 50, 40, 60)
    servers.alerts.append({"alertname": "AnomalyDetected", **labels})
    watcher.look(now)
    assert watcher.done()
    assert (found.alert, found.fired_after_s) == ("AnomalyDetected", pytest.approx(25))


def test_a_score_of_before_does_not_count(servers: Servers, api: Api) -> None:
    now = time.time()
    watcher = scene(servers, api, ZERO, now)
    servers.add("anomaly_score", {**SHOP_LABELS, "model": "robust_band"}, (now - 22, 3.0), (now - 17, 0.4))
    watcher.look(now)
    assert not watcher.findings[0].seen


def test_the_other_model_does_not_count(servers: Servers, api: Api) -> None:
    now = time.time()
    watcher = scene(servers, api, ZERO, now)
    servers.add("anomaly_score", {**SHOP_LABELS, "model": "shesd"}, (now - 17, 30.0))
    watcher.look(now)
    assert not watcher.findings[0].seen


def test_a_vanished_series_is_seen_by_its_absence(servers: Servers, api: Api) -> None:
    now = time.time()
    watcher = scene(servers, api, VANISH, now)
    servers.add("anomaly_absent_seconds", SHOP_LABELS, (now - 17, 0.0), (now - 12, 21.0))
    watcher.look(now)
    found = watcher.findings[0]
    assert found.seen
    assert (found.cycles, found.absent_s) == (1, 21)
    assert math.isnan(found.score)


def test_nothing_is_seen_before_a_scrape_shows_it(api: Api) -> None:
    watcher = Watcher(api, time.time(), [Finding(Event(ZERO, 0, 0), SHOP)])
    watcher.look(time.time())
    assert math.isnan(watcher.findings[0].visible_s)
    assert not watcher.done()


def test_high_scores_are_listed_per_row_and_model_highest_first(servers: Servers, api: Api) -> None:
    now = time.time()
    servers.add("anomaly_score", {**SHOP_LABELS, "model": "robust_band"}, (now - 20, 1.5), (now - 10, 0.1))
    servers.add("anomaly_score", {**SHOP_LABELS, "model": "shesd"}, (now - 20, 2.5))
    servers.add("anomaly_score", {**SHOP_LABELS, "tenant": "search", "model": "shesd"}, (now - 20, 9.0))
    assert watch.high_scores(api, [SHOP], now - 30) == [(SHOP, "shesd", 2.5), (SHOP, "robust_band", 1.5)]
    assert watch.high_scores(api, [SHOP], now - 15) == []
