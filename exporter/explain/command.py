"""`anomaly-exporter explain`: the same explanation on a terminal or as JSON."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

import requests

from exporter.config import MASK, load, mask_url
from exporter.connections import Sessions, make_client
from exporter.discovery import discovered
from exporter.explain.document import explanation_json
from exporter.explain.explainer import Explainer
from exporter.explain.question import ExplainError, Question, shorten
from exporter.explain.terminal import error_text, explanation_text

_EXPORTER_TIMEOUT_S = 5.0
_MOST_BYTES = 4096


def explain(
    config_file: str,
    question: Question,
    print_: Callable[[str], None],
    *,
    as_json: bool = False,
    exporter_url: str = "",
) -> int:
    """Explain a verdict under a config; returns the exit status: 1 where there is nothing to explain.

    Raises ConfigError, and SourceError where the source does not answer.
    """
    config = load(config_file)
    hashes = (running_hash(exporter_url),) if exporter_url else ()
    sessions, stop = Sessions(config), threading.Event()
    try:
        config, wrong = discovered(config, sessions)
        for words in wrong:
            print(words, file=sys.stderr)  # noqa: T201 -- a command prints
        explainer = Explainer(
            config, lambda tenant: make_client(config, sessions, tenant, stop=stop), other_hashes=hashes
        )
        told = explainer.explain(question, time.time())
    except ExplainError as error:
        print(error_text(error), file=sys.stderr)  # noqa: T201 -- a command prints
        return 1
    finally:
        sessions.close()
    print_(explanation_json(told) if as_json else explanation_text(told, colour=sys.stdout.isatty()).rstrip("\n"))
    return 0


def running_hash(url: str) -> str:
    """The hash of the config that an exporter at this address runs with: the first line of its page /config.

    The address may hold a user and a password, which are not shown. Raises ExplainError when it does not say.
    """
    address = f"{url.rstrip('/')}/config"
    shown = shorten(mask_url(address))
    try:
        with requests.get(address, timeout=_EXPORTER_TIMEOUT_S, stream=True) as response:
            start = response.raw.read(_MOST_BYTES, decode_content=True) if response.ok else b""
    except (requests.RequestException, OSError) as error:
        words = shorten(_without_login(str(error), url), 200)
        raise ExplainError(f"can't ask the exporter at {shown}: {words}") from None
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        raise ExplainError(f"{shown} asks for a user and a password: --exporter=https://user:password@host:9899")
    first = start.decode("utf-8", "replace").partition("\n")[0]
    if not first.startswith("# "):
        raise ExplainError(f"{shown} is not the page of an exporter; --exporter is its address, such as"
                           " http://127.0.0.1:9899")  # fmt: skip
    return shorten(first[2:], 40)


def _without_login(text: str, url: str) -> str:
    """A library's words without the user and password of the URL that it was given."""
    login = url.partition("//")[2].rpartition("@")[0]
    return text.replace(login, MASK) if login else text
