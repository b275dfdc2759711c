"""Another sensitivity in the text of a config: the diff applies, comments stay, secrets do not show."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from exporter.backtest.config_edit import propose_edit
from exporter.config import parse
from exporter.errors import ConfigError

SOURCE = 'source: {url: "http://p:9090", basic_auth: {username: u, password: s3cret}}\n'

BLOCKS = f"""\
# of the whole
{SOURCE}queries:
  # the first
  - name: a   # its name
    expr: up  # why
    sensitivity: low  # not too loud
  - expr: up
    name: 'b'
    models: [robust_band]

  - {{name: c, expr: "up", sensitivity: 1.5}}  # in braces
  - {{expr: "up", name: d}}
remote_write: []
"""


def queries(text: str) -> dict[str, float]:
    return {query.name: query.sensitivity for query in parse(text, "c.yml", {}).queries}


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        ({"a": 1.62}, ["-    sensitivity: low  # not too loud", "+    sensitivity: 1.62  # not too loud"]),
        ({"b": 2}, ["+    sensitivity: 2"]),
        ({"c": 2}, ['-  - {name: c, expr: "up", sensitivity: 1.5}  # in braces',
                    '+  - {name: c, expr: "up", sensitivity: 2}  # in braces']),
        ({"d": 2}, ['-  - {expr: "up", name: d}', '+  - {expr: "up", name: d, sensitivity: 2}']),
        ({"a": 3, "d": 2}, ["-    sensitivity: low  # not too loud", "+    sensitivity: 3  # not too loud",
                            '-  - {expr: "up", name: d}', '+  - {expr: "up", name: d, sensitivity: 2}']),
    ],
)  # fmt: skip
def test_one_line_is_changed_or_added(wanted, lines):
    edit = propose_edit("/etc/c.yml", BLOCKS, wanted, {})
    changed = [line for line in edit.diff.splitlines()[2:] if line[0] in "+-"]
    assert changed == lines
    assert queries(edit.text) == queries(BLOCKS) | wanted
    assert edit.snippet == ""
    assert "s3cret" not in edit.diff


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "\n"])
@pytest.mark.parametrize("name", ["a", "b"])
def test_the_diff_applies(tmp_path: Path, end: str, tail: str, name: str) -> None:
    if not shutil.which("patch"):
        pytest.fail("patch is needed: apt-get install patch")
    text = f"{SOURCE}queries:\n- name: a\n  expr: up\n- expr: up # x\x0b\n  name: b".replace("\x0b", "") + tail
    text = text.replace("\n", end)
    edit = propose_edit("c.yml", text, {name: 4}, {})
    (tmp_path / "c.yml").write_bytes(text.encode())
    done = subprocess.run(
        ["patch", "-p1", "--binary"], cwd=tmp_path, input=edit.diff.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + edit.diff.encode()
    assert (tmp_path / "c.yml").read_bytes() == edit.text.encode()
    assert queries(edit.text)[name] == 4


@pytest.mark.parametrize(
    "text",
    [
        # All on one line: the diff would show the password.
        '{source: {url: "http://p", basic_auth: {username: u, password: s3cret}}, queries: [{name: a, expr: up}]}',
        SOURCE.rstrip() + "\nqueries: [{name: a, expr: up}]  \nremote_write: [] ",
        # The key is that of all who use the anchor.
        f"{SOURCE}queries:\n- &q {{name: a, expr: up}}\n- {{<<: *q, name: b}}\n",
        f"{SOURCE}queries:\n- &q\n  name: a\n  expr: up\n- <<: *q\n  name: b\n",
        # The value stands elsewhere, or on several lines.
        f"{SOURCE}limits: {{max_series: &v 3}}\nqueries:\n- name: a\n  expr: up\n  sensitivity: *v\n",
        f"{SOURCE}queries:\n- name: a\n  expr: up\n  sensitivity:\n    low\n",
        f"{SOURCE}queries:\n- name:\n    a\n  expr: up\n",
    ],
)
def test_what_can_not_be_edited_for_sure_is_a_snippet_or_right(text):
    edit = propose_edit("c.yml", text, {"a": 4}, {})
    assert "s3cret" not in edit.diff + edit.snippet
    if edit.diff:
        assert queries(edit.text) == queries(text) | {"a": 4}
    else:
        assert edit.snippet == "queries:\n  - name: a\n    sensitivity: 4\n"


def test_the_environment_is_kept_as_it_is():
    text = f"{SOURCE}queries:\n- name: a\n  expr: ${{EXPR}}\n  sensitivity: ${{HOW}}\n"
    edit = propose_edit("c.yml", text, {"a": 4}, {"EXPR": "up", "HOW": "low"})
    assert "expr: ${EXPR}\n  sensitivity: 4\n" in edit.text


def test_a_text_that_is_no_config_any_more():
    with pytest.raises(ConfigError):
        propose_edit("c.yml", "queries: []", {"a": 4}, {})
