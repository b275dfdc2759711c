"""The shape of the list and of the table, what counts as met, and the slope of growth."""

from __future__ import annotations

import json

import pytest

from bench.speed import growth
from bench.speed.plan import Plan, parse_scale, size_text
from bench.speed.report import (
    MEASURES,
    Row,
    SpeedError,
    as_list,
    cells,
    check_marks,
    markdown,
    remarks,
    text,
    write_json,
    write_markdown,
)

BEGIN, END = "<!-- speed: written by python -m bench.speed -->", "<!-- speed: end -->"
IN_THE_ISSUE = """
    read_window_client_cpu read_window_total_cpu newest_client_cpu fit_shesd_dense_rate fit_shesd_gaps_rate
    fit_robust_band_rate evaluate_column_cpu render_cpu remote_write_encode_cpu cycle_exporter_cpu cycle_exporter_share
    rss_bytes start_to_first_verdict growth_exponent"""


def row(**differently):
    return Row(**{"title": "a thing", "at": "10k", "unit": "CPU s", "value": 2.0, **differently})


def full_set():
    return [row(measure=name) for name in reversed(MEASURES)] + [row(title="only for people", measure="")]


def test_the_measures_are_those_of_the_issue():
    assert list(MEASURES) == IN_THE_ISSUE.split()


def test_the_list_is_flat_in_order_and_whole(tmp_path):
    write_json(tmp_path / "out.json", full_set(), "10k")
    found = json.loads((tmp_path / "out.json").read_text())
    assert [entry["measure"] for entry in found] == list(MEASURES)
    assert all(list(entry) == ["measure", "scale", "value", "unit", "naive", "ratio"] for entry in found)
    assert found[0] == {"measure": MEASURES[0], "scale": "10k", "value": 2.0, "unit": "CPU s", "naive": None,
                        "ratio": None}  # fmt: skip


@pytest.mark.parametrize(("at", "scale"), [("1m", "1m"), ("100k", "100k"), ("128", "1m")])
def test_a_row_measured_at_another_scale_says_so(at, scale):
    rows = [row(measure=name, at=at if name == "render_cpu" else "1m") for name in MEASURES]
    assert {entry["measure"]: entry["scale"] for entry in as_list(rows, "1m", "100k")}["render_cpu"] == scale


def test_a_measure_missing_or_twice_is_an_error():
    with pytest.raises(SpeedError, match="not exactly once: growth_exponent"):
        as_list(full_set()[1:], "10k")
    with pytest.raises(SpeedError, match="not exactly once: render_cpu"):
        as_list([*full_set(), row(measure="render_cpu")], "10k")


def test_a_ratio_says_how_many_times_better():
    assert row(naive=8.0).ratio == 4.0
    assert row(unit="series/s", naive=0.5).ratio == 4.0
    assert row().ratio is None
    assert row(value=None, naive=8.0).ratio is None


@pytest.mark.parametrize(
    ("unit", "value", "target", "stretch", "cell"),
    [
        ("CPU s", 2.0, 2.0, None, "yes"),
        ("CPU s", 2.0, 1.9, None, "no"),
        ("CPU s", 2.0, 3.0, 2.5, "stretch"),
        ("series/s", 2.0, 3.0, None, "no"),
        ("series/s", 2.0, 1.0, 3.0, "yes"),
        ("series/s", 4.0, 1.0, 3.0, "stretch"),
        ("CPU s", 2.0, None, None, ""),
        ("CPU s", None, 2.0, None, ""),
    ],
)
def test_whether_a_target_is_met(unit, value, target, stretch, cell):
    assert cells([row(unit=unit, value=value, target=target, stretch=stretch)])[1][-1] == cell


def test_the_table_shows_both_sides_the_naive_way_and_the_target():
    told = row(value=0.01234, server=1234.5, naive=0.5, naive_name="json", target=0.02, stretch=0.01, remark="busy")
    head, line = cells([told])
    assert head == ["", "at", "exporter", "server", "unit", "naive way", "ratio", "target", "met"]
    assert line == ["a thing", "10k", "0.0123", "1,234", "CPU s", "0.5 json", "40.5x", "0.02 (0.01)", "yes"]
    assert remarks([told, row()]) == ["a thing: busy."]
    assert text([["", "x"], ["long name", "1.0"]]) == "             x\nlong name  1.0"
    assert markdown([["", "x"], ["a", "1"]]) == "|  | x |\n| --- | ---: |\n| a | 1 |"


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\nafter\n")
    for remark in ("first", "second"):
        write_markdown(page, [row(remark="busy")], remark)
    table = markdown(cells([row()]))
    assert page.read_text() == f"before\n\n{BEGIN}\n\nsecond\n\n{table}\n\n- a thing: busy.\n\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["", f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"])
def test_a_page_without_both_marks_is_left_alone(tmp_path, page):
    file = tmp_path / "page.md"
    file.write_text(page)
    with pytest.raises(SpeedError, match="once and in this order"):
        write_markdown(file, [row()], "now")
    assert file.read_text() == page
    with pytest.raises(SpeedError, match="once and in this order"):
        check_marks(tmp_path / "none.md")


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.7])
def test_the_exponent_of_a_power_law_is_found(power):
    assert growth.exponent({size: 3e-6 * size**power for size in (10_000, 31_623, 100_000, 1_000_000)}) == (
        pytest.approx(power, abs=1e-9)
    )


def test_the_exponent_is_that_of_the_best_line():
    # In logs (0, 0), (1, 1), (2, 0): no slope; the middle one alone would give 1 or -1.
    assert growth.exponent({1: 1.0, 10: 10.0, 100: 1.0}) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("costs", [{}, {10: 1.0}, {10: 0.0, 100: 1.0}, {0: 1.0, 10: 1.0}, {1: 1.0, 2: float("nan")}])
def test_a_slope_needs_two_sizes_with_costs(costs):
    with pytest.raises(ValueError, match=r"two sizes|above 0"):
        growth.exponent(costs)


@pytest.mark.parametrize(("told", "series"), [("10k", 10_000), ("100K", 100_000), ("1m", 1_000_000), ("50", 50)])
def test_a_scale_is_a_name_or_a_number(told, series):
    assert parse_scale(told) == series
    assert parse_scale(size_text(series)) == series


@pytest.mark.parametrize("told", ["", "0", "-5", "many", "10kk"])
def test_other_scales_are_refused(told):
    with pytest.raises(ValueError, match=r".*"):
        parse_scale(told)


def test_a_million_is_measured_where_it_fits():
    plan = Plan.of(1_000_000)
    assert (plan.served, plan.read, plan.growth) == (100_000, 1000, (10_000, 100_000, 1_000_000))
    assert (plan.alone_interval_s, [plan.alone_cycles(size) for size in plan.growth]) == (300, [12, 12, 3])
    assert (Plan.of(100_000).alone_interval_s, Plan.of(100_000).alone_cycles(10_000)) == (60, 10)
    assert plan.share(0.05) == 0.05
    assert Plan.of(10_000).share(0.05) == pytest.approx(0.005)
    assert Plan.of(50).share(0.05) is None
