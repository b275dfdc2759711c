from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.source.promql import instant_selectors, is_plain_selector, metric_names, ranged_selectors, raw_counters

PLAIN = [
    "up", "job:requests:rate5m", " up ", "up # the targets", 'up{job="a"}', "up{}", 'up{job=~"a|b", x!="}",}',
    '{__name__=~"node_.*"}', '{job="a"}', "up { job = 'a' }", "up{a=`x`}", '{"http.requests", "a.b"="c"}', "sum",
]  # fmt: skip
NOT_PLAIN = [
    "", "up[5m]", "up offset 5m", "up @ 1700000000", "up @ end()", "(up)", "-up", "rate(up[5m])", "up + 1", "up == 1",
    "a and b", "sum(up)", "sum by (a) (up)", "{}", "up{", "up}", 'up{a="b" or c="d"}', "up default 0", "1", "inf",
    '"up"', "NaN", "up{a=b}", "up{5}", "up up", "up;", 'up{a="b}', "by", "up limit 5", "on", "up[5m:1m]",
]  # fmt: skip


@pytest.mark.parametrize("expr", PLAIN)
def test_plain_selectors(expr: str) -> None:
    assert is_plain_selector(expr)
    assert instant_selectors(expr) == (expr.split(" #")[0].strip(),)


@pytest.mark.parametrize("expr", NOT_PLAIN)
def test_everything_else_is_no_plain_selector(expr: str) -> None:
    assert not is_plain_selector(expr)


@pytest.mark.parametrize(("expr", "instant", "ranged"), [
    ("a / b", ("a", "b"), ()),
    ("a + a", ("a",), ()),
    ("a OR b unless c", ("a", "b", "c"), ()),
    ("sum by (job, mode) (rate(a[5m]))", (), ("a",)),
    ("sum(rate(a[5m])) without (job)", (), ("a",)),
    ('sum(a{x="(["}) by (by)', ('a{x="(["}',), ()),
    ("a * on (job) group_left (name) b", ("a", "b"), ()),
    ("a * ignoring(job) group_right b", ("a", "b"), ()),
    ("a > bool 1e3", ("a",), ()),
    ("a - a offset 1d", ("a",), ()),
    ("a offset -5m", (), ()),
    ("rate(a[5m] offset 1w) + b", ("b",), ()),
    ("a @ start() + b @ -1.5 + c", ("c",), ()),
    ("max_over_time(a[1h:5m])", (), ("a",)),
    ("max_over_time(sum(a)[1h:])", (), ("a",)),
    ("max_over_time((sum by (x) (a / b))[1h:5m]) - c", ("c",), ("a", "b")),
    ("max_over_time(sum(a) by (x)[1h:5m])", (), ("a",)),
    ("quantile_over_time(0.9, a[5m])", (), ("a",)),
    ('label_replace(a, "x", "$1", "y", "(.*)")', ("a",), ()),
    ("time() - a", ("a",), ()),
    ("-a ^ 2", ("a",), ()),
    ("a # b\n+ c", ("a", "c"), ()),
    ("1h30m * a", ("a",), ()),
    ("0x1F + .5 + 1_000 + a", ("a",), ()),
    ("sum (a)", ("a",), ()),
    ("a[5m", (), ()),
    ("a + ", (), ()),
    ("sum(a) keep_metric_names", (), ()),
    ("a if b", (), ()),
    ("WITH (x = a) x", (), ()),
    ("a[[5m]]", (), ()),
    ("vector(1)", (), ()),
    ("a + on b", (), ()),
    ("(" * 500 + "a" + ")" * 500, (), ()),
])  # fmt: skip
def test_which_selectors_look_back(expr: str, instant: tuple[str, ...], ranged: tuple[str, ...]) -> None:
    assert instant_selectors(expr) == instant
    assert ranged_selectors(expr) == ranged


@pytest.mark.parametrize(("expr", "names"), [
    ("a_total", ("a_total",)),
    ("sum(a_total) + sum(b_total)", ("a_total", "b_total")),
    ('sum by (x) ({__name__="a_total", x="y"})', ("a_total",)),
    ('{"a_total"}', ("a_total",)),
    ("avg_over_time(a_total[5m])", ("a_total",)),
    ("rate(a_total[5m])", ()),
    ("IRATE(a_total[5m])", ()),
    ("sum(increase(a_total[5m])) / sum(rate(b_total[5m]))", ()),
    ("rate(sum(a_total)[1h:5m])", ()),
    ("a_total - a_total offset 5m", ()),
    ("resets(a_total[1h]) + changes(b_total[1h])", ()),
    ("count(a_total) + absent(b_total)", ()),
    ("a_sum / a_count", ()),
    ("a_totals", ()),
    ("rate(a_total[5m]) / b_total", ("b_total",)),
    ("a_total default 0", ()),
])  # fmt: skip
def test_counters_read_raw(expr: str, names: tuple[str, ...]) -> None:
    assert raw_counters(expr) == names


def test_metric_names_come_from_words_matchers_and_quotes() -> None:
    expr = 'a + {__name__="b"} + {"c.d"} + {__name__=~"e.*"} + rate(f[5m]) + a'
    assert metric_names(expr) == ("a", "b", "c.d", "f")


WORDS = st.sampled_from(
    ["a", "b_total", "sum", "rate", "by", "offset", "@", "(", ")", "[", "]", "{", "}", '"x"', "5m", "1", ",", "=",
     "and", "on", "#", "\n", "-", ":", "bool", "'", "`", "\\", "☃", ""]
)  # fmt: skip


@given(st.lists(WORDS, max_size=30).map(" ".join))
def test_no_text_makes_it_fail_and_plain_means_exactly_one_instant_selector(expr: str) -> None:
    found = instant_selectors(expr) + ranged_selectors(expr) + raw_counters(expr)
    assert all(part in expr for part in found)
    if is_plain_selector(expr):
        assert len(instant_selectors(expr)) == 1
        assert ranged_selectors(expr) == ()
