"""External labels: Prometheus adds them to what it sends by remote read, but not to the answers of its query API.

A series must have the same labels both ways, or it would be two. So the added ones are dropped again; where that can't
be told from a series' own labels, remote read is not used.
"""

from __future__ import annotations

import json
import re

import yaml

from exporter.errors import SourceGarbled, SourceRefused
from exporter.source.answer import garbled
from exporter.source.client import Client
from exporter.source.remote_read.matchers import Matcher

# Only this block of what may be a config of megabytes goes through the YAML parser, which is slow.
_GLOBAL = re.compile(r"^global:[ ]*\n((?:[ \t]+[^\n]*\n?|\n)*)", re.MULTILINE)


def names_to_keep(
    client: Client, expr: str, matchers: tuple[Matcher, ...], start_s: float, end_s: float
) -> frozenset[str] | None:
    """The label names that the series of a selector have by themselves; None when nothing is added to them.

    Asks the server for its external labels and, unless it has none, for the names in the span. Raises SourceRefused
    when a name is both, and SourceError when the server can't be asked.
    """
    added = external_labels(client.config_text())
    if added is not None and not added:
        return None
    asked = {matcher.name for matcher in matchers} & (added or frozenset())
    if asked:
        raise _ambiguous(client, asked, "in the selector, where remote read would not apply it")
    own = _own_names(client, expr, start_s, end_s)
    both = own & (added or frozenset())
    if both:
        raise _ambiguous(client, both, "of the series too")
    return own


def external_labels(config_text: str) -> frozenset[str] | None:
    """The names of the external labels in a Prometheus config as the server prints it; None when it can't be read."""
    found = _GLOBAL.search(config_text)
    if found is None:
        return None
    try:
        block = yaml.safe_load("global:\n" + found.group(1))["global"] or {}
        return frozenset(str(name) for name in block.get("external_labels") or {})
    except (yaml.YAMLError, AttributeError, TypeError):
        return None


def _own_names(client: Client, expr: str, start_s: float, end_s: float) -> frozenset[str]:
    form = {"match[]": expr, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}"}
    try:
        names = json.loads(client.fetch("labels", form))["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_names(client) from error
    if not isinstance(names, list):
        raise _no_names(client)
    return frozenset(str(name) for name in names)


def _no_names(client: Client) -> SourceGarbled:
    return garbled(client.origin("labels"), "answered no list of label names")


def _ambiguous(client: Client, names: set[str] | frozenset[str], where: str) -> SourceRefused:
    told = ", ".join(sorted(names))
    return SourceRefused(f"{client.origin('read')}: the external label {told} is a label {where}", reason="refused")
