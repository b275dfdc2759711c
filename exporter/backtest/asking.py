"""What a backtest is about: flags, queries and tenants, span and incidents, and where the samples come from."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.backtest.faults import BacktestError
from exporter.backtest.files import check_writable
from exporter.backtest.incident_files import from_server, read_incidents
from exporter.backtest.incidents import Incident
from exporter.backtest.inputs.filereader import FileReader, of_query, read_file
from exporter.backtest.span import Span, checked_span, grid_of, moment_s
from exporter.backtest.walking import Readers
from exporter.config import Config, Query
from exporter.config.per_tenant import of_names, queries_of, query_names, tenant_of
from exporter.connections import Sessions, make_client, make_reader, tenant_ids
from exporter.discovery import discovered
from exporter.source.client import Client

USUAL_SPAN = "14d"
_OPENMETRICS = "openmetrics:"


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

    @property
    def openmetrics_files(self) -> list[str]:
        """The files that verdicts are to be written to."""
        return [target.removeprefix(_OPENMETRICS) for target in self.write if target.startswith(_OPENMETRICS)]


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


def check_files(options: Options) -> None:
    """Whether whatever is to be written can be. Raises BacktestError."""
    for target in options.write:
        if target != "remote" and not target.removeprefix(_OPENMETRICS):
            raise BacktestError("--write openmetrics: needs a file behind the colon")
        if target != "remote" and not target.startswith(_OPENMETRICS):
            raise BacktestError(f"--write {target[:60]}: is not openmetrics:FILE or remote")
    paths = [options.json_file, options.html_file, *options.openmetrics_files]
    for path in filter(None, paths):
        check_writable(path)
    given = [Path(path).absolute() for path in (*paths, options.input, options.incidents, options.config_file) if path]
    if len(set(given)) < len(given):
        raise BacktestError("two flags name the same file: give each its own")


def with_discovered(config: Config, sessions: Sessions) -> Config:
    """The config with the tenants that are found now. Raises BacktestError where they can't be."""
    config, wrong = discovered(config, sessions)
    if wrong:
        raise BacktestError("; ".join(wrong))
    return config


def _chosen(config: Config, options: Options, tenant: str) -> tuple[Query, ...]:
    """The queries of a tenant that are asked for."""
    return of_names(queries_of(config, tenant_of(config, tenant)), options.queries)


def check_chosen(config: Config, options: Options) -> None:
    """Whether there are the queries and the tenant that are asked for, and together, too. Raises BacktestError."""
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


def prepared(config: Config, options: Options, server: Server) -> tuple[Span, list[Job], tuple[Incident, ...] | None]:
    """The span, the jobs, and the incidents where there are some to compare with.

    Raises BacktestError, and the errors of the source and of files that can't be read.
    """
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
