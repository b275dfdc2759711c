"""Explanations over HTTP: few, so that they never stand in the way of scrapes or of the source's work."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

from exporter.config.secret import hide
from exporter.errors import SourceError, SourceUnavailable
from exporter.explain.document import explanation_json
from exporter.explain.explainer import Explainer
from exporter.explain.gate import Gate
from exporter.explain.page import error_html, explanation_html
from exporter.explain.question import ExplainError, Question
from exporter.explain.recording import without_name
from exporter.publish.style import POLICY
from exporter.publish.web import HTML_TYPE, Answered
from exporter.source.breaker import OPEN_REASON

JSON_TYPE = "application/json; charset=utf-8"

_KEPT_S = 10.0  # a verdict lives for an interval; whoever reloads at once sees the same page
_KEPT = 16
_MOST_FIELDS = 32
_PARAMETERS = ("query", "tenant", "model", "series", "at", "format")

log = logging.getLogger(__name__)

Asked = tuple[Question, bool]  # and whether JSON is wanted


class Desk:
    """Answers the page /explain. `explainer` gives the explainer of the config in force; `queries` its queries."""

    def __init__(
        self, explainer: Callable[[], Explainer], queries: Callable[[], Sequence[str]], config: Callable[[], str]
    ) -> None:
        """`config`: the hash of the config in force; what was explained under another one is not shown again."""
        self._explainer = explainer
        self._queries = queries
        self._config = config
        self._gate = Gate()
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Asked, str], tuple[float, Answered]] = OrderedDict()

    def answer(self, query_string: str) -> Answered:
        """The page for the query string of a URL, or JSON with `format=json`. Never raises."""
        question, as_json = Question("", ""), False
        try:
            question, as_json = read_question(query_string)
            if question == Question("", ""):
                return self._refused(ExplainError("Which series? Choose a query and give its labels.", status=200),
                                     question, as_json=as_json)  # fmt: skip
            return self._answered(question, as_json=as_json)
        except ExplainError as error:
            return self._refused(error, question, as_json=as_json)
        except SourceError as error:
            return self._refused(_of_source(error), question, as_json=as_json)
        except Exception as error:  # a mistake of ours must be seen, and not end the connection without a word
            log.exception("internal error in an explanation, please report it", extra={"query": question.query})
            broken = ExplainError(f"internal error, please report it: {hide(repr(error))}", status=500)
            return self._refused(broken, question, as_json=as_json)

    def _answered(self, question: Question, *, as_json: bool) -> Answered:
        key = ((question, as_json), self._config())
        known = self._known(key)
        if known is not None:
            return known
        with self._gate.passed():
            known = self._known(key)  # the same question may just have been answered
            if known is None:
                self._gate.spend()
                told = self._explainer().explain(question, time.time())
                text, kind = (explanation_json(told), JSON_TYPE) if as_json else (explanation_html(told), HTML_TYPE)
                known = _answer(200, kind, text)
                self._keep(key, known)
            return known

    def _known(self, key: tuple[Asked, str]) -> Answered | None:
        with self._lock:
            made_s, answered = self._kept.get(key, (0.0, None))
        return answered if answered is not None and time.monotonic() - made_s < _KEPT_S else None

    def _keep(self, key: tuple[Asked, str], answered: Answered) -> None:
        with self._lock:
            self._kept[key] = time.monotonic(), answered
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    def _refused(self, error: ExplainError, question: Question, *, as_json: bool) -> Answered:
        more = (("Retry-After", str(error.busy_s)),) if error.busy_s else ()
        if as_json:
            candidates = [without_name(labels) for labels in error.candidates]
            body = json.dumps({"error": str(error), "candidates": candidates}, ensure_ascii=False)
            return _answer(error.status, JSON_TYPE, body, *more)
        return _answer(error.status, HTML_TYPE, error_html(error, question, self._queries()), *more)


def _answer(status: int, kind: str, text: str, *headers: tuple[str, str]) -> Answered:
    return Answered(status, kind, text.encode("utf-8", "replace"), (("Content-Security-Policy", POLICY), *headers))


def _of_source(error: SourceError) -> ExplainError:
    """A server behind us that fails is 502, one that takes too long 504."""
    late = isinstance(error, SourceUnavailable) and error.reason == "timeout"
    words = f"{error} The server is not asked for now; try again soon." if error.reason == OPEN_REASON else str(error)
    return ExplainError(words, status=504 if late else 502)


def read_question(query_string: str) -> tuple[Question, bool]:
    """The question of a URL, and whether JSON is wanted. Raises ExplainError for a parameter given twice, too many of
    them, or an unknown format; parameters of other names are left alone."""
    try:
        given = parse_qs(query_string, keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise ExplainError(f"the URL has more than {_MOST_FIELDS} parameters") from None
    texts = {}
    for name in _PARAMETERS:
        values = given.get(name, [""])
        if len(values) > 1:
            raise ExplainError(f"the parameter {name} is given {len(values)} times; once is enough")
        texts[name] = values[0].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    kind = texts.pop("format")
    if kind not in ("", "html", "json"):
        raise ExplainError("format is not html or json")
    return Question(**texts), kind == "json"
