"""The same series as each server writes it: key order, extra keys, spelling of numbers, what is kept and what is left out.

Observed on Prometheus 2.42 and 3.12, Cortex 1.21, VictoriaMetrics 1.150. Thanos adds ``warnings`` by its documentation.
"""

# ruff: noqa: E501  # a body reads best in one line
from __future__ import annotations

import json
from typing import Any

BIG = 1.7976931348623157e308
ALL_DIGITS = format(int(BIG), "d")  # 309 of them: how Cortex and VictoriaMetrics spell it
AT = 1_700_000_100


def success(kind: str, result: Any, **more: Any) -> str:
    """An answer in Prometheus' own spacing; further keys stand behind the data."""
    body = {"status": "success", "data": {"resultType": kind, "result": result}, **more}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def vector(labels: dict[str, str], text: str, at: float = AT) -> list[dict[str, Any]]:
    """One series with one sample."""
    return [{"metric": labels, "value": [at, text]}]


PROMETHEUS = success("vector", vector({"job": "a"}, "1.5"))
PROMETHEUS_3 = success(
    "vector", vector({"job": "a"}, "1.5"), warnings=["results truncated due to limit"],
    infos=['PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "g" (1:6)'],
)  # fmt: skip
CORTEX = success("vector", vector({"job": "a"}, "1.5"))
VICTORIAMETRICS = (
    '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"g","job":"a"},"value":[1700000100,"1.5"]}]},'
    '"stats":{"seriesFetched": "1","executionTimeMsec":2}}'
)
CLUSTER = (
    '{"status":"success","isPartial":false,"data":{"resultType":"vector","result":[{"metric":{"__name__":"g","job":"a"},'
    '"value":[1700000100,"1.5"]}]},"stats":{"seriesFetched": "1","executionTimeMsec":2}}'
)
PARTIAL = CLUSTER.replace('"isPartial":false', '"isPartial":true')
THANOS = success(
    "vector", vector({"job": "a"}, "1.5"),
    warnings=["fetch series for {cluster=\"eu\"} Addr: 10.0.0.7:10901: rpc error: code = Unavailable desc = connection refused"],
)  # fmt: skip
SPACED = json.dumps(json.loads(PROMETHEUS), indent=2)
REORDERED = '{"data": {"result": [{"value": [1700000100.0, "1.5"], "metric": {"job": "a"}}], "resultType": "vector"}, "status": "success"}'

SAME = {
    "Prometheus 2.42": PROMETHEUS,
    "Prometheus 3.12": PROMETHEUS_3,
    "Cortex": CORTEX,
    "VictoriaMetrics": VICTORIAMETRICS,
    "VictoriaMetrics cluster": CLUSTER,
    "VictoriaMetrics cluster, partial": PARTIAL,
    "Thanos": THANOS,
    "blanks": SPACED,
    "another order": REORDERED,
}
OWN_LAYOUT = {"blanks", "another order"}

# One value as it is spelled: (server, text, what it is).
NUMBERS = [
    ("Prometheus", "1.7976931348623157e+308", BIG),
    ("Cortex", ALL_DIGITS, BIG),
    ("VictoriaMetrics", "-" + ALL_DIGITS, -BIG),
    ("Prometheus", "-0", -0.0),
    ("Cortex", "0", 0.0),
    ("Prometheus", "1.6531586898331234", 1.6531586898331234),
    ("VictoriaMetrics", "1.653158689833", 1.653158689833),
    ("Prometheus", "5e-324", 5e-324),
    ("VictoriaMetrics", "0", 0.0),
    ("VictoriaMetrics", "1.234567", 1.234567),
    ("Prometheus", "+Inf", float("inf")),
    ("Prometheus", "NaN", float("nan")),
]

ONE_BY_ZERO = {
    "Prometheus": '{"status":"success","data":{"resultType":"scalar","result":[1700000100,"+Inf"]}}',
    "VictoriaMetrics": '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000100,"+Inf"]}]},"stats":{"seriesFetched": "0","executionTimeMsec":0}}',
}
