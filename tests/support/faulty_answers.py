"""The ways in which a metrics server fails, each with the words in which the operator is to read it."""

# ruff: noqa: E501  # a case of the table reads best on one line
from __future__ import annotations

import gzip
import socket
import struct
from dataclasses import dataclass

from support.loopback import Request, Respond, always, drip, http, stay_silent

VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
CAP_BYTES = 1 << 20
LIMITS = f"  timeout: 4s\n  max_body_bytes: {CAP_BYTES}\n"  # of the source, in the config
LESS = "Lower source.max_points, narrow the expr, or raise the limit of the server."
TOO_LARGE = "API: the answer is larger than source.max_body_bytes (1,048,576). Narrow the expr or raise it."
SLOWER = "Lower source.max_in_flight, raise the interval, or raise the limit of the server."


def error(kind: str, text: str) -> str:
    return f'{{"status":"error","errorType":"{kind}","error":"{text}"}}'


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def reset_at_once(request: Request, connection: socket.socket) -> None:
    reset(connection)


def reset_in_the_body(request: Request, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + VECTOR[:40])
    reset(connection)


def hang_up(request: Request, connection: socket.socket) -> None:
    pass


def pour(request: Request, connection: socket.socket) -> None:
    """More than the cap, without a word about how much."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2 * CAP_BYTES))


@dataclass(frozen=True)
class Fault:
    """``text``: the whole of what the operator reads (API stands for the URL); ``reason``: the label of the counter."""

    respond: Respond
    reason: str
    text: str


FAULTS = {
    "reset_at_once": Fault(reset_at_once, "connection", "API: the connection broke: Connection reset by peer"),
    "reset_in_the_body": Fault(reset_in_the_body, "connection", "API: the connection broke: Connection reset by peer"),
    "hang_up": Fault(hang_up, "connection", "API: the connection broke: Remote end closed connection without response"),
    "short_body": Fault(always(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + VECTOR), "connection",
        f"API: the connection broke: IncompleteRead({len(VECTOR)} bytes read, {5000 - len(VECTOR)} more expected)"),
    "not_http": Fault(always(b"SSH-2.0-OpenSSH_9.2\r\n"), "connection", "API: the connection broke: SSH-2.0-OpenSSH_9.2"),
    "slow_drip": Fault(drip, "timeout", "API: the answer came too slowly. Raise source.timeout or narrow the expr."),
    "silence": Fault(stay_silent, "timeout", "API: no answer in time. Raise source.timeout or narrow the expr."),
    "http_401": Fault(always(http(401, "Unauthorized\n")), "unauthorized",
        "API: HTTP 401: Unauthorized. Check the credentials of source and, with tenants, the tenant id."),
    "http_403": Fault(always(http(403, error("forbidden", "not yours"))), "forbidden",
        "API: HTTP 403: not yours. The server does not let these credentials read this."),
    "http_404": Fault(always(http(404, "404 page not found\n")), "not_found",
        "API: HTTP 404: 404 page not found. Is the API under a prefix such as /prometheus? It belongs into source.url."
        " The prefix of Cortex and Mimir is /prometheus."),
    "http_400": Fault(always(http(400, error("bad_data", "1:5: parse error: unexpected end of input"))), "bad_query",
        "API: HTTP 400: 1:5: parse error: unexpected end of input. Check the expr of the query."),
    "http_422": Fault(always(http(422, error("execution", "many-to-many matching not allowed"))), "bad_query",
        "API: HTTP 422: many-to-many matching not allowed. Check the expr of the query."),
    "http_422_limit": Fault(always(http(422, error("execution", "query processing would load too many samples into memory in query execution"))), "too_much",
        f"API: HTTP 422: query processing would load too many samples into memory in query execution. {LESS}"),
    "http_413": Fault(always(http(413, "<html><title>413</title><h1>413 Request Entity Too Large</h1></html>")), "too_much",
        f"API: HTTP 413: 413 413 Request Entity Too Large. {LESS}"),
    "http_429": Fault(always(http(429, "too many outstanding requests")), "rate_limited",
        f"API: HTTP 429: too many outstanding requests. {SLOWER}"),
    "http_429_later": Fault(always(http(429, "later", Retry_After="3600")), "rate_limited", f"API: HTTP 429: later. {SLOWER}"),
    "http_500": Fault(always(http(500, error("server_error", "queue is stopped"))), "server_error", "API: HTTP 500: queue is stopped"),
    "http_503_html": Fault(always(http(503, "<html><head><title>x</title></head><body><h1>503 Service\n Unavailable</h1>nginx &amp; co</body></html>")),
        "server_error", "API: HTTP 503: 503 Service Unavailable nginx & co"),
    "http_302": Fault(always(http(302, Location="http://127.0.0.1:9/login")), "refused_connection",
        "API: connection refused. Is the server running, and is the port right?"),
    "empty_body": Fault(always(http(200)), "garbled", "API answered 200 with an empty body"),
    "truncated_json": Fault(always(http(200, VECTOR[:-3])), "garbled",
        f"API answered 60 bytes that are not JSON (Expecting value: line 1 column 61 (char 60)); they start with: {VECTOR[:-3].decode()}"),
    "login_page": Fault(always(http(200, "<html>Please log in</html>")), "garbled",
        "API answered 26 bytes that are not JSON (Expecting value: line 1 column 1 (char 0)); they start with: <html>Please log in</html>"),
    "binary": Fault(always(http(200, b"\x00\xff\x1b[31m")), "garbled", ""),
    "string_result": Fault(always(http(200, b'{"status":"success","data":{"resultType":"string","result":[1,"x"]}}')), "garbled",
        "API answered a result of type string; series of numbers are needed"),
    "success_in_name_only": Fault(always(http(200, error("execution", "broken"))), "garbled", "API answered 200 but not success: broken"),
    "one_gigabyte": Fault(always(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + VECTOR), "too_much", TOO_LARGE),
    "no_end": Fault(pour, "too_much", TOO_LARGE),
    "gzip_bomb": Fault(always(http(200, gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")), "too_much", TOO_LARGE),
    "gzip_that_is_none": Fault(always(http(200, VECTOR, Content_Encoding="gzip")), "garbled",
        "API answered gzip that can't be unpacked (Error -3 while decompressing data: incorrect header check)"),
}  # fmt: skip
