"""exporter.publish.exposition beside its slow twin and the parsers of others."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive import exposition as naive
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.names import EXPECTED, FAMILIES, SCORE, VALUE, Family
from exporter.publish.exposition import Page
from exporter.publish.label_text import LabelText, exported_labels, label_text
from exporter.publish.lines import render_rows

SLOWLY = settings(max_examples=300, deadline=None)

label_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
label_values = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
label_sets = st.dictionaries(label_names, label_values, max_size=5)
values = st.floats() | st.integers(-(10**12), 10**12).map(float) | st.just(math.nan)

HOSTILE = [
    *('"', "\\", "\n", '\\"\n', "a\\nb", "{}", "}", "# HELP x", " "),
    *("\t\r\x00\x0b", "日本語 ü", "\u2028\u0085", "a=1,b"),
]


def table(labels: dict[int, dict[str, str]]) -> LabelText:
    text = LabelText()
    for row, own in labels.items():
        text.set_row(row, tuple(own.items()))
    return text


# --- exported_labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "added", "wanted"),
    [
        ({"__name__": "up", "job": "a"}, {"query": "q"}, {"job": "a", "query": "q"}),
        ({"query": "theirs"}, {"query": "q"}, {"exported_query": "theirs", "query": "q"}),
        (
            {"query": "1", "exported_query": "2"},
            {"query": "q"},
            {"query": "q", "exported_query": "2", "exported_exported_query": "1"},
        ),
        ({"a": "", "b": "x"}, {"query": "q", "tenant": ""}, {"b": "x", "query": "q"}),
        ({"tenant": "theirs"}, {"tenant": ""}, {"tenant": "theirs"}),
        ({"http.method": "GET", "1st": "x", "ü": "y"}, {}, {"http_method": "GET", "_st": "x", "_": "y"}),
        ({"a.b": "1", "a-b": "2", "a_b": "3"}, {}, {"a_b": "3", "exported_a_b": "2", "exported_exported_a_b": "1"}),
        ({"mo.del": "x", "mo_del": "y"}, {"model": "shesd"}, {"mo_del": "y", "exported_mo_del": "x", "model": "shesd"}),
        ({"__tenant_id__": "a", "": "nameless"}, {}, {"__tenant_id__": "a", "_": "nameless"}),
        ({}, {}, {}),
    ],
)
def test_labels_of_a_published_series(source: dict[str, str], added: dict[str, str], wanted: dict[str, str]) -> None:
    assert exported_labels(source, added) == tuple(sorted(wanted.items()))
    backwards = dict(reversed(source.items()))
    assert exported_labels(backwards, added) == exported_labels(source, added)


@SLOWLY
@given(st.dictionaries(st.text(max_size=6), label_values, max_size=6), label_sets)
def test_no_label_is_lost_and_every_name_is_valid(source: dict[str, str], added: dict[str, str]) -> None:
    result = exported_labels(source, added)
    names = [name for name, _ in result]
    assert names == sorted(set(names))
    assert all(name.isidentifier() and name.isascii() for name in names)
    wanted = [value for name, value in source.items() if value and name != "__name__"]
    assert sorted(value for _, value in result) == sorted(wanted + [value for value in added.values() if value])
    assert all(dict(result)[name] == value for name, value in added.items() if value)


# --- label text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_label_values_are_read_back(value: str) -> None:
    data = render_rows(b"m", table({0: {"a": value, "b": "x"}}), np.array([0]), np.array([1.5]))
    for parse in (parse_text, lambda text: parse_openmetrics("# TYPE m gauge\n" + text + "# EOF\n")):
        (family,) = parse(data.decode())
        (sample,) = family.samples
        assert sample.labels == {"a": value, "b": "x"}
        assert sample.value == 1.5


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert label_text([("a", "x\ud800y")]) == b'{a="x?y"} '


def test_rows_are_set_changed_dropped_and_shown() -> None:
    text = table({0: {"b": "1", "a": 'q"'}, 700: {}})
    assert text.text(0) == '{a="q\\"",b="1"}'
    assert text.text(700) == ""
    text.set_row(0, (("c", "2"),))
    assert text.text(0) == '{c="2"}'
    text.drop_row(0)
    text.drop_row(0)
    text.drop_row(10**6)
    assert text.text(0) == text.text(1) == text.text(10**6) == ""


def test_negative_rows_are_refused() -> None:
    with pytest.raises(IndexError):
        LabelText().set_row(-1, ())


def test_churn_does_not_grow_memory() -> None:
    """A tenth of 2,000 rows is replaced 500 times: 50 times the live text passes through."""
    labels = {row: {"pod": f"web-{row:08d}", "instance": "10.0.0.1:8080", "filler": "x" * 60} for row in range(2000)}
    text = table(labels)
    text.set_row(1999, tuple(labels[1999].items()))
    most = 0
    for cycle in range(500):
        for row in range(cycle % 10, 2000, 10):
            labels[row] = {"pod": f"web-{cycle:04d}-{row:04d}", "instance": "10.0.0.1:8080", "filler": "y" * 60}
            text.drop_row(row)
            text.set_row(row, tuple(labels[row].items()))
        most = max(most, text.held_bytes)
    live_bytes = sum(len(label_text(sorted(own.items()))) for own in labels.values())
    assert most < 5 * live_bytes + 200_000
    rendered = render_rows(b"m", text, np.arange(2000), np.ones(2000))
    assert rendered == naive.rows("m", labels, [(row, 1.0) for row in labels])


def test_memory_shrinks_after_a_burst() -> None:
    text = LabelText()
    for row in range(5000):
        text.set_row(row, (("pod", "x" * 100),))
    burst_bytes = text.held_bytes
    for row in range(5000):
        text.drop_row(row)
    text.set_row(0, (("pod", "y"),))
    assert text.held_bytes < burst_bytes / 4
    assert text.text(0) == '{pod="y"}'


@SLOWLY
@given(st.lists(st.tuples(st.integers(0, 300), st.none() | label_sets), max_size=60))
def test_any_history_of_rows_leaves_the_last_labels(history: list[tuple[int, dict[str, str] | None]]) -> None:
    text, known = LabelText(), dict[int, dict[str, str]]()
    for row, labels in history:
        if labels is None:
            text.drop_row(row)
            known.pop(row, None)
        else:
            text.set_row(row, tuple(labels.items()))
            known[row] = labels
    everything = [(row, 1.0) for row in range(text.rows)]
    rendered = render_rows(b"m", text, np.arange(len(everything)), np.ones(len(everything)))
    assert rendered == naive.rows("m", known, everything)


# --- render_rows --------------------------------------------------------------------------------------------------


@SLOWLY
@given(
    st.dictionaries(st.integers(0, 80), label_sets, min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 63), values), max_size=20),
    st.sampled_from([0, 9]),
)
@example({0: {}}, [(0, math.inf), (0, -math.inf), (0, -0.0), (1, 1.0), (0, math.nan)], 0)
def test_lines_are_those_of_the_slow_twin(
    labels: dict[int, dict[str, str]], picked: list[tuple[int, float]], significant: int
) -> None:
    rows = np.array([row for row, _ in picked], np.int64)
    wanted = np.array([value for _, value in picked])
    rendered = render_rows(b"anomaly_score", table(labels), rows, wanted, significant)
    assert rendered == naive.rows("anomaly_score", labels, picked, significant)


@SLOWLY
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30))
def test_exact_values_arrive_exactly(wanted: list[float]) -> None:
    text = table({row: {"row": str(row)} for row in range(len(wanted))})
    rendered = render_rows(b"m", text, np.arange(len(wanted)), np.array(wanted)).decode()
    assert [sample.value for family in parse_text(rendered) for sample in family.samples] == wanted


def test_the_longest_numbers_have_room() -> None:
    """With the shortest labels every line is as tight as it gets."""
    longest = np.array([-2.2250738585072014e-308, -1.7976931348623157e308, -0.00012345678901234567] * 50)
    rendered = render_rows(b"m", table({0: {}}), np.zeros(150, np.int64), longest)
    assert rendered == naive.rows("m", {0: {}}, [(0, x) for x in longest.tolist()])


def test_float32_and_read_only_arrays_are_taken() -> None:
    narrow = np.array([0.1, np.nan], np.float32)
    narrow.flags.writeable = False
    assert render_rows(b"m", table({0: {}, 1: {}}), np.arange(2), narrow) == b"m 0.10000000149011612\n"


def test_every_other_row_of_an_array_is_taken() -> None:
    text = table({row: {"r": str(row)} for row in range(8)})
    rendered = render_rows(b"m", text, np.arange(8)[::2], np.arange(8.0)[::2])
    assert rendered == b'm{r="0"} 0\nm{r="2"} 2\nm{r="4"} 4\nm{r="6"} 6\n'


def test_no_rows_make_no_text() -> None:
    assert render_rows(b"m", LabelText(), np.empty(0, np.int64), np.empty(0)) == b""


@pytest.mark.parametrize("row", [-1, 64, 10**9])
def test_rows_out_of_range_are_refused(row: int) -> None:
    with pytest.raises(IndexError, match="not within the 64 rows"):
        render_rows(b"m", LabelText(), np.array([row]), np.array([1.0]))


def test_rows_and_values_must_match() -> None:
    with pytest.raises(ValueError, match="2 rows, but 1 values"):
        render_rows(b"m", table({0: {}}), np.array([0, 0]), np.array([1.0]))


# --- page ---------------------------------------------------------------------------------------------------------


def test_families_and_units_have_a_fixed_order() -> None:
    one, other = Page(), Page()
    parts = [("b", SCORE, b"s 1\n"), ("a", SCORE, b"s 2\n"), ("a", EXPECTED, b"e 3\n"), ("b", VALUE, b"")]
    for page, order in ((one, parts), (other, parts[::-1])):
        for part in order:
            page.put(*part)
    lines = b"".join(one.chunks(FAMILIES, openmetrics=False)).decode().splitlines()
    assert one.chunks(FAMILIES, openmetrics=False) == other.chunks(FAMILIES, openmetrics=False)
    assert [line.split()[0] if line[0] != "#" else " ".join(line.split()[1:3]) for line in lines] == [
        *("HELP anomaly_score", "TYPE anomaly_score", "s", "s"),
        *("HELP anomaly_expected", "TYPE anomaly_expected", "e"),
    ]
    assert lines[2:4] == ["s 2", "s 1"]


def test_empty_data_takes_a_family_off() -> None:
    page = Page()
    page.put("a", SCORE, b"s 1\n")
    page.put("a", SCORE, b"")
    assert page.chunks(FAMILIES, openmetrics=False) == [b""]


def test_replace_leaves_nothing_of_the_cycle_before() -> None:
    page = Page()
    page.replace("a", {SCORE: b"s 1\n", EXPECTED: b"e 1\n"})
    page.replace("a", {SCORE: b"s 2\n", VALUE: b""})
    body = b"".join(page.chunks(FAMILIES, openmetrics=False))
    assert b"\ns 2\n" in body
    assert b"\ne 1" not in body
    page.drop("a")
    page.drop("a")
    assert page.chunks(FAMILIES, openmetrics=False) == [b""]


def test_self_metrics_follow_and_openmetrics_ends() -> None:
    registry = CollectorRegistry()
    Gauge("own", "Of the exporter.", registry=registry).set(3)
    Counter("done", "Of the exporter.", registry=registry).inc()
    page = Page(registry)
    page.put("a", SCORE, render_rows(b"anomaly_score", table({0: {"q": "x"}}), np.array([0]), np.array([0.25])))
    text = b"".join(page.chunks(FAMILIES, openmetrics=False)).decode()
    openmetrics = b"".join(page.chunks(FAMILIES, openmetrics=True)).decode()
    assert "# EOF" not in text
    assert openmetrics.endswith("# EOF\n")
    assert openmetrics.count("# EOF") == 1
    for families in (parse_text(text), parse_openmetrics(openmetrics)):
        samples = {sample.name: sample.value for family in families for sample in family.samples}
        assert (samples["anomaly_score"], samples["own"], samples["done_total"]) == (0.25, 3, 1)


def test_openmetrics_ends_without_a_registry_too() -> None:
    assert Page().chunks(FAMILIES, openmetrics=True) == [b"# EOF\n"]


def test_help_is_escaped_for_either_format() -> None:
    families = {SCORE: Family("m", 'a "quoted" \\ line\nand another')}
    page = Page()
    page.put("u", SCORE, b"m 1\n")
    for openmetrics, parse in ((False, parse_text), (True, parse_openmetrics)):
        (family,) = parse(b"".join(page.chunks(families, openmetrics=openmetrics)).decode())
        assert family.documentation == families[SCORE].help


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual_s)


@pytest.mark.usefixtures("hasty_threads")
def test_a_scrape_never_sees_half_a_cycle() -> None:
    """Two threads replace whole cycles while another scrapes: both families always carry the same cycle number."""
    page, stop = Page(), threading.Event()

    def publish(unit: str) -> None:
        cycle = 0
        while not stop.is_set():
            cycle += 1
            page.replace(unit, {SCORE: f"s_{unit} {cycle}\n".encode(), VALUE: f"v_{unit} {cycle}\n".encode()})

    threads = [threading.Thread(target=publish, args=(unit,)) for unit in "ab"]
    for thread in threads:
        thread.start()
    pages: set[str] = set()
    while len(pages) < 50:
        pages.add(b"".join(page.chunks(FAMILIES, openmetrics=False)).decode())
    stop.set()
    for thread in threads:
        thread.join()
    for body in pages:
        samples = dict(line.split() for line in body.splitlines() if line[0] != "#")
        assert all(samples[f"s_{unit}"] == samples[f"v_{unit}"] for unit in "ab" if f"s_{unit}" in samples)
