"""Another sensitivity in the text of a config: one line is changed or added, comments and all else stay as they are.

What the edited text means is checked by reading it: the query has the new sensitivity, and nothing else is different.
Where that is not so (anchors, merge keys, everything on one line) there is a snippet in place of a diff.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import yaml

from exporter.config import Config, parse
from exporter.errors import ConfigError

_CONTEXT = 3
_NO_NEWLINE = "\\ No newline at end of file\n"


@dataclass(frozen=True, slots=True)
class Edit:
    """Another sensitivity for some queries: the new text of the file and a unified diff, or else, where the text can't
    be edited for sure, both are empty and `snippet` says what to write."""

    text: str
    diff: str
    snippet: str


def propose_edit(file: str, text: str, wanted: Mapping[str, float], environ: Mapping[str, str] = os.environ) -> Edit:
    """The edit of a config that gives queries, by name, these sensitivities. The diff shows lines of `queries` only:
    what stands elsewhere may be secret. Raises ConfigError where the text is no config any more."""
    config = parse(text, file, environ)
    snippet = "".join(f"  - name: {name}\n    sensitivity: {factor:g}\n" for name, factor in wanted.items())
    edited, places = text, []
    for name, factor in wanted.items():
        found = _set(edited, name, f"{factor:g}")
        if found is None:
            return Edit("", "", f"queries:\n{snippet}")
        edited, line = found
        places.append(line)
    if not _means(edited, file, environ, config, wanted):
        return Edit("", "", f"queries:\n{snippet}")
    context = _room(edited, places)
    if context is None:
        return Edit("", "", f"queries:\n{snippet}")
    return Edit(edited, _unified(file, text, edited, context), "")


def _means(edited: str, file: str, environ: Mapping[str, str], config: Config, wanted: Mapping[str, float]) -> bool:
    """Whether a text is the config with these sensitivities, and nothing else."""
    queries = tuple(replace(each, sensitivity=wanted.get(each.name, each.sensitivity)) for each in config.queries)
    try:
        return parse(edited, file, environ) == replace(config, queries=queries)
    except ConfigError:
        return False


def _set(text: str, name: str, factor: str) -> tuple[str, int] | None:
    """The text with a sensitivity for one query, and the line of that (from 0); None where it can't be put there."""
    block = next((each for each in _queries(text) if _value(each, "name") == name), None)
    if block is None:
        return None
    known = _entry(block, "sensitivity")
    if known is not None:
        key, value = known
        if value.start_mark.line != key.start_mark.line or value.start_mark.line != value.end_mark.line:
            return None
        start, end = value.start_mark.index, value.end_mark.index
        return text[:start] + factor + text[end:], value.start_mark.line
    return _inserted(text, block, factor)


def _inserted(text: str, block: yaml.MappingNode, factor: str) -> tuple[str, int] | None:
    """The text with the key after the `name` of a query: on a line of its own, or in the braces."""
    entry = _entry(block, "name")
    if entry is None or entry[1].end_mark.line != entry[0].start_mark.line:
        return None
    key, value = entry
    line = value.end_mark.line
    if block.flow_style:
        at = value.end_mark.index
        return f"{text[:at]}, sensitivity: {factor}{text[at:]}", line
    end = text.find("\n", value.end_mark.index)
    newline = "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"
    indent = " " * key.start_mark.column
    if end < 0:
        return f"{text}{newline}{indent}sensitivity: {factor}", line + 1
    return f"{text[: end + 1]}{indent}sensitivity: {factor}{newline}{text[end + 1 :]}", line + 1


# -- the nodes of the text ---------------------------------------------------------------------------------------------


def _root(text: str) -> yaml.Node | None:
    # The pure parser: the marks of libyaml's count bytes and do not know the place in the text.
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _list_node(text: str) -> yaml.SequenceNode | None:
    root = _root(text)
    if not isinstance(root, yaml.MappingNode):
        return None
    found = _entry(root, "queries")
    return found[1] if found is not None and isinstance(found[1], yaml.SequenceNode) else None


def _queries(text: str) -> Iterator[yaml.MappingNode]:
    """The blocks of the queries that stand in the text once, each where it is used."""
    listed = _list_node(text)
    blocks = listed.value if listed is not None else []
    for block in blocks:
        if isinstance(block, yaml.MappingNode) and sum(each is block for each in blocks) == 1:
            yield block


def _entry(block: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in block.value if key.value == name), None)


def _value(block: yaml.MappingNode, name: str) -> str:
    found = _entry(block, name)
    return str(found[1].value) if found is not None and isinstance(found[1], yaml.ScalarNode) else ""


# -- the diff ----------------------------------------------------------------------------------------------------------


def _room(edited: str, places: list[int]) -> int | None:
    """How many lines of context lie within `queries`; None where not even the changed lines do."""
    listed = _list_node(edited)
    if listed is None:
        return None
    first, last = listed.start_mark.line, listed.end_mark.line
    before = edited[: listed.start_mark.index].rpartition("\n")[2].strip()
    behind = edited[listed.end_mark.index :].partition("\n")[0].strip()
    first += before not in ("", "queries:")  # something else begins that line
    last -= listed.end_mark.column == 0 or (bool(behind) and not behind.startswith("#"))  # or ends it
    room = min(min(line - first, last - line) for line in places)
    return min(_CONTEXT, room) if room >= 0 else None


def _unified(file: str, old: str, new: str, context: int) -> str:
    before, after = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in (old, new))
    lines = difflib.unified_diff(before, after, f"a/{file.lstrip('/')}", f"b/{file.lstrip('/')}", n=context)
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}" for line in lines)
