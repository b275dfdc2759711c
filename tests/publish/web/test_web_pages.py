"""Every page in a real browser: what labels and errors hold runs nowhere, and the policy blocks nothing of ours."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from support.browser import dom, dom_and_refusals, serving
from support.markup import Markup
from support.webserver import Served, routes, served

from exporter.config import mask, parse
from exporter.errors import ConfigError, SourceRefused
from exporter.explain.desk import Desk
from exporter.explain.question import ExplainError, Question
from exporter.publish.landing import Landing, LandingRow, LandingUnit
from exporter.publish.web import Routes

HACK = "document.title='hacked';document.documentElement.dataset.hacked=1"
HOSTILE = [
    f"<script>{HACK}</script>",
    f"\"><script>{HACK}</script><img src=x onerror=\"{HACK}\">",
    f"'><svg onload={HACK.replace(' ', '')}>",
    f"</style></title></textarea></noscript><script>{HACK}</script>",
    f"javascript:{HACK}",
    "\u202egnp.exe\u2066 \ufeff\x00\x08\r\nSet-Cookie: a=b\r\n\r\n<h1>",
    "{{constructor.constructor('" + HACK + "')()}} ${" + HACK + "} <!-- --!> ]]> &lt;script&gt;",
    "x" * 64_000,
]  # fmt: skip


class Refuses:
    """Stands for an explainer that says what it was asked."""

    def explain(self, question: Question, now_s: float):
        candidates = [{f"label{n}": text for n, text in enumerate(HOSTILE[:5])}]
        raise ExplainError(f"no such series: {question.series} {HOSTILE[1]}", status=404, candidates=candidates)


def hostile_routes() -> Routes:
    units = [
        LandingUnit(text, f"q{n}", text, {"ok": 1, text[:50]: 2}, 1.0, f"{text}: HTTP 500 {text}", 1)
        for n, text in enumerate(HOSTILE)
    ]
    rows = [
        LandingRow(
            text, f"q{n}", {f"l{m}": other for m, other in enumerate(HOSTILE)}, 2.0, 1.0, 1.0, 0.5, 1.5, 3.0, text
        )
        for n, text in enumerate(HOSTILE)
    ]
    landing = Landing("1.2.3", units, rows, rows, explains=True, links=[("https://g.example/d", HOSTILE[1])],
                      config_hash=HOSTILE[0])  # fmt: skip
    desk = Desk(Refuses, lambda: list(HOSTILE), lambda: "hash")

    def reload() -> None:
        raise ConfigError(HOSTILE[1], (*_problems(),))

    made = routes(explain=desk.answer)
    return Routes(made.metrics, lambda: (False, f"no query could be read: {HOSTILE[1]}"), reload, _config_text,
                  lambda: landing, desk.answer)  # fmt: skip


def _problems():
    with pytest.raises(ConfigError) as caught:
        parse(f"source: {{url: {json.dumps(HOSTILE[1])}}}\n{json.dumps(HOSTILE[0])}: 1\n", "f.yml", {})
    return caught.value.problems


def _config_text() -> str:
    exprs = [f"m{{a={json.dumps(text[:200])}}}" for text in (HOSTILE[0], HOSTILE[1], HOSTILE[3])]
    queries = [{"name": f"q{n}", "expr": expr} for n, expr in enumerate(exprs)]
    return mask(parse(json.dumps({"source": {"url": "http://p"}, "queries": queries}), "f.yml", {}))


ECHO = quote(HOSTILE[1])
PATHS = [
    "/", f"/?{ECHO}", "/config", "/-/ready", "/runbooks", "/runbooks/AnomalyDetected", f"/runbooks/{ECHO}", f"/{ECHO}",
    f"/metrics?shard={ECHO}", f"/explain?query={ECHO}&series={ECHO}&tenant={ECHO}&model={ECHO}&at={ECHO}",
    f"/explain?query=q&series={{a={ECHO}}}&at=1h", f"/explain?format={ECHO}", f"/explain?at={ECHO}&at=2", "/explain",
    f"/explain?query=q&series={quote(HOSTILE[5])}", f"/explain?format=json&query={ECHO}&series={ECHO}",
]  # fmt: skip


@pytest.fixture(scope="module")
def web() -> Iterator[Served]:
    with served(hostile_routes()) as running:
        yield running


def _answers(web: Served) -> list[requests.Response]:
    found = [web.get(path) for path in PATHS]
    return [*found, requests.post(f"{web.url}/-/reload", timeout=30)]


def test_hostile_texts_run_nowhere_even_without_a_policy(web: Served, tmp_path: Path) -> None:
    """In a browser that is given the pages as they are, but no header that would hold a script back."""
    pages: dict[str, tuple[str, dict[str, str]]] = {}
    for number, answer in enumerate(_answers(web)):
        kind = answer.headers["Content-Type"]
        assert "charset=utf-8" in kind
        pages[f"/{number}"] = answer.text.replace("\x00", "") or " ", {"Content-Type": kind}
    pages["/proof"] = f"<title>t</title><script>{HACK}</script>", {}  # what a page would look like that is not safe
    frames = "".join(f'<iframe src="{path}"></iframe>' for path in pages)
    look = (
        "<script>addEventListener('load',()=>{const f=[...document.querySelectorAll('iframe')];"
        "document.body.textContent='HACKED '+f.map((x,i)=>x.contentDocument.documentElement.dataset.hacked?i:'')"
        ".filter(x=>x!=='').join(' ')+' OF '+f.filter(x=>x.contentDocument.body.textContent).length})</script>"
    )
    pages["/all"] = f"<!doctype html><body>{frames}{look}</body>", {}
    with serving(pages) as url:
        shown = dom(f"{url}/all", tmp_path)
    found = re.search(r"HACKED ([\d ]*) OF (\d+)", shown)
    assert found is not None, shown[-500:]
    assert found[1].split() == [str(len(PATHS) + 1)]  # the proof alone
    assert int(found[2]) >= len(PATHS)


def test_pages_hold_nothing_that_runs(web: Served) -> None:
    for answer in _answers(web):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script" not in policy
        if answer.headers["Content-Type"].startswith("text/html"):
            page = Markup(answer.text)
            if not answer.url.endswith(quote(HOSTILE[5])):  # there the form holds it, to be asked again
                assert not re.search("[\u202e\u2066\ufeff\x00\x08]", page.text)
            assert not {"script", "img", "iframe", "object", "embed", "base"}.intersection(page.tags)
            assert not [name for name, _ in page.attributes if name.startswith("on")]
            named = ("href", "src", "action", "formaction")
            links = [value or "" for name, value in page.attributes if name in named]
            assert not [link for link in links if not link.startswith(("/", "https://g.example/", "data:,", "#"))]
            assert len(answer.content) < 4_000_000


def test_the_policy_blocks_nothing_of_ours(web: Served, tmp_path: Path) -> None:
    for path in ("/", "/explain?query=q&series=%7B%7D&at=1h"):
        shown, refusals = dom_and_refusals(web.url + path, tmp_path)
        assert "anomaly-exporter" in html.unescape(shown)
        assert refusals == []
    broken = {"/": ("<p onclick='1'>x</p><script>1</script>", {"Content-Security-Policy": "default-src 'none'"})}
    with serving(broken) as url:
        assert dom_and_refusals(f"{url}/", tmp_path)[1]  # the search would find something


def test_errors_of_the_source_are_shown_as_text() -> None:
    class Fails:
        def explain(self, question: Question, now_s: float):
            raise SourceRefused(f"http://p: HTTP 400: {HOSTILE[1]}", reason="bad_query")

    answered = Desk(Fails, lambda: ["q"], lambda: "").answer("query=q&series={}&at=1h")
    assert answered.status == 502
    assert b"<script" not in answered.body
