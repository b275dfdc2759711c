"""The report as HTML: opened in a real Chromium without a network, with hostile labels, bounded, and without plotly."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support.backtest_reports import HOSTILE, report, result
from support.backtests import made_walk

from exporter.backtest.document import document
from exporter.backtest.page import MOST_ALL_CHARTS, MOST_CHARTS, MOST_ROWS, page
from exporter.backtest.summary import lines
from exporter.backtest.testing import Asked
from exporter.backtest.testing import tested as backtested
from exporter.config.schema import Query
from exporter.models.settings import RobustBandSettings


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def opened(path: Path, script: str, wide: int) -> str:
    """What Chromium makes of a page: the document after `script`, and its console."""
    if not shutil.which("chromium"):
        pytest.fail("chromium is needed: apt-get install chromium")
    text = path.read_text()
    asked = f"<script>addEventListener('load', () => setTimeout(() => {{{script}}}, 500))</script></body>"
    path.with_suffix(".test.html").write_text(text.replace("</body>", asked))
    done = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         f"--user-data-dir={path.parent}/profile", "--host-resolver-rules=MAP * ~NOTFOUND",
         "--virtual-time-budget=20000", f"--window-size={wide},4000", "--enable-logging=stderr", "--dump-dom",
         path.with_suffix(".test.html").as_uri()],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console, console
    return done.stdout


@pytest.mark.parametrize("wide", [1200, 500])
def test_it_opens_offline_and_draws(tmp_path, wide):
    text, lack = page(report(result()))
    assert lack == ""
    path = tmp_path / "report.html"
    path.write_bytes(text.encode("utf-8", "replace"))
    tell = (
        "document.body.dataset.told = JSON.stringify({title: document.title, "
        "bold: document.querySelectorAll('b').length, "
        "images: document.images.length, charts: document.querySelectorAll('[data-chart]').length,"
        "drawn: [...document.querySelectorAll('[data-drawn]')]"
        ".filter(d => d.querySelector('.scatterlayer path')).length, "
        "wide: document.documentElement.scrollWidth - innerWidth})"
    )
    seen = json.loads(unescape(re.search(r'data-told="([^"]*)"', opened(path, tell, wide)).group(1)))
    assert seen["title"] == "Backtest"
    assert (seen["bold"], seen["images"]) == (0, 0)
    assert seen["charts"] == 1 + MOST_CHARTS
    assert seen["drawn"] >= 5
    assert seen["wide"] <= 0


def test_it_is_only_itself(tmp_path):
    """No address is loaded, and what others have said is text."""
    text, _ = page(report(result()))
    tags = Tags()
    tags.feed(text)
    attributes = {name for tag in tags.found for name, _ in tag[1]}
    assert attributes <= {
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "id",
        "href",
        "data-chart",
        "type",
    }
    assert {value[:1] for tag in tags.found for name, value in tag[1] if name == "href"} == {"#"}
    assert {tag for tag, _ in tags.found} <= {
        "html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "h3", "p", "pre",
        "code", "ul", "li", "div", "table", "thead", "tbody", "tr", "th", "td", "a", "details", "summary", "figure",
        "figcaption", "script",
    }  # fmt: skip
    assert sum(tag == "script" for tag, _ in tags.found) == 3
    assert "default-src 'none'" in text
    for hostile in HOSTILE[:5]:
        assert hostile not in text
    assert "\u202e" not in text
    assert "\x07" not in text
    assert len(text) < 8 << 20


def test_it_is_bounded_and_says_what_is_left_out(tmp_path):
    many = [result(60, 8, name=f"q{i}") for i in range(5)]
    text, _ = page(report(*many))
    assert len(text) < 16 << 20
    assert text.count('<div class="chart" ') == MOST_ALL_CHARTS
    assert text.count("<tr>") < 5 * (MOST_ROWS + 200)
    assert f"{MOST_ROWS} of 480; {480 - MOST_ROWS} episodes left out" in text
    assert f"{MOST_CHARTS} of 480; {480 - MOST_CHARTS} charts left out" in text
    assert "0 of 480; 480 charts left out" in text


def test_without_plotly_there_are_tables_and_the_reason(tmp_path):
    code = (
        "import sys; sys.modules['plotly'] = sys.modules['plotly.offline'] = None\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1])]!r}\n"
        "from support.backtest_reports import report, result\nfrom exporter.backtest.page import page\n"
        "text, lack = page(report(result()))\n"
        "print(lack, '<script' in text, 'Episodes' in text, lack.split(':')[0] in text)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "a report with charts needs the package plotly, which is not installed: "
        "pip install 'anomaly-exporter[report]' False True True"
    )


def test_a_quiet_query_has_no_charts():
    scores = {"robust_band": np.full((2, 2016), 0.1)}
    walk = made_walk(Query("quiet", "q", (RobustBandSettings(),)), scores)
    text, _ = page(report(backtested(walk, Asked())))
    assert "No alert." in text
    assert '<div class="chart' not in text


def test_the_terminal_shows_nothing_that_moves_it():
    shown = "\n".join(lines(report(result())))
    assert all(c.isprintable() or c == "\n" for c in shown.split("to keep the budget")[0])
    assert "27 of" not in shown
    assert "the worst 5 of 27:" in shown
    assert "cpu: FAILED:" in shown
    assert max(map(len, shown.splitlines())) < 400


def test_json_has_all_numbers():
    one = result()
    made = json.loads(json.dumps(document(report(one)), allow_nan=False))
    (query,) = made["queries"]
    assert (query["alerts"], query["storms"], query["pages"], query["series"]) == (27, 0, 27, 9)
    assert query["alerts_per_week"] == pytest.approx(27 / (2016 * 300 / 604_800))
    assert query["alerts_per_series_week"] == pytest.approx(3 / (2016 * 300 / 604_800), rel=1e-3)
    worst = query["episodes"][0]
    assert (worst["score"], worst["direction"], worst["value"]) == (10.0, "above", 200.0)
    assert (worst["end"] - worst["start"], worst["peak"]) == (900, worst["start"])
    assert worst["series"]["host"] == HOSTILE[8]
    assert query["incidents"]["hits"] == 1
    assert query["incidents"]["missed"][0]["where"] == HOSTILE[1]
    assert query["budget"]["sensitivity"] > 1
    assert made["failed"][0]["query"] == "cpu"
    assert sorted(made["total"]) == ["alerts", "pages", "samples", "series", "slow_alerts", "storms"]
