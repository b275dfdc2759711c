"""Which series is meant: the one with the given labels, or with those of them that it can have; else, which may be.

Labels come from alerts, and on the way there some change: a label of the series that has a name of ours was renamed,
a scrape adds `job` and `instance` where there are none. All of that is undone here where only one series remains.

What relabelling does can't be undone: there the rules are applied to the series that may be meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporter.config import Query
from exporter.errors import SourceRefused, SourceTooMuch
from exporter.explain.formats import duration
from exporter.explain.narrowing import Narrowed, narrow
from exporter.explain.question import ExplainError, shorten
from exporter.explain.recording import without_name
from exporter.intake import LOOKBACK_S
from exporter.names import LABEL_MODEL, LABEL_QUERY, LABEL_TENANT, RELABELLED_AWAY
from exporter.publish.explain_link import selector_text
from exporter.source.labels import parse_labels
from exporter.source.reader import Reader
from exporter.source.scan import scan_answer
from exporter.succession import last_ms

MOST_CANDIDATES = 8
_MOST_LISTED = 50  # series of an answer that are looked at
_MOST_COMPARED = 2000  # series of a query that are all read in search of the nearest
_MOST_RELAXED = 8  # labels that are left out one by one
_MOST_KIN = 500  # series that are read together, because relabelling may have made one of them
_LOOKS_BACK = 48  # times within the window at which a series that is gone is looked for
_EXPORTED = "exported_"
_ADDED_BY_SCRAPE = frozenset(("job", "instance"))

Labels = Mapping[str, str]
ReaderOf = Callable[[str], Reader]


@dataclass(frozen=True, slots=True)
class Found:
    """A series of the source: its labels (with its name, where it has one), the expression that gives little more than
    it, how many series the server has to compute for that, and what had to be changed to find it.

    `published`: its labels after relabelling; `kin` tells of labels whether they are of a series that becomes the same
    one by relabelling (None: there are none but its own).
    """

    labels: Labels
    narrowed: Narrowed
    count: int
    published: Labels
    remark: str = ""
    kin: Callable[[Labels], bool] | None = None


class Search:
    """Looks for a series of one query at one time. `reader_of` makes a reader of an expression."""

    def __init__(self, query: Query, reader_of: ReaderOf, time_s: float, added: Labels) -> None:
        """`added`: the labels that the exporter adds to what it publishes about this query."""
        self._query = query
        self._reader_of = reader_of
        self._time_s = time_s
        self._added = added
        self._relabelling = query.relabelling()

    def find(self, given: Labels) -> Found:
        """The one series that is meant. Raises ExplainError, with candidates, and SourceError."""
        if self._relabelling.changes:
            relabelled = self._relabelled(given)
            if relabelled is not None:
                return self._found(relabelled, (), "")
        for labels, remark in self._readings(given):
            for listed in (self._listed(labels), self._once(labels)):
                chosen = _choose(labels, listed, remark)
                if chosen is not None:
                    return self._found(chosen[0], listed, chosen[1])
        near = self._near(given)
        part = [each for each in near if without_name(each).items() <= given.items()]
        if len(part) == 1:  # also the one series without labels of a sum over everything
            others = sorted(set(given) - set(part[0]))
            return self._found(part[0], near, f"{', '.join(map(shorten, others))}: not a label of the series, left out")
        raise self._unknown(given, near)

    # -- how the labels may be meant -----------------------------------------------------------------------------------

    def _readings(self, given: Labels) -> Iterator[tuple[Labels, str]]:
        """The labels as they were given, and what they may have been before they were published."""
        yield given, ""
        told = [given]
        added = {LABEL_QUERY, LABEL_MODEL, *self._added}
        for ours in (added, added | {LABEL_TENANT}):  # a series may have a tenant of its own where none are configured
            back = {name: value for name, value in given.items() if name not in ours}
            for name in ours:
                if _EXPORTED + name in back:
                    back[name] = back.pop(_EXPORTED + name)
            if back not in told:
                told.append(back)
                yield back, "labels that the exporter adds were left out"

    # -- what the source has -------------------------------------------------------------------------------------------

    def _listed(self, labels: Labels) -> list[Labels]:
        """Series with these labels now, some at most."""
        narrowed = narrow(self._query.expr, labels)
        reader = self._reader_of(narrowed.expr)
        recent = f"last_over_time({narrowed.expr}[{self._lookback_ms()}ms])" if narrowed.plain else narrowed.expr
        try:
            return self._ask(reader, f"topk({_MOST_LISTED}, {recent}\n)")
        except SourceRefused:  # topk() takes no scalar; if the expression itself is wrong, this says so in its terms
            return self._ask(reader, narrowed.expr)

    def _once(self, labels: Labels) -> list[Labels]:
        """Series with these labels at some time in the window: they may be gone."""
        narrowed = narrow(self._query.expr, labels)
        if not labels or not (narrowed.plain or narrowed.pushed):
            return []
        reader, end_s = self._reader_of(narrowed.expr), int(self._time_s)
        stride_s = max(self._query.window_s // _LOOKS_BACK, self._query.step_s)
        expr = f"last_over_time({narrowed.expr}[{stride_s}s])" if narrowed.plain else narrowed.expr
        try:
            body = reader.client.query_range(expr, end_s - self._query.window_s, end_s, stride_s)
        except SourceTooMuch:
            return []
        batch = scan_answer(body, reader.client.origin("query_range")).batch
        most = _MOST_COMPARED if self._relabelling.changes else _MOST_LISTED
        return [parse_labels(batch.label_bytes(index)) for index in range(min(batch.series, most))]

    def _ask(self, reader: Reader, expr: str) -> list[Labels]:
        body = reader.client.query(expr, self._time_s)
        batch = scan_answer(body, reader.client.origin("query")).batch
        return [parse_labels(batch.label_bytes(index)) for index in range(batch.series)]

    def _lookback_ms(self) -> int:
        return int(1000 * max(LOOKBACK_S, 1.5 * self._query.interval_s))

    def _found(self, labels: Labels, listed: Iterable[Labels], remark: str) -> Found:
        published = self._relabelling.publish(dict(labels))
        if isinstance(published, str):
            why = "relabel_configs drop it" if published == RELABELLED_AWAY else f"it is over limits.{published}"
            raise ExplainError(f"{shorten(selector_text(labels), 300)} is not watched: {why}", status=404)
        if self._relabelling.changes:
            remark = f"published as {shorten(selector_text(published), 300)}{'; ' if remark else ''}{remark}"
            together = self._with_kin(labels, published, remark)
            if together is not None:
                return together
            remark += "; other series may be published as the same one and are not looked at"
        others = {name for each in listed for name in each} - set(labels) - {"__name__"}
        narrowed = narrow(self._query.expr, labels, others)
        count = 1 if narrowed.plain or narrowed.pushed else self.count()
        return Found(labels, narrowed, count, published, remark)

    # -- what relabelling makes the same -------------------------------------------------------------------------------

    def _relabelled(self, given: Labels) -> Labels | None:
        """A series of the source that is published with these labels; one of now before one that is gone.

        Raises ExplainError where several results have them.
        """
        for labels, _ in self._readings(given):
            certain = self._relabelling.untouched(labels) or {}
            certain = {name: value for name, value in certain.items() if name not in _ADDED_BY_SCRAPE}
            for listed in (self._kin_now(certain), self._once(certain)):
                found = [each for each in listed if self._is_published_as(each, labels)]
                found = found or self._only_one_with(listed, labels)
                if found:
                    return found[0]
        return None

    def _only_one_with(self, listed: list[Labels], labels: Labels) -> list[Labels]:
        """The series that are published with these labels and more, as one and the same result."""
        found: dict[str, list[Labels]] = {}
        results: list[Labels] = []
        for each in listed:
            published = self._relabelling.publish(dict(each))
            if labels and not isinstance(published, str) and labels.items() <= published.items():
                found.setdefault(selector_text(published), []).append(each)
                results.append(published)
        if len(found) > 1:
            words = f"{len(found)} results have these labels; {_one_of(len(found))}"
            raise ExplainError(words, candidates=_distinct(results)[:MOST_CANDIDATES])
        return next(iter(found.values()), [])

    def _kin_now(self, certain: Labels) -> list[Labels]:
        """The series with these labels now, those with the newest samples first; none where there are too many."""
        reader = self._reader_of(narrow(self._query.expr, certain).expr)
        if reader.count(self._time_s) > _MOST_COMPARED:
            return []
        batch = reader.newest(int(self._time_s), self._lookback_ms() // 1000).batch
        newest_ms = last_ms(batch).tolist()
        found = [(-at, parse_labels(batch.label_bytes(index))) for index, at in enumerate(newest_ms) if at == at]
        return [labels for _, labels in sorted(found, key=lambda each: (each[0], selector_text(each[1])))]

    def _is_published_as(self, series: Labels, labels: Labels) -> bool:
        """Whether a series is published with these labels, or with these but for what a scrape adds."""
        published = self._relabelling.publish(dict(series))
        if isinstance(published, str):
            return False
        more = set(labels) - set(published)
        return published.items() <= without_name(labels).items() and more <= _ADDED_BY_SCRAPE | {"__name__"}

    def _with_kin(self, labels: Labels, published: Labels, remark: str) -> Found | None:
        """The series together with those that relabelling makes the same; None where that takes too many."""
        certain = self._relabelling.untouched(published) or {}
        narrowed = narrow(self._query.expr, certain)
        count = self._reader_of(narrowed.expr).count(self._time_s)
        if count > _MOST_KIN:
            return None

        def kin(series: Labels) -> bool:
            return self._relabelling.publish(dict(series)) == published

        lately = sum(map(kin, self._kin_now(certain)))
        if lately > 1:
            remark += f"; {lately} series of the source have become it lately, and only one at a time is watched"
        cost = max(count, 1) if narrowed.plain or narrowed.pushed else self.count()
        return Found(labels, narrowed, cost, published, remark, kin)

    def count(self) -> int:
        """The number of series of the whole query now. Raises SourceError."""
        return self._reader_of(self._query.expr).count(self._time_s)

    # -- what comes near -----------------------------------------------------------------------------------------------

    def _near(self, given: Labels) -> list[Labels]:
        """Series of the query that may be meant, the most alike first."""
        try:
            if self.count() <= _MOST_COMPARED:
                reader = self._reader_of(self._query.expr)
                found = self._ask(reader, f"({self._query.expr}\n)")
            else:
                found = self._relaxed(given)
        except SourceRefused:
            return []
        return sorted(_distinct(found), key=lambda labels: (-_likeness(labels, given), selector_text(labels)))

    def _relaxed(self, given: Labels) -> list[Labels]:
        """Series that have all of the labels but one, or but job and instance."""
        left_out = [("job", "instance"), *((name,) for name in sorted(given)[:_MOST_RELAXED])]
        found: list[Labels] = []
        for names in left_out:
            labels = {name: value for name, value in given.items() if name not in names}
            narrowed = narrow(self._query.expr, labels)
            if labels != given and (narrowed.plain or narrowed.pushed):
                found += self._ask(self._reader_of(narrowed.expr), f"topk({MOST_CANDIDATES}, {narrowed.expr}\n)")
        return found

    def _unknown(self, given: Labels, near: list[Labels]) -> ExplainError:
        words = f"the query {self._query.name} has no series {shorten(selector_text(given), 300)}"
        if near:
            return ExplainError(f"{words}; it has:", status=404, candidates=near[:MOST_CANDIDATES])
        return ExplainError(f"{words} within the last {duration(self._query.window_s)}", status=404)


def _choose(labels: Labels, listed: list[Labels], remark: str) -> tuple[Labels, str] | None:
    """The series with just these labels, or the only one that has them. Raises ExplainError where there are several."""
    exact = [each for each in listed if _matches(each, labels)]
    if exact:
        return exact[0], remark
    if len(listed) == 1:
        return listed[0], remark or "the only series with these labels; it has more"
    if listed:
        raise ExplainError(
            f"{len(listed) if len(listed) < _MOST_LISTED else f'{_MOST_LISTED} or more'} series have these labels;"
            f" {_one_of(len(listed))}",
            candidates=listed[:MOST_CANDIDATES],
        )
    return None


def _one_of(found: int) -> str:
    """What to give in place of labels that so many series have; not all of them may be listed."""
    return f"give all labels of one of them{':' if found <= MOST_CANDIDATES else ', such as:'}"


def _matches(series: Labels, labels: Labels) -> bool:
    """Whether these are all labels of a series; its name may be left out."""
    return series == labels or without_name(series) == labels


def _distinct(found: Iterable[Labels]) -> list[Labels]:
    return list({selector_text(labels): labels for labels in found}.values())


def _likeness(labels: Labels, given: Labels) -> float:
    """How much of the labels is the same; similar values count in part."""
    score = 0.0
    for name, value in given.items():
        have = labels.get(name)
        if have == value:
            score += 1.0
        elif have is not None:
            score += 0.5 * difflib.SequenceMatcher(None, have[:60], value[:60]).quick_ratio()
    return score - 0.1 * len(set(labels) - set(given))
