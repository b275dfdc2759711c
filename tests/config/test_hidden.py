"""Secrets that others repeat are taken out of what they say."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote

import pytest

from exporter.config import MASK, Secret, parse
from exporter.config import secret as module
from exporter.config.secret import hide, remember
from exporter.logs import JsonFormatter, LogfmtFormatter


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have taken for secrets is not looked for here."""
    monkeypatch.setattr(module, "_known", module._Known())


def test_a_secret_is_hidden_wherever_it_comes_back() -> None:
    Secret("s3cret/with&signs")
    for text in ("s3cret/with&signs", quote("s3cret/with&signs", safe="")):
        assert hide(f"bad token {text}, go away") == f"bad token {MASK}, go away"
    assert hide("nothing of the kind") == "nothing of the kind"


def test_a_secret_is_hidden_as_http_libraries_misread_it() -> None:
    Secret("s3cret\u263a\ud800")
    Secret("pass\u00e4\u00f6w0rd")
    for text in ("s3cret\u263a\ud800", "pass\u00e4\u00f6w0rd", "pass\u00e4\u00f6w0rd".encode().decode("latin-1")):
        assert hide(f"Bearer {text}") == f"Bearer {MASK}"


def test_what_is_too_short_stays() -> None:
    for word in ("", "a", "hunter2", "prometheus", MASK):
        remember(word)
        assert hide(f"the word {word} stays") == f"the word {word} stays"
    for word in ("hunter22", "correcthorse"):
        remember(word)
        assert hide(f"the word {word} goes") == f"the word {MASK} goes"


def test_the_longest_one_counts() -> None:
    remember("password1")
    remember("user:password1@host")
    assert hide("x user:password1@host y password1") == f"x {MASK} y {MASK}"


def test_lines_of_a_key_are_hidden_one_by_one() -> None:
    Secret("-----BEGIN PRIVATE KEY-----\nMIIEvgIBADANBgkqhkiG9w0\nAQEFAASCBKgwggSk\n-----END PRIVATE KEY-----\n")
    assert hide("-----BEGIN PRIVATE KEY-----: MIIEvgIBADANBgkqhkiG9w0") == f"-----BEGIN PRIVATE KEY-----: {MASK}"


def test_only_so_many_are_kept() -> None:
    for number in range(10_100):
        remember(f"secret-{number}")
    assert hide("secret-50 secret-10050") == f"secret-50 {MASK}"


def test_the_config_says_what_is_to_be_hidden() -> None:
    text = """
source:
  url: http://p
  params: {access_token: s3cret-param, plain: not-a-s3cret}
  http_headers: {X-Api-Key: {values: [s3cret-header]}}
  proxy_url: http://u:s3cret-proxy@proxy.example:3128
queries: [{name: a, expr: up}]
remote_write: [{url: 'http://h/w?key=s3cret-query', headers: {X-Token: s3cret-rw}}]
"""
    parse(text, "f.yml", {})
    told = ["param", "header", "proxy", "query", "rw"]
    assert hide(" ".join(f"s3cret-{word}" for word in told)) == " ".join([MASK] * len(told))
    assert hide("http://proxy.example:3128 not-a-s3cret") == "http://proxy.example:3128 not-a-s3cret"


@pytest.mark.parametrize("formatter", [LogfmtFormatter(), JsonFormatter()])
def test_no_log_line_shows_one(formatter: logging.Formatter) -> None:
    Secret("s3cret-in-a-trace")
    record = logging.makeLogRecord({"msg": "got s3cret-in-a-trace", "words": "s3cret-in-a-trace", "levelname": "INFO"})
    try:
        raise ValueError("http://h/?token=s3cret-in-a-trace")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = formatter.format(record)
    assert "s3cret-in-a-trace" not in line
    assert line.count(MASK) >= 4
    if isinstance(formatter, JsonFormatter):
        assert json.loads(line)["words"] == MASK
