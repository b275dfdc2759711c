"""What an operator can do about a server's refusal, by its status and by words that only some servers use.

The words are those of Prometheus, Cortex, Mimir and VictoriaMetrics as observed (docs/servers.md); Mimir declares the
ids of its errors (``err-mimir-...``) immutable, so they are matched rather than its prose. A text that nobody knows
gets the advice of its status.
"""

from __future__ import annotations

import re

LESS = "Lower source.max_points, narrow the expr, or raise the limit of the server."

_TIMED_OUT = "Raise source.timeout and the server's own limit, or narrow the expr."

_BY_STATUS = {
    400: "Check the expr of the query.",
    401: "Check the credentials of source and, with tenants, the tenant id.",
    403: "The server does not let these credentials read this.",
    404: "Is the API under a prefix such as /prometheus? It belongs into source.url."
    " The prefix of Cortex and Mimir is /prometheus.",
    422: "Check the expr of the query.",
    429: "Lower source.max_in_flight, raise the interval, or raise the limit of the server.",
}

AUTH_TOKEN = re.compile(r"\bauth token\b")  # vmauth 1.79 refuses credentials with 400

# What a text of some status holds, and what to do then; the first that fits counts.
_BY_WORDS: tuple[tuple[int, re.Pattern[str], str], ...] = (
    (401, re.compile(r"\bno org id\b"),
     "The server has tenants: name them under tenants (header X-Scope-OrgID)."),
    (400, re.compile(r"\btenant ID .*\|"),
     "The server does not read several tenants at once (tenant federation is off): list each tenant by itself."),
    (400, re.compile(r"\btenant ID\b"),
     "Correct the id under tenants."),
    (400, AUTH_TOKEN,
     _BY_STATUS[401]),
    (400, re.compile(r"unsupported URL format for path|unsupported path requested"
                     r"|missing -http\.pathPrefix|missing route"),
     "Check the path of source.url: VictoriaMetrics has its API at / or /prometheus, a cluster of it at"
     " /select/<account>/prometheus or, with tenants, /select/{tenant}/prometheus."),
    (503, re.compile(r"\bvmstorage\b"),
     "A vmstorage node of the cluster is down or out of reach."),
    (503, re.compile(r"query timed out"),
     _TIMED_OUT),
    (503, re.compile(r"concurrent search requests"),
     _BY_STATUS[429]),
    (422, re.compile(r"too long query"),
     "Shorten the expr, or raise the limit of the server (-search.maxQueryLen)."),
)  # fmt: skip

# Mimir's limits by the id at the end of its errors, and the flag behind each (pkg/util/validation/limits.go there).
_MIMIR_ID = re.compile(r"err-mimir-([a-z-]+[a-z])")
_MIMIR_FLAGS = {
    "max-series-per-query": "-querier.max-fetched-series-per-query",
    "max-chunks-per-query": "-querier.max-fetched-chunks-per-query",
    "max-estimated-chunks-per-query": "-querier.max-estimated-fetched-chunks-per-query-multiplier",
    "max-chunks-bytes-per-query": "-querier.max-fetched-chunk-bytes-per-query",
    "max-estimated-memory-consumption-per-query": "-querier.max-estimated-memory-consumption-per-query",
    "max-query-length": "-querier.max-partial-query-length",
    "max-total-query-length": "-query-frontend.max-total-query-length",
    "max-query-expression-size-bytes": "-query-frontend.max-query-expression-size-bytes",
    "tenant-max-request-rate": "-distributor.request-rate-limit",
}
_BLOCKED = "The administrators of the server have blocked this query: change the expr, or ask them."

_SPAN = re.compile(r"query length|time range exceeds")  # Cortex, before it is told apart by an id
_SERIES = re.compile(r"number of series limit|matching timeseries")
_TIMEOUT = re.compile(r"timeout exceeded")  # VictoriaMetrics, with 422; half a span takes half the time


def advice(status: int, words: str) -> str:
    """What to do about a refusal with this status and these words; "" when nothing better is known than the words."""
    mimir = _mimir_advice(words)
    if mimir:
        return mimir
    for of_status, pattern, text in _BY_WORDS:
        if status == of_status and pattern.search(words):
            return text
    return _BY_STATUS.get(status, "")


def advice_for_less(words: str) -> str:
    """What to do when a server finds a query too much, also after half of it was too much."""
    mimir = _mimir_advice(words)
    if mimir:
        return mimir
    if _SPAN.search(words):
        return "Raise the limit of the server (max_query_length), or shorten window."
    if _TIMEOUT.search(words):
        return _TIMED_OUT
    if _SERIES.search(words):
        return "Narrow the expr or split it into several queries, or raise the limit of the server."
    return LESS


def _mimir_advice(words: str) -> str:
    found = _MIMIR_ID.search(words)
    if found is None:
        return ""
    if found[1].endswith("-blocked"):
        return _BLOCKED
    flag = _MIMIR_FLAGS.get(found[1])
    return f"Narrow the expr, or raise this limit of the tenant: {flag}." if flag else ""
