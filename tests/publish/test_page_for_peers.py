"""What Prometheus 3 refuses and VictoriaMetrics forgives, our page does not have: each way in which scrapes were seen to fail.

Observed: without Content-Type, or with that of JSON, 3.12 takes the target for down; OpenMetrics without `# EOF`, CRLF, and an
unquoted label x-y are refused by 2.42 and 3.12; a quoted metric name by 2.42; a series given twice loses a value in
silence; a sample with an old timestamp is dropped in silence; VictoriaMetrics takes all of these.
"""

# ruff: noqa: E501
from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests
from support.pages import page_of, served

from exporter.names import SCORE, VALUE

ACCEPTS = {
    "Prometheus 2.42": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Prometheus 3.12": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "VictoriaMetrics": "text/plain;version=0.0.4;q=1,*/*;q=0.1",
    "nothing asked for": "",
}
TYPES = {
    "text/plain; version=0.0.4; charset=utf-8",
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
SOURCE = [
    {"__name__": "up", "job": "node", "instance": "10.0.0.1:9100"},
    {"job": "odd", "text": '\t\r\n\x0b{}=,#~ \\ "'},
    {"job": "日本語", "http.method": "GET", "x-y": "1"},
    {"__tenant_id__": "a", "job": "federated"},
    {"__tenant_id__": "b", "job": "federated"},
]
_LINE = re.compile(
    r'(?P<series>[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*\})?) \S+'
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    halves = [1.5 * row for row in range(len(SOURCE))]
    with served(page_of(SOURCE, {SCORE: halves, VALUE: halves})) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(params=ACCEPTS.values(), ids=ACCEPTS)
def scraped(address: str, request: pytest.FixtureRequest) -> requests.Response:
    return requests.get(f"{address}/metrics", headers={"Accept": request.param}, timeout=30)


def samples(scraped: requests.Response) -> list[str]:
    return [line for line in scraped.content.decode().split("\n") if line and not line.startswith("#")]


def test_it_says_what_it_is(scraped: requests.Response) -> None:
    assert scraped.headers["Content-Type"] in TYPES


def test_its_lines_end_as_they_must(scraped: requests.Response) -> None:
    body = scraped.content
    assert b"\r\n" not in body  # a lone one may stand within a label value
    assert body.endswith(b"\n")
    openmetrics = scraped.headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"\n# EOF\n") == openmetrics
    assert body.count(b"# EOF") == openmetrics


def test_names_need_no_quotes_and_samples_have_no_time(scraped: requests.Response) -> None:
    wrong = [line for line in samples(scraped) if not _LINE.fullmatch(line)]
    assert wrong == []
    assert len(samples(scraped)) > 2 * len(SOURCE)


def test_each_series_is_there_once(scraped: requests.Response) -> None:
    series = [line.rpartition(" ")[0] for line in samples(scraped)]
    assert len(series) == len(set(series))
    assert sum(one.startswith("anomaly_score{") for one in series) == len(SOURCE)
