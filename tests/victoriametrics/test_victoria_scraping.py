"""What a real VictoriaMetrics and a real vmagent make of our page: every family, label and value arrives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from support.servers import free_port, scrape_of, target_showing, wait_until
from support.victoria import Server, flushed, scraping_in, seen, victoria_in, vmagent_in

from exporter.names import EXPECTED, FAMILIES, LOWER, SCORE, UPPER, VALUE
from exporter.publish.exposition import Page
from exporter.publish.label_text import LabelText, exported_labels
from exporter.publish.lines import render_rows
from exporter.publish.selfmetrics import SelfMetrics
from exporter.publish.web import Landing, Routes, WebServer

SOURCE = [
    {"__name__": "up", "job": "node", "instance": "10.0.0.1:9100"},
    {"job": "web", "query": "theirs", "path": 'C:\\dir\n"quoted"'},
    {"job": "日本語", "http_method": "GET", "instance": "a:1"},
    {"job": "odd", "text": "\t\r\x0b{}=,#~"},
]
NUMBERS = {
    SCORE: [0.0, 1.25, 3.0000000000000004, 1e-9],
    EXPECTED: [-0.0, 1e21, 123.456, 1.25e300],
    LOWER: [-math.inf, -1.5e-7, 0.1 + 0.2, 123456789012.0],
    UPPER: [math.inf, 2 / 3, 1e15, 1e16],
    VALUE: [math.nan, 42.0, -1e-5, 0.0001],
}
Key = tuple[str, tuple[tuple[str, str], ...]]


def made_page() -> Page:
    """A page with results and the self metrics of a query."""
    registry = CollectorRegistry()
    SelfMetrics(registry, ["timeout"]).register_unit("", "q", ["shesd"], 60)
    text, page = LabelText(), Page(registry)
    for row, source in enumerate(SOURCE):
        text.set_row(row, exported_labels(source, {"query": "q", "model": "shesd"}))
    rows = np.arange(len(SOURCE))
    for key, values in NUMBERS.items():
        page.put("/q", key, render_rows(FAMILIES[key].name.encode(), text, rows, np.array(values)))
    return page


PAGE = made_page()


def body(openmetrics: bool) -> bytes:
    return b"".join(PAGE.chunks(FAMILIES, openmetrics=openmetrics))


def expected(job: str) -> dict[Key, float]:
    """All samples of the page as they should be stored; where they carry none, with job and instance of the scrape."""
    found: dict[Key, float] = {}
    for family in text_string_to_metric_families(body(openmetrics=False).decode()):
        for sample in family.samples:
            own = {name: text for name, text in sample.labels.items() if text}
            labels = {"job": job, "instance": job, **own, "target": job}
            if not math.isnan(sample.value):
                found[sample.name, tuple(sorted(labels.items()))] = sample.value
    return found


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    """The port of our own web server with this page."""
    routes = Routes(
        lambda openmetrics, shard: PAGE.pieces(FAMILIES, openmetrics, shard),
        lambda: (True, "ready"), None, str, lambda: Landing("", [], [], []),
    )  # fmt: skip
    server = WebServer("127.0.0.1:0", routes)
    server.start()
    yield server.port
    server.stop()


def told_apart(job: str, port: int) -> dict[str, Any]:
    """A scrape config whose series say where they are from, also those that bring a job and an instance."""
    marked = [{"target_label": "target", "replacement": job}]
    return scrape_of(job, port, job, honor_labels=True, relabel_configs=marked)


@pytest.fixture(scope="module")
def stores(web: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Servers by what has scraped our page: the server itself, or a vmagent that writes to it."""
    folder = tmp_path_factory.mktemp("scraped")
    with target_showing(lambda _: body(openmetrics=True)) as openmetrics:
        ports = {"ours": web, "openmetrics": openmetrics, "nobody": free_port()}
        scrapes = [told_apart(job, port) for job, port in ports.items()]
        with (
            scraping_in(folder / "itself", scrapes) as itself,
            victoria_in(folder / "written") as written,
            vmagent_in(folder, scrapes, written.url),
        ):
            yield {"VictoriaMetrics": itself, "vmagent": written}


@pytest.mark.parametrize("scraper", ["VictoriaMetrics", "vmagent"])
@pytest.mark.parametrize("job", ["ours", "openmetrics"])
def test_every_sample_arrives(stores: dict[str, Server], scraper: str, job: str) -> None:
    url = stores[scraper].url
    scraped = f'count(count_over_time(up{{job="{job}"}}[1m]) >= 2)'
    wait_until(lambda: flushed(url, scraped), "it is scraped")
    wanted = expected(job)
    own = {key for key in wanted if ("instance", job) in key[1]}
    assert len(own) > 30
    for key, value in wanted.items():
        name, labels = key
        found = [had for have, had in seen(url, name_only(name)) if have == {"__name__": name, **dict(labels)}]
        assert len(found) == 1, key
        # Those of the process and of Python move on.
        assert not name.startswith("anomaly_") or math.isclose(found[0], value, rel_tol=1e-11), key


def name_only(name: str) -> str:
    return f'{{__name__="{name}"}}'


@pytest.mark.parametrize("scraper", ["VictoriaMetrics", "vmagent"])
def test_up_says_who_answers(stores: dict[str, Server], scraper: str) -> None:
    url = stores[scraper].url
    wait_until(lambda: len(flushed(url, "up")) == 3, "all are scraped")
    assert {labels["job"]: value for labels, value in seen(url, "up")} == {"ours": 1, "openmetrics": 1, "nobody": 0}
