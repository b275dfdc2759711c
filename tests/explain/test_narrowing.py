"""An expression for one series: what is pushed down, and that it gives the very same values on a real Prometheus."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import requests
from support.shop import RunningPrometheus, running_prometheus

from exporter.explain.narrowing import narrow
from exporter.source.promql import is_plain_selector

A = {"a": "1", "b": "2"}


@pytest.mark.parametrize(("expr", "narrowed"), [
    ("m", 'm{a="1",b="2"}'),
    ('m{x="y"}', 'm{x="y",a="1",b="2"}'),
    ('m{x="y",} # why', 'm{x="y",a="1",b="2"}'),
    ('{__name__=~"m|n"}', '{__name__=~"m|n",a="1",b="2"}'),
    ("rate(m[5m])", 'rate ( m{a="1",b="2"}[5m] )'),
    ("sum by (a, b) (rate(m[5m]))", 'sum by ( a , b ) ( rate ( m{a="1",b="2"}[5m] ) )'),
    ("sum(m) by (a, b, c)", 'sum ( m{a="1",b="2"} ) by ( a , b , c )'),
    ("sum without (x) (m)", 'sum without ( x ) ( m{a="1",b="2"} )'),
    ("a / b", 'a{a="1",b="2"} / b{a="1",b="2"}'),
    ("sum by (a, b) (m) / avg by (a, b) (n)",
     'sum by ( a , b ) ( m{a="1",b="2"} ) / avg by ( a , b ) ( n{a="1",b="2"} )'),
    ("histogram_quantile(0.9, sum by (le, a, b) (rate(m[5m])))",
     'histogram_quantile ( 0.9 , sum by ( le , a , b ) ( rate ( m{a="1",b="2"}[5m] ) ) )'),
    ("-m > 5 or n", '- m{a="1",b="2"} > 5 or n{a="1",b="2"}'),
])  # fmt: skip
def test_labels_are_pushed_down(expr: str, narrowed: str) -> None:
    found = narrow(expr, A)
    assert found.expr == narrowed
    assert found.pushed
    assert found.plain == is_plain_selector(expr) == is_plain_selector(found.expr)


@pytest.mark.parametrize("expr", [
    "sum(m)", "sum by (c) (m)", "topk(5, m)", "label_replace(m, 'a', 'x', 'b', '.*')", "m / on (a) n", "m offset 5m",
    "max_over_time(rate(m[5m])[1h:1m])", "m @ 5", "absent(m)", "count_values('a', m)", "m + scalar(n)", "vector(1)",
    "sum by (a) (m) * on (a) group_left (b) n", "some_new_function(m)", 'sum by ("a") (m)',
    "quantile(0.5, m)", "time()", "sum without (a, b) (m)",
])  # fmt: skip
def test_what_may_change_a_number_is_computed_whole(expr: str) -> None:
    found = narrow(expr, A)
    assert not found.pushed
    assert found.expr.startswith(f"({expr}\n) and on (a, b) label_replace(label_replace(vector(1)")


def test_a_part_may_be_pushed_down() -> None:
    found = narrow("sum by (a) (m) * sum without (b) (n)", A)
    assert 'm{a="1"}' in found.expr
    assert 'b="2"' not in found.expr.partition(" and on ")[0]
    assert found.expr.startswith("(sum by ( a )")


def test_other_labels_can_be_excluded() -> None:
    assert narrow("m", {"a": "1"}, ["b"]).expr == 'm{a="1",b=""}'
    assert narrow("sum by (a, b) (m)", {"a": "1"}, ["b"]).expr.endswith(
        'and on (a, b) label_replace(vector(1), "a", "1", "", "")'
    )


def test_hostile_values_stay_values() -> None:
    found = narrow("m", {"a": '"} or vector(1) #\n\\'})
    assert found.expr == 'm{a="\\"} or vector(1) #\\n\\\\"}'
    assert is_plain_selector(found.expr)
    assert '"$$1"' in narrow("topk(1, m)", {"a": "$1"}).expr


def test_the_name_is_not_given_twice() -> None:
    assert narrow("m", {"__name__": "m", "a": "1"}).expr == 'm{a="1"}'
    assert narrow('{__name__=~"m.*"}', {"__name__": "m", "a": "1"}).expr == '{__name__=~"m.*",__name__="m",a="1"}'
    assert narrow("rate(m[5m])", {"__name__": "m", "a": "1"}).expr == 'rate ( m{a="1"}[5m] )'


# --- on a real server -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


def read(prometheus: RunningPrometheus, expr: str, end_s: int) -> dict[str, list]:
    """Labels -> values over the day before a time."""
    form = {"query": expr, "start": end_s - 86_400, "end": end_s, "step": 300}
    answer = requests.post(f"{prometheus.url}/api/v1/query_range", data=form, timeout=30).json()
    assert answer["status"] == "success", (expr, answer)
    return {json.dumps(each["metric"], sort_keys=True): each["values"] for each in answer["data"]["result"]}


@pytest.mark.parametrize("expr", [
    "sales", 'sales{job="shop"}', '{__name__=~"sal.*"}', "rate(sales[10m])", "sum by (good) (sales)",
    "sum by (good, job) (sales * 2)", "sales / sales", "avg(sales) by (good) > 20", "sum without (instance) (sales)",
    "sales - sales offset 1h", "topk(3, sales)", "sum(sales)", "label_replace(sales, 'x', '$1', 'good', '(.).*')",
    "sales * on (good) group_left sum by (good) (sales)", "max_over_time(sales[1h:5m])", "sales > 24 or sales * 2",
    "sum by (good) (sales) + avg without (instance, job) (sales)", "quantile by (good) (0.5, sales) # half",
    "clamp(sales, 15, 30) and sales > 20",
])  # fmt: skip
def test_the_values_are_the_same_to_the_bit(prometheus: RunningPrometheus, expr: str) -> None:
    end_s = int(time.time()) // 300 * 300 - 300
    whole = read(prometheus, expr, end_s)
    assert whole
    for text, values in list(whole.items())[:3]:
        labels = json.loads(text)
        others = {name for other in whole for name in json.loads(other)} - set(labels) - {"__name__"}
        assert read(prometheus, narrow(expr, labels, others).expr, end_s)[text] == values
