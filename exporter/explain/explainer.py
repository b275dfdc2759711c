"""The explanation of one verdict: finds the series, reads it, replays the verdict, compares it with what was published.

Nothing here waits for a cycle or uses a window of the running exporter: everything is read from the source anew, by a
client of its own.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Protocol

import numpy as np

from exporter.backfill import writes_to
from exporter.config import Config, Query, content_hash
from exporter.config.per_tenant import queries_of, query_names, tenant_of
from exporter.connections import make_reader, tenant_ids
from exporter.explain.finding import Found, Search
from exporter.explain.matching import Match, match
from exporter.explain.publication import Publication, config_hashes, published_at
from exporter.explain.question import ExplainError, Question, parse_selector, parse_time, shorten
from exporter.explain.recording import Recorded, record
from exporter.explain.replaying import NOTHING, Numbers, Replayed
from exporter.explain.timeline import Farness, Timeline, episode_start, farness, replay_window
from exporter.models.contributions import Basis, Contributions
from exporter.names import FAMILIES, VMANOMALY_FAMILIES
from exporter.publish.unit_page import added_labels
from exporter.source.client import Client
from exporter.source.reader import Reader
from exporter.verdict import Bands, detectable

_CYCLES_BACK = 3  # cycles whose verdict may be the one that was scraped last
_JUST_OUTSIDE = 1e-6  # of the distance from the expected value to the edge


@dataclass(frozen=True, slots=True)
class Latest:
    """What the running exporter knows of a series now: as of `time_s` its state, the numbers it shows, by model, the
    judged sample and the offset that its row is centred by. `shed`: it has no row because of a limit."""

    time_s: int
    state: str = ""
    shed: bool = False
    value: float = math.nan
    offset: float | None = None
    numbers: Mapping[str, Numbers] = field(default_factory=dict)


class Live(Protocol):
    """The running exporter, as far as an explanation may look at it."""

    def cycle_s(self, tenant: str, query: str) -> int:
        """The time of the last cycle that went well, 0 before the first."""

    def latest(self, tenant: str, query: str, labels: Mapping[str, str]) -> Latest | None:
        """What it knows of a series; None before the first cycle."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The value beyond which a sample would score above 1, and how far that is from expected, as a share of it.

    `value` is NaN where none would, `ratio` also where the expected value is about 0.
    """

    value: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is told of one verdict. Numbers are NaN, and parts None, where the series has no verdict."""

    query: Query
    tenant: str
    model: str
    labels: Mapping[str, str]
    asked_s: float
    cycle_s: int
    fit_s: int
    state: str
    judged_s: float
    last_s: float
    value: float
    numbers: Mapping[str, Numbers]
    of_model: Numbers
    signals: Mapping[str, float]
    above: Edge
    below: Edge
    contributions: Contributions | None
    basis: Basis | None
    offset: float
    timeline: Timeline
    farness: Farness | None
    since_s: float
    first_s: float
    valid: int
    shed: bool
    published: Publication
    reproduced: bool | None
    config_hash: str
    other_hashes: tuple[str, ...]
    expr: str
    remarks: tuple[str, ...]
    one_window: bool = False

    @property
    def verdict(self) -> Numbers:
        """Score and band of the model that is explained."""
        return self.numbers.get(self.model, NOTHING)


ClientOf = Callable[[str], Client]


class Explainer:
    """Explains verdicts of one config. Safe between threads; `client_of` makes a client of a tenant."""

    def __init__(
        self, config: Config, client_of: ClientOf, live: Live | None = None, other_hashes: tuple[str, ...] = ()
    ) -> None:
        """`live`: the exporter that runs in this process; `other_hashes`: those of exporters elsewhere, for a word."""
        self._config = config
        self._client_of = client_of
        self._live = live
        self._other_hashes = other_hashes

    def explain(self, question: Question, now_s: float) -> Explanation:
        """Raises ExplainError where nothing can be explained, SourceError where the source does not answer."""
        self._check_query(question.query, query_names(self._config))
        tenant = self._tenant(question.tenant)
        query = self._query(question.query, tenant)
        model = _model(query, question.model)
        given = parse_selector(question.series)
        at_s = parse_time(question.at, now_s)
        client = self._client_of(tenant)
        case = _Case(self._config, query, tenant, model, client, self._live, self._other_hashes, now_s)
        return case.tell(given, at_s, present=not question.at.strip())

    def _query(self, name: str, tenant: str) -> Query:
        """The query of a tenant: another one may have a different query of that name, or none."""
        queries = queries_of(self._config, tenant_of(self._config, tenant))
        self._check_query(name, [query.name for query in queries], f" of the tenant {shorten(tenant)}")
        return next(query for query in queries if query.name == name)

    def _check_query(self, name: str, names: list[str], whose: str = "") -> None:
        if name in names:
            return
        near = difflib.get_close_matches(name[:100], names, 5, 0.4) or sorted(names)[:5]
        what = f"there is no query {shorten(name)}{whose}" if name else "which query? None is given"
        raise ExplainError(f"{what}; there are: {', '.join(near)}", status=404 if name else 400)

    def _tenant(self, name: str) -> str:
        known = tenant_ids(self._config)
        if name in known:
            return name
        if not name and len(known) == 1:
            return known[0]
        if not known:
            raise ExplainError("no tenants are known yet; try again when they have been found", status=404)
        if known == [""]:
            raise ExplainError("no tenants are configured; leave the tenant out", status=404)
        near = difflib.get_close_matches(name[:200], known, 5, 0.4) or known[:5]
        what = f"there is no tenant {shorten(name)}" if name else "which tenant? None is given"
        raise ExplainError(f"{what}; there are: {', '.join(near)}", status=404 if name else 400)


def _model(query: Query, name: str) -> str:
    names = [model.name for model in query.models]
    if not name:
        return next((known for known in (query.alert.model, "robust_band") if known in names), names[0])
    if name not in names:
        raise ExplainError(
            f"{shorten(name)} is no model of the query {query.name}; it has: {', '.join(names)}", status=404
        )
    return name


@dataclass(frozen=True, slots=True)
class _Case:
    """One question on its way to an explanation."""

    config: Config
    query: Query
    tenant: str
    model: str
    client: Client
    live: Live | None
    other_hashes: tuple[str, ...]
    now_s: float

    def tell(self, given: Mapping[str, str], at_s: float, *, present: bool) -> Explanation:
        """Find, read, replay, compare."""
        query = self.query
        cycle_s = self._cycle(at_s, present=present)
        added = added_labels(query.name, self.tenant, vmanomaly=self.config.metric_names == "vmanomaly")
        found = Search(query, self._reader, cycle_s, added).find(given)
        latest = self.live.latest(self.tenant, query.name, found.labels) if self.live and present else None
        published = self._publication(found, added, at_s, latest)
        cycles = self._cycles(cycle_s, at_s, published, latest)
        later = self._later(cycles, published)
        reader = self._reader(found.narrowed.expr)
        recorded = record(reader, query, found.labels, [*cycles, *later], found.count, found.kin)
        offset = latest.offset if latest else None
        matched = match(query, recorded, cycles, published, offset, later)
        return self._explanation(found, at_s, recorded, matched, published, latest)

    def _cycle(self, at_s: float, *, present: bool) -> int:
        """The cycle whose verdict was in force: of the running exporter the last one, else the newest of the grid."""
        known = self.live.cycle_s(self.tenant, self.query.name) if self.live and present else 0
        return known or int(at_s // self.query.interval_s) * self.query.interval_s

    def _reader(self, expr: str) -> Reader:
        query = self.query
        reader = make_reader(self.config, self.client, query)
        return Reader(reader.client, expr, query.step_s, reader.max_points, max_in_flight=1)

    def _publication(self, found: Found, added: Mapping[str, str], at_s: float, latest: Latest | None) -> Publication:
        if latest is not None and latest.numbers:
            return Publication(latest.numbers, latest.value, float(latest.time_s), "this exporter")
        families = VMANOMALY_FAMILIES if self.config.metric_names == "vmanomaly" else FAMILIES
        external = frozenset(name for name, _ in self.config.external_labels)
        client = writes_to(self.config, self.client)
        return published_at(client, families, added, found.published, at_s, external)

    def _cycles(self, cycle_s: int, at_s: float, published: Publication, latest: Latest | None) -> list[int]:
        """Cycles that may have given the published verdict, ascending; the last is the one to fall back on."""
        interval_s = self.query.interval_s
        if latest is not None:  # of a cycle that is under way there may be numbers, too
            return sorted({cycle_s, max(cycle_s, int(at_s // interval_s) * interval_s)})
        if not published:
            return [cycle_s]
        last = min(cycle_s, int(published.time_s // interval_s) * interval_s)
        return [last - back * interval_s for back in range(_CYCLES_BACK)][::-1]

    def _later(self, cycles: list[int], published: Publication) -> list[int]:
        """The cycle after the published numbers: what came by remote write has the time of the judged sample."""
        interval_s = self.query.interval_s
        following = math.ceil(published.time_s / interval_s) * interval_s if published else 0
        return [following] if cycles[-1] < following <= self.now_s else []

    def _explanation(
        self,
        found: Found,
        at_s: float,
        recorded: Recorded,
        matched: Match,
        published: Publication,
        latest: Latest | None,
    ) -> Explanation:
        query, model, replayed = self.query, self.model, matched.replayed
        numbers = replayed.numbers
        verdict = numbers[model]
        told = not math.isnan(verdict.score)
        timeline = replay_window(query, recorded, model, replayed.hash, replayed.cycle_s)
        window = _window_facts(query, recorded, replayed.fit_s)
        timeline = timeline.then(replayed.judged_s, replayed.value, *astuple(verdict))
        above, below = _edges(replayed, model, verdict) if told else (_NO_EDGE, _NO_EDGE)
        return Explanation(
            query=query, tenant=self.tenant, model=model, labels=found.labels, asked_s=at_s, cycle_s=replayed.cycle_s,
            fit_s=replayed.fit_s, state=matched.state, judged_s=replayed.judged_s, last_s=matched.last_s,
            value=replayed.value, numbers=numbers, of_model=replayed.of_model(model) if told else NOTHING,
            signals=replayed.signals, above=above, below=below,
            contributions=replayed.contributions(model) if told else None,
            basis=replayed.basis(model) if told else None, offset=replayed.offset, timeline=timeline,
            farness=farness(timeline, replayed.value, verdict.expected, replayed.judged_s) if told else None,
            since_s=episode_start(timeline, replayed.judged_s) if told and verdict.score > 1 else math.nan,
            first_s=window[0], valid=window[1], shed=bool(latest and latest.shed), published=published,
            reproduced=matched.equal, config_hash=content_hash(self.config), other_hashes=self._hashes(self.now_s),
            expr=found.narrowed.expr, remarks=_remarks(found, recorded), one_window=not recorded.whole,
        )  # fmt: skip

    def _hashes(self, now_s: float) -> tuple[str, ...]:
        """The config hashes of the exporters that publish; this process' own where it is one of them."""
        if self.live is not None:
            return (content_hash(self.config),)
        return self.other_hashes or tuple(config_hashes(self.client, now_s))


_NO_EDGE = Edge(math.nan, math.nan)


def _remarks(found: Found, recorded: Recorded) -> tuple[str, ...]:
    remarks = [found.remark] if found.remark else []
    return (*remarks, *(f"the server remarks: {text}" for text in recorded.remarks))


# --- what it rests on -------------------------------------------------------------------------------------------------


def _window_facts(query: Query, recorded: Recorded, fit_s: int) -> tuple[float, int]:
    """The time of the first sample in the window of the fit (NaN: none), and how many it has."""
    end = -(-fit_s // query.step_s) - 1
    first = end - query.window_s // query.step_s + 1
    present = np.flatnonzero(np.isfinite(recorded.columns(first, end, query.step_s)))
    return (float((first + present[0]) * query.step_s) if len(present) else math.nan), len(present)


def _edges(replayed: Replayed, model: str, verdict: Numbers) -> tuple[Edge, Edge]:
    """From which values on a sample would have scored above 1, upwards and downwards."""
    parts = (verdict.score, verdict.expected, verdict.lower, verdict.upper)
    up, down = detectable(Bands(*(np.array([part]) for part in parts)))
    above = _checked(replayed, model, verdict.expected, verdict.upper, float(up[0]))
    below = _checked(replayed, model, verdict.expected, verdict.lower, float(down[0]))
    replayed.of_model(model)  # what was judged last is the judged sample again
    return above, below


def _checked(replayed: Replayed, model: str, expected: float, edge: float, ratio: float) -> Edge:
    """An edge beyond which the score really is above 1; else it only is where the values of the series end."""
    if math.isnan(edge):
        return _NO_EDGE
    distance = max(abs(edge - expected), abs(edge) * 1e-3, 1e-9)
    finest = 2 * float(np.spacing(np.float32(abs(edge - replayed.offset))))  # samples are float32 beside the offset
    outside = edge + math.copysign(max(_JUST_OUTSIDE * distance, finest), edge - expected)
    return Edge(edge, ratio) if replayed.would_be(model, outside).score > 1 else _NO_EDGE
