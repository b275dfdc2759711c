"""A backtest on a terminal: some lines per query, the worst episodes, what the budget means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from exporter.backtest.document import Report
from exporter.backtest.episodes import Episode
from exporter.backtest.incidents import Met
from exporter.backtest.shown import band_text, labels_text, lasting, number_text, rate_text, time_text, visible
from exporter.backtest.slow import Slow
from exporter.backtest.testing import Tested
from exporter.config.durations import format_duration

Say = Callable[[str], None]

_WORST = 5
_MISSED = 5
_SLOWEST = 3
_TABLED = 7
_LABEL_CHARS = 70


def summarise(report: Report, say: Say) -> None:
    """Print a report."""
    for line in lines(report):
        say(line)


def lines(report: Report) -> Iterator[str]:
    """The lines of a report."""
    span = report.span
    yield f"{time_text(span.start_s)} to {time_text(span.end_s)} ({span.weeks * 7:.3g} days), {visible(report.source)}"
    yield from (f"note: {visible(remark)}" for remark in report.remarks)
    for one in report.found:
        yield ""
        yield from _query(one)
    for failed in report.failed:
        yield ""
        yield f"{failed.key}: FAILED: {visible(failed.error)}"
    yield from _edit(report)


def _query(one: Tested) -> Iterator[str]:
    walk, alerts = one.walk, one.alerts
    yield f"{walk.key}: {len(walk.labels):,} series, {int(walk.judged.sum()):,} samples judged"
    yield (
        f"  alerts   {len(alerts.single):,}: {rate_text(one.per_week)} a week, "
        f"{rate_text(one.per_series_week)} per series and week"
    )
    muted = int(alerts.muted.sum())
    yield f"  storms   {len(alerts.storms.firings):,}" + (f", which mute {muted:,} of the alerts" if muted else "")
    yield f"  pages    {alerts.pages:,}: {rate_text(one.pages_per_week)} a week (storms, and alerts outside them)"
    if one.met is not None:
        yield from _met(one.met)
    yield from _worst(one.episodes[:_WORST], len(alerts.single))
    yield from _slow(one.slow)
    yield from _budget(one)
    yield from (f"  note: {visible(remark)}" for remark in one.remarks)


def _met(met: Met) -> Iterator[str]:
    if not met.incidents:
        yield "  incidents  none is about this query"
        return
    median_s, worst_s = met.median_delay_s(), met.worst_delay_s()
    delay = f", delay {_short(median_s)} (median), {_short(worst_s)} (worst)" if met.hits else ""
    yield f"  incidents  {met.hits} of {len(met.incidents)} hit{delay}; {met.false_alerts:,} false alerts"
    missed = [one for one, hit in zip(met.incidents, met.hit, strict=True) if not hit]
    for one in missed[:_MISSED]:
        about = labels_text(dict(one.labels), _LABEL_CHARS) if one.labels else ""
        yield f"    missed {time_text(one.start_s)} to {time_text(one.end_s)} {about} ({visible(one.where)})"
    if len(missed) > _MISSED:
        yield f"    missed, too: {len(missed) - _MISSED:,} more"


def _short(duration_s: float | None) -> str:
    return "-" if duration_s is None else format_duration(round(duration_s) * 1000)


def _worst(episodes: Sequence[Episode], count: int) -> Iterator[str]:
    if not episodes:
        return
    yield f"  the worst {len(episodes)} of {count:,}:" if count > len(episodes) else "  all of them:"
    for one in episodes:
        yield (
            f"    {time_text(one.start_s)}  {lasting(one.start_s, one.end_s):>12}  score {number_text(one.score):>5}  "
            f"{one.direction:<7}  {number_text(one.value)} (band {band_text(one)})  "
            f"{labels_text(one.labels, _LABEL_CHARS)}"
        )


def _slow(signals: Sequence[Slow]) -> Iterator[str]:
    for signal in signals:
        yield f"  slow     {signal.signal}: {signal.alerts:,} alerts, beside the pages"
        for one in signal.episodes[:_SLOWEST]:
            yield (
                f"    {time_text(one.start_s)}  {lasting(one.start_s, one.end_s):>12}  score "
                f"{number_text(one.score):>5}  {number_text(one.value)}  {labels_text(one.labels, _LABEL_CHARS)}"
            )


def _budget(one: Tested) -> Iterator[str]:
    proposal = one.proposal
    if proposal is None:
        return
    own = one.walk.query.sensitivity
    verdict = f"{proposal.pages:,} pages, {proposal.allowed:.3g} allowed"
    if not proposal.changes and proposal.sensitivity is not None:
        yield f"  budget   kept: {verdict}; sensitivity stays {own:g}"
    elif proposal.sensitivity is not None:
        yield f"  budget   exceeded: {verdict}; sensitivity {proposal.sensitivity:g} keeps it (it is {own:g})"
    else:
        yield (
            f"  budget   exceeded: {verdict}; no sensitivity up to 10 keeps it: raise min_deviation, watch fewer "
            "series or aggregate them"
        )
    shown = _some(proposal.table, own, proposal.sensitivity)
    yield "           pages by sensitivity: " + ", ".join(f"{factor:g}: {pages:,}" for factor, pages in shown)


def _some(table: Sequence[tuple[float, int]], own: float, proposed: float | None) -> list[tuple[float, int]]:
    """Some lines of a table: the query's own, the proposed one, and others evenly between."""
    stride = max(1, len(table) // _TABLED)
    return [row for i, row in enumerate(table) if i % stride == 0 or row[0] in (own, proposed)]


def _edit(report: Report) -> Iterator[str]:
    if report.diff:
        yield ""
        yield "to keep the budget, apply this to the config:"
        yield report.diff.rstrip("\n")
    elif report.snippet:
        yield ""
        yield "to keep the budget, set this in the config (its text can't be edited line by line):"
        yield report.snippet.rstrip("\n")
