"""A light reader of PromQL: which selectors an expression holds, and how each is used.

It never rejects a query, that is the server's business. What it does not understand (a dialect's keyword, a new
piece of syntax) makes it answer "can't tell": False or an empty tuple.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
      | (?P<number>0[xX][0-9a-fA-F_]+|(?:\d+(?:ms|[smhdwy]))+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^(){}\[\],@:=<>])
    """,
    re.VERBOSE,
)

_BINARY_SIGNS = frozenset(["+", "-", "*", "/", "%", "^", "==", "!=", "<=", ">=", "<", ">"])
_BINARY_WORDS = frozenset(["and", "or", "unless", "atan2"])
_LISTS = frozenset(["by", "without", "on", "ignoring", "group_left", "group_right"])
_NUMBER_WORDS = frozenset(["inf", "nan"])
_RESERVED = _BINARY_WORDS | _LISTS | _NUMBER_WORDS | {"bool", "offset"}
_MATCHERS = frozenset(["=", "!=", "=~", "!~"])
_DEEPEST = 60  # nested brackets; beyond it the answer is "can't tell" rather than a deep recursion

# Functions that take a counter as it is: those that difference it, and those that do not look at its value.
_COUNTER_SAFE = frozenset([
    "rate", "irate", "increase", "resets", "changes", "delta", "idelta", "deriv", "increase_pure",
    "increase_prometheus", "rate_prometheus", "rollup_rate", "rollup_increase", "rollup_delta", "rollup_deriv",
    "deriv_fast", "ideriv", "delta_prometheus", "changes_prometheus", "xrate", "xincrease", "xdelta", "absent",
    "absent_over_time", "present_over_time", "count", "count_values", "count_over_time", "group", "timestamp",
    "tlast_over_time", "tfirst_over_time", "lag", "lifetime", "scrape_interval",
])  # fmt: skip


class _Unsure(Exception):  # not an error: the answer is "can't tell"
    """The expression holds something this reader does not know."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Selector:
    """One vector selector of an expression.

    ``text`` is its source without range, offset or @; ``name`` its metric name ("" when only a pattern gives it);
    ``ranged``: a range or subquery follows it or something around it; ``shifted``: an offset or @ does;
    ``calls``: the functions and aggregations around it, outermost first, in lower case.
    """

    text: str
    name: str
    ranged: bool = False
    shifted: bool = False
    calls: tuple[str, ...] = ()


def is_plain_selector(expr: str) -> bool:
    """Whether the expression is one bare vector selector (``m``, ``m{...}``, ``{...}``) and nothing else.

    Offsets, @, ranges, functions, operators and brackets around it make it False, as does anything not understood.
    """
    try:
        reader = _Reader(expr)
        selector = reader.selector()
        return reader.at_end() and selector is not None
    except _Unsure:
        return False


def selectors(expr: str) -> tuple[Selector, ...]:
    """All vector selectors of an expression, in source order; () when it is not understood."""
    try:
        return _Reader(expr).read()
    except _Unsure:
        return ()


def instant_selectors(expr: str) -> tuple[str, ...]:
    """The distinct selectors that are read at the evaluation time and so look back for an old sample.

    Selectors under a range or a subquery, or moved by offset or @, are not among them; () also means "can't tell".
    """
    found = (selector.text for selector in selectors(expr) if not selector.ranged and not selector.shifted)
    return tuple(dict.fromkeys(found))


def ranged_selectors(expr: str) -> tuple[str, ...]:
    """The distinct selectors under a range or a subquery (without it), not moved by offset or @."""
    found = (selector.text for selector in selectors(expr) if selector.ranged and not selector.shifted)
    return tuple(dict.fromkeys(found))


def metric_names(expr: str) -> tuple[str, ...]:
    """The distinct metric names an expression reads, as far as they stand in it; () also means "can't tell"."""
    return tuple(dict.fromkeys(selector.name for selector in selectors(expr) if selector.name))


def raw_counter_advice(counter: str) -> str:
    """What to do about a counter that is read raw."""
    return f"{counter} looks like a counter read raw: it only ever grows; use rate({counter}[5m]) or increase()"


def raw_counters(expr: str) -> tuple[str, ...]:
    """Distinct names ending in ``_total`` whose running total is read without rate(), increase() or the like.

    A counter that is subtracted from its own past (``m - m offset 5m``) is not raw. () also means "can't tell".
    """
    found = selectors(expr)
    differenced = {selector.name for selector in found if selector.shifted}
    raw = (
        selector.name
        for selector in found
        if selector.name.endswith("_total")
        and selector.name not in differenced
        and _COUNTER_SAFE.isdisjoint(selector.calls)
    )
    return tuple(dict.fromkeys(raw))


def _tokens(expr: str) -> Iterator[_Token]:
    at = 0
    while at < len(expr):
        match = _TOKEN.match(expr, at)
        if match is None or match.lastgroup is None:
            raise _Unsure
        if match.lastgroup != "blank":
            yield _Token(match.lastgroup, match.group(), match.start(), match.end())
        at = match.end()


@dataclass(slots=True)
class _Reader:
    """A recursive-descent reader; precedence does not matter, only what stands inside what."""

    expr: str
    tokens: list[_Token] = field(init=False)
    at: int = 0
    depth: int = 0

    def __post_init__(self) -> None:
        self.tokens = list(_tokens(self.expr))

    def read(self) -> tuple[Selector, ...]:
        found = self._expression()
        if not self.at_end():
            raise _Unsure
        return tuple(found)

    def at_end(self) -> bool:
        return self.at == len(self.tokens)

    def _peek(self, ahead: int = 0) -> _Token:
        index = self.at + ahead
        return self.tokens[index] if index < len(self.tokens) else _Token("end", "", 0, 0)

    def _next(self) -> _Token:
        token = self._peek()
        self.at += 1
        return token

    def _take(self, *texts: str) -> bool:
        """Step over the next token when it is one of these words or signs, in any case."""
        token = self._peek()
        if token.kind in ("name", "sign") and token.text.lower() in texts:
            self.at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise _Unsure

    def _expression(self) -> list[Selector]:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _Unsure
        found = self._operand()
        while self._take(*_BINARY_SIGNS, *_BINARY_WORDS):
            self._take("bool")
            self._matching()
            found += self._operand()
        self.depth -= 1
        return found

    def _matching(self) -> None:
        """on(...), ignoring(...), group_left(...) after a binary operator."""
        if self._take("on", "ignoring"):
            self._label_list()
        if self._take("group_left", "group_right") and self._peek().text == "(":
            self._label_list()

    def _label_list(self) -> None:
        self._expect("(")
        while not self._take(")"):
            if self._next().kind not in ("name", "string"):
                raise _Unsure
            if self._peek().text != ")":
                self._expect(",")

    def _operand(self) -> list[Selector]:
        while self._take("+", "-"):
            pass
        found = self._primary()
        while True:
            if self._take("["):
                self._skip_range()
                found = [replace(selector, ranged=True) for selector in found]
            elif self._take("offset"):
                self._skip_offset()
                found = [replace(selector, shifted=True) for selector in found]
            elif self._take("@"):
                self._skip_moment()
                found = [replace(selector, shifted=True) for selector in found]
            else:
                return found

    def _skip_range(self) -> None:
        while not self._take("]"):
            if self.at_end() or self._next().text in ("[", "{", "}"):
                raise _Unsure

    def _skip_offset(self) -> None:
        self._take("-", "+")
        if self._next().kind != "number":
            raise _Unsure

    def _skip_moment(self) -> None:
        self._take("-", "+")
        if self._take("start", "end"):
            self._expect("(")
            self._expect(")")
        elif self._next().kind != "number":
            raise _Unsure

    def _primary(self) -> list[Selector]:
        token = self._peek()
        if token.kind in ("number", "string") or token.text.lower() in _NUMBER_WORDS:
            self.at += 1
            return []
        if self._take("("):
            found = self._expression()
            self._expect(")")
            return found
        selector = self.selector()
        return [selector] if selector is not None else self._call()

    def _call(self) -> list[Selector]:
        """``f(a, b)``, ``sum by (x) (a)`` or ``sum(a) by (x)``."""
        name = self._next()
        if name.kind != "name":
            raise _Unsure
        before = self._take("by", "without")
        if before:
            self._label_list()
        found = self._arguments()
        if not before and self._take("by", "without"):
            self._label_list()
        return [replace(selector, calls=(name.text.lower(), *selector.calls)) for selector in found]

    def _arguments(self) -> list[Selector]:
        self._expect("(")
        found: list[Selector] = []
        while not self._take(")"):
            found += self._expression()
            if self._peek().text != ")":
                self._expect(",")
        return found

    def selector(self) -> Selector | None:
        """A vector selector that starts here, or None when a function call or something else does."""
        token, after = self._peek(), self._peek(1)
        if token.text == "{":
            return self._braces(token, "")
        if token.kind != "name" or token.text.lower() in _RESERVED:
            return None
        if after.text == "(" or after.text.lower() in ("by", "without"):
            return None
        self.at += 1
        if after.text == "{":
            return self._braces(token, token.text)
        return Selector(token.text, token.text)

    def _braces(self, first: _Token, name: str) -> Selector:
        """``{a="b", c=~"d"}``; a lone string in it is a quoted metric name, as in Prometheus 3."""
        self._expect("{")
        count = 0
        while self._peek().text != "}":
            name = self._matcher() or name
            count += 1
            if self._peek().text != "}":
                self._expect(",")
        if not name and not count:
            raise _Unsure
        end = self._next().end
        return Selector(self.expr[first.start : end], name)

    def _matcher(self) -> str:
        """One label matcher; returns the metric name it fixes, or ""."""
        label = self._next()
        if label.kind == "string" and self._peek().text in (",", "}"):
            return label.text[1:-1]
        if label.kind not in ("name", "string"):
            raise _Unsure
        operator, value = self._next(), self._next()
        if operator.text not in _MATCHERS or value.kind != "string":
            raise _Unsure
        fixes_name = label.text.strip("\"'`") == "__name__" and operator.text == "="
        return value.text[1:-1] if fixes_name else ""
