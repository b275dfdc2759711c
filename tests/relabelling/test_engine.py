"""What the rules do, where a real Prometheus can't be asked or words are clearer than its answer."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.relabelling.engine import Relabeller, lower, upper
from exporter.relabelling.rule import ACTIONS, Rule


def relabelled(labels: dict[str, str], *rules: Rule) -> dict[str, str] | None:
    return Relabeller(rules).apply(labels)


def test_without_rules_labels_stay_and_empty_ones_are_none() -> None:
    assert relabelled({"b": "2", "a": "1", "c": ""}) == {"a": "1", "b": "2"}


def test_the_labels_given_are_not_changed() -> None:
    labels = {"a": "1"}
    assert relabelled(labels, Rule(target_label="a", replacement="2")) == {"a": "2"}
    assert labels == {"a": "1"}


def test_the_dot_takes_a_line_break_as_in_prometheus_3() -> None:
    assert relabelled({"a": "x\ny"}, Rule(source_labels=("a",), target_label="b")) == {"a": "x\ny", "b": "x\ny"}
    assert relabelled({"a": "x\n"}, Rule("keep", source_labels=("a",), regex="x")) is None  # $ is the very end


def test_of_labels_mapped_to_one_name_the_last_set_wins() -> None:
    # Since 2.43 labels that rules have set come after the original ones, which go by name; 2.42 sorts at each rule.
    rules = Rule(target_label="a", replacement="new"), Rule("labelmap", regex="a|b", replacement="same")
    assert relabelled({"a": "1", "b": "2"}, *rules) == {"a": "new", "b": "2", "same": "new"}


def test_a_rule_that_drops_ends_it() -> None:
    assert relabelled({"a": "1"}, Rule("drop", source_labels=("a",), regex="1"), Rule(target_label="a")) is None


def test_hashmod_takes_the_last_eight_bytes() -> None:
    number = int.from_bytes(hashlib.md5(b"x;y").digest()[8:], "big")  # noqa: S324 - what Prometheus takes
    rule = Rule("hashmod", source_labels=("a", "b"), modulus=2**64 - 1, target_label="h")
    assert relabelled({"a": "x", "b": "y"}, rule) == {"a": "x", "b": "y", "h": str(number % (2**64 - 1))}


def test_lone_surrogates_and_long_values_pass_without_error() -> None:
    long = "ü" * 65_536
    rule = Rule(source_labels=("a",), regex="(.).*", target_label="b")
    assert relabelled({"a": long}, rule) == {"a": long, "b": "ü"}
    assert relabelled({"a": "\ud800x"}, rule) == {"a": "\ud800x", "b": "?"}


def test_matching_takes_linear_time() -> None:
    rule = Rule(source_labels=("a",), regex="(a*)*(a|aa)+b", target_label="b")
    assert relabelled({"a": "a" * 50_000}, rule) == {"a": "a" * 50_000}


@given(st.text(max_size=20))
def test_case_is_changed_character_by_character(text: str) -> None:
    assert len(lower(text)) == len(text) == len(upper(text))
    assert lower(text) == "".join(map(lower, text))


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_stands_any_labels(action: str) -> None:
    rule = Rule(action, source_labels=("a",), regex="(a?)", modulus=3, target_label="t")  # type: ignore[arg-type]
    for labels in ({}, {"a": ""}, {"a": "a"}, {"": "x"}, {"a b": "\x00"}, {"__name__": "up"}):
        found = relabelled(labels, rule)
        assert found is None or all(found.values())


def test_a_value_met_twice_is_the_same_again() -> None:
    relabeller = Relabeller([Rule(source_labels=("a",), regex="(.)(.)", target_label="b", replacement="$2$1")])
    for _ in range(2):
        for value in ("xy", "yx", "x"):
            expected = {"a": value} | ({"b": value[::-1]} if len(value) == 2 else {})
            assert relabeller.apply({"a": value}) == expected
