"""The address of an explanation, as pages and alerts give it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

_BARE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def quoted(value: str) -> str:
    """A label value as PromQL and the text format write it."""
    return f'"{value.translate(_ESCAPES)}"'


def selector_text(labels: Mapping[str, str]) -> str:
    """`{a="b",c="d"}`, sorted by name; names that only Prometheus 3 allows are quoted."""
    parts = (f"{name if _BARE.fullmatch(name) else quoted(name)}={quoted(labels[name])}" for name in sorted(labels))
    return "{" + ",".join(parts) + "}"


def explain_path(query: str, labels: Mapping[str, str], *, tenant: str = "", model: str = "", at: str = "") -> str:
    """Path and query string of the page that explains the verdict on a series; what is empty is left out."""
    asked = {"query": query, "tenant": tenant, "model": model, "series": selector_text(labels), "at": at}
    return "/explain?" + urlencode({name: value for name, value in asked.items() if value}, errors="replace")
