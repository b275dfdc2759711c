"""The composition root: config -> objects -> run, reload, stop. Everything is made here and handed down."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from prometheus_client import CollectorRegistry

from exporter import __version__, names
from exporter.backfill import Backfills, Task, asks_receiver, newest_result, not_known, writes_to
from exporter.config import Config, Query, Source, Tenant, content_hash, load, mask
from exporter.config.changes import reads_as, same_data
from exporter.config.per_tenant import queries_of, source_of, targets_of, tenants_of
from exporter.connections import Sessions, make_client, make_reader, open_target
from exporter.crew import Crew, processors
from exporter.discovery import LOOK_S, MECHANISMS, Discovery, with_tenants
from exporter.errors import ConfigError, Problem
from exporter.pages import Pages
from exporter.publish.exposition import Page
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.remote_write.outlet import Outlet
from exporter.publish.remote_write.unit_writer import UnitWriter
from exporter.publish.selfmetrics import SelfMetrics
from exporter.publish.unit_page import UnitPage, added_labels
from exporter.publish.web import Routes, WebMetrics, WebOptions, WebServer
from exporter.schedule import Job, Schedule
from exporter.source.faults import REASONS
from exporter.source.promql import raw_counter_advice, raw_counters
from exporter.source.reader import Reader
from exporter.tenancy import Tenancy
from exporter.unit import Receipt, Unit

STOP_PATIENCE_S = 2.5  # SIGTERM promises an exit within 5 s, and the web server may take 2 s of it
FLUSH_PATIENCE_S = 2.0  # for remote write to deliver what is left, while the web server stops
# Threads for cycles, made as they are needed: a query that hangs until its timeout must not keep another one waiting,
# also when a reload brings more queries. How many requests are under way at once is for max_in_flight to say.
_WORKERS = 64
_TOLD = 5  # errors, to whoever asks why it is not ready
_CYCLES_PER_REQUEST = 2  # of a tenant at once: while some wait for its server, others judge

log = logging.getLogger(__name__)

Prepare = Callable[[threading.Event], None]  # gives up when the event is set


class App:
    """The running exporter: units, schedule, page and web server. `reload` swaps the config, `stop` ends it all."""

    def __init__(self, config_file: str, *, environ: Mapping[str, str] = os.environ, backfill_s: int = 0) -> None:
        """Raises ConfigError when the config can't be used, or not for a backfill."""
        self._file = config_file
        self._environ = environ
        self._registry = CollectorRegistry()
        self.metrics = SelfMetrics(self._registry, REASONS)
        self.page = Page(self._registry)
        self.outlet = Outlet(WriteMetrics(self._registry))
        self._web_metrics = WebMetrics(self._registry)
        self.units: dict[str, Unit] = {}
        self._backfills = Backfills(backfill_s, self.metrics.backfilled)
        self._past_readers: dict[str, Reader] = {}
        self._sources: dict[str, Source] = {}  # as the tenants reach it
        self._config = load(config_file, environ)
        if backfill_s and not self._config.remote_write:
            raise ConfigError(config_file, (Problem(0, "remote_write", "missing, but --backfill writes by it"),))
        self._sessions = Sessions(self._config)
        self._tenancy = Tenancy(self.metrics)
        self._discovery = Discovery(self.metrics.discovery_failed)
        self._abandon = threading.Event()
        self._schedule = Schedule(_WORKERS)
        self._crew = Crew(processors())
        self._web: WebServer | None = None
        self._changing = threading.Lock()
        self._stopped = threading.Event()
        self._pages = Pages(
            lambda: self.units, lambda: self._config, lambda: self._sessions, self._abandon, self._tenancy.remarks,
            self._tenancy.onlooker,
        )  # fmt: skip
        self._hangup = threading.Event()

    @property
    def config(self) -> Config:
        """The config in force."""
        return self._config

    @property
    def port(self) -> int:
        """The port that the web server listens on, 0 before it does."""
        return self._web.port if self._web else 0

    def start(
        self, listen_address: str, *, lifecycle: bool, prepare: Prepare | None = None, web: WebOptions | None = None
    ) -> None:
        """Listen, then begin to read: after `prepare`, which may take long and does not hold up this call.

        Raises PublishError when the address can't be used.
        """
        self._web = WebServer(
            listen_address, self._routes(lifecycle=lifecycle, explain=web is None or web.explain), options=web,
            metrics=self._web_metrics,
        )  # fmt: skip
        self._web.start()
        self._discovery.use(self._config, self._sessions, self._abandon)
        self._adopt(self._config, self._sessions)
        self._begin(prepare)
        self.metrics.reloaded(ok=True, config_hash=content_hash(self._config))
        log.info("started", extra={"version": __version__, "port": self.port, "config": content_hash(self._config),
                                   "units": len(self.units)})  # fmt: skip

    def _begin(self, prepare: Prepare | None) -> None:
        if prepare is None:
            self._run_jobs()
            return

        def run(prepare: Prepare) -> None:
            prepare(self._stopped)
            self._run_jobs()

        threading.Thread(target=run, args=(prepare,), name="prepare", daemon=True).start()

    def _run_jobs(self) -> None:
        with self._changing:
            if not self._stopped.is_set():
                self._schedule.start()
                self._backfills.start()
                threading.Thread(target=self._discover, name="discovery", daemon=True).start()

    def _discover(self) -> None:
        """Look for tenants now and then, and take in what has changed."""
        while not self._stopped.is_set():
            try:
                self._look_for_tenants()
            except Exception:  # a mistake of ours must be seen, and must not be the last look
                log.exception("internal error, please report it")
            self._stopped.wait(LOOK_S)

    def _look_for_tenants(self) -> None:
        config = self._config
        found = self._discovery.look()
        self.metrics.left_out.set(self._discovery.left_out)
        with self._changing:
            changed = with_tenants(config, found)
            # A reload meanwhile looks elsewhere: the next turn is about that.
            if config is self._config and changed.tenants != config.tenants and not self._stopped.is_set():
                self._take_in(changed)

    def reload(self) -> None:
        """Read the config file again. Raises ConfigError, and then everything goes on with the old config."""
        with self._changing:
            try:
                config = load(self._file, self._environ)
            except ConfigError:
                self.metrics.reloaded(ok=False)
                raise
            sessions = Sessions(config)
            old_sessions, self._sessions = self._sessions, sessions
            self._discovery.use(config, sessions, self._abandon)
            found = tuple(tenant for tenant in self._config.tenants if tenant.discovered)
            self._adopt(with_tenants(config, found) if config.tenant_discovery else config, sessions)
            old_sessions.close()
            self.metrics.reloaded(ok=True, config_hash=content_hash(self._config))
            log.info("config reloaded", extra={"config": content_hash(config), "units": len(self.units)})

    def stop(self) -> bool:
        """Stop ticking, give running cycles a few seconds, stop listening. Returns whether all cycles ended."""
        self._stopped.set()
        self._backfills.stop()
        self._abandon.set()
        ended = self._schedule.stop(STOP_PATIENCE_S)
        if ended:
            self._crew.close()
        self.outlet.finish(FLUSH_PATIENCE_S)
        if self._web is not None:
            self._web.stop()
        self.outlet.wait()
        self._sessions.close()
        return ended

    def catch_signals(self) -> None:
        """From now on SIGTERM and SIGINT mean a clean end, SIGHUP a reload. Before `start`: a SIGHUP must not kill."""
        signal.signal(signal.SIGTERM, lambda *_: self._stopped.set())
        signal.signal(signal.SIGINT, lambda *_: self._stopped.set())
        signal.signal(signal.SIGHUP, lambda *_: self._hangup.set())

    def run_until_signal(self) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP reloads."""
        while not self._stopped.wait(0.2):
            if self._hangup.is_set():
                self._hangup.clear()
                self._reload_on_signal()

    def ready(self) -> tuple[bool, str]:
        """Ready as soon as every unit has run once and one of them well: a broken query must not hide the others.

        Who sees that it is ready finds the first verdicts on the page, and these cycles in the metrics.
        """
        if not self._discovery.looked:
            return False, "looking for tenants"
        if not self.units:
            return False, "no tenants found yet"
        waiting = [key for key, unit in self.units.items() if not unit.counted]
        if waiting:
            return False, f"waiting for the first verdicts of {len(waiting)} of {len(self.units)} queries"
        if not any(unit.last_good for unit in self.units.values()):
            errors = sorted({unit.last.error for unit in self.units.values() if unit.last})
            more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
            return False, "no query could be read yet: " + "; ".join(errors[:_TOLD]) + more
        return True, "ready"

    # -- units ---------------------------------------------------------------------------------------------------------

    def _adopt(self, config: Config, sessions: Sessions) -> None:
        """Make the units of a config, keeping the windows of those whose query and server stay the same."""
        keep = _by_tenant(self.units.values()) if same_data(config, self._config) else {}
        units: dict[str, Unit] = {}
        for tenant in tenants_of(config):
            units |= self._units_of(config, sessions, tenant, keep.get(tenant.id, []))
        self._replace_units(units, config)
        self._schedule.set_jobs([self._job(unit) for unit in units.values()])

    def _take_in(self, config: Config) -> None:
        """Begin with the tenants that are new in a config, end those that are not there; the others do not notice."""
        old = {tenant.id: tenant for tenant in tenants_of(self._config)}
        new = {tenant.id: tenant for tenant in tenants_of(config)}
        changed = [tenant for name, tenant in new.items() if old.get(name) != tenant]
        units = {key: unit for key, unit in self.units.items() if new.get(unit.tenant) == old[unit.tenant]}
        begun: dict[str, Unit] = {}
        keep = _by_tenant(self.units.values())
        for tenant in changed:
            begun |= self._units_of(config, self._sessions, tenant, keep.get(tenant.id, []))
        jobs = [self._job(unit) for unit in begun.values()]
        ended = {_job_key(unit) for key, unit in self.units.items() if key not in units} - {job.key for job in jobs}
        self._replace_units(units | begun, config)
        self._sessions.keep(tenants_of(config))
        self._schedule.change_jobs(ended, jobs)
        log.info("tenants changed", extra={"begun": len(new.keys() - old.keys()), "ended": len(old.keys() - new.keys()),
                                           "changed": len(old.keys() & {tenant.id for tenant in changed}),
                                           "tenants": len(new)})  # fmt: skip

    def _units_of(self, config: Config, sessions: Sessions, tenant: Tenant, keep: list[Unit]) -> dict[str, Unit]:
        """The units of one tenant. Of its old ones those are kept whose query and server are the same."""
        queries = queries_of(config, tenant)
        breaker = self._tenancy.breaker(tenant.id, min((query.interval_s for query in queries), default=60))
        observe = self.metrics.observer(tenant.id)
        client = make_client(config, sessions, tenant.id, observe=observe, stop=self._abandon, breaker=breaker)
        source = source_of(config, tenant)
        before, self._sources[tenant.id] = self._sources.get(tenant.id), source
        known = keep if before is not None and reads_as(before) == reads_as(source) else []
        units: dict[str, Unit] = {}
        for query in queries:
            reader = replace(make_reader(config, client, query), of_now=True)
            unit = self._kept(known, query, reader) or self._made(config, tenant.id, query, reader)
            units[unit.key] = unit
            self._past_readers[unit.key] = replace(reader, max_in_flight=1)  # live cycles need their share
        return units

    def _replace_units(self, units: dict[str, Unit], config: Config) -> None:
        """These are the units from now on; those that are not among them end."""
        old, self.units, self._config = self.units, units, config
        # Before the new ones run: they must know up to when the old ones have written their series.
        self._backfills.keep(units)
        for key, unit in old.items():
            if units.get(key) is not unit:
                unit.close()
                if key not in units:
                    self.outlet.forget(key)
                    self.metrics.forget_unit(unit.tenant, unit.query.name)
                    self._past_readers.pop(key, None)
        # After the old ones have ended, each series with a marker where it was written to.
        self.outlet.adopt(targets_of(config), open_target)
        self._tenancy.watch(units.values())
        names = {tenant.id for tenant in tenants_of(config)}
        self._sources = {name: source for name, source in self._sources.items() if name in names}
        listed = [tenant for tenant in config.tenants if not tenant.discovered]
        self.metrics.tenants_watched(len(listed), len(config.tenants) - len(listed))
        for mechanism in MECHANISMS if config.tenant_discovery else ():
            self.metrics.discovery_failures.labels(mechanism)  # from 0 on

    def _kept(self, units: Iterable[Unit], query: Query, reader: Reader) -> Unit | None:
        for unit in units:
            if unit.query == query:
                unit.use(reader)
                return unit
        return None

    def _made(self, config: Config, tenant: str, query: Query, reader: Reader) -> Unit:
        vmanomaly = config.metric_names == "vmanomaly"
        models = [model.name for model in query.models]
        families = self._families(config)
        key = f"{tenant}/{query.name}" if tenant else query.name
        added = added_labels(query.name, tenant, vmanomaly=vmanomaly)
        writer = partial(UnitWriter, self.outlet, key, families, models, config.external_labels, tenant)
        page = UnitPage(
            self.page if config.metrics_page == "results" else None,
            # Two generations of one unit may overlap during a reload; the page tells them apart.
            f"{tenant}/{query.name}/{time.monotonic_ns()}",
            added,
            models,
            families,
            writer() if config.remote_write else None,
        )
        self.metrics.register_unit(tenant, query.name, models, query.interval_s, query.most_series)
        for counter in raw_counters(query.expr):
            log.warning(raw_counter_advice(counter), extra={"query": query.name})

        def loaded(share: float) -> None:
            self.metrics.window_loaded(tenant, query.name, share)
            self._pages.loaded(key, share)

        unit = Unit(tenant, query, reader, page, self._crew, loaded)
        if self._backfills.planning:
            known = newest_result(writes_to(config, reader.client), families[names.SCORE].name, added)
            self._backfills.plan(
                Task(unit, page, UnitPage(None, key, added, models, families, writer()),
                     lambda: self._past_readers[key], known if asks_receiver(config) else not_known)
            )  # fmt: skip
        return unit

    def _families(self, config: Config) -> Mapping[str, names.Family]:
        return names.VMANOMALY_FAMILIES if config.metric_names == "vmanomaly" else names.FAMILIES

    def _job(self, unit: Unit) -> Job:
        tenant, query = unit.tenant, unit.query

        def run(time_s: int) -> None:
            self._record(unit, unit.run_cycle(time_s))

        def skipped(time_s: int) -> None:
            self.metrics.cycle_skipped(tenant, query.name)
            log.warning(
                "cycle skipped: the one before was still running, or no thread was free",
                extra={"query": unit.key, "time": time_s},
            )

        def late(over_s: float) -> None:
            self.metrics.cycle_late(tenant, query.name)
            log.warning("cycle overran its interval", extra={"query": unit.key, "over_seconds": over_s})

        # Who is alone need not leave threads to others.
        most = _CYCLES_PER_REQUEST * self._sources[tenant].max_in_flight if tenant else _WORKERS
        return Job(_job_key(unit), query.interval_s, run, skipped, late, tenant, most, work=unit)

    def _record(self, unit: Unit, receipt: Receipt) -> None:
        self.metrics.record(unit.tenant, unit.query.name, receipt)
        unit.counted = True
        self._tenancy.cycle_ended(unit.tenant)

    # -- web -----------------------------------------------------------------------------------------------------------

    def _routes(self, *, lifecycle: bool, explain: bool) -> Routes:
        return Routes(
            metrics=lambda openmetrics, shard: self.page.pieces(self._families(self._config), openmetrics, shard),
            ready=self.ready,
            reload=self.reload if lifecycle else None,
            config_text=lambda: f"# {content_hash(self._config)}\n{mask(self._config)}",
            landing=partial(self._pages.landing, explains=explain),
            explain=self._pages.explain if explain else None,
        )

    def _reload_on_signal(self) -> None:
        try:
            self.reload()
        except ConfigError as error:
            log.error("config not reloaded, the old one stays in force: " + str(error))
        except Exception:  # a mistake of ours must be seen, and the signal for a reload must not be one for the end
            log.exception("internal error in a reload, please report it")


def _by_tenant(units: Iterable[Unit]) -> dict[str, list[Unit]]:
    found: dict[str, list[Unit]] = {}
    for unit in units:
        found.setdefault(unit.tenant, []).append(unit)
    return found


def _job_key(unit: Unit) -> str:
    return f"{unit.key}@{unit.query.interval_s}"
