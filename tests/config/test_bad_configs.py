"""Bad configs: each with exactly what is said about it (see bad_configs.txt beside this file)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.config import load, parse
from exporter.errors import ConfigError, Problem

SOURCE = "source: {url: 'http://p:9090'}\n"
GOOD = SOURCE + "queries: [{name: a, expr: up}]\n"


def _table() -> list[tuple[str, str, str]]:
    text = (Path(__file__).parent / "bad_configs.txt").read_text(encoding="utf-8")
    cases = re.findall(r"^===== (.+)\n(?s:(.*?))^-----\n((?:f\.yml.*\n)+)", text, re.MULTILINE)
    assert len(cases) == text.count("\n===== "), "a case of the table is not of its form"
    return cases


TABLE = _table()


def said(text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yml", environ or {})
    return str(caught.value)


@pytest.mark.parametrize(("config", "messages"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_bad_config_is_told_exactly(config: str, messages: str) -> None:
    assert said(config) == messages.rstrip("\n")


def test_the_table_is_long_and_its_titles_differ() -> None:
    assert len(TABLE) >= 150
    assert len({title for title, _, _ in TABLE}) == len(TABLE)


@pytest.mark.parametrize("message", [message for *_, messages in TABLE for message in messages.splitlines()])
def test_every_message_has_a_line_and_what_is_allowed(message: str) -> None:
    assert re.match(r"f\.yml:[1-9][0-9]*: ", message)
    assert "; allowed: " in message


def test_no_message_holds_a_secret() -> None:
    configs = "".join(config for _, config, _ in TABLE)
    assert configs.count("hunter2") >= 15
    assert "hunter2" not in "".join(messages for *_, messages in TABLE)


def test_a_config_with_many_problems_prints_all_of_them_in_file_order() -> None:
    text = """\
global:
  interval: 60
  step: 7m
  windoww: 7d
source:
  timeout: -1s
  basic_auth: {username: a, password: 12345}
  bearer_token: ${UNSET}
  tls_config:
    min_version: SSL3
    cert_file: a.pem
tenants:
  - id: a b
  - id: ok
  - id: ok
queries:
  - name: 1st
    expr: sum(rate(x[5m])
    models: [prophet]
    sensitivity: extreme
  - name: good
    expr: up
    direction: sideways
    data_range: [5, 5]
    signals: [drift]
  - name: good
    expr: up
remote_write:
  - url: p/api/v1/write
"""
    lines = said(text).splitlines()
    assert [re.match(r"f\.yml:(\d+): ([^ ]+): ", line).groups() for line in lines] == [
        ("2", "global.interval"),
        ("3", "global.step"),
        ("4", "global.windoww"),
        ("6", "source.url"),
        ("6", "source.timeout"),
        ("7", "source.basic_auth.password"),
        ("8", "source.bearer_token"),
        ("8", "source.bearer_token"),
        ("10", "source.tls_config.key_file"),
        ("10", "source.tls_config.min_version"),
        ("13", "tenants[0].id"),
        ("15", "tenants[2].id"),
        ("17", "queries[0].name"),
        ("18", "queries[0].expr"),
        ("19", "queries[0].models[0]"),
        ("20", "queries[0].sensitivity"),
        ("23", "queries[1].direction"),
        ("24", "queries[1].data_range"),
        ("25", "queries[1].signals[0]"),
        ("26", "queries[2].name"),
        ("29", "remote_write[0].url"),
    ]


def test_problems_are_also_data() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(GOOD + "metric_names: other\n", "f.yml", {})
    assert caught.value.problems == (
        Problem(3, "metric_names", "not a choice", value="other", allowed="default or vmanomaly"),
    )


def test_a_bad_time_in_global_is_told_once_and_not_held_against_the_queries() -> None:
    text = SOURCE + "global: {step: 7m}\nqueries: [{name: a, expr: up, interval: 7m, window: 3d1m}]\n"
    assert said(text) == (
        "f.yml:2: global.step: does not divide a day, got `7m`; allowed: such as 15s, 1m, 5m, 15m, 1h"
    )


def test_an_aliased_value_that_is_bad_is_told_once_per_place() -> None:
    text = SOURCE + "queries:\n  - {name: a, expr: &e 'x(' }\n  - {name: b, expr: *e }\n"
    assert said(text) == (
        "f.yml:3: queries[0].expr: the `(` at character 2 is never closed, got `x(`; allowed: a PromQL expression\n"
        "f.yml:3: queries[1].expr: the `(` at character 2 is never closed, got `x(`; allowed: a PromQL expression"
    )


def test_aliases_that_explode_are_refused_before_they_do() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 40)]
    assert said("\n".join(rows)) == (
        "f.yml:1: aliases repeat more than a billion values; allowed: aliases that repeat at most 100000 values"
    )


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_brackets_without_end_do_not_crash_the_parser(opening: str) -> None:
    assert said("a: " + opening * 300_000) == "f.yml:1: the file nests too deep; allowed: at most 30 levels"


@pytest.mark.parametrize(("sign", "name"), [("\x07", "U+0007"), ("\x00", "U+0000"), ("\x1b", "U+001B")])
def test_control_characters(sign: str, name: str) -> None:
    assert said(GOOD + f"metric_names: de{sign}fault\n") == (
        f"f.yml:3: control character {name} in the file; allowed: printable text"
    )


def test_an_empty_text() -> None:
    assert said("") == "f.yml:1: the file is empty; allowed: `source:` and `queries:` at least"


def test_long_values_are_clipped() -> None:
    message = said(GOOD + f"metric_names: {'x' * 500}\n")
    assert f"got `{'x' * 80}...`" in message


def test_a_text_of_several_lines_is_shown_on_one() -> None:
    message = said(SOURCE + "queries:\n  - name: a\n    expr: |\n      sum(\n        x\n")
    assert message == (
        "f.yml:4: queries[0].expr: the `(` at character 4 is never closed, got `sum(   x`; allowed: a PromQL expression"
    )


def test_names_of_variables_that_are_not_set() -> None:
    assert said(GOOD + "metric_names: ${WHICH}\n", {"OTHER": "x"}) == (
        "f.yml:3: metric_names: the environment variable WHICH is not set, got `${WHICH}`;"
        " allowed: a variable that is set"
    )


def test_a_bad_value_from_the_environment_is_shown_as_written() -> None:
    assert said(GOOD + "metric_names: ${WHICH}\n", {"WHICH": "hunter2"}) == (
        "f.yml:3: metric_names: not a choice, got `${WHICH}`; allowed: default or vmanomaly"
    )


# Files that can't be read at all.


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.yml"
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    assert str(caught.value) == (
        f"{path}: can't read the config: no such file or directory; allowed: a YAML file that this user may read"
    )


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read the config: is a directory"):
        load(str(tmp_path), {})


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.yml"
    path.write_bytes(GOOD.encode() + "# Größe\n".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    assert str(caught.value) == f"{path}:3: byte 0xf6 is not UTF-8; allowed: text in UTF-8"


def test_utf16(tmp_path: Path) -> None:
    path = tmp_path / "wide.yml"
    path.write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(str(path), {})


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.yml"
    path.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    assert str(caught.value) == f"{path}: the config is too large; allowed: at most 4 MiB"


def test_a_large_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yml"
    queries = "".join(f"  - {{name: q{i}, expr: 'up{{n=\"{i}\"}}'}}\n" for i in range(3000))
    path.write_text(SOURCE + "queries:\n" + queries, encoding="utf-8")
    assert len(load(str(path), {}).queries) == 3000
