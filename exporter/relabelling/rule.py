"""One entry of `relabel_configs`, as it stands in a config, with Prometheus' defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Action = Literal[
    "replace", "keep", "drop", "keepequal", "dropequal", "hashmod",
    "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase",
]  # fmt: skip
ACTIONS: tuple[Action, ...] = get_args(Action)

ANYTHING = "(.*)"
FIRST_GROUP = "$1"
SEPARATOR = ";"


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do: the values of `source_labels`, joined by `separator`, meet `regex`, or names of labels do."""

    action: Action = "replace"
    source_labels: tuple[str, ...] = ()
    separator: str = SEPARATOR
    regex: str = ANYTHING
    modulus: int = 0
    target_label: str = ""
    replacement: str = FIRST_GROUP

    def written(self) -> str | None:
        """The one label that the rule may set; empty for none, None where that depends on the labels it meets."""
        if self.action == "labelmap":
            return None
        if self.action == "replace":
            return None if "$" in self.target_label else self.target_label
        return self.target_label if self.action in ("hashmod", "lowercase", "uppercase") else ""
