"""What the pages for people show of the running units: the overview, and the explanation of a verdict."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from exporter import __version__
from exporter.config import CONSENSUS, Config, content_hash
from exporter.config.per_tenant import query_names
from exporter.connections import Sessions, make_client
from exporter.explain.desk import Desk
from exporter.explain.explainer import Explainer, Latest
from exporter.explain.replaying import Numbers
from exporter.names import DASHBOARD_OVERVIEW, PAGE_RUNBOOKS
from exporter.publish.landing import Landing, LandingRow, LandingUnit
from exporter.publish.web import Answered
from exporter.source.breaker import Onlooker
from exporter.source.client import Client
from exporter.unit import Example, Unit

_WORST = 20
_ABSENT = 10

Units = Callable[[], Mapping[str, Unit]]


class Pages:
    """Made of callables, because a reload changes units, config and session. For any thread; waits for no cycle."""

    def __init__(
        self,
        units: Units,
        config: Callable[[], Config],
        sessions: Callable[[], Sessions],
        stop: threading.Event,
        remarks: Callable[[str], tuple[str, ...]] = lambda _tenant: (),
        onlooker: Callable[[str], Onlooker | None] = lambda _tenant: None,
    ) -> None:
        """Setting `stop` ends explanations that wait for the source. `remarks`: what there is to say of a tenant;
        `onlooker`: what explanations keep to while its server is not asked."""
        self._units = units
        self._config = config
        self._sessions = sessions
        self._remarks = remarks
        self._onlooker = onlooker
        self._stop = stop
        self._loaded: dict[str, float] = {}
        self._desk = Desk(self._explainer, lambda: query_names(config()), lambda: content_hash(config()))

    def loaded(self, key: str, share: float) -> None:
        """So much of the window of a unit has been read, for the first time."""
        self._loaded[key] = share

    def explain(self, query_string: str) -> Answered:
        """The explanation that the query string of a URL asks for."""
        return self._desk.answer(query_string)

    def landing(self, *, explains: bool = True) -> Landing:
        """All units, the series with the highest scores, those that have gone missing."""
        units = list(self._units().values())
        missing = [(unit, example) for unit in units if _has_absent(unit) for example in unit.absent(_ABSENT)]
        missing.sort(key=lambda pair: -pair[1].age_s)
        return Landing(
            version=__version__,
            units=[self._unit(unit) for unit in units],
            worst=[_row(unit, example) for unit, example in worst_of(units, _WORST)],
            absent=[_row(unit, example) for unit, example in missing[:_ABSENT]],
            links=_links(self._config()),
            explains=explains,
            config_hash=content_hash(self._config()),
        )

    def _unit(self, unit: Unit) -> LandingUnit:
        good, last = unit.last_good, unit.last
        return LandingUnit(
            tenant=unit.tenant,
            query=unit.query.name,
            expr=unit.query.expr,
            states={**good.states, "shed": good.shed} if good else {},
            verdict_age_s=time.time() - good.newest_s if good and good.newest_s else None,
            error=last.error if last else "",
            anomalous=_anomalous(unit.query.alert.model, good.anomalous) if good else 0,
            loaded=1.0 if good else self._loaded.get(unit.key, 0.0),
            notes=(*self._remarks(unit.tenant), *(good.notes if good else ())),
        )

    # -- explanations --------------------------------------------------------------------------------------------------

    def _explainer(self) -> Explainer:
        return Explainer(self._config(), self._client, live=self)

    def _client(self, tenant: str) -> Client:
        """A client of its own: explanations take none of the slots that cycles wait for. A server that the cycles have
        given up for now is not waited for."""
        return make_client(self._config(), self._sessions(), tenant, stop=self._stop, breaker=self._onlooker(tenant))

    def cycle_s(self, tenant: str, query: str) -> int:
        """The time of the last cycle of a query that went well, 0 before the first."""
        unit = self._unit_of(tenant, query)
        return unit.last_good.time_s if unit and unit.last_good else 0

    def latest(self, tenant: str, query: str, labels: Mapping[str, str]) -> Latest | None:
        """What the unit knows of a series now; None before its first cycle."""
        unit = self._unit_of(tenant, query)
        if unit is None or unit.last_good is None:
            return None
        time_s, shed = unit.last_good.time_s, unit.last_good.shed > 0
        known = unit.known(labels)
        if known is None:
            return Latest(time_s, shed=shed)
        shown = known.state in ("ok", "constant")
        numbers = {model: Numbers(*verdict) for model, verdict in known.verdicts.items()} if shown else {}
        return Latest(time_s, known.state, False, known.value, known.offset, numbers)

    def _unit_of(self, tenant: str, query: str) -> Unit | None:
        return self._units().get(f"{tenant}/{query}" if tenant else query)


def _anomalous(model: str, by_model: Mapping[str, int]) -> int:
    """How many series are anomalous to the model that the alerts look at; to a consensus of all, so many at most."""
    if model == CONSENSUS:
        return min(by_model.values(), default=0)
    return by_model.get(model, 0)


def worst_of(units: list[Unit], most: int) -> list[tuple[Unit, Example]]:
    """The series with the highest scores of all units, highest first.

    They can only be of the units with the highest maxima: of the others one row each is looked at.
    """
    tops = [(unit, example) for unit in units for example in unit.worst(1)]
    tops.sort(key=_by_score)
    found = [(unit, example) for unit, _ in tops[:most] for example in unit.worst(most)]
    return sorted(found, key=_by_score)[:most]


def _by_score(pair: tuple[Unit, Example]) -> float:
    score = pair[1].score
    return -score if score == score else 0.0  # a row without a score comes last


def _has_absent(unit: Unit) -> bool:
    return unit.last_good is not None and unit.last_good.states.get("absent", 0) > 0


def _links(config: Config) -> list[tuple[str, str]]:
    """(address, text) of what stands elsewhere, as far as the config tells."""
    links = []
    if config.links.grafana:
        links.append((f"{config.links.grafana}/d/{DASHBOARD_OVERVIEW}", "Dashboards"))
    links.append((PAGE_RUNBOOKS, "Runbooks"))
    return links


def _row(unit: Unit, example: Example) -> LandingRow:
    return LandingRow(
        tenant=unit.tenant,
        query=unit.query.name,
        labels=example.labels,
        score=example.score,
        value=example.value,
        expected=example.expected,
        lower=example.lower,
        upper=example.upper,
        age_s=example.age_s,
        model=unit.query.models[0].name,
    )
