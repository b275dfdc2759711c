"""The same expression for one of its series only, so that the server need not compute the others.

Label matchers are pushed down to the selectors where that can't change a number: through functions that keep labels
and look at one series at a time, through aggregations that keep the label, through arithmetic that matches on all
labels. Anything else is computed whole, and only the wanted series is handed over (`and on (...)`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.publish.explain_link import quoted
from exporter.source.promql import is_plain_selector, metric_names

# Functions whose output for a series depends only on those with its labels, and that keep these but the name (and le).
_KEEPING = frozenset([
    "abs", "avg_over_time", "ceil", "changes", "clamp", "clamp_max", "clamp_min", "count_over_time", "day_of_month",
    "day_of_week", "day_of_year", "days_in_month", "delta", "deriv", "exp", "floor", "histogram_quantile", "hour",
    "idelta", "increase", "irate", "last_over_time", "ln", "log10", "log2", "max_over_time", "min_over_time", "minute",
    "month", "predict_linear", "present_over_time", "quantile_over_time", "rate", "resets", "round", "sgn", "sqrt",
    "stddev_over_time", "stdvar_over_time", "sum_over_time", "timestamp", "year",
])  # fmt: skip
_AGGREGATING = frozenset(["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "quantile"])
_JOINING = frozenset(["+", "-", "*", "/", "%", "^", ">", "<", "==", "!=", ">=", "<=", "and", "or", "unless", "bool"])

_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
      | (?P<range>\[[^\[\]:]*\])
      | (?P<number>(?:\d+(?:ms|[smhdwy]))+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^(){},=<>])
    """,
    re.VERBOSE,
)
_BARE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Narrowed:
    """An expression that has little more than the wanted series; `pushed`: the server computes no others."""

    expr: str
    plain: bool
    pushed: bool


def narrow(expr: str, labels: Mapping[str, str], without: Iterable[str] = ()) -> Narrowed:
    """`expr` for the series that have these `labels`, and none of the labels `without`.

    A `__name__` among the labels counts for plain selectors only: results have none.
    """
    if is_plain_selector(expr):
        named = bool(metric_names(expr))  # the name it has need not be given once more
        matchers = [_matcher(*label) for label in sorted(labels.items()) if not (named and label[0] == "__name__")]
        matchers += [_matcher(name, "") for name in sorted(set(without) - set(labels))]
        return Narrowed(_with_matchers(expr, matchers), plain=True, pushed=True)
    wanted = {name: value for name, value in labels.items() if name != "__name__"}
    kept = _kept_labels(expr)
    pushed = {name: value for name, value in wanted.items() if kept is not None and kept.has(name)}
    inner = _push(expr, [_matcher(*label) for label in sorted(pushed.items())]) if pushed else expr
    rest = dict.fromkeys(without, "") | wanted
    return Narrowed(inner if rest == pushed else _filtered(inner, rest), plain=False, pushed=bool(pushed))


def _matcher(name: str, value: str) -> str:
    return f"{name if _BARE.fullmatch(name) else quoted(name)}={quoted(value)}"


def _with_matchers(selector: str, matchers: list[str]) -> str:
    """A plain selector with more matchers. A comment behind it would swallow them: it goes."""
    tokens = [token for token in _tokens(selector) or () if token.kind != "blank"]
    text = "".join(token.text for token in tokens)
    if not matchers:
        return text
    if not text.endswith("}"):
        return f"{text}{{{','.join(matchers)}}}"
    body = text[:-1].rstrip(",")
    return f"{body}{'' if body.endswith('{') else ','}{','.join(matchers)}}}"


def _filtered(expr: str, labels: Mapping[str, str]) -> str:
    """The expression's series that have exactly these values of these labels; set operators keep values as they are."""
    if not labels:
        return f"({expr}\n)"
    only = "vector(1)"
    for name, value in sorted(labels.items()):
        if value:  # label_replace reads $ in its replacement
            only = f'label_replace({only}, {quoted(name)}, {quoted(value.replace("$", "$$"))}, "", "")'
    names = ", ".join(name if _BARE.fullmatch(name) else quoted(name) for name in sorted(labels))
    return f"({expr}\n) and on ({names}) {only}"


# --- which labels can be pushed down ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """The labels that come through from every selector to the result: those `names`, or `every` one but them."""

    names: frozenset[str]
    every: bool = False

    def has(self, name: str) -> bool:
        """Whether this label comes through."""
        return (name in self.names) != self.every

    def then(self, other: _Kept) -> _Kept:
        """What comes through both."""
        if self.every and other.every:
            return _Kept(self.names | other.names, every=True)
        if self.every or other.every:
            all_but, some = (self, other) if self.every else (other, self)
            return _Kept(some.names - all_but.names)
        return _Kept(self.names & other.names)


_ALL = _Kept(frozenset(), every=True)


def _tokens(expr: str) -> list[_Token] | None:
    """The tokens, blanks and comments included; None when something is not understood (a subquery, @, a dialect)."""
    found, at = [], 0
    while at < len(expr):
        match = _TOKEN.match(expr, at)
        if match is None or match.lastgroup is None:
            return None
        found.append(_Token(match.lastgroup, match.group()))
        at = match.end()
    return found


def _kept_labels(expr: str) -> _Kept | None:
    """The labels that can be pushed down; None when the expression holds anything that is not known to allow it.

    Every aggregation restricts them for the whole expression, also where it only covers a part of it: a label pushed
    down to all selectors must come through all of them.
    """
    tokens = [token for token in _tokens(expr) or () if token.kind != "blank"]
    if not tokens:
        return None
    kept, at = _ALL, 0
    while at < len(tokens):
        token = tokens[at]
        after = tokens[at + 1].text if at + 1 < len(tokens) else ""
        word = token.text.lower()
        if token.text == "{":
            at = _closing(tokens, at, "}")
        elif token.kind == "name" and word in _AGGREGATING and after.lower() in ("(", "by", "without"):
            grouping = _grouping(tokens, at)
            if grouping is None:
                return None
            kept = kept.then(grouping)
        elif token.kind == "name" and word in ("by", "without"):
            at = _closing(tokens, at, ")")
        elif token.kind == "name" and not _is_harmless(word, after):
            return None
        at += 1
    return kept


def _is_harmless(word: str, after: str) -> bool:
    """A function that keeps labels, an operator, a metric name; not `on`, `offset`, topk() and the like."""
    if after == "(":
        return word in _KEEPING or word in ("and", "or", "unless", "bool")
    return word not in ("on", "ignoring", "group_left", "group_right", "offset", "inf", "nan", "atan2")


def _closing(tokens: list[_Token], at: int, closing: str) -> int:
    while at < len(tokens) and tokens[at].text != closing:
        at += 1
    return at


def _grouping(tokens: list[_Token], at: int) -> _Kept | None:
    """What an aggregation keeps: `by` and `without` may stand before or after its arguments."""
    place = at + 1
    if tokens[place].text == "(":
        depth = 0
        while place < len(tokens):
            depth += {"(": 1, ")": -1}.get(tokens[place].text, 0)
            place += 1
            if depth == 0:
                break
    word = tokens[place].text.lower() if place < len(tokens) else ""
    if word not in ("by", "without"):
        return _Kept(frozenset())
    end = _closing(tokens, place, ")")
    names = frozenset(token.text for token in tokens[place + 2 : end] if token.kind == "name")
    quoted_names = any(token.kind == "string" for token in tokens[place + 2 : end])
    return None if quoted_names else _Kept(names, every=word == "without")


def _push(expr: str, matchers: list[str]) -> str:
    """Add matchers to every selector. Only for expressions of which `_kept_labels` knows the labels."""
    tokens = [token for token in _tokens(expr) or () if token.kind != "blank"]
    out: list[str] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        after = tokens[at + 1].text if at + 1 < len(tokens) else ""
        if token.text == "{":
            end = _closing(tokens, at, "}")
            out.append(_with_matchers("".join(each.text for each in tokens[at : end + 1]), matchers))
            at = end
        elif token.kind == "name" and token.text.lower() in ("by", "without"):
            end = _closing(tokens, at, ")")
            out += [each.text for each in tokens[at : end + 1]]
            at = end
        elif token.kind == "name" and after != "(" and token.text.lower() not in _JOINING | _AGGREGATING:
            out.append(token.text if after == "{" else f"{token.text}{{{','.join(matchers)}}}")
        else:
            out.append(token.text)
        at += 1
    return " ".join(out).replace(" [", "[").replace(" {", "{")
