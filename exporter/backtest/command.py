"""`anomaly-exporter backtest`: what the alerts would have been, from a server's history or from a file."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from exporter.backtest.asking import Job, Options, Server, check_chosen, check_files, prepared, with_discovered
from exporter.backtest.budget import checked_budget, confirmed, is_exact
from exporter.backtest.config_edit import Edit, propose_edit
from exporter.backtest.document import Report, document
from exporter.backtest.files import replacing
from exporter.backtest.incidents import Incident, strangers
from exporter.backtest.page import page
from exporter.backtest.progress import Progress
from exporter.backtest.span import Span, grid_of
from exporter.backtest.summary import summarise
from exporter.backtest.testing import Asked, Failed, Tested, sensitivities, tested
from exporter.backtest.walking import Sink, Walker
from exporter.backtest.writing import OpenMetricsFile, RemoteTargets, families_of
from exporter.config import Config, content_hash, load, mask_url
from exporter.config.per_tenant import tenant_of
from exporter.connections import Sessions
from exporter.crew import processors
from exporter.errors import AnomalyExporterError
from exporter.past import Stopped

Say = Callable[[str], None]

_STRANGERS = 3


def _nothing() -> None:
    """There is nothing to prepare."""


def backtest(options: Options, say: Say, prepare: Callable[[], None] = _nothing) -> int:
    """Do a backtest and report it; 0 unless a query failed or results could not be written.

    `prepare` is called before the work and after the flags have been found right: it may take long.

    Raises ConfigError, BacktestError and other AnomalyExporterErrors for what can't be begun, and KeyboardInterrupt
    when it is stopped; then no file has been written.
    """
    config = load(options.config_file)
    check_files(options)
    asked = Asked(budget=checked_budget(options.budget) if options.budget else None)
    stop = threading.Event()
    with ExitStack() as stack:
        sessions = stack.enter_context(Sessions(config))
        if not options.input:
            config = with_discovered(config, sessions)
        check_chosen(config, options)
        span, jobs, incidents = prepared(config, options, Server(config, sessions, stop))
        prepare()
        outputs = stack.enter_context(Outputs(config, options, stop))
        found, failed = _walk(jobs, span, replace(asked, incidents=incidents), outputs, stop, coarse=options.coarse)
        lost = outputs.finish(say)
    report = _report(config, options, span, found, failed, incidents)
    summarise(report, say)
    _write_report(options, report, say)
    return 1 if failed or lost else 0


# -- the work ----------------------------------------------------------------------------------------------------------


class Outputs:
    """Where verdicts go while they are made. As a context: nothing is left of what was not finished."""

    def __init__(self, config: Config, options: Options, stop: threading.Event) -> None:
        self._config = config
        self._files = [OpenMetricsFile(path, families_of(config)) for path in options.openmetrics_files]
        self._remote = RemoteTargets(config, stop) if "remote" in options.write else None
        self._stop = stop

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for file in self._files:
            file.close()
        if self._remote is not None:
            self._remote.abandon()

    def sinks(self, job: Job) -> list[Sink]:
        """Who takes the slices of a query."""
        vmanomaly = self._config.metric_names == "vmanomaly"
        sinks: list[Sink] = [file.sink(job.query, job.tenant, vmanomaly=vmanomaly) for file in self._files]
        if self._remote is not None:
            sinks.append(self._remote.sink(job.query, job.tenant))
        return sinks

    def finish(self, say: Say) -> bool:
        """Put the files in their places, deliver what is left; returns whether samples were lost."""
        for file in self._files:
            file.finish()
            say(f"wrote {file.samples:,} samples to {file.path}")
        if self._remote is None:
            return False
        sent, lost = self._remote.finish()
        words = f"; {lost:,} were refused or not delivered: does it take samples that are this old?" if lost else ""
        say(f"delivered {sent:,} samples by remote write{words}")
        self._remote = None
        return lost > 0


def _walk(
    jobs: Sequence[Job], span: Span, asked: Asked, outputs: Outputs, stop: threading.Event, *, coarse: bool
) -> tuple[list[Tested], list[Failed]]:
    """Backtest one query after the other; one that fails does not keep the others."""
    progress = Progress(sys.stderr)
    found: list[Tested] = []
    failed: list[Failed] = []
    with ThreadPoolExecutor(processors(), thread_name_prefix="backtest") as pool:
        walker = Walker(pool, stop)
        for job in jobs:
            progress.begin(job.key)
            try:
                grid = grid_of(span, job.query, coarse=coarse)
                walk = walker.walk(job.tenant, job.query, grid, job.readers, progress.told, outputs.sinks(job))
                one = tested(walk, replace(asked, remarks=job.remarks))
                progress.end(f"{len(walk.labels):,} series")
                found.append(_confirmed(one, job, walker, progress))
            except (AnomalyExporterError, MemoryError, Stopped) as error:
                progress.end("failed")
                failed.append(Failed(job.key, _words(error)))
            except BaseException:  # Ctrl-C, or a mistake of ours: the threads must not go on for long
                stop.set()
                progress.end("stopped")
                raise
    return found, failed


def _confirmed(one: Tested, job: Job, walker: Walker, progress: Progress) -> Tested:
    """The same with a proposal that a replay agrees with, where it needs one."""
    if one.proposal is None or not one.proposal.changes or is_exact(job.query):
        return one

    def replayed(factor: float) -> int:
        progress.begin(f"{job.key} at sensitivity {factor:g}")
        query = replace(job.query, sensitivity=factor)
        pages = tested(walker.walk(job.tenant, query, one.walk.grid, job.readers, progress.told), Asked()).alerts.pages
        progress.end(f"{pages:,} pages")
        return pages

    return replace(one, proposal=confirmed(one.proposal, replayed))


def _words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "out of memory: take fewer series, or a shorter span"
    return str(error) or type(error).__name__


# -- the report --------------------------------------------------------------------------------------------------------


def _report(
    config: Config, options: Options, span: Span, found: list[Tested], failed: list[Failed],
    incidents: tuple[Incident, ...] | None,
) -> Report:  # fmt: skip
    own = [one for one in found if _is_own(config, one)]
    edit = _edit(options, sensitivities([one for one in found if one not in own]))
    return Report(
        options.config_file,
        content_hash(config),
        options.input or mask_url(config.source.url),
        time.time(),
        span,
        tuple(found),
        tuple(failed),
        (*_remarks(found, incidents), *_own_proposals(own)),
        None if incidents is None else len(incidents),
        options.budget,
        edit.diff,
        edit.snippet,
    )


def _is_own(config: Config, one: Tested) -> bool:
    """Whether the query stands in a tenant's block rather than among the shared ones, which the proposed edit is of."""
    return any(query.name == one.walk.query.name for query in tenant_of(config, one.walk.tenant).queries)


def _own_proposals(own: Sequence[Tested]) -> Iterator[str]:
    for one in own:
        for name, factor in sensitivities([one]).items():
            yield f"tenant {one.walk.tenant}: give its own query {name} `sensitivity: {factor:g}`"


def _edit(options: Options, wanted: dict[str, float]) -> Edit:
    if not wanted:
        return Edit("", "", "")
    # As it is: the lines of a diff must have the ends of lines that the file has.
    text = Path(options.config_file).read_bytes().decode("utf-8-sig")
    return propose_edit(options.config_file, text, wanted)


def _remarks(found: Sequence[Tested], incidents: tuple[Incident, ...] | None) -> Iterator[str]:
    unknown = strangers([one.walk for one in found], incidents) if incidents and found else []
    if unknown:
        shown = "; ".join(one.where for one in unknown[:_STRANGERS])
        yield (
            f"{len(unknown)} incidents are about no series of any query ({shown}): are query, tenant and labels spelt "
            "as in the config and in the series?"
        )


def _write_report(options: Options, report: Report, say: Say) -> None:
    if options.json_file:
        with replacing(Path(options.json_file)) as out:
            out.write(json.dumps(document(report), indent=1, allow_nan=False).encode() + b"\n")
        say(f"\nwrote {options.json_file}")
    if options.html_file:
        text, lack = page(report)
        with replacing(Path(options.html_file)) as out:
            out.write(text.encode("utf-8", "replace"))
        say(f"\nwrote {options.html_file}" + (f" without charts: {lack}" if lack else ""))
