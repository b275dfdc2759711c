"""exporter.publish.landing: what people read, and that no text from outside becomes markup."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.markup import VOID, Markup

from exporter.publish.landing import MOST_UNITS, PAGE_POLICY, Landing, LandingRow, LandingUnit, duration, page_html

OURS = VOID | {"html", "head", "title", "style", "body", "header", "main", "footer", "nav", "section", "svg", "div"} | {
    *("h1", "h2", "p", "a", "span", "code", "table", "thead", "tbody", "tr", "th", "td"),
    *("form", "label", "select", "option", "button"),
}  # fmt: skip


def unit(query: str = "q", *, tenant: str = "", error: str = "", **states: int) -> LandingUnit:
    return LandingUnit(tenant, query, "sum(up)", states, 61.0, error)


def row(labels: dict[str, str] | None = None, *, value: float = 5, upper: float = 6, tenant: str = "") -> LandingRow:
    return LandingRow(tenant, "q", labels or {}, 1.25, value, 4.0, 2.0, upper, 11520.0)


def read(
    units: Sequence[LandingUnit] = (),
    worst: Sequence[LandingRow] = (),
    absent: Sequence[LandingRow] = (),
    **more: object,
) -> Markup:
    return Markup(page_html(Landing("1.2.3", units, worst, absent, **more)))


def test_an_empty_exporter_says_so() -> None:
    text = read().text
    assert "1.2.3" in text
    assert "0 queries, 0 series, 0 judged" in text
    assert "No series has a verdict yet" in text
    assert "No judged series is missing" in text


def test_units_show_states_age_and_error() -> None:
    text = read([unit("cpu", ok=1200, warming=0, constant=3), unit("mem", error="HTTP 503: <b>busy</b>")]).text
    assert "2 queries, 1,203 series, 1,203 judged" in text
    assert "1 query fails" in text
    assert "1,200 ok" in text
    assert "warming" not in text
    assert "1 min 1 s old" in text
    assert "HTTP 503: <b>busy</b>" in text


def test_a_unit_without_a_verdict_says_so() -> None:
    assert "none yet" in read([LandingUnit("", "q", "up", {}, None)]).text


def test_rows_show_labels_numbers_and_band() -> None:
    reader = read([unit()], [row({"job": "web", "a": 'x"y'}, value=12345.678)], [row({"job": "gone"})])
    assert '{a="x\\"y",job="web"}' in reader.text
    assert reader.tags.count("wbr") == 1  # a narrow page breaks between labels
    assert "12,346" in reader.text
    assert "2 to 6" in reader.text
    assert "3 h 12 min ago" in reader.text
    assert reader.tags.count("svg") == 1


def test_the_value_is_marked_outside_the_band_only_when_it_is() -> None:
    for value, kind in ((5.0, "in"), (6.0, "in"), (7.0, "out"), (1.0, "out")):
        assert ("class", kind) in read([unit()], [row(value=value)]).attributes


@pytest.mark.parametrize(("value", "upper"), [(math.nan, 6.0), (math.inf, 6.0), (5.0, math.inf), (1e308, -1e308)])
def test_no_picture_of_what_can_not_be_drawn(value: float, upper: float) -> None:
    reader = read([unit()], [row(value=value, upper=upper)])
    assert "nan" not in page_text_without_style(reader)
    assert "svg" not in reader.tags


def page_text_without_style(reader: Markup) -> str:
    return reader.text.partition("}\n}\n")[2]


def test_a_flat_band_is_drawn_without_dividing_by_zero() -> None:
    flat = LandingRow("", "q", {}, 0.0, 4.0, 4.0, 4.0, 4.0, 1.0)
    assert "svg" not in read([unit()], [flat]).tags


def test_tenants_are_named_where_there_are_any() -> None:
    assert "team-a / q" in read([unit(tenant="team-a")], [row(tenant="team-a")]).text
    assert " / q" not in read([unit()], [row()]).text


@given(st.text(max_size=30), st.text(max_size=30))
def test_text_from_outside_never_becomes_markup(hostile: str, other: str) -> None:
    hostile = f'"><script>alert(1)</script><!--{hostile}'
    units = [LandingUnit(hostile, hostile, other, {hostile: 1}, 1.0, other)]
    links = [(f"http://g/?{hostile}", hostile)]
    reader = read(units, [row({other: hostile}, tenant=hostile)], [row({other: other}, tenant=other)], explains=True,
                  links=links, config_hash=hostile)  # fmt: skip
    assert set(reader.tags) <= OURS
    assert all(name in ALLOWED for name, _ in reader.attributes[8:] if "-" not in name
               and name not in SVG_ATTRIBUTES)  # fmt: skip


ALLOWED = {"href", "class", "data-name", "scope", "action", "method", "name", "placeholder", "autocomplete",
           "spellcheck", "type"}  # fmt: skip
SVG_ATTRIBUTES = {"width", "height", "role", "x", "y", "x1", "x2", "y1", "y2", "rx", "cx", "cy", "r"}


def test_nothing_is_fetched_from_elsewhere() -> None:
    html = page_html(Landing("1", [unit(ok=1)], [row()], [row()], explains=True))
    assert not re.search(r"(src|href)=\"(?!/|data:)", html)
    assert "url(" not in html
    assert "style=" not in html  # the policy would not let it work
    assert "sha256-" in PAGE_POLICY


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (11520, "3 h 12 min"),
        (90000, "1 d 1 h"),
        (86400 * 12 + 5, "12 d 0 h"),
        (-3, "0 s"),
        (math.inf, "unknown time"),
        (math.nan, "unknown time"),
    ],
)
def test_durations_are_short(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_rows_link_to_their_explanation_where_there_is_one() -> None:
    reader = read([unit()], [LandingRow("t", "q", {"a": 'b"'}, 2.0, 1, 1, 1, 1, 1, "shesd")], explains=True)
    links = [value for name, value in reader.attributes if name == "href" and str(value).startswith("/explain")]
    assert links == ["/explain?query=q&tenant=t&model=shesd&series=%7Ba%3D%22b%5C%22%22%7D"]
    assert ("action", "/explain") in reader.attributes
    assert "explain" not in read([unit()], [row()]).text


def test_progress_anomalies_links_and_config_are_shown() -> None:
    units = [LandingUnit("", "a", "up", {"ok": 3}, 5.0, anomalous=2), LandingUnit("", "b", "up", {}, None, loaded=0.25)]
    reader = read(units, links=[("http://grafana/d/x", "Dashboards")], config_hash="abc123")
    assert "2 anomalous now" in reader.text
    assert "1 query reads its window: 62 % of all" in reader.text
    assert "reading its window: 25 %" in reader.text
    assert ("href", "http://grafana/d/x") in reader.attributes
    assert "Config abc123." in reader.text


def test_what_to_know_of_the_data_of_a_query_stands_beside_it() -> None:
    notes = ("the server gave <b>less</b>", "its answer is partial", "a remark", "one too many")
    text = read([LandingUnit("", "a", "up", {"ok": 3}, 5.0, notes=notes)]).text
    assert all(note in text for note in notes[:3])
    assert notes[3] not in text


def test_of_a_thousand_queries_those_in_need_come_first() -> None:
    units = [LandingUnit("", f"q{i:04}", "up", {"ok": 1}, 1.0) for i in range(1000)]
    units[777] = LandingUnit("", "broken", "up", {}, None, "HTTP 500")
    units[888] = LandingUnit("", "worst", "up", {"ok": 1}, 1.0, anomalous=1)
    reader = read(units)
    assert "And 800 more" in reader.text
    order = [reader.text.index(name) for name in ("broken", "worst", "q0000")]
    assert order == sorted(order)
    assert reader.tags.count("tr") == MOST_UNITS + 1


def test_long_labels_are_cut_on_this_page() -> None:
    reader = read([unit()], [row({"a": "x" * 10_000})])
    assert 1900 < reader.text.count("x") < 2100
