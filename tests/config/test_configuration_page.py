"""docs/configuration.md lists exactly the keys that the reader knows, and its examples are good configs."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from exporter.config import mask, parse
from exporter.config.keys import BLOCKS, REQUIRED, Key, homes_of, keys_of
from exporter.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ENVIRON = {"MIMIR_PASSWORD": "a", "CLIENT_SECRET": "b", "API_KEY": "c"}


def _listed() -> dict[str, list[str]]:
    """The table rows of the page by the name of the section they are in."""
    rows: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in PAGE.splitlines():
        if found := re.match(r"## (.+)", line):
            section = "" if found[1] == "The file" else found[1].strip("`")
        elif line.startswith("| `"):
            rows[section].append(line)
    return rows


def _row(key: Key) -> str:
    default = key.default if key.default in ("", REQUIRED) else f"`{key.default}`"
    cells = (f"`{key.name}`", key.type, default, key.meaning, f"`{key.example}`")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


@pytest.mark.parametrize("block", BLOCKS)
def test_the_page_lists_the_keys_of_the_block_and_no_others(block: str) -> None:
    assert _listed()[block] == [_row(key) for key in BLOCKS[block]]


def test_the_page_has_no_other_tables() -> None:
    assert set(_listed()) == set(BLOCKS)


@pytest.mark.parametrize("block", BLOCKS)
def test_no_key_is_listed_twice(block: str) -> None:
    assert len(keys_of(block)) == len(BLOCKS[block])


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_of_the_page_are_good_and_read_back(text: str) -> None:
    shown = mask(parse(text, "docs/f.yml", ENVIRON))
    assert mask(parse(shown, "docs/f.yml", {})) == shown


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7


PEM = '"-----BEGIN CERTIFICATE-----"'
GOOD = "source: {url: 'http://p'}\nqueries: [{name: a, expr: up}]\n"
# Where a block stands in the file, with what it needs beside the key under test.
PLACES = {
    "": ("{key}: {value}\n", {"source": "{url: 'http://p'}", "queries": "[{name: a, expr: up}]"}),
    "global": ("global:\n  {key}: {value}\n", {}),
    "source": ("source:\n  {key}: {value}\n", {"url": "http://p"}),
    "basic_auth": ("source:\n  url: http://p\n  basic_auth:\n    {key}: {value}\n", {"username": "a"}),
    "authorization": ("source:\n  url: http://p\n  authorization:\n    {key}: {value}\n", {"credentials": "a"}),
    "oauth2": (
        "source:\n  url: http://p\n  oauth2:\n    {key}: {value}\n",
        {"client_id": "a", "client_secret": "b", "token_url": "http://s"},
    ),
    "tls_config": ("source:\n  url: http://p\n  tls_config:\n    {key}: {value}\n", {}),
    "http_headers": ("source:\n  url: http://p\n  http_headers:\n    X-A:\n      {key}: {value}\n", {"values": "[a]"}),
    "remote_write": ("remote_write:\n  - {key}: {value}\n", {"url": "http://h/w"}),
    "queue_config": (
        "remote_write:\n  - url: http://h/w\n    queue_config:\n      {key}: {value}\n",
        {"capacity": "5000"},
    ),
    "tenants": ("tenants:\n  - {key}: {value}\n", {"id": "a"}),
    "tenant_discovery": ("tenant_discovery:\n  {key}: {value}\n", {"files": "[t.yml]"}),
    "tenant_discovery.query": ("tenant_discovery:\n  query:\n    {key}: {value}\n", {"label": "user"}),
    "queries": ("queries:\n  - {key}: {value}\n", {"name": "a", "expr": "up"}),
    "limits": ("limits:\n  {key}: {value}\n", {}),
    "relabel_configs": ("relabel_configs:\n  - {key}: {value}\n", {"target_label": "a"}),
    "alert": ("alert:\n  {key}: {value}\n", {}),
    "links": ("links:\n  {key}: {value}\n", {}),
    "robust_band": (
        "queries:\n  - name: a\n    expr: up\n    models:\n      - {key}: {value}\n",
        {"name": "robust_band"},
    ),
    "shesd": ("queries:\n  - name: a\n    expr: up\n    models:\n      - {key}: {value}\n", {"name": "shesd"}),
}
ALL_KEYS = [(block, key) for block in BLOCKS for key in BLOCKS[block]]


@pytest.mark.parametrize(("block", "key"), ALL_KEYS, ids=[f"{block}.{key.name}" for block, key in ALL_KEYS])
def test_the_example_of_every_key_is_read(block: str, key: Key) -> None:
    text, environ = _with_example(block, key), {"PASSWORD": "a", "TOKEN": "b", "CLIENT_SECRET": "c", "KEY": "d"}
    try:
        parse(text, "f.yml", environ)
    except ConfigError as error:
        # The example alone may lack its other half (a key its certificate), but the key itself is known and read.
        told = {problem.path.rpartition(".")[2]: problem.message for problem in error.problems}
        assert key.name not in told or key.name in NEEDS_MORE or told[key.name].startswith("excludes"), told
        assert not any(message.startswith("unknown key") for message in told.values())


# Examples that are right only beside another key, or abridged (`|` opens a PEM text).
NEEDS_MORE = {
    "metrics_page", "no_proxy", "proxy_connect_header", "ca", "cert", "key", "shared_queries", "per_tenant",
}  # fmt: skip


def _with_example(block: str, key: Key) -> str:
    template, needed = PLACES[block]
    lines = {**needed, key.name: key.example}
    first, *rest = lines.items()
    text = template.format(key=first[0], value=first[1])
    indent = " " * (len(text.splitlines()[-1]) - len(text.splitlines()[-1].lstrip(" -")))
    text += "".join(f"{indent}{name}: {value}\n" for name, value in rest)
    return text + "".join(
        part + "\n" for part in GOOD.splitlines() if not re.search(rf"^{part.partition(':')[0]}:", text, re.M)
    )


@pytest.mark.parametrize(("block", "key"), ALL_KEYS, ids=[f"{block}.{key.name}" for block, key in ALL_KEYS])
def test_every_key_is_looked_at(block: str, key: Key) -> None:
    # A key that stands in the table but that nobody reads would take any value.
    text = _with_example(block, Key(key.name, "", "", "", "{never: {a: good, value: 1}}"))
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yml", {})
    assert any(key.name in problem.path for problem in caught.value.problems)


def test_homes() -> None:
    assert homes_of("ca_file") == ("tls_config",)
    assert homes_of("nowhere") == ()
