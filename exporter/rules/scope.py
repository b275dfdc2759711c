"""Which queries share a rule: every query is in the scope of exactly one rule of a kind, or of none on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from exporter.config import Query
from exporter.names import LABEL_QUERY

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Scope:
    """The queries that a rule is about: those named, or with ``others`` all but those, also such as come later."""

    queries: tuple[str, ...] = ()
    others: bool = True

    def selector(self, *matchers: str) -> str:
        """The label matchers in braces, ``matchers`` before those of the scope; nothing where there are none."""
        all_matchers = [*matchers, *self._matchers()]
        return "{" + ",".join(all_matchers) + "}" if all_matchers else ""

    @property
    def label(self) -> str:
        """A text for the label `query` of alerts that leaves it as it is, another one for each scope; see AlertRule."""
        if self.others:
            return ""
        if len(self.queries) == 1:
            return self.queries[0]
        return f"{{{{/* {self.queries[0]} and {len(self.queries) - 1} more */}}}}{{{{ $labels.{LABEL_QUERY} }}}}"

    def _matchers(self) -> list[str]:
        if not self.queries:
            return []
        # Names of queries are letters, digits and underscores: they mean themselves in a regular expression.
        single = len(self.queries) == 1
        sign = {(True, True): "!=", (True, False): "=", (False, True): "!~", (False, False): "=~"}[single, self.others]
        return [f'{LABEL_QUERY}{sign}"{"|".join(self.queries)}"']


EVERYTHING = Scope()


def scopes(
    queries: Iterable[Query], settings_of: Callable[[Query], K | None], usual: K | None
) -> list[tuple[K, Scope]]:
    """Settings, and who has them. None stands for no rule.

    ``usual`` are the settings of whatever is not in the config; their rule comes first and excludes the special ones.
    """
    named: dict[K | None, list[str]] = {}
    for query in queries:
        named.setdefault(settings_of(query), []).append(query.name)
    special = [name for settings, names in named.items() if settings != usual for name in names]
    found = [] if usual is None else [(usual, Scope(tuple(sorted(special))))]
    for settings, names in named.items():
        if settings is not None and settings != usual:
            found.append((settings, Scope(tuple(sorted(names)), others=False)))
    return found
