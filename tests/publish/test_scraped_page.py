"""The whole page as others read it: promtool, prometheus_client's parsers, and a real Prometheus that scrapes it."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.pages import ADDED, page_of, served
from support.servers import prometheus_in, scrape_of

from exporter.names import EXPECTED, FAMILIES, LOWER, SCORE, UPPER, VALUE
from exporter.publish.exposition import Page
from exporter.publish.label_text import exported_labels

PATIENCE_S = 60

SOURCE = [
    {"__name__": "up", "job": "node", "instance": "10.0.0.1:9100"},
    {"job": "web", "query": "theirs", "path": 'C:\\dir\n"quoted"'},
    {"job": "日本語", "http.method": "GET", "empty": ""},
    {"job": "odd", "text": "\t\r\x0b{}=,#~"},
]
NUMBERS = {
    SCORE: [0.0, 1.25, 3.0000000000000004, 1e-9],
    EXPECTED: [-0.0, 1e21, 5e-324, 1.7976931348623157e308],
    LOWER: [-math.inf, -1.5e-7, 0.1 + 0.2, 123456789012345680.0],
    UPPER: [math.inf, 2 / 3, 1e15, 1e16],
    VALUE: [math.nan, 42.0, -1e-5, 0.0001],
}


def wanted(key: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Values by labels, as every reader must find them."""
    labels = [exported_labels(source, ADDED) for source in SOURCE]
    return {own: value for own, value in zip(labels, NUMBERS[key], strict=True) if not math.isnan(value)}


@pytest.fixture(scope="module")
def page() -> Page:
    return page_of(SOURCE, NUMBERS)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_prometheus_clients_parsers_find_every_value(page: Page, openmetrics: bool) -> None:
    body = b"".join(page.chunks(FAMILIES, openmetrics=openmetrics)).decode()
    families = {family.name: family for family in (parse_openmetrics if openmetrics else parse_text)(body)}
    for key in NUMBERS:
        family = families[FAMILIES[key].name]
        assert family.type == "gauge"
        assert {tuple(sorted(s.labels.items())): s.value for s in family.samples} == wanted(key)
    assert families["anomaly_exporter_cycles"].type == "counter"


def test_promtool_has_nothing_to_say(page: Page) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    body = b"".join(page.chunks(FAMILIES, openmetrics=False))
    done = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- a real Prometheus --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prometheus(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that scrapes the page once a second."""
    with served(page) as port:
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [scrape_of("ours", port, honor_labels=True)],
        }
        with prometheus_in(tmp_path_factory.mktemp("prometheus"), config) as url:
            yield url


def ask(url: str, query: str) -> list[dict]:
    """The answer of an instant query, once there is one."""
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        try:
            answer = requests.get(f"{url}/api/v1/query", {"query": query}, timeout=10).json()["data"]["result"]
        except (requests.ConnectionError, requests.JSONDecodeError):
            answer = []
        if answer:
            return list(answer)
        time.sleep(0.2)
    raise AssertionError(f"no answer to {query} within {PATIENCE_S} s")


@pytest.mark.parametrize("key", list(NUMBERS))
def test_prometheus_stores_every_value_exactly(prometheus: str, key: str) -> None:
    found = {}
    for series in ask(prometheus, FAMILIES[key].name):
        labels = {name: text for name, text in series["metric"].items() if name not in ("__name__", "instance")}
        if series["metric"].get("instance") == "10.0.0.1:9100":
            labels["instance"] = "10.0.0.1:9100"  # the source's own; others have our scrape target's
        found[tuple(sorted(labels.items()))] = float(series["value"][1])
    assert found == wanted(key)


def test_prometheus_finds_the_target_healthy_and_every_sample(prometheus: str) -> None:
    ask(prometheus, 'up{job="ours"} == 1')
    own = ask(prometheus, 'anomaly_exporter_cycles_total{query="q",outcome="ok"}')
    assert own[0]["value"][1] == "0"
    kept = ask(prometheus, 'scrape_samples_post_metric_relabeling{job="ours"} / scrape_samples_scraped{job="ours"} > 0')
    assert kept[0]["value"][1] == "1"
