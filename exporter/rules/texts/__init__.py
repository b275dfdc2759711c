"""The words of the alerts: Go templates, put together from fragments that each stand once in this folder.

Prometheus expands every annotation by itself, so what several of them need is repeated in the rule files, and only
there. Label values are hostile: within PromQL they are quoted (``%q``), within URLs escaped (``urlquery``), in words
quoted and cut. A label that may be missing stands in ``or``, because vmalert hands it to functions as nil.
``<<name>>`` in a file stands for a value or for the fragment ``name.gotmpl``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

_TOKEN = re.compile(r"<<(\w+)>>")


def text(name: str, values: Mapping[str, str]) -> str:
    """The template ``name`` with all tokens replaced, without its last line break.

    Raises KeyError for a token that is neither a value nor a fragment. Values are taken as they are: what goes into a
    string of a template must be escaped for it (`go_text`).
    """
    return _TOKEN.sub(lambda found: _replacement(found[1], values), _fragment(name))


def go_text(content: str) -> str:
    """A text without line breaks as it stands between the quotes of a Go string."""
    return content.replace("\\", r"\\").replace('"', r"\"")


def _replacement(name: str, values: Mapping[str, str]) -> str:
    if name in values:
        return values[name]
    return text(name, values)


@lru_cache
def _fragment(name: str) -> str:
    file = files(__package__) / f"{name}.gotmpl"
    if not file.is_file():
        raise KeyError(name)
    return file.read_text("utf-8").rstrip("\n")
