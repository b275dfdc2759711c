"""A backtest as one HTML file that needs nothing else: tables, and charts where plotly is installed.

Whatever a series, a query or a server says is escaped, and a content security policy keeps the page from loading
anything or talking to anybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from exporter import __version__
from exporter.backtest.charts import firing, surroundings
from exporter.backtest.document import Report
from exporter.backtest.episodes import Episode, Storm
from exporter.backtest.faults import BacktestError, optional
from exporter.backtest.incidents import Met
from exporter.backtest.shown import band_text, labels_text, lasting, number_text, rate_text, time_text, visible
from exporter.backtest.testing import Tested
from exporter.config.durations import format_duration

MOST_ROWS = 200  # of a table
MOST_CHARTS = 20  # of a query
MOST_ALL_CHARTS = 60

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def plotly_script() -> str:
    """The script that draws. Raises BacktestError where plotly is not installed."""
    plotly = optional("plotly.offline", what="a report with charts", extra="report")
    script: str = plotly.get_plotlyjs()
    return script.replace("</script", "<\\/script")


def page(report: Report) -> tuple[str, str]:
    """The page of a report, and what to know about it: why there are no charts; empty where there are."""
    try:
        script, lack = plotly_script(), ""
    except BacktestError as error:
        script, lack = "", str(error)
    data: dict[str, Any] = {}
    body = "\n".join(_body(report, data if script else None, lack))
    return _html(body, script, data), lack


def _html(body: str, script: str, data: dict[str, Any]) -> str:
    room = files("exporter.backtest").joinpath("assets")
    style = room.joinpath("report.css").read_text("utf-8")
    charts = (
        f"<script>{script}</script>\n{_data(data)}\n<script>{room.joinpath('report.js').read_text('utf-8')}</script>"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Backtest</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n"
        f"{charts if script else ''}\n</body>\n</html>\n"
    )


def _data(data: dict[str, Any]) -> str:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="charts">{text}</script>'


def _body(report: Report, data: dict[str, Any] | None, lack: str) -> Iterator[str]:
    span = report.span
    yield "<header><h1>Backtest</h1>"
    yield _text(
        "p", f"{time_text(span.start_s)} to {time_text(span.end_s)}, {span.weeks * 7:.3g} days, {report.source}"
    )
    yield _text(
        "p",
        f"{report.config_file} ({report.config_hash}), anomaly-exporter {__version__}, {time_text(report.made_s)}; "
        "all times are UTC",
        "quiet",
    )
    yield "</header><main>"
    yield from _notes([*report.remarks, *([lack] if lack else [])])
    yield from _overview(report)
    yield from _edit(report)
    left = MOST_ALL_CHARTS
    for number, one in enumerate(report.found):
        charts = min(MOST_CHARTS, left)
        left -= min(charts, len(one.episodes))
        yield from _query(number, one, data, charts)
    for failed in report.failed:
        yield f"<section>{_text('h2', failed.key)}{_text('p', 'Failed: ' + failed.error, 'bad')}</section>"
    yield "</main>"


def _overview(report: Report) -> Iterator[str]:
    heads = ["query", "series", "alerts", "a week", "per series and week", "storms", "pages", "pages a week"]
    judged = any(one.met is not None for one in report.found)
    rows = []
    for number, one in enumerate(report.found):
        cells = [
            f'<a href="#q{number}">{_shown(one.walk.key)}</a>', f"{len(one.walk.labels):,}",
            f"{len(one.alerts.single):,}", rate_text(one.per_week), rate_text(one.per_series_week),
            f"{len(one.alerts.storms.firings):,}", f"{one.alerts.pages:,}", rate_text(one.pages_per_week),
        ]  # fmt: skip
        if judged:
            cells += (
                [f"{one.met.hits} of {len(one.met.incidents)}", f"{one.met.false_alerts:,}"] if one.met else ["", ""]
            )
        rows.append(cells)
    yield _table([*heads, *(["hits", "false alerts"] if judged else [])], rows)


def _query(number: int, one: Tested, data: dict[str, Any] | None, charts: int) -> Iterator[str]:
    walk, alert = one.walk, one.walk.query.alert
    yield f'<section id="q{number}">{_text("h2", walk.key)}'
    yield f"<pre>{_shown(walk.query.expr)}</pre>"
    yield _text(
        "p",
        f"{len(walk.labels):,} series, {int(walk.judged.sum()):,} samples judged at sensitivity "
        f"{walk.query.sensitivity:g}. Alert on {alert.model}, look-back {format_duration(alert.lookback_s * 1000)}, "
        f"for {format_duration(alert.for_s * 1000)}; storm from {alert.min_share:.0%} and {alert.min_series} series.",
        "quiet",
    )
    yield from _notes(one.remarks)
    if one.met is not None:
        yield from _met(one.met)
    yield from _budget(one)
    yield from _alerts(number, one, data, charts) if one.episodes else (_text("p", "No alert."),)
    yield from _slow(one)
    yield "</section>"


def _alerts(number: int, one: Tested, data: dict[str, Any] | None, charts: int) -> Iterator[str]:
    if data is not None:
        data[f"t{number}"] = {"kind": "firing", **firing(one)}
        yield f'<h3>Alerts that fire</h3><div class="chart low" data-chart="t{number}"></div>'
    yield from _storms(one.storms, len(one.alerts.storms.firings))
    yield from _charts(number, one, data, charts)
    yield from _episodes(one)


def _slow(one: Tested) -> Iterator[str]:
    """The alerts of slow signals, which warn beside the pages."""
    for signal in one.slow:
        shown = signal.episodes[:MOST_ROWS]
        yield f"<h3>Slow signal: {_shown(signal.signal)}</h3>{_left_out(len(shown), signal.alerts, 'alerts')}"
        rows = [
            [time_text(each.start_s), lasting(each.start_s, each.end_s), time_text(each.peak_s),
             number_text(each.score), number_text(each.value), f"<code>{_shown(labels_text(each.labels))}</code>"]
            for each in shown
        ]  # fmt: skip
        heads = ["start", "lasted", "peak", "score", "value", "series"]
        yield _table(heads, rows, text_from=5) if rows else _text("p", "No alert.")


def _episodes(one: Tested) -> Iterator[str]:
    shown = one.episodes[:MOST_ROWS]
    yield f"<h3>Episodes, the worst first</h3>{_left_out(len(shown), len(one.alerts.single), 'episodes')}"
    heads = ["start", "lasted", "peak", "score", "value", "band", "direction", "series"]
    yield _table(heads, [_cells(each) for each in shown], text_from=6)


def _cells(one: Episode) -> list[str]:
    texts = (
        time_text(one.start_s), lasting(one.start_s, one.end_s), time_text(one.peak_s), number_text(one.score),
        number_text(one.value), band_text(one), one.direction + (" (in a storm)" if one.muted else ""),
    )  # fmt: skip
    return [*map(escape, texts), f"<code>{_shown(labels_text(one.labels))}</code>"]


def _storms(storms: Sequence[Storm], count: int) -> Iterator[str]:
    if not storms:
        return
    shown = storms[:MOST_ROWS]
    yield f"<h3>Storms</h3>{_left_out(len(shown), count, 'storms')}"
    rows = [
        [time_text(one.start_s), lasting(one.start_s, one.end_s), f"{one.most:,} of {one.of:,}",
         _shown(labels_text(one.labels)) if one.labels else "all"]
        for one in shown
    ]  # fmt: skip
    yield _table(["start", "lasted", "series at once", "group"], rows, text_from=3)


def _charts(number: int, one: Tested, data: dict[str, Any] | None, charts: int) -> Iterator[str]:
    if data is None or not one.walk.kept.whole:
        return
    chosen = one.episodes[:charts]
    yield f"<h3>The worst of them</h3>{_left_out(len(chosen), len(one.alerts.single), 'charts')}<div class=charts>"
    for place, episode in enumerate(chosen):
        name = f"e{number}-{place}"
        data[name] = {"kind": "episode", **surroundings(one.walk, episode)}
        yield (
            f"<figure><figcaption><code>{_shown(labels_text(episode.labels))}</code> "
            f"{escape(time_text(episode.start_s))}, {escape(lasting(episode.start_s, episode.end_s))}, "
            f"score {escape(number_text(episode.score))}, {escape(episode.direction)}: "
            f"{escape(number_text(episode.value))}, band {escape(band_text(episode))}</figcaption>"
            f'<div class="chart" data-chart="{name}"></div></figure>'
        )
    yield "</div>"


def _met(met: Met) -> Iterator[str]:
    yield "<h3>Incidents</h3>"
    delays = "" if not met.hits else (
        f"; delay {_duration(met.median_delay_s())} in the median, {_duration(met.worst_delay_s())} at worst"
    )  # fmt: skip
    yield _text("p", f"{met.hits} of {len(met.incidents)} hit{delays}; {met.false_alerts:,} alerts met no incident.")
    shown = list(zip(met.incidents, met.hit.tolist(), met.delay_s.tolist(), strict=True))
    shown.sort(key=lambda row: row[1])
    rows = [
        [time_text(one.start_s), time_text(one.end_s), "hit after " + _duration(delay_s) if hit else "missed",
         _shown(labels_text(dict(one.labels))) if one.labels else "any"]
        for one, hit, delay_s in shown[:MOST_ROWS]
    ]  # fmt: skip
    if rows:
        yield _left_out(len(rows), len(shown), "incidents")
        yield _table(["start", "end", "", "series"], rows, text_from=2)


def _duration(duration_s: float | None) -> str:
    return "-" if duration_s is None else format_duration(round(duration_s) * 1000)


def _budget(one: Tested) -> Iterator[str]:
    proposal = one.proposal
    if proposal is None:
        return
    told = {True: f"sensitivity {proposal.sensitivity} keeps it", False: "it is kept"}[proposal.changes]
    told = "no sensitivity up to 10 keeps it" if proposal.sensitivity is None else told
    yield f"<h3>Budget</h3>{_text('p', f'{proposal.pages:,} pages, {proposal.allowed:.3g} allowed: {told}.')}"
    rows = [[f"{factor:g}", f"{pages:,}"] for factor, pages in proposal.table]
    yield f"<details><summary>Pages by sensitivity</summary>{_table(['sensitivity', 'pages'], rows)}</details>"


def _edit(report: Report) -> Iterator[str]:
    if report.diff or report.snippet:
        yield _text("h2", f"To keep {report.budget}") + f"<pre>{_shown_lines(report.diff or report.snippet)}</pre>"


# -- pieces ------------------------------------------------------------------------------------------------------------


def _shown(text: str) -> str:
    return escape(visible(text))


def _shown_lines(text: str) -> str:
    return "\n".join(_shown(line) for line in text.split("\n"))


def _text(tag: str, text: str, kind: str = "") -> str:
    return f"<{tag}{f' class={kind}' if kind else ''}>{_shown(text)}</{tag}>"


def _notes(notes: Iterable[str]) -> Iterator[str]:
    told = "".join(_text("li", note) for note in notes)
    if told:
        yield f"<ul class=notes>{told}</ul>"


def _left_out(shown: int, count: int, what: str) -> str:
    return _text("p", f"{shown:,} of {count:,}; {count - shown:,} {what} left out.", "quiet") if shown < count else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], text_from: int = 1_000) -> str:
    """A table of cells that are HTML already; the first column and those from `text_from` on are text."""

    def kind(i: int) -> str:
        return "" if i == 0 or i >= text_from else " class=number"

    head = "".join(f"<th{kind(i)}>{escape(text)}</th>" for i, text in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{kind(i)}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
