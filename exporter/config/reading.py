"""Walking the tree of a config file: blocks hand out their keys' values; whatever is wrong is noted, and goes on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from exporter.config import document
from exporter.config.document import Listing, Mark, Node, Problems, Scalar
from exporter.config.keys import Key, homes_of, keys_of
from exporter.config.secret import MASK, mask_url

T = TypeVar("T")

_SHOWN_CHARS = 80
_DOLLAR = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPELLED = {document.Mapping: "a mapping", Listing: "a list", Scalar: "a single value"}


class Fault(Exception):
    """A value can't be used: what to tell about it. ``message`` empty: it was told already."""

    def __init__(self, mark: Mark, path: str, message: str, *, value: str = "", allowed: str = "") -> None:
        super().__init__(message)
        self.mark = mark
        self.path = path
        self.message = message
        self.value = value
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Setting:
    """What the whole file shares while it is read: the problems, the environment, where relative paths start."""

    problems: Problems
    environ: Mapping[str, str]
    directory: Path


@dataclass(frozen=True, slots=True)
class Spot:
    """One value of the file: its node, key path, and whether it must stay unseen (a URL: in part)."""

    setting: Setting
    node: Node
    path: str
    secret: bool = False
    url: bool = False

    def fault(self, message: str, *, value: str | None = None, allowed: str = "") -> Fault:
        """The error to raise about this value; shows it as written unless it is secret or ``value`` says otherwise."""
        shown = self._shown() if value is None else value
        return Fault(self.node.mark, self.path, message, value=shown, allowed=allowed)

    def _shown(self) -> str:
        if isinstance(self.node, Scalar) and self.secret:
            return MASK
        if isinstance(self.node, Scalar):
            return clip(mask_url(self.node.text) if self.url else self.node.text)
        return "" if self.secret else clip(_row(self.node))

    def mapping(self) -> document.Mapping:
        """The node as a mapping; no value at all is an empty one."""
        if isinstance(self.node, document.Mapping):
            return self.node
        if self._is_nothing():
            return document.Mapping(self.node.mark, {})
        raise self._wrong_shape("a mapping", "keys and values below it")

    def listing(self) -> Listing:
        """The node as a list; no value at all is an empty one."""
        if isinstance(self.node, Listing):
            return self.node
        if self._is_nothing():
            return Listing(self.node.mark, ())
        raise self._wrong_shape("a list", "`- ...` lines below it, or `[...]`")

    def scalar(self) -> Scalar:
        """The node as a single value that is there."""
        if not isinstance(self.node, Scalar):
            raise self._wrong_shape("a single value", "one value after the colon")
        if self.node.tag == document.BROKEN:
            raise Fault(self.node.mark, self.path, "")
        if self.node.tag == "null":
            raise self.fault("no value", value="", allowed="a value, or no such key")
        return self.node

    def expanded(self) -> str:
        """The scalar's text with ``${NAME}`` replaced from the environment and ``$$`` by ``$``."""
        scalar = self.scalar()
        # Numbers and booleans hold no `$`; only a text can.
        return _DOLLAR.sub(self._replacement, scalar.text)

    def is_expanded(self) -> bool:
        """Whether the value is a plain text that takes its meaning from the environment (``${PORT}``)."""
        return isinstance(self.node, Scalar) and self.node.plain and "${" in self.node.text

    def _replacement(self, found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name = found[1]
        if not found[2] or not _VARIABLE.fullmatch(name):
            allowed = "`${NAME}` with an environment variable's name; `$$` for a plain `$`"
            raise self.fault("`${` without a name and a `}`", allowed=allowed)
        if name not in self.setting.environ:
            raise self.fault(f"the environment variable {name} is not set", allowed="a variable that is set")
        return self.setting.environ[name]

    def _is_nothing(self) -> bool:
        if isinstance(self.node, Scalar) and self.node.tag == document.BROKEN:
            raise Fault(self.node.mark, self.path, "")
        return isinstance(self.node, Scalar) and self.node.tag == "null"

    def _wrong_shape(self, wanted: str, allowed: str) -> Fault:
        # The value itself is not shown: a password may stand where a block belongs.
        return self.fault(f"must be {wanted}, not {_SPELLED[type(self.node)]}", value="", allowed=allowed)

    def block(self, name: str, keys: Mapping[str, Key] | None = None) -> Block:
        """The node as a block of the reference, or of another one with these keys; unknown keys are noted at once."""
        return Block(self, name, self.mapping(), keys)

    def below(self, key: str, node: Node, *, secret: bool = False, url: bool = False) -> Spot:
        """The spot of a key of this mapping."""
        return Spot(self.setting, node, document.join(self.path, key), secret or self.secret, url)

    def tell(self, fault: Fault) -> None:
        """Note a fault, unless it was told already."""
        if fault.message:
            self.setting.problems.add(fault.mark, fault.path, fault.message, value=fault.value, allowed=fault.allowed)

    def item(self, index: int, node: Node) -> Spot:
        """The spot of an item of this list."""
        return Spot(self.setting, node, f"{self.path}[{index}]", self.secret)


Reader = Callable[[Spot], T]


class Block:
    """One mapping of the file while it is read. A key that can't be used is noted and replaced by its default."""

    def __init__(self, spot: Spot, name: str, mapping: document.Mapping, keys: Mapping[str, Key] | None = None) -> None:
        self.spot = spot
        self._keys = keys_of(name) if keys is None else keys
        self._name = name
        self._homes_of = homes_of if keys is None else _no_homes
        self._entries = mapping.entries
        self._unusable: set[str] = set()
        self._refuse_unknown()

    def get(self, key: str, read: Reader[T], default: T) -> T:
        """The value of an optional key."""
        if key not in self._entries:
            return default
        value = attempt(self._spot_of(key), read)
        if value is None:
            self._unusable.add(key)
            return default
        return value

    def need(self, key: str, read: Reader[T], stand_in: T) -> T:
        """The value of a required key; ``stand_in`` where it is missing or bad, so that reading can go on."""
        if key not in self._entries:
            self._unusable.add(key)
            self.note(self.spot.node.mark, key, "missing", allowed=f"such as `{key}: {self._keys[key].example}`")
        return self.get(key, read, stand_in)

    def has(self, *keys: str) -> bool:
        """Whether all these keys are in the file and could be used."""
        return all(key in self._entries and key not in self._unusable for key in keys)

    def given(self, *keys: str) -> list[str]:
        """Those of these keys that are in the file, usable or not, in file order."""
        return [key for key in self._entries if key in keys]

    def usable(self, *keys: str) -> bool:
        """Whether none of these keys was found bad (a missing one is fine)."""
        return not self._unusable.intersection(keys)

    def text_of(self, key: str) -> str:
        """The value of a key as it may be shown."""
        return self._spot_of(key).fault("").value

    def _spot_of(self, key: str) -> Spot:
        known = self._keys[key]
        return self.spot.below(key, self._entries[key].node, secret=known.secret, url=known.type == "URL")

    def blame(self, key: str, message: str, *, allowed: str = "") -> None:
        """Note that a key that reads well by itself doesn't go with the rest."""
        self.note(self._entries[key].node.mark, key, message, value=self.text_of(key), allowed=allowed)

    def note(self, mark: Mark, key: str, message: str, *, value: str = "", allowed: str = "") -> None:
        """Note a problem with a key of this block at the given place."""
        path = document.join(self.spot.path, key) if key else self.spot.path
        self.spot.setting.problems.add(mark, path, message, value=value, allowed=allowed)

    def at_most_one(self, *keys: str) -> None:
        """Note every second one of keys that exclude each other."""
        for key in self.given(*keys)[1:]:
            first = self.given(*keys)[0]
            mark = self._entries[key].mark
            self.note(mark, key, f"excludes `{first}`", allowed=f"one of {', '.join(keys)}")

    def _refuse_unknown(self) -> None:
        for name, entry in self._entries.items():
            if name not in self._keys:
                self.note(entry.mark, name, f"unknown key{self._hint(name)}", allowed=", ".join(self._keys))

    def _hint(self, name: str) -> str:
        close = difflib.get_close_matches(name.lower(), self._keys, n=1, cutoff=0.75)
        if close:
            return f" (did you mean `{close[0]}`?)"
        homes = [home for home in self._homes_of(name) if home != self._name]
        return f" (it belongs to `{homes[0]}`)" if homes else ""


def _no_homes(_name: str) -> tuple[str, ...]:
    """Blocks of another file are no place for a key."""
    return ()


def attempt(spot: Spot, read: Reader[T]) -> T | None:
    """Read a value; what is wrong with it is noted, and None returned."""
    try:
        return read(spot)
    except Fault as fault:
        spot.tell(fault)
        return None


def _row(node: Listing | document.Mapping) -> str:
    """A list of single values as one would write it on a line; anything deeper is not worth showing."""
    items = node.items if isinstance(node, Listing) else ()
    if not items or not all(isinstance(item, Scalar) for item in items):
        return ""
    return "[" + ", ".join(item.text for item in items if isinstance(item, Scalar)) + "]"


def clip(text: str) -> str:
    """A text as a message can show it: one line, printable, not endless."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text).strip()
    return shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "..."
