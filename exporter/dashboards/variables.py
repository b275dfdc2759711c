"""The variables of the dashboards: what stands in the bar at the top."""

from __future__ import annotations

from typing import Any, Final

from exporter.dashboards.panels import SOURCE, Json
from exporter.dashboards.promql import FILTER, MODEL, QUERY, SERIES, TENANT, published
from exporter.names import FAMILIES, JOB, LABEL_MODEL, LABEL_QUERY, LABEL_TENANT, SCORE, SELF_PREFIX

_ALL: Final = {"selected": True, "text": "All", "value": "$__all"}
_ON_LOAD, _ON_TIME = 1, 2
_HIDDEN = 2
ALL = ".*"


def datasource(name: str = "") -> Json:
    """Which Prometheus; ``name`` is the one that is chosen at first, else Grafana's default."""
    chosen = {"selected": True, "text": name, "value": name} if name else {}
    kind: Json = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return kind | {"refresh": 1, "hide": 0, "includeAll": False, "multi": False, "options": [], "regex": "",
                   "current": chosen, "skipUrlSync": False}  # fmt: skip


def tenant(*, multi: bool = True) -> Json:
    """The tenants of the scores; All also takes series without a tenant."""
    return _query("tenant", "Tenant", f"label_values({FAMILIES[SCORE].name}, {LABEL_TENANT})", multi=multi, every=True)


def query(*, multi: bool = True) -> Json:
    """The queries of the chosen tenants."""
    of = f"{FAMILIES[SCORE].name}{{{TENANT}}}"
    return _query("query", "Query", f"label_values({of}, {LABEL_QUERY})", multi=multi, every=multi)


def model(*, every: bool = True) -> Json:
    """The models of the chosen queries. All: a series counts by the highest score of any of them."""
    variable = _query("model", "Model", f"label_values({published(SCORE)}, {LABEL_MODEL})", every=every)
    return variable | {"current": {"selected": True, "text": "robust_band", "value": "robust_band"}}


def filter_box() -> Json:
    """Label matchers as free text."""
    return {
        "name": "filter", "label": "Filter", "type": "textbox", "query": "", "current": {"text": "", "value": ""},
        "options": [], "hide": 0, "skipUrlSync": False,
        "description": 'Label matchers, for example service="cart",job=~"web.*"',
    }  # fmt: skip


def series() -> Json:
    """The series of the query with the highest scores in the time range, worst first, by their own labels.

    Alerts and other dashboards put labels here that need not be in the list, so it is not read again with every change
    of the time range: a value that is not in it would be replaced.
    """
    scores = f"{FAMILIES[SCORE].name}{{{TENANT},{QUERY},{MODEL},{FILTER}}}"
    worst = f"topk(100, max without (query, model) (max_over_time({scores}[$__range])))"
    nothing = 'label_replace(vector(-1), "series", "none", "", "")'
    asked = f"query_result(sort_desc({worst} or on () {nothing}))"
    return _query("series", "Series", asked, regex=r"/\{(.*)\}/", refresh=_ON_LOAD, sort=0)


def exporter_address(of: str) -> Json:
    """`host:port` of an exporter that judges the chosen query, as Prometheus scrapes it; not shown."""
    asked = f"label_values({of}, instance)"
    return _query("exporter", "", asked, refresh=_ON_LOAD) | {"hide": _HIDDEN}


def source_labels() -> Json:
    """The labels of the chosen series without those that the exporter adds, as matchers; not shown.

    A configured tenant is among them: as a label `tenant` may come from the source, it can't be told apart here, but
    the exporter can.
    """
    of = f"max without (query, model) (last_over_time({published(SCORE, MODEL, SERIES)}[$__range]))"
    return _query("labels", "", f"query_result({of})", regex=r"/\{(.*)\}/", refresh=_ON_LOAD) | {"hide": _HIDDEN}


def owner() -> Json:
    """The configured tenant of the chosen series, nothing where none are configured; not shown.

    A label `tenant` may also come from the source: only one that the exporter itself has is a configured one.
    """
    scores = f"max by ({LABEL_TENANT}) (last_over_time({published(SCORE, MODEL, SERIES)}[$__range]))"
    own = f'max by ({LABEL_TENANT}) (anomaly_exporter_verdict_timestamp_seconds{{{LABEL_TENANT}!="",{QUERY}}})'
    asked = f"query_result({scores} and on ({LABEL_TENANT}) {own})"
    return _query("owner", "", asked, regex=rf'/{LABEL_TENANT}="([^"]*)"/', refresh=_ON_LOAD) | {"hide": _HIDDEN}


def label() -> Json:
    """Label names to group by: one table each."""
    variable = _query("label", "By label", "label_names()", multi=True, regex="/^(?!__name__$|le$|quantile$).*$/")
    chosen = ["tenant", "query", "job", "instance"]
    return variable | {"current": {"selected": True, "text": chosen, "value": chosen}}


def job() -> Json:
    """Under which job Prometheus scrapes exporters; one, as the metrics of the scrape itself are known by it alone."""
    chosen = {"selected": True, "text": JOB, "value": JOB}
    return _query("job", "Job", f"label_values({SELF_PREFIX}_build_info, job)") | {"current": chosen}


def of_exporter(name: str, label_: str, metric: str) -> Json:
    """Values of a label of one of the exporter's own metrics."""
    return _query(name, label_, f"label_values({metric}, {name})", multi=True, every=True)


def _query(
    name: str, label_: str, asked: str, *, multi: bool = False, every: bool = False, regex: str = "",
    refresh: int = _ON_TIME, sort: int = 1,
) -> Json:  # fmt: skip
    variable: dict[str, Any] = {"name": name, "label": label_, "type": "query", "datasource": dict(SOURCE)}
    variable |= {"definition": asked, "query": asked, "refresh": refresh, "sort": sort, "hide": 0}
    variable |= {"includeAll": every, "multi": multi, "options": [], "regex": regex, "skipUrlSync": False}
    return variable | ({"allValue": ALL, "current": dict(_ALL)} if every else {"current": {}})
