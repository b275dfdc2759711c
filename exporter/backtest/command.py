"""`anomaly-exporter backtest`: what the alerts would have been, from a server's history or from a file."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.backtest.budget import checked_budget, confirmed, is_exact
from exporter.backtest.config_edit import Edit, propose_edit
from exporter.backtest.document import Report, document
from exporter.backtest.faults import BacktestError
from exporter.backtest.files import check_writable, replacing
from exporter.backtest.incident_files import from_server, read_incidents
from exporter.backtest.incidents import Incident, strangers
from exporter.backtest.inputs.filereader import FileReader, of_query, read_file
from exporter.backtest.page import page
from exporter.backtest.progress import Progress
from exporter.backtest.span import Span, checked_span, grid_of, moment_s
from exporter.backtest.summary import summarise
from exporter.backtest.testing import Asked, Failed, Tested, sensitivities, tested
from exporter.backtest.walking import Readers, Sink, Walker
from exporter.backtest.writing import OpenMetricsFile, RemoteTargets, families_of
from exporter.config import Config, Query, content_hash, load, mask_url
from exporter.config.per_tenant import of_names, queries_of, query_names, tenant_of
from exporter.connections import Sessions, make_client, make_reader, tenant_ids
from exporter.crew import processors
from exporter.discovery import discovered
from exporter.errors import AnomalyExporterError
from exporter.past import Stopped
from exporter.source.client import Client

Say = Callable[[str], None]

USUAL_SPAN = "14d"
_OPENMETRICS = "openmetrics:"
_STRANGERS = 3


def _nothing() -> None:
    """There is nothing to prepare."""


@dataclass(frozen=True, slots=True)
class Options:
    """The flags of the command; empty where they are not given."""

    config_file: str
    queries: tuple[str, ...] = ()
    tenant: str = ""
    start: str = ""
    end: str = ""
    input: str = ""
    incidents: str = ""
    incidents_from_alerts: str = ""
    budget: str = ""
    json_file: str = ""
    html_file: str = ""
    write: tuple[str, ...] = ()
    coarse: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One query of one tenant, and what it is read by."""

    tenant: str
    query: Query
    readers: Readers
    remarks: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Tenant and query as one text."""
        return f"{self.tenant}/{self.query.name}" if self.tenant else self.query.name


def backtest(options: Options, say: Say, prepare: Callable[[], None] = _nothing) -> int:
    """Do a backtest and report it; 0 unless a query failed or results could not be written.

    `prepare` is called before the work and after the flags have been found right: it may take long.

    Raises ConfigError, BacktestError and other AnomalyExporterErrors for what can't be begun, and KeyboardInterrupt
    when it is stopped; then no file has been written.
    """
    config = load(options.config_file)
    _check_files(options)
    asked = Asked(budget=checked_budget(options.budget) if options.budget else None)
    stop = threading.Event()
    with ExitStack() as stack:
        sessions = stack.enter_context(Sessions(config))
        if not options.input:
            config = _with_discovered(config, sessions)
        _check_chosen(config, options)
        span, jobs, incidents = _prepared(config, options, Server(config, sessions, stop))
        prepare()
        outputs = stack.enter_context(Outputs(config, options, stop))
        found, failed = _walk(jobs, span, replace(asked, incidents=incidents), outputs, stop, coarse=options.coarse)
        lost = outputs.finish(say)
    report = _report(config, options, span, found, failed, incidents)
    summarise(report, say)
    _write_report(options, report, say)
    return 1 if failed or lost else 0


# -- what is asked -----------------------------------------------------------------------------------------------------


def _check_files(options: Options) -> None:
    """Whatever is to be written can be."""
    for target in options.write:
        if target != "remote" and not target.removeprefix(_OPENMETRICS):
            raise BacktestError("--write openmetrics: needs a file behind the colon")
        if target != "remote" and not target.startswith(_OPENMETRICS):
            raise BacktestError(f"--write {target[:60]}: is not openmetrics:FILE or remote")
    paths = [options.json_file, options.html_file, *(each[len(_OPENMETRICS) :] for each in _files(options))]
    for path in filter(None, paths):
        check_writable(path)
    given = [Path(path).absolute() for path in (*paths, options.input, options.incidents, options.config_file) if path]
    if len(set(given)) < len(given):
        raise BacktestError("two flags name the same file: give each its own")


def _files(options: Options) -> list[str]:
    return [target for target in options.write if target.startswith(_OPENMETRICS)]


def _with_discovered(config: Config, sessions: Sessions) -> Config:
    config, wrong = discovered(config, sessions)
    if wrong:
        raise BacktestError("; ".join(wrong))
    return config


def _chosen(config: Config, options: Options, tenant: str) -> tuple[Query, ...]:
    """The queries of a tenant that are asked for."""
    return of_names(queries_of(config, tenant_of(config, tenant)), options.queries)


def _check_chosen(config: Config, options: Options) -> None:
    """Whether there are the queries and the tenant that are asked for, and together, too."""
    names = query_names(config)
    unknown = [name for name in options.queries if name not in names]
    if unknown:
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise BacktestError(f"--query {unknown[0][:80]}: no such query in {options.config_file}; there are {shown}")
    tenants = tenant_ids(config)
    if options.tenant and options.tenant not in tenants:
        raise BacktestError(
            f"--tenant {options.tenant[:80]}: no such tenant in {options.config_file}; there are "
            f"{', '.join(tenants[:10]) if config.tenants else 'none'}"
        )
    own = [options.tenant] if options.tenant else tenants
    if not any(_chosen(config, options, tenant) for tenant in own):
        raise BacktestError(f"--query {', '.join(options.queries)[:80]}: the tenant has no such query")


@dataclass(frozen=True, slots=True)
class Server:
    """The source of the config; setting `stop` ends what is read from it."""

    config: Config
    sessions: Sessions
    stop: threading.Event

    def client(self, tenant: str) -> Client:
        """The client of a tenant."""
        return make_client(self.config, self.sessions, tenant, stop=self.stop)

    def _readers(self, client: Client, query: Query) -> Readers:
        cycles = replace(query, step_s=query.interval_s)
        return Readers(make_reader(self.config, client, query), make_reader(self.config, client, cycles))

    def jobs(self, options: Options) -> Iterator[Job]:
        """The queries of each tenant that is asked for."""
        for tenant in [options.tenant] if options.tenant else tenant_ids(self.config):
            client = self.client(tenant)
            for query in _chosen(self.config, options, tenant):
                yield Job(tenant, query, self._readers(client, query))


def _prepared(config: Config, options: Options, server: Server) -> tuple[Span, list[Job], tuple[Incident, ...] | None]:
    """The span, the jobs, and the incidents where there are some to compare with."""
    if options.incidents and options.incidents_from_alerts:
        raise BacktestError("--incidents and --incidents-from-alerts: one of them is enough")
    incidents = read_incidents(options.incidents) if options.incidents else None
    if options.input:
        if options.incidents_from_alerts:
            raise BacktestError("--incidents-from-alerts asks the server, --input reads a file: use --incidents")
        span, jobs = _of_file(options, _of_any(config, options))
    else:
        span = _span_of_server(options)
        jobs = list(server.jobs(options))
        if options.incidents_from_alerts:
            incidents = _of_alerts(options, span, server)
    for job in jobs:
        grid_of(span, job.query, coarse=options.coarse)
    return span, jobs, tuple(incidents) if incidents is not None else None


def _of_alerts(options: Options, span: Span, server: Server) -> list[Incident]:
    """What the alerts of each tenant tell."""
    selector, found = options.incidents_from_alerts, []
    for tenant in [options.tenant] if options.tenant else tenant_ids(server.config):
        told = from_server(server.client(tenant), selector, span.start_s, span.end_s)
        found += [replace(one, tenant=tenant) for one in told]
    if not found:
        raise BacktestError(f"--incidents-from-alerts: no alert of {selector[:80]} fired between --from and --to")
    return found


def _moment(flag: str, text: str, now_s: float) -> float:
    try:
        return moment_s(text, now_s)
    except ValueError as error:
        raise BacktestError(f"{flag}: {error}") from error


def _span_of_server(options: Options) -> Span:
    now_s = time.time()
    start_s = _moment("--from", options.start or USUAL_SPAN, now_s)
    return checked_span(start_s, _moment("--to", options.end or "now", now_s), now_s)


def _of_any(config: Config, options: Options) -> list[Query]:
    """The queries that are asked for, of the tenant that is named or of any: a file says of nobody whose it is."""
    owners = [options.tenant] if options.tenant else tenant_ids(config) or [""]
    found = [query for tenant in owners for query in _chosen(config, options, tenant)]
    return list({query.name: query for query in reversed(found)}.values())


def _of_file(options: Options, queries: Sequence[Query]) -> tuple[Span, list[Job]]:
    if len(queries) > 1:
        raise BacktestError(
            f"--input: the file is about one query, and the config has {len(queries)}: choose one with --query"
        )
    query = queries[0]
    samples = of_query(read_file(options.input), query, options.input)
    reader = FileReader(samples, query.step_s)
    now_s = time.time()
    start_s = _moment("--from", options.start, now_s) if options.start else reader.oldest_s
    end_s = _moment("--to", options.end, now_s) if options.end else reader.newest_s
    if start_s == end_s:
        raise BacktestError(f"{options.input}: all samples have the same time: nothing can be learned from that")
    readers = Readers(reader, FileReader(samples, query.interval_s))
    return checked_span(start_s, end_s, None), [Job(options.tenant, query, readers, samples.remarks)]


# -- the work ----------------------------------------------------------------------------------------------------------


class Outputs:
    """Where verdicts go while they are made. As a context: nothing is left of what was not finished."""

    def __init__(self, config: Config, options: Options, stop: threading.Event) -> None:
        self._config = config
        self._files = [OpenMetricsFile(each[len(_OPENMETRICS) :], families_of(config)) for each in _files(options)]
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
