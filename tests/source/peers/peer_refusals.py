"""What servers were seen to answer when something is wrong: status, headers and body as they came, and what it means.

Observed on Prometheus 2.42 and 3.12, Cortex 1.21, VictoriaMetrics 1.150 (single node and cluster) and, where it differs,
1.79.5; those of Mimir are from its own source and tests. Where the observer noted a text with gaps, these are filled with made-up queries.
"""

# ruff: noqa: E501  # a text of a server reads best in few lines
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.errors import SourceError, SourceRefused, SourceTooMuch, SourceUnavailable

TEXT = {"Content_Type": "text/plain; charset=utf-8"}
JSON = {"Content_Type": "application/json"}

EXPR = "Check the expr of the query."
LESS = "Lower source.max_points, narrow the expr, or raise the limit of the server."
TENANT = "Correct the id under tenants."
IN_PATH = "a cluster of it at /select/<account>/prometheus or, with tenants, /select/{tenant}/prometheus."
PREFIX = "The prefix of Cortex and Mimir is /prometheus."


@dataclass(frozen=True)
class Refusal:
    """``advice``: how our message ends; "" when the server's own words are all there is to say."""

    server: str
    case: str
    status: int
    body: str
    kind: type[SourceError]
    reason: str
    advice: str
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)

    @property
    def name(self) -> str:
        return f"{self.server}: {self.case}"


def of(kind: str, error: str) -> str:
    """The JSON that all of them use for an error."""
    return json.dumps({"status": "error", "errorType": kind, "error": error}, separators=(",", ":"))


def final(server: str, case: str, status: int, body: str, advice: str, reason: str = "bad_query") -> Refusal:
    """A refusal of the query or of us, in JSON."""
    return Refusal(server, case, status, body, SourceRefused, reason, advice)


def text(server: str, case: str, status: int, body: str, advice: str, reason: str, **headers: str) -> Refusal:
    """The same in plain text."""
    return Refusal(server, case, status, body, SourceRefused, reason, advice, {**TEXT, **headers})


def much(server: str, case: str, status: int, body: str, advice: str = LESS) -> Refusal:
    """A refusal that asks for less."""
    return Refusal(server, case, status, body, SourceTooMuch, "too_much", advice)


def later(server: str, case: str, status: int, body: str, advice: str = "", reason: str = "server_error") -> Refusal:
    """Something that may pass."""
    return Refusal(server, case, status, body, SourceUnavailable, reason, advice)


PROM = "Prometheus"
CORTEX = "Cortex"
VM = "VictoriaMetrics"
VM_1_79 = "VictoriaMetrics 1.79"
MIMIR = "Mimir"

_DEEP = " + ".join(['quantile_over_time(0.1, often{i=\\"0\\"}[12h])'] * 9)
_VM_RANGE = "on the time range (start=1700000000000, end=1707862000000, step=300000)"
_LONG = 'sum by (service) (rate(http_requests_total{job=~\\"' + "a|" * 200 + 'b\\"}[5m]))'
_RATE = "Lower source.max_in_flight, raise the interval, or raise the limit of the server."
_SPLIT = "Narrow the expr or split it into several queries, or raise the limit of the server."
_TIMED_OUT = "Raise source.timeout and the server's own limit, or narrow the expr."
_SPAN = "Raise the limit of the server (max_query_length), or shorten window."


def _limit(flag: str) -> str:
    return f"Narrow the expr, or raise this limit of the tenant: {flag}."


def _of_mimir(error: str, flag: str) -> str:
    """As pkg/util/globalerror/user.go of Mimir puts it together, with its strategy."""
    strategy = "Consider reducing the time range and/or number of series selected by the query"
    return of("execution", f"{error}. {strategy}. Otherwise, to adjust the related per-tenant limit, configure {flag}, "
              "or contact your service administrator.")  # fmt: skip


REFUSALS = [
    # --- the query ----------------------------------------------------------------------------------------------------
    final(PROM, "parse error", 400,
          of("bad_data", 'invalid parameter "query": 1:17: parse error: unclosed left parenthesis'), EXPR),
    final(CORTEX, "parse error", 400, of("bad_data", "1:17: parse error: unclosed left parenthesis"), EXPR),
    final(MIMIR, "parse error", 400,
          of("bad_data", 'invalid parameter "query": 1:17: parse error: unclosed left parenthesis'), EXPR),
    final(VM, "parse error", 400,
          of("400", 'error when executing query="sum(rate(x[5m])" for (time=1700000000000, step=300000): argList: '
             'unexpected token ""; want ",", ")"; unparsed data: ""'), EXPR),
    final(PROM, "unknown function", 400,
          of("bad_data", 'invalid parameter "query": 1:1: parse error: unknown function with name "nosuch"'), EXPR),
    final(VM, "unknown function", 400, of("400", 'unsupported function "nosuch"'), EXPR),
    final(PROM, "many-to-many", 422,
          of("execution", 'found duplicate series for the match group {job="a"} on the left hand-side of the operation: '
             '[{instance="1", job="a"}, {instance="2", job="a"}];many-to-many matching not allowed: matching labels must '
             'be unique on one side'), EXPR),
    final(VM, "many-to-many", 422,
          of("422", 'duplicate time series on the left side of `* on(job)`: {instance="1"} and {instance="2"}'), EXPR),
    final(VM_1_79, "parse error", 422,
          of("422", f'error when executing query="sum(" {_VM_RANGE}: singleExpr: unexpected token ""; want "(", "{{", "-", '
             '"+"; unparsed data: ""'), EXPR),
    final(VM_1_79, "too long a query", 422,
          of("422", f'error when executing query="{_LONG * 30}" {_VM_RANGE}: too long query; got 20000 bytes; mustn\'t exceed '
             "`-search.maxQueryLen=16384` bytes"),
          "Shorten the expr, or raise the limit of the server (-search.maxQueryLen)."),
    final(VM, "bad time", 400, of("400", 'cannot parse "abc" to a valid timestamp'), EXPR),
    later(CORTEX, "bad time", 500,
          of("server_error", 'rpc error: code = Code(400) desc = cannot parse "abc" to a valid timestamp')),
    final(MIMIR, "query blocked", 400,
          of("bad_data", "the request has been blocked by the cluster administrator (err-mimir-query-blocked)"),
          "The administrators of the server have blocked this query: change the expr, or ask them."),
    # --- too much -----------------------------------------------------------------------------------------------------
    much(PROM, "too many points", 400,
         of("bad_data", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution "
            "(?step=XX)")),
    much(VM, "too many points", 422,
         of("422", "too many points for the given start=1700000000000, end=1707862000000 and step=1000: 93601; the "
            "maximum number of points is 30000; (see -search.maxPointsPerTimeseries command-line flag)")),
    much(PROM, "too many samples", 422,
         of("execution", "query processing would load too many samples into memory in query execution")),
    much(VM, "too many samples", 422,
         of("422", "cannot select more than -search.maxSamplesPerQuery=500 samples; possible solutions: to increase the "
            "-search.maxSamplesPerQuery; to reduce time range for the query; to use more specific label filters")),
    much(VM, "too many samples, behind a long query", 422,
         of("422", f'error when executing query="{_LONG}" on the time range (start=1, end=2, step=300000): cannot execute '
            "query: cannot select more than -search.maxSamplesPerQuery=500 samples")),
    much(VM_1_79, "too many points", 422,
         of("422", f'error when executing query="sum(x)" {_VM_RANGE}: too many points for the given step=300000, '
            "start=1700000000000 and end=1707862000000: 26207; cannot exceed -search.maxPointsPerTimeseries=100")),
    much(VM_1_79, "too many series", 422,
         of("422", 'error when executing query="sum(x)" for (time=1700000000000, step=300000): cannot evaluate "x": error '
            "when searching tsids: the number of matching timeseries exceeds 100; either narrow down the search or increase "
            "-search.max* command-line flag values at vmselect"), _SPLIT),
    much(VM_1_79, "timeout", 422,
         of("422", f'error when executing query="sum(x)" {_VM_RANGE}: cannot execute query: cannot evaluate "sum(x)": timeout '
            "exceeded during query execution: 1.000 seconds (elapsed 2.382 seconds); the timeout can be adjusted with "
            "`-search.maxQueryDuration` command-line flag"), _TIMED_OUT),
    much(VM_1_79, "timeout, deep in a query", 422,
         of("422", f'error when executing query="{_DEEP}" {_VM_RANGE}: cannot execute query: ' + f'cannot evaluate "{_DEEP}": '
            * 9 + "timeout exceeded during query execution: 1.000 seconds (elapsed 2.382 seconds)"), _TIMED_OUT),
    much(VM, "not enough memory", 422,
         of("422", "not enough memory for processing 1000 data points across 2 time series with 5 points in each time "
            "series; -search.maxMemoryPerQuery=1000")),
    much(CORTEX, "too many series", 422,
         of("execution", "expanding series: the query hit the max number of series limit (limit: 3 series)"), _SPLIT),
    much(CORTEX, "too many chunks", 422,
         of("execution", "expanding series: the query hit the max number of chunks limit (limit: 2 chunks)")),
    much(CORTEX, "range too long", 400,
         of("bad_data", "the query time range exceeds the limit (query length: 24h0m0s, limit: 2h0m0s)"), _SPAN),
    *(
        much(MIMIR, mimir_id, 422, _of_mimir(f"{error} (err-mimir-{mimir_id})", flag), _limit(flag))
        for mimir_id, error, flag in [
            ("max-series-per-query", "the query exceeded the maximum number of series (limit: 3 series)",
             "-querier.max-fetched-series-per-query"),
            ("max-chunks-per-query", "the query exceeded the maximum number of chunks (limit: 2 chunks)",
             "-querier.max-fetched-chunks-per-query"),
            ("max-chunks-bytes-per-query", "the query exceeded the aggregated chunks size limit (limit: 9 bytes)",
             "-querier.max-fetched-chunk-bytes-per-query"),
            ("max-estimated-memory-consumption-per-query", "the query exceeded the maximum allowed estimated amount of "
             "memory consumed by a single query (limit: 9 bytes)", "-querier.max-estimated-memory-consumption-per-query"),
            ("max-query-length", "expanding series: the query time range exceeds the limit (query length: 24h, limit: 2h)",
             "-querier.max-partial-query-length"),
            ("max-total-query-length", "the total query time range exceeds the limit (query length: 24h, limit: 2h)",
             "-query-frontend.max-total-query-length"),
        ]
    ),
    much(MIMIR, "an id with other words", 422, of("execution", "nobody knows this text (err-mimir-max-chunks-per-query)"),
         _limit("-querier.max-fetched-chunks-per-query")),
    # --- later --------------------------------------------------------------------------------------------------------
    later(CORTEX, "too many requests", 429, of("server_error", "too many outstanding requests"), _RATE, "rate_limited"),
    later(MIMIR, "too many requests", 429, of("too_many_requests", "too many outstanding requests"), _RATE,
          "rate_limited"),
    later(MIMIR, "request rate", 429,
          of("too_many_requests", "the request has been rejected because the tenant exceeded the request rate limit, set "
             "to 5 requests/s (err-mimir-tenant-max-request-rate)"), _limit("-distributor.request-rate-limit"),
          "rate_limited"),
    later(PROM, "timeout", 503, of("timeout", "query timed out in expression evaluation"),
          _TIMED_OUT),
    later(CORTEX, "stopping", 500, of("server_error", "queue is stopped")),
    later(VM, "storage down", 503,
          of("503", "error occurred during search: cannot fetch query results from vmstorage nodes: cannot perform search "
             "on vmstorage 127.0.0.1:8401: dial tcp4 127.0.0.1:8401: connect: connection refused"),
          "A vmstorage node of the cluster is down or out of reach."),
    later(VM_1_79, "too many requests", 503,
          'remoteAddr: "127.0.0.1:60878"; requestURI: /api/v1/query?query=x; cannot handle more than 1 concurrent search '
          "requests during 1ms; possible solutions: increase `-search.maxQueueDuration`", _RATE),
    # --- who we are ---------------------------------------------------------------------------------------------------
    text(PROM, "no credentials", 401, "Unauthorized\n",
         "Check the credentials of source and, with tenants, the tenant id.", "unauthorized", Www_Authenticate="Basic"),
    text(VM, "no credentials, empty body", 401, "", "Check the credentials of source and, with tenants, the tenant id.",
         "unauthorized", Www_Authenticate='Basic realm="VictoriaMetrics"'),
    text(VM_1_79, "wrong credentials, at vmauth", 400,
         'remoteAddr: "127.0.0.1:1"; requestURI: /api/v1/query; cannot find the provided auth token "Basic eA==" in config',
         "Check the credentials of source and, with tenants, the tenant id.", "unauthorized"),
    text(CORTEX, "no tenant", 401, "no org id\n",
         "The server has tenants: name them under tenants (header X-Scope-OrgID).", "unauthorized"),
    text(VM, "no tenant in the path of a cluster", 400,
         'unsupported URL format for path "/api/v1/query"', IN_PATH, "bad_query"),
    text(VM, "a bad tenant in the path of a cluster", 400,
         'unsupported path requested: "/select/abc/prometheus/api/v1/query"', IN_PATH, "bad_query"),
    text(CORTEX, "a blank in a tenant", 400, "tenant ID 'a b' contains unsupported character ' '\n", TENANT, "bad_query"),
    text(CORTEX, "a long tenant", 400, "tenant ID is too long: max 150 characters\n", TENANT, "bad_query"),
    text(CORTEX, "several tenants without federation", 400, "tenant ID 'a|b' contains unsupported character '|'\n",
         "The server does not read several tenants at once (tenant federation is off): list each tenant by itself.",
         "bad_query"),
    # --- where it is --------------------------------------------------------------------------------------------------
    text(PROM, "unknown path", 404, "404 page not found\n", PREFIX, "not_found"),
    text(CORTEX, "no prefix", 404, "404 page not found\n", PREFIX, "not_found"),
    text(VM_1_79, "no route, at vmauth", 400,
         'cannot determine targetURL: missing route for "/select/9/prometheus/api/v1/query"', IN_PATH, "bad_query"),
    text(VM_1_79, "no prefix", 400,
         'missing -http.pathPrefix="/vm" in the requested path "/api/v1/query"', IN_PATH, "bad_query"),
    text(VM, "unknown path", 400, 'unsupported path requested: "/prefix/api/v1/query"', IN_PATH, "bad_query"),
]  # fmt: skip
