"""The words, the page, the terminal and the JSON of explanations of many kinds of series."""

from __future__ import annotations

import functools
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.markup import Markup
from support.watched import DAY, NOW, SERIES, Watched, rhythm

from exporter.config import Config, Source, content_hash
from exporter.config.schema import HttpConfig
from exporter.explain import formats, words
from exporter.explain.chart import NARROW, SIZES, WIDE, Point, chart
from exporter.explain.document import explanation_json
from exporter.explain.explainer import Explanation, Latest, _Case
from exporter.explain.finding import Found
from exporter.explain.matching import match
from exporter.explain.narrowing import Narrowed
from exporter.explain.page import explanation_html
from exporter.explain.publication import Publication
from exporter.explain.recording import Recorded
from exporter.explain.terminal import explanation_text
from exporter.explain.timeline import Timeline, farness
from exporter.publish.style import visible
from exporter.source.client import Client
from exporter.source.session import open_session


def explained(
    watched: Watched, kind: str, time_s: int, *, model: str = "robust_band", shed: bool = False
) -> Explanation:
    """The explanation of a series of a unit, put together as an explainer does it."""
    config = Config(Source("http://p"), (watched.query,))
    own_hash = content_hash(config)
    client = Client("http://p", open_session(HttpConfig(), user_agent="t", timeout_s=1, pool_size=1))
    case = _Case(config, watched.query, "", model, client, None, (own_hash,), NOW)
    recorded = _recorded(watched, kind, time_s)
    numbers = watched.published().get(kind, {})
    published = Publication(numbers, math.nan, float(time_s)) if numbers else Publication()
    found = Found(watched.labels(kind), Narrowed("m{}", plain=True, pushed=True), 1, {"kind": kind})
    matched = match(watched.query, recorded, [time_s], published)
    return case._explanation(found, float(time_s), recorded, matched, published, Latest(time_s, shed=shed))


@functools.cache
def _recorded(watched: Watched, kind: str, time_s: int) -> Recorded:
    return watched.recorded(kind, time_s)


@pytest.fixture(scope="module")
def watched() -> Watched:
    kinds = SERIES | {
        "spike": lambda t, rng: rhythm(t, rng) + 60.0 * (t >= NOW + 60),
        "new": lambda t, rng: np.where(t < NOW - 3600, np.nan, rhythm(t, rng)),
        "ended": lambda t, rng: np.where(t > NOW - 7200, np.nan, rhythm(t, rng)),
        "flat": lambda t, rng: np.full(len(t), 7.0),
        "rare": lambda t, rng: np.where(np.round(t) % 43_200 == 0, 5.0 + rng.normal(0, 1, len(t)), np.nan),
        "positive": lambda t, rng: np.abs(rng.normal(0, 1, len(t))) * (rng.random(len(t)) < 0.5),
    }  # fmt: skip
    made = Watched(kinds)
    made.run(2)
    return made


def told(watched: Watched, kind: str, **more: object) -> Explanation:
    return explained(watched, kind, NOW + 60, **more)


# --- words ------------------------------------------------------------------------------------------------------------


def test_a_spike_in_words(watched: Watched) -> None:
    spike = told(watched, "spike")
    assert words.headline(spike).startswith("Anomalous: score ")
    text = " ".join(words.sentences(spike))
    assert re.search(r"Expected was 5\d\.\d+, the band \d+\.\d+ to \d+\.\d+: the value is 1\d\d % above expected", text)
    assert re.search(r"That is \d+(\.\d)? times further from expected than anything in the 3 days before", text)
    assert "The score came above 1 within 5m before it, after at least 15 minutes without a score above 1." in text
    assert re.search(r"The score of .* comes mostly from: .* by the record \(", text)
    assert re.search(r"To score above 1 the value had to be above \S+ \(\+\d+ %\) or below \S+ \(-\d+ %\)\.", text)
    assert "Equal in every digit to what the source published" in words.agreement(spike)


def test_the_factor_is_the_one_of_the_definition(watched: Watched) -> None:
    spike = told(watched, "spike")
    found, line = spike.farness, spike.timeline
    assert found is not None
    far = []
    for time_s, value, expected in zip(line.times_s, line.value, line.expected, strict=True):
        apart = (time_s - spike.judged_s + DAY / 2) % DAY - DAY / 2
        if abs(apart) <= 1800 and time_s < spike.judged_s - 1800 and not math.isnan(value - expected):
            far.append(abs(value - expected))
    assert found.most_here == max(far)
    assert found.distance == abs(spike.value - spike.verdict.expected)
    assert found.days == 3
    assert found.further == 0


def test_a_normal_sample_in_words(watched: Watched) -> None:
    text = " ".join(words.sentences(told(watched, "rhythm")))
    assert "the value is inside" in text
    assert "half an hour to either side, it was further from expected on" in text


@pytest.mark.parametrize(("kind", "state", "sentence"), [
    ("new", "warming", r"The series is new: .* It is judged after 2h of history, from 2023-12-09 13:00:00 UTC on\."),
    ("ended", "absent", r"The series sends no samples any more: .* until 2023-12-10 10:\d\d:\d\d UTC \(absent_for\)"),
    ("rare", "sparse", r"The window holds \d samples on its grid, and 24 are the least .* it needs 1\d more"),
    ("nobody", "", r"The series is not there at this time: its last sample is of never"),
])  # fmt: skip
def test_why_there_is_no_verdict_and_until_when(watched: Watched, kind: str, state: str, sentence: str) -> None:
    found = told(watched, kind)
    assert found.state == state
    assert words.headline(found).startswith("No verdict: ")
    assert re.search(sentence, " ".join(words.sentences(found))), words.sentences(found)


def test_a_constant_series_and_one_that_is_shed(watched: Watched) -> None:
    assert "All samples in the window have the same value" in " ".join(words.sentences(told(watched, "flat")))
    shed = told(watched, "rhythm", shed=True)
    assert "more series than its limit" in " ".join(words.sentences(shed))


def test_a_drop_that_could_not_be_seen_is_said(watched: Watched) -> None:
    found = told(watched, "positive")
    assert found.verdict.lower == 0
    assert math.isnan(found.below.value)
    assert "not even to 0" in words.needed(found)


@pytest.mark.parametrize(("x", "unit", "text"), [
    (24.829451, 5.3, "24.83"), (100_000_001.25, 0.4, "100,000,001.250"), (1234567.8, 500.0, "1,234,568"),
    (1.5e-7, 1e-8, "1.5e-07"), (0.0, 0.0, "0"), (5.0, math.nan, "5.00"), (math.nan, 1.0, "none"),
    (math.inf, 1.0, "infinite"), (-math.inf, 1.0, "minus infinite"), (1e300, 1.0, "1e+300"),
])  # fmt: skip
def test_numbers(x: float, unit: float, text: str) -> None:
    assert formats.number(x, unit) == text


def test_other_formats() -> None:
    assert [formats.percent(x) for x in (0.5, -0.123, 0.0456, -0.00012)] == ["+50 %", "-12 %", "+4.6 %", "-0.012 %"]
    assert [formats.factor(x) for x in (1.26, 9.99, 23.4, 1e4)] == ["1.3", "10.0", "23", "10,000"]
    assert formats.moment(math.nan) == "never"
    assert formats.moment(1e300).endswith(" s")
    assert [formats.duration(x) for x in (0, 90, 600, 5000, 90_061)] == ["0s", "1m30s", "10m", "1h23m", "1d1h1m"]
    assert visible("a\u202eb\n\x00") == r"a\u202eb\u000a\u0000"


def test_policy_is_told_with_what_it_did(watched: Watched) -> None:
    found = told(watched, "spike")
    own = replace(found.query, direction="below", min_deviation=3.0, min_relative_deviation=0.1, data_range=(0.0, 90.0),
                  min_history_s=3600)  # fmt: skip
    lines = words.policy(replace(found, query=own, of_model=replace(found.of_model, score=2 * found.verdict.score)))
    assert [line.partition(":")[0] for line in lines[:5]] == ["direction", "min_deviation", "min_relative_deviation",
                                                              "data_range", "min_history"]  # fmt: skip
    assert "out of the model's" in lines[5]
    assert words.policy(found) == ["none: both directions, no least deviation, any value"]


def test_what_is_not_equal_is_said_with_its_likely_cause(watched: Watched) -> None:
    found = told(watched, "spike")
    other = Publication({"robust_band": replace(found.verdict, score=9.0)}, found.value, found.published.time_s)
    assert "samples of the window have come or gone" in words.agreement(
        replace(found, published=other, reproduced=False)
    )
    late = replace(other, value=1.0)
    assert "it judged the value 1.0" in words.agreement(replace(found, published=late, reproduced=False))
    assert "offset" in words.agreement(replace(found, published=other, reproduced=False, offset=4096.0))
    assert "no published verdict" in words.agreement(replace(found, reproduced=None))
    elsewhere = replace(found, published=other, reproduced=False, other_hashes=("x",))
    assert words.agreement(elsewhere).endswith("it runs with another config.")
    assert "but the exporter runs with x" in words.hashes(replace(found, other_hashes=("x",)))


# --- page, terminal, JSON ---------------------------------------------------------------------------------------------


KINDS = [*SERIES, "spike", "new", "ended", "flat", "rare", "positive", "nobody"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["robust_band", "shesd"])
def test_every_kind_of_series_has_a_page_a_text_and_json(watched: Watched, kind: str, model: str) -> None:
    found = told(watched, kind, model=model)
    html = explanation_html(found)
    reader = Markup(html)
    assert "script" not in reader.tags
    assert not {name for name, _ in reader.attributes} & {"style", "onclick", "onload", "onerror"}
    assert not re.search(r"\b(nan|inf)\b", html.partition("<body>")[2])
    assert not re.search(r'(src|href|action)="(?!/|data:)', html)
    for sentence in words.sentences(found):
        assert sentence in reader.text
    text = explanation_text(found)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "\x1b[" in explanation_text(found, colour=True)
    document = json.loads(explanation_json(found), parse_constant=lambda constant: pytest.fail(constant))
    assert document["state"] == found.state
    assert len(document["timeline"]["time"]) == len(document["timeline"]["score"])


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=40))
def test_text_from_outside_never_becomes_markup(watched: Watched, hostile: str) -> None:
    hostile = f'"><script>alert(1)</script>\u202e{hostile}'
    found = told(watched, "rhythm")
    query = replace(found.query, name=hostile)
    found = replace(found, labels={"a": hostile, hostile: "b"}, tenant=hostile, query=query, remarks=(hostile,),
                    expr=hostile, other_hashes=(hostile,))  # fmt: skip
    reader = Markup(explanation_html(found))
    assert "script" not in reader.tags
    assert "alert(1)" in reader.text
    text = explanation_text(found)
    assert "\u202e" not in text


# --- charts -----------------------------------------------------------------------------------------------------------


def line(values: np.ndarray, score: float = 0.1) -> Timeline:
    times = np.arange(len(values), dtype=np.int64) * 300 + NOW
    scores = np.where(np.isnan(values), np.nan, score)
    return Timeline(times, values, scores, values * 0 + 1.0, values * 0, values * 0 + 2.0)


def path(svg: str, kind: str) -> list[tuple[float, float]]:
    found = re.search(rf'<path class="{kind}" d="([^"]*)"', svg)
    assert found is not None
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", found[1])]


@pytest.mark.parametrize("size", SIZES)
def test_a_single_spike_among_thousands_of_samples_is_drawn(size) -> None:
    values = np.ones(4032)
    values[1234] = 50.0
    svg = chart(line(values), None, size, "t")
    points = path(svg, "value")
    top = min(points, key=lambda point: point[1])
    assert top[1] < 40
    span = size.width - size.left - size.right
    assert top[0] == pytest.approx(size.left + span * 1234 / 4031, abs=1.5)
    assert len(points) <= 2 * span + 2


def test_gaps_stay_gaps_and_single_samples_are_dots() -> None:
    values = np.ones(100)
    values[40:60] = np.nan
    values[50] = 1.5
    found = re.search(r'<path class="value" d="([^"]*)"', chart(line(values), None, WIDE, "t"))
    assert found is not None
    assert found[1].count("M") == 3
    assert found[1].count("h0") == 1


def test_nothing_is_drawn_of_nothing() -> None:
    assert chart(line(np.full(10, np.nan)), None, WIDE, "t") == ""
    assert chart(line(np.ones(1)), None, WIDE, "t") == ""


@pytest.mark.parametrize("values", [np.zeros(50), np.full(50, 1e300), np.linspace(-1e-300, 1e-300, 50),
                                    np.linspace(-1, 1, 50) * 1e308, 1e8 + np.arange(50) * 1e-6])  # fmt: skip
def test_extreme_values_are_drawn_within_the_frame(values: np.ndarray) -> None:
    for size in SIZES:
        svg = chart(line(values), Point(NOW + 50 * 300, float(values[-1]), 100.0, -math.inf, math.nan), size, "t")
        assert not re.search(r"\b(nan|inf)\b", svg)
        for x, y in path(svg, "value"):
            assert size.left <= x <= size.width
            assert 0 <= y <= size.height + 20


def test_scores_above_one_are_marked() -> None:
    svg = chart(line(np.ones(20), 1.5), None, NARROW, "t")
    assert len(path(svg, "dots")) == 20
    assert 'class="score over" d="M' in svg


def test_a_day_without_history_has_no_comparison() -> None:
    found = farness(line(np.ones(20)), 5.0, 1.0, float(NOW))
    assert found.days == 0
    assert math.isnan(found.most_here)
