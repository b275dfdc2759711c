"""Whatever stands in the file, the answer is a Config or a ConfigError that tells a line; nothing else ever."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import mask, parse
from exporter.errors import ConfigError, Problem

GOOD = """\
global: {interval: 1m, step: 5m, window: 7d}
source:
  url: http://user.example.org:9090/x
  params: {a: "b"}
  basic_auth: {username: a, password: "${PW}"}
  tls_config: {ca_file: x, min_version: TLS12}
  proxy_url: http://p:1
  http_headers: {X-A: {values: [a], secrets: [b]}}
tenants: [{id: a}, {id: "b|c"}]
queries:
  - &q
    name: one
    expr: sum(rate(x{a="b"}[5m]))
    models: [robust_band, {name: shesd, alpha: 0.1}]
    sensitivity: high
    data_range: [0, .inf]
    min_history: 1d
  - {<<: *q, name: two, interval: 30s}
metric_names: default
metrics_page: self
remote_write:
  - {url: http://h/w, name: x, headers: {X-B: c}, bearer_token: "${PW}", queue_config: {capacity: 5, max_backoff: 1s}}
"""

BITS = [
    "",
    " ",
    "\n",
    "\t",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "&a ",
    "*a",
    "*q",
    "<<: ",
    "!!int ",
    "!x ",
    "|\n",
    ">\n",
]
BITS += [
    "? ",
    "#",
    "%",
    "@",
    "`",
    "~",
    "null",
    "yes",
    "0",
    "-1",
    ".nan",
    ".inf",
    "1e999",
    "9" * 40,
    "2024-01-01",
    "=",
    "\x00",
]
BITS += [
    "${PW}",
    "${",
    "$$",
    "${NO}",
    "---\n",
    "...\n",
    "\ufeff",
    "é",
    "٣",
    "\U0001f600",
    "http://",
    "@",
    "[::1",
    ":99999",
]

edits = st.lists(
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, 30), st.sampled_from(BITS) | st.text(max_size=5)), max_size=6
)


def _edited(changes: list[tuple[int, int, str]]) -> str:
    text = GOOD
    for at, cut, bit in changes:
        text = text[:at] + bit + text[at + cut :]
    return text


def _settle(text: str) -> str:
    """Parse; the config must be showable, the error must say where."""
    problems: tuple[Problem, ...] = ()
    try:
        shown = mask(parse(text, "f.yml", {"PW": "hunter2"}))
    except ConfigError as error:
        shown, problems = str(error), error.problems
    assert all(problem.line >= 1 for problem in problems)
    assert list(problems) == sorted(problems, key=lambda problem: problem.line)
    # Errors show values as written, so never what a variable holds. (A config shows it where the key is no secret.)
    assert not problems or "hunter2" not in shown
    return shown


def test_the_starting_point_is_good() -> None:
    assert "name: two" in _settle(GOOD)


@settings(max_examples=400, deadline=None)
@given(edits)
def test_edited_configs(changes: list[tuple[int, int, str]]) -> None:
    assert _settle(_edited(changes))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@`#?,~ \n\t.0$<"), max_size=60))
def test_any_text(text: str) -> None:
    assert _settle(text)
