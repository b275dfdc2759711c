"""How labels that somebody gives may be meant, before the source is asked."""

from __future__ import annotations

import pytest

from exporter.config import Query
from exporter.explain.finding import MOST_CANDIDATES, Search, _choose
from exporter.explain.question import ExplainError
from exporter.relabelling.rule import Rule
from exporter.source.reader import Reader


def _no_reader(_expr: str) -> Reader:
    raise AssertionError("the source is not to be asked")


def readings(given: dict[str, str], **added: str) -> list[dict[str, str]]:
    search = Search(Query("q", "m"), _no_reader, 0.0, {"query": "q", **added})
    return [dict(labels) for labels, _ in search._readings(given)]


def test_labels_are_first_taken_as_they_are() -> None:
    assert readings({"a": "1"}) == [{"a": "1"}]


def test_labels_that_the_exporter_adds_are_left_out() -> None:
    assert readings({"a": "1", "query": "q", "model": "shesd"})[1:] == [{"a": "1"}]


def test_a_tenant_of_the_series_itself_stays_where_none_are_configured() -> None:
    given = {"a": "1", "query": "q", "model": "shesd", "tenant": "own"}
    assert readings(given) == [given, {"a": "1", "tenant": "own"}, {"a": "1"}]


def test_a_tenant_that_the_exporter_adds_goes_at_once() -> None:
    given = {"a": "1", "query": "q", "tenant": "t"}
    assert readings(given, tenant="t") == [given, {"a": "1"}]


@pytest.mark.parametrize("name", ["query", "model"])
def test_renamed_labels_get_their_names_back(name: str) -> None:
    given = {"query": "q", "model": "shesd", f"exported_{name}": "mine"}
    assert readings(given)[1] == {name: "mine"}


def test_a_renamed_tenant_gets_its_name_back_where_tenants_are_configured() -> None:
    given = {"query": "q", "tenant": "t", "exported_tenant": "mine"}
    assert readings(given, tenant="t") == [given, {"tenant": "mine"}]
    assert readings(given) == [given, {"tenant": "t", "exported_tenant": "mine"}, {"tenant": "mine"}]


@pytest.mark.parametrize(("more", "ending"), [(0, "of them:"), (1, "of them, such as:")])
def test_of_many_series_some_are_listed_and_it_says_so(more: int, ending: str) -> None:
    found = [{"a": "1", "n": str(n)} for n in range(MOST_CANDIDATES + more)]
    with pytest.raises(ExplainError) as caught:
        _choose({"a": "1"}, found, "")
    assert str(caught.value) == f"{len(found)} series have these labels; give all labels of one {ending}"
    assert list(caught.value.candidates) == found[:MOST_CANDIDATES]


# -- with relabelling --------------------------------------------------------------------------------------------------


def published_as(query: Query, series: dict[str, str], labels: dict[str, str]) -> bool:
    return Search(query, _no_reader, 0.0, {"query": "q"})._is_published_as(series, labels)


def test_a_series_is_known_by_what_is_published_of_it() -> None:
    rules = (
        Rule(source_labels=("pod",), regex="(.+)-.+", target_label="workload"),
        Rule("drop", source_labels=("app",), regex="gone"),
    )
    query = Query("q", "m", relabel_configs=rules, drop_labels=("pod",))
    series = {"__name__": "m", "pod": "api-1", "app": "a"}
    assert published_as(query, series, {"app": "a", "workload": "api"})
    assert published_as(query, series, {"app": "a", "workload": "api", "job": "by the scrape", "instance": "x"})
    assert not published_as(query, series, {"app": "a", "workload": "api", "other": "x"})
    assert not published_as(query, series, {"app": "a"})
    assert not published_as(query, {"pod": "web-1", "app": "a"}, {"app": "a", "workload": "api"})
    assert published_as(query, {"pod": "x"}, {})
    assert not published_as(query, {"app": "gone"}, {"app": "gone"})
