"""The runbooks as the exporter serves them: where the alerts point to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.answering import answered
from support.browser import measured

from exporter import names
from exporter.publish.exposition import Page
from exporter.publish.landing import Landing
from exporter.publish.runbooks import runbook_html, runbook_names
from exporter.publish.web import Routes

ALERTS = list(names.ALERTS)
ELSEWHERE = ["", "Nothing", "../metrics", "..", "AnomalyDetected/", "AnomalyDetected.md", "a\x00b"]


def get(path: str) -> tuple[str, dict[str, str], str]:
    """Status, headers and text of a page."""
    routes = Routes(
        lambda openmetrics, shard: Page(None).pieces(names.FAMILIES, openmetrics, shard), lambda: (True, ""), None, str,
        lambda: Landing("", [], [], []),
    )  # fmt: skip
    status, headers, body = answered(routes, path)
    return status, headers, body.decode()


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_its_page(alert: str) -> None:
    status, headers, text = get(f"{names.PAGE_RUNBOOKS}/{alert}")
    assert status == "200 OK"
    assert headers["Content-Type"].startswith("text/html")
    assert "script-src" not in headers["Content-Security-Policy"]
    assert f"<h1>{alert}</h1>" in text
    assert [re.sub("<.*?>", "", head) for head in re.findall("<h2>.*?</h2>", text)][:2] == [
        "What it means", "First checks",
    ]  # fmt: skip


def test_the_list_leads_to_all_of_them() -> None:
    status, _, text = get(names.PAGE_RUNBOOKS)
    assert status == "200 OK"
    assert set(re.findall(rf'href="{names.PAGE_RUNBOOKS}/(\w+)"', text)) == set(ALERTS) == set(runbook_names())


@pytest.mark.parametrize(
    "name", ["", "Nothing", "../metrics", "..", "AnomalyDetected/", "AnomalyDetected.md", "a\x00b"]
)
def test_other_names_are_not_found_and_lead_nowhere(name: str) -> None:
    status, headers, text = get(f"{names.PAGE_RUNBOOKS}/{name}")
    assert status == "404 Not Found"
    assert headers["Content-Type"].startswith("text/plain")
    assert "AnomalyDetected" in text


def test_a_page_fits_a_phone(tmp_path: Path) -> None:
    html = runbook_html(names.ALERT_DETECTED)
    assert html is not None
    content, view, title = measured(html, tmp_path)
    assert content <= view == 360
    assert title.startswith(names.ALERT_DETECTED)
