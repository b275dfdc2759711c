"""Whatever stands in the file, the answer is a Config or a ConfigError that tells a line; nothing else ever."""

from __future__ import annotations

from fuzz.oracles.configs import BITS, GOOD, SECRET, SIGNS, settle
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import mask, parse

edits = st.lists(
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, 30), st.sampled_from(BITS) | st.text(max_size=5)), max_size=6
)


def _edited(changes: list[tuple[int, int, str]]) -> str:
    text = GOOD
    for at, cut, bit in changes:
        text = text[:at] + bit + text[at + cut :]
    return text


def test_the_starting_point_is_good_and_its_secrets_are_masked() -> None:
    shown = mask(parse(GOOD, "f.yml", {"PW": SECRET}))
    assert "name: two" in shown
    assert SECRET not in shown


@settings(max_examples=400, deadline=None)
@given(edits)
def test_edited_configs(changes: list[tuple[int, int, str]]) -> None:
    settle(_edited(changes))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from(SIGNS), max_size=60))
def test_any_text(text: str) -> None:
    settle(text)
