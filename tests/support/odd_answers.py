"""Answers that are odd, but answers: what is to be remarked about each, and which of its series are judged."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass

from support.loopback import http
from support.market import PODS, Answer, Manner, Series, pretty


def newest_of_pod_b(text: str) -> Callable[[list[Series], bool], Answer]:
    """The newest samples of pod b, and only these, have another value."""

    def change(series: list[Series], newest: bool) -> Answer:
        if newest:
            series[1]["values"] = [[t, text] for t, _ in series[1]["values"]]
        return series, {}

    return change


def twice(series: list[Series], newest: bool) -> Answer:
    return [*series, series[0]], {}


def unsorted(series: list[Series], newest: bool) -> Answer:
    for one in series:
        one["values"].reverse()
    return series, {}


def with_histograms(series: list[Series], newest: bool) -> Answer:
    histogram = {"count": "1", "sum": "2", "buckets": [[0, "1", "2", "1"]]}
    return [{"metric": {"pod": "h"}, "histograms": [[1, histogram]]}, *series], {}


def partial(series: list[Series], newest: bool) -> Answer:
    return series, {
        "isPartial": True,
        "warnings": ["store gateway zone-b is down"],
        "infos": ["metric might not be a counter"],
    }


def from_tomorrow(series: list[Series], newest: bool) -> Answer:
    if newest:
        series[1]["values"].append([series[1]["values"][-1][0] + 86_400, "1e6"])
    return series, {}


def two_names(series: list[Series], newest: bool) -> Answer:
    return [*series, {**series[0], "metric": {"__name__": "other", "pod": "a"}}], {}


def nothing(series: list[Series], newest: bool) -> Answer:
    return [], {}


def packed(body: bytes) -> bytes:
    return http(200, gzip.compress(body), Content_Encoding="gzip")


def chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@dataclass(frozen=True)
class Odd:
    """``kinds``: labels of the counter of remarks; ``log``: what is logged, once; ``pods``: those that are judged."""

    manner: Manner
    kinds: tuple[str, ...] = ()
    log: str = ""
    pods: tuple[str, ...] = PODS


ODD = {
    "odd_nan": Odd(Manner(newest_of_pod_b("NaN")), ("not_finite",), pods=("a", "c")),
    "odd_infinite": Odd(Manner(newest_of_pod_b("+Inf")), ("not_finite",), pods=("a", "c")),
    "odd_overflow": Odd(Manner(newest_of_pod_b("1e999")), ("not_finite",), pods=("a", "c")),
    "odd_huge": Odd(Manner(newest_of_pod_b("1e308"))),
    "odd_zero": Odd(Manner(newest_of_pod_b("0"))),
    "odd_duplicate": Odd(Manner(twice), ("duplicate",)),
    "odd_unsorted": Odd(Manner(unsorted)),
    "odd_histograms": Odd(Manner(with_histograms), ("histogram",)),
    "odd_partial": Odd(
        Manner(partial), ("partial", "warning", "info"), "the server remarks: store gateway zone-b is down"
    ),
    "odd_future": Odd(Manner(from_tomorrow), ("future",)),
    "odd_names": Odd(Manner(two_names), ("collision",), 'series other{"pod":"a"} is not watched'),
    "odd_nothing": Odd(Manner(nothing), pods=()),
    "odd_spelling": Odd(Manner(spell=pretty)),
    "odd_packed": Odd(Manner(send=packed)),
    "odd_chunks": Odd(Manner(send=chunked)),
}
