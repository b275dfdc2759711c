"""Plausibility of expressions: brackets and quotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.expression import expression_fault


@pytest.mark.parametrize(
    "expr",
    [
        "up",
        "",
        'up{job="a)b", path=~"[(]"}',
        "sum by (a) (rate(x[5m]))",
        "x # ( a comment with an open bracket [\n+ y",
        "x # ends here",
        r'up{a="\"(", b="\\"}',
        "up{a='\"('}",
        r"up{a=`\`}",
        "{'utf-8.name', a=\"b\"}",
        'x{a="#("}',
    ],
)
def test_plausible(expr: str) -> None:
    assert expression_fault(expr) == ""


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("rate(x[5m]", "the `(` at character 5 is never closed"),
        ("rate(x[5m)]", "the `)` at character 10 closes nothing"),
        ("x)", "the `)` at character 2 closes nothing"),
        ('x{a="b}', "the quote at character 5 is never closed"),
        (r'x{a="b\"}', "the quote at character 5 is never closed"),
        ("`", "the quote at character 1 is never closed"),
        ("x\\'", "the quote at character 3 is never closed"),
        ("((x)", "the `(` at character 1 is never closed"),
        ("x # )\n)", "the `)` at character 7 closes nothing"),
        ('"\\', "the quote at character 1 is never closed"),
    ],
)
def test_implausible(expr: str, fault: str) -> None:
    assert expression_fault(expr) == fault


nested = st.recursive(
    st.sampled_from(["a", "1", '"("', "'}'", "`[`", " ", ",", "+"]),
    lambda inner: st.builds(
        lambda pair, parts: pair[0] + "".join(parts) + pair[1], st.sampled_from(["()", "[]", "{}"]), st.lists(inner)
    ),
)


@given(nested)
def test_nested_brackets_are_plausible_and_one_more_is_not(expr: str) -> None:
    assert expression_fault(expr) == ""
    assert expression_fault(expr + ")") == f"the `)` at character {len(expr) + 1} closes nothing"
    assert expression_fault("(" + expr) == "the `(` at character 1 is never closed"


@given(st.text())
def test_no_text_upsets_it(expr: str) -> None:
    assert isinstance(expression_fault(expr), str)
