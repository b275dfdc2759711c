"""A config with a different secret in every place that takes one, found by walking the reference of its keys."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporter.config.keys import BLOCKS, Key

Yaml = dict[str, Any]

_BLOCK_TYPES = ("block", "mapping of blocks", "list of blocks")
_PUBLIC_PATHS = ("ca_file", "cert_file", "client_ca_file", "username_file")
CERT = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"
# What a block must have beside the key under test, and what a key needs.
_NEEDED: dict[str, Yaml] = {
    "basic_auth": {"username": "ae"},
    "oauth2": {"client_id": "ae", "client_secret": "dull", "token_url": "http://127.0.0.1:9/token"},
    "tls_config": {},
}
_COMPANIONS: dict[str, Yaml] = {
    "key": {"cert": CERT}, "key_file": {"cert": CERT}, "proxy_connect_header": {"proxy_url": "http://127.0.0.1:9"},
}  # fmt: skip
_EXCLUDED = {"client_secret_file": "client_secret"}
# These take URLs that people are meant to see.
_OPEN_BLOCKS = ("links", "global")


class Plan:
    """The secrets by the places they were planted at; ``environ`` has those that come from the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_place: dict[str, str] = {}
        self.environ: dict[str, str] = {}
        self.covered: set[tuple[str, str]] = set()

    def secret(self, place: str) -> str:
        """A new one. Letters and digits, so that it looks the same in a URL, in JSON and in a log."""
        made = f"planted{len(self.by_place)}x{secrets.token_hex(8)}"
        self.by_place[f"{place} #{len(self.by_place)}"] = made
        return made

    def file(self, place: str, form: str = "{}\n") -> str:
        """A file that holds a new one."""
        path = self.folder / f"secret-{len(self.by_place)}.txt"
        path.write_text(form.format(self.secret(place)))
        return str(path)

    def variable(self, place: str) -> str:
        """A reference to an environment variable that holds a new one."""
        name = f"PLANTED_{len(self.environ)}"
        self.environ[name] = self.secret(place)
        return f"${{{name}}}"

    def seen_in(self, text: str) -> list[str]:
        """The places whose secret can be seen, plainly or as Basic authentication spells it."""
        return [place for place, secret in self.by_place.items() if any(form in text for form in _forms(secret))]


def _forms(secret: str) -> Iterator[str]:
    yield secret
    for user in ("", "ae:", "u:", ":"):
        yield base64.b64encode(f"{user}{secret}".encode()).decode().rstrip("=")[:-1]


def variants(plan: Plan, block: str) -> Iterator[Yaml]:
    """Contents of a block, each with one secret (but for those that others need)."""
    for key in BLOCKS[block]:
        for value in _values(plan, block, key):
            plan.covered.add((block, key.name))
            beside = {**_NEEDED.get(block, {}), **_COMPANIONS.get(key.name, {})}
            beside.pop(_EXCLUDED.get(key.name, ""), None)
            yield {**beside, key.name: value}


def _values(plan: Plan, block: str, key: Key) -> Iterator[Any]:
    place = f"{block}.{key.name}"
    if key.secret:
        yield _secret_value(plan, place, key.type)
        if key.type == "secret":
            yield plan.variable(f"{place} from the environment")
    elif key.type == "URL" and key.name == "proxy_url":
        yield f"http://u:{plan.secret(place)}@127.0.0.1:9"
    elif key.type == "URL" and (block, key.name) in (("remote_write", "url"), ("oauth2", "token_url")):
        yield f"http://127.0.0.1:9/path?access_token={plan.secret(place)}"
    elif key.type in ("path", "list of paths") and key.name not in _PUBLIC_PATHS:
        form = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n" if key.name == "key_file" else "{}\n"
        path = plan.file(place, form)
        yield path if key.type == "path" else [path]
    elif key.type == "mapping of texts" and block not in _OPEN_BLOCKS:
        yield {"X-Api-Key": plan.secret(place), "access_token": plan.secret(place)}
    elif key.type in _BLOCK_TYPES and key.name in BLOCKS:
        for inner in variants(plan, key.name):
            yield {"X-Planted": inner} if key.type == "mapping of blocks" else inner
    if key.type == "mapping of blocks":
        yield {"X-Api-Key": {"values": [plan.secret(f"{place} of a secret name")]}}


def _secret_value(plan: Plan, place: str, kind: str) -> Any:
    made = plan.secret(place)
    by_type: dict[str, Any] = {
        "secret": made,
        "secret PEM text": f"-----BEGIN PRIVATE KEY-----\n{made}\n-----END PRIVATE KEY-----\n",
        "list of secrets": [made],
        "mapping of lists": {"X-Planted": [made]},
        "mapping of texts": {"planted": made},
    }
    return by_type[kind]


def secret_keys() -> set[tuple[str, str]]:
    """All that the reference calls secret."""
    return {(block, key.name) for block, keys in BLOCKS.items() for key in keys if key.secret}
