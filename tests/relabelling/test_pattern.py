"""Regular expressions and templates: what is refused, and how templates are read."""

from __future__ import annotations

import pytest

from exporter.relabelling.pattern import Pattern, PatternError
from exporter.relabelling.template import Template


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(", "missing )"),
        ("a)", "unexpected )"),
        ("[b-a]", "invalid character class range"),
        ("*", "no argument for repetition operator"),
        ("a**", "bad repetition operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("a{1001}", "invalid repetition size"),
        ("(?=a)", "invalid perl operator"),
        ("(?P<a-b>x)", "invalid named capture group"),
        (r"a\C", r"\C is not supported"),
        (r"\pX", "invalid character class range"),
    ],
)
def test_what_re2_does_not_take_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(PatternError, match="^" + reason.replace("\\", "\\\\").replace(")", r"\)")):
        Pattern(text)


@pytest.mark.parametrize(("text", "value"), [(r"\\C", r"\C"), (r"\Q\C\E", r"\C"), (r"\Q\C\Eab", r"\Cab")])
def test_an_escaped_backslash_before_c_is_none(text: str, value: str) -> None:
    assert Pattern(text).matches(value)


def test_named_groups_of_both_spellings() -> None:
    assert Pattern("(?P<a>x)(?<b>y)").names == {"a": 1, "b": 2}


def test_both_ends_are_anchored() -> None:
    pattern = Pattern("a|b")
    assert [pattern.matches(text) for text in ("a", "b", "ab", "xa", "a\n", "")] == [True, True] + [False] * 4


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$1", "A"),
        ("${1}x", "Ax"),
        ("$1x", ""),
        ("$n-${n}", "B-B"),
        ("$nope", ""),
        ("$$1", "$1"),
        ("$", "$"),
        ("$-", "$-"),
        ("${", "${"),
        ("${1", "${1"),
        ("${}", "${}"),
        ("${1}}", "A}"),
        ("$01", ""),
        ("$0", "Ab"),
        ("$9", ""),
        ("$100000000", ""),
        ("$999999999999999999999", ""),
        ("$é", ""),
        ("é${1}é", "éAé"),
        ("$3", ""),
        ("", ""),
    ],
)
def test_templates_are_read_as_go_does(template: str, text: str) -> None:
    pattern = Pattern("(A)(?P<n>B)?(?i:b)?(never)?")
    match = pattern.match("Ab") if "n}" not in template else pattern.match("AB")
    assert match is not None
    assert Template(template, pattern).expand(match) == text
