"""The explanation as a page: works without internet and without scripts, on a phone, in light and dark, on paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from exporter.explain import words
from exporter.explain.chart import SIZES, Point, chart
from exporter.explain.explainer import Explanation
from exporter.explain.question import ExplainError, Question
from exporter.explain.recording import without_name
from exporter.explain.timeline import DAY_S, Timeline
from exporter.publish.explain_link import explain_path, selector_text
from exporter.publish.style import document, section, shown_labels, shown_lines, visible

_HEAD = (
    '<h1><a href="/">anomaly-exporter</a></h1><span class="soft">why this verdict?</span>'
    '<nav><a href="/">Overview</a><a href="/metrics">Metrics</a><a href="/config">Config</a></nav>'
)
_FOOT = (
    "Read from the source anew and judged once more, with the same fit and policy. A score of 1 is the edge of the"
    " band, above 1 is outside. Times are UTC."
)
_KEY = (
    '<p class="key"><span>{value}value</span><span>{band}band</span><span>{expected}expected</span>'
    "<span>{out}score above 1</span><span>below: score, with 1 dashed</span></p>"
)
_BAR_WIDTH = 140
_MOST_TEXT = 2000  # characters of what was asked that an error page repeats


def explanation_html(told: Explanation) -> str:
    """The page of one explanation."""
    title = f"{words.headline(told)} - {told.query.name}"
    body = _verdict(told) + _sentences(told) + _charts(told) + _score(told) + _basis(told) + _published(told)
    return document(title, _HEAD, body + _again(told), _FOOT)


def error_html(error: ExplainError, question: Question, queries: Sequence[str]) -> str:
    """The page for a question without an answer: what is wrong, what may have been meant, and the question again."""
    candidates = "".join(f"<li>{_candidate(question, labels)}</li>" for labels in error.candidates)
    listed = f"<ul>{candidates}</ul>" if candidates else ""
    kind = "odd" if error.status < 500 else "bad"
    title = {503: "Busy", 502: "The source does not answer", 504: "The source does not answer in time"}
    heading = title.get(error.status, "Nothing to explain")
    body = f'<p class="verdict {kind}">{heading}</p><div class="card"><p>{shown_lines(str(error))}</p>{listed}</div>\n'
    return document(f"{heading} - anomaly-exporter", _HEAD, body + section("Ask", form(question, queries)), _FOOT)


def form(question: Question, queries: Sequence[str]) -> str:
    """Ask for the explanation of a series."""
    if 0 < len(queries) <= 200:
        options = "".join(
            f"<option{' selected' if name == question.query else ''}>{escape(visible(name))}</option>"
            for name in queries
        )
        chosen = f'<select name="query">{options}</select>'
    else:
        chosen = _input("query", question.query)
    series = _input("series", question.series, '{job="api",instance="a:80"}')
    tenant = f"<label>tenant{_input('tenant', question.tenant)}</label>" if question.tenant else ""
    return (
        f'<form action="/explain" method="get"><label>query{chosen}</label>{tenant}'
        f'<label class="wide">series, by its labels{series}</label>'
        f"<label>time (2h ago: 2h; empty: now){_input('at', question.at)}</label>"
        '<button type="submit">Explain</button></form>'
    )


def _input(name: str, value: str, hint: str = "") -> str:
    shown = escape(value[:_MOST_TEXT])
    return f'<input name="{name}" value="{shown}" placeholder="{escape(hint)}" autocomplete="off" spellcheck="false">'


def _candidate(question: Question, labels: Mapping[str, str]) -> str:
    own = without_name(labels)
    path = explain_path(question.query, own, tenant=question.tenant, model=question.model, at=question.at)
    return f'<a href="{escape(path)}"><code>{shown_labels(selector_text(own))}</code></a>'


# --- the verdict ------------------------------------------------------------------------------------------------------


def _verdict(told: Explanation) -> str:
    score = told.verdict.score
    kind = "odd" if words.headline(told).startswith("No") else "bad" if score > 1 else "ok"
    owner = f"{escape(visible(told.tenant))} / " if told.tenant else ""
    labels = shown_labels(selector_text(without_name(told.labels)))
    return (
        f'<p class="verdict {kind}">{escape(words.headline(told))}</p>'
        f"<p>{owner}<b>{escape(visible(told.query.name))}</b> <code class=long>{labels}</code>"
        f'<span class="soft">{escape(_about(told))}</span> {_models(told)}</p>'
    )


def _about(told: Explanation) -> str:
    return f"{words.judged(told)}, state {told.state or 'none'}."


def _models(told: Explanation) -> str:
    """The scores of the other models, with links to their explanations, and those of the slow signals."""
    shown = []
    for model, numbers in told.numbers.items():
        if model != told.model and not math.isnan(numbers.score):
            shown.append(f'<a href="{escape(_path(told, model=model))}">{escape(model)}: {numbers.score:.3g}</a>')
    shown += [f"{name}: {score:.3g}" for name, score in told.signals.items() if not math.isnan(score)]
    return f'<span class="soft">Beside it: {", ".join(shown)}.</span>' if shown else ""


def _path(told: Explanation, *, model: str = "", at_s: float = math.nan) -> str:
    at = f"{told.asked_s if math.isnan(at_s) else at_s:.0f}"
    return explain_path(
        told.query.name, without_name(told.labels), tenant=told.tenant, model=model or told.model, at=at
    )


def _sentences(told: Explanation) -> str:
    remarks = "".join(f'<p class="soft">{escape(visible(text))}</p>' for text in told.remarks)
    return f'<div class="card">{"".join(f"<p>{escape(text)}</p>" for text in words.sentences(told))}{remarks}</div>\n'


# --- the charts -------------------------------------------------------------------------------------------------------


def _charts(told: Explanation) -> str:
    point = Point(told.judged_s, told.value, told.verdict.score, told.verdict.lower, told.verdict.upper)
    shown = point if math.isfinite(told.judged_s) else None
    end_s = float(told.timeline.times_s[-1]) if len(told.timeline.times_s) else told.cycle_s
    day = told.timeline.since(end_s - DAY_S)
    parts = [_chart("The last day", day, shown), _chart("The window", told.timeline, shown, short=told.one_window)]
    return "".join(parts)


def _chart(title: str, timeline: Timeline, point: Point | None, *, short: bool = False) -> str:
    drawn = "".join(chart(timeline, point, size, title) for size in SIZES)
    if not drawn:
        return ""
    note = '<p class="soft">Only one window was read: earlier bands had more history than here.</p>' if short else ""
    return section(title, f"{drawn}{_key()}{note}")


def _key() -> str:
    def mark(inner: str) -> str:
        return f'<svg width="22" height="10" aria-hidden="true">{inner}</svg>'

    return _KEY.format(
        value=mark('<path class="value" d="M1 5H21"/>'), band=mark('<path class="band" d="M1 1H21V9H1Z"/>'),
        expected=mark('<path class="expected" d="M1 5H21"/>'), out=mark('<path class="dots" d="M11 5h0"/>'),
    )  # fmt: skip


# --- why --------------------------------------------------------------------------------------------------------------


def _score(told: Explanation) -> str:
    parts = words.shares(told)
    if not parts:
        return ""
    most = max(abs(share) for _, _, share in parts)
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(meaning)}</td>"
        f'<td class="n" data-name="of the score">{share:+.3g}</td><td>{_bar(share / most)}</td></tr>'
        for name, meaning, share in parts
    )
    total = (
        f'<tr><th scope=row>score</th><td>of the model</td><td class="n">{told.of_model.score:.3g}</td><td></td></tr>'
    )
    return section("What makes up the score", f"<table><tbody>{rows}{total}</tbody></table>")


def _bar(share: float) -> str:
    kind = "score-bar" if share >= 0 else "score-bar less"
    width = max(2.0, abs(share) * _BAR_WIDTH)
    return (
        f'<svg width="{_BAR_WIDTH}" height="10" aria-hidden="true"><rect class="{kind}" y="1" width="{width:.1f}"'
        ' height="8" rx="2"/></svg>'
    )


def _basis(told: Explanation) -> str:
    if math.isnan(told.verdict.score):
        return ""
    rows = "".join(_row(name, text) for name, text in words.basis(told))
    rows += "".join(_row("policy", text) for text in words.policy(told))
    return section("What it rests on", f"<table><tbody>{rows}</tbody></table>")


def _row(name: str, text: str) -> str:
    return f"<tr><th scope=row>{escape(name)}</th><td>{escape(text)}</td></tr>"


def _published(told: Explanation) -> str:
    lines = [words.agreement(told), words.hashes(told)]
    lines.append(f"read as {visible(told.expr)}")
    return section("Is this what was published?", "".join(f"<p>{escape(line)}</p>" for line in lines))


def _again(told: Explanation) -> str:
    times = [("an hour before", 3600), ("a day before", DAY_S), ("a week before", 7 * DAY_S)]
    links = [f'<a href="{escape(_path(told, at_s=told.cycle_s - back))}">{text}</a>' for text, back in times]
    now = explain_path(told.query.name, without_name(told.labels), tenant=told.tenant, model=told.model)
    links += [f'<a href="{escape(now)}">now</a>', f'<a href="{escape(_path(told) + "&format=json")}">as JSON</a>']
    series = visible(selector_text(without_name(told.labels)))  # its escapes mean the same in a selector
    question = Question(told.query.name, series, told.tenant, told.model)
    return (
        f'<section class="noprint"><h2>Ask again</h2><div class="card"><p>{_joined(links)}</p>'
        f"{form(question, [told.query.name])}</div></section>"
    )


def _joined(parts: Iterable[str]) -> str:
    return " &middot; ".join(parts)
