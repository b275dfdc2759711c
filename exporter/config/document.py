"""From the text of a YAML file to a small tree of scalars, lists and mappings that knows its lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from exporter.errors import Problem

# A config nests six deep. The limit protects the YAML composer, which recurses in C: 200,000 `[` crash the process.
MAX_DEPTH = 30
# Aliases may repeat at most this many nodes; a "billion laughs" file asks for more.
MAX_REPEATED = 100_000

_STANDARD = "tag:yaml.org,2002:"
# YAML 1.1 sees more in a lone `=` or `<<` than anybody means.
_SCALAR_TAGS = {tag: tag for tag in ("str", "int", "float", "bool", "null", "timestamp")} | dict.fromkeys(
    ("value", "merge"), "str"
)
BROKEN = "broken"
_TOP_LEVEL = "`source:` and `queries:` at least"
# What YAML 1.1 lets a file contain, negated.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTES = "put quotes around a text that holds special characters"
_HINTS = {
    "found character that cannot start any token": _QUOTES,
    "mapping values are not allowed in this context": "one `key: value` per line, keys of one block in one column;"
    " quotes around a text that holds `: `",
    "found unexpected end of stream": "a closing quote",
    "did not find expected ',' or ']'": "a closing `]`, a comma between entries",
    "did not find expected ',' or '}'": "a closing `}`, a comma between entries",
    "did not find expected key": "keys of one block in one column",
    "did not find expected '-' indicator": "entries of one list in one column, each starting with `- `",
    "found undefined alias": "an alias `*name` after its anchor `&name`",
    "found another document": "one document per file (one `---` at most)",
}

# Fast parser where PyYAML was built with libyaml; the pure one accepts the same language.
_Loader: type[yaml.CSafeLoader | yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in the file; both count from 1."""

    line: int
    column: int = 1


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value: its text as written, and what YAML takes it for (``str int float bool null timestamp``).

    The tag ``broken`` stands for a value that could not be read and was reported.

    ``plain`` is False for quoted and block texts. The text is kept out of repr: it may be a secret.
    """

    mark: Mark
    tag: str
    text: str = field(repr=False)
    plain: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A YAML sequence."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping with its value; ``mark`` is the key's."""

    mark: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """A YAML mapping with text keys, each once, in file order."""

    mark: Mark
    entries: dict[str, Entry]


Node = Scalar | Listing | Mapping


class Problems:
    """Collects what is wrong, and sorts it in the order of the file."""

    def __init__(self) -> None:
        self._found: dict[tuple[Mark, Problem], None] = {}  # a dict: an aliased node is visited twice, told once

    def add(self, mark: Mark, path: str, message: str, *, value: str = "", allowed: str = "") -> None:
        """Note one problem; ``value`` must already be masked when it is secret."""
        self._found[mark, Problem(mark.line, path, message, value, allowed)] = None

    def in_file_order(self) -> tuple[Problem, ...]:
        """All problems by line and column; those of one place in the order they were found."""
        return tuple(problem for _, problem in sorted(self._found, key=lambda item: item[0]))

    def __bool__(self) -> bool:
        return bool(self._found)


def read_document(text: str, problems: Problems, wanted: str = _TOP_LEVEL) -> Mapping | None:
    """The file's top-level mapping, or None when the text can't be used at all (then ``problems`` says why).

    ``wanted`` are the words for what should stand in a file that holds nothing.
    """
    node = read_nodes(text, problems, wanted)
    if node is not None and not isinstance(node, Mapping):
        if not problems:
            problems.add(node.mark, "", "the file must hold keys and values", allowed=wanted)
        return None
    return node


def read_nodes(text: str, problems: Problems, wanted: str) -> Node | None:
    """The same for a file that may hold anything."""
    root = _compose(text, problems, wanted)
    if root is None or _too_many_aliases(root, problems):
        return None
    return _Converter(problems).convert(root, "")


def _compose(text: str, problems: Problems, wanted: str) -> yaml.Node | None:
    if found := _UNPRINTABLE.search(text):
        mark = _mark_at(text, found.start())
        problems.add(mark, "", f"control character U+{ord(found[0]):04X} in the file", allowed="printable text")
        return None
    try:
        if _too_deep(text, problems):
            return None
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        _note_syntax(error, text, problems)
        return None
    if root is None:
        problems.add(Mark(1), "", "the file is empty", allowed=wanted)
    return root


def _too_deep(text: str, problems: Problems) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            problems.add(_mark(event.start_mark), "", "the file nests too deep", allowed=f"at most {MAX_DEPTH} levels")
            return True
    return False


def _note_syntax(error: yaml.MarkedYAMLError, text: str, problems: Problems) -> None:
    mark = _mark(error.problem_mark)
    lines = text.splitlines()
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    if re.match(r" *\t", line):
        problems.add(mark, "", "a tab in the indentation", allowed="spaces (YAML forbids tabs there)")
        return
    # A quote or bracket that is never closed is noticed at the end of the file: say where it was opened.
    if error.context_mark and (error.problem or "").startswith(("found unexpected end", "did not find expected")):
        mark = _mark(error.context_mark)
    told = (error.problem or "unreadable").removeprefix("but ")
    allowed = _HINTS.get(told, "see the lines above too")
    if "${" in line and told.startswith("did not find expected"):
        allowed = "quotes around `${NAME}` between brackets or braces"
    problems.add(mark, "", f"not valid YAML: {told}", allowed=allowed)


def _too_many_aliases(root: yaml.Node, problems: Problems) -> bool:
    """Count the nodes with every alias followed; each node is measured once, so that a bomb costs nothing."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise _Cycle(node)
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
            open_nodes.discard(id(node))
        return sizes[id(node)]

    try:
        repeated = size(root) - len(sizes)
    except _Cycle as cycle:
        problems.add(_mark(cycle.node.start_mark), "", "an alias that contains itself", allowed="no loops")
        return True
    if repeated > MAX_REPEATED:
        allowed = f"aliases that repeat at most {MAX_REPEATED} values"
        problems.add(_mark(root.start_mark), "", f"aliases repeat {_count(repeated)} values", allowed=allowed)
        return True
    return False


def _count(number: int) -> str:
    return str(number) if number < 10**9 else "more than a billion"


class _Cycle(Exception):
    def __init__(self, node: yaml.Node) -> None:
        self.node = node


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value


class _Converter:
    """Turns PyYAML's nodes into ours; each once, so that aliases stay shared."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._done: dict[int, Node] = {}

    def convert(self, node: yaml.Node, path: str) -> Node:
        if id(node) not in self._done:
            self._done[id(node)] = self._build(node, path)
        return self._done[id(node)]

    def _build(self, node: yaml.Node, path: str) -> Node:
        tag = node.tag.removeprefix(_STANDARD)
        if isinstance(node, yaml.ScalarNode) and tag in _SCALAR_TAGS:
            return Scalar(_mark(node.start_mark), _SCALAR_TAGS[tag], node.value, not node.style)
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            items = tuple(self.convert(item, f"{path}[{index}]") for index, item in enumerate(node.value))
            return Listing(_mark(node.start_mark), items)
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return self._mapping(node, path)
        self._problems.add(_mark(node.start_mark), path, f"YAML tag `{node.tag}`", allowed="plain YAML without tags")
        return Scalar(_mark(node.start_mark), BROKEN, "", plain=True)

    def _mapping(self, node: yaml.MappingNode, path: str) -> Mapping:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in node.value:
            if key.tag == _STANDARD + "merge":
                merged |= self._merge(value, path)
            elif (name := self._key(key, path, own)) is not None:
                own[name] = Entry(_mark(key.start_mark), self.convert(value, join(path, name)))
        return Mapping(_mark(node.start_mark), own | {k: v for k, v in merged.items() if k not in own})

    def _key(self, key: yaml.Node, path: str, seen: dict[str, Entry]) -> str | None:
        mark = _mark(key.start_mark)
        if not isinstance(key, yaml.ScalarNode) or key.tag != _STANDARD + "str":
            shown = key.value if isinstance(key, yaml.ScalarNode) else ""
            message = "a key must be text" if shown else "a key must be text, not a list or mapping"
            self._problems.add(mark, path, message, value=shown, allowed="a name; quotes make a number or `yes` a text")
            return None
        name: str = key.value
        if name in seen:
            first = seen[name].mark.line
            message = f"the key is given twice, first at line {first}"
            self._problems.add(mark, join(path, name), message, allowed="each key once")
            return None
        return name

    def _merge(self, node: yaml.Node, path: str) -> dict[str, Entry]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Entry] = {}
        for part in reversed(parts):  # the earlier one wins
            converted = self.convert(part, join(path, "<<"))
            if isinstance(converted, Mapping):
                merged |= converted.entries
            else:
                mark = _mark(part.start_mark)
                self._problems.add(mark, join(path, "<<"), "`<<` takes a mapping", allowed="an alias to a mapping")
        return merged


def join(path: str, key: str) -> str:
    """The key path one level down: ``source`` and ``url`` give ``source.url``."""
    return f"{path}.{key}" if path else key


class _Place(Protocol):  # the C parser and the pure one share no type of mark
    line: int
    column: int


def _mark(mark: _Place | None) -> Mark:
    if mark is None:
        return Mark(1)
    return Mark(mark.line + 1, mark.column + 1)


def _mark_at(text: str, position: int) -> Mark:
    before = text[:position]
    return Mark(before.count("\n") + 1, position - before.rfind("\n"))
